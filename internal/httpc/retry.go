package httpc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Retry is the policy for repeating a request: how often, and how long to wait before.
// Every repeated request in this project follows one.
type Retry struct {
	Again  int           // retries after attempts without progress; negative for none
	Limit  int           // attempts altogether, with progress or not; 0 sets no limit
	Delay  time.Duration // before the first retry, doubled for each
	Max    time.Duration // longest wait, including one that a server asks for
	Before func(err error, wait time.Duration)
	// Wants reports whether an error deserves another attempt, given the number of
	// failures without progress. nil repeats everything that is not [Permanent].
	Wants func(err error, failures int) bool
}

// Do calls try until it succeeds, fails permanently, or the policy is exhausted. A
// failure that made progress, such as a longer beginning of a download, restarts the
// count and the delays. Do returns the last error of try, or the context's cause if that
// ends during a wait.
func (r Retry) Do(ctx context.Context, try func() (progress bool, err error)) error {
	failures := 0
	for attempt := 1; ; attempt++ {
		progress, err := try()
		var final Permanent
		if err == nil || ctx.Err() != nil || errors.As(err, &final) {
			return err
		}
		if failures++; progress {
			failures = 1
		}
		if r.Wants != nil && !r.Wants(err, failures) {
			return err
		}
		wait := r.wait(failures - 1)
		var status *StatusError
		if errors.As(err, &status) && status.RetryAfter > 0 {
			if wait = status.RetryAfter; wait > r.Max {
				return fmt.Errorf("%w; it asks to wait for %s", err, wait.Round(time.Second))
			}
		}
		if failures > r.Again || attempt == r.Limit {
			return err
		}
		if r.Before != nil {
			r.Before(err, wait)
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// wait returns the delay before the n-th retry (from 0): exponential, with half of it
// random so that clients that collided once do not collide again.
func (r Retry) wait(n int) time.Duration {
	d := min(r.Delay<<min(n, 16), r.Max)
	return d/2 + rand.N(d/2+1) // #nosec G404 -- not a secret
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
