package fetch

import (
	"os"
	"path/filepath"
	"testing"

	"modwsgi/internal/owned"
)

// TestHeldArchiveOutlivesTheCache: the cache may be cleared at any moment after an
// archive was fetched, from a server or from the cache.
func TestHeldArchiveOutlivesTheCache(t *testing.T) {
	data := content(1, 5000)
	s := newServer(t, good(data))
	a := archiveOf(data, s.URL)
	cache, hold := filepath.Join(t.TempDir(), "cache"), filepath.Join(t.TempDir(), "archives")
	for range 2 { // the second time the run has it already
		for _, from := range []string{URL, Cache} {
			file, err := newFetcher(t, s, Options{CacheDir: cache, Hold: hold}).Fetch(t.Context(), a)
			if err != nil {
				t.Fatal(err)
			}
			if file.Provider != from {
				t.Errorf("it came from %s, want %s", file.Provider, from)
			}
			if from == Cache {
				if err := owned.RemoveAll(cache); err != nil {
					t.Fatal(err)
				}
			}
			mustBe(t, file, err, data)
		}
	}
}

// TestHoldOfASourceDirectory: files in a user's directory stay there.
func TestHoldOfASourceDirectory(t *testing.T) {
	data := content(2, 500)
	a, dir, hold := archiveOf(data, ""), t.TempDir(), filepath.Join(t.TempDir(), "archives")
	if err := os.WriteFile(filepath.Join(dir, a.File), data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := New(Options{CacheDir: t.TempDir(), SourceDirs: []string{dir}, Offline: true, Hold: hold})
	if err != nil {
		t.Fatal(err)
	}
	file, err := f.Fetch(t.Context(), a)
	if err != nil || file.Path != filepath.Join(dir, a.File) {
		t.Errorf("got %+v, %v", file, err)
	}
	if _, err := os.Stat(hold); err == nil {
		t.Error("it was copied")
	}
}

func TestLinkOrCopy(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	if err := os.WriteFile(from, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := linkOrCopy(from, to); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
	if err := linkOrCopy(filepath.Join(dir, "none"), filepath.Join(dir, "c")); err == nil {
		t.Error("nothing was linked")
	}
	// Another file system, if there is a writable one.
	if other, err := os.MkdirTemp("/dev/shm", "modwsgi-test-"); err == nil {
		defer os.RemoveAll(other)
		if err := linkOrCopy(from, filepath.Join(other, "a")); err != nil {
			t.Error(err)
		}
	}
}
