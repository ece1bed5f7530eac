//go:build acceptance && unix

package express_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"modwsgi/internal/freeport"
)

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
		// Immediately: the monitor has not checked the file yet.
		write(t, filepath.Join(dir, "part.py"), "TEXT = b'other'\n")
		for range 600 {
			if _, body := s.get("/"); body == "other" {
				if !strings.Contains(s.log(), "monitor (pid=") {
					t.Errorf("the log has no message:\n%s", s.log())
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
			t.Errorf("%q: the log does not contain %s:\n%s", text, want, s.log())
		}
		write(t, app, echoApp)
		if env := s.environ("/"); env["PATH_INFO"] != "/" {
			t.Errorf("after the fix: %v", env)
		}
	}
}

// gone waits until nothing listens on the server's port and no process of its group or
// with its root is left.
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
		mode      []string
	}{
		{syscall.SIGTERM, false, false, 0, nil},
		{syscall.SIGINT, false, false, 0, nil},
		{syscall.SIGQUIT, false, false, 0, nil},
		{syscall.SIGTERM, true, true, 0, nil},
		{syscall.SIGINT, true, false, 0, nil},
		{syscall.SIGKILL, false, false, -1, nil},
		{syscall.SIGKILL, false, false, -1, []string{"--debug-mode"}},
		{syscall.SIGTERM, false, false, 0, []string{"--embedded-mode"}},
	} {
		t.Run(fmt.Sprint(c.signal, c.slow, c.mode), func(t *testing.T) {
			s := start(t, dir, append([]string{app, "--processes", "2"}, c.mode...)...)
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
				s.inside()
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
		time.Sleep(pause * time.Millisecond) // the moment itself is varied here
		began := time.Now()
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		<-s.done
		if took := time.Since(began); took > 8*time.Second {
			t.Errorf("SIGTERM after %d ms: took %v\n%s", pause, took, s.log())
		}
		s.gone()
	}
}

// TestKilledHTTPD: when httpd is killed, none of its processes continues to serve. The
// exit code reports it, and the server can be started again.
func TestKilledHTTPD(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	s := start(t, dir, app, "--processes", "2")
	s.environ("/")
	data, err := os.ReadFile(filepath.Join(s.root, "httpd.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(data)))
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-s.done
	if code := s.cmd.ProcessState.ExitCode(); code != 128+9 {
		t.Errorf("exit code %d\n%s", code, s.out)
	}
	s.gone()
	again := append([]string{"start-server", app, "--host", "127.0.0.1", "--port", strconv.Itoa(s.port), "--server-root", s.root}, asUser()...)
	second := &server{t: t, cmd: command(t, again...), out: &bytes.Buffer{}, port: s.port, root: s.root, done: make(chan struct{})}
	second.cmd.Stdout, second.cmd.Stderr = second.out, second.out
	if err := second.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { second.err = second.cmd.Wait(); close(second.done) }()
	t.Cleanup(second.stop)
	second.up().environ("/")
}

// TestRestarts: both signals replace the application's process, and a running request
// is completed. With a configuration that httpd refuses nothing happens.
func TestRestarts(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	extra := write(t, filepath.Join(dir, "extra.conf"), "# nothing\n")
	s := start(t, dir, write(t, filepath.Join(dir, "app.py"), echoApp), "--include-file", extra)
	before := s.environ("/")["pid"]
	for n, signal := range []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1} {
		write(t, extra, "Nonsense\n")
		s.out.Reset()
		_ = s.cmd.Process.Signal(signal)
		eventually(t, "the mistake is shown", func() bool { return strings.Contains(s.out.String(), "Invalid command 'Nonsense'") })
		if now := s.environ("/")["pid"]; now != before {
			t.Errorf("%v: process %v, want %v", signal, now, before)
		}
		write(t, extra, "# nothing\n")
		slow := make(chan int, 1)
		go func() {
			code, _ := s.get("/?sleep=1")
			slow <- code
		}()
		eventually(t, "the request is inside of the application", func() bool { return strings.Count(s.log(), "a slow request is inside") == n+1 })
		_ = s.cmd.Process.Signal(signal)
		if code := <-slow; code != 200 {
			t.Errorf("%v: the running request: %d", signal, code)
		}
		now := before
		for range 1200 {
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
	s := &server{t: t, root: filepath.Join(shortDir(t), "a root"), port: freeport.Get(t)}
	args := append([]string{"setup-server", app, "--host", "127.0.0.1", "--port", strconv.Itoa(s.port), "--server-root", s.root, "--server-status"}, asUser()...)
	out, err := command(t, args...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Control Script     : "+filepath.Join(s.root, "apachectl")) {
		t.Fatalf("%v\n%s", err, out)
	}
	_, how, ok := strings.Cut(string(out), "Start It With      : ")
	if !ok || strings.Count(how, "\n") != 1 {
		t.Fatalf("the last line does not show how to start it:\n%s", out)
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
	for _, verb := range []string{"help", "--help", "--version"} { // nothing is started
		ctl(verb, map[bool]int{true: 0, false: 1}[verb == "--version"], map[bool]string{true: "Server version: Apache", false: "-k start|restart"}[verb == "--version"])
	}
	ctl("nonsense", 1, "Usage")
	ctl("status", 3, "not running")
	if out, err := exec.CommandContext(t.Context(), "sh", "-c", how).CombinedOutput(); err != nil { // as pasted by the user
		t.Fatalf("%s: %v\n%s", how, err, out)
	}
	t.Cleanup(func() { ctl("stop", 0, ""); s.gone() })
	s.listening()
	s.environ("/")
	ctl("status", 0, "BusyWorkers")
	ctl("start", 0, "already running")
	ctl("graceful", 0, "")
	// The command only sends the signal. Until httpd has read the configuration, the
	// configuration must not change, and not every request has a socket.
	eventually(t, "httpd has restarted", func() bool { return strings.Count(s.log(), "resuming normal operations") == 2 })
	s.environ("/")
	// An error in the configuration leaves the instance as it is.
	conf := filepath.Join(s.root, "httpd.conf")
	good, _ := os.ReadFile(conf)
	if err := os.WriteFile(conf, append(good, "Nonsense\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"configtest", "restart", "graceful"} {
		ctl(verb, 1, "Invalid command 'Nonsense'")
	}
	s.environ("/")
	if err := os.WriteFile(conf, good, 0o600); err != nil {
		t.Fatal(err)
	}
	ctl("restart", 0, "")
	eventually(t, "it answers after a restart", func() bool {
		resp, err := http.Get("http://" + s.address() + "/")
		return err == nil && resp.Body.Close() == nil
	})
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
		// As under systemd: the streams are a socket, which cannot be opened by name.
		fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
		port, root := freeport.Get(t), filepath.Join(shortDir(t), "r")
		cmd := command(t, append([]string{"start-server", app, "--log-to-terminal", "--port", strconv.Itoa(port), "--server-root", root}, asUser()...)...)
		cmd.Stdout, cmd.Stderr = theirs, theirs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		theirs.Close()
		text := make(chan string)
		go func() { data, _ := io.ReadAll(ours); text <- string(data) }()
		s := &server{t: t, port: port, root: root}
		s.listening()
		s.environ("/")
		_ = cmd.Process.Signal(syscall.SIGINT)
		_ = cmd.Wait()
		if out := <-text; !strings.Contains(out, "hello from the app") {
			t.Errorf("output:\n%s", out)
		}
	})
	t.Run("rotatelogs", func(t *testing.T) {
		programs, _ := filepath.Glob(filepath.Join(testEnv(t), "lib", "python3*", "site-packages", "mod_wsgi_packages", "httpd", "bin", "rotatelogs"))
		if len(programs) != 1 {
			t.Skip("the environment does not contain rotatelogs")
		}
		logs := filepath.Join(dir, "l o'g %d")
		s := start(t, dir, app, "--log-directory", logs, "--rotate-logs", "--rotatelogs-executable", programs[0], "--rotate-interval", "daily", "--access-log", "--access-log-format", `combined`)
		s.environ("/seen")
		var names []string
		for range 1200 { // rotatelogs creates its file with the first line
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
	for range 600 { // it is started again after each end
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
	refused(t, dir, 2, "no such service", append([]string{"start-server", "--service-user", "x", "y", "--port", strconv.Itoa(freeport.Get(t))}, asUser()...)...)
	refused(t, dir, 2, "not a valid name for a service", append([]string{"start-server", "--service-script", "a b", service, "--port", strconv.Itoa(freeport.Get(t))}, asUser()...)...)
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
	s := &server{t: t, out: &bytes.Buffer{}, port: freeport.Get(t), done: make(chan struct{})}
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
	s.listening()
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
