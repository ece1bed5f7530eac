package cli

import (
	"context"
	"errors"
	"runtime"
	"slices"

	"modwsgi/modulebuild/windows"
	"modwsgi/packaging"
	"modwsgi/packaging/linkage"
	"modwsgi/packaging/linuxpkg"
	"modwsgi/packaging/matrix"
	"modwsgi/packaging/wheel"
)

// matrixFormat is a format that a release.toml may name, and how it is made of a
// stage of this machine. What is for Windows is made of stages of its own
// (matrixwindows.go).
type matrixFormat struct {
	matrix.Format
	write func(ctx context.Context, r *matrixRun, c matrix.Cell, d *packaging.Dist, s *matrixStage) ([]string, error)
	// writeHTTPD makes what is the same for all Pythons of an httpd; nil for nothing.
	writeHTTPD func(ctx context.Context, r *matrixRun, c matrix.Cell, d *packaging.Dist, s *matrixStage) ([]string, error)
}

// moreFormats are formats that are wired elsewhere.
var moreFormats []func() matrixFormat

// matrixFormats is the table of what a release.toml may name on this machine.
func (a *app) matrixFormats() []matrixFormat {
	host := []string{runtime.GOOS + "/" + runtime.GOARCH}
	all := []matrixFormat{{
		Format: matrix.Format{
			Name: "wheel", Platforms: withWindows(host),
			Options: map[string]matrix.Kind{"bundle": matrix.Text, "allow_foreign": matrix.Strings, "build_number": matrix.Number, "local_version": matrix.Text},
			Check: map[string]func(any) error{
				"bundle":       oneOf("auto", "none"),
				"build_number": between(0, 1<<30),
			},
		},
		write: func(ctx context.Context, r *matrixRun, c matrix.Cell, d *packaging.Dist, s *matrixStage) ([]string, error) {
			_, warnings, err := wheel.Module(ctx, d, s.stage, r.wheelOptions(c))
			return warnings, err
		},
		writeHTTPD: func(ctx context.Context, r *matrixRun, c matrix.Cell, d *packaging.Dist, s *matrixStage) ([]string, error) {
			_, warnings, err := wheel.HTTPD(ctx, d, s.stage, r.wheelOptions(c))
			return warnings, err
		},
	}, {Format: matrix.Format{Name: "zip", Platforms: withWindows(nil)}}}
	if runtime.GOOS == "linux" {
		for _, f := range []linuxpkg.Format{linuxpkg.Deb, linuxpkg.RPM, linuxpkg.APK} {
			all = append(all, matrixPackage(f, host))
		}
	}
	for _, more := range moreFormats {
		all = append(all, more())
	}
	return all
}

// withWindows adds the platform that modules are cross-compiled for.
func withWindows(host []string) []string {
	if slices.Contains(host, windows.Target) {
		return host
	}
	return append(slices.Clone(host), windows.Target)
}

// matrixPackage is a format of packages for a distribution.
func matrixPackage(f linuxpkg.Format, host []string) matrixFormat {
	return matrixFormat{
		Format: matrix.Format{
			Name: string(f), Platforms: host,
			Options: map[string]matrix.Kind{"maintainer": matrix.Text, "release": matrix.Text, "depends": matrix.Strings, "allow_foreign": matrix.Strings},
		},
		write: func(ctx context.Context, r *matrixRun, c matrix.Cell, d *packaging.Dist, s *matrixStage) ([]string, error) {
			o := linuxpkg.Options{
				Format: f, Maintainer: r.text(c, "maintainer"), Release: r.text(c, "release"), Depends: r.list(c, "depends"), Allow: r.list(c, "allow_foreign"),
				Host: linuxpkg.Host{Root: "/"}, Runner: r.a.runner(), Env: r.a.Env,
			}
			_, warnings, err := linuxpkg.Write(ctx, d, s.stage, o)
			return warnings, err
		},
	}
}

func oneOf(values ...string) func(any) error {
	return func(v any) error {
		for _, one := range values {
			if v == one {
				return nil
			}
		}
		text := "give " + values[0]
		for _, one := range values[1:] {
			text += " or " + one
		}
		return errors.New(text)
	}
}

func between(low, high int64) func(any) error {
	return func(v any) error {
		if n, ok := v.(int64); !ok || n < low || n > high {
			return errors.New("the number makes no sense")
		}
		return nil
	}
}

// text is an option of a cell's format, "" where it is not given.
func (r *matrixRun) text(c matrix.Cell, key string) string {
	v, _ := r.m.Options[c.Format][key].(string)
	return v
}

func (r *matrixRun) number(c matrix.Cell, key string, other int) int {
	if v, ok := r.m.Options[c.Format][key].(int64); ok {
		return int(v)
	}
	return other
}

func (r *matrixRun) list(c matrix.Cell, key string) []string {
	var all []string
	values, _ := r.m.Options[c.Format][key].([]any)
	for _, v := range values {
		if s, ok := v.(string); ok {
			all = append(all, s)
		}
	}
	return all
}

// wheelOptions are those of a cell. With several httpds their names become local
// versions: one name must not mean two contents.
func (r *matrixRun) wheelOptions(c matrix.Cell) wheel.Options {
	o := wheel.Options{
		Bundle: r.text(c, "bundle") != "none", Allow: r.list(c, "allow_foreign"), Build: r.number(c, "build_number", 0), Local: r.text(c, "local_version"),
		Host: linkage.Host{Root: "/"},
	}
	if r.m.Several() {
		if o.Local != "" {
			o.Local += "."
		}
		o.Local += c.HTTPD.Name
	}
	return o
}
