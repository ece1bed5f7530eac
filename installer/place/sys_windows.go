package place

import (
	"errors"
	"io/fs"
	"time"
)

func inode(fs.FileInfo) uint64 { return 0 }

func syncDir(spot) {}

// syncTree does nothing: Windows has no such call for ordinary users.
func syncTree(spot) error { return nil }

// again retries what fails because another program has a new file open: virus scanners
// and indexers hold one for a moment.
func again(do func() error) error {
	err := do()
	for wait := 5 * time.Millisecond; wait < time.Second && errors.Is(err, fs.ErrPermission); wait *= 2 {
		time.Sleep(wait)
		err = do()
	}
	return err
}

func self() int { return -1 }
