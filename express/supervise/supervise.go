// Package supervise runs the httpd of an instance: it starts it in the foreground,
// passes signals on, restarts it, lets it drain and ends it, also as process 1 of a
// container and when httpd itself is killed.
//
// It refuses to know options and how the configuration came to be.
package supervise

import (
	"context"
	"errors"
	"os"
	"time"

	"modwsgi/express/host"
	"modwsgi/express/instance"
	"modwsgi/internal/fault"
)

// Server is an httpd that runs in the foreground.
type Server struct {
	Launch                *instance.Launch
	Environ               []string // the caller's
	Stdin, Stdout, Stderr *os.File
	Signals               <-chan os.Signal
	Warn                  func(string)

	Debug    bool          // a single process
	Daemon   bool          // the application has processes of its own
	Drain    time.Duration // from a graceful stop to a hard one
	Shutdown time.Duration // what processes get that were left behind
	Startup  time.Duration // what the application gets to load, 0 for no limit

	// Readiness makes the pipe on which the application reports that it is loaded;
	// both ends are nil where nobody waits for that.
	Readiness func() (<-chan string, *os.File, error)
	// Ready takes that report and returns whether it was good.
	Ready func(message string) bool
	// Late reports that the application did not load in time.
	Late func()
	// Check reports whether httpd can read its configuration again.
	Check func() <-chan bool
}

// loadMargin is what a process gets for its own start, before the time of
// --startup-timeout is over for its application.
const loadMargin = 2 * time.Second

// loadDeadline is when nobody need wait any longer for the application: its
// processes are replaced then, again and again. There is none in other modes.
func (s *Server) loadDeadline(ready <-chan string) <-chan time.Time {
	if ready == nil || !s.Daemon || s.Startup == 0 {
		return nil
	}
	return time.After(s.Startup + loadMargin)
}

// End sends httpd the signal by which it ends, until it has ended or enough says
// so. Once is not enough: while it restarts httpd ignores the signal. When it has
// heard it, it ignores it too.
func End(ctx context.Context, proc *host.Process, kind host.SignalKind, limit time.Duration, enough func() bool) (bool, error) {
	const pause, every = 20 * time.Millisecond, 10
	deadline := time.Now().Add(limit)
	told := false
	for n := 0; time.Now().Before(deadline); n++ {
		if n%every == 0 {
			err := proc.Signal(kind)
			// An httpd that was told once may have no event left to tell it by (Windows).
			if told = told || err == nil; err != nil && !told && !errors.Is(err, os.ErrProcessDone) {
				return false, fault.New(fault.Environment, "", "stop httpd (process %d): %w", proc.Pid, err)
			}
		}
		if proc.Ended() || enough() {
			return true, nil
		}
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		time.Sleep(pause)
	}
	return false, nil
}
