package toolwheel

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/packaging"
)

// program was built by Go, for the list of its components.
func program(t *testing.T) []byte {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestPackage: a source distribution is an artifact like every other one, and wheels
// of the tool may be next to it.
func TestPackage(t *testing.T) {
	tools := t.TempDir()
	o := sample()
	for name := range o.Programs {
		o.Programs[name] = program(t)
	}
	o.Sbom = []byte(`{"components": [{"purl": "pkg:golang/stdlib@x", "licenses": [{"license": {"id": "BSD-3-Clause"}}]}]}`)
	path, err := Write(tools, o)
	if err != nil {
		t.Fatal(err)
	}
	// A directory, and a wheel in it by name, are one wheel.
	wheels, err := Find([]string{tools, path}, "1.2.3-rc1")
	if err != nil || len(wheels) != 1 || wheels[0].licences["pkg:golang/stdlib@x"] != "BSD-3-Clause" {
		t.Fatalf("%+v %v", wheels, err)
	}
	d, err := packaging.Open(filepath.Join(t.TempDir(), "dist"), false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Abort()
	s := Sdist{
		Version: "5.0.2", Python: ">= 3.8", Tool: "1.2.3-rc1", Lock: []byte("schema = 1\n"), Time: time.Unix(1, 0),
		Components: []packaging.Component{packaging.SourceComponent("mod_wsgi", "5.0.2", "Apache-2.0", "aa")}, Parameters: map[string]string{"sources": "none"},
	}
	if err := s.Package(d); err != nil {
		t.Fatal(err)
	}
	if err := wheels[0].Package(d); err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	added := d.Added()
	if len(added) != 2 {
		t.Fatalf("%+v", added)
	}
	if a := added[0]; a.Name != "mod_wsgi-5.0.2.tar.gz" || a.Kind != "sdist" || a.Project != "mod_wsgi" || a.Requires != ">=3.8" || len(a.Components) != 1 || a.Size == 0 {
		t.Errorf("%+v", a)
	}
	a := added[1]
	if a.Name != filepath.Base(path) || a.Kind != "wheel" || a.Project != Name || a.Version != "1.2.3rc1" || a.Requires != ">=3.8" ||
		!slices.ContainsFunc(a.Components, func(c packaging.Component) bool { return c.Name == "stdlib" }) {
		t.Errorf("%+v", a)
	}
	want, _ := os.ReadFile(path)
	got, err := os.ReadFile(filepath.Join(d.Dir(), a.Name))
	if err != nil || string(got) != string(want) {
		t.Errorf("the wheel is another one: %v", err)
	}
	metadata, err := os.ReadFile(filepath.Join(d.Dir(), a.Name+".metadata"))
	if err != nil || !strings.Contains(string(metadata), "Name: modwsgi\n") {
		t.Errorf("%s %v", metadata, err)
	}
}

func TestFindRefuses(t *testing.T) {
	dir := t.TempDir()
	good, err := Write(dir, sample())
	if err != nil {
		t.Fatal(err)
	}
	broken, other, empty := filepath.Join(dir, "broken.whl"), t.TempDir(), t.TempDir()
	if err := os.WriteFile(broken, []byte("PK"), 0o644); err != nil {
		t.Fatal(err)
	}
	o := sample()
	o.Version = "9.9"
	if _, err := Write(other, o); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct{ path, want string }{
		"nothing there":   {filepath.Join(dir, "none"), "no such file"},
		"a broken file":   {broken, "broken.whl"},
		"another version": {other, "it is of modwsgi 9.9, but the source distribution requires 1.2.3rc1"},
		"an empty place":  {empty, "no wheel of modwsgi in " + empty},
	} {
		if w, err := Find([]string{c.path}, "1.2.3-rc1"); err == nil || !strings.Contains(err.Error(), c.want) || fault.ClassOf(err) != fault.Usage || fault.HintOf(err) == "" {
			t.Errorf("%s: %+v, %v", what, w, err)
		}
	}
	if w, err := Find([]string{good}, "1.2.3-rc1"); err != nil || len(w) != 1 {
		t.Errorf("%+v, %v", w, err)
	}
}
