//go:build unix

package cachedir_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/cachedir"
	"modwsgi/internal/flock"
)

const someKey = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

// TestSweepOfTheCache: what killed runs left is removed, what a run holds and what was
// kept on purpose stays, and nothing is created without a cache.
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
	for _, name := range []string{".a.json.abcdefghijk2.tmp", ".b.json.0189uvabcdef.tmp", "a.json"} {
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
	q := request{CacheDir: cache, Env: []string{"PATH=" + os.Getenv("PATH")}}
	cachedir.Sweep(q.options())
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
	cachedir.Sweep(q.options())
	if _, err := os.Stat(q.CacheDir); err == nil {
		t.Error("a cache was made")
	}
}
