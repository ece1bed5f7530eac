//go:build unix

package express

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"modwsgi/internal/fault"
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
	exe, site := fakeInstall(t, dir, nil)
	link := filepath.Join(base, "links", "serve")
	second := filepath.Join(base, "second")
	whole := filepath.Join(base, "whole")
	for _, err := range []error{os.Mkdir(filepath.Dir(link), 0o755), os.Symlink(exe, link), os.Symlink("links/serve", second), os.Symlink(dir, whole)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, start := range []string{exe, link, second} {
		in, err := discover(start)
		if err != nil {
			t.Errorf("%s: %v", start, err)
			continue
		}
		if in.site != site || in.home != dir || in.receipt.HTTPD.Executable != filepath.Join(site, "mod_wsgi_packages/httpd/bin/httpd") {
			t.Errorf("%s: %+v", start, in)
		}
		if err := in.checkPython(); err != nil || in.stdlib != filepath.Join(dir, "base/lib/python3.11") {
			t.Errorf("%s: %v, %s", start, err, in.stdlib)
		}
	}
	if in, err := discover(filepath.Join(whole, "bin", "mod_wsgi-express")); err != nil || in.home != whole {
		t.Errorf("through a link to the environment: %+v %v", in, err)
	}
	if _, err := discover(filepath.Join(base, "links", "other")); err == nil || !strings.Contains(err.Error(), "no mod_wsgi is installed in") {
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
	in, err := discover(filepath.Join(after, "bin", "mod_wsgi-express"))
	if err != nil || in.home != after {
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
		"home":   {spoil: func(dir string) error { return os.RemoveAll(filepath.Join(dir, "base", "bin")) }, want: "pyvenv.cfg says"},
		"stdlib": {spoil: func(dir string) error { return os.RemoveAll(filepath.Join(dir, "base", "lib")) }, want: "standard library"},
	} {
		dir := t.TempDir()
		exe, _ := fakeInstall(t, dir, c.edit)
		if c.spoil != nil {
			if err := c.spoil(dir); err != nil {
				t.Fatal(err)
			}
		}
		in, err := discover(exe)
		if err != nil {
			t.Fatal(err)
		}
		if err := in.checkPython(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// run runs the launcher in this process and returns what it prints.
func runProgram(t *testing.T, p *Program, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	dir := t.TempDir()
	out, err1 := os.Create(filepath.Join(dir, "out"))
	errs, err2 := os.Create(filepath.Join(dir, "err"))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	defer errs.Close()
	p.Args, p.Stdin, p.Stdout, p.Stderr, p.Version = args, os.Stdin, out, errs, "1.2.3"
	code = Run(t.Context(), p)
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
		code, stdout, stderr := runProgram(t, &Program{Executable: filepath.Join(dir, "bin", "x"), Dir: dir}, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) || (code == 0) != (stderr == "") {
			t.Errorf("%q: %d\n%s\n%s", c.args, code, stdout, stderr)
		}
		if strings.Contains(stdout, "newrelic") || strings.Contains(stdout, "apachectl ") {
			t.Errorf("%q shows what is hidden", c.args)
		}
	}
}

func TestModuleConfigEscapes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), `a "b\ c`)
	exe, _ := fakeInstall(t, dir, nil)
	code, stdout, stderr := runProgram(t, &Program{Executable: exe, Dir: dir}, "module-config")
	if code != 0 || !strings.Contains(stdout, `/a \"b\\ c/lib/`) || strings.Count(stdout, "\n") != 2 {
		t.Errorf("%d %s %s", code, stdout, stderr)
	}
	if err := os.Remove(filepath.Join(dir, "lib/python3.11/site-packages/mod_wsgi/server/mod_wsgi-py311.so")); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := runProgram(t, &Program{Executable: exe, Dir: dir}, "module-location"); code != 1 || stdout != "" || !strings.Contains(stderr, "is not there") {
		t.Errorf("missing module: %d %s %s", code, stdout, stderr)
	}
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	err = checkPort("127.0.0.1", port, optHTTPSPort)
	if err == nil || !strings.Contains(err.Error(), "is in use by") || !strings.HasSuffix(fault.HintOf(err), "with --https-port") {
		t.Errorf("%v (%s)", err, fault.HintOf(err))
	}
	if err != nil && holder(port) != "" && !strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getpid())) {
		t.Errorf("%v does not name us, %d", err, os.Getpid())
	}
	for _, all := range []string{"", "0.0.0.0"} {
		if err := checkPort(all, port, optPort); err == nil || !strings.Contains(err.Error(), "is in use by") {
			t.Errorf("%q: %v", all, err)
		}
	}
	l.Close()
	// While an address is tried nobody is let in, who would be sent away then. The
	// port is none that the kernel gives to clients: one could meet itself there.
	for port = 21000 + os.Getpid()%9000; checkPort("", port, optPort) != nil; port++ {
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		for range 300 {
			for _, host := range []string{"127.0.0.1", "localhost", "", "0.0.0.0"} {
				if err := checkPort(host, port, optPort); err != nil {
					t.Errorf("%q: %v", host, err)
				}
			}
		}
	}()
	for waiting := true; waiting; {
		select {
		case <-over:
			waiting = false
		default:
			if c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port)); err == nil {
				c.Close()
				t.Error("somebody was let in while the port was tried")
			}
		}
	}
	for host, want := range map[string]string{"192.0.2.1": "not an address of this machine", "no-such-host.invalid": "no-such-host.invalid"} {
		if err := checkPort(host, port, optPort); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", host, err)
		}
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
		{filepath.Join(base, "no", "new"), "is not there"},
		{filepath.Join(open, "new"), "can replace the server root"},
	} {
		dir, err := openRoot(c.dir)
		if err == nil {
			dir.Close()
		}
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.dir, err, c.want)
		}
	}
	if _, err := os.Lstat(filepath.Join(base, "new")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the check made the directory")
	}
	if os.Geteuid() == 0 {
		group := mkdir("group", 0o770)
		if err := os.Chown(group, 0, 4711); err != nil {
			t.Fatal(err)
		}
		if _, err := openRoot(group); err == nil || !strings.Contains(err.Error(), "can be written by others") {
			t.Errorf("%v", err)
		}
		theirs := mkdir("theirs", 0o700)
		if err := os.Chown(theirs, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		if _, err := openRoot(theirs); err == nil || !strings.Contains(err.Error(), "belongs to another user") {
			t.Errorf("%v", err)
		}
	}
}

func TestSocketPath(t *testing.T) {
	if err := checkSocketPath("/tmp/mod_wsgi-localhost:8000:0"); err != nil {
		t.Error(err)
	}
	if err := checkSocketPath("/" + strings.Repeat("x", 90)); err == nil || !strings.Contains(err.Error(), "the system allows") {
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
	removeStaleSockets(opened)
	for name, want := range names {
		if _, err := os.Lstat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", name, err == nil, want)
		}
	}
}

func TestAccess(t *testing.T) {
	if os.Geteuid() != 0 || runtime.GOOS != "linux" {
		t.Skip("only root on Linux can look with another account's eyes")
	}
	base := t.TempDir()
	for d := base; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	closed, inner := filepath.Join(base, "closed"), filepath.Join(base, "closed", "inner")
	file, secret, link := filepath.Join(base, "file"), filepath.Join(base, "secret"), filepath.Join(base, "link")
	grouped := filepath.Join(base, "grouped")
	if err := errors.Join(os.MkdirAll(inner, 0o755), os.Chmod(closed, 0o700), os.WriteFile(file, nil, 0o644), os.WriteFile(secret, nil, 0o600),
		os.Symlink(inner, link), os.Mkdir(grouped, 0o750), os.Chown(grouped, 0, 4711)); err != nil {
		t.Fatal(err)
	}
	status := func() string {
		data, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		return string(data[bytes.Index(data, []byte("\nUid:")):bytes.Index(data, []byte("\nVmPeak"))])
	}
	before := status()
	nobody := &account{user: "nobody", uid: 65534, gid: 65534, groups: []int{65534, 4711}, other: true}
	for _, c := range []struct {
		path string
		read bool
		want string
	}{
		{file, true, ""},
		{grouped, true, ""},
		{inner, false, closed + " may not be entered"},
		{link, false, closed + " may not be entered"},
		{closed, false, closed + ": it may not be entered"},
		{secret, true, secret + ": it may not be read"},
		{filepath.Join(base, "missing"), false, "does not exist"},
	} {
		err := checkAccess(nobody, []need{{c.path, "the thing", c.read}})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.path, err, c.want)
		}
	}
	// The rights were those of one thread for one moment.
	if _, err := os.ReadFile(secret); err != nil {
		t.Errorf("we lost our own rights: %v", err)
	}
	if after := status(); after != before {
		t.Errorf("the process changed:%s, before:%s", after, before)
	}
}

func TestReadTimeout(t *testing.T) {
	for _, c := range []struct {
		first, most, rate int
		want              string
	}{
		{15, 30, 500, "15-30,MinRate=500"},
		{15, 0, 500, "15,MinRate=500"},
		{0, 30, 500, "0"},
		{15, 30, 0, "15"}, // httpd refuses a range without a rate
		{15, 0, 0, "15"},
		{40, 30, 500, "40"}, // and one that ends before it begins
	} {
		if got := readTimeout(c.first, c.most, c.rate); got != c.want {
			t.Errorf("%d %d %d: %s, want %s", c.first, c.most, c.rate, got, c.want)
		}
	}
}

func TestMounts(t *testing.T) {
	for v, want := range map[string]string{"/": "/", "": "/", "api": "/api", "/api/": "/api", "//a//b/../c/": "/a/c"} {
		if got := cleanMount(v); got != want {
			t.Errorf("%q: %q, want %q", v, got, want)
		}
	}
}

func TestLocale(t *testing.T) {
	german := "de_DE.UTF-8"
	if !localeExists("/usr/lib/locale", german) {
		german = "C.UTF-8"
	}
	for _, c := range []struct {
		option string
		env    []string
		want   string
	}{
		{"", nil, "C.UTF-8"},
		{"", []string{"LANG=de_DE.UTF-8"}, german},
		{"", []string{"LANG=de_DE.UTF-8", "LC_ALL=C"}, "C.UTF-8"},
		{"POSIX", []string{"LANG=de_DE.UTF-8"}, "POSIX"},
	} {
		if got := localeOf(&Server{Locale: c.option}, c.env); got != c.want {
			t.Errorf("%+v: %s", c, got)
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
