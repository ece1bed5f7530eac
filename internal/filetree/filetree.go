// Package filetree has what every part does with files and directories: copy a
// file, sum up a tree, find names by a pattern.
//
// It never writes through a link: a file that it makes is new (O_EXCL), or the
// name that it replaces is removed first. It does not follow links inside a tree
// whose size it takes. It does not decide whether a path may be trusted: that is
// internal/owned, which also removes trees that other users can change.
package filetree

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Create makes the new file name with what r holds. Its mode is the given one,
// whatever the umask. After an error the file may be there in part.
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

// Copy copies the content of a file, or of what a link leads to, to the new file
// to, as [Create] does.
func Copy(from, to string, mode fs.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	return Create(to, in, mode)
}

// Replace is [Copy] to a name that may exist: a file or a link of that name is
// removed, and what the link leads to stays.
func Replace(from, to string, mode fs.FileMode) error {
	if _, err := os.Stat(from); err != nil { // then the old one stays
		return err
	}
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return Copy(from, to, mode)
}

// Size is the number of bytes in the regular files of a tree. Links are not
// followed. What cannot be read does not count.
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

// Glob returns the paths below dir that match a pattern of [path.Match], with
// slashes, sorted. The directory itself is not part of the pattern: it may have
// brackets and asterisks in its name. What cannot be read matches nothing. Glob
// panics on a malformed pattern, which is a mistake in the program.
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
