package objgraph

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestOrder(t *testing.T) {
	var mu sync.Mutex
	var order []string
	task := func(name string, weight int64, needs ...string) Task {
		return Task{Name: name, Needs: needs, Weight: weight, Run: func(context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, name)
			return nil
		}}
	}
	pool := NewPool(1)
	held, err := pool.Acquire(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		done <- Run(t.Context(), pool, []Task{task("light", 1), task("heavy", 9), task("middle", 5), task("last", 100, "light", "heavy")})
	}()
	for { // all ready tasks wait for the slot
		pool.mu.Lock()
		n := len(pool.waiting)
		pool.mu.Unlock()
		if n == 3 {
			break
		}
	}
	held()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(order, " "); got != "heavy middle light last" {
		t.Errorf("got %s", got)
	}
	if pool.free != 1 || len(pool.waiting) != 0 {
		t.Errorf("%d slots are free, %d tasks wait", pool.free, len(pool.waiting))
	}
}

func TestPoolIsSharedAndLimited(t *testing.T) {
	pool := NewPool(3)
	var now, most atomic.Int64
	var tasks []Task
	for i := range 60 {
		tasks = append(tasks, Task{Name: string(rune('A' + i)), Weight: int64(i % 7), Run: func(context.Context) error {
			n := now.Add(1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			now.Add(-1)
			return nil
		}})
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := Run(t.Context(), pool, tasks); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if most.Load() > 3 || pool.free != 3 {
		t.Errorf("%d at a time, %d free", most.Load(), pool.free)
	}
}

func TestFailureEndsTheRest(t *testing.T) {
	boom := errors.New("boom")
	pool := NewPool(2)
	ran := atomic.Bool{}
	err := Run(t.Context(), pool, []Task{
		{Name: "waits", Run: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
		{Name: "fails", Run: func(context.Context) error { return boom }},
		{Name: "needs it", Needs: []string{"fails"}, Run: func(context.Context) error { ran.Store(true); return nil }},
	})
	if !errors.Is(err, boom) || ran.Load() || pool.free != 2 {
		t.Errorf("got %v, ran %v, %d free", err, ran.Load(), pool.free)
	}
}

func TestCancel(t *testing.T) {
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	pool := NewPool(1)
	held, err := pool.Acquire(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := pool.Acquire(ctx, 1)
		done <- err
	}()
	cancel(stop)
	if err := <-done; !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	held()
	if _, err := pool.Acquire(ctx, 1); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	if release, err := pool.Acquire(t.Context(), 1); err != nil {
		t.Error(err)
	} else {
		release()
	}
}

func TestBadGraphs(t *testing.T) {
	nothing := func(context.Context) error { return nil }
	for want, tasks := range map[string][]Task{
		"duplicate":      {{Name: "a", Run: nothing}, {Name: "a", Run: nothing}},
		"does not exist": {{Name: "a", Needs: []string{"b"}, Run: nothing}},
		"needs itself":   {{Name: "a", Needs: []string{"b"}, Run: nothing}, {Name: "b", Needs: []string{"a"}, Run: nothing}},
	} {
		if err := Run(t.Context(), NewPool(1), tasks); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if err := Run(t.Context(), NewPool(0), nil); err != nil {
		t.Error(err)
	}
}

func TestNilPoolHasNoLimit(t *testing.T) {
	both := make(chan struct{})
	meet := func(ctx context.Context) error {
		select {
		case both <- struct{}{}:
		case <-both:
		case <-ctx.Done():
			return ctx.Err()
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := Run(ctx, nil, []Task{{Name: "a", Run: meet}, {Name: "b", Run: meet}}); err != nil {
		t.Error(err)
	}
	cancel()
	if _, err := (*Pool)(nil).Acquire(ctx, 0); err == nil {
		t.Error("a slot was granted after the context ended")
	}
}
