// Package buildcache keeps finished trees by the hash of their build inputs, so that
// nothing is compiled twice. An entry is verified file by file when it is restored, and a
// damaged one is dropped. It does not know what is in a tree, and it never decides what a
// key is made of.
//
// An entry is a separate directory, DIR/kk/KEY, with the tree and a manifest that has the
// hash of each file. It appears and disappears by one rename. Files are never shared with
// the place they are restored to, except by the file system's own copy on write: editing
// a restored file must not change the cache.
package buildcache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"modwsgi/internal/flock"
	"modwsgi/internal/owned"
)

// Cache is a directory of entries. It may be used by several processes concurrently and
// survives if they are killed at any moment. A Cache without a directory is empty and
// keeps nothing.
//
// What is restored is run. So only this user and root may be able to change the
// directory, and each one below it on the way to an entry, and none may be a symbolic
// link; otherwise the error is *owned.Untrusted. Each operation opens the directory once
// and reaches everything below through that handle.
type Cache struct{ Dir string }

var keyForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// IsKey reports whether a text has the form of a key: a SHA-256 in lower case hex.
func IsKey(key string) bool { return keyForm.MatchString(key) }

const (
	manifestName = "manifest.json"
	treeName     = "tree"
)

// open opens the directory. The error wraps fs.ErrNotExist if it does not exist.
func (c Cache) open() (*owned.Dir, error) {
	if c.Dir == "" {
		return nil, &fs.PathError{Op: "open", Path: "build cache", Err: fs.ErrNotExist}
	}
	parent, err := owned.OpenDir(filepath.Dir(c.Dir))
	if err != nil {
		return nil, err
	}
	defer func() { _ = parent.Close() }()
	return parent.Sub(filepath.Base(c.Dir))
}

// make is open, and creates the directory if missing.
func (c Cache) make() (*owned.Dir, error) {
	if c.Dir == "" {
		return c.open()
	}
	parent, err := owned.MakeDir(filepath.Dir(c.Dir))
	if err != nil {
		return nil, err
	}
	defer func() { _ = parent.Close() }()
	return parent.MakeSub(filepath.Base(c.Dir), 0o700)
}

// entry opens the directory of an entry.
func (c Cache) entry(key string) (*owned.Dir, error) {
	if !IsKey(key) {
		return nil, fmt.Errorf("build cache: %q is not a key", key)
	}
	dir, err := c.open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	group, err := dir.Sub(key[:2])
	if err != nil {
		return nil, err
	}
	defer func() { _ = group.Close() }()
	return group.Sub(key)
}

// Has reports whether an entry exists, whatever its state.
func (c Cache) Has(key string) bool {
	entry, err := c.entry(key)
	if err != nil {
		return false
	}
	defer func() { _ = entry.Close() }()
	_, err = entry.Lstat(manifestName)
	return err == nil
}

// Writable reports whether entries can be created here, by creating and removing a
// directory.
func (c Cache) Writable() bool {
	dir, err := c.make()
	if err != nil {
		return false
	}
	defer func() { _ = dir.Close() }()
	probe, err := dir.Temp(".drop-")
	if err != nil {
		return false
	}
	_ = probe.Close()
	return dir.Remove(filepath.Base(probe.Path())) == nil
}

// Restore copies the tree of a key to dest, which must not exist, and reports whether the
// cache had one. A damaged entry is removed and counts as missing. On an error nothing is
// left at dest.
func (c Cache) Restore(ctx context.Context, key, dest string) (bool, error) {
	entry, err := c.entry(key)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = entry.Close() }()
	m, err := readManifest(entry, key)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		if err := absent(dest); err != nil {
			return false, err
		}
		hook("restore", entry.Path())
		err = m.restore(ctx, entry, dest)
	}
	if err == nil {
		now := time.Now()
		_ = entry.Root().Chtimes(manifestName, now, now) // time of last use; not kept in a read-only cache
		return true, nil
	}
	if IsDamage(err) {
		return false, c.Remove(key)
	}
	return false, err
}

// hook is called between a check and the use of what was checked. Tests exchange files
// there.
var hook = func(moment, path string) {}

// absent refuses to restore over an existing path.
func absent(dest string) error {
	_, err := os.Lstat(dest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(fmt.Errorf("build cache: %s exists already", dest), err)
}

// restore copies the files of a manifest to dest, or leaves nothing there.
func (m *Manifest) restore(ctx context.Context, entry *owned.Dir, dest string) error {
	tree, err := openTree(entry)
	if err != nil {
		return err
	}
	defer func() { _ = tree.Close() }()
	if err := m.sameNames(tree.Root()); err != nil {
		return err
	}
	if err = copyFiles(ctx, m.Files, tree.Root(), dest); err != nil {
		_ = owned.RemoveAll(dest)
	}
	return err
}

// openTree opens the tree of an entry. A missing tree counts as damage.
func openTree(entry *owned.Dir) (*owned.Dir, error) {
	tree, err := entry.Sub(treeName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &damageError{treeName}
	}
	return tree, err
}

// Remove removes an entry. A missing entry is not an error.
func (c Cache) Remove(key string) error {
	entry, err := c.entry(key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_ = entry.Close()
	dir, err := c.open()
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	hook("remove", filepath.Join(dir.Path(), key[:2], key))
	return drop(dir, key)
}

// drop removes an entry, which becomes invisible at once.
func drop(dir *owned.Dir, key string) error {
	trash, err := dir.Temp(".drop-")
	if err != nil {
		return err
	}
	_ = trash.Close()
	name := filepath.Base(trash.Path())
	err = dir.Root().Rename(filepath.Join(key[:2], key), filepath.Join(name, "entry"))
	if errors.Is(err, fs.ErrNotExist) { // another process was faster
		err = nil
	}
	err = errors.Join(err, dir.RemoveAll(name))
	_ = dir.Remove(key[:2]) // if it was the last one in there
	return err
}

// temporary creates a directory for an entry in progress. It is locked, so that sweep can
// distinguish it from one whose process was killed.
func temporary(dir *owned.Dir) (temp *owned.Dir, release func(), err error) {
	for range 100 {
		if temp, err = dir.Temp(".store-"); errors.Is(err, fs.ErrNotExist) {
			continue // a sweep removed it first
		} else if err != nil {
			return nil, nil, err
		}
		name := filepath.Base(temp.Path())
		release, ok, err := flock.Try(temp.Path())
		if ok {
			if _, err := dir.Lstat(name); err == nil {
				return temp, sync.OnceFunc(release), nil
			}
			release()
		}
		_ = temp.Close()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, errors.Join(err, dir.RemoveAll(name))
		}
	}
	return nil, nil, fmt.Errorf("build cache: make a directory in %s: each new directory was removed at once", dir.Path())
}

// Sweep removes what killed processes of this user left.
func (c Cache) Sweep() {
	if dir, err := c.open(); err == nil {
		sweep(dir)
		_ = dir.Close()
	}
}

// sweep removes what killed processes of this user left. What cannot be removed stays,
// and so do directories of other users.
func sweep(dir *owned.Dir) {
	entries, _ := dir.Entries()
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".push-") { // a tree to be uploaded
			if info, err := e.Info(); err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) > time.Hour {
				_ = dir.Remove(name)
			}
			continue
		}
		if !strings.HasPrefix(name, ".store-") && !strings.HasPrefix(name, ".drop-") {
			continue
		}
		left, err := dir.Sub(name)
		if err != nil {
			continue
		}
		_ = left.Close()
		if release, ok, _ := flock.Try(left.Path()); ok {
			_ = dir.RemoveAll(name)
			release()
		}
	}
}

// Store keeps a copy of the tree under a key. An existing entry stays.
func (c Cache) Store(ctx context.Context, key, tree string, about About) error {
	if c.Has(key) {
		return nil
	}
	from, err := owned.OpenDir(tree)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	files, err := list(ctx, from.Root())
	if err != nil {
		return err
	}
	m := &Manifest{Schema: Schema, Key: key, About: about, Files: files}
	return c.Import(key, m, func(to string) error { return copyFiles(ctx, files, from.Root(), to) })
}

// Import makes an entry from a manifest and from the tree that fill creates at the given
// path, which does not exist. fill must check the files against the manifest. On an error
// nothing is kept.
func (c Cache) Import(key string, m *Manifest, fill func(to string) error) error {
	if !IsKey(key) {
		return fmt.Errorf("build cache: %q is not a key", key)
	}
	if err := m.check(key); err != nil {
		return err
	}
	dir, err := c.make()
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	if err := makeGroup(dir, key); err != nil { // before the work: it may be another user's
		return err
	}
	sweep(dir)
	temp, release, err := temporary(dir)
	if err != nil {
		return err
	}
	name := filepath.Base(temp.Path())
	defer func() { release(); _ = temp.Close(); _ = dir.RemoveAll(name) }()
	if err := fill(filepath.Join(temp.Path(), treeName)); err != nil {
		return err
	}
	data, err := m.Encode()
	if err != nil {
		return err
	}
	if err := writeOrigin(temp, m.Origin); err != nil {
		return err
	}
	if err := writeNew(temp, manifestName, data); err != nil {
		return err
	}
	release() // Windows does not rename open files
	_ = temp.Close()
	// The directory may have been removed with the last entry in it.
	entry := filepath.Join(key[:2], key)
	for range 3 {
		if err = makeGroup(dir, key); err != nil {
			return err
		}
		if err = dir.Root().Rename(name, entry); err == nil || errors.Is(err, fs.ErrExist) || c.Has(key) {
			return nil
		}
	}
	return err
}

// makeGroup creates the parent directory of the entry of a key.
func makeGroup(dir *owned.Dir, key string) error {
	group, err := dir.MakeSub(key[:2], 0o700)
	if err == nil {
		err = group.Close()
	}
	return err
}

func writeNew(dir *owned.Dir, name string, data []byte) error {
	f, err := dir.Root().OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
