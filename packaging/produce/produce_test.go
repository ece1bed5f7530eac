package produce

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"modwsgi/installer"
	"modwsgi/internal/fault"
	"modwsgi/internal/testkit"
	"modwsgi/packaging"
	"modwsgi/packaging/matrix"
)

// TestFormats checks every entry of the table against the assumptions of the front
// ends.
func TestFormats(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range Formats() {
		t.Run(f.Name, func(t *testing.T) {
			if seen[f.Name] || f.Write == nil {
				t.Errorf("repeated, or without Write")
			}
			seen[f.Name] = true
			if f.Command.Use == "" && len(f.Targets) == 0 {
				t.Error("neither a command nor a release.toml makes it")
			}
			if c := f.Command; c.Use != "" && (c.Next == nil || c.Short == "" || c.Long == "" || c.Example == "") {
				t.Error("its command lacks a text")
			}
			keys := map[string]bool{}
			for _, o := range f.Options {
				if keys[o.Name] || strings.ContainsAny(o.Name, "- ") {
					t.Errorf("option %q is repeated or no key", o.Name)
				}
				keys[o.Name] = true
				if o.FlagOnly && o.Help == "" {
					t.Errorf("nothing can set %s", o.Name)
				}
				if !fits(o) {
					t.Errorf("the default of %s is %T, and its kind %q", o.Name, o.Default, o.Kind)
				}
				if o.Check != nil && o.Default != nil && o.Check(o.Default) != nil {
					t.Errorf("the default of %s is refused", o.Name)
				}
			}
		})
	}
}

// fits reports whether a default is of the option's kind.
func fits(o Option) bool {
	switch o.Default.(type) {
	case nil:
		return true
	case string:
		return o.Kind == matrix.Text
	case int:
		return o.Kind == matrix.Number
	case bool:
		return o.Kind == matrix.Flag
	}
	return o.Kind == matrix.Strings
}

// fake is an order of jobs that need no tree.
type fake struct {
	all       []job
	stageErr  error
	keepGoing bool
	failures  []Failure
	closed    int
	trees     []staged
}

func (o *fake) ready(context.Context, *line) error { return nil }
func (o *fake) stage(context.Context, *line) error { return o.stageErr }
func (o *fake) staged() []staged                   { return o.trees }
func (o *fake) jobs(*line) ([]job, error)          { return o.all, nil }
func (o *fake) step() string                       { return "package" }
func (o *fake) failed() []Failure                  { return o.failures }
func (o *fake) parameters(*line) map[string]string { return nil }
func (o *fake) complete(r *Result)                 { r.Facts["complete"] = "yes" }
func (o *fake) close()                             { o.closed++ }
func (o *fake) fail(_ context.Context, part string, err error) error {
	if !o.keepGoing {
		return err
	}
	o.failures = append(o.failures, Failure{part, err.Error(), err})
	return nil
}

// writes is a job that writes a file and another one next to it.
func writes(part, name, text string) job {
	return job{part: part, write: func(_ context.Context, d *packaging.Dist) ([]string, error) {
		if err := d.Put(name, strings.NewReader(text)); err != nil {
			return nil, err
		}
		if err := d.Add(&packaging.Artifact{Name: name, Kind: "test", Project: "p", Version: "1", Sidecars: []string{name + ".metadata"}}); err != nil {
			return nil, err
		}
		return nil, d.Meta(name+".metadata", []byte(part))
	}}
}

func fails(part string) job {
	return job{part: part, write: func(context.Context, *packaging.Dist) ([]string, error) { return nil, errors.New(part + " is broken") }}
}

func TestPipeline(t *testing.T) {
	described := func(names ...string) []string {
		all := []string{packaging.IndexName, "SHA256SUMS"}
		for _, n := range names {
			all = append(all, n, n+".metadata", n+".cdx.json", n+".intoto.json")
		}
		return all
	}
	for name, c := range map[string]struct {
		order fake
		want  []string // files
		made  []string // parts, in their order
		err   string
	}{
		"all appear in the order of the jobs": {
			order: fake{all: []job{writes("second", "b", "2"), writes("first", "a", "1")}}, want: described("a", "b"), made: []string{"second", "first"},
		},
		"one failure leaves nothing":    {order: fake{all: []job{writes("good", "a", "1"), fails("bad")}}, err: "bad is broken"},
		"a tree that is not built":      {order: fake{all: []job{writes("good", "a", "1")}, stageErr: errors.New("no tree")}, err: "no tree"},
		"keep going publishes the rest": {order: fake{all: []job{fails("bad"), writes("good", "a", "1")}, keepGoing: true}, want: described("a"), made: []string{"good"}},
		"keep going with nothing left":  {order: fake{all: []job{fails("bad")}, keepGoing: true}, err: "bad is broken"},
		"the same file twice is one":    {order: fake{all: []job{writes("x", "a", "1"), writes("y", "a", "1")}}, want: described("a"), made: []string{"x"}},
		"two contents under one name":   {order: fake{all: []job{writes("x", "a", "1"), writes("y", "a", "2")}}, err: "a is made twice, with different contents: x, and y"},
		"two contents, and keep going":  {order: fake{all: []job{writes("x", "a", "1"), writes("y", "a", "2")}, keepGoing: true}, want: described("a"), made: []string{"x"}},
	} {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "dist")
			r, err := carryOut(t.Context(), &Settings{Out: out, Now: time.Now}, &c.order)
			if c.order.closed != 1 {
				t.Errorf("closed %d times", c.order.closed)
			}
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("%v", err)
				}
				if _, err := os.Lstat(out); err == nil {
					t.Error("the output directory was left behind")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var made []string
			for _, m := range r.Artifacts {
				made = append(made, m.Cell)
				if len(m.Sidecars) != 3 {
					t.Errorf("%s: the result lacks its sidecar: %q", m.Name, m.Sidecars)
				}
			}
			if !slices.Equal(made, c.made) || r.Facts["complete"] != "yes" || (r.Err() != nil) != (len(c.order.failures) > 0) {
				t.Errorf("made %q, %v", made, r)
			}
			var got []string
			entries, err := os.ReadDir(out)
			for _, e := range entries {
				if !strings.HasPrefix(e.Name(), ".") && !e.IsDir() && !strings.HasSuffix(e.Name(), ".lock") {
					got = append(got, e.Name())
				}
			}
			slices.Sort(c.want)
			slices.Sort(got)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%q, and not %q", got, c.want)
			}
		})
	}
}

// TestVulnerableTrees: nothing with a known vulnerability is written, wherever the tree
// comes from, unless the user accepts the risk.
func TestVulnerableTrees(t *testing.T) {
	tree := func(version string, features ...string) *Tree {
		return &Tree{Stage: &packaging.Stage{HTTPD: &packaging.HTTPD{Version: version, Features: features}}}
	}
	dropped := 0
	drop := func() { dropped++ }
	for name, c := range map[string]struct {
		trees          []staged
		allow, going   bool
		refused, warns int
		hint           string
	}{
		"fixed":             {trees: []staged{{tree: tree("2.4.71", "http2")}}},
		"another feature":   {trees: []staged{{tree: tree("2.4.68", "tls")}}},
		"no httpd":          {trees: []staged{{tree: &Tree{Stage: &packaging.Stage{}}}}},
		"affected":          {trees: []staged{{tree: tree("2.4.71", "http2")}, {tree: tree("2.4.68", "http2"), fix: "upgrade, or "}}, refused: 1, hint: "upgrade, or accept the risk with --allow-vulnerable"},
		"allowed":           {trees: []staged{{tree: tree("2.4.68", "http2")}, {tree: tree("2.4.68", "http2")}}, allow: true, warns: 1},
		"part of a release": {trees: []staged{{tree: tree("2.4.68", "http2"), name: "part", drop: drop}}, going: true, refused: 1},
	} {
		t.Run(name, func(t *testing.T) {
			var seen testkit.Events
			s := &Settings{Now: time.Now, Out: filepath.Join(t.TempDir(), "dist")}
			s.Build.AllowVulnerable, s.Build.Events = c.allow, seen.Sink
			o := fake{trees: c.trees, all: []job{writes("one", "a", "1")}, keepGoing: c.going}
			dropped = 0
			_, err := carryOut(t.Context(), s, &o)
			if c.going {
				err = failures(o.failures)
			}
			if (err != nil) != (c.refused > 0) || c.going != (dropped == 1) {
				t.Fatalf("%v, %d dropped", err, dropped)
			}
			if err != nil && (!strings.Contains(err.Error(), "httpd 2.4.68 has known vulnerabilities: CVE-2026-119618: ") || !strings.Contains(err.Error(), "CVE-2026-57941") || fault.ClassOf(err) != fault.Source) {
				t.Errorf("%v", err)
			}
			if hint := fault.HintOf(err); !strings.HasPrefix(hint, c.hint) {
				t.Errorf("hint %q", hint)
			}
			if len(seen.Texts()) < c.warns || c.warns > 0 && !seen.Has("CVE-2026-57941") {
				t.Errorf("%q", seen.Texts())
			}
			if _, err := os.Lstat(filepath.Join(s.Out, "a")); (err == nil) != (c.refused == 0 || c.going) {
				t.Errorf("the artifact: %v", err)
			}
		})
	}
}

// TestUnsupportedLibraries: an artifact with a library that upstream no longer supports
// is written, and a warning names both.
func TestUnsupportedLibraries(t *testing.T) {
	with := func(name string, all ...packaging.Component) job {
		return job{part: name, write: func(_ context.Context, d *packaging.Dist) ([]string, error) {
			if err := d.Put(name, strings.NewReader(name)); err != nil {
				return nil, err
			}
			return nil, d.Add(&packaging.Artifact{Name: name, Kind: "test", Project: "p", Version: "1", Components: all})
		}}
	}
	source := func(version string) packaging.Component {
		all := sourceComponents([]installer.Source{{Component: "openssl", Version: version}})
		return all[0]
	}
	host := packaging.Component{Kind: packaging.FromHost, Name: "libssl3", Version: "3.0.22-1~deb12u2", Support: "2026-09-07"}
	for name, c := range map[string]struct {
		component packaging.Component
		says      string
	}{
		"supported":             {source("3.5.9"), ""},
		"nothing known":         {packaging.Component{Kind: packaging.FromSource, Name: "zlib", Version: "1.3.2"}, ""},
		"old":                   {source("3.0.22"), "openssl 3.0.22 is out of support: upstream has not mended vulnerabilities in it since 2026-09-07 (in a)"},
		"old, of the host":      {host, "libssl3 3.0.22-1~deb12u2 is out of support"},
		"old, and another file": {source("1.1.1"), "since 2023-09-11"},
	} {
		t.Run(name, func(t *testing.T) {
			var seen testkit.Events
			s := &Settings{Now: time.Now, Out: filepath.Join(t.TempDir(), "dist")}
			s.Build.Events = seen.Sink
			if _, err := carryOut(t.Context(), s, &fake{all: []job{with("a", c.component), with("b")}}); err != nil {
				t.Fatal(err)
			}
			said := strings.Join(seen.Texts(), "\n")
			if c.says == "" && strings.Contains(said, "support") || !strings.Contains(said, c.says) {
				t.Errorf("%q", said)
			}
			if bom, err := os.ReadFile(filepath.Join(s.Out, "a.cdx.json")); err != nil || strings.Contains(string(bom), "modwsgi:supported-until") != (c.component.Support != "") {
				t.Errorf("bill of materials: %s, %v", bom, err)
			}
		})
	}
}

// TestValuesOfBothFrontEnds: a flag and a key of a release.toml pass the same values
// to a format.
func TestValuesOfBothFrontEnds(t *testing.T) {
	f := imageFormat()
	abs := func(p string) string { return filepath.Join("/base", p) }
	flags := f.complete(Values{"app": "src", "port": 8080, "args": []string{"--processes", "4"}, "bundle": "auto"}, abs)
	file := f.complete(Values{"app": "src", "port": int64(8080), "args": []any{"--processes", "4"}}, abs)
	for _, v := range []Values{flags, file} {
		if v.Text("app") != "/base/src" || v.Number("port") != 8080 || !slices.Equal(v.List("args"), []string{"--processes", "4"}) ||
			v.Text("base") != "scratch" || v.Text("user") != nobody || !v.Flag("packages") || v.Text("bundle") != "" {
			t.Errorf("%v", v)
		}
	}
	for value, want := range map[string]string{"x": "unknown --media-types \"x\"", "oci": "", "docker": ""} {
		err := f.check(Values{"media_types": value})
		if text := ""; err != nil {
			text = err.Error()
			if text != want {
				t.Errorf("%q: %s", value, text)
			}
		} else if want != "" {
			t.Errorf("%q was accepted", value)
		}
	}
}
