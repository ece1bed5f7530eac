// Package flock marks a directory as in use by this process, in a way that ends
// with the process however that ends.
package flock

import (
	"os"
	"path/filepath"
)

// Try marks dir and returns how to unmark it; ok is false where another process
// has it marked. On Windows an open file cannot be removed, which is the mark.
func Try(dir string) (release func(), ok bool, err error) {
	name := filepath.Join(dir, ".in-use")
	_ = os.Remove(name)
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if os.IsExist(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	return func() { _ = f.Close(); _ = os.Remove(name) }, true, nil
}
