//go:build unix

package host

import "golang.org/x/sys/unix"

// Writable reports whether files can be made in a directory, with the rights of
// the thread.
func Writable(dir string) bool {
	return unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS) == nil
}
