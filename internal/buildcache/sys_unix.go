//go:build unix

package buildcache

import "syscall"

// nonBlock keeps the opening of a pipe from waiting for a writer.
const nonBlock = syscall.O_NONBLOCK
