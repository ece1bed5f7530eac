//go:build unix

package flock

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"modwsgi/internal/fault"
)

func TestTry(t *testing.T) {
	for _, mode := range []fs.FileMode{0o700, 0o755} {
		dir := filepath.Join(t.TempDir(), "dir")
		makeDir(t, dir, mode)
		release, ok, err := Try(dir)
		if err != nil || !ok {
			t.Fatalf("first: %v, %v", ok, err)
		}
		if _, ok, err := Try(dir); err != nil || ok {
			t.Errorf("second: %v, %v", ok, err)
		}
		if _, err := Now(Options{Dir: dir}); fault.ClassOf(err) != fault.Busy {
			t.Errorf("by its file: %v", err)
		}
		release()
		release, ok, err = Try(dir)
		if err != nil || !ok {
			t.Fatalf("after release: %v, %v", ok, err)
		}
		release()
		empty(t, dir)
		if _, _, err := Try(dir + "/no"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a directory that is not there: %v", err)
		}
	}
}

func makeDir(t *testing.T, dir string, mode fs.FileMode) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, mode); err != nil {
		t.Fatal(err)
	}
}

func empty(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// TestOneAtATime: many request the same lock, over and over. Each release removes the
// file that the others have open.
func TestOneAtATime(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dir")
	makeDir(t, dir, 0o755)
	var inside, most atomic.Int32
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 15 {
				l, err := Wait(t.Context(), Options{Dir: dir, Limit: time.Minute})
				if err != nil {
					t.Error(err)
					return
				}
				most.Store(max(most.Load(), inside.Add(1)))
				time.Sleep(100 * time.Microsecond)
				inside.Add(-1)
				if err := l.Release(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if most.Load() != 1 {
		t.Errorf("%d had it at the same time", most.Load())
	}
	empty(t, dir)
}

func TestWaitHasALimitAndNamesTheHolder(t *testing.T) {
	for _, mode := range []fs.FileMode{0o700, 0o755} {
		dir := filepath.Join(t.TempDir(), "dir")
		makeDir(t, dir, mode)
		held, err := Now(Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		var told []string
		o := Options{Dir: dir, Limit: 200 * time.Millisecond, Busy: "sings", Waiting: func(s string) { told = append(told, s) }}
		began := time.Now()
		_, err = Wait(t.Context(), o)
		if took := time.Since(began); took < o.Limit || took > 20*time.Second {
			t.Errorf("waited for %v", took)
		}
		if fault.ClassOf(err) != fault.Busy || !strings.Contains(err.Error(), "sings; the limit of 200ms for waiting is over") || !strings.Contains(fault.HintOf(err), "--lock-timeout") {
			t.Errorf("error is %v (%s)", err, fault.HintOf(err))
		}
		if len(told) != 1 || !strings.Contains(told[0], "sings: waiting up to 200ms") {
			t.Errorf("reported %q", told)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("a key was pressed"))
		if _, err := Wait(ctx, Options{Dir: dir, Limit: time.Hour}); fault.ClassOf(err) != fault.Busy || !strings.Contains(err.Error(), "a key") {
			t.Errorf("error is %v", err)
		}
		o.Limit = 0
		if _, err := Wait(t.Context(), o); fault.ClassOf(err) != fault.Busy || strings.Contains(err.Error(), "limit") || len(told) != 1 {
			t.Errorf("without waiting: %v, %q", err, told)
		}
		// Its end ends the wait.
		time.AfterFunc(100*time.Millisecond, func() { _ = held.Release() })
		l, err := Wait(t.Context(), Options{Dir: dir, Limit: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Release()
		_ = l.Release()
		empty(t, dir)
	}
}

func TestLimit(t *testing.T) {
	for _, c := range []struct {
		texts []string
		want  time.Duration
	}{
		{nil, DefaultLimit},
		{[]string{"", " "}, DefaultLimit},
		{[]string{"", "90"}, 90 * time.Second},
		{[]string{"5m", "no"}, 5 * time.Minute},
		{[]string{"0", "1h"}, 0},
		{[]string{"0s"}, 0},
		{[]string{" 1h30m "}, 90 * time.Minute},
	} {
		if got, err := Limit(c.texts...); err != nil || got != c.want {
			t.Errorf("%q: %v, %v", c.texts, got, err)
		}
	}
	for _, text := range []string{"tomorrow", "-1", "-5m", "5 m", "1e3"} {
		if _, err := Limit(text); fault.ClassOf(err) != fault.Usage || fault.HintOf(err) == "" {
			t.Errorf("%q: %v", text, err)
		}
	}
	for d, want := range map[time.Duration]string{10 * time.Minute: "10m", time.Hour: "1h", 90 * time.Second: "1m30s", 30 * time.Second: "30s", 100 * time.Minute: "1h40m", 0: "0s"} {
		if got := Text(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}
