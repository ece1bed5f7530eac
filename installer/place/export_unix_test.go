//go:build unix

package place

import "errors"

// SetFailpoint has f called at every step that a kill could fall between.
func SetFailpoint(f func(name string)) { failpoint = f }

// WithoutExchange makes the file system one that cannot exchange two paths.
func WithoutExchange() {
	swapPaths = func(_, _ string) error { return errors.ErrUnsupported }
}

// TryLockFile is how a directory is locked that cannot be locked itself. It
// returns nil where somebody else holds the lock.
func TryLockFile(dir string) (release func() error, err error) {
	l, _, err := tryLockFile(dir)
	if l == nil {
		return nil, err
	}
	return l.release, err
}
