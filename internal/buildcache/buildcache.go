// Package buildcache keeps finished trees by the hash of everything that went
// into them, so that nothing is compiled twice. An entry is verified file by
// file when it is restored; a damaged one is dropped. It does not know what is
// in a tree, and it never decides what a key is made of.
//
// An entry is a directory of its own, DIR/kk/KEY, with the tree and a manifest
// that has the hash of each file; it comes and goes by one rename. Files are
// never shared with where they are restored to, but by the file system's own
// copy on write: what a user edits in place must not change the cache.
package buildcache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"modwsgi/internal/flock"
	"modwsgi/internal/owned"
)

// Cache is a directory of entries. It may be used by several processes at once
// and survives their end at any moment. One without a directory has nothing and
// keeps nothing.
//
// What is restored is run, so the directory, and each one below it on the way to
// an entry, must be one that only this user and root can change, and no symbolic
// link; the errors are *owned.Untrusted where that is not so. Each operation opens
// the directory once and reaches everything below through that handle.
type Cache struct{ Dir string }

var keyForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// IsKey says whether a text has the form of a key: a SHA-256 in lower case hex.
func IsKey(key string) bool { return keyForm.MatchString(key) }

const (
	manifestName = "manifest.json"
	treeName     = "tree"
)

// open opens the directory; fs.ErrNotExist is in the error's tree where there is
// none.
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

// make is open, and makes the directory where it is missing.
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

// Has reports whether there is an entry, whatever its state.
func (c Cache) Has(key string) bool {
	entry, err := c.entry(key)
	if err != nil {
		return false
	}
	defer func() { _ = entry.Close() }()
	_, err = entry.Lstat(manifestName)
	return err == nil
}

// Writable reports whether entries can be made here, by making and removing
// something.
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

// Restore copies the tree of a key to dest, which must not exist, and reports
// whether there was one. A damaged entry is removed and counts as none. On an
// error nothing is left at dest.
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
		_ = entry.Root().Chtimes(manifestName, now, now) // the last use; a read-only cache has none
		return true, nil
	}
	if IsDamage(err) {
		return false, c.Remove(key)
	}
	return false, err
}

// hook is called before something that was looked at is used; tests exchange it
// there.
var hook = func(moment, path string) {}

// absent refuses to restore over something.
func absent(dest string) error {
	_, err := os.Lstat(dest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(fmt.Errorf("build cache: %s is there already", dest), err)
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

// openTree opens the tree of an entry. A missing one is damage.
func openTree(entry *owned.Dir) (*owned.Dir, error) {
	tree, err := entry.Sub(treeName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &damageError{treeName}
	}
	return tree, err
}

// Remove takes an entry away. One that is not there is no error.
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

// drop removes an entry, out of everybody's sight at once.
func drop(dir *owned.Dir, key string) error {
	trash, err := dir.Temp(".drop-")
	if err != nil {
		return err
	}
	_ = trash.Close()
	name := filepath.Base(trash.Path())
	err = dir.Root().Rename(filepath.Join(key[:2], key), filepath.Join(name, "entry"))
	if errors.Is(err, fs.ErrNotExist) { // somebody else was faster
		err = nil
	}
	err = errors.Join(err, dir.RemoveAll(name))
	_ = dir.Remove(key[:2]) // where it was the last one in there
	return err
}

// temporary makes a directory for an entry under way. It is marked as in use, so
// that sweep can tell it from one whose process was killed.
func temporary(dir *owned.Dir) (temp *owned.Dir, release func(), err error) {
	for range 100 {
		if temp, err = dir.Temp(".store-"); errors.Is(err, fs.ErrNotExist) {
			continue // a sweep had it before us
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
	return nil, nil, fmt.Errorf("build cache: make a directory in %s: each one that was made was removed at once", dir.Path())
}

// sweep removes what killed processes of this user left. What cannot be removed
// stays, and so does what belongs to somebody else.
func sweep(dir *owned.Dir) {
	entries, _ := dir.Entries()
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".push-") { // what was to be uploaded
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

// Store keeps a copy of the tree under a key. A tree that is there already stays.
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

// Import makes an entry of a manifest and of the tree that fill makes at the
// path it is given, which does not exist. fill must have checked the files
// against the manifest. On an error nothing is kept.
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
	if err := makeGroup(dir, key); err != nil { // before the work: it may be somebody else's
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
	release() // Windows renames nothing that is open
	_ = temp.Close()
	// The directory may have gone with the last entry in it that somebody dropped.
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

// makeGroup makes the directory that the entry of a key is in.
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

// Entry is one tree of the cache.
type Entry struct {
	Key string `json:"key"`
	About
	Files   int       `json:"files"`
	Size    int64     `json:"bytes"`   // of the contents
	Created time.Time `json:"created"` // when it came into this cache
	Used    time.Time `json:"used"`    // when it was restored last
	Path    string    `json:"path"`
	Damage  string    `json:"damage,omitempty"` // why it cannot be used
	Format  int       `json:"format,omitempty"` // of its manifest, where that is another one than Schema
	Origin  Origin    `json:"origin"`
}

// List returns all entries, the one used last first. A directory that is not
// there has none. What belongs to another user is left out.
func (c Cache) List() ([]Entry, error) {
	dir, err := c.open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	groups, err := dir.Entries()
	if err != nil {
		return nil, err
	}
	var out []Entry
	for _, g := range groups {
		if len(g.Name()) != 2 || !g.IsDir() {
			continue
		}
		found, err := listGroup(dir, g.Name())
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	slices.SortFunc(out, func(a, b Entry) int {
		if n := b.Used.Compare(a.Used); n != 0 {
			return n
		}
		return strings.Compare(a.Key, b.Key)
	})
	return out, nil
}

func listGroup(dir *owned.Dir, name string) ([]Entry, error) {
	group, err := dir.Sub(name)
	if errors.Is(err, fs.ErrNotExist) || owned.IsUntrusted(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = group.Close() }()
	keys, err := group.Entries()
	if err != nil {
		return nil, err
	}
	var out []Entry
	for _, k := range keys {
		if !IsKey(k.Name()) || k.Name()[:2] != name {
			continue
		}
		entry, err := group.Sub(k.Name())
		if err != nil {
			continue
		}
		if e, err := describe(entry, k.Name()); err == nil {
			out = append(out, *e)
		}
		_ = entry.Close()
	}
	return out, nil
}

// Info describes one entry from its manifest; fs.ErrNotExist is in the error's
// tree where there is none. A manifest that cannot be read is told in Damage, one
// of another format in Format.
func (c Cache) Info(key string) (*Entry, error) {
	entry, err := c.entry(key)
	if err != nil {
		return nil, err
	}
	defer func() { _ = entry.Close() }()
	return describe(entry, key)
}

func describe(entry *owned.Dir, key string) (*Entry, error) {
	info, err := entry.Root().Stat(".")
	if err != nil {
		return nil, err
	}
	e := &Entry{Key: key, Path: entry.Path(), Created: info.ModTime(), Used: info.ModTime(), Origin: readOrigin(entry)}
	m, err := readManifest(entry, key)
	if err != nil {
		var other *formatError
		if errors.As(err, &other) {
			e.Format, e.Name = other.schema, other.name
		} else {
			e.Damage = err.Error()
		}
		e.Size = sizeOf(entry.Root().FS())
		return e, nil
	}
	if info, err := entry.Lstat(manifestName); err == nil {
		e.Used = info.ModTime()
	}
	e.About, e.Files, e.Size = m.About, len(m.Files), m.Size()
	return e, nil
}

// sizeOf sums up what lies on the disk.
func sizeOf(dir fs.FS) (n int64) {
	_ = fs.WalkDir(dir, ".", func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			n += info.Size()
		}
		return nil
	})
	return n
}

// Verify reads an entry in full. The error says what is damaged (IsDamage), or
// why it could not be read; nothing is changed.
func (c Cache) Verify(ctx context.Context, key string) error {
	entry, err := c.entry(key)
	if err != nil {
		return err
	}
	defer func() { _ = entry.Close() }()
	m, err := readManifest(entry, key)
	if err != nil {
		return err
	}
	tree, err := openTree(entry)
	if err != nil {
		return err
	}
	defer func() { _ = tree.Close() }()
	if err := m.sameNames(tree.Root()); err != nil {
		return err
	}
	files, err := list(ctx, tree.Root())
	if err != nil {
		return err
	}
	for i, f := range m.Files {
		if i >= len(files) || files[i] != f {
			return &damageError{f.Path}
		}
	}
	return nil
}

// Policy says which entries are too many.
type Policy struct {
	MaxSize   int64                 // bytes in all, least recently used go first; negative for no limit
	OlderThan time.Duration         // not used for so long; 0 for no limit
	Keep      func(key string) bool // never removed; may be nil
	Young     time.Duration         // what was used within is never removed: somebody may work on it
	Count     int64                 // bytes elsewhere that count too
	Now       func() time.Time      // nil is time.Now
}

// Choose returns the entries that a policy is against, of a list with the one
// used last first.
func (p Policy) Choose(all []Entry) []Entry {
	now := time.Now
	if p.Now != nil {
		now = p.Now
	}
	total := p.Count
	for _, e := range all {
		total += e.Size
	}
	var out []Entry
	for _, e := range slices.Backward(all) {
		age := now().Sub(e.Used)
		old := p.OlderThan > 0 && age > p.OlderThan
		big := p.MaxSize >= 0 && total > p.MaxSize
		if !old && !big || age < p.Young || p.Keep != nil && p.Keep(e.Key) {
			continue
		}
		total -= e.Size
		out = append(out, e)
	}
	return out
}

// Prune removes what a policy is against and returns it.
func (c Cache) Prune(p Policy) ([]Entry, error) {
	all, err := c.List()
	if err != nil {
		return nil, err
	}
	if len(all) > 0 {
		if dir, err := c.open(); err == nil {
			sweep(dir)
			_ = dir.Close()
		}
	}
	var gone []Entry
	for _, e := range p.Choose(all) {
		if err := c.Remove(e.Key); err != nil {
			return gone, err
		}
		gone = append(gone, e)
	}
	return gone, nil
}
