// Package supervise runs the httpd of an instance. In the foreground it starts httpd,
// passes signals on, restarts it, lets it drain and ends it, also as process 1 of a
// container and after httpd itself was killed. For an httpd in the background it
// carries out the verbs of apachectl.
//
// It does not know how options become a configuration.
package supervise

import (
	"context"
	"fmt"
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
	Sockets []int // listening sockets for httpd; Run closes them once httpd has them

	Debug    bool          // a single process
	Daemon   bool          // the application runs in separate processes
	Drain    time.Duration // from a graceful stop to a hard one
	Shutdown time.Duration // time for processes that were left behind

	WaitReady bool   // wait until the application is loaded
	Lazy      bool   // the application is loaded by the first request
	Announce  func() // reports that the application is ready

	// Loads, if not nil, receives each report of the application instead of Announce: why
	// it does not load, or "". The server then also stays if the application does not load.
	Loads func(failure string)
}

// loadMargin is the time for the start of a process, in addition to the time for loading
// its application.
const loadMargin = 2 * time.Second

// loadLimit is the time for the start of an httpd whose application has a limit for
// loading.
func loadLimit(l *instance.Launch) time.Duration {
	return time.Duration(l.Startup)*time.Second + loadMargin
}

// loadDeadline fires when waiting for the application is pointless: from then on its
// processes are replaced again and again. Other modes have no such moment.
func (s *Server) loadDeadline(ready <-chan string) <-chan time.Time {
	if ready == nil || !s.Daemon || s.Launch.Startup == 0 {
		return nil
	}
	return time.After(loadLimit(s.Launch))
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
	first, err := s.start(tell)
	if err != nil {
		return 1, err
	}
	return s.follow(ctx, first, ready)
}

// start starts httpd, which reports on tell that the application is loaded.
func (s *Server) start(tell *os.File) (*generation, error) {
	l := s.Launch
	c := command(l, s.Console, s.Checks.Environ, tell)
	if tell != nil {
		defer tell.Close()
	}
	if host.Detaches && !s.Debug {
		null, err := os.Open(os.DevNull)
		if err != nil {
			return nil, err
		}
		defer null.Close()
		c.Files[0] = null
	}
	if l.GDB != "" {
		c.Argv[0] = l.HTTPD
		c.Path, c.Argv = l.GDB, l.UnderGDB(c.Argv)
	}
	g := &generation{launch: l}
	if hands(l) {
		var err error
		if g.link, err = newLink(l, false); err != nil {
			return nil, err
		}
	}
	host.LimitUmask()
	allowFiles(l, s.Console)
	g.readsCertificate()
	child, unguarded, err := startLinked(c, g.link, s.Sockets, s.Debug)
	host.ClosePassed(s.Sockets)
	if err != nil {
		g.release()
		return nil, err
	}
	if unguarded != nil {
		s.Console.Warn("httpd would continue to run if this program were killed: " + unguarded.Error())
	}
	g.runs(child)
	return g, nil
}

// allowFiles lets httpd have as many files open as its connections need.
func allowFiles(l *instance.Launch, c *console.Console) {
	if n := host.AllowOpenFiles(l.Open); n < l.Open {
		c.Warn(fmt.Sprintf("a process of httpd may have %d files open (ulimit -Hn), but its connections can need %d: raise the limit (LimitNOFILE in a systemd unit), or run setup-server again, which adapts to it", n, l.Open))
	}
}

// follow passes requests on until httpd has ended.
func (s *Server) follow(ctx context.Context, first *generation, ready <-chan string) (int, error) {
	line := newSuccession(s.Console, s.Checks, first)
	line.begins(first)
	if ready == nil && s.waits() && first.said != nil {
		ready = first.said
	}
	g := s.guard(line)
	var asked <-chan request
	if first.link != nil {
		var closeDoor func()
		asked, closeDoor = line.listen(ctx, s.Launch)
		defer closeDoor()
	}
	failed := false // the application did not load
	late := s.loadDeadline(ready)
	var checked <-chan bool
	var last <-chan time.Time // when clients have had the time for their last requests
	reload := func(asked chan<- error) {
		switch {
		case g.stopping > 0 || last != nil || line.held > 0:
			answer(asked, errStopped)
		case line.possible():
			line.begin(ctx, asked)
		case checked == nil:
			checked = s.recheck(ctx, asked)
		default:
			answer(asked, fault.New(fault.Environment, "try again", "no reload: another one is under way"))
		}
	}
	for {
		now := line.present()
		select {
		case <-now.stale():
			line.publish(now)
		case got := <-s.Signals:
			request := host.RequestOf(got)
			switch {
			case !s.Debug && g.reloads(request):
				reload(nil)
			case request == host.Stop && g.stopping == 0 && s.Daemon && now.link != nil && last == nil:
				line.stop(errStopped)
				line.drain(true)
				line.present().link.Finish()
				last = time.After(lastRequests)
			default:
				g.handle(request)
			}
		case <-last:
			if g.stopping == 0 {
				g.handle(host.Stop)
			}
		case r := <-asked:
			line.serve(r, reload)
		case <-now.link.Asks():
			reload(nil)
		case err := <-line.taken:
			if err != nil {
				s.Console.Fail(err)
			}
			line.commit(ctx, err)
		case <-line.changed: // to wait for the end of that one
		case good := <-checked:
			if checked = nil; good {
				now.restartsItself()
				g.send(host.Graceful)
			}
		case <-g.deadline:
			g.escalate()
		case <-g.again:
			g.send(host.Drain)
		case <-g.rest:
			if child, ours := now.httpd.(*host.Child); ours {
				child.SignalGroup(host.Terminate)
			}
		case message := <-ready:
			if late = nil; s.Loads != nil {
				s.loads(message)
				continue
			}
			ready = nil
			if failed = !s.isReady(message); failed {
				g.escalate()
			}
		case <-late:
			ready, late, failed = nil, nil, true
			s.reportLate()
			g.escalate()
		case <-now.gone:
			if now == line.present() {
				return s.ended(line, g, now.exit, failed)
			}
		}
		if g.stopping > 0 {
			line.stop(errStopped)
		}
	}
}

// ended ends the processes that httpd left behind and returns the exit code.
func (s *Server) ended(line *succession, g *guard, exit host.Exit, failed bool) (int, error) {
	line.stop(fault.New(fault.Environment, "see "+s.Launch.ErrorLog, "no reload: httpd has ended"))
	if s.Debug {
		host.EndAdopted(s.Shutdown + time.Second)
	}
	if g.killed && !failed {
		line.present().EndRest(true)
	}
	line.finish(exit.Killed && !failed && !g.killed)
	if failed {
		return 1, nil
	}
	return exit.Code, exit.Err
}

func (s *Server) reportLate() {
	s.Console.Fail(fault.New(fault.Environment, "see "+s.Launch.ErrorLog+", or give it more time with --startup-timeout",
		"the application does not load within %d seconds", s.Launch.Startup))
}
