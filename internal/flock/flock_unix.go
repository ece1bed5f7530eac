//go:build unix

// Package flock marks a directory as in use by this process, in a way that ends
// with the process however that ends: flock(2) on the directory itself, which
// leaves no file behind.
package flock

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Try marks dir and returns how to unmark it; ok is false where another process
// has it marked.
func Try(dir string) (release func(), ok bool, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, false, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = nil
		}
		return nil, false, err
	}
	return func() { _ = f.Close() }, true, nil
}
