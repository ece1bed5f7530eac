package supervise

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"modwsgi/express/console"
	"modwsgi/express/instance"
	"modwsgi/internal/owned"
)

func watched(t *testing.T) *instance.Launch {
	t.Helper()
	root := t.TempDir()
	err := os.Chmod(root, 0o700)
	handle, err2 := owned.OpenDir(root)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = handle.Close() })
	return &instance.Launch{Root: root, Pid: filepath.Join(root, "httpd.pid"), Handle: handle, HTTPD: "/bin/sleep", Args: []string{"-f", filepath.Join(root, "httpd.conf")}}
}

// TestKilledBeforeItWasSeen: httpd's first process was killed before the watching process
// looked at it for the first time. What it left is ended all the same.
func TestKilledBeforeItWasSeen(t *testing.T) {
	l := watched(t)
	first := exec.CommandContext(t.Context(), "/bin/sh", "-c", "sleep 60 & wait")
	first.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	group := first.Process.Pid
	t.Cleanup(func() { _ = syscall.Kill(-group, syscall.SIGKILL) })
	for !slices.Contains(commands(group), "sleep\x0060\x00") { // the second process
		time.Sleep(time.Millisecond)
	}
	err := errors.Join(os.WriteFile(l.Pid, []byte(strconv.Itoa(group)+"\n"), 0o600), first.Process.Kill())
	if err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	c := &Control{Launch: l, Console: &console.Console{}, Checks: &Checks{Launch: l}}
	if _, err := c.watch(t.Context(), []string{strconv.Itoa(os.Getppid())}); err != nil {
		t.Fatal(err)
	}
	if left := commands(group); len(left) > 0 {
		t.Errorf("these processes of its group are left: %q", left)
	}
}

// commands returns the command lines of a group's processes. Those of processes that have
// ended are empty.
func commands(group int) (found []string) {
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range names {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		line, err := os.ReadFile(name)
		if of, err2 := syscall.Getpgid(pid); errors.Join(err, err2) == nil && of == group && len(line) > 0 {
			found = append(found, string(line))
		}
	}
	return found
}

// TestEndedBeforeItWasSeen: httpd has ended by itself, or did not start. The watching
// process has nothing to wait for.
func TestEndedBeforeItWasSeen(t *testing.T) {
	l := watched(t)
	_ = os.Remove(l.Pid)
	if proc, killed := awaited(l, -1); proc != nil || killed != 0 {
		t.Errorf("%+v %d", proc, killed)
	}
	other := exec.CommandContext(t.Context(), "/bin/sh", "-c", "read line", l.Args[0], l.Args[1])
	in, err := other.StdinPipe()
	if err := errors.Join(err, other.Start()); err != nil {
		t.Fatal(err)
	}
	go func() {
		time.Sleep(200 * time.Millisecond) // as long as httpd takes to start
		in.Close()
		_ = other.Wait()
	}()
	before := time.Now()
	if proc, killed := awaited(l, -1); proc != nil || killed != 0 || time.Since(before) < 150*time.Millisecond {
		t.Errorf("while httpd starts: %+v %d after %v", proc, killed, time.Since(before))
	}
}
