// Package atomicfile writes files that the user named, or whose directory the user named.
// Readers see the old content or the new one, never a part, even after a crash: it writes
// a temporary file beside the target, syncs it and renames it. All steps use one open
// directory (owned.OutputDir), so that another user who can change the path cannot
// redirect the writes. It knows nothing about the content.
package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"modwsgi/internal/owned"
)

// Write replaces the content of the file name with data and sets its mode to perm,
// regardless of the umask. After an error, the old file is unchanged and nothing is left
// beside it.
func Write(name string, data []byte, perm os.FileMode) error {
	f, err := Create(name, perm)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Commit()
}

// Copy is [Write] with the content of r.
func Copy(name string, r io.Reader, perm os.FileMode) error {
	f, err := Create(name, perm)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := io.Copy(f, r); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return f.Commit()
}

// File is a file that does not have its final name yet. Exactly one of Commit and Abort
// takes effect; Abort after Commit does nothing, so that it can be deferred.
type File struct {
	f   *owned.NewFile
	dir *owned.Dir
}

// Create starts a new version of the file name. The directory must exist. An existing
// file must be regular, also behind a link, because root could otherwise replace
// /dev/null or /dev/stdout. A link is replaced, and its target stays.
func Create(name string, perm os.FileMode) (*File, error) {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return nil, &os.PathError{Op: "write", Path: name, Err: errors.New("it is not a regular file")}
	}
	dir, err := owned.OutputDir(filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	f, err := dir.Create(filepath.Base(name), perm)
	if err != nil {
		_ = dir.Close()
		return nil, err
	}
	return &File{f: f, dir: dir}, nil
}

func (a *File) Write(b []byte) (int, error) { return a.f.Write(b) }

// Commit makes the new content durable and gives it its name.
func (a *File) Commit() error {
	err := a.f.Commit()
	_ = a.dir.Close()
	return err
}

// Abort discards the new content.
func (a *File) Abort() {
	a.f.Abort()
	_ = a.dir.Close()
}
