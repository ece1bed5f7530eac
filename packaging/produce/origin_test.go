package produce

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"modwsgi/detect"
	"modwsgi/installer"
	"modwsgi/packaging"
)

// traced returns what is recorded of a wheel of httpd and of one of the module.
func traced(t *testing.T, s *Settings, tree *Tree) (httpd, module packaging.Artifact) {
	t.Helper()
	d, err := packaging.Open(t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Abort()
	for name, parts := range map[string][]packaging.Component{"httpd.whl": tree.Stage.HTTPD.Components, "module.whl": tree.Stage.Module.Components} {
		if err := d.Put(name, strings.NewReader(name)); err != nil {
			t.Fatal(err)
		}
		if err := d.Add(&packaging.Artifact{Name: name, Kind: "wheel", Components: parts, Parameters: map[string]string{"bundle": "true"}}); err != nil {
			t.Fatal(err)
		}
	}
	describe(d, []*Tree{tree}, time.Unix(7, 0))
	if err := s.trace(d, []*Tree{tree}); err != nil {
		t.Fatal(err)
	}
	all := map[string]packaging.Artifact{}
	for _, a := range d.Added() {
		all[a.Name] = a
	}
	return all["httpd.whl"], all["module.whl"]
}

// treeFor is a build for a Python.
func treeFor(t *testing.T, python string) *Tree {
	t.Helper()
	library := filepath.Join(t.TempDir(), "libpython.so")
	if err := os.WriteFile(library, []byte(python), 0o600); err != nil {
		t.Fatal(err)
	}
	features := []string{"tls", "http2"}
	return &Tree{
		Stage: &packaging.Stage{
			HTTPD: &packaging.HTTPD{
				Version: "2.4.71", Features: features, Compiler: "gcc 12",
				Components: packaging.WithFeatures([]packaging.Component{packaging.SourceComponent("httpd", "2.4.71", "", "ab")}, features),
			},
			Module: &packaging.Module{
				Version: "5.0.2", HTTPD: "2.4.71", Bundled: true, Python: packaging.Python{Version: python, SOABI: "cpython"},
				Components: []packaging.Component{packaging.SourceComponent("mod_wsgi", "5.0.2", "", "cd")},
			},
		},
		Python: &detect.Python{LibPython: library},
		wish:   &installer.Wish{HTTPDVersion: "~> 2.4.70", ModWSGIVersion: "~> 5.0", With: features, Without: []string{"brotli"}},
	}
}

func TestOriginOfAModule(t *testing.T) {
	_, a := traced(t, &Settings{}, treeFor(t, "3.11.7"))
	want := map[string]string{
		"bundle": "true", "httpd": "bundled", "httpd_version": "~> 2.4.70", "mod_wsgi_version": "~> 5.0", "with": "http2,tls", "without": "brotli", "libraries": "auto", "hardening": "auto",
		"python": "3.11.7", "target": (&Tree{}).system(),
	}
	if !maps.Equal(a.Parameters, want) {
		t.Errorf("got %v, want %v", a.Parameters, want)
	}
	if a.Environment["httpd_features"] != "http2,tls" || a.Environment["python_soabi"] != "cpython" || a.Environment["compiler"] != "gcc 12" {
		t.Errorf("got %v", a.Environment)
	}
	var inputs []string
	for _, c := range a.Inputs {
		inputs = append(inputs, c.Kind+" "+c.PURL+" "+c.SHA256[:2])
	}
	if want := []string{"build pkg:generic/python@3.11.7 82", "build pkg:generic/httpd@2.4.71?checksum=sha256:ab&features=http2%2Ctls ab"}; !slices.Equal(inputs, want) {
		t.Errorf("got %v", inputs)
	}
}

// TestOriginOfTheHTTPDIsThatOfEveryPython: machines that share a release make the same
// httpd with different Pythons.
func TestOriginOfTheHTTPDIsThatOfEveryPython(t *testing.T) {
	one, _ := traced(t, &Settings{}, treeFor(t, "3.11.7"))
	other := treeFor(t, "3.13.5")
	other.For, other.Target, other.about = nil, "", map[string]string{installer.TargetPython: "x"}
	two, _ := traced(t, &Settings{}, other)
	if !maps.Equal(one.Parameters, two.Parameters) || !maps.Equal(one.Environment, two.Environment) || len(one.Inputs)+len(two.Inputs) > 0 || one.Parameters["python"] != "" || one.Parameters["mod_wsgi_version"] != "" {
		t.Errorf("got\n%+v\n%+v", one, two)
	}
	for _, python := range []string{"3.11.7", "3.13.5"} { // on another system
		tree := treeFor(t, python)
		tree.For, tree.Target, tree.proof, tree.provenWith = &installer.Cross{}, "linux/arm64/glibc2.28", "answered a request under qemu", ", with Python "+python
		tree.about = map[string]string{installer.TargetPython: python, "sysroot_sha256": "base"}
		httpd, module := traced(t, &Settings{}, tree)
		if e := httpd.Environment; e["proof"] != "answered a request under qemu" || e[installer.TargetPython] != "" || e["sysroot_sha256"] != "base" {
			t.Errorf("httpd: %v", e)
		}
		if e := module.Environment; e["proof"] != "answered a request under qemu, with Python "+python || e[installer.TargetPython] != python || module.Parameters["target"] != tree.Target {
			t.Errorf("module: %v, %v", e, module.Parameters)
		}
	}
}

// TestLockFileIsAChoice: with --locked, the versions are those of one lock file.
func TestLockFileIsAChoice(t *testing.T) {
	lock := filepath.Join(t.TempDir(), "modwsgi.lock")
	s := &Settings{Build: installer.Request{Wish: installer.Wish{LockFile: lock}}}
	tree := treeFor(t, "3.11.7")
	tree.wish.Locked, tree.wish.AllowVulnerable = true, true
	if _, err := s.origin(tree, true); err == nil {
		t.Error("a missing lock file was accepted")
	}
	if err := os.WriteFile(lock, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	httpd, module := traced(t, s, tree)
	for _, a := range []packaging.Artifact{httpd, module} {
		if p := a.Parameters; p["lock_sha256"] != "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" || p["allow_vulnerable"] != "true" {
			t.Errorf("got %v", p)
		}
	}
	tree.wish = nil
	if _, module := traced(t, s, tree); module.Parameters["build"] != "installed" || module.Parameters["lock_sha256"] != "" {
		t.Errorf("got %v", module.Parameters)
	}
}
