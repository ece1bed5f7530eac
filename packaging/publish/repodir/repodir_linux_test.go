package repodir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/fault"
	"modwsgi/internal/otheruser"
)

// TestDirectoryOfAnotherUser: nothing is read or written where another user could replace
// it, neither in the directory itself nor below it.
func TestDirectoryOfAnotherUser(t *testing.T) {
	otheruser.Need(t)
	for _, theirs := range []string{".", "pool", "pool/main"} {
		dir := filepath.Join(otheruser.Dir(t), "repo")
		if err := os.MkdirAll(filepath.Join(dir, "pool/main"), 0o755); err != nil {
			t.Fatal(err)
		}
		otheruser.Give(t, filepath.Join(dir, theirs))
		tree, err := Write(t.Context(), Options{Path: dir, Entries: []string{"dists", "pool"}})
		if err == nil {
			_, _, err = tree.Put("pool/main/x", strings.NewReader("x"))
			tree.Close()
		}
		if fault.ClassOf(err) != fault.Environment || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", theirs, err)
		}
		if _, err := os.Lstat(filepath.Join(dir, "pool/main/x")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the file was written", theirs)
		}
	}
}

// TestLinksAreNotFollowed: a link below the directory leads nowhere.
func TestLinksAreNotFollowed(t *testing.T) {
	dir, outside := filepath.Join(t.TempDir(), "repo"), t.TempDir()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "pool")); err != nil {
		t.Fatal(err)
	}
	tree, err := Write(t.Context(), Options{Path: dir, Entries: []string{"dists", "pool"}})
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if _, _, err := tree.Put("pool/x", strings.NewReader("x")); err == nil {
		t.Error("written through a link")
	}
	if all, _ := os.ReadDir(outside); len(all) > 0 {
		t.Errorf("%v", all)
	}
	for _, name := range []string{"../x", "/x", "a/../../x", ""} {
		if _, _, err := tree.Put(name, strings.NewReader("x")); err == nil {
			t.Errorf("%q is accepted", name)
		}
	}
}

// TestLeftoversAreRemoved: the temporary files of killed runs, and nothing else.
func TestLeftoversAreRemoved(t *testing.T) {
	dir := t.TempDir()
	tree, err := Write(t.Context(), Options{Path: dir, Entries: []string{"pool"}})
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	for _, name := range []string{"pool/a", "pool/.hidden", "pool/.a.deb.0123456789ab.tmp"} {
		if _, _, err := tree.Put(name, strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := tree.Sweep("pool", nil); err != nil {
		t.Fatal(err)
	}
	all, err := os.ReadDir(filepath.Join(dir, "pool"))
	if err != nil || len(all) != 2 {
		t.Errorf("%v, %v", all, err)
	}
}
