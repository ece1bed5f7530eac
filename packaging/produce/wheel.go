package produce

import (
	"context"
	"fmt"
	"strings"

	"modwsgi/internal/run"
	"modwsgi/internal/target"
	"modwsgi/modulebuild/windows"
	"modwsgi/packaging"
	"modwsgi/packaging/linkage"
	"modwsgi/packaging/matrix"
	"modwsgi/packaging/wheel"
	"modwsgi/packaging/winzip"
)

func wheelFormat() Format {
	return Format{
		Name: "wheel", Targets: withWindows(host), Foreign: func(target.Target) error { return nil }, Write: writeWheel, WriteHTTPD: writeHTTPDWheel,
		Options: []Option{
			{Name: "bundle", Kind: matrix.Text, Default: "auto", Check: oneOf("auto", "none")},
			{Name: "allow_foreign", Kind: matrix.Strings},
			{
				Name: "metadata_version", Kind: matrix.Text, Default: "2.1", FlagOnly: true, Check: oneOf("2.1", "2.4"),
				Help: "core metadata version: 2.1, which all tools read, or 2.4 with fields for licences (PEP 639)",
			},
			{Name: "local_version", Kind: matrix.Text, Help: "local version label, as in 5.0.2+LABEL"},
			{
				Name: "build_number", Kind: matrix.Number, Check: between(0, 1<<30, "pass a positive number"),
				Help: "build number, which orders wheels of the same version",
			},
		},
		Command: Command{
			Use: "wheel", Short: "Make wheels of httpd and mod_wsgi that install without a compiler",
			Long: "wheel makes two kinds of wheels: mod_wsgi_httpd, which is httpd for any Python 3, and mod_wsgi for each\n" +
				"named Python. Their platform tag is computed from what the binaries require of a system. Libraries that some\n" +
				"of those systems lack are bundled. A directory of wheels is also a package index.",
			Example: "  modwsgi package wheel --python .venv\n" +
				"  modwsgi package wheel --python python3.11 --python python3.12 --with http2 --sign-minisign release.key\n" +
				"  pip install --no-index --find-links dist mod_wsgi",
			Next: func(r *Result, _ Values) []string {
				var lines []string
				for _, a := range r.Artifacts {
					if len(a.Libraries) > 0 {
						lines = append(lines, a.Project+" bundles "+strings.Join(a.Libraries, ", "))
					}
				}
				return append(lines, fmt.Sprintf("Next: pip install --no-index --find-links %s mod_wsgi", run.Quote(r.Dir)))
			},
		},
	}
}

// wheelOptions are the options of one job. With several httpds their names become
// local versions, so that two wheels with different contents never share a name.
func wheelOptions(w *Work) wheel.Options {
	v := w.Values
	o := wheel.Options{
		Bundle: v.Text("bundle") != "none", Allow: v.List("allow_foreign"), WheelChoices: wheelChoices(v), Host: linkage.Host{Root: "/"},
	}
	if c := w.Tree().For; c != nil {
		o.Host, o.Limit, o.Targets = linkage.Host{Root: c.Sysroot.Dir, System: c.Sysroot.Distribution()}, limit(c.Target()), c.Target().WheelTags()
	}
	if w.Label != "" {
		if o.Local != "" {
			o.Local += "."
		}
		o.Local += w.Label
	}
	return o
}

// wheelChoices are those that wheels for every system have.
func wheelChoices(v Values) packaging.WheelChoices {
	return packaging.WheelChoices{Local: v.Text("local_version"), Metadata: v.Text("metadata_version"), Build: v.Number("build_number")}
}

func writeWheel(ctx context.Context, w *Work) ([]string, error) {
	if w.Tree().Cross {
		o := wheelChoices(w.Values)
		return nil, writeWindows(ctx, w, func(ctx context.Context, d *packaging.Dist, s *packaging.Stage) (*packaging.Artifact, error) {
			return winzip.Wheel(ctx, d, s, o)
		})
	}
	_, warnings, err := wheel.Module(ctx, w.Dist, w.Stage(), wheelOptions(w))
	return warnings, err
}

func writeHTTPDWheel(ctx context.Context, w *Work) ([]string, error) {
	_, warnings, err := wheel.HTTPD(ctx, w.Dist, w.Stage(), wheelOptions(w))
	return warnings, err
}

// zipFormat packages the module for an Apache on Windows.
func zipFormat() Format {
	return Format{
		Name: "zip", Targets: withWindows(), From: EachTree,
		Write: func(ctx context.Context, w *Work) ([]string, error) { return nil, writeWindows(ctx, w, winzip.Zip) },
	}
}

// writeWindows makes one artifact for Windows and records its platform.
func writeWindows(ctx context.Context, w *Work, write func(context.Context, *packaging.Dist, *packaging.Stage) (*packaging.Artifact, error)) error {
	art, err := write(ctx, w.Dist, w.Stage())
	if err != nil {
		return err
	}
	art.Parameters["target"] = windows.Target
	w.Dist.Update(*art)
	return nil
}
