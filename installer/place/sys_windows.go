package place

import (
	"errors"
	"io/fs"
	"time"
)

func inode(fs.FileInfo) uint64 { return 0 }

func syncDir(spot) {}

// syncTree does nothing: Windows has no such call that an ordinary user may
// make.
func syncTree(spot) error { return nil }

// again repeats what fails because another program looks into a new file: virus
// scanners and indexers hold one open for a moment.
func again(do func() error) error {
	err := do()
	for wait := 5 * time.Millisecond; wait < time.Second && errors.Is(err, fs.ErrPermission); wait *= 2 {
		time.Sleep(wait)
		err = do()
	}
	return err
}

// cure tells what to do about a path that could not be changed.
func cure(path string, err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return "end the programs that use " + path + ", or install into an environment of your own"
	}
	return ""
}

func self() int { return -1 }
