//go:build unix

package host

import "golang.org/x/sys/unix"

// Writable reports whether the current thread can create files in a directory.
func Writable(dir string) bool {
	return unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS) == nil
}
