//go:build acceptance

package express_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"modwsgi/internal/freeport"
	"modwsgi/internal/otheruser"
)

// apachectl runs the script of a server root.
func (s *server) apachectl(code int, want string, words ...string) {
	s.t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(s.t.Context()), filepath.Join(s.root, "apachectl"), words...)
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	out, _ := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != code || !strings.Contains(string(out), want) {
		s.t.Errorf("apachectl %q: exit code %d, want %d and %q\n%s", words, got, code, want, out)
	}
}

// daemon sets up a server and starts it in the background with its script.
func daemon(t *testing.T, args ...string) *server {
	t.Helper()
	s := &server{t: t, root: filepath.Join(shortDir(t), "a root"), port: freeport.Get(t)}
	all := append(onLoopback("setup-server", args), append([]string{"--port", strconv.Itoa(s.port), "--server-root", s.root}, asUser()...)...)
	if out, err := command(t, all...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.begin()
	return s
}

func (s *server) begin() {
	s.t.Helper()
	s.apachectl(0, "", "start")
	eventually(s.t, "it answers", func() bool {
		resp, err := http.Get("http://" + s.address() + "/")
		return err == nil && resp.Body.Close() == nil
	})
	eventually(s.t, "its PID file", func() bool { return s.pid() > 0 })
}

func (s *server) pid() int {
	data, _ := os.ReadFile(filepath.Join(s.root, "httpd.pid"))
	pid, _ := strconv.Atoi(strings.TrimSpace(string(data)))
	return pid
}

func (s *server) dial() bool {
	c, err := net.Dial("tcp", s.address())
	return err == nil && c.Close() == nil
}

// TestStopWithoutConfiguration: an instance whose configuration is broken and whose
// program no longer exists can be stopped in every way, but not restarted.
func TestStopWithoutConfiguration(t *testing.T) {
	testEnv(t)
	t.Parallel()
	dir := workDir(t, "")
	s := daemon(t, write(t, filepath.Join(dir, "app.py"), echoApp))
	conf, launchFile := filepath.Join(s.root, "httpd.conf"), filepath.Join(s.root, "instance.json")
	good, err1 := os.ReadFile(conf)
	state, err2 := os.ReadFile(launchFile)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = os.WriteFile(conf, good, 0o600)
		s.apachectl(0, "", "stop")
		s.gone()
	})
	for k, words := range [][]string{{"stop"}, {"graceful-stop"}, {"-k", "stop"}, nil} {
		if k > 0 {
			s.begin()
		}
		pid := s.pid()
		if err := os.WriteFile(conf, append(bytes.Clone(good), "Nonsense\n"...), 0o600); err != nil {
			t.Fatal(err)
		}
		if k == 0 {
			for _, verb := range []string{"restart", "graceful", "configtest"} {
				s.apachectl(1, "Invalid command 'Nonsense'", verb)
			}
			s.manage(1, "Invalid command 'Nonsense'", "reload")
		}
		if s.pid() != pid || !s.dial() {
			t.Fatal("the process no longer exists")
		}
		var l map[string]any
		if err := json.Unmarshal(state, &l); err != nil {
			t.Fatal(err)
		}
		l["httpd"] = filepath.Join(dir, "gone", filepath.Base(l["httpd"].(string)))
		moved, err := json.Marshal(l)
		if err := errors.Join(err, os.WriteFile(launchFile, moved, 0o600)); err != nil {
			t.Fatal(err)
		}
		s.manage(0, "is running (process "+strconv.Itoa(pid)+")", "status")
		if words == nil {
			s.manage(0, "has stopped", "stop")
		} else {
			s.apachectl(0, "", words...)
		}
		eventually(t, "nobody listens", func() bool { return !s.dial() })
		s.gone()
		if err := errors.Join(os.WriteFile(conf, good, 0o600), os.WriteFile(launchFile, state, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	s.apachectl(0, "is not running", "stop")
}

// TestForeignPIDOnRealServer: if the PID file names a foreign process, no command
// signals it, and none signals the instance.
func TestForeignPIDOnRealServer(t *testing.T) {
	testEnv(t)
	t.Parallel()
	dir := workDir(t, "")
	s := daemon(t, write(t, filepath.Join(dir, "app.py"), echoApp))
	pid := s.pid()
	name := filepath.Join(s.root, "httpd.pid")
	t.Cleanup(func() {
		_ = os.WriteFile(name, []byte(strconv.Itoa(pid)+"\n"), 0o644)
		s.apachectl(0, "", "stop")
		s.gone()
	})
	// Its command line names the server root; that is not enough.
	sleep := exec.CommandContext(t.Context(), "/bin/sh", "-c", "echo; read x", "-f", filepath.Join(s.root, "httpd.conf"))
	in, err1 := sleep.StdinPipe()
	out, err2 := sleep.StdoutPipe()
	if err := errors.Join(err1, err2, sleep.Start()); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); _ = sleep.Wait() }()
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(strconv.Itoa(sleep.Process.Pid)+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.manage(3, "is not running", "status")
	s.manage(1, "is not running", "stop")
	s.manage(1, "is not running", "reload")
	for _, words := range [][]string{{"stop"}, {"graceful-stop"}, {"-k", "stop"}, {"-kstop"}} {
		s.apachectl(0, "is not running", words...)
	}
	// These two start the instance if it is not running, but the port is in use.
	for _, words := range [][]string{{"restart"}, {"graceful"}, {"start"}, {"-k", "restart"}} {
		s.apachectl(1, "is in use by", words...)
	}
	if err := sleep.Process.Signal(syscall.Signal(0)); err != nil || !s.dial() || s.pid() != sleep.Process.Pid {
		t.Errorf("%v; it answers: %v; the PID file contains %d", err, s.dial(), s.pid())
	}
	// With the real number, each command does its work.
	if err := os.WriteFile(name, []byte(strconv.Itoa(pid)+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, words := range [][]string{{"graceful"}, {"-k", "restart"}} {
		before := s.environ("/")["pid"]
		s.apachectl(0, "", words...)
		eventually(t, "another process after "+words[0], func() bool {
			resp, err := http.Get("http://" + s.address() + "/")
			if err != nil {
				return false
			}
			defer resp.Body.Close()
			var now map[string]any
			return json.NewDecoder(resp.Body).Decode(&now) == nil && now["pid"] != nil && now["pid"] != before
		})
	}
	if now := s.pid(); now == pid {
		t.Errorf("process %d serves still", pid)
	} else {
		pid = now // for the cleanup
	}
	s.apachectl(0, "httpd (pid "+strconv.Itoa(pid)+") already running", "start")
}

// TestDirectoriesOfTheApplication: root's instance works with directories in its server
// root that belong to the application's account, which can do anything there.
func TestDirectoriesOfTheApplication(t *testing.T) {
	testEnv(t)
	otheruser.Need(t)
	t.Parallel()
	dir := workDir(t, "")
	s := daemon(t, write(t, filepath.Join(dir, "app.py"), echoApp))
	t.Cleanup(func() { s.apachectl(0, "", "stop"); s.gone() })
	eggs := filepath.Join(s.root, "python-eggs")
	if err := errors.Join(os.Symlink("/etc/passwd", filepath.Join(eggs, "httpd.pid")), os.Chmod(eggs, 0o777)); err != nil {
		t.Fatal(err)
	}
	s.manage(0, "is running", "status")
	s.manage(0, "has reloaded", "reload")
	eventually(t, "it answers", func() bool {
		resp, err := http.Get("http://" + s.address() + "/")
		return err == nil && resp.Body.Close() == nil && resp.StatusCode == 200
	})
	s.manage(0, "has stopped", "stop")
	args := append([]string{"setup-server", filepath.Join(dir, "app.py"), "--host", "127.0.0.1", "--port", strconv.Itoa(s.port), "--server-root", s.root}, asUser()...)
	if out, err := command(t, args...).CombinedOutput(); err != nil {
		t.Errorf("set up again: %v\n%s", err, out)
	}
}

// handles reports whether a process has a handler for a signal (proc(5), SigCgt).
func handles(t *testing.T, pid int, signal syscall.Signal) bool {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, mask, _ := strings.Cut(string(status), "\nSigCgt:")
	mask, _, _ = strings.Cut(mask, "\n")
	caught, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return caught&(1<<(signal-1)) != 0
}

// TestDebugModeIsControlled: httpd as a single process runs as the application's
// account, and is still recognised.
func TestDebugModeIsControlled(t *testing.T) {
	testEnv(t)
	t.Parallel()
	dir := workDir(t, "")
	s := start(t, dir, write(t, filepath.Join(dir, "app.py"), echoApp), "--debug-mode")
	eventually(t, "its PID file", func() bool { return s.pid() > 0 })
	// The PID file exists before httpd handles signals.
	eventually(t, "it handles SIGTERM", func() bool { return handles(t, s.pid(), syscall.SIGTERM) })
	s.manage(0, "is running (process "+strconv.Itoa(s.pid())+")", "status")
	s.manage(0, "has stopped", "stop")
	<-s.done
}
