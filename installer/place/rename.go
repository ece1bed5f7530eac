package place

import (
	"io/fs"
	"os"
	"path/filepath"
)

func (s spot) path() string { return filepath.Join(s.dir.Path(), s.name) }

// renameChecked replaces renameNew on systems without such a call. A path that another
// program creates within the same few microseconds would be lost.
func renameChecked(from, to spot) error {
	if _, err := to.dir.Lstat(to.name); err == nil {
		return &os.LinkError{Op: "rename", Old: from.path(), New: to.path(), Err: fs.ErrExist}
	}
	return rename(from, to)
}

// swapSpots is exchange. It is a variable so that tests can simulate file systems that
// cannot exchange.
var swapSpots = exchange
