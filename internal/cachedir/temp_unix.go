//go:build unix

package cachedir

import "golang.org/x/sys/unix"

// plainTemp is where a run works if the path of the cache has characters that make and
// configure scripts do not support.
const plainTemp = "/tmp"

// writable reports whether this user can create files in a directory.
func writable(dir string) bool { return unix.Access(dir, unix.W_OK|unix.X_OK) == nil }
