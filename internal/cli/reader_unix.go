//go:build unix

package cli

import (
	"errors"
	"syscall"
)

// readerLeft reports whether a write failed because the reader closed the pipe.
func readerLeft(err error) bool { return errors.Is(err, syscall.EPIPE) }
