package buildcache

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"sort"
	"time"

	"modwsgi/internal/filetree"
	"modwsgi/internal/owned"
)

// Entry is one tree of the cache.
type Entry struct {
	Key string `json:"key"`
	About
	Files   int       `json:"files"`
	Size    int64     `json:"bytes"`   // of the contents
	Created time.Time `json:"created"` // when it was added to this cache
	Used    time.Time `json:"used"`    // when it was last restored
	Path    string    `json:"path"`
	Damage  string    `json:"damage,omitempty"` // why it cannot be used
	Format  int       `json:"format,omitempty"` // of its manifest, if that differs from Schema
	Origin  Origin    `json:"origin"`
}

// List returns all entries, the most recently used first. A directory that does not exist
// has none. Entries of another user are left out.
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
	sort.SliceStable(out, func(i, j int) bool {
		if n := out[j].Used.Compare(out[i].Used); n != 0 {
			return n < 0
		}
		return out[i].Key < out[j].Key
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

// Info describes one entry from its manifest. The error wraps fs.ErrNotExist if the entry
// does not exist. An unreadable manifest is reported in Damage, one of another format in
// Format.
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
		e.Size = filetree.Size(entry.Root().FS())
		return e, nil
	}
	if info, err := entry.Lstat(manifestName); err == nil {
		e.Used = info.ModTime()
	}
	e.About, e.Files, e.Size = m.About, len(m.Files), m.Size()
	return e, nil
}

// Verify reads an entry in full. The error reports the damage (IsDamage), or why the
// entry could not be read. Nothing is changed.
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

// Policy selects the entries to remove.
type Policy struct {
	MaxSize   int64                 // total bytes to keep; the least recently used go first; negative for no limit
	OlderThan time.Duration         // minimum time since last use; 0 for no limit
	Keep      func(key string) bool // never removed; may be nil
	Young     time.Duration         // entries used within this time are never removed: they may be in use
	Count     int64                 // bytes elsewhere that count too
	Now       func() time.Time      // nil is time.Now
}

// Choose returns the entries that a policy selects, from a list sorted by last use, most
// recent first.
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

// Prune removes what a policy selects and returns it.
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
