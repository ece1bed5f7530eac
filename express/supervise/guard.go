package supervise

import (
	"time"

	"modwsgi/express/host"
)

// guard translates requests to the launcher into the signals that httpd understands
// (https://httpd.apache.org/docs/2.4/stopping.html). Its channels fire when the next
// signal is due.
type guard struct {
	send     func(host.SignalKind) // to httpd's first process
	terminal func() bool           // whether the launcher has a terminal now
	had      bool                  // whether it had one at the start
	// interactive: an interrupt from the terminal is for gdb, which receives it too.
	interactive bool
	daemon      bool // the application runs in separate processes

	drain    time.Duration // from a graceful stop to a hard one
	patience time.Duration // from there to a kill; 0 for no limit
	others   time.Duration // from there to a signal for the rest of the group; 0 for none

	stopping int  // number of steps taken to stop httpd
	killed   bool // the last of these steps
	deadline <-chan time.Time
	again    <-chan time.Time
	rest     <-chan time.Time
}

func (s *Server) guard(line *succession) *guard {
	terminal := func() bool { return host.IsTerminal(s.Console.Stdin, s.Console.Stdout) }
	g := &guard{send: line.signal, terminal: terminal, had: terminal(), daemon: s.Daemon, drain: s.Drain}
	if s.Debug {
		g.interactive = s.Launch.GDB != "" && g.had
	} else {
		g.others = 500 * time.Millisecond
	}
	switch {
	case !host.StopsInTime:
	case s.Debug:
		g.patience = 2 * time.Second
	default:
		g.patience = 15 * time.Second
	}
	return g
}

// closed reports whether the terminal was closed, which also arrives as a hangup.
func (g *guard) closed() bool { return g.had && !g.terminal() }

// reloads reports whether a request asks for a restart.
func (g *guard) reloads(r host.Request) bool {
	return r == host.Reload || r == host.Hangup && !g.closed()
}

// handle passes a request on.
func (g *guard) handle(r host.Request) {
	switch r {
	case host.Stop:
		// Running requests get as much time as when a process is replaced. httpd
		// accepts no new ones.
		if g.stopping == 0 && g.daemon {
			g.send(host.Drain)
			g.stopping, g.deadline = 1, time.After(g.drain)
			// An httpd that is still starting ignores the signal.
			g.again = time.Tick(200 * time.Millisecond)
			return
		}
		g.escalate()
	case host.Interrupt:
		if g.interactive {
			return
		}
		if g.stopping == 0 {
			g.stopping = 1
		}
		g.escalate()
	case host.Hangup:
		if g.closed() {
			g.escalate()
			return
		}
		g.send(host.Restart)
	case host.Reload:
		g.send(host.Graceful)
	case host.Resized:
		// Without a terminal the signal comes from a container runtime, which asks for
		// a graceful stop.
		if !g.had {
			g.send(host.Drain)
		}
	}
}

// escalate takes the next, harder step to stop httpd.
func (g *guard) escalate() {
	g.stopping++
	g.deadline, g.again = nil, nil
	if g.stopping > 2 {
		g.killed = true
		g.send(host.Kill)
		return
	}
	g.send(host.Terminate)
	if g.patience > 0 {
		// httpd ends its children within a few seconds. A single process may lose the
		// signal to a thread of the application.
		g.deadline = time.After(g.patience)
	}
	if g.others > 0 {
		// httpd waits for its workers and ends the application's processes only then,
		// while a worker waits for these if it handles a request.
		g.rest = time.After(g.others)
	}
}
