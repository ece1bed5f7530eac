//go:build acceptance && unix

package express_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The options introduced by mod_wsgi 4.4.7 and 4.4.11, one by one.

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for range 1200 {
		if f() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("never: %s", what)
}

// listening waits until connections are accepted.
func (s *server) listening() {
	s.t.Helper()
	eventually(s.t, "a connection to "+s.address(), func() bool {
		c, err := net.Dial("tcp", s.address())
		if err != nil {
			return false
		}
		c.Close()
		return true
	})
}

func TestResponseBufferSize(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), `
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    for n in range(300):
        yield bytes([n % 256]) * 10000
`)
	s := start(t, dir, app, "--response-buffer-size", "131072")
	conf, _ := os.ReadFile(filepath.Join(s.root, "httpd.conf"))
	if !strings.Contains(string(conf), ` response-buffer-size="131072"`) {
		t.Errorf("missing in the definition of the daemon process:\n%s", conf)
	}
	code, body := s.get("/")
	if code != 200 || len(body) != 3000000 || body[2999999] != byte(299%256) {
		t.Errorf("%d, %d bytes", code, len(body))
	}
	refused(t, dir, 2, "neither 0 (the default) nor at least 65536", append([]string{"start-server", app, "--response-buffer-size", "1000"}, asUser()...)...)
}

const service = `
import json, os, sys, time
print("service " + json.dumps({"uid": os.getuid(), "gid": os.getgid(), "pid": os.getpid(), "environ": dict(os.environ), "cwd": os.getcwd()}), flush=True)
if sys.argv[-1:] == ["end"] or %q == "crash":
    time.sleep(0.2)
    os.kill(os.getpid(), 11)
while True:
    time.sleep(1)
`

func TestServicesTogether(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	logs := filepath.Join(dir, "logs")
	steady := write(t, filepath.Join(dir, "steady.py"), fmt.Sprintf(service, ""))
	crash := write(t, filepath.Join(dir, "crash.py"), fmt.Sprintf(service, "crash"))
	args := []string{
		write(t, filepath.Join(dir, "app.py"), echoApp), "--log-directory", logs,
		"--service-script", "steady", steady, "--service-log-file", "steady", "steady.log",
		"--service-script", "crash", crash, "--service-log", "crash", "crash.log",
		"--service-script", "quiet", steady, "--server-name", "app.example", "--server-alias", "alias.example",
	}
	other, err := user.Lookup("daemon")
	if os.Geteuid() == 0 && err == nil {
		args = append(args, "--service-user", "steady", "daemon", "--service-group", "steady", "#4711")
	}
	s := start(t, dir, args...)
	read := func(name string) string { data, _ := os.ReadFile(filepath.Join(logs, name)); return string(data) }
	eventually(t, "the crashed service is restarted", func() bool { return strings.Count(read("crash.log"), "service {") > 1 })
	eventually(t, "the steady one runs", func() bool { return strings.Contains(read("steady.log"), "service {") })
	eventually(t, "the third one writes to the error log", func() bool { return strings.Contains(read("error_log"), "service {") })
	text := read("steady.log")
	if n := strings.Count(text, "service {"); n != 1 {
		t.Errorf("the steady service started %d times", n)
	}
	for _, want := range []string{
		`"MOD_WSGI_EXPRESS": "true"`, `"MOD_WSGI_SERVER_NAME": "app.example"`, `"MOD_WSGI_SERVER_ALIASES": "alias.example"`, `"cwd": "` + dir + `"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the service does not see %s:\n%s", want, text)
		}
	}
	if strings.Contains(text, "_ENABLED") || strings.Contains(text, "DEBUG_MODE") {
		t.Errorf("a disabled variable is set: %s", text)
	}
	if os.Geteuid() == 0 && other != nil {
		if want := `"uid": ` + other.Uid + `, "gid": 4711`; !strings.Contains(text, want) {
			t.Errorf("not %s: %s", want, text)
		}
	}
	out, _ := exec.CommandContext(t.Context(), "ps", "axo", "args").Output()
	if !strings.Contains(string(out), "(wsgi:service:steady)") {
		t.Error("the service's process has no separate title")
	}
	s.stop()
	s.gone()
}

func TestServiceLogRotation(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	logs := filepath.Join(dir, "logs")
	start(t, dir, write(t, filepath.Join(dir, "app.py"), echoApp), "--log-directory", logs, "--rotate-logs", "--max-log-size", "1",
		"--service-script", "s", write(t, filepath.Join(dir, "s.py"), "import time\nfor n in range(300):\n    print(('x' * 99 + ' ') * 100)\n    time.sleep(0.01)\ntime.sleep(100)\n"), "--service-log-file", "s", "s.log")
	eventually(t, "a second file after the first one was full", func() bool {
		names, _ := filepath.Glob(filepath.Join(logs, "s.log.2*"))
		return len(names) > 1
	})
}

// echo is a server that echoes its input: for HTTP the request it saw, and after an
// upgrade each line sent.
func echo(t *testing.T) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			fmt.Fprintf(w, "%s %s|", r.Method, r.URL.Path)
			for _, name := range []string{"Port", "Prefix", "Scheme"} {
				fmt.Fprintf(w, "%s=%s|", name, r.Header.Get("X-Forwarded-"+name))
			}
			if strings.HasSuffix(r.URL.Path, "/moved") {
				w.Header().Set("Location", "/elsewhere")
			}
			return
		}
		conn, buffer, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
		for {
			line, err := buffer.ReadString('\n')
			if err != nil {
				return
			}
			fmt.Fprintf(conn, "%s %s", r.URL.Path, line)
		}
	}))
	t.Cleanup(srv.Close)
	return srv
}

func TestProxyPaths(t *testing.T) {
	testEnv(t)
	behind := echo(t)
	dir := workDir(t, "")
	s := start(t, dir, write(t, filepath.Join(dir, "app.py"), echoApp),
		"--proxy-url-alias", "/bare", behind.URL,
		"--proxy-url-alias", "/slash/", behind.URL+"/",
		"--proxy-url-alias", "/server/", behind.URL, // must not become part of its name
		"--proxy-url-alias", "/st*r", behind.URL,
		"--proxy-mount-point", "/deep", behind.URL+"/in/side/",
		"--proxy-mount-point", "/deep/er", behind.URL+"/other",
		"--proxy-virtual-host", "other.example", behind.URL+"/")
	port := fmt.Sprintf("Port=%d|", s.port)
	for path, want := range map[string]string{
		"/bare/":        "GET /|" + port + "Prefix=/bare|Scheme=|",
		"/bare/a/b?c":   "GET /a/b|" + port + "Prefix=/bare|Scheme=|",
		"/slash/x":      "GET /x|" + port + "Prefix=/slash|Scheme=|",
		"/server/x":     "GET /x|" + port + "Prefix=/server|Scheme=|",
		"/st*r/x":       "GET /x|" + port + "Prefix=/st*r|Scheme=|",
		"/deep/x":       "GET /in/side/x|" + port + "Prefix=/deep|Scheme=|",
		"/deep/er/x":    "GET /other/x|" + port + "Prefix=/deep/er|Scheme=|",
		"/deep/erratic": "GET /in/side/erratic|" + port + "Prefix=/deep|Scheme=|",
	} {
		if code, body := s.get(path); code != 200 || body != want {
			t.Errorf("%s: %d %q, want %q", path, code, body, want)
		}
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Get("http://" + s.address() + "/bare")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if l := resp.Header.Get("Location"); resp.StatusCode != 302 || l != "http://"+s.address()+"/bare/" {
		t.Errorf("/bare: %d %s", resp.StatusCode, l)
	}
	// The application handles what is not below a mount point.
	for _, path := range []string{"/bareness", "/slash", "/"} {
		if env := s.environ(path); env["PATH_INFO"] != path {
			t.Errorf("%s: %v", path, env["PATH_INFO"])
		}
	}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.address()+"/v", nil)
	req.Host = "other.example"
	resp, err = client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); string(body) != "POST /v|"+port+"Prefix=|Scheme=|" {
		t.Errorf("virtual host: %q", body)
	}
	for path, host := range map[string]string{"/bare/ws": "x", "/ws": "other.example"} {
		upgrade(t, s, host, path)
	}
}

// upgrade opens a WebSocket connection and sends bytes both ways.
func upgrade(t *testing.T, s *server, host, path string) {
	t.Helper()
	conn, err := net.Dial("tcp", s.address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", path, host)
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != 101 {
		t.Fatalf("%s: %v %v", path, resp, err)
	}
	for _, word := range []string{"hello", "again"} {
		fmt.Fprintf(conn, "%s\n", word)
		if line, err := r.ReadString('\n'); err != nil || line != "/ws "+word+"\n" {
			t.Errorf("%s: %q %v", path, line, err)
		}
	}
	// Wait for its end: httpd waits ten seconds for a worker that it stops in the middle
	// of a tunnel.
	_ = conn.(*net.TCPConn).CloseWrite()
	_, _ = io.Copy(io.Discard, r)
}

// TestEviction: a daemon process that receives SIGUSR1 completes its request within the
// time limit, and is replaced.
func TestEviction(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	for _, c := range []struct {
		name      string
		args      []string
		completed bool
	}{
		{"eviction timeout", []string{"--eviction-timeout", "20", "--graceful-timeout", "1"}, true},
		{"graceful timeout instead", []string{"--graceful-timeout", "20"}, true},
		{"eviction timeout too short", []string{"--eviction-timeout", "1", "--graceful-timeout", "20", "--shutdown-timeout", "1"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, dir, append([]string{app}, c.args...)...)
			before := int(s.environ("/")["pid"].(float64))
			answer := make(chan string, 1)
			go func() {
				resp, err := http.Get("http://" + s.address() + "/?sleep=5")
				if err != nil {
					answer <- err.Error()
					return
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				answer <- fmt.Sprint(resp.StatusCode, err, string(body))
			}()
			s.inside()
			if err := syscall.Kill(before, syscall.SIGUSR1); err != nil {
				t.Fatal(err)
			}
			meanwhile := s.environ("/meanwhile")
			if len(answer) > 0 {
				t.Error("the slow request ended early")
			}
			if meanwhile["PATH_INFO"] != "/meanwhile" {
				t.Errorf("meanwhile: %v", meanwhile)
			}
			if got := <-answer; c.completed != (strings.HasPrefix(got, "200 <nil>") && strings.Contains(got, fmt.Sprintf(`"pid": %d,`, before))) {
				t.Errorf("the slow request, completion expected: %v: %.300s", c.completed, got)
			}
			eventually(t, "another process", func() bool { return int(s.environ("/")["pid"].(float64)) != before })
		})
	}
}

// TestVariables: the ten variables, in the application and in a service.
func TestVariables(t *testing.T) {
	testEnv(t)
	all := []string{
		"EXPRESS", "SERVER_NAME", "SERVER_ALIASES", "RELOADER_ENABLED", "DEBUG_MODE",
		"DEBUGGER_ENABLED", "COVERAGE_ENABLED", "PROFILER_ENABLED", "RECORDER_ENABLED", "GDB_ENABLED",
	}
	for _, c := range []struct {
		args []string
		want map[string]string
	}{
		{nil, nil},
		{[]string{"--server-name", "127.0.0.1", "--server-alias", "a.example", "--server-alias", "*.b.example"}, map[string]string{"SERVER_ALIASES": "a.example *.b.example"}},
		{[]string{"--reload-on-changes"}, map[string]string{"RELOADER_ENABLED": "true"}},
		{[]string{"--debug-mode"}, map[string]string{"DEBUG_MODE": "true"}},
		{[]string{"--enable-debugger"}, map[string]string{"DEBUG_MODE": "true", "DEBUGGER_ENABLED": "true"}},
		{[]string{"--enable-profiler"}, map[string]string{"DEBUG_MODE": "true", "PROFILER_ENABLED": "true"}},
		{[]string{"--enable-recorder"}, map[string]string{"DEBUG_MODE": "true", "RECORDER_ENABLED": "true"}},
		{[]string{"--enable-gdb", "--gdb-executable", "true-gdb"}, map[string]string{"DEBUG_MODE": "true", "GDB_ENABLED": "true"}},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			dir := workDir(t, "")
			out := filepath.Join(dir, "out")
			if err := os.Mkdir(out, 0o777); err != nil {
				t.Fatal(err)
			}
			_ = os.Chmod(out, 0o777)
			script := write(t, filepath.Join(dir, "s.py"), `
import json, os, time
with open("`+out+`/new", "w") as f:
    json.dump(dict(os.environ), f)
os.rename("`+out+`/new", "`+out+`/environ")
time.sleep(1000)
`)
			args := slices.Clone(c.args)
			for k, a := range args {
				if a == "true-gdb" { // stands for gdb, which the tests replace
					args[k] = fakeGDB(t, dir)
				}
			}
			s := start(t, dir, append([]string{write(t, filepath.Join(dir, "app.py"), echoApp), "--service-script", "s", script}, args...)...)
			seen := []map[string]any{s.environ("/")["os.environ"].(map[string]any)}
			eventually(t, "the service's environment", func() bool {
				data, err := os.ReadFile(filepath.Join(out, "environ"))
				if err == nil {
					seen = append(seen, decode(t, data))
				}
				return err == nil
			})
			want := map[string]string{"EXPRESS": "true", "SERVER_NAME": "127.0.0.1", "SERVER_ALIASES": ""}
			for k, v := range c.want {
				want[k] = v
			}
			for k, environ := range seen {
				for _, name := range all {
					got, ok := environ["MOD_WSGI_"+name]
					value, expected := want[name]
					if ok != expected || ok && got != value {
						t.Errorf("%s: MOD_WSGI_%s is %v, want %q", []string{"application", "service"}[k], name, got, value)
					}
				}
			}
		})
	}
}

// fakeGDB is a gdb that only runs the program.
func fakeGDB(t *testing.T, dir string) string {
	t.Helper()
	name := write(t, filepath.Join(dir, "my gdb"), "#!/bin/sh\nwhile [ \"$1\" != --args ]; do shift; done\nshift\nexec \"$@\"\n")
	if err := os.Chmod(name, 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

// shim limits each writev call to 16 buffers, as some systems do.
const shim = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>
long sysconf(int name) {
	static long (*real)(int);
	if (name == _SC_IOV_MAX) return 16;
	if (!real) real = (long (*)(int))dlsym(RTLD_NEXT, "sysconf");
	return real(name);
}
ssize_t writev(int fd, const struct iovec *v, int n) {
	static ssize_t (*real)(int, const struct iovec *, int);
	static int told;
	if (n > 16) { errno = EINVAL; return -1; }
	if (!told) { int f = open(SEEN, O_WRONLY | O_CREAT | O_APPEND, 0666); if (f >= 0) close(f); told = 1; }
	if (!real) real = (ssize_t (*)(int, const struct iovec *, int))dlsym(RTLD_NEXT, "writev");
	return real(fd, v, n);
}
`

func TestFewBuffersPerCall(t *testing.T) {
	testEnv(t)
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("no gcc to build the shim")
	}
	dir := workDir(t, "")
	out := filepath.Join(dir, "out")
	if err := os.Mkdir(out, 0o777); err != nil {
		t.Fatal(err)
	}
	_ = os.Chmod(out, 0o777)
	seen, lib := filepath.Join(out, "seen"), filepath.Join(dir, "shim.so")
	source := write(t, filepath.Join(dir, "shim.c"), shim)
	if text, err := exec.CommandContext(t.Context(), gcc, "-shared", "-fPIC", "-O1", "-DSEEN="+strconv.Quote(seen), "-o", lib, source, "-ldl").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	more := write(t, filepath.Join(dir, "more.conf"), "LimitRequestFields 300\n") // httpd's own limit is 100
	s := beginWith(t, []string{"LD_PRELOAD=" + lib}, dir, write(t, filepath.Join(dir, "app.py"), echoApp), "--include-file", more).up()
	req, _ := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodGet, "http://"+s.address()+"/x", nil)
	for k := range 200 {
		req.Header.Set(fmt.Sprintf("X-Header-%d", k), strings.Repeat("v", k))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v %v\n%s", resp, err, s.log())
	}
	defer resp.Body.Close()
	var env map[string]any
	data, _ := io.ReadAll(resp.Body)
	unmarshal(t, data, &env)
	if env["HTTP_X_HEADER_199"] != strings.Repeat("v", 199) {
		t.Errorf("the last header is %v", env["HTTP_X_HEADER_199"])
	}
	if _, err := os.Stat(seen); err != nil {
		t.Errorf("the shim was not called: %v", err)
	}
}

func decode(t *testing.T, data []byte) map[string]any {
	t.Helper()
	var m map[string]any
	unmarshal(t, data, &m)
	return m
}
