package host

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestHasLocalFiles: a directory that does not exist yet is where it will be made, and one
// with another kind of file system below it is not local.
func TestHasLocalFiles(t *testing.T) {
	dir := t.TempDir()
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil || !local[int64(fs.Type)&0xffffffff] {
		t.Skipf("the directory of the test is on a file system of type %x", fs.Type)
	}
	for path, want := range map[string]bool{
		dir: true, filepath.Join(dir, "none/at/all"): true, "/proc": false, "/proc/self/none": false, "/": false, "/surely-none": true,
	} {
		if path == "/surely-none" && unix.Statfs("/", &fs) == nil && !local[int64(fs.Type)&0xffffffff] {
			continue
		}
		if got := HasLocalFiles(path); got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can mount")
	}
	at := filepath.Join(dir, "a b", "mounted")
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", at, "ramfs", 0, ""); err != nil {
		t.Skipf("a file system cannot be mounted: %v", err)
	}
	defer func() { _ = unix.Unmount(at, 0) }()
	if HasLocalFiles(dir) || HasLocalFiles(at) || !HasLocalFiles(filepath.Join(dir, "a")) {
		t.Error("a file system below a directory is not noticed")
	}
}
