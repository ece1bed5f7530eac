package place

import (
	"io/fs"
	"os"
)

// renameChecked is renameNew where the system has no such call: somebody who
// creates the same path within a few microseconds would lose it.
func renameChecked(from, to string) error {
	if exists(to) {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: fs.ErrExist}
	}
	return os.Rename(from, to)
}

// swapPaths is exchange; a variable because tests have to see what happens on
// file systems that cannot do it.
var swapPaths = exchange
