package owned

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// maxEntries limits CheckTree; an environment of 100,000 files is a large one.
const maxEntries = 500_000

// CheckTree is [Check] for a directory and everything below it, links followed: it
// returns nil if only this user and root can change what any path in the tree leads to.
// visit is called for each entry before it is judged; if it returns false, the entry and
// everything below it are skipped. A link to something that does not exist is *Untrusted:
// anyone who creates the target decides what it is.
func CheckTree(path string, visit func(path string, info fs.FileInfo) bool) error {
	d, err := OpenDir(path)
	if err != nil {
		return err
	}
	c := treeCheck{visit: visit, seen: map[string]bool{}}
	return c.directory(d)
}

type treeCheck struct {
	visit   func(path string, info fs.FileInfo) bool
	seen    map[string]bool // directories, by their resolved paths
	entries int
}

// directory judges the entries of an open directory, which it closes.
func (c *treeCheck) directory(d *Dir) error {
	defer func() { _ = d.Close() }()
	if c.seen[d.path] {
		return nil
	}
	c.seen[d.path] = true
	entries, err := readEntries(d.root)
	if err != nil {
		return d.named(err, ".")
	}
	if c.entries += len(entries); c.entries > maxEntries {
		return &fs.PathError{Op: "check", Path: d.path, Err: fmt.Errorf("more than %d files", maxEntries)}
	}
	for _, e := range entries {
		if err := c.entry(d, e.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (c *treeCheck) entry(d *Dir, name string) error {
	info, err := d.root.Lstat(name)
	if err != nil {
		return d.named(err, name)
	}
	full := filepath.Join(d.path, name)
	switch {
	case c.visit != nil && !c.visit(full, info):
		return nil
	case info.Mode()&fs.ModeSymlink != 0:
		return c.link(full, info)
	case !info.IsDir():
		return judge(full, full, info)
	}
	sub, err := d.Sub(name)
	if err != nil {
		return err
	}
	return c.directory(sub)
}

// link judges what a symbolic link in a trusted directory leads to.
func (c *treeCheck) link(full string, info fs.FileInfo) error {
	err := Check(full)
	if errors.Is(err, fs.ErrNotExist) {
		return &Untrusted{Path: full, At: full, Owner: ownerOf(info), Mode: info.Mode(), Why: "it is a symbolic link to something that does not exist"}
	}
	if err != nil {
		return err
	}
	d, err := OpenDir(full)
	if err != nil { // not a directory, or one that only this user cannot open
		return nil
	}
	return c.directory(d)
}
