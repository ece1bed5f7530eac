//go:build unix

package shortage

import "golang.org/x/sys/unix"

const (
	fileSize     = unix.RLIMIT_FSIZE
	openFiles    = unix.RLIMIT_NOFILE
	addressSpace = unix.RLIMIT_AS
)

// rlimit returns a limit of this process; ok is false if it has none.
func rlimit(resource int) (uint64, bool) {
	var l unix.Rlimit
	if resource < 0 || unix.Getrlimit(resource, &l) != nil || l.Cur >= 1<<62 {
		return 0, false
	}
	return uint64(l.Cur), true // signed on some systems
}

// noInodes reports whether a file system has no room for more files although it has free
// bytes. File systems that create inodes as needed report zero. A failed run has already
// removed its files, so a few inodes are free.
func noInodes(path string) bool {
	const few, some = 128, 1 << 20
	var s unix.Statfs_t
	return path != "" && unix.Statfs(path, &s) == nil && s.Files > 0 && uint64(s.Ffree) < few && uint64(s.Bavail)*uint64(s.Bsize) > some
}

// SameFileSystem reports whether two existing paths are on one file system.
func SameFileSystem(a, b string) bool {
	var x, y unix.Stat_t
	return b != "" && unix.Stat(existing(a), &x) == nil && unix.Stat(existing(b), &y) == nil && x.Dev == y.Dev
}
