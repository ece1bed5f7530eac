// Package atomicfile writes files that the user named, or whose directory the
// user named, so that a reader sees the old content or the new one and never a
// part, also after a crash: temporary file beside the target, fsync, rename. All
// of it happens in one open directory (owned.OutputDir), so that another user who
// can change the path cannot lead it elsewhere. It knows nothing about what it
// writes.
package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"modwsgi/internal/owned"
)

// Write replaces the file name with data; its mode becomes perm, whatever the
// umask. On an error the old file is as before and nothing is left beside it.
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

// Copy replaces the file name with what r holds, as Write does.
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

// File is a file under way to its name. Exactly one of Commit and Abort takes
// effect; Abort after Commit does nothing, so that it can be deferred.
type File struct {
	f   *owned.NewFile
	dir *owned.Dir
}

// Create starts a new content for the file name. The directory must exist. What
// is there must be a regular file, also at the end of a link: root would take
// /dev/null or /dev/stdout from everybody. A link is replaced, and what it leads
// to stays.
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

// Commit makes the new content durable and gives it the name.
func (a *File) Commit() error {
	err := a.f.Commit()
	_ = a.dir.Close()
	return err
}

// Abort drops the new content.
func (a *File) Abort() {
	a.f.Abort()
	_ = a.dir.Close()
}
