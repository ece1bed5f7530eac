package cachedir_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/otheruser"
	"modwsgi/internal/testkit"
)

// baitKey is the key of a planted build.
var baitKey = strings.Repeat("ab", 32)

// bait fills a directory with what a cache command or the sweep of an install would
// remove, whichever part of the cache it is.
func bait(t *testing.T, dir string) {
	t.Helper()
	files := map[string]string{
		"file": "f", "run-dead/file": "f", "kept-1/file": "f",
		"archives/sha256/" + baitKey + "/x.tar.gz": "archive",
		"ab/" + baitKey + "/manifest.json":         "{", "ab/" + baitKey + "/tree/file": "f",
		".store-1/tree/file": "f", ".drop-1/file": "f",
	}
	for i := range 12 {
		files[fmt.Sprintf("20200101T0000%02dZ-x/step.log", i)] = "log"
	}
	testkit.Write(t, dir, files)
}

func giveAll(t *testing.T, dir string) {
	t.Helper()
	for _, path := range testkit.Paths(t, dir) {
		otheruser.Give(t, path)
	}
}

// plants are the ways in which a part of a cache directory is not only root's. Each gets
// the part's path and a directory with bait.
var plants = map[string]func(t *testing.T, part, foreign string){
	"a link to another user's directory": func(t *testing.T, part, foreign string) {
		giveAll(t, foreign)
		symlink(t, foreign, part)
	},
	"a link to a directory of root": func(t *testing.T, part, foreign string) {
		symlink(t, foreign, part)
	},
	"a link of another user": func(t *testing.T, part, foreign string) {
		symlink(t, foreign, part)
		otheruser.Give(t, part)
	},
	"owned by another user": func(t *testing.T, part, _ string) {
		bait(t, part)
		giveAll(t, part)
	},
	"writable for everybody": func(t *testing.T, part, _ string) {
		bait(t, part)
		if err := os.Chmod(part, 0o777); err != nil {
			t.Fatal(err)
		}
	},
	"writable for a group with other members": func(t *testing.T, part, _ string) {
		bait(t, part)
		if err := os.Lchown(part, 0, otheruser.GID); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(part, 0o775|fs.ModeSetgid); err != nil {
			t.Fatal(err)
		}
	},
}

func symlink(t *testing.T, target, name string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}
