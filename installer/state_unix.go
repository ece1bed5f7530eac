//go:build unix

package installer

import (
	"fmt"
	"os"
	"syscall"
)

// stateOf returns a text that changes when a file is replaced or changed, or when an
// entry is added to or removed from a directory.
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
