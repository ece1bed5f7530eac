//go:build unix

package supervise

import (
	"errors"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"modwsgi/express/host"
	"modwsgi/internal/fault"
)

// Run starts httpd in the foreground, passes signals on and returns the
// exit code to end with: httpd's own, 128 and the signal's number where a signal
// ended it.
//
// It is the one place that does not go through internal/run: httpd gets our own
// descriptors, so that what it prints arrives unchanged, in order, and on the
// terminal when that is one, and so that a debugger can read from it.
func (s *Server) Run() (int, error) {
	l := s.Launch
	select {
	case got := <-s.Signals:
		if got != unix.SIGWINCH {
			return 128 + signalNumber(got), nil
		}
	default:
	}
	path, argv := l.HTTPD, append([]string{l.Argv0}, l.Args...)
	argv = append(argv, "-DFOREGROUND")
	if l.GDB != "" {
		argv[0] = l.HTTPD
		path, argv = l.GDB, l.UnderGDB(argv)
	}
	stdin := s.Stdin
	if !s.Debug {
		null, err := os.Open(os.DevNull)
		if err != nil {
			return 1, err
		}
		defer null.Close()
		stdin = null
	}
	ready, tell, err := s.Readiness()
	if err != nil {
		return 1, err
	}
	env, files := l.Environ(s.Environ), []*os.File{stdin, s.Stdout, s.Stderr}
	if tell != nil {
		env, files = append(env, "MOD_WSGI_READY_FD=3"), append(files, tell)
	}
	adopt()
	host.LimitUmask()
	child, done, err := startChild(path, argv, &os.ProcAttr{
		Dir: l.Dir, Env: env, Files: files,
		Sys: childAttributes(!s.Debug),
	})
	if err != nil {
		return 1, fault.New(fault.Environment, "", "start %s: %w", path, err)
	}
	if tell != nil {
		_ = tell.Close()
	}
	g := &guard{
		pid: child, daemon: s.Daemon, terminal: s.isTerminal(), hasTerminal: func() bool { return s.isTerminal() },
		drain: s.Drain, patience: 15 * time.Second,
	}
	if s.Debug {
		g.interactive = l.GDB != "" && s.isTerminal()
		g.patience = 2 * time.Second
	} else {
		g.others = 500 * time.Millisecond
	}
	failed := false // the application did not load
	late := s.loadDeadline(ready)
	var checked <-chan bool
	for {
		select {
		case got := <-s.Signals:
			switch {
			case s.Debug || !g.reloads(got):
				g.signal(got)
			case checked == nil && g.stopping == 0:
				checked = s.Check()
			}
		case good := <-checked:
			if checked = nil; good {
				g.send(unix.SIGUSR1)
			}
		case <-g.deadline:
			g.escalate()
		case <-g.again:
			g.send(unix.SIGWINCH)
		case <-g.rest:
			_ = unix.Kill(-child, unix.SIGTERM)
		case message := <-ready:
			ready, late = nil, nil
			failed = !s.Ready(message)
			if failed {
				g.escalate()
			}
		case <-late:
			ready, late, failed = nil, nil, true
			s.Late()
			g.escalate()
		case status := <-done:
			if s.Debug {
				endAdopted(s.Shutdown + time.Second)
			}
			if failed {
				return 1, nil
			}
			if g.killed || status.Signaled() {
				EndGroup(child, g.killed)
			}
			return exitCode(status), nil
		}
	}
}

// EndGroup ends what is left of httpd's group of processes when somebody has
// killed httpd itself: its children would go on serving and keep the port. In
// debug mode there is no such group.
func EndGroup(group int, atOnce bool) {
	if !atOnce {
		_ = unix.Kill(-group, unix.SIGTERM)
		// Workers of httpd wait for word from their parent and hear nothing else;
		// Python's processes end in their own way.
		for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			for {
				if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != nil || pid <= 0 {
					break
				}
			}
			if errors.Is(unix.Kill(-group, 0), unix.ESRCH) {
				return
			}
		}
	}
	_ = unix.Kill(-group, unix.SIGKILL)
}

func (s *Server) isTerminal() bool {
	for _, f := range []*os.File{s.Stdin, s.Stdout} {
		// Only a terminal has a size.
		if _, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil {
			return true
		}
	}
	return false
}

// startChild starts a process on a thread of its own, which lives as long as the
// process: on Linux the process is told when that thread ends
// (https://go.dev/issue/27505). All children are waited for, because as process 1
// of a container we get the orphans.
func startChild(path string, argv []string, attr *os.ProcAttr) (int, <-chan unix.WaitStatus, error) {
	type started struct {
		pid int
		err error
	}
	start, done := make(chan started), make(chan unix.WaitStatus, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		proc, err := os.StartProcess(path, argv, attr)
		if err != nil {
			start <- started{err: err}
			return
		}
		pid := proc.Pid
		_ = proc.Release() // it is waited for here, with all others
		start <- started{pid: pid}
		for {
			var status unix.WaitStatus
			got, err := unix.Wait4(-1, &status, 0, nil)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if got == pid || err != nil {
				done <- status
				return
			}
		}
	}()
	s := <-start
	return s.pid, done, s.err
}

// guard turns the signals that we get into those that httpd understands
// (https://httpd.apache.org/docs/2.4/stopping.html).
type guard struct {
	pid      int
	terminal bool
	// interactive: a key for an interrupt is gdb's, which gets it too.
	interactive bool
	daemon      bool

	hasTerminal func() bool
	drain       time.Duration // from a graceful stop to a hard one
	patience    time.Duration // from there to SIGKILL
	stopping    int           // how often we were told to stop
	killed      bool
	deadline    <-chan time.Time
	again       <-chan time.Time
	others      time.Duration // when the rest of the group is told, too; 0: never
	rest        <-chan time.Time
}

func (g *guard) send(s syscall.Signal) { _ = unix.Kill(g.pid, s) }

// reloads reports whether a signal asks for a restart.
func (g *guard) reloads(s os.Signal) bool {
	closed := g.terminal && !g.hasTerminal() // what the terminal says goodbye with
	return s == unix.SIGUSR1 || s == unix.SIGHUP && !closed
}

func (g *guard) signal(s os.Signal) {
	switch s {
	case unix.SIGTERM:
		// Requests that run get the time that they get when a process is
		// replaced; new ones are not accepted.
		if g.stopping == 0 && g.daemon {
			g.send(unix.SIGWINCH)
			g.stopping, g.deadline = 1, time.After(g.drain)
			// An httpd that is still starting ignores it.
			g.again = time.Tick(200 * time.Millisecond)
			return
		}
		g.escalate()
	case unix.SIGINT, unix.SIGQUIT:
		if g.interactive {
			return
		}
		if g.stopping == 0 {
			g.stopping = 1
		}
		g.escalate()
	case unix.SIGHUP:
		if g.terminal && !g.hasTerminal() { // it was closed
			g.escalate()
			return
		}
		g.send(unix.SIGHUP) // restart
	case unix.SIGUSR1:
		g.send(unix.SIGUSR1) // graceful restart
	case unix.SIGWINCH:
		// A terminal that changes its size is no reason to stop; a container
		// runtime that sends this means a graceful stop.
		if !g.terminal {
			g.send(unix.SIGWINCH)
		}
	}
}

// escalate stops harder each time.
func (g *guard) escalate() {
	g.stopping++
	g.deadline, g.again = nil, nil
	if g.stopping <= 2 {
		g.send(unix.SIGTERM)
		// httpd ends its children within a few seconds. As a single process it
		// may well lose the signal: a thread of the application's can take it.
		g.deadline = time.After(g.patience)
		if g.others > 0 {
			// httpd waits for its workers and only then tells the processes of the
			// application, for which the workers wait in a request that runs.
			g.rest = time.After(g.others)
		}
		return
	}
	g.killed = true
	g.send(unix.SIGKILL)
}

func signalNumber(s os.Signal) int {
	if n, ok := s.(syscall.Signal); ok {
		return int(n)
	}
	return 1
}

func exitCode(s unix.WaitStatus) int {
	if s.Signaled() {
		return 128 + int(s.Signal())
	}
	return s.ExitStatus()
}
