//go:build unix

package digest

import "syscall"

const (
	nonBlock = syscall.O_NONBLOCK // a pipe without a writer would keep the reader for ever
	noFollow = syscall.O_NOFOLLOW
)
