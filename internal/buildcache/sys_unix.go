//go:build unix

package buildcache

import "syscall"

// nonBlock prevents opening a pipe from waiting for a writer.
const nonBlock = syscall.O_NONBLOCK
