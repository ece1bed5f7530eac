//go:build unix

package express

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"modwsgi/express/host"
	"modwsgi/internal/freeport"
	"modwsgi/internal/receipt"
)

// fakeInstall makes a directory that looks like an environment with a module.
func fakeInstall(t testing.TB, dir string, edit func(*receipt.Receipt)) (exe, site string) {
	t.Helper()
	site = filepath.Join(dir, "lib", "python3.11", "site-packages")
	exe = filepath.Join(dir, "bin", "mod_wsgi-express")
	lib := filepath.Join(dir, "base", "lib", "python3.11")
	for _, d := range []string{filepath.Join(site, "mod_wsgi", "server"), filepath.Dir(exe), lib, filepath.Join(dir, "base", "bin")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r := receipt.Receipt{
		Module: receipt.Module{File: "mod_wsgi-py311.so", Version: "5.0.2"},
		Python: receipt.Python{Version: "3.11.2", Prefix: "/where/it/was", BasePrefix: filepath.Join(dir, "base")},
		HTTPD:  receipt.HTTPD{Executable: "mod_wsgi_packages/httpd/bin/httpd", ModulesDir: "mod_wsgi_packages/httpd/modules"},
	}
	if edit != nil {
		edit(&r)
	}
	for name, data := range map[string][]byte{
		exe: []byte("#!"), filepath.Join(site, receipt.Path): r.Encode(), filepath.Join(site, "mod_wsgi/server/mod_wsgi-py311.so"): nil,
		filepath.Join(dir, "pyvenv.cfg"): []byte("home = " + filepath.Join(dir, "base", "bin") + "\nversion = 3.11.2\n"), filepath.Join(lib, "os.py"): nil,
	} {
		if err := os.WriteFile(name, data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return exe, site
}

// become replaces the test's process by a program, as far as a test allows that; see
// noExec.
var become func(host.Command) (int, error)

// runProgram runs the launcher in this process and returns its output.
func runProgram(t *testing.T, inv *Invocation, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	dir := t.TempDir()
	out, err1 := os.Create(filepath.Join(dir, "out"))
	errs, err2 := os.Create(filepath.Join(dir, "err"))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	defer errs.Close()
	inv.Args, inv.Version, inv.Become = args, "1.2.3", become
	code = Run(t.Context(), &Console{Stdin: os.Stdin, Stdout: out, Stderr: errs}, inv)
	a, _ := os.ReadFile(out.Name())
	b, _ := os.ReadFile(errs.Name())
	return code, string(a), string(b)
}

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		args           string
		code           int
		stdout, stderr string
	}{
		{"", 2, "", "Usage: mod_wsgi-express COMMAND"},
		{"--help", 0, "start-server", ""},
		{"help start-server", 0, "--setenv NAME VALUE", ""},
		{"start-server --help", 0, "Timeouts:", ""},
		{"start-server -h --port", 0, "Timeouts:", ""},
		{"--version", 0, "1.2.3", ""},
		{"strat-server", 2, "", "did you mean start-server?"},
		{"start-server --nonsense", 2, "", "Usage: mod_wsgi-express start-server [OPTIONS] [APPLICATION]\n\nmod_wsgi-express: error: no such option: --nonsense\n"},
		{"module-config extra", 2, "", "takes no argument"},
		{"start-server app.py --port " + strconv.Itoa(freeport.Get(t)), 1, "", "modwsgi install --python"},
	} {
		dir := t.TempDir()
		code, stdout, stderr := runProgram(t, &Invocation{Executable: filepath.Join(dir, "bin", "x"), Dir: dir}, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) || (code == 0) != (stderr == "") {
			t.Errorf("%q: %d\n%s\n%s", c.args, code, stdout, stderr)
		}
		if strings.Contains(stdout, "newrelic") || strings.Contains(stdout, "apachectl ") {
			t.Errorf("%q shows hidden entries", c.args)
		}
	}
}

func TestModuleConfigEscapes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), `a "b\ c`)
	exe, _ := fakeInstall(t, dir, nil)
	code, stdout, stderr := runProgram(t, &Invocation{Executable: exe, Dir: dir}, "module-config")
	if code != 0 || !strings.Contains(stdout, `/a \"b\\ c/lib/`) || strings.Count(stdout, "\n") != 2 {
		t.Errorf("%d %s %s", code, stdout, stderr)
	}
	if err := os.Remove(filepath.Join(dir, "lib/python3.11/site-packages/mod_wsgi/server/mod_wsgi-py311.so")); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := runProgram(t, &Invocation{Executable: exe, Dir: dir}, "module-location"); code != 1 || stdout != "" || !strings.Contains(stderr, "does not exist") {
		t.Errorf("missing module: %d %s %s", code, stdout, stderr)
	}
}

// testUser returns the options that a start as root needs.
func testUser() []string {
	if os.Geteuid() != 0 {
		return nil
	}
	return []string{"--user", "nobody"}
}

func plantText(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
