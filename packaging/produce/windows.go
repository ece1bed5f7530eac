package produce

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	pyruntime "modwsgi/express/runtime"
	"modwsgi/installer"
	"modwsgi/internal/fault"
	"modwsgi/internal/receipt"
	"modwsgi/internal/version"
	"modwsgi/modulebuild/windows"
	"modwsgi/packaging"
	"modwsgi/packaging/authenticode"
	"modwsgi/packaging/licence"
	"modwsgi/packaging/winzip"
)

// Windows is a request for a zip and a wheel per Python, for an Apache on Windows.
type Windows struct {
	Settings
	Modules  WindowsBuild
	Launcher string // mod_wsgi-express.exe; "" looks next to this program
	Wheel    packaging.WheelChoices
	Signer   authenticode.Signer // its key files and timestamp server; without a certificate and a key nothing is signed

	sign  *authenticode.Signer
	made  []*windows.Result
	trees []*Tree
}

// Run makes the artifacts.
func (o *Windows) Run(ctx context.Context) (*Result, error) { return carryOut(ctx, &o.Settings, o) }

// signer completes the signer of programs.
func (s *Settings) signer(from authenticode.Signer) *authenticode.Signer {
	from.Env, from.Runner, from.Name, from.URL = s.Build.Env, s.Build.Runner, "mod_wsgi", "https://www.modwsgi.org/"
	return &from
}

func (o *Windows) ready(context.Context, *line) (err error) {
	if err := o.Wheel.Check(); err != nil {
		return err
	}
	if o.Signer.Cert != "" || o.Signer.Key != "" {
		o.sign = o.signer(o.Signer)
		if err := o.sign.Check(); err != nil {
			return err
		}
	}
	o.Launcher, err = windowsLauncher(o.Launcher, o.Build.ToolsDir)
	return err
}

func (o *Windows) stage(ctx context.Context, l *line) (err error) {
	o.made, o.trees, err = stageWindows(ctx, l, o.Modules, o.Launcher, o.sign)
	return err
}

// staged is empty: an artifact for Windows contains no httpd.
func (o *Windows) staged() []staged { return nil }

// jobs lists one job per Python.
func (o *Windows) jobs(*line) ([]job, error) {
	var jobs []job
	for _, t := range o.trees {
		part := "Python " + t.Stage.Module.Python.MinorVersion()
		jobs = append(jobs, job{part: part, step: "package for " + part, compiled: true, trees: []*Tree{t}, write: func(ctx context.Context, d *packaging.Dist) ([]string, error) {
			if _, err := winzip.Zip(ctx, d, t.Stage); err != nil {
				return nil, err
			}
			_, err := winzip.Wheel(ctx, d, t.Stage, o.Wheel)
			return nil, err
		}})
	}
	return jobs, nil
}

func (o *Windows) step() string { return "" }

func (o *Windows) fail(_ context.Context, _ string, err error) error { return err }

func (o *Windows) failed() []Failure { return nil }

func (o *Windows) parameters(*line) map[string]string {
	return map[string]string{"compiler": o.made[0].Compiler, "target": windows.Target, "authenticode": fmt.Sprint(o.sign != nil)}
}

func (o *Windows) complete(r *Result) { r.Modules = o.made }

func (o *Windows) close() {}

// stageWindows builds one module per Python and stages each in a scratch directory. A
// signer signs the programs in them; with nil they stay unsigned.
func stageWindows(ctx context.Context, l *line, b WindowsBuild, launcher string, signer *authenticode.Signer) ([]*windows.Result, []*Tree, error) {
	scratch, err := l.dist.Scratch()
	if err != nil {
		return nil, nil, err
	}
	sign := func(string) error { return nil }
	if signer != nil {
		one := *signer
		one.Time = l.at
		sign = func(path string) error { return one.Sign(ctx, path) }
	}
	bin := filepath.Join(scratch, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		return nil, nil, err
	}
	program := filepath.Join(bin, expressExe)
	if err := packaging.CopyFile(launcher, program, 0o755); err != nil {
		return nil, nil, err
	}
	if err := packaging.DescribeProgram(program, version.Release); err != nil {
		return nil, nil, err
	}
	if err := sign(program); err != nil { // checked first: without a signature there is no point in building
		return nil, nil, err
	}
	made, sources, err := BuildModules(ctx, b, filepath.Join(scratch, "modules"))
	if err != nil {
		return nil, nil, err
	}
	var trees []*Tree
	for _, m := range made {
		if err := sign(m.File); err != nil {
			return nil, nil, err
		}
		stage, err := windowsStage(m, sources, filepath.Join(scratch, "stage-"+windows.Tag(minorOf(m.Python))), bin, l.at)
		if err != nil {
			return nil, nil, err
		}
		trees = append(trees, &Tree{
			wish:  &installer.Wish{HTTPDVersion: b.HTTPD, ModWSGIVersion: b.ModWSGI, Locked: b.Base.Locked},
			Stage: stage, Compiled: true, Cross: true, Target: windows.Target, Unproven: unprovenWindows, about: map[string]string{"compiler": m.Compiler},
		})
	}
	return made, trees, nil
}

func minorOf(version string) string { return packaging.Python{Version: version}.MinorVersion() }

const expressExe = "mod_wsgi-express.exe"

// windowsLauncher finds the launcher for Windows where a release puts it, next to the
// programs in tools.
func windowsLauncher(given, tools string) (string, error) {
	candidates := []string{given}
	if given == "" {
		candidates = []string{filepath.Join(tools, expressExe), filepath.Join(tools, "windows-amd64", expressExe), filepath.Join(tools, "..", "libexec", "modwsgi", expressExe)}
	}
	for _, path := range candidates {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, winzip.CheckMachine(path)
		}
	}
	return "", fault.New(fault.Environment, "name it with --launcher; it is in the archive of modwsgi for Windows, or build it from a checkout: GOOS=windows GOARCH=amd64 go build -o "+expressExe+" ./cmd/mod_wsgi-express",
		"the launcher for Windows does not exist: %s", candidates[0])
}

// windowsStage lays out the contents of site-packages.
func windowsStage(m *windows.Result, sources *windows.Sources, site, bin string, at time.Time) (*packaging.Stage, error) {
	if err := writeRuntime(site); err != nil {
		return nil, fmt.Errorf("stage the runtime: %w", err)
	}
	server := filepath.Join(site, "mod_wsgi", "server")
	if err := os.MkdirAll(server, 0o755); err != nil {
		return nil, err
	}
	if err := os.Rename(m.File, filepath.Join(server, m.Name)); err != nil {
		return nil, err
	}
	minor := minorOf(m.Python)
	tag := windows.Tag(minor)
	dll := "python" + strings.TrimPrefix(tag, "cp") + ".dll"
	r := receipt.Receipt{
		Tool: version.Release, Module: receipt.Module{File: m.Name, Version: m.Version, SHA256: m.SHA256},
		Python: receipt.Python{Version: minor, SOABI: tag + "-win_amd64", Soname: dll},
		HTTPD:  receipt.HTTPD{Provenance: "system", Version: m.HTTPD, MMN: m.MMN, MPMs: []string{"winnt"}},
	}
	if err := os.WriteFile(filepath.Join(site, filepath.FromSlash(receipt.Path)), r.Encode(), 0o644); err != nil {
		return nil, err
	}
	return &packaging.Stage{
		Site: site, Bin: bin, Time: at, Tool: version.Release,
		Module: &packaging.Module{
			Package: "mod_wsgi", File: "mod_wsgi/server/" + m.Name, Receipt: receipt.Path, Version: m.Version, Key: m.Key, HTTPD: m.HTTPD,
			Python:     packaging.Python{Version: m.Python, Tag: tag, ABI: abi(minor, tag), SOABI: tag + "-win_amd64", Platform: "win-amd64", LibPython: dll, Shared: true},
			Components: windowsComponents(m, sources, minor),
		},
	}, nil
}

// writeRuntime writes the launcher's Python part.
func writeRuntime(site string) error {
	return fs.WalkDir(pyruntime.Files, "mod_wsgi", func(path string, d fs.DirEntry, err error) error {
		to := filepath.Join(site, filepath.FromSlash(path))
		if err != nil || d.IsDir() {
			if err == nil {
				err = os.MkdirAll(to, 0o755)
			}
			return err
		}
		data, err := fs.ReadFile(pyruntime.Files, path)
		if err == nil {
			err = os.WriteFile(to, data, 0o644)
		}
		return err
	})
}

// abi is the ABI tag. Up to Python 3.7 it had an "m" for the allocator, which later
// versions lack (bpo-36707).
func abi(minor, tag string) string {
	if minor == "3.7" || minor == "3.6" {
		return tag + "m"
	}
	return tag
}

// windowsComponents lists the sources of the module and the parts of the compiler that
// are in it.
func windowsComponents(m *windows.Result, sources *windows.Sources, minor string) []packaging.Component {
	var all []packaging.Component
	for _, c := range []struct {
		name string
		from windows.Source
	}{{"mod_wsgi", sources.ModWSGI}, {"httpd", sources.HTTPD}, {"apr", sources.APR}, {"apr-util", sources.APRUtil}, {"cpython", sources.CPython[minor]}} {
		if c.from.Version != "" {
			all = append(all, packaging.SourceComponent(c.name, c.from.Version, licence.OfSource(c.name), c.from.SHA256))
		}
	}
	for i := range all {
		if all[i].Name != "mod_wsgi" { // only its headers were used
			all[i].Kind, all[i].CPEs = packaging.BuiltWith, nil
		}
	}
	if strings.Contains(m.Compiler, "mingw") {
		runtime := packaging.Component{Kind: packaging.FromHost, Name: "mingw-w64-runtime", Version: m.Compiler, License: "ZPL-2.1 AND GPL-3.0-or-later WITH GCC-exception-3.1"}
		for _, text := range []string{"/usr/share/doc/mingw-w64-common/copyright", "/usr/share/doc/gcc-mingw-w64-base/copyright"} {
			if info, err := os.Stat(text); err == nil && info.Mode().IsRegular() {
				runtime.Texts = append(runtime.Texts, text)
			}
		}
		all = append(all, runtime)
	}
	return all
}
