//go:build unix

package place

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// changeHint returns what to do about a path that could not be changed.
func changeHint(path string, err error) string {
	there := existing(path)
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return "make room on the file system of " + there + " (df, and df -i for the number of files) and run the command again"
	case errors.Is(err, syscall.EDQUOT):
		return "make room in your quota on the file system of " + there + ", or have it raised, and run the command again"
	case errors.Is(err, syscall.EFBIG):
		return "raise the limit on the size of files (ulimit -f) and run the command again"
	case errors.Is(err, syscall.EROFS):
		return there + " is on a read-only file system: install into an environment that can be written to"
	case errors.Is(err, syscall.EBUSY):
		return "check whether something is mounted at " + path + ", unmount it, and run the command again"
	case errors.Is(err, fs.ErrPermission):
		return permissionHint(path)
	}
	return ""
}

// permissionHint names who has the rights, or what stops even root.
func permissionHint(path string) string {
	there := existing(path)
	if o, at := obstacleAt(there); o != nil {
		return at + " " + o.what + "; " + o.hintFor(at) + " and run the command again"
	}
	if self() == 0 {
		return "root itself was refused: find out what protects " + there + " (lsattr -d, a security module such as SELinux, an NFS server that maps root to nobody, a container without CAP_DAC_OVERRIDE)"
	}
	hint := "install into an environment that you own (python3 -m venv .venv), or run the command as the owner of "
	if info, serr := os.Stat(there); serr == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			return hint + fmt.Sprintf("%s (user id %d)", there, st.Uid)
		}
	}
	return hint + path
}
