//go:build !linux

package buildcache

import (
	"errors"
	"os"
)

// cloneFile is only supported on Linux.
func cloneFile(_, _ *os.File) error { return errors.ErrUnsupported }
