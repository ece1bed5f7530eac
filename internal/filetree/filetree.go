// Package filetree has common operations on files and directories: copy a file, measure a
// tree, match names. It never writes through a link: it creates new files (O_EXCL), or
// removes the name that it replaces first. It does not follow links when it measures a
// tree. It does not decide whether a path may be trusted; internal/owned does, and also
// removes trees that other users can change.
package filetree

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Create creates the file name with the content of r and the given mode, regardless of
// the umask. After an error, the file may be incomplete.
func Create(name string, r io.Reader, mode fs.FileMode) error {
	f, err := os.OpenFile(name, newFile, 0o600)
	if err != nil {
		return err
	}
	return fill(f, r, mode)
}

// CreateIn is [Create] for a file below an open directory.
func CreateIn(dir *os.Root, name string, r io.Reader, mode fs.FileMode) error {
	f, err := dir.OpenFile(name, newFile, 0o600)
	if err != nil {
		return err
	}
	return fill(f, r, mode)
}

const newFile = os.O_WRONLY | os.O_CREATE | os.O_EXCL

func fill(f *os.File, r io.Reader, mode fs.FileMode) error {
	_, err := io.Copy(f, r)
	if err == nil {
		err = f.Chmod(mode)
	}
	return errors.Join(err, f.Close())
}

// Copy copies the content of a file, or of a link's target, to the new file to, as
// [Create] does.
func Copy(from, to string, mode fs.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	return Create(to, in, mode)
}

// Replace is [Copy] to a name that may exist: it removes a file or a link of that name,
// but not the link's target.
func Replace(from, to string, mode fs.FileMode) error {
	if _, err := os.Stat(from); err != nil { // the old file stays in that case
		return err
	}
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return Copy(from, to, mode)
}

// Size returns the total size of the regular files in a tree, in bytes. It does not
// follow links, and ignores unreadable files.
func Size(tree fs.FS) (n int64) {
	_ = fs.WalkDir(tree, ".", func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil
		}
		if info, err := d.Info(); err == nil {
			n += info.Size()
		}
		return nil
	})
	return n
}

// Glob returns the paths below dir that match a pattern of [path.Match], with slashes,
// sorted. The directory is not part of the pattern, so its name may contain brackets and
// asterisks. Unreadable directories match nothing. Glob panics on a malformed pattern,
// which is a programming error.
func Glob(dir, pattern string) []string {
	if dir == "" {
		dir = "."
	}
	names, err := fs.Glob(os.DirFS(dir), pattern)
	if err != nil {
		panic("filetree: " + err.Error() + ": " + pattern)
	}
	for i, name := range names {
		names[i] = filepath.Join(dir, filepath.FromSlash(name))
	}
	return names
}
