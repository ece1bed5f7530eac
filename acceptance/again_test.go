//go:build acceptance

package acceptance

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// otherMinor finds a Python whose minor version differs from that of the tests, that
// mod_wsgi supports, and that has a shared library: such a module builds in seconds.
func otherMinor(t *testing.T) string {
	t.Helper()
	const ask = "import sys; print('%d.%d' % sys.version_info[:2])"
	mine := must(t, "/", bareEnv(), setting(t, "MODWSGI_TEST_PYTHON"), "-c", ask).stdout
	for _, pattern := range []string{"/usr/bin/python3.1?", "/usr/local/bin/python3.1?", os.Getenv("HOME") + "/.pyenv/versions/3.1*/bin/python3", "/root/.pyenv/versions/3.1*/bin/python3"} {
		found, _ := filepath.Glob(pattern)
		for _, python := range found {
			if r := command(t, "/", bareEnv(), python, "-c", "import venv; "+ask); r.code == 0 && r.stdout != mine {
				return python
			}
		}
	}
	t.Skip("NOT TESTED: recreating an environment with another Python (this machine has only one minor version)")
	return ""
}

// remake creates an environment over the old one, as virtualenv does: it replaces the
// links to the interpreter and keeps everything else.
func remake(t *testing.T, python, env string) {
	t.Helper()
	old, err := filepath.Glob(filepath.Join(env, "bin", "python*"))
	if err != nil || len(old) == 0 {
		t.Fatalf("no interpreter in %s: %v", env, err)
	}
	for _, link := range old {
		if err := os.Remove(link); err != nil {
			t.Fatal(err)
		}
	}
	venv(t, python, env, "--without-pip")
}

// TestRecreatedEnvironment installs, recreates the environment with another minor
// version of Python, and expects that leftovers of the first one are detected, removed
// and replaced.
func TestRecreatedEnvironment(t *testing.T) {
	t.Parallel()
	dir := workdir(t, "again")
	python, other := setting(t, "MODWSGI_TEST_PYTHON"), otherMinor(t)
	env := venv(t, python, filepath.Join(dir, "an env"), "--without-pip")
	if r := install(t, dir, "--python", env); r.code != 0 {
		t.Fatal(r)
	}
	remake(t, other, env)
	modwsgi := program(t, "modwsgi")

	type listed struct {
		Installed []struct {
			Name     string   `json:"name"`
			Earlier  string   `json:"earlier_python"`
			Problems []string `json:"problems"`
		} `json:"installed"`
	}
	list := func() (l listed) {
		t.Helper()
		if err := json.Unmarshal([]byte(must(t, dir, bareEnv(), modwsgi, "list", "--json", "--python", env).stdout), &l); err != nil {
			t.Fatal(err)
		}
		return l
	}
	if l := list(); len(l.Installed) != 2 || l.Installed[0].Earlier == "" || len(l.Installed[0].Problems) == 0 {
		t.Errorf("list: %+v", l)
	}
	doctor := command(t, dir, bareEnv(), modwsgi, "doctor", "--python", env)
	if doctor.code != 3 || !strings.Contains(doctor.stdout, "which this environment had before") {
		t.Errorf("doctor: %v", doctor)
	}

	// Removed, in a copy.
	gone := filepath.Join(dir, "gone")
	must(t, dir, bareEnv(), "cp", "-a", env, gone)
	r := must(t, dir, bareEnv(), modwsgi, "uninstall", "--python", gone)
	left, _ := filepath.Glob(filepath.Join(gone, "*", "mod_wsgi*"))
	deep, _ := filepath.Glob(filepath.Join(gone, "lib", "python*", "site-packages", "*mod*wsgi*"))
	if len(left)+len(deep) > 0 || strings.Count(r.stdout, "for Python 3.") != 2 {
		t.Errorf("uninstall left %v %v: %v", left, deep, r)
	}

	// Replaced.
	r = install(t, dir, "--python", env)
	if r.code != 0 || !strings.Contains(r.stdout, "Verified: ") {
		t.Fatalf("install: %v", r)
	}
	if l := list(); len(l.Installed) != 2 || l.Installed[0].Earlier != "" || len(l.Installed[0].Problems) != 0 {
		t.Errorf("list after the install: %+v", l)
	}
	if r := install(t, dir, "--python", env); r.code != 0 || !strings.Contains(r.stdout, "Nothing to do") {
		t.Errorf("second install: %v", r)
	}

	// The site-packages directory is removed by hand. The programs in bin are orphans
	// and must not block an install.
	if err := os.RemoveAll(filepath.Join(env, "lib")); err != nil {
		t.Fatal(err)
	}
	remake(t, other, env)
	if r := install(t, dir, "--python", env); r.code != 0 {
		t.Errorf("install over orphaned programs: %v", r)
	}
}
