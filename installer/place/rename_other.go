//go:build !linux

package place

import "errors"

// exchange is not available on this system; the caller takes two steps.
func exchange(_, _ spot) error { return errors.ErrUnsupported }

func renameNew(from, to spot) error { return renameChecked(from, to) }
