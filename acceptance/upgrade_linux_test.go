//go:build acceptance

package acceptance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"modwsgi/internal/freeport"
)

// patchVersions finds two Pythons with the same minor version and different patch
// versions: pyenv's, which has a shared libpython, and the system's.
func patchVersions(t *testing.T) (minor, pyenv, library string) {
	t.Helper()
	out := must(t, "/", bareEnv(), "/usr/bin/python3", "-c", "import platform, sys; print('%d.%d' % sys.version_info[:2], platform.python_version())")
	words := strings.Fields(out.stdout)
	minor = words[0]
	found, _ := filepath.Glob(os.Getenv("HOME") + "/.pyenv/versions/" + minor + ".*/lib/libpython" + minor + ".so.1.0")
	libraries, _ := filepath.Glob("/usr/lib/*/libpython" + minor + ".so.1.0")
	if len(libraries) == 0 || len(found) == 0 || strings.Contains(found[0], "/"+words[1]+"/") {
		t.Skipf("needs pyenv's Python %s of another patch version than the system's %s, and the libpython of both", minor, words[1])
	}
	return minor, filepath.Dir(filepath.Dir(found[0])), libraries[0]
}

// versionsBehindALink makes the directories of two Pythons, and a link to the first.
func versionsBehindALink(t *testing.T, dir string) (minor string) {
	t.Helper()
	minor, pyenv, library := patchVersions(t)
	python, soname := "python"+minor, filepath.Base(library)
	// Copies, because root's home is closed to the serving account.
	script := `set -e
mkdir -p one/bin one/lib one/include two/bin two/lib
cp $1/bin/$2 one/bin/; cp $1/lib/$3 one/lib/; cp -r $1/include/$2 one/include/
tar -C $1/lib -c --exclude site-packages --exclude test --exclude '*.a' --exclude __pycache__ --exclude idlelib --exclude tkinter --exclude ensurepip $2 | tar -C one/lib -x
cp /usr/bin/$2 two/bin/; cp $4 two/lib/; ln -s /usr/lib/$2 two/lib/$2; ln -s /usr/include two/include
ln -s one stable`
	must(t, dir, bareEnv(), "sh", "-c", script, "sh", pyenv, python, soname, library)
	name := filepath.Join(dir, "one", "bin", python)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	own := []byte(pyenv + "/lib\x00")
	if bytes.Count(data, own) != 1 {
		t.Skipf("%s has no run path to its libpython", name)
	}
	moved := append([]byte("$ORIGIN/../lib\x00"), make([]byte, len(own))...)[:len(own)]
	if err := os.WriteFile(name, bytes.Replace(data, own, moved, 1), 0o755); err != nil {
		t.Fatal(err)
	}
	return minor
}

// versionApp reports its interpreter and its standard library.
const versionApp = `import json, os, platform, sys

def application(environ, start_response):
    body = json.dumps({"version": platform.python_version(), "prefix": sys.prefix, "stdlib": os.path.dirname(os.__file__)}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
`

type runs struct{ Version, Prefix, Stdlib string }

// launched starts the launcher of an environment with variables, and returns what the
// application runs with and the launcher's output; no answer if it ends.
func launched(t *testing.T, env string, variables ...string) (*runs, string) {
	t.Helper()
	dir := workdir(t, "app")
	script := filepath.Join(dir, "version.wsgi")
	if err := os.WriteFile(script, []byte(versionApp), 0o644); err != nil {
		t.Fatal(err)
	}
	port := freeport.Get(t)
	argv := []string{"start-server", script, "--host", "127.0.0.1", "--port", fmt.Sprint(port), "--server-root", filepath.Join(dir, "root")}
	if os.Geteuid() == 0 {
		argv = append(argv, "--user", "nobody", "--group", "nogroup")
	}
	c := exec.CommandContext(t.Context(), filepath.Join(env, "bin/mod_wsgi-express"), argv...)
	c.Dir, c.Env = dir, bareEnv(variables...)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	done := make(chan struct{})
	go func() { ended <- c.Wait(); close(done) }()
	body, err := get(port, "/", ended)
	_ = c.Process.Signal(syscall.SIGTERM)
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		_ = c.Process.Kill()
		<-done
		t.Errorf("the launcher did not end on SIGTERM")
	}
	if err != nil {
		return nil, out.String()
	}
	var r runs
	if err := json.Unmarshal(body, &r); err != nil {
		t.Fatalf("answer %q: %v", body, err)
	}
	return &r, out.String()
}

// TestPythonUpgradedBehindALink: a module follows the link that pyvenv.cfg names, as
// the standard library does, so that an upgrade behind it changes both. If only one of
// them changes, every program reports it, and doctor --fix repairs it.
func TestPythonUpgradedBehindALink(t *testing.T) {
	t.Parallel()
	dir := workdir(t, "pythons")
	minor := versionsBehindALink(t, dir)
	in := func(format string, args ...any) string { return filepath.Join(dir, fmt.Sprintf(format, args...)) }
	modwsgi := program(t, "modwsgi")
	vars := bareEnv("MODWSGI_CACHE_DIR="+setting(t, "MODWSGI_TEST_CACHE"), "LD_LIBRARY_PATH="+in("one/lib"))
	env := venv(t, in("stable/bin/python%s", minor), in("E"), "--without-pip")
	version := func() string {
		return strings.TrimSpace(must(t, dir, bareEnv(), in("E/bin/python"), "-c", "import platform; print(platform.python_version())").stdout)
	}
	old := version()
	if r := install(t, dir, "--python", env); r.code != 0 {
		t.Fatal(r)
	}

	must(t, dir, bareEnv(), "ln", "-sfn", "two", in("stable"))
	now := version()
	if old == now {
		t.Fatalf("still Python %s", now)
	}
	if r := command(t, dir, vars, modwsgi, "doctor", "--python", env); r.code != 0 || !strings.Contains(r.stdout, "Python was "+old+" when the module was built and is now "+now) {
		t.Errorf("doctor: %v", r)
	}
	if r := command(t, dir, vars, modwsgi, "verify", "--python", env); r.code != 0 || !strings.Contains(r.stdout, "with Python "+now) {
		t.Errorf("verify: %v", r)
	}
	if r := command(t, dir, vars, installArgs(t, "--python", env)...); r.code != 0 || !strings.Contains(r.stdout, "Nothing to do") {
		t.Errorf("install: %v", r)
	}
	want := runs{now, env, in("stable/lib/python%s", minor)}
	for _, variables := range [][]string{
		nil,
		{"LD_LIBRARY_PATH=" + in("one/lib"), "PYTHONHOME=" + in("one"), "PYTHONPLATLIBDIR=lib64", "PYTHONEXECUTABLE=" + in("one/bin/python%s", minor)},
	} {
		got, said := launched(t, env, variables...)
		if got == nil || *got != want {
			t.Errorf("with %q: %+v, want %+v\n%s", variables, got, want, said)
		}
		if variables != nil && !strings.Contains(said, "Inherited Variable : "+variables[0]+"\n") {
			t.Errorf("the library path is not named:\n%s", said)
		}
	}
	if got, said := launched(t, env, "LD_PRELOAD="+in("one/lib/libpython%s.so.1.0", minor)); got != nil || !strings.Contains(said, "error: LD_PRELOAD loads "+in("one/lib")) {
		t.Errorf("with another Python preloaded: %+v\n%s", got, said)
	}

	// Half of an upgrade: the old libpython is left next to the new Python.
	must(t, dir, bareEnv(), "sh", "-c", `rm stable && mkdir -p stable/lib && ln -s ../two/bin ../two/include stable/ && ln -s ../../two/lib/python$1 stable/lib/ && cp one/lib/libpython$1.so.1.0 stable/lib/`, "sh", minor)
	stale := "the module loads the libpython of Python " + old
	if r := command(t, dir, vars, modwsgi, "doctor", "--python", env); r.code != 3 || !strings.Contains(r.stdout, stale) {
		t.Errorf("doctor: %v", r)
	}
	if r := command(t, dir, vars, modwsgi, "verify", "--python", env); r.code != 7 || !strings.Contains(r.stderr, stale) || !strings.Contains(r.stderr, "modwsgi install --python "+env) {
		t.Errorf("verify: %v", r)
	}
	if got, said := launched(t, env); got != nil || !strings.Contains(said, stale) || strings.Contains(said, "Server URL") {
		t.Errorf("the launcher: %+v\n%s", got, said)
	}
	if r := command(t, dir, vars, modwsgi, "doctor", "--python", env, "--fix"); r.code != 0 {
		t.Errorf("doctor --fix: %v", r)
	}
	if got, said := launched(t, env); got == nil || *got != want {
		t.Errorf("after doctor --fix: %+v, want %+v\n%s", got, want, said)
	}
}
