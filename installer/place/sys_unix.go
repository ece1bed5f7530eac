//go:build unix

package place

import (
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

// syncDir makes the names in a directory durable. Not all file systems can; an error
// would not change the next step.
func syncDir(at spot) {
	if d, err := at.dir.Root().Open("."); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
}

// again has nothing to repeat here.
func again(do func() error) error { return do() }

// self returns the user id of this process.
func self() int { return os.Geteuid() }
