//go:build unix

package host

import (
	"errors"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"modwsgi/internal/fault"
)

// RequestOf returns what a signal to the launcher asks for.
func RequestOf(s os.Signal) Request {
	switch s {
	case unix.SIGTERM:
		return Stop
	case unix.SIGINT, unix.SIGQUIT:
		return Interrupt
	case unix.SIGHUP:
		return Hangup
	case unix.SIGUSR1:
		return Reload
	case unix.SIGWINCH:
		return Resized
	}
	return Nothing
}

// ExitCode is the exit code of a program that a signal ends.
func ExitCode(s os.Signal) int {
	if n, ok := s.(syscall.Signal); ok {
		return 128 + int(n)
	}
	return 128 + 1
}

// Child is the httpd that the launcher runs in the foreground.
type Child struct {
	pid  int
	done chan Exit
}

// StartChild starts httpd in a new process group, but a single process (debug mode) in
// the launcher's group. It makes the launcher the parent of the processes that httpd
// leaves behind, where the system can do that. The error that is not fatal says why
// httpd would outlive a launcher that was killed.
func StartChild(c Command, single bool) (child *Child, unguarded, err error) {
	adopt()
	pid, done, err := startChild(c.Path, c.Argv, &os.ProcAttr{Dir: c.Dir, Env: c.Env, Files: c.Files, Sys: childAttributes(!single)})
	if err != nil {
		return nil, nil, fault.New(fault.Environment, "", "start %s: %w", c.Path, err)
	}
	return &Child{pid, done}, nil, nil
}

// Done receives the end of the child, once.
func (c *Child) Done() <-chan Exit { return c.done }

// Signal sends a signal to httpd's first process.
func (c *Child) Signal(k SignalKind) { _ = unix.Kill(c.pid, k) }

// SignalGroup sends a signal to all processes of httpd.
func (c *Child) SignalGroup(k SignalKind) { _ = unix.Kill(-c.pid, k) }

// EndRest ends what httpd's first process left behind.
func (c *Child) EndRest(atOnce bool) { EndGroup(c.pid, atOnce) }

// startChild starts a process on a thread of its own, which lives as long as the
// process: on Linux the process gets its signal when that thread ends
// (https://go.dev/issue/27505). It waits for all children, because process 1 of a
// container inherits the orphans.
func startChild(path string, argv []string, attr *os.ProcAttr) (int, chan Exit, error) {
	type started struct {
		pid int
		err error
	}
	start, done := make(chan started), make(chan Exit, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		proc, err := os.StartProcess(path, argv, attr)
		if err != nil {
			start <- started{err: err}
			return
		}
		pid := proc.Pid
		_ = proc.Release() // the loop below waits for it
		start <- started{pid: pid}
		for {
			var status unix.WaitStatus
			got, err := unix.Wait4(-1, &status, 0, nil)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if got == pid || err != nil {
				done <- exitOf(status)
				return
			}
		}
	}()
	s := <-start
	return s.pid, done, s.err
}

func exitOf(s unix.WaitStatus) Exit {
	if s.Signaled() {
		return Exit{Code: ExitCode(s.Signal()), Killed: true}
	}
	return Exit{Code: s.ExitStatus()}
}

// EndGroup ends the rest of httpd's process group after httpd itself was killed: its
// children would continue to serve and keep the port. Debug mode has no such group.
func EndGroup(group int, atOnce bool) {
	if !atOnce {
		_ = unix.Kill(-group, unix.SIGTERM)
		// Workers of httpd wait for their parent and ignore the signal. Python's
		// processes end in their own way.
		for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			reap()
			if errors.Is(unix.Kill(-group, 0), unix.ESRCH) {
				return
			}
		}
	}
	_ = unix.Kill(-group, unix.SIGKILL)
}

// reap collects the children that have ended.
func reap() {
	for {
		if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != nil || pid <= 0 {
			return
		}
	}
}

// StartDetached starts a program in a new session and does not wait for it.
func StartDetached(c Command) error {
	proc, err := os.StartProcess(c.Path, c.Argv, &os.ProcAttr{Dir: c.Dir, Env: c.Env, Files: c.Files, Sys: &syscall.SysProcAttr{Setsid: true}})
	if err != nil {
		return err
	}
	return proc.Release()
}

// LeadsGroup reports whether a process leads a process group.
func LeadsGroup(pid int) bool {
	group, err := unix.Getpgid(pid)
	return err == nil && group == pid
}

// isTerminal reports whether a file is a terminal: only a terminal has a size.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil
}
