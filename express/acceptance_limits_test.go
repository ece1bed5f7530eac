//go:build acceptance && unix

package express_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestReplaced: the conditions under which a daemon process is replaced.
func TestReplaced(t *testing.T) {
	testEnv(t)
	for _, c := range []struct {
		args []string
		path string // requested until another process answers
		wait time.Duration
	}{
		{[]string{"--restart-interval", "1"}, "/", 100 * time.Millisecond},
		{[]string{"--inactivity-timeout", "1"}, "/", 2500 * time.Millisecond},
		{[]string{"--maximum-requests", "4"}, "/", 10 * time.Millisecond},
		{[]string{"--cpu-time-limit", "1"}, "/?burn", 10 * time.Millisecond},
		{[]string{"--inactivity-timeout", "4", "--ignore-activity", "/ping"}, "/ping", 200 * time.Millisecond},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			t.Parallel()
			dir := workDir(t, "")
			app := write(t, filepath.Join(dir, "app.py"), "import hashlib\n"+strings.Replace(echoApp, "    out = {", `
    if query == "burn":
        end = time.process_time() + 0.3
        while time.process_time() < end:
            hashlib.sha256(b"x" * 10000)
    out = {`, 1))
			s := start(t, dir, append([]string{app, "--graceful-timeout", "1"}, c.args...)...)
			first := s.environ("/")["pid"]
			if c.args[0] == "--inactivity-timeout" && len(c.args) > 2 {
				// Other requests keep it alive, with room for a machine that is busy.
				for range 20 {
					time.Sleep(250 * time.Millisecond)
					if now := s.environ("/")["pid"]; now != first {
						t.Fatal("replaced while active")
					}
				}
			}
			for range 150 {
				if s.environ(c.path)["pid"] != first {
					return
				}
				time.Sleep(c.wait)
			}
			t.Errorf("still process %v\n%s", first, s.log())
		})
	}
}

// TestTimeouts: how long a client waits for a response that does not arrive.
func TestTimeouts(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	timed := func(s *server, path string) (int, time.Duration) {
		began := time.Now()
		code, _ := s.get(path)
		return code, time.Since(began)
	}
	t.Run("socket", func(t *testing.T) {
		t.Parallel()
		s := start(t, dir, app, "--socket-timeout", "1", "--shutdown-timeout", "1")
		if code, took := timed(s, "/?sleep=8"); code != 504 || took > 6*time.Second {
			t.Errorf("%d after %v", code, took)
		}
	})
	t.Run("queue", func(t *testing.T) {
		t.Parallel()
		s := start(t, dir, app, "--queue-timeout", "1", "--threads", "1")
		// Loading counts as waiting, too.
		eventually(t, "the application is loaded", func() bool { code, _ := s.get("/"); return code == 200 })
		go func() {
			if resp, err := http.Get("http://" + s.address() + "/?sleep=3"); err == nil {
				resp.Body.Close()
			}
		}()
		s.inside()
		if code, _ := timed(s, "/"); code != 504 {
			t.Errorf("%d", code)
		}
	})
	t.Run("request", func(t *testing.T) {
		t.Parallel()
		s := start(t, dir, app, "--request-timeout", "1", "--threads", "1", "--shutdown-timeout", "1", "--graceful-timeout", "1")
		first := s.environ("/")["pid"]
		if code, took := timed(s, "/?sleep=25"); code == 200 || took > 15*time.Second {
			t.Errorf("%d after %v", code, took)
		}
		if now := s.environ("/")["pid"]; now == first {
			t.Error("the stuck process was not replaced")
		}
	})
	t.Run("header", func(t *testing.T) {
		t.Parallel()
		s := start(t, dir, app, "--header-timeout", "1", "--header-max-timeout", "2", "--header-min-rate", "100000", "--body-timeout", "1", "--body-min-rate", "100000")
		for _, text := range []string{"GET / HTTP/1.1\r\nHost", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc"} {
			conn, err := net.Dial("tcp", s.address())
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			fmt.Fprint(conn, text)
			_ = conn.SetDeadline(time.Now().Add(15 * time.Second))
			_, err = io.ReadAll(conn)
			if took := time.Since(began); err != nil || took > 10*time.Second {
				t.Errorf("%.4s: %v after %v", text, err, took)
			}
			conn.Close()
		}
	})
	t.Run("startup", func(t *testing.T) {
		t.Parallel()
		broken := write(t, filepath.Join(dir, "broken.py"), "import os\nprint('process', os.getpid(), flush=True)\nraise RuntimeError('never')\n")
		s := start(t, dir, broken, "--startup-timeout", "1", "--log-level", "info")
		if code, _ := s.get("/"); code != 500 {
			t.Errorf("%d", code)
		}
		eventually(t, "another process tries", func() bool {
			pids := map[string]bool{}
			for line := range strings.Lines(s.log()) {
				if _, pid, ok := strings.Cut(line, "process "); ok && strings.Contains(line, "wsgi:error") {
					pids[pid] = true
				}
			}
			return len(pids) > 1
		})
	})
	t.Run("proxy", func(t *testing.T) {
		t.Parallel()
		silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts connections and never answers
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		s := start(t, dir, app, "--proxy-timeout", "1", "--proxy-mount-point", "/far", "http://"+silent.Addr().String())
		if code, took := timed(s, "/far/x"); code != 502 && code != 504 || took > 8*time.Second {
			t.Errorf("%d after %v", code, took)
		}
	})
}

// TestSizeLimits: requests that are too large.
func TestSizeLimits(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), `
def application(environ, start_response):
    size = len(environ["wsgi.input"].read())
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Long", "h" * int(environ["QUERY_STRING"] or 0))])
    return [b"%d" % size]
`)
	s := start(t, dir, app, "--limit-request-body", "1000", "--header-buffer-size", "10000", "--send-buffer-size", "4096", "--receive-buffer-size", "4096", "--keep-alive-timeout", "0")
	for size, want := range map[int]int{1000: 200, 1001: 413} {
		resp, err := http.Post("http://"+s.address()+"/", "text/plain", strings.NewReader(strings.Repeat("x", size)))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want || !resp.Close && want == 200 {
			t.Errorf("a body of %d bytes: %d, connection closed: %v", size, resp.StatusCode, resp.Close)
		}
	}
	for size, want := range map[string]int{"7000": 200, "20000": 500} {
		if code, _ := s.get("/?" + size); code != want {
			t.Errorf("a header of %s bytes: %d, want %d", size, code, want)
		}
	}
}

// TestPlaces: the options for locations and names.
func TestPlaces(t *testing.T) {
	env := testEnv(t)
	dir := workDir(t, "")
	write(t, filepath.Join(dir, "app.py"), echoApp)
	httpd, _ := filepath.Glob(filepath.Join(env, "lib", "python3*", "site-packages", "mod_wsgi_packages", "httpd"))
	if len(httpd) != 1 {
		t.Skip("the environment does not contain an httpd")
	}
	logs, sockets := filepath.Join(dir, "l'ogs"), shortDir(t)
	args := []string{
		"--entry-point", "app.py", "--httpd-executable", filepath.Join(httpd[0], "bin", "httpd"), "--modules-directory", filepath.Join(httpd[0], "modules"),
		"--rotatelogs-executable", filepath.Join(httpd[0], "bin", "rotatelogs"), "--log-directory", logs, "--error-log-name", "e.log",
		"--access-log", "--access-log-name", "a.log", "--startup-log", "--startup-log-name", "s.log", "--socket-prefix", sockets,
		"--pid-file", filepath.Join(dir, "the pid"), "--process-name", "my-httpd", "--server-backlog", "50", "--daemon-backlog", "20",
		"--connect-timeout", "9", "--deadlock-timeout", "33", "--response-socket-timeout", "44", "--locale", "C.UTF-8",
	}
	want := ""
	if g, err := user.LookupGroup("games"); os.Geteuid() == 0 && err == nil {
		args, want = append(args, "--group", "games"), g.Gid
	}
	app := filepath.Join(dir, "app.py")
	write(t, app, strings.Replace(echoApp, "    body =", "    out['gid'] = os.getgid()\n    body =", 1))
	s := start(t, dir, args...)
	seen := s.environ("/")
	if want != "" && fmt.Sprint(seen["gid"]) != want {
		t.Errorf("group %v, want %s", seen["gid"], want)
	}
	if names, _ := filepath.Glob(filepath.Join(sockets, "wsgi.*.sock")); len(names) != 1 {
		t.Errorf("sockets: %q", names)
	}
	for _, name := range []string{"e.log", "a.log", "s.log"} {
		if _, err := os.Stat(filepath.Join(logs, name)); err != nil {
			t.Error(err)
		}
	}
	data, _ := os.ReadFile(filepath.Join(dir, "the pid"))
	pid, _ := strconv.Atoi(strings.TrimSpace(string(data)))
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if !strings.HasPrefix(string(line), "my-httpd") {
		t.Errorf("process %d: %q", pid, line)
	}
	text, _ := os.ReadFile(filepath.Join(s.root, "httpd.conf"))
	for _, want := range []string{` listen-backlog="20"`, ` connect-timeout="9"`, ` deadlock-timeout="33"`, ` response-socket-timeout="44"`, "ListenBackLog 50\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("httpd.conf lacks %q", want)
		}
	}
}
