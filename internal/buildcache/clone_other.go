//go:build !linux

package buildcache

import (
	"errors"
	"os"
)

// cloneFile is Linux's.
func cloneFile(_, _ *os.File) error { return errors.ErrUnsupported }
