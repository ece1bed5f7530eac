// Package supervise runs the httpd of an instance. In the foreground it starts httpd,
// passes signals on, restarts it, lets it drain and ends it, also as process 1 of a
// container and after httpd itself was killed. For an httpd in the background it
// carries out the verbs of apachectl.
//
// It does not know how options become a configuration.
package supervise

import (
	"context"
	"os"
	"time"

	"modwsgi/express/console"
	"modwsgi/express/host"
	"modwsgi/express/instance"
	"modwsgi/internal/fault"
)

// Server is an httpd that runs in the foreground.
type Server struct {
	Launch  *instance.Launch
	Console *console.Console
	Checks  *Checks
	Signals <-chan os.Signal

	Debug    bool          // a single process
	Daemon   bool          // the application runs in separate processes
	Drain    time.Duration // from a graceful stop to a hard one
	Shutdown time.Duration // time for processes that were left behind
	Startup  time.Duration // time for loading the application, 0 for no limit

	WaitReady bool   // wait until the application is loaded
	Lazy      bool   // the application is loaded by the first request
	Announce  func() // reports that the application is ready
	ErrorLog  string // for messages
}

// loadMargin is the time for the start of a process, in addition to the time for loading
// its application.
const loadMargin = 2 * time.Second

// loadDeadline fires when waiting for the application is pointless: from then on its
// processes are replaced again and again. Other modes have no such moment.
func (s *Server) loadDeadline(ready <-chan string) <-chan time.Time {
	if ready == nil || !s.Daemon || s.Startup == 0 {
		return nil
	}
	return time.After(s.Startup + loadMargin)
}

// Run starts httpd in the foreground, passes signals on and returns the exit code for
// the launcher: that of httpd, or 128 plus the number of the signal that ended httpd.
//
// It does not use internal/run: httpd inherits the launcher's descriptors, so its output
// arrives unchanged, in order, and on the terminal if there is one, and a debugger can
// read from it.
func (s *Server) Run(ctx context.Context) (int, error) {
	select {
	case got := <-s.Signals:
		if host.RequestOf(got) != host.Resized {
			return host.ExitCode(got), nil
		}
	default:
	}
	ready, tell, err := s.readiness()
	if err != nil {
		return 1, err
	}
	child, err := s.start(tell)
	if err != nil {
		return 1, err
	}
	return s.follow(ctx, child, ready)
}

// start starts httpd, which reports on tell that the application is loaded.
func (s *Server) start(tell *os.File) (*host.Child, error) {
	l := s.Launch
	path, argv := l.HTTPD, append([]string{l.Argv0}, l.Args...)
	stdin := s.Console.Stdin
	if host.Detaches {
		argv = append(argv, "-DFOREGROUND")
		if !s.Debug {
			null, err := os.Open(os.DevNull)
			if err != nil {
				return nil, err
			}
			defer null.Close()
			stdin = null
		}
	}
	if l.GDB != "" {
		argv[0] = l.HTTPD
		path, argv = l.GDB, l.UnderGDB(argv)
	}
	env, files := l.Environ(s.Checks.Environ), []*os.File{stdin, s.Console.Stdout, s.Console.Stderr}
	if tell != nil {
		defer tell.Close()
		env, files = append(env, "MOD_WSGI_READY_FD=3"), append(files, tell)
	}
	host.LimitUmask()
	child, unguarded, err := host.StartChild(host.Command{Path: path, Argv: argv, Dir: l.Dir, Env: env, Files: files}, s.Debug)
	if err == nil && unguarded != nil {
		s.Console.Warn("httpd would continue to run if this program were killed: " + unguarded.Error())
	}
	return child, err
}

// follow passes requests on until httpd has ended.
func (s *Server) follow(ctx context.Context, child *host.Child, ready <-chan string) (int, error) {
	g := s.guard(child)
	failed := false // the application did not load
	late := s.loadDeadline(ready)
	var checked <-chan bool
	for {
		select {
		case got := <-s.Signals:
			request := host.RequestOf(got)
			switch {
			case s.Debug || !g.reloads(request):
				g.handle(request)
			case checked == nil && g.stopping == 0:
				checked = s.recheck(ctx)
			}
		case good := <-checked:
			if checked = nil; good {
				g.send(host.Graceful)
			}
		case <-g.deadline:
			g.escalate()
		case <-g.again:
			g.send(host.Drain)
		case <-g.rest:
			child.SignalGroup(host.Terminate)
		case message := <-ready:
			ready, late = nil, nil
			if failed = !s.isReady(message); failed {
				g.escalate()
			}
		case <-late:
			ready, late, failed = nil, nil, true
			s.reportLate()
			g.escalate()
		case exit := <-child.Done():
			return s.ended(child, g, exit, failed)
		}
	}
}

// ended ends the processes that httpd left behind and returns the exit code.
func (s *Server) ended(child *host.Child, g *guard, exit host.Exit, failed bool) (int, error) {
	if s.Debug {
		host.EndAdopted(s.Shutdown + time.Second)
	}
	switch {
	case failed:
		return 1, nil
	case g.killed || exit.Killed:
		child.EndRest(g.killed)
	}
	return exit.Code, exit.Err
}

func (s *Server) reportLate() {
	s.Console.Fail(fault.New(fault.Environment, "see "+s.ErrorLog+", or give it more time with --startup-timeout",
		"the application does not load within %d seconds", int(s.Startup/time.Second)))
}
