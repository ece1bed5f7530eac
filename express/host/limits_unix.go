//go:build unix

package host

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// usualOpenFiles is the limit that systems give to processes, and select(2) can handle.
// Anything else was chosen, and is left alone unless more is needed.
const usualOpenFiles = 1024

// mostOpenFiles is the highest limit that AllowOpenFiles sets: programs that close every
// file they might have inherited take a second for so many.
const mostOpenFiles = 1 << 20

// OpenFiles returns how many files the processes of httpd can have open after
// AllowOpenFiles; 0 if that is unknown.
func OpenFiles() int {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil {
		return 0
	}
	return int(min(uint64(l.Max), mostOpenFiles))
}

// AllowOpenFiles lets the programs that this process starts, or becomes, have n files
// open. It returns how many they can have at least: the hard limit may be lower.
func AllowOpenFiles(n int) int {
	if n <= usualOpenFiles {
		return n
	}
	// Go raises the limit for its own process and restores it for others, unless it is set
	// here (https://go.dev/issue/46279).
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return n
	}
	allowed := min(uint64(l.Max), mostOpenFiles)
	setCur(&l, allowed)
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return usualOpenFiles
	}
	return min(n, int(allowed))
}
