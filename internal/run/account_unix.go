//go:build unix && !linux

package run

import (
	"io/fs"
	"os"
	"path/filepath"
)

// CanSwitch reports whether this process can run tools as another user, and end
// them.
func CanSwitch() bool { return os.Geteuid() == 0 }

// CanReadAll reports whether this process can give Account.ReadAll to a tool.
func CanReadAll() bool { return false }

func prepareThread(*Account) (restore func(), spoilt bool) { return func() {}, false }

// Closed returns the first of the paths that the account cannot read, by their modes. The
// account is assumed to own nothing and to be in no group. A path that does not exist is
// not closed.
func (a *Account) Closed(paths ...string) (string, error) {
	for _, path := range paths {
		for _, at := range []string{path, resolved(path)} {
			info, err := os.Stat(at)
			closed := err == nil && info.Mode().Perm()&0o004 == 0
			for dir := filepath.Dir(at); err == nil && !closed; dir = filepath.Dir(dir) {
				var above fs.FileInfo
				if above, err = os.Stat(dir); err == nil {
					closed = above.Mode().Perm()&0o001 == 0
				}
				if dir == filepath.Dir(dir) {
					break
				}
			}
			if closed {
				return path, nil
			}
		}
	}
	return "", nil
}

func resolved(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}
