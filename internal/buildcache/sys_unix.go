//go:build unix

package buildcache

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// openPlain opens a file that is no symbolic link.
func openPlain(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}

// trusted says whether only this user, and root, can have written an entry: the
// cache's directory and everything from there on.
func (c Cache) trusted(entry string) error {
	for dir := entry; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if err := ownedWell(dir, info); err != nil {
			return err
		}
		if dir == c.Dir || filepath.Dir(dir) == dir {
			return nil
		}
	}
}

// Owned returns nil where only this user and root can change what is in a
// directory, else an error with ErrUntrusted, or that of looking at it.
func Owned(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	return ownedWell(dir, info)
}

func ownedWell(dir string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	if uid := int(st.Uid); uid != os.Geteuid() && uid != 0 {
		return fmt.Errorf("%s belongs to the user %d: %w", dir, uid, ErrUntrusted)
	}
	if mode := info.Mode(); mode.Perm()&0o022 != 0 {
		return fmt.Errorf("%s has the mode %v: %w", dir, mode.Perm(), ErrUntrusted)
	}
	return nil
}
