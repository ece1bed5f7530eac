//go:build unix

package place

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

func inode(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}

// syncDir makes the names in a directory durable. Not all file systems can;
// an error would change nothing about what to do next.
func syncDir(at spot) {
	if d, err := at.dir.Root().Open("."); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
}

// again has nothing to repeat here.
func again(do func() error) error { return do() }

// cure tells what to do about a path that could not be changed.
func cure(path string, err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "make room on the file system of " + existing(path) + " and run the command again; nothing was changed"
	case errors.Is(err, syscall.EROFS):
		return existing(path) + " is on a read-only file system: install into an environment that can be written to"
	case errors.Is(err, fs.ErrPermission):
		hint := "install into an environment of your own (python3 -m venv .venv), or run the command as the owner of "
		if info, serr := os.Stat(existing(path)); serr == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				return hint + fmt.Sprintf("%s (user id %d)", existing(path), st.Uid)
			}
		}
		return hint + path
	}
	return ""
}

// self is the number of this user.
func self() int { return os.Geteuid() }
