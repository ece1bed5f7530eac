//go:build unix

package shortage

import "golang.org/x/sys/unix"

const (
	fileSize     = unix.RLIMIT_FSIZE
	openFiles    = unix.RLIMIT_NOFILE
	addressSpace = unix.RLIMIT_AS
)

// rlimit returns a limit of this process; not ok where there is none.
func rlimit(resource int) (uint64, bool) {
	var l unix.Rlimit
	if resource < 0 || unix.Getrlimit(resource, &l) != nil || l.Cur >= 1<<62 {
		return 0, false
	}
	return uint64(l.Cur), true // signed on some systems
}

// noInodes reports whether a file system has no room for more files while it has some
// for bytes. Those that make inodes as needed have a count of none. What a failed run
// had there has been removed by now, so a few are left.
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
