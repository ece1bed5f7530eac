//go:build acceptance

package express_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// membersOf returns the processes of a group that have not ended.
func membersOf(group int) (found []string) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		data, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		text := string(data)
		fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
		if len(fields) > 2 && fields[0] != "Z" && fields[2] == strconv.Itoa(group) {
			line, _ := os.ReadFile(filepath.Join(filepath.Dir(name), "cmdline"))
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

// first returns httpd's first process, never 0, which kill(2) takes for our own group.
func (s *server) first() int {
	s.t.Helper()
	eventually(s.t, "its PID file", func() bool { return s.pid() > 1 })
	return s.pid()
}

// TestFirstProcessKilled: when httpd's first process is killed, none of its processes
// continues to run, however it was started: neither the application's, nor a service's,
// nor the workers that hold the port.
func TestFirstProcessKilled(t *testing.T) {
	testEnv(t)
	t.Parallel()
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	service := write(t, filepath.Join(dir, "service.py"), "import threading\nprint('it runs', flush=True)\nthreading.Event().wait()\n")
	args := []string{app, "--processes", "2", "--service-script", "job", service}
	t.Run("apachectl", func(t *testing.T) {
		s := daemon(t, args...)
		pid := s.first()
		eventually(t, "all of its processes", func() bool { return len(membersOf(pid)) >= 5 })
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the end of its processes", func() bool { return len(membersOf(pid)) == 0 })
		s.begin() // the port is free
		again := s.first()
		s.apachectl(0, "", "stop")
		eventually(t, "its end", func() bool { return len(membersOf(again)) == 0 })
	})
	t.Run("embedded", func(t *testing.T) {
		s := daemon(t, app, "--embedded-mode")
		for k := range 5 { // also before anything has looked at it
			if k > 0 {
				s.begin()
			}
			pid := s.first()
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the end of its processes", func() bool { return len(membersOf(pid)) == 0 })
		}
	})
	t.Run("start-server", func(t *testing.T) {
		s := start(t, dir, args...)
		pid := s.first()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-s.done
		if left := membersOf(pid); len(left) > 0 {
			t.Errorf("processes left: %q", left)
		}
	})
	t.Run("with the launcher", func(t *testing.T) {
		// Nothing ends the other processes here: those with a Python end by themselves.
		s := start(t, dir, args...)
		pid := s.first()
		application := func() (n int) {
			for _, line := range membersOf(pid) {
				if strings.HasPrefix(line, "(wsgi:") {
					n++
				}
			}
			return n
		}
		eventually(t, "the processes of the application and the service", func() bool { return application() == 3 })
		s.environ("/") // it is loaded
		eventually(t, "the service runs", func() bool { return strings.Contains(s.log(), "it runs") })
		for _, p := range []int{s.cmd.Process.Pid, pid} {
			if err := syscall.Kill(p, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
		}
		for _, p := range []int{pid, s.cmd.Process.Pid} {
			if err := syscall.Kill(p, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		t.Cleanup(func() { _ = syscall.Kill(-pid, syscall.SIGKILL) })
		eventually(t, "the end of the processes of the application", func() bool { return application() == 0 })
	})
}

// TestWatchEndsWithHTTPD: the process that apachectl leaves behind ends with httpd.
func TestWatchEndsWithHTTPD(t *testing.T) {
	testEnv(t)
	t.Parallel()
	s := daemon(t, write(t, filepath.Join(workDir(t, ""), "app.py"), echoApp))
	watches := func() (n int) {
		names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, name := range names {
			line, _ := os.ReadFile(name)
			if words := strings.Split(string(line), "\x00"); len(words) > 3 && words[1] == "apachectl" && words[2] == s.root && words[3] == "watch-httpd" {
				n++
			}
		}
		return n
	}
	if n := watches(); n != 1 {
		t.Errorf("%d watching processes", n)
	}
	s.apachectl(0, "", "restart")
	s.apachectl(0, "already running", "start")
	if n := watches(); n != 1 {
		t.Errorf("%d watching processes after a restart", n)
	}
	s.apachectl(0, "", "stop")
	eventually(t, "their end", func() bool { return watches() == 0 })
}
