package owned

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Dir is an open directory whose path nobody else could change when it was opened.
// Everything below is done through its handle, so that it stays the same directory
// whatever happens to its name.
type Dir struct {
	path   string
	root   *os.Root
	shared bool
}

// Path returns the directory's path, links resolved, for messages and for tools that need
// a path.
func (d *Dir) Path() string { return d.path }

// Root returns the handle. os.Root follows links that do not leave the directory. So
// callers that open files which another user may have made must check them first (Lstat);
// Open and Sub do.
func (d *Dir) Root() *os.Root { return d.root }

// Shared reports whether another user can change where the path leads, or create entries
// in the directory. Only [OutputDir] and [MakeOutputDir] open such directories.
func (d *Dir) Shared() bool { return d.shared }

// Close closes the handle.
func (d *Dir) Close() error { return d.root.Close() }

// entryName refuses everything but the name of one entry.
func entryName(name string) error {
	if name == "." || name == ".." || name == "" || filepath.Base(name) != name || !filepath.IsLocal(name) {
		return &fs.PathError{Op: "open", Path: name, Err: errors.New("not the name of an entry")}
	}
	return nil
}

// Sub opens a directory in this one. The error is *Untrusted if another user owns it or
// may write to it, or if it is a symbolic link.
func (d *Dir) Sub(name string) (*Dir, error) {
	sub, err := d.Enter(name)
	if err != nil {
		return nil, err
	}
	if err := sub.Judge(); err != nil {
		_ = sub.Close()
		return nil, err
	}
	return sub, nil
}

// MakeSub opens a directory in this one as Sub does. If it is missing, MakeSub creates it
// with the mode perm, whatever the umask.
func (d *Dir) MakeSub(name string, perm fs.FileMode) (*Dir, error) {
	if err := entryName(name); err != nil {
		return nil, err
	}
	err := d.root.Mkdir(name, 0o700)
	made := err == nil
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, d.named(err, name)
	}
	sub, err := d.Sub(name)
	if err != nil || !made || perm == 0o700 {
		return sub, err
	}
	if err := sub.root.Chmod(".", perm); err != nil {
		_ = sub.Close()
		return nil, d.named(err, name)
	}
	return sub, nil
}

// Temp creates a directory with the mode 0700 and a random name that begins with prefix.
func (d *Dir) Temp(prefix string) (*Dir, error) {
	for range 100 {
		name := prefix + RandomName()
		err := d.root.Mkdir(name, 0o700)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, d.named(err, name)
		}
		return d.Sub(name)
	}
	return nil, &fs.PathError{Op: "mkdir", Path: filepath.Join(d.path, prefix+"*"), Err: fs.ErrExist}
}

// Open opens a regular file in this directory for reading. The error is *Untrusted if
// another user owns it or may write to it, or if it is a symbolic link.
func (d *Dir) Open(name string) (*os.File, error) {
	f, err := d.OpenAny(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		full := filepath.Join(d.path, name)
		err = judge(full, full, info)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// OpenAny opens a regular file in this directory for reading, whoever owns it. A symbolic
// link is *Untrusted. A pipe is an error: OpenAny does not wait for a writer.
func (d *Dir) OpenAny(name string) (*os.File, error) {
	if err := entryName(name); err != nil {
		return nil, err
	}
	full := filepath.Join(d.path, name)
	info, err := d.root.Lstat(name)
	if err != nil {
		return nil, d.named(err, name)
	}
	if err := plain(full, info, false); err != nil {
		return nil, err
	}
	f, err := d.root.OpenFile(name, os.O_RDONLY|nonBlock, 0)
	if err != nil {
		return nil, d.named(err, name)
	}
	if now, err := f.Stat(); err != nil || !os.SameFile(now, info) {
		_ = f.Close()
		return nil, &fs.PathError{Op: "open", Path: full, Err: errChanged}
	}
	return f, nil
}

// plain refuses anything but a directory (dir) or a regular file (not dir).
func plain(full string, info fs.FileInfo, dir bool) error {
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return &Untrusted{Path: full, At: full, Owner: ownerOf(info), Mode: info.Mode(), Why: "it is a symbolic link of " + nameOf(ownerOf(info))}
	case dir && !info.IsDir():
		return &fs.PathError{Op: "open", Path: full, Err: errors.New("it is not a directory")}
	case !dir && !info.Mode().IsRegular():
		return &fs.PathError{Op: "open", Path: full, Err: errors.New("it is not a regular file")}
	}
	return nil
}

// ReadFile returns the contents of a file that Open accepts. A file of more than limit
// bytes is an error.
func (d *Dir) ReadFile(name string, limit int64) ([]byte, error) {
	f, err := d.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return readAll(f, limit)
}

// WriteFile replaces a file in this directory with data. Readers, also after a crash, see
// the old contents or the new ones. A link or a file of another user with that name is
// replaced, not written through.
func (d *Dir) WriteFile(name string, data []byte, perm fs.FileMode) error {
	f, err := d.Create(name, perm)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Commit()
}

// Create starts new contents for a file in this directory, see [NewFile].
func (d *Dir) Create(name string, perm fs.FileMode) (*NewFile, error) {
	if err := entryName(name); err != nil {
		return nil, err
	}
	if info, err := d.root.Lstat(name); err == nil && !info.Mode().IsRegular() && info.Mode()&fs.ModeSymlink == 0 {
		return nil, &fs.PathError{Op: "write", Path: filepath.Join(d.path, name), Err: errors.New("it is not a regular file")}
	}
	temp := "." + name + "." + RandomName() + ".tmp"
	f, err := d.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, d.named(err, name)
	}
	n := &NewFile{File: f, dir: d, temp: temp, name: name}
	if err := f.Chmod(perm); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		n.Abort()
		return nil, d.named(err, name)
	}
	return n, nil
}

// NewFile is a file that does not have its final name yet. Exactly one of Commit and
// Abort takes effect; Abort after Commit does nothing, so that it can be deferred. File
// may be written, sought and given another owner before Commit.
type NewFile struct {
	*os.File
	dir        *Dir
	temp, name string
	done       bool
}

// Commit makes the contents durable and gives them the name.
func (n *NewFile) Commit() error {
	if n.done {
		return errors.New("owned: already committed or aborted")
	}
	err := n.Sync()
	if cerr := n.File.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = rename(n.dir.root, n.temp, n.name)
	}
	if err != nil {
		n.Abort()
		return n.dir.named(err, n.name)
	}
	n.done = true
	n.dir.sync()
	return nil
}

// Abort drops the contents.
func (n *NewFile) Abort() {
	if n.done {
		return
	}
	n.done = true
	_ = n.File.Close()
	_ = n.dir.root.Remove(n.temp)
}

// sync makes renames durable. Some file systems cannot, and the contents are safe anyway.
func (d *Dir) sync() {
	if f, err := d.root.Open("."); err == nil {
		_ = f.Sync()
		_ = f.Close()
	}
}

// Lstat describes an entry; it does not follow links.
func (d *Dir) Lstat(name string) (fs.FileInfo, error) {
	if err := entryName(name); err != nil {
		return nil, err
	}
	info, err := d.root.Lstat(name)
	return info, d.named(err, name)
}

// Entries returns the entries of the directory, sorted by name.
func (d *Dir) Entries() ([]fs.DirEntry, error) {
	entries, err := readEntries(d.root)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, d.named(err, ".")
}

// Remove removes a file, a link or an empty directory. A missing one is
// fs.ErrNotExist.
func (d *Dir) Remove(name string) error {
	if err := entryName(name); err != nil {
		return err
	}
	return d.named(d.root.Remove(name), name)
}

// RemoveAll removes an entry and everything below it, see [RemoveAll].
func (d *Dir) RemoveAll(name string) error { return d.named(RemoveIn(d.root, name), name) }

// Discard closes the directory and removes it with everything in it. It must be a
// directory from Scratch or Temp whose path has not changed.
func (d *Dir) Discard() error {
	return errors.Join(d.root.Close(), RemoveAll(d.path))
}

// named adds the whole path to an error.
func (d *Dir) named(err error, name string) error {
	if err == nil {
		return nil
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		return &fs.PathError{Op: p.Op, Path: filepath.Join(d.path, name), Err: p.Err}
	}
	return fmt.Errorf("%s: %w", filepath.Join(d.path, name), err)
}

// RandomNames is the regular expression of all results of [RandomName].
const RandomNames = "[a-z0-9]{12}"

// RandomName returns twelve letters and digits for a new file. Like [os.CreateTemp], it
// is for names that must be unused, not for secrets: the file must be created exclusively.
func RandomName() string {
	const letters = "0123456789abcdefghijklmnopqrstuv"
	var name [12]byte
	bits := rand.Uint64() // #nosec G404 -- not a secret
	for i := range name {
		name[i] = letters[bits&31]
		bits >>= 5
	}
	return string(name[:])
}
