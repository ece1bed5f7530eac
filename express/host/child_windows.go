package host

import (
	"errors"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/windows"
)

// RequestOf returns what a signal to the launcher asks for: the first one ends httpd in
// good order, the second one at once.
func RequestOf(os.Signal) Request { return Interrupt }

// ExitCode is the exit code of a launcher that was interrupted before it started httpd.
func ExitCode(os.Signal) int { return 0 }

// Child is the httpd that the launcher runs in the foreground: one process that serves,
// below one that watches it.
type Child struct {
	proc *os.Process
	job  *job // nil if the system does not allow one
	done chan Exit
	told atomic.Bool
}

// StartChild starts httpd. The error that is not fatal says why httpd would outlive a
// launcher that was killed.
func StartChild(c Command, _ bool) (child *Child, unguarded, err error) {
	proc, err := c.Start(true)
	if err != nil {
		return nil, nil, err
	}
	child = &Child{proc: proc, done: make(chan Exit, 1)}
	if child.job, unguarded = NewJob(); unguarded == nil {
		unguarded = child.job.Add(proc.Pid)
	}
	go func() {
		state, err := proc.Wait()
		switch {
		case err != nil:
			child.done <- Exit{Code: 1, Err: err}
		case child.told.Load(): // as requested
			child.done <- Exit{}
		default:
			child.done <- Exit{Code: state.ExitCode()}
		}
	}()
	return child, unguarded, nil
}

// PID returns the number of httpd's first process.
func (c *Child) PID() int { return c.proc.Pid }

// Done receives the end of the child, once.
func (c *Child) Done() <-chan Exit { return c.done }

// Signal ends httpd: in good order, or at once.
func (c *Child) Signal(k SignalKind) {
	again := c.told.Swap(true)
	if k == Kill && c.job != nil {
		c.job.Kill()
		_ = c.proc.Kill()
		return
	}
	if !again || k == Kill {
		go c.terminate()
	}
}

// terminate sets httpd's event, which httpd creates a moment after its start.
func (c *Child) terminate() {
	for {
		err := SignalProcess(c.proc.Pid, Terminate)
		if err == nil {
			return
		}
		if !errors.Is(err, windows.ERROR_FILE_NOT_FOUND) {
			_ = c.proc.Kill()
			return
		}
		if !alive(c.proc.Pid) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// SignalGroup does nothing: httpd's first process ends the one that serves.
func (c *Child) SignalGroup(SignalKind) {}

// EndRest does nothing: the job ends all processes of httpd.
func (c *Child) EndRest(bool) {}

// EndGroup does nothing: the system has no process groups.
func EndGroup(int, bool) {}

// EndAdopted does nothing: the system has no orphans to adopt.
func EndAdopted(time.Duration) {}

// StartDetached starts a program and does not wait for it.
func StartDetached(c Command) error {
	proc, err := c.Start(true)
	if err != nil {
		return err
	}
	return proc.Release()
}

// LeadsGroup reports that the system has no process groups.
func LeadsGroup(int) bool { return false }

// isTerminal reports nothing: no signal depends on it here.
func isTerminal(*os.File) bool { return false }

// Share fails: descriptors have no numbers.
func Share(*os.File) (int, error) { return 0, errors.ErrUnsupported }
