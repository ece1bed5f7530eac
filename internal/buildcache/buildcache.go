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
)

// Cache is a directory of entries. It may be used by several processes at once
// and survives their end at any moment.
type Cache struct{ Dir string }

// ErrUntrusted is in the tree of the error for a directory that somebody else
// than this user and root can write to: what is restored is run.
var ErrUntrusted = errors.New("others can write to it")

var keyForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// IsKey says whether a text has the form of a key: a SHA-256 in lower case hex.
func IsKey(key string) bool { return keyForm.MatchString(key) }

const (
	manifestName = "manifest.json"
	treeName     = "tree"
)

func (c Cache) entry(key string) (string, error) {
	if !IsKey(key) {
		return "", fmt.Errorf("build cache: %q is not a key", key)
	}
	return filepath.Join(c.Dir, key[:2], key), nil
}

// Has says whether there is an entry, whatever its state.
func (c Cache) Has(key string) bool {
	entry, err := c.entry(key)
	if err != nil {
		return false
	}
	_, err = os.Lstat(filepath.Join(entry, manifestName))
	return err == nil
}

// Writable says whether entries can be made here, by making and removing
// something.
func (c Cache) Writable() bool {
	if os.MkdirAll(c.Dir, 0o700) != nil || c.trusted(c.Dir) != nil {
		return false
	}
	probe, err := os.MkdirTemp(c.Dir, ".drop-")
	return err == nil && os.Remove(probe) == nil
}

// Restore copies the tree of a key to dest, which must not exist, and reports
// whether there was one. A damaged entry is removed and counts as none. On an
// error nothing is left at dest.
func (c Cache) Restore(ctx context.Context, key, dest string) (bool, error) {
	entry, err := c.entry(key)
	if err != nil {
		return false, err
	}
	if err := c.trusted(entry); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return false, err
	}
	m, err := readManifest(entry, key)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		if _, lerr := os.Lstat(dest); !errors.Is(lerr, fs.ErrNotExist) {
			return false, errors.Join(fmt.Errorf("build cache: %s is there already", dest), lerr)
		}
		err = m.restore(ctx, filepath.Join(entry, treeName), dest)
	}
	if err == nil {
		now := time.Now()
		_ = os.Chtimes(filepath.Join(entry, manifestName), now, now) // the last use; a read-only cache has none
		return true, nil
	}
	if IsDamage(err) {
		return false, c.drop(entry)
	}
	return false, err
}

// restore copies the files of a manifest to dest, or leaves nothing there.
func (m *Manifest) restore(ctx context.Context, tree, dest string) error {
	err := m.sameNames(tree)
	if err != nil {
		return err
	}
	if err = copyFiles(ctx, m.Files, tree, dest); err != nil {
		_ = os.RemoveAll(dest)
	}
	return err
}

// Remove takes an entry away. One that is not there is no error.
func (c Cache) Remove(key string) error {
	entry, err := c.entry(key)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(entry); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return c.drop(entry)
}

// drop removes an entry, out of everybody's sight at once.
func (c Cache) drop(entry string) error {
	trash, err := os.MkdirTemp(c.Dir, ".drop-")
	if err != nil {
		return err
	}
	err = os.Rename(entry, filepath.Join(trash, "entry"))
	if errors.Is(err, fs.ErrNotExist) { // somebody else was faster
		err = nil
	}
	err = errors.Join(err, removeAll(trash))
	_ = os.Remove(filepath.Dir(entry)) // where it was the last one in there
	return err
}

// removeAll is os.RemoveAll also for directories that are not writable.
func removeAll(dir string) error {
	if err := os.RemoveAll(dir); err == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// temporary makes a directory for an entry under way. It is marked as ours, so
// that sweep can tell it from one whose process was killed.
func (c Cache) temporary() (dir string, release func(), err error) {
	for {
		if dir, err = os.MkdirTemp(c.Dir, ".store-"); err != nil {
			return "", nil, err
		}
		release, ok, err := flock.Try(dir)
		if ok {
			if _, err := os.Lstat(dir); err == nil {
				return dir, sync.OnceFunc(release), nil
			}
			release() // a sweep had it before us
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
}

// sweep removes what killed processes left. What cannot be removed stays.
func (c Cache) sweep() {
	entries, _ := os.ReadDir(c.Dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".push-") { // what was to be uploaded
			if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > time.Hour {
				_ = os.Remove(filepath.Join(c.Dir, e.Name()))
			}
			continue
		}
		if !strings.HasPrefix(e.Name(), ".store-") && !strings.HasPrefix(e.Name(), ".drop-") {
			continue
		}
		dir := filepath.Join(c.Dir, e.Name())
		if release, ok, _ := flock.Try(dir); ok {
			_ = removeAll(dir)
			release()
		}
	}
}

// Store keeps a copy of the tree under a key. A tree that is there already stays.
func (c Cache) Store(ctx context.Context, key, tree string, about About) error {
	if c.Has(key) {
		return nil
	}
	files, err := list(ctx, tree)
	if err != nil {
		return err
	}
	m := &Manifest{Schema: Schema, Key: key, About: about, Files: files}
	return c.Import(key, m, func(to string) error { return copyFiles(ctx, files, tree, to) })
}

// Import makes an entry of a manifest and of the tree that fill makes at the
// path it is given, which does not exist. fill must have checked the files
// against the manifest. On an error nothing is kept.
func (c Cache) Import(key string, m *Manifest, fill func(to string) error) error {
	entry, err := c.entry(key)
	if err != nil {
		return err
	}
	if err := m.check(key); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(entry), 0o700); err != nil {
		return err
	}
	if err := c.trusted(c.Dir); err != nil {
		return err
	}
	c.sweep()
	temp, release, err := c.temporary()
	if err != nil {
		return err
	}
	defer func() { release(); _ = removeAll(temp) }()
	if err := fill(filepath.Join(temp, treeName)); err != nil {
		return err
	}
	data, err := m.Encode()
	if err != nil {
		return err
	}
	if err := writeOrigin(temp, m.Origin); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(temp, manifestName), data, 0o600); err != nil {
		return err
	}
	release() // Windows renames nothing that is open
	// The directory may have gone with the last entry in it that somebody dropped.
	for range 3 {
		if err = os.MkdirAll(filepath.Dir(entry), 0o700); err != nil {
			return err
		}
		if err = os.Rename(temp, entry); err == nil || errors.Is(err, fs.ErrExist) || isNotEmpty(entry) {
			return nil
		}
	}
	return err
}

func isNotEmpty(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) > 0
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
// there has none.
func (c Cache) List() ([]Entry, error) {
	groups, err := os.ReadDir(c.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []Entry
	for _, g := range groups {
		if len(g.Name()) != 2 || !g.IsDir() {
			continue
		}
		keys, err := os.ReadDir(filepath.Join(c.Dir, g.Name()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, k := range keys {
			if IsKey(k.Name()) && k.Name()[:2] == g.Name() {
				if e, err := c.Info(k.Name()); err == nil {
					out = append(out, *e)
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b Entry) int {
		if n := b.Used.Compare(a.Used); n != 0 {
			return n
		}
		return strings.Compare(a.Key, b.Key)
	})
	return out, nil
}

// Info describes one entry from its manifest; fs.ErrNotExist is in the error's
// tree where there is none. A manifest that cannot be read is told in Damage, one
// of another format in Format.
func (c Cache) Info(key string) (*Entry, error) {
	dir, err := c.entry(key)
	if err != nil {
		return nil, err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return nil, err
	}
	e := &Entry{Key: key, Path: dir, Created: info.ModTime(), Used: info.ModTime(), Origin: readOrigin(dir)}
	m, err := readManifest(dir, key)
	if err != nil {
		var other *formatError
		if errors.As(err, &other) {
			e.Format, e.Name = other.schema, other.name
		} else {
			e.Damage = err.Error()
		}
		e.Size = sizeOf(dir)
		return e, nil
	}
	if info, err := os.Lstat(filepath.Join(dir, manifestName)); err == nil {
		e.Used = info.ModTime()
	}
	e.About, e.Files, e.Size = m.About, len(m.Files), m.Size()
	return e, nil
}

// sizeOf sums up what lies on the disk.
func sizeOf(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
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
	m, err := readManifest(entry, key)
	if err != nil {
		return err
	}
	tree := filepath.Join(entry, treeName)
	if err := m.sameNames(tree); err != nil {
		return err
	}
	files, err := list(ctx, tree)
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
		c.sweep()
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
