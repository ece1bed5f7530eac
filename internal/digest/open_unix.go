//go:build unix

package digest

import "syscall"

const (
	nonBlock = syscall.O_NONBLOCK // a pipe without a writer would block the reader for ever
	noFollow = syscall.O_NOFOLLOW
)
