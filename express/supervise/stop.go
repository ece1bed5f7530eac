package supervise

import (
	"context"
	"errors"
	"os"
	"time"

	"modwsgi/express/host"
	"modwsgi/internal/fault"
)

// end sends httpd the termination signal until httpd has ended or enough returns true.
// One signal is not enough: httpd ignores it during a restart. An httpd that has
// received it ignores the next ones.
func end(ctx context.Context, proc *host.Process, kind host.SignalKind, limit time.Duration, enough func() bool) (bool, error) {
	const pause, every = 20 * time.Millisecond, 10
	deadline := time.Now().Add(limit)
	received := false
	for n := 0; time.Now().Before(deadline); n++ {
		if n%every == 0 {
			err := proc.Signal(kind)
			// After the first signal httpd may no longer have the event for another one
			// (Windows).
			if received = received || err == nil; err != nil && !received && !errors.Is(err, os.ErrProcessDone) {
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

// Stop ends a running instance and waits until it has ended: gracefully at first, and
// immediately after the time for that. It runs no program and reads no configuration.
func (c *Control) Stop(ctx context.Context) error {
	proc, err := c.mustRun(ctx)
	if err != nil {
		return err
	}
	proc.Release()
	wait, release := hold(ctx, c.Launch)
	defer release()
	if proc, err = c.mustRun(ctx); err != nil { // it may have been replaced
		return err
	}
	defer proc.Release()
	kinds := []struct {
		kind    host.SignalKind
		seconds int
	}{{host.Drain, c.Launch.Drain}, {host.Terminate, 15}}
	if c.Launch.Drain == 0 {
		kinds = kinds[1:]
	}
	for _, k := range kinds {
		ended, err := end(ctx, proc, k.kind, time.Duration(k.seconds)*time.Second, func() bool { return false })
		if err != nil {
			return err
		}
		if ended {
			wait(time.Duration(c.Launch.Drain+15) * time.Second)
			c.Console.Printf("httpd of %s has stopped\n", c.Launch.Root)
			return nil
		}
	}
	return c.doesNotStop(proc)
}

// releases is the time in which an httpd that has ended, and those that it had replaced,
// release the port.
const releases = 5 * time.Second

// stop asks httpd to end, immediately or after running requests have completed, and does
// not wait for them: it returns when another httpd can be started. It does not read the
// configuration.
func (c *Control) stop(ctx context.Context, kind host.SignalKind) error {
	proc, err := running(ctx, c.Launch)
	if err != nil {
		return err
	}
	wait := func(time.Duration) {}
	if proc != nil {
		proc.Release()
		var release func()
		wait, release = hold(ctx, c.Launch)
		defer release()
		if proc, err = running(ctx, c.Launch); err != nil { // it may have been replaced
			return err
		}
	}
	if proc == nil { // not an error, as for httpd -k stop
		c.Console.Printf("httpd of %s is not running\n", c.Launch.Root)
		return nil
	}
	defer proc.Release()
	// httpd removes its PID file when it starts to drain, or after it has ended its
	// children. One that has replaced another has its own.
	own := ""
	if c.Launch.Handle != nil {
		own = ownFile(c.Launch, proc.Pid)
	}
	heard := func() bool {
		if own != "" && ownFile(c.Launch, proc.Pid) == "" {
			return true
		}
		again, err := c.Launch.Running()
		if again != nil {
			again.Release()
		}
		return err == nil && again == nil
	}
	ended, err := end(ctx, proc, kind, 30*time.Second, heard)
	if err == nil && !ended {
		err = c.doesNotStop(proc)
	}
	if err == nil && kind == host.Terminate {
		wait(releases)
	}
	return err
}

func (c *Control) doesNotStop(proc *host.Process) error {
	return fault.New(fault.Environment, "see its error log", "httpd of %s (process %d) does not stop", c.Launch.Root, proc.Pid)
}

// mustRun returns the httpd of the instance.
func (c *Control) mustRun(ctx context.Context) (*host.Process, error) {
	proc, err := running(ctx, c.Launch)
	if err == nil && proc == nil {
		err = fault.New(fault.Environment, "", "httpd of %s is not running", c.Launch.Root)
	}
	return proc, err
}
