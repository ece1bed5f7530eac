// Package atomicfile writes files so that a reader sees the old content or the
// new one and never a part, also after a crash: temporary file beside the
// target, fsync, rename. It knows nothing about what it writes.
package atomicfile

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
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
	f          *os.File
	dir        *os.Root // of both names: it stays the same whatever becomes of its own name
	temp, name string
	full       string // for messages
	done       bool
}

// Create starts a new content for the file name. The directory must exist. What
// is there must be a regular file, also at the end of a link: root would take
// /dev/null or /dev/stdout from everybody.
func Create(name string, perm os.FileMode) (*File, error) {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return nil, &os.PathError{Op: "write", Path: name, Err: errors.New("it is not a regular file")}
	}
	dir, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	base := filepath.Base(name)
	a := &File{dir: dir, name: base, full: name}
	for range 100 {
		a.temp = "." + base + "." + strings.ToLower(rand.Text()[:12]) + ".tmp"
		if a.f, err = dir.OpenFile(a.temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); !errors.Is(err, os.ErrExist) {
			break
		}
	}
	if err != nil {
		_ = dir.Close()
		return nil, a.named(err)
	}
	if err := a.f.Chmod(perm); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		a.Abort()
		return nil, err
	}
	return a, nil
}

func (a *File) Write(b []byte) (int, error) { return a.f.Write(b) }

// Commit makes the new content durable and gives it the name.
func (a *File) Commit() error {
	if a.done {
		return errors.New("atomicfile: committed or aborted before")
	}
	err := a.f.Sync()
	if cerr := a.f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = rename(a.dir, a.temp, a.name)
	}
	if err == nil {
		a.done = true
		syncDir(a.dir)
		_ = a.dir.Close()
		return nil
	}
	a.Abort()
	return a.named(err)
}

// named gives an error the whole name: those of an open directory have its last part.
func (a *File) named(err error) error {
	var p *os.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		err = p.Err
	case errors.As(err, &l):
		err = l.Err
	}
	return &os.PathError{Op: "write", Path: a.full, Err: err}
}

// Abort drops the new content.
func (a *File) Abort() {
	if a.done {
		return
	}
	a.done = true
	_ = a.f.Close()
	_ = a.dir.Remove(a.temp)
	_ = a.dir.Close()
}
