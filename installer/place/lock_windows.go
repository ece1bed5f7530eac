package place

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// tryLock returns a lock, or nil. Who holds it is not known here.
func tryLock(dir string) (*lockFile, int, error) {
	name := filepath.Join(dir, lockName)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, 0, err
	}
	err = windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY,
		0, 1, 0, new(windows.Overlapped))
	if err == nil && same(f, name) {
		return &lockFile{f: f, file: true}, 0, nil
	}
	_ = f.Close()
	if err == nil || errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return nil, 0, nil
	}
	return nil, 0, err
}

func (l *lockFile) release() error {
	err := l.f.Close()
	// Fails where the next one has opened it, who then removes it.
	_ = os.Remove(l.f.Name())
	return err
}
