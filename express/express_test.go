//go:build unix

package express

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"modwsgi/express/host"
	"modwsgi/express/instance"
	"modwsgi/express/site"
	"modwsgi/internal/freeport"
	"modwsgi/internal/owned"
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

func TestDiscover(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "an [odd] env's dir*")
	exe, packages := fakeInstall(t, dir, nil)
	link := filepath.Join(base, "links", "serve")
	second := filepath.Join(base, "second")
	whole := filepath.Join(base, "whole")
	for _, err := range []error{os.Mkdir(filepath.Dir(link), 0o755), os.Symlink(exe, link), os.Symlink("links/serve", second), os.Symlink(dir, whole)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, start := range []string{exe, link, second} {
		in, err := site.Discover(start)
		if err != nil {
			t.Errorf("%s: %v", start, err)
			continue
		}
		if in.Packages != packages || in.Home != dir || in.Receipt.HTTPD.Executable != filepath.Join(packages, "mod_wsgi_packages/httpd/bin/httpd") {
			t.Errorf("%s: %+v", start, in)
		}
		if err := in.CheckPython(); err != nil || in.Stdlib != filepath.Join(dir, "base/lib/python3.11") {
			t.Errorf("%s: %v, %s", start, err, in.Stdlib)
		}
	}
	if in, err := site.Discover(filepath.Join(whole, "bin", "mod_wsgi-express")); err != nil || in.Home != whole {
		t.Errorf("through a link to the environment: %+v %v", in, err)
	}
	if _, err := site.Discover(filepath.Join(base, "links", "other")); err == nil || !strings.Contains(err.Error(), "no mod_wsgi is installed in") {
		t.Errorf("without an environment: %v", err)
	}
}

func TestMovedEnvironmentKeepsItsOwnHome(t *testing.T) {
	base := t.TempDir()
	before, after := filepath.Join(base, "before"), filepath.Join(base, "after")
	fakeInstall(t, before, func(r *receipt.Receipt) { r.Python.Prefix = before })
	if err := os.Rename(before, after); err != nil {
		t.Fatal(err)
	}
	in, err := site.Discover(filepath.Join(after, "bin", "mod_wsgi-express"))
	if err != nil || in.Home != after {
		t.Fatalf("%+v %v", in, err)
	}
}

func TestBrokenPython(t *testing.T) {
	for name, c := range map[string]struct {
		edit  func(*receipt.Receipt)
		spoil func(dir string) error
		want  string
	}{
		"library": {
			edit: func(r *receipt.Receipt) { r.Python.LibPython = "/nonexistent/libpython3.11.so.1.0" },
			want: "/nonexistent/libpython3.11.so.1.0",
		},
		"home":   {spoil: func(dir string) error { return os.RemoveAll(filepath.Join(dir, "base", "bin")) }, want: "which pyvenv.cfg names"},
		"stdlib": {spoil: func(dir string) error { return os.RemoveAll(filepath.Join(dir, "base", "lib")) }, want: "standard library"},
	} {
		dir := t.TempDir()
		exe, _ := fakeInstall(t, dir, c.edit)
		if c.spoil != nil {
			if err := c.spoil(dir); err != nil {
				t.Fatal(err)
			}
		}
		in, err := site.Discover(exe)
		if err != nil {
			t.Fatal(err)
		}
		if err := in.CheckPython(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// become replaces the test's process with a program, as far as a test allows; see
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

func TestCheckRoot(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	mkdir := func(name string, mode os.FileMode) string {
		dir := filepath.Join(base, name)
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.Chmod(dir, mode)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	file := filepath.Join(base, "file")
	link := filepath.Join(base, "link")
	private := mkdir("private", 0o700)
	open := mkdir("open", 0o777)
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Symlink(private, link)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ dir, want string }{
		{private, ""},
		{mkdir("readable", 0o755), ""},
		{filepath.Join(base, "new"), "no such file"},
		{open, "can be written by others"},
		{link, "is a symbolic link"},
		{file, "is not a directory"},
		{filepath.Join(base, "no", "new"), "does not exist"},
		{filepath.Join(open, "new"), "can replace the server root"},
	} {
		dir, err := instance.OpenRoot(c.dir)
		if err == nil {
			dir.Close()
		}
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.dir, err, c.want)
		}
	}
	if _, err := os.Lstat(filepath.Join(base, "new")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the check created the directory")
	}
	if os.Geteuid() == 0 {
		group := mkdir("group", 0o770)
		if err := os.Chown(group, 0, 4711); err != nil {
			t.Fatal(err)
		}
		if _, err := instance.OpenRoot(group); err == nil || !strings.Contains(err.Error(), "can be written by others") {
			t.Errorf("%v", err)
		}
		theirs := mkdir("theirs", 0o700)
		if err := os.Chown(theirs, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		if _, err := instance.OpenRoot(theirs); err == nil || !strings.Contains(err.Error(), "belongs to another user") {
			t.Errorf("%v", err)
		}
	}
}

func TestSocketPath(t *testing.T) {
	if err := instance.CheckSocketPath("/tmp/mod_wsgi-localhost:8000:0"); err != nil {
		t.Error(err)
	}
	if err := instance.CheckSocketPath("/" + strings.Repeat("x", 90)); err == nil || !strings.Contains(err.Error(), "the system allows") {
		t.Errorf("%v", err)
	}
}

func TestStaleSockets(t *testing.T) {
	dir := t.TempDir()
	names := map[string]bool{"wsgi.999999999.u0.1.sock": false, "wsgi." + strconv.Itoa(os.Getpid()) + ".u0.1.sock": true, "other.sock": true}
	for name := range names {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, name), Net: "unix"})
		if err != nil {
			t.Skip(err) // a directory with a long name
		}
		l.SetUnlinkOnClose(false)
		l.Close()
	}
	opened, err := owned.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	instance.RemoveStaleSockets(opened)
	for name, want := range names {
		if _, err := os.Lstat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s exists: %v, want %v", name, err == nil, want)
		}
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
