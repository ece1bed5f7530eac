//go:build unix

package place

import "errors"

// SetFailpoint sets a function that is called at every step at which the process could be
// killed.
func SetFailpoint(f func(name string)) { failpoint = f }

// WithoutExchange simulates a file system that cannot exchange two paths.
func WithoutExchange() {
	swapSpots = func(_, _ spot) error { return errors.ErrUnsupported }
}

// SetHook sets a function that is called at every moment that another user could use.
func SetHook(f func(name string)) { hook = f }
