package place

import (
	"io/fs"
	"os"
	"path/filepath"
)

func (s spot) path() string { return filepath.Join(s.dir.Path(), s.name) }

// renameChecked is renameNew where the system has no such call: somebody who
// creates the same path within a few microseconds would lose it.
func renameChecked(from, to spot) error {
	if _, err := to.dir.Lstat(to.name); err == nil {
		return &os.LinkError{Op: "rename", Old: from.path(), New: to.path(), Err: fs.ErrExist}
	}
	return rename(from, to)
}

// swapSpots is exchange; a variable because tests have to see what happens on
// file systems that cannot do it.
var swapSpots = exchange
