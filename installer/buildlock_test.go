//go:build unix

package installer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"modwsgi/internal/event"
	"modwsgi/internal/flock"
)

// lockBuilds uses the builds of a cache; notes gets what it tells.
func lockBuilds(t *testing.T, cache, timeout string, notes chan<- string) *builds {
	t.Helper()
	q := request(t)
	q.LockTimeout = timeout
	q.Events = func(e event.Event) {
		if notes != nil {
			notes <- e.Text
		}
	}
	return newBuilds(&q, cache, t.TempDir())
}

const someKey = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

// TestOneBuildsTheOthersWait: everybody who comes while one builds waits, is told for
// whom, and looks again; nobody is there twice.
func TestOneBuildsTheOthersWait(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "cache")
	release, made, err := lockBuilds(t, cache, "", nil).alone(t.Context(), someKey, "module")
	if err != nil || made {
		t.Fatal(made, err)
	}
	const others = 5
	notes, ended := make(chan string, others), make(chan bool, others)
	var inside atomic.Int32
	for range others {
		b := lockBuilds(t, cache, "", notes)
		go func() {
			release, made, err := b.alone(context.Background(), someKey, "module")
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
			t.Errorf("told %q", text)
		}
	}
	release()
	for range others {
		if !<-ended {
			t.Error("one that waited does not look again")
		}
	}
	if left, err := os.ReadDir(filepath.Join(cache, partLocks)); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestTheLockOfABuildIsNoCondition: who has waited for long enough, was told not to
// wait, or cannot lock builds by itself; an interrupted one ends.
func TestTheLockOfABuildIsNoCondition(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "cache")
	release, _, err := lockBuilds(t, cache, "", nil).alone(t.Context(), someKey, "module")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	notes := make(chan string, 10)
	for _, b := range []*builds{lockBuilds(t, cache, "0", notes), lockBuilds(t, "", "", notes), lockBuilds(t, "/proc/none", "", notes)} {
		release, made, err := b.alone(t.Context(), someKey, "module")
		if err != nil || made {
			t.Error(made, err)
		}
		release()
	}
	if text := <-notes; !strings.Contains(text, "builds the same module") || !strings.Contains(text, "it is built here as well") {
		t.Errorf("told %q", text)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	b := lockBuilds(t, cache, "", notes)
	go func() { <-notes; cancel(stop) }()
	if _, _, err := b.alone(ctx, someKey, "module"); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	if release, _, err := lockBuilds(t, cache, "0", nil).alone(t.Context(), strings.Repeat("ab", 32), "httpd"); err != nil {
		t.Error(err)
	} else {
		release()
	}
}

// TestSweepOfTheCache: what killed runs left goes, what a run holds and what was kept
// on purpose stays, and nothing is made where there is no cache.
func TestSweepOfTheCache(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "cache")
	dirs := []string{
		"work/run-abcdefghijk2/x", "work/run-222222222222", "work/kept-abcdefghijk2", "locks/" + someKey, "locks/" + strings.Repeat("ab", 32),
		"builds/.store-abcdefghijk2/tree", "builds/.drop-abcdefghijk2", "host", "logs/20260101T000000Z-abcdefghijk2", "downloads",
	}
	for _, d := range dirs {
		if err := os.MkdirAll(filepath.Join(cache, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-2 * time.Hour)
	for _, name := range []string{".a.json.abcdefghijk2.tmp", "a.json"} {
		path := filepath.Join(cache, "host", name)
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chtimes(path, old, old)); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"work/run-222222222222", "locks/" + someKey} {
		release, ok, err := flock.Try(filepath.Join(cache, d))
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		defer release()
	}
	q := request(t)
	q.CacheDir = cache
	Sweep(q)
	var got []string
	for _, part := range []string{"builds", "host", "locks", "logs", "work"} {
		entries, err := os.ReadDir(filepath.Join(cache, part))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			got = append(got, part+"/"+e.Name())
		}
	}
	want := "host/a.json locks/" + someKey + " logs/20260101T000000Z-abcdefghijk2 work/kept-abcdefghijk2 work/run-222222222222"
	if strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	q.CacheDir = filepath.Join(t.TempDir(), "none")
	Sweep(q)
	if _, err := os.Stat(q.CacheDir); err == nil {
		t.Error("a cache was made")
	}
}
