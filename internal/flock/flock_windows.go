package flock

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// tryPath locks the file in a directory: Windows cannot lock directories.
func tryPath(dir string) (*Lock, Holder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, Holder{}, err
	}
	defer func() { _ = root.Close() }()
	return tryIn(root, dir)
}

func tryBoth(dir string) ([]*Lock, error) {
	lock, _, err := tryPath(dir)
	if lock == nil {
		return nil, err
	}
	return []*Lock{lock}, nil
}

// tryIn returns a lock, or nil. The holder is unknown here.
func tryIn(dir *os.Root, _ string) (*Lock, Holder, error) {
	f, err := dir.OpenFile(Name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, Holder{}, err
	}
	err = windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY,
		0, 1, 0, new(windows.Overlapped))
	if err == nil && same(f, dir) {
		own, oerr := dir.OpenRoot(".")
		if oerr == nil {
			return &Lock{f: f, in: own}, Holder{}, nil
		}
		err = oerr
	}
	_ = f.Close()
	if err == nil || errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return nil, Holder{}, nil
	}
	return nil, Holder{}, err
}

// same reports whether the open file is still what its name leads to.
func same(f *os.File, dir *os.Root) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := dir.Lstat(Name)
	return err == nil && os.SameFile(a, b)
}

func (l *Lock) release() error {
	err := l.f.Close()
	// This fails if the next process has opened it, which then removes it.
	_ = l.in.Remove(Name)
	return err
}
