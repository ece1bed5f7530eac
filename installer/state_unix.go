//go:build unix

package installer

import (
	"fmt"
	"os"
	"syscall"
)

// stateOf is a text that changes when a file is replaced or changed, or when
// something comes into a directory or goes.
func stateOf(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return "none"
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Sprint(info.ModTime().UnixNano(), info.Size())
	}
	return fmt.Sprint(st.Dev, st.Ino, info.ModTime().UnixNano(), changeTime(st), info.Size(), info.Mode())
}

// ownScratch reports whether a temporary directory is this user's.
func ownScratch(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}
