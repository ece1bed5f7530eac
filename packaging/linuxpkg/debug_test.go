//go:build linux

package linuxpkg

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/elf"
	"modwsgi/internal/run"
	"modwsgi/packaging"
)

// debugged is a stage whose module has separated debugging information, and the build
// identifier of the module.
func debugged(t *testing.T) (*packaging.Stage, string) {
	t.Helper()
	s := stageDir(t)
	f, err := elf.Open(filepath.Join(s.Site, s.Module.File))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	id := f.BuildID()
	if id == "" {
		t.Skip("the library that stands in for the module has no build identifier")
	}
	for _, one := range []string{id, "0123456789abcdef"} { // the second is of another package's binary
		file := filepath.Join(t.TempDir(), one)
		if err := os.WriteFile(file, []byte("information of "+one), 0o600); err != nil {
			t.Fatal(err)
		}
		s.Debug = append(s.Debug, packaging.Debug{ID: one, Of: s.Module.File, File: file, Path: "usr/lib/debug/.build-id/" + one[:2] + "/" + one[2:] + ".debug"})
	}
	return s, id
}

// Each format gets a second package with the information of exactly its binaries.
func TestDebugPackages(t *testing.T) {
	needsDpkg(t)
	for f, name := range map[Format]string{
		Deb: "libapache2-mod-wsgi-py311-dbgsym_5.0.2-1_amd64.deb", RPM: "-debuginfo-5.0.2-1.x86_64.rpm", APK: "-dbg-5.0.2-r1.x86_64.apk",
	} {
		s, id := debugged(t)
		dir := filepath.Join(t.TempDir(), "dist")
		d, err := packaging.Open(dir, false)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Abort()
		main, _, err := Write(t.Context(), d, s, options(f))
		if err != nil {
			t.Fatal(err)
		}
		all := d.Added()
		if len(all) != 2 || all[0].Name != main.Name || !strings.HasSuffix(all[1].Name, name) || all[1].Version != main.Version || all[1].Parameters["of"] != main.Name {
			t.Fatalf("%s: %+v", f, all)
		}
		if f != Deb {
			continue
		}
		deb := filepath.Join(t.TempDir(), "x.deb")
		out, err := d.Open(all[1].Name)
		if err != nil {
			t.Fatal(err)
		}
		copyTo(t, out, deb)
		var r run.Runner
		fields, err := r.Output(t.Context(), run.Cmd{Argv: []string{"dpkg-deb", "-f", deb}, Env: options(f).Env})
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"Section: debug\n", "Auto-Built-Package: debug-symbols\n", "Build-Ids: " + id + "\n", "Depends: libapache2-mod-wsgi-py311 (= 5.0.2-1)\n"} {
			if !strings.Contains(string(fields), want) {
				t.Errorf("lacks %q:\n%s", want, fields)
			}
		}
		list, err := r.Output(t.Context(), run.Cmd{Argv: []string{"dpkg-deb", "-c", deb}, Env: options(f).Env})
		if err != nil || !strings.Contains(string(list), "./usr/lib/debug/.build-id/"+id[:2]+"/"+id[2:]+".debug") || strings.Contains(string(list), "0123456789") ||
			!strings.Contains(string(list), "./usr/share/doc/libapache2-mod-wsgi-py311-dbgsym -> libapache2-mod-wsgi-py311") {
			t.Errorf("%s, %v", list, err)
		}
	}
}

func copyTo(t *testing.T, from *os.File, name string) {
	t.Helper()
	defer func() { _ = from.Close() }()
	to, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := to.ReadFrom(from); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
}
