package installer

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/fault"
	"modwsgi/internal/pydist"
	"modwsgi/internal/testkit"
)

// leaveBehind creates what an environment's former Python leaves: a distribution below
// its own lib/python3.x, with a program in bin.
func leaveBehind(t *testing.T, env, version, installer string) (site string) {
	t.Helper()
	site = filepath.Join(env, "lib", "python"+version, "site-packages")
	testkit.Write(t, site, map[string]string{"mod_wsgi/__init__.py": "", "mod_wsgi/server/x.so": "old", "theirs.py": "theirs"})
	testkit.Write(t, filepath.Join(env, "bin"), map[string]string{"mod_wsgi-express": "#!old"})
	d := pydist.Dist{Name: ModuleDist, Version: "4.9.4", Tag: "py3-none-any", Installer: installer}
	for _, f := range []string{"mod_wsgi/__init__.py", "mod_wsgi/server/x.so", "../../../bin/mod_wsgi-express"} {
		d.Files = append(d.Files, pydist.File{Path: f, Source: filepath.Join(site, f)})
	}
	if _, err := d.WriteInfo(site); err != nil {
		t.Fatal(err)
	}
	return site
}

func TestFormerPythonIsListedAndRemoved(t *testing.T) {
	env := python(t)
	before := testkit.Paths(t, env)
	site := leaveBehind(t, env, "3.1", "modwsgi")
	q := request(t)
	q.Python = env
	_, all, err := List(t.Context(), q.Python, q.Setting)
	if err != nil || len(all) != 1 || all[0].Earlier != "3.1" || all[0].Version != "4.9.4" || len(all[0].Problems) != 1 || !strings.Contains(all[0].Problems[0], "had before") {
		t.Fatalf("list: %+v, %v", all, err)
	}
	_, err = Verify(t.Context(), q.Python, q.Setting)
	testkit.WantFault(t, err, fault.Environment, "mod_wsgi 4.9.4 for Python 3.1", "recreated", "modwsgi install --python")
	removed, err := Uninstall(t.Context(), q.Python, q.Setting)
	if err != nil || !slices.Equal(removed, []string{"mod_wsgi 4.9.4 for Python 3.1"}) {
		t.Fatalf("uninstall: %v, %v", removed, err)
	}
	want := append(before, filepath.Dir(site), site, filepath.Join(site, "theirs.py"))
	slices.Sort(want)
	if got := testkit.Paths(t, env); !slices.Equal(got, want) {
		t.Errorf("left:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// uninstall does not remove what pip installed for a former Python.
func TestFormerPackagesOfOthersStay(t *testing.T) {
	env := python(t)
	leaveBehind(t, env, "3.1", "pip")
	before := testkit.Paths(t, env)
	q, h := request(t), &testkit.Events{}
	q.Python, q.Events = env, h.Sink
	removed, err := Uninstall(t.Context(), q.Python, q.Setting)
	if err != nil || len(removed) != 0 || !h.Has("which pip installed, is left in") {
		t.Errorf("%v, %v, %v", removed, err, h.Texts())
	}
	if got := testkit.Paths(t, env); !slices.Equal(got, before) {
		t.Errorf("changed: %v", got)
	}
}

// The former Python's RECORD lists programs that now belong to the present Python.
func TestProgramsOfThePresentPythonStay(t *testing.T) {
	env := python(t)
	leaveBehind(t, env, "3.1", "modwsgi")
	q := request(t)
	q.Python = env
	py, err := environment(t.Context(), q.Python, q.Setting)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(env, "bin", "mod_wsgi-express")
	d := pydist.Dist{Name: ModuleDist, Version: "5", Tag: "py3-none-any", Installer: "pip", Files: []pydist.File{{Path: "../../../bin/mod_wsgi-express", Source: program}}}
	if _, err := d.WriteInfo(py.Platlib); err != nil {
		t.Fatal(err)
	}
	paths, sites, err := formerPaths(findFormer(py, q.Events), py, q.Events)
	if err != nil || len(sites) != 1 || len(paths) < 3 || slices.Contains(paths, program) {
		t.Errorf("%v, %v, %v", paths, sites, err)
	}
}

// Links made by the owner of an environment must not cause removals elsewhere.
func TestLinkedSitesAreIgnored(t *testing.T) {
	env, other := python(t), python(t)
	leaveBehind(t, other, "3.1", "modwsgi")
	symlink(t, filepath.Join(other, "lib", "python3.1"), filepath.Join(env, "lib", "python3.1"))
	testkit.Write(t, env, map[string]string{"lib/python3.2/": ""})
	symlink(t, filepath.Join(other, "lib", "python3.1", "site-packages"), filepath.Join(env, "lib", "python3.2", "site-packages"))
	q := request(t)
	q.Python = env
	py, err := environment(t.Context(), q.Python, q.Setting)
	if err != nil {
		t.Fatal(err)
	}
	if sites := py.EarlierSites(); len(sites) != 0 {
		t.Errorf("%v", sites)
	}
}

func TestStrayProgram(t *testing.T) {
	dir := t.TempDir()
	us, err := os.Executable() // a Go program, but not a modwsgi one
	if err != nil {
		t.Fatal(err)
	}
	if err := copyTo(us, filepath.Join(dir, "mod_wsgi-apxs")); err != nil {
		t.Fatal(err)
	}
	testkit.Write(t, dir, map[string]string{"mod_wsgi-express": "#!/bin/sh\n"})
	for _, name := range []string{"mod_wsgi-apxs", "mod_wsgi-express", "missing"} {
		if strayProgram(filepath.Join(dir, name)) {
			t.Errorf("%s counts as a modwsgi program", name)
		}
	}
}

func copyTo(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
