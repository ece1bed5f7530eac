// Package filetree has common operations on files and directories: copy a file, measure a
// tree, match names, follow the links of another system's tree. It never writes through a link: it creates new files (O_EXCL), or
// removes the name that it replaces first. It does not follow links when it measures a
// tree. It does not decide whether a path may be trusted; internal/owned does, and also
// removes trees that other users can change.
package filetree

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
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

// maxLinks is how many links one path may have, as on Linux (path_resolution(7)).
const maxLinks = 40

// Resolve returns the path of the file that name is below root, with all links followed
// as on a system whose root directory that is: absolute links begin there, and ".." does
// not lead above it. The result is below root, whose own links stay, as long as nobody
// changes the tree meanwhile.
func Resolve(root, name string) (string, error) {
	if root == "" {
		root = "/"
	}
	at, links := "/", 0
	rest := strings.Split(filepath.ToSlash(name), "/")
	for len(rest) > 0 {
		word := rest[0]
		rest = rest[1:]
		next := path.Join(at, word) // of "/", ".." is "/"
		if word == "" || word == "." || word == ".." {
			at = next
			continue
		}
		full := filepath.Join(root, filepath.FromSlash(next))
		info, err := os.Lstat(full)
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return "", &fs.PathError{Op: "resolve", Path: filepath.Join(root, name), Err: errors.New("too many links")}
		}
		link, err := os.Readlink(full)
		if err != nil {
			return "", err
		}
		if filepath.IsAbs(link) {
			at = "/"
		}
		rest = append(strings.Split(filepath.ToSlash(link), "/"), rest...)
	}
	return filepath.Join(root, filepath.FromSlash(at)), nil
}
