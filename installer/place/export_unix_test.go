//go:build unix

package place

import "errors"

// SetFailpoint has f called at every step that a kill could fall between.
func SetFailpoint(f func(name string)) { failpoint = f }

// WithoutExchange makes the file system one that cannot exchange two paths.
func WithoutExchange() {
	swapSpots = func(_, _ spot) error { return errors.ErrUnsupported }
}

// SetHook has f called at every moment that another user could use.
func SetHook(f func(name string)) { hook = f }
