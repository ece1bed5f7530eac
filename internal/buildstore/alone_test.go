//go:build unix

package buildstore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"modwsgi/internal/cachedir"
	"modwsgi/internal/event"
	"modwsgi/internal/flock"
)

// lockBuilds opens the builds of a cache; notes gets its events.
func lockBuilds(t *testing.T, cache string, limit time.Duration, notes chan<- string) *Store {
	t.Helper()
	return New(Options{Cache: cache, Work: t.TempDir(), LockLimit: limit, Events: func(e event.Event) {
		if notes != nil {
			notes <- e.Text
		}
	}})
}

const someKey = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

// TestOneBuildsOthersWait: every run that comes during a build waits, reports the
// holder, and looks again; no two build concurrently.
func TestOneBuildsOthersWait(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "cache")
	release, made, err := lockBuilds(t, cache, flock.DefaultLimit, nil).Alone(t.Context(), someKey, "module")
	if err != nil || made {
		t.Fatal(made, err)
	}
	const others = 5
	notes, ended := make(chan string, others), make(chan bool, others)
	var inside atomic.Int32
	for range others {
		b := lockBuilds(t, cache, flock.DefaultLimit, notes)
		go func() {
			release, made, err := b.Alone(context.Background(), someKey, "module")
			if inside.Add(1) != 1 || err != nil {
				t.Errorf("another one builds too, or %v", err)
			}
			inside.Add(-1)
			release()
			ended <- made
		}()
	}
	for range others {
		if text := <-notes; !strings.Contains(text, "builds the same module: waiting up to 10m") {
			t.Errorf("reported %q", text)
		}
	}
	release()
	for range others {
		if !<-ended {
			t.Error("one that waited does not look again")
		}
	}
	if left, err := os.ReadDir(filepath.Join(cache, cachedir.Locks)); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestBuildsWithoutTheLock: a run that has waited long enough, must not wait, or
// cannot lock builds by itself; an interrupted one ends.
func TestBuildsWithoutTheLock(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "cache")
	release, _, err := lockBuilds(t, cache, flock.DefaultLimit, nil).Alone(t.Context(), someKey, "module")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	notes := make(chan string, 10)
	for _, b := range []*Store{lockBuilds(t, cache, -1, notes), lockBuilds(t, "", flock.DefaultLimit, notes), lockBuilds(t, "/proc/none", flock.DefaultLimit, notes)} {
		release, made, err := b.Alone(t.Context(), someKey, "module")
		if err != nil || made {
			t.Error(made, err)
		}
		release()
	}
	if text := <-notes; !strings.Contains(text, "builds the same module") || !strings.Contains(text, "it is built here as well") {
		t.Errorf("reported %q", text)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	b := lockBuilds(t, cache, flock.DefaultLimit, notes)
	go func() { <-notes; cancel(stop) }()
	if _, _, err := b.Alone(ctx, someKey, "module"); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	if release, _, err := lockBuilds(t, cache, -1, nil).Alone(t.Context(), strings.Repeat("ab", 32), "httpd"); err != nil {
		t.Error(err)
	} else {
		release()
	}
}
