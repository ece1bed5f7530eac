//go:build acceptance && unix

package express_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The tests use an environment made by modwsgi install, which
// MODWSGI_TEST_ENV names, and change nothing in it.

const echoApp = `
import json, os, sys, time
def application(environ, start_response):
    query = environ.get("QUERY_STRING", "")
    if query.startswith("sleep="):
        time.sleep(float(query[6:]))
    out = {k: v for k, v in environ.items() if isinstance(v, (str, bool, int))}
    out["os.environ"] = dict(os.environ)
    out["pid"], out["uid"], out["cwd"], out["path"], out["prefix"] = os.getpid(), os.getuid(), os.getcwd(), sys.path, sys.prefix
    body = json.dumps(out).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
`

func testEnv(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("MODWSGI_TEST_ENV")
	if dir == "" {
		t.Skip("MODWSGI_TEST_ENV does not name an environment made by modwsgi install")
	}
	return dir
}

// workDir is a directory that other accounts can reach.
func workDir(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			break
		}
	}
	if name == "" {
		return dir
	}
	dir = filepath.Join(dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// asUser returns the options that a start as root needs.
func asUser() []string {
	if os.Geteuid() != 0 {
		return nil
	}
	return []string{"--user", runUser()}
}

func runUser() string {
	if _, err := user.Lookup("www-data"); err == nil {
		return "www-data"
	}
	return "nobody"
}

// server is a running launcher.
type server struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  *bytes.Buffer
	root string
	port int
	done chan struct{}
	err  error
}

func launcher(t *testing.T) string { return filepath.Join(testEnv(t), "bin", "mod_wsgi-express") }

func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	// The test's own context ends before its cleanup, which stops servers in
	// their own way.
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), launcher(t), args...)
	// Neither activated nor on the PATH.
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent", "TMPDIR=" + os.TempDir()}
	return cmd
}

// start starts a server and waits until it answers.
func start(t *testing.T, dir string, args ...string) *server {
	t.Helper()
	s := begin(t, dir, args...)
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		select {
		case <-s.done:
			t.Fatalf("the server ended: %v\n%s\n%s", s.err, s.out, s.log())
		default:
		}
		c, err := net.Dial("tcp", s.address())
		if err == nil {
			c.Close()
			return s
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("no answer\n%s\n%s", s.out, s.log())
	return nil
}

func begin(t *testing.T, dir string, args ...string) *server {
	t.Helper()
	s := &server{t: t, port: freePort(t), out: &bytes.Buffer{}, done: make(chan struct{})}
	s.root = filepath.Join(shortDir(t), "it's a root")
	all := append([]string{"start-server"}, args...)
	all = append(all, "--host", "127.0.0.1", "--port", strconv.Itoa(s.port), "--server-root", s.root)
	s.cmd = command(t, append(all, asUser()...)...)
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = dir, s.out, s.out
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.err = s.cmd.Wait(); close(s.done) }()
	t.Cleanup(s.stop)
	return s
}

// shortDir is a directory whose path leaves room for the names of sockets.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mwx")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (s *server) address() string { return "127.0.0.1:" + strconv.Itoa(s.port) }

func (s *server) log() string {
	data, _ := os.ReadFile(filepath.Join(s.root, "error_log"))
	return string(data)
}

func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-s.done:
	case <-time.After(20 * time.Second):
		_ = s.cmd.Process.Kill()
		s.t.Errorf("the server did not stop\n%s", s.log())
	}
}

// get returns status and body.
func (s *server) get(path string) (int, string) {
	s.t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Timeout: 30 * time.Second}
	resp, err := client.Get("http://" + s.address() + path)
	if err != nil {
		s.t.Fatalf("GET %s: %v\n%s", path, err, s.log())
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// environ returns what the echo application saw.
func (s *server) environ(path string) map[string]any {
	s.t.Helper()
	code, body := s.get(path)
	var m map[string]any
	if err := json.Unmarshal([]byte(body), &m); code != 200 || err != nil {
		s.t.Fatalf("GET %s: %d %v\n%.2000s\n%s", path, code, err, body, s.log())
	}
	return m
}

func TestScriptAndEnvironment(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "o'dir with \"quotes\" ${HOME} %d [x]")
	script := write(t, filepath.Join(dir, "he llo'$.wsgi"), echoApp)
	values := [][2]string{
		{"QUOTE", `it's "quoted" \`},
		{"DOLLAR", "${HOME} ${PATH} $1 %{HTTP_HOST} ${"},
		{"UNICODE", "grüße ✓"},
		{"EMPTY", ""},
		{"BLANKS", "  a\tb  "},
		{"HASH", "# no comment"},
		{"TAG", "<Directory />"},
		{"BACK", `\\a\"b\`},
	}
	args := []string{script, "--python-path", filepath.Join(dir, "lib one"), "--python-path", dir, "--processes", "2", "--threads", "3"}
	for _, v := range values {
		args = append(args, "--setenv", v[0], v[1])
	}
	s := start(t, dir, args...)
	env := s.environ("/a/b%20c?x=1")
	for _, v := range values {
		if got := env[v[0]]; got != latin1(v[1]) {
			t.Errorf("%s is %q, want %q", v[0], got, latin1(v[1]))
		}
	}
	want := map[string]any{
		"SCRIPT_NAME": "", "PATH_INFO": "/a/b c", "QUERY_STRING": "x=1", "wsgi.multiprocess": true, "wsgi.multithread": true, "cwd": dir,
		"mod_wsgi.process_group": s.address(),
	}
	for k, v := range want {
		if env[k] != v {
			t.Errorf("%s is %v, want %v", k, env[k], v)
		}
	}
	os := env["os.environ"].(map[string]any)
	if os["MOD_WSGI_EXPRESS"] != "true" || os["MOD_WSGI_SERVER_NAME"] != "127.0.0.1" || os["MOD_WSGI_SERVER_ALIASES"] != "" {
		t.Errorf("the application's os.environ: %v", os)
	}
	if _, ok := os["MOD_WSGI_RELOADER_ENABLED"]; ok {
		t.Error("MOD_WSGI_RELOADER_ENABLED is set")
	}
	path := fmt.Sprint(env["path"])
	if !strings.Contains(path, dir+" ") || !strings.Contains(path, "lib one") {
		t.Errorf("sys.path: %v", env["path"])
	}
	if env["uid"] == float64(0) {
		t.Error("the application runs as root")
	}
	pids := map[string]bool{}
	answers := make(chan string, 4) // more than one process has threads
	for range cap(answers) {
		go func() {
			resp, err := http.Get("http://" + s.address() + "/?sleep=0.5")
			if err != nil {
				answers <- err.Error()
				return
			}
			defer resp.Body.Close()
			var m map[string]any
			err = json.NewDecoder(resp.Body).Decode(&m)
			answers <- fmt.Sprint(m["pid"], err)
		}()
	}
	for range cap(answers) {
		pids[<-answers] = true
	}
	if len(pids) != 2 {
		t.Errorf("%d processes answered, want 2", len(pids))
	}
}

// latin1 is how WSGI shows a string to the application (PEP 3333).
func latin1(s string) string {
	r := make([]rune, len(s))
	for i := range len(s) {
		r[i] = rune(s[i])
	}
	return string(r)
}

func TestNoSetenvMeansSingleProcess(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	s := start(t, dir, write(t, filepath.Join(dir, "app.py"), echoApp), "--threads", "1")
	if env := s.environ("/"); env["wsgi.multiprocess"] != false || env["wsgi.multithread"] != false {
		t.Errorf("multiprocess %v, multithread %v", env["wsgi.multiprocess"], env["wsgi.multithread"])
	}
}

func TestModuleAndCallable(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	pkg := filepath.Join(dir, "pkg")
	if err := os.Mkdir(pkg, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(pkg, "__init__.py"), "")
	write(t, filepath.Join(pkg, "site.py"), strings.Replace(echoApp, "def application", "def wsgi", 1))
	s := start(t, dir, "pkg.site", "--application-type", "module", "--callable-object", "wsgi")
	if env := s.environ("/x"); env["PATH_INFO"] != "/x" {
		t.Errorf("PATH_INFO is %v", env["PATH_INFO"])
	}
}

func TestModes(t *testing.T) {
	testEnv(t)
	for _, mode := range [][]string{
		{"--embedded-mode"},
		{"--debug-mode"},
		{"--server-mpm", "prefork"},
		{"--server-mpm", "worker"},
		{"--embedded-mode", "--server-mpm", "prefork"},
		{"--disable-reloading", "--orphan-interpreter"},
		{"--process-group", "mine"},
	} {
		t.Run(strings.Join(mode, " "), func(t *testing.T) {
			dir := workDir(t, "")
			write(t, filepath.Join(dir, "beside.py"), "")
			app := write(t, filepath.Join(dir, "app.py"), "import beside\n"+echoApp)
			s := start(t, dir, append([]string{app}, mode...)...)
			env := s.environ("/p")
			os := env["os.environ"].(map[string]any)
			if _, debug := os["MOD_WSGI_DEBUG_MODE"]; debug != (mode[0] == "--debug-mode") {
				t.Errorf("MOD_WSGI_DEBUG_MODE is %v", os["MOD_WSGI_DEBUG_MODE"])
			}
			if mode[0] == "--process-group" && env["mod_wsgi.process_group"] != "mine" {
				t.Errorf("process group %v", env["mod_wsgi.process_group"])
			}
		})
	}
}

func TestMountPoint(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	docs := workDir(t, "docs")
	write(t, filepath.Join(docs, "file.txt"), "a file")
	for _, mount := range []string{"/api", "/api/", "api", "/a.b+c/d e"} {
		t.Run(mount, func(t *testing.T) {
			s := start(t, dir, write(t, filepath.Join(dir, "app.py"), echoApp), "--mount-point", mount, "--document-root", docs)
			clean := "/" + strings.Trim(mount, "/")
			url := strings.NewReplacer(" ", "%20", "+", "%2B").Replace(clean)
			env := s.environ(url + "/x/y")
			if env["SCRIPT_NAME"] != clean || env["PATH_INFO"] != "/x/y" {
				t.Errorf("SCRIPT_NAME %q, PATH_INFO %q", env["SCRIPT_NAME"], env["PATH_INFO"])
			}
			for path, want := range map[string]int{url: 301, url + "/": 200, url + "x": 404, "/": 404, "/file.txt": 200, "/other": 404} {
				if code, _ := s.get(path); code != want {
					t.Errorf("%s: %d, want %d", path, code, want)
				}
			}
			if entries, _ := os.ReadDir(docs); len(entries) != 1 {
				t.Error("something was put into the document root")
			}
		})
	}
}

func TestFilesAndAliases(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	docs, alias := workDir(t, "do'cs [1] ${HOME}"), workDir(t, "static*files?")
	write(t, filepath.Join(docs, "plain.txt"), "plain")
	write(t, filepath.Join(docs, ".secret"), "secret")
	write(t, filepath.Join(alias, "s.css"), "css")
	write(t, filepath.Join(dir, "fav.ico"), "ico")
	s := start(t, dir, write(t, filepath.Join(dir, "app.py"), echoApp), "--document-root", docs,
		"--url-alias", "/static", alias, "--url-alias", "/favicon.ico", "fav.ico", "--url-alias", "/static/deep", dir)
	for path, want := range map[string]string{"/plain.txt": "plain", "/static/s.css": "css", "/favicon.ico": "ico", "/static/deep/fav.ico": "ico"} {
		if code, body := s.get(path); code != 200 || body != want {
			t.Errorf("%s: %d %q, want %q", path, code, body, want)
		}
	}
	if code, body := s.get("/.secret"); code != 403 || strings.Contains(body, "secret\n") {
		t.Errorf("/.secret: %d %q", code, body)
	}
	if code, _ := s.get("/static/missing.css"); code != 404 {
		t.Errorf("missing file of an alias: %d", code)
	}
	if env := s.environ("/plain"); env["PATH_INFO"] != "/plain" {
		t.Errorf("PATH_INFO %v", env["PATH_INFO"])
	}
}

func TestStatic(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	write(t, filepath.Join(dir, "index.html"), "home")
	s := start(t, dir, "--application-type", "static", ".", "--directory-index", "index.html", "--directory-listing")
	if code, body := s.get("/"); code != 200 || body != "home" {
		t.Errorf("/: %d %q", code, body)
	}
	if code, _ := s.get("/no"); code != 404 {
		t.Errorf("/no: %d", code)
	}
}

func TestWelcome(t *testing.T) {
	testEnv(t)
	s := start(t, workDir(t, ""))
	if code, body := s.get("/"); code != 200 || !strings.Contains(body, "It runs") {
		t.Errorf("%d %q", code, body)
	}
}

func TestReload(t *testing.T) {
	testEnv(t)
	simple := func(text string) string {
		return "def application(e, s):\n    s('200 OK', [('Content-Type', 'text/plain')])\n    return [b'" + text + "']\n"
	}
	t.Run("entry point", func(t *testing.T) {
		dir := workDir(t, "")
		app := write(t, filepath.Join(dir, "app.py"), simple("one"))
		s := start(t, dir, app)
		if _, body := s.get("/"); body != "one" {
			t.Fatal(body)
		}
		write(t, app, simple("two"))
		if _, body := s.get("/"); body != "two" {
			t.Errorf("after the change: %q", body)
		}
	})
	t.Run("on changes", func(t *testing.T) {
		dir := workDir(t, "")
		write(t, filepath.Join(dir, "part.py"), "TEXT = b'one'\n")
		app := write(t, filepath.Join(dir, "app.py"), "import part\n"+strings.Replace(simple(""), "b''", "part.TEXT", 1))
		s := start(t, dir, app, "--reload-on-changes")
		if _, body := s.get("/"); body != "one" {
			t.Fatal(body)
		}
		time.Sleep(1200 * time.Millisecond)
		write(t, filepath.Join(dir, "part.py"), "TEXT = b'other'\n")
		for range 100 {
			if _, body := s.get("/"); body == "other" {
				if !strings.Contains(s.log(), "monitor (pid=") {
					t.Errorf("the log says nothing:\n%s", s.log())
				}
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Errorf("not reloaded\n%s", s.log())
	})
}

func TestBrokenApplication(t *testing.T) {
	testEnv(t)
	for text, want := range map[string]string{
		"def application(:\n": "SyntaxError", "x = 1\n": "has no 'application'", "import no_such_module_here\n": "ModuleNotFoundError",
	} {
		dir := workDir(t, "")
		app := write(t, filepath.Join(dir, "app.py"), text)
		s := start(t, dir, app)
		if code, body := s.get("/"); code != 500 || strings.Contains(body, "Traceback") {
			t.Errorf("%q: %d %s", text, code, body)
		}
		if !strings.Contains(s.log(), want) {
			t.Errorf("%q: the log does not say %s:\n%s", text, want, s.log())
		}
		write(t, app, echoApp)
		if env := s.environ("/"); env["PATH_INFO"] != "/" {
			t.Errorf("after it was mended: %v", env)
		}
	}
}

// refused runs a command that must fail before anything is written.
func refused(t *testing.T, dir string, code int, want string, args ...string) {
	t.Helper()
	root := filepath.Join(shortDir(t), "root")
	cmd := command(t, append(args, "--server-root", root)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != code || !strings.Contains(string(out), want) {
		t.Errorf("%q: %v, want exit code %d and %q\n%s", args, err, code, want, out)
	}
	if _, err := os.Lstat(root); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%q: the server root was left behind", args)
	}
}

func TestRefusals(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	port := strconv.Itoa(freePort(t))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{1, "missing.py is not there", []string{"missing.py"}},
		{1, "is a directory", []string{dir}},
		{2, "not available in this release", []string{app, "--enable-debugger"}},
		{2, "did you mean --processes?", []string{app, "--proceses", "2"}},
		{2, "--response-buffer-size", []string{app, "--proxy-buffer-size", "2"}},
		{2, "option --setenv: the value holds a line break", []string{app, "--setenv", "A", "x\nSetEnv B y"}},
		{2, "option --port", []string{app, "--port", "99999"}},
		{2, "one application", []string{app, "another"}},
		{1, "option --working-directory", []string{app, "--working-directory", "/nonexistent/x"}},
		{1, "option --log-level", []string{app, "--log-level", "nonsense"}},
	} {
		args := append([]string{"start-server", "--port", port}, c.args...)
		refused(t, dir, c.code, c.want, append(args, asUser()...)...)
	}
	refused(t, dir, 1, "is in use by", append([]string{"start-server", app, "--port", taken, "--host", "127.0.0.1"}, asUser()...)...)
	if os.Geteuid() == 0 {
		refused(t, dir, 1, "option --user is required", "start-server", app, "--port", port)
		refused(t, dir, 1, "no account", "start-server", app, "--port", port, "--user", "no-such-user")
		refused(t, dir, 1, "is root", "start-server", app, "--port", port, "--user", "#0")
		closed := filepath.Join(dir, "closed")
		if err := os.Mkdir(closed, 0o700); err != nil {
			t.Fatal(err)
		}
		hidden := write(t, filepath.Join(closed, "app.py"), echoApp)
		refused(t, dir, 1, "the directory "+closed+" may not be entered", "start-server", hidden, "--port", port, "--user", runUser())
	}
}

func TestServerRootOfSomebodyElse(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	base := shortDir(t)
	open := filepath.Join(base, "open")
	if err := errors.Join(os.Mkdir(open, 0o777), os.Chmod(open, 0o777), os.Symlink(open, filepath.Join(base, "link"))); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"open": "can be written by others", "link": "is a symbolic link"} {
		out, err := command(t, append([]string{"setup-server", app, "--server-root", filepath.Join(base, name)}, asUser()...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	if entries, _ := os.ReadDir(open); len(entries) != 0 {
		t.Errorf("%d files were written", len(entries))
	}
}

// gone waits until nothing listens on the server's port and no process of its
// group or with its root is left.
func (s *server) gone() {
	s.t.Helper()
	var left string
	for range 100 {
		out, _ := exec.CommandContext(context.WithoutCancel(s.t.Context()), "pgrep", "-f", s.root+"|wsgi:"+s.address()).Output()
		left = strings.TrimSpace(string(out))
		l, err := net.Listen("tcp", s.address())
		if err == nil {
			l.Close()
		}
		if left == "" && err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.t.Errorf("processes left: %q", left)
}

func TestStopping(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	for _, c := range []struct {
		signal    syscall.Signal
		slow      bool
		completed bool // the slow request
		code      int
	}{
		{syscall.SIGTERM, false, false, 0},
		{syscall.SIGINT, false, false, 0},
		{syscall.SIGQUIT, false, false, 0},
		{syscall.SIGTERM, true, true, 0},
		{syscall.SIGINT, true, false, 0},
		{syscall.SIGKILL, false, false, -1},
	} {
		t.Run(fmt.Sprint(c.signal, c.slow), func(t *testing.T) {
			s := start(t, dir, app, "--processes", "2")
			s.environ("/")
			answer := make(chan error, 1)
			if c.slow {
				go func() {
					resp, err := http.Get("http://" + s.address() + "/?sleep=2")
					if err == nil {
						_, err = io.ReadAll(resp.Body)
						resp.Body.Close()
					}
					answer <- err
				}()
				time.Sleep(700 * time.Millisecond)
			}
			_ = s.cmd.Process.Signal(c.signal)
			<-s.done
			if code := s.cmd.ProcessState.ExitCode(); code != c.code {
				t.Errorf("exit code %d, want %d\n%s", code, c.code, s.out)
			}
			s.gone()
			if c.slow {
				if err := <-answer; err != nil && c.completed {
					t.Errorf("the slow request: %v", err)
				}
			}
		})
	}
}

func TestTermAtOnce(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	for _, pause := range []time.Duration{5, 20, 40, 60, 90, 130} {
		s := begin(t, dir, app)
		time.Sleep(pause * time.Millisecond)
		began := time.Now()
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		<-s.done
		if took := time.Since(began); took > 8*time.Second {
			t.Errorf("SIGTERM after %d ms: took %v\n%s", pause, took, s.log())
		}
		s.gone()
	}
}

func TestRestarts(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	s := start(t, dir, write(t, filepath.Join(dir, "app.py"), echoApp))
	before := s.environ("/")["pid"]
	for _, signal := range []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGWINCH} {
		if signal == syscall.SIGWINCH {
			break // without a terminal it stops the server, which cleanup does
		}
		_ = s.cmd.Process.Signal(signal)
		now := before
		for range 100 {
			time.Sleep(50 * time.Millisecond)
			resp, err := http.Get("http://" + s.address() + "/")
			if err != nil {
				continue
			}
			var m map[string]any
			_ = json.NewDecoder(resp.Body).Decode(&m)
			resp.Body.Close()
			if now = m["pid"]; now != before && now != nil {
				break
			}
		}
		if now == before {
			t.Errorf("%v: still process %v", signal, now)
		}
		before = now
	}
}

func TestControlScript(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	s := &server{t: t, root: filepath.Join(shortDir(t), "a root"), port: freePort(t)}
	args := append([]string{"setup-server", app, "--host", "127.0.0.1", "--port", strconv.Itoa(s.port), "--server-root", s.root, "--server-status"}, asUser()...)
	out, err := command(t, args...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Control Script     : "+filepath.Join(s.root, "apachectl")) {
		t.Fatalf("%v\n%s", err, out)
	}
	ctl := func(verb string, code int, want string) {
		t.Helper()
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(s.root, "apachectl"), verb)
		cmd.Env = []string{"PATH=/usr/bin:/bin"}
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != code || !strings.Contains(string(out), want) {
			t.Errorf("apachectl %s: exit code %d\n%s", verb, got, out)
		}
	}
	ctl("configtest", 0, "Syntax OK")
	ctl("status", 3, "not running")
	ctl("start", 0, "")
	t.Cleanup(func() { ctl("stop", 0, ""); s.gone() })
	for range 100 {
		if c, err := net.Dial("tcp", s.address()); err == nil {
			c.Close()
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.environ("/")
	ctl("status", 0, "BusyWorkers")
	ctl("start", 0, "already running")
	ctl("graceful", 0, "")
	s.environ("/")
	for name, mode := range map[string]os.FileMode{"httpd.conf": 0o600, "apachectl": 0o700, "instance.json": 0o600} {
		info, err := os.Stat(filepath.Join(s.root, name))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
}

func TestLogs(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), "print('hello from the app')\n"+echoApp)
	t.Run("terminal", func(t *testing.T) {
		s := start(t, dir, app, "--log-to-terminal", "--access-log", "--log-level", "info")
		s.environ("/seen")
		s.stop()
		if out := s.out.String(); !strings.Contains(out, "GET /seen") || !strings.Contains(out, "hello from the app") {
			t.Errorf("output:\n%s", out)
		}
	})
	t.Run("socket", func(t *testing.T) {
		// What systemd gives: the streams are a socket, which has no name to open.
		fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
		port, root := freePort(t), filepath.Join(shortDir(t), "r")
		cmd := command(t, append([]string{"start-server", app, "--log-to-terminal", "--port", strconv.Itoa(port), "--server-root", root}, asUser()...)...)
		cmd.Stdout, cmd.Stderr = theirs, theirs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		theirs.Close()
		text := make(chan string)
		go func() { data, _ := io.ReadAll(ours); text <- string(data) }()
		s := &server{t: t, port: port, root: root}
		for range 100 {
			if c, err := net.Dial("tcp", s.address()); err == nil {
				c.Close()
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		s.environ("/")
		_ = cmd.Process.Signal(syscall.SIGINT)
		_ = cmd.Wait()
		if out := <-text; !strings.Contains(out, "hello from the app") {
			t.Errorf("output:\n%s", out)
		}
	})
	t.Run("rotated", func(t *testing.T) {
		logs := filepath.Join(dir, "l o'g %d")
		s := start(t, dir, app, "--log-directory", logs, "--rotate-logs", "--access-log", "--access-log-format", `combined`)
		s.environ("/seen")
		var names []string
		for range 100 { // rotatelogs makes its file when it gets a line
			if names, _ = filepath.Glob(filepath.Join(logs, "access_log.2*")); len(names) > 0 {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		s.stop()
		if len(names) != 1 {
			t.Fatalf("rotated logs: %v", names)
		}
		if data, _ := os.ReadFile(names[0]); !strings.Contains(string(data), "GET /seen") {
			t.Errorf("%s", data)
		}
	})
}

func TestServerName(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	s := start(t, dir, write(t, filepath.Join(dir, "app.py"), echoApp), "--server-name", "www.example.com", "--server-alias", "*.example.net", "--server-alias", "x.org")
	ask := func(host string) (int, string, string) {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.address()+"/p", nil)
		req.Host = host
		resp, err := (&http.Transport{}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, resp.Header.Get("Location"), string(body)
	}
	for host, want := range map[string]int{"www.example.com": 200, "a.example.net": 200, "x.org": 200, "evil.org": 403, "example.com": 301} {
		code, location, body := ask(host)
		if code != want {
			t.Errorf("%s: %d, want %d", host, code, want)
		}
		if code == 301 && location != fmt.Sprintf("http://www.example.com:%d/p", s.port) {
			t.Errorf("redirected to %s", location)
		}
		if host == "x.org" && !strings.Contains(body, `"MOD_WSGI_SERVER_ALIASES": "*.example.net x.org"`) {
			t.Errorf("aliases: %s", body)
		}
	}
}

func TestProxy(t *testing.T) {
	testEnv(t)
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s port=%s prefix=%s", r.URL.Path, r.Header.Get("X-Forwarded-Port"), r.Header.Get("X-Forwarded-Prefix"))
	}))
	defer behind.Close()
	dir := workDir(t, "")
	s := start(t, dir, write(t, filepath.Join(dir, "app.py"), echoApp), "--proxy-mount-point", "/a.b", behind.URL, "--proxy-url-alias", "/c/", behind.URL+"/deep/",
		"--proxy-virtual-host", "other.example", behind.URL)
	for path, want := range map[string]string{
		"/a.b/x": fmt.Sprintf("/x port=%d prefix=/a.b", s.port), "/c/x": fmt.Sprintf("/deep/x port=%d prefix=/c", s.port),
	} {
		if code, body := s.get(path); code != 200 || body != want {
			t.Errorf("%s: %d %q, want %q", path, code, body, want)
		}
	}
	if code, _ := s.get("/a.b"); code != 302 {
		t.Errorf("/a.b: %d", code)
	}
	if env := s.environ("/axb"); env["PATH_INFO"] != "/axb" {
		t.Errorf("%v", env)
	}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.address()+"/v", nil)
	req.Host = "other.example"
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); string(body) != fmt.Sprintf("/v port=%d prefix=", s.port) {
		t.Errorf("virtual host: %q", body)
	}
}

func TestServices(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	service := write(t, filepath.Join(dir, "it's a service.py"), `
import os, sys, time
print("service says", os.environ["MOD_WSGI_EXPRESS"], os.getuid(), os.getpid(), flush=True)
time.sleep(0.3)
os._exit(3)
`)
	logs := filepath.Join(dir, "logs")
	s := start(t, dir, write(t, filepath.Join(dir, "app.py"), echoApp), "--service-script", "work-er.1", service, "--service-log-file", "work-er.1", "worker.log",
		"--log-directory", logs)
	var text string
	for range 150 { // it is started again after each end
		data, _ := os.ReadFile(filepath.Join(logs, "worker.log"))
		if text = string(data); strings.Count(text, "service says true") > 1 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if strings.Count(text, "service says true") < 2 || os.Geteuid() == 0 && strings.Contains(text, "service says true 0 ") {
		t.Errorf("the service's log:\n%s\n%s", text, s.log())
	}
	s.environ("/")
	refused(t, dir, 2, "there is no service", append([]string{"start-server", "--service-user", "x", "y", "--port", strconv.Itoa(freePort(t))}, asUser()...)...)
	refused(t, dir, 2, "not a name for a service", append([]string{"start-server", "--service-script", "a b", service, "--port", strconv.Itoa(freePort(t))}, asUser()...)...)
}

// TestEveryOption gives each available option a value and has httpd read the
// result.
func TestEveryOption(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	inc := write(t, filepath.Join(dir, "in'c [x].conf"), "<IfDefine MOD_WSGI_STATIC_ONLY>\nNonsense\n</IfDefine>\nHeader set X-Included yes\n")
	base := append([]string{"setup-server", app, "--port", strconv.Itoa(freePort(t)), "--server-root", filepath.Join(shortDir(t), "r")}, asUser()...)
	choices := [][]string{
		{"--application-group", "it's"},
		{"--application-group", "%{HOST}"},
		{"--map-head-to-get", "on"},
		{"--chunked-request"},
		{"--max-clients", "300"},
		{"--initial-workers", "0.5", "--minimum-spare-workers", "0.9", "--maximum-spare-workers", "0.1"},
		{"--maximum-requests", "9", "--embedded-mode"},
		{"--startup-timeout", "0"},
		{"--ignore-activity", "/ping [x]"},
		{"--header-timeout", "0", "--body-timeout", "0"},
		{"--body-max-timeout", "99"},
		{"--keep-alive-timeout", "0"},
		{"--send-buffer-size", "512"},
		{"--header-buffer-size", "8192"},
		{"--response-buffer-size", "65536"},
		{"--compress-responses"},
		{"--enable-sendfile"},
		{"--directory-index", "a.html b.html"},
		{"--directory-listing"},
		{"--allow-override", "All"},
		{"--error-document", "404", "/it's \"gone\".html"},
		{"--error-override"},
		{"--mime-types", "/dev/null"},
		{"--rewrite-rules", inc},
		{"--trust-proxy-header", "X-Forwarded-For", "--trust-proxy", "10.0.0.0/8"},
		{"--host-access-script", app},
		{"--auth-user-script", app},
		{"--auth-user-script", app, "--auth-type", "digest", "--auth-group-script", app, "--auth-group", "it's"},
		{"--server-status"},
		{"--server-metrics"},
		{"--error-log-format", `[%t] "%M"`},
		{"--access-log", "--access-log-format", `%h "%r" \ '%>s'`},
		{"--error-log-name", "e'r r"},
		{"--startup-log"},
		{"--python-warnings", "ignore::DeprecationWarning"},
		{"--python-eggs", dir},
		{"--passenv", "PATH", "--passenv", "NOT_SET"},
		{"--include-file", inc},
		{"--locale", "C.UTF-8"},
		{"--process-name", "my httpd"},
		{"--pid-file", filepath.Join(dir, "p id")},
		{"--verbose-debugging"},
		{"--host", "::1"},
		{"--host", "[::1]"},
		{"--host", "localhost"},
		{"--server-name", "a.example", "--allow-localhost"},
		{"--with-cgi"},
		{"--log-level", "info rewrite:trace3"},
		{"--callable-object", "it's"},
		{"--setup-only"},
		{"--shell-executable", "/bin/sh"},
	}
	check := func(args []string) {
		t.Helper()
		out, err := command(t, append(append([]string{}, base...), args...)...).CombinedOutput()
		if err != nil {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
	for _, args := range choices {
		check(args)
	}
	// And together, as chance has it.
	seed := time.Now().UnixNano()
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	for range 40 {
		var args []string
		for _, k := range random.Perm(len(choices))[:2+random.IntN(8)] {
			args = append(args, choices[k]...)
		}
		check(args)
	}
	t.Logf("seed %d", seed)
}

func TestOrdinaryUser(t *testing.T) {
	testEnv(t)
	if os.Geteuid() != 0 {
		t.Skip("not root: the other tests run as an ordinary user")
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skip(err)
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	s := &server{t: t, out: &bytes.Buffer{}, port: freePort(t), done: make(chan struct{})}
	tmp := shortDir(t)
	if err := os.Chown(tmp, uid, 65534); err != nil {
		t.Fatal(err)
	}
	s.cmd = command(t, "start-server", app, "--port", strconv.Itoa(s.port), "--user", "www-data")
	s.cmd.Env = append(s.cmd.Env, "TMPDIR="+tmp)
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = dir, s.out, s.out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: 65534}}
	s.root = filepath.Join(tmp, fmt.Sprintf("mod_wsgi-localhost:%d:%d", s.port, uid))
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.err = s.cmd.Wait(); close(s.done) }()
	t.Cleanup(s.stop)
	for range 100 {
		if c, err := net.Dial("tcp", s.address()); err == nil {
			c.Close()
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if env := s.environ("/"); env["uid"] != float64(uid) {
		t.Errorf("runs as %v", env["uid"])
	}
	if info, err := os.Stat(s.root); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("server root: %v %v", info, err)
	}
	if !strings.Contains(s.out.String(), "--user has no effect") {
		t.Errorf("no warning:\n%s", s.out)
	}
}

// TestSameRootTwice: the second server is refused and the first one not disturbed.
func TestSameRootTwice(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	s := start(t, dir, app)
	before, _ := os.ReadFile(filepath.Join(s.root, "httpd.conf"))
	args := append([]string{"start-server", app, "--port", strconv.Itoa(freePort(t)), "--server-root", s.root}, asUser()...)
	out, err := command(t, args...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "already (process ") {
		t.Errorf("%v\n%s", err, out)
	}
	if after, _ := os.ReadFile(filepath.Join(s.root, "httpd.conf")); !bytes.Equal(before, after) {
		t.Error("httpd.conf of the running server was changed")
	}
	s.environ("/")
}

// TestRefusedConfiguration: what httpd refuses leaves an existing server root as
// it was.
func TestRefusedConfiguration(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	root := filepath.Join(shortDir(t), "r")
	args := append([]string{"setup-server", app, "--port", strconv.Itoa(freePort(t)), "--server-root", root}, asUser()...)
	if out, err := command(t, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	read := func() (all string) {
		entries, _ := os.ReadDir(root)
		for _, e := range entries {
			data, _ := os.ReadFile(filepath.Join(root, e.Name()))
			all += e.Name() + ":" + string(data) + "\n"
		}
		return all
	}
	before := read()
	bad := write(t, filepath.Join(dir, "bad.conf"), "NoSuchDirective On\n")
	out, err := command(t, append(args, "--include-file", bad, "--mount-point", "/x")...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "NoSuchDirective") {
		t.Errorf("%v\n%s", err, out)
	}
	if after := read(); after != before {
		t.Errorf("the server root was changed:\n%s\n%s", before, after)
	}
}

func TestModuleCommands(t *testing.T) {
	testEnv(t)
	out, err := command(t, "module-location").Output()
	location := strings.TrimSuffix(string(out), "\n")
	if _, serr := os.Stat(location); err != nil || serr != nil {
		t.Fatalf("%v %v %q", err, serr, out)
	}
	out, err = command(t, "module-config").Output()
	if want := "LoadModule wsgi_module \"" + location + "\"\nWSGIPythonHome \""; err != nil || !strings.HasPrefix(string(out), want) {
		t.Errorf("%v\n%s", err, out)
	}
	dir := filepath.Join(t.TempDir(), `mo"d`)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	out, err = command(t, "install-module", "--modules-directory", dir).CombinedOutput()
	copied := filepath.Join(dir, filepath.Base(location))
	if err != nil || !strings.Contains(string(out), strings.ReplaceAll(copied, `"`, `\"`)) {
		t.Errorf("%v\n%s", err, out)
	}
	if info, err := os.Stat(copied); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v %v", info, err)
	}
	for _, args := range [][]string{{"module-config", "x"}, {}, {"nonsense"}, {"module-location", "--nonsense"}} {
		cmd := command(t, args...)
		if out, err := cmd.CombinedOutput(); err == nil || cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), "mod_wsgi-express: error: ") {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
}

// TestCalledThroughALink: another name, in another directory.
func TestCalledThroughALink(t *testing.T) {
	testEnv(t)
	link := filepath.Join(t.TempDir(), "serve")
	if err := os.Symlink(launcher(t), link); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), link, "module-location")
	cmd.Env = []string{}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), filepath.Clean(testEnv(t))) {
		t.Errorf("%v\n%s", err, out)
	}
}
