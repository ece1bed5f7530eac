package place

import (
	"errors"
	"io/fs"
)

func inode(fs.FileInfo) uint64 { return 0 }

func syncDir(string) {}

// syncTree does nothing: Windows has no such call that an ordinary user may
// make.
func syncTree(string) error { return nil }

// cure says what to do about a path that could not be changed.
func cure(path string, err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return "end the programs that use " + path + ", or install into an environment of your own"
	}
	return ""
}
