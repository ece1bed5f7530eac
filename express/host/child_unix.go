//go:build unix

package host

import (
	"errors"
	"os"
	"runtime"
	"sync"
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
	pid, done, err := startChild(c, childAttributes(!single, c.Outlives))
	if err != nil {
		return nil, nil, fault.New(fault.Environment, "", "start %s: %w", c.Path, err)
	}
	return &Child{pid, done}, nil, nil
}

// PID returns the number of httpd's first process.
func (c *Child) PID() int { return c.pid }

// Done receives the end of the child, once.
func (c *Child) Done() <-chan Exit { return c.done }

// Signal sends a signal to httpd's first process.
func (c *Child) Signal(k SignalKind) { _ = unix.Kill(c.pid, k) }

// SignalGroup sends a signal to all processes of httpd.
func (c *Child) SignalGroup(k SignalKind) { _ = unix.Kill(-c.pid, k) }

// EndRest ends what httpd's first process left behind.
func (c *Child) EndRest(atOnce bool) { EndGroup(c.pid, atOnce) }

// family are the processes that were started and whose end nobody has noticed yet.
var family struct {
	sync.Mutex
	done    map[int]chan Exit
	waiting bool // somebody waits for them
}

// startChild starts a process on a thread of its own, which lives as long as the
// process: on Linux the process gets its signal when that thread ends
// (https://go.dev/issue/27505).
//
// It does not use os.StartProcess, which takes files: a file makes its descriptor block,
// and with it the socket on which another httpd accepts connections.
func startChild(c Command, attr *syscall.SysProcAttr) (int, chan Exit, error) {
	type started struct {
		pid int
		err error
	}
	start, done, gone := make(chan started), make(chan Exit, 1), make(chan Exit, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		files := make([]uintptr, 0, len(c.Files)+len(c.Inherit))
		for _, f := range c.Files {
			files = append(files, f.Fd())
		}
		for _, fd := range c.Inherit {
			files = append(files, uintptr(fd))
		}
		family.Lock()
		pid, err := syscall.ForkExec(c.Path, c.Argv, &syscall.ProcAttr{Dir: c.Dir, Env: c.Env, Files: files, Sys: attr})
		if err != nil {
			family.Unlock()
			start <- started{err: err}
			return
		}
		if family.done == nil {
			family.done = map[int]chan Exit{}
		}
		family.done[pid] = gone
		if !family.waiting {
			family.waiting = true
			go waitForAll()
		}
		family.Unlock()
		start <- started{pid: pid}
		done <- <-gone
	}()
	s := <-start
	runtime.KeepAlive(c.Files)
	return s.pid, done, s.err
}

// waitForAll waits for all children, because process 1 of a container inherits the
// orphans, until there are no more.
func waitForAll() {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil {
			hasEnded(pid, status)
			continue
		}
		family.Lock()
		if child, err := unix.Wait4(-1, &status, unix.WNOHANG, nil); err == nil { // started meanwhile
			family.Unlock()
			if child > 0 {
				hasEnded(child, status)
			}
			continue
		}
		for pid, gone := range family.done { // another part of the program has waited for it
			gone <- Exit{}
			delete(family.done, pid)
		}
		family.waiting = false
		family.Unlock()
		return
	}
}

// hasEnded reports the end of a process to whoever started it.
func hasEnded(pid int, status unix.WaitStatus) {
	family.Lock()
	defer family.Unlock()
	if gone, ours := family.done[pid]; ours {
		gone <- exitOf(status)
		delete(family.done, pid)
	}
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
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if err != nil || pid <= 0 {
			return
		}
		hasEnded(pid, status)
	}
}

// Share returns the number of another descriptor of a file, which the programs that this
// process starts, and theirs, inherit.
func Share(f *os.File) (int, error) {
	return unix.FcntlInt(f.Fd(), unix.F_DUPFD, 10)
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
