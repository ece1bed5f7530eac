package owned

import (
	"io/fs"
	"os"
	"path/filepath"
)

// OpenTheirs opens a directory that need not be trusted: a Python environment that
// another user owns, or that a group may write to, and that this user changes
// nevertheless. Users who control a part of the path must not be able to lead this user
// to a directory that they could not write to themselves:
//
//   - A symbolic link of this user or of root is followed.
//   - A symbolic link of another user is followed only if the directory at the end
//     belongs to that user as well.
//
// Directories on the way are not judged: without links a user can only move their own
// directories there. The opened directory is as dangerous as its owner. Names in it may
// be exchanged at any moment, so everything below is reached with [Dir.Enter], which does
// not follow links, and trusted only through [Dir.Sub] and [Dir.Open].
func OpenTheirs(path string) (*Dir, error) {
	h, err := walk(path, final{dir: true, theirs: true})
	if err != nil {
		return nil, err
	}
	return h.open()
}

// Enter opens a directory in this one that another user may own. A symbolic link is
// *Untrusted.
func (d *Dir) Enter(name string) (*Dir, error) {
	if err := entryName(name); err != nil {
		return nil, err
	}
	full := filepath.Join(d.path, name)
	info, err := d.root.Lstat(name)
	if err != nil {
		return nil, d.named(err, name)
	}
	if err := plain(full, info, true); err != nil {
		return nil, err
	}
	sub, err := openSame(d.root, name, info)
	if err != nil {
		return nil, d.named(err, name)
	}
	return &Dir{path: full, root: sub}, nil
}

// Judge returns nil if only this user and root can change the entries of the directory,
// and *Untrusted otherwise.
func (d *Dir) Judge() error {
	info, err := d.root.Stat(".")
	if err != nil {
		return d.named(err, ".")
	}
	return judge(d.path, d.path, info)
}

// Info describes the directory itself.
func (d *Dir) Info() (fs.FileInfo, error) { return d.root.Stat(".") }

// Is reports whether an entry of parent is this directory.
func (d *Dir) Is(parent *Dir, name string) bool {
	there, err := parent.root.Lstat(name)
	if err != nil {
		return false
	}
	info, err := d.root.Stat(".")
	return err == nil && os.SameFile(info, there)
}
