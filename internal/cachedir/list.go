package cachedir

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"modwsgi/internal/buildcache"
	"modwsgi/internal/digest"
	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/filetree"
	"modwsgi/internal/flock"
	"modwsgi/internal/owned"
)

// The kinds of items in the cache directory, besides the kinds of builds ("httpd",
// "module").
const (
	KindDownload = "download" // a source archive
	KindLog      = "log"      // the logs of one run
	KindWork     = "work"     // sources and objects left by --keep-build or a killed run
)

// Item is one item in the cache directory.
type Item struct {
	Kind   string    `json:"kind"`
	ID     string    `json:"id"`   // key of a build, SHA-256 of an archive, otherwise the name
	Name   string    `json:"name"` // description
	Size   int64     `json:"bytes"`
	Used   time.Time `json:"used"`
	Path   string    `json:"path"`
	Damage string    `json:"damage,omitempty"`        // why it cannot be used
	Other  bool      `json:"other_version,omitempty"` // written by another version of this program
	// Build has the details of a build.
	Build *buildcache.Entry `json:"build,omitempty"`
}

// List returns everything in the cache directory, builds first, then downloads and the
// rest, each kind sorted by last use. Items of another user are left out, with a warning.
func List(o Options) ([]Item, error) {
	store, err := o.open()
	if store == nil || err != nil {
		return nil, err
	}
	defer func() { _ = store.Close() }()
	return list(store, o.Events)
}

// open opens the cache directory for a command on it; nil if it does not exist.
func (o Options) open() (*owned.Dir, error) {
	path, err := Find(o)
	if err != nil {
		return nil, err
	}
	store, err := Open(path, false)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case owned.IsUntrusted(err):
		return nil, untrusted(err)
	case err != nil:
		return nil, trouble(err)
	}
	return store, nil
}

func list(store *owned.Dir, events event.Sink) ([]Item, error) {
	entries, err := buildsOf(store).List()
	if err != nil {
		return nil, trouble(err)
	}
	var out []Item
	for _, e := range entries {
		out = append(out, buildItem(e))
	}
	for _, kind := range []string{KindDownload, KindWork, KindLog} {
		items, err := dirItems(store, kind, events)
		if err != nil {
			return nil, trouble(err)
		}
		out = append(out, items...)
	}
	return out, nil
}

func buildsOf(store *owned.Dir) buildcache.Cache {
	return buildcache.Cache{Dir: filepath.Join(store.Path(), Builds)}
}

// places are the directories for the items of each kind.
var places = map[string][]string{
	KindDownload: {Downloads, "archives", "sha256"}, KindWork: {Work}, KindLog: {Logs},
}

// openPlace opens the directory with the items of a kind.
func openPlace(store *owned.Dir, kind string) (*owned.Dir, error) {
	dir := store
	for _, name := range places[kind] {
		sub, err := dir.Sub(name)
		if dir != store {
			_ = dir.Close()
		}
		if err != nil {
			return nil, err
		}
		dir = sub
	}
	return dir, nil
}

func buildItem(e buildcache.Entry) Item {
	c := Item{Kind: e.Kind, ID: e.Key, Name: e.Name, Size: e.Size, Used: e.Used, Path: e.Path, Damage: e.Damage, Other: e.Format != 0, Build: &e}
	if c.Kind == "" {
		c.Kind = "build"
	}
	switch {
	case c.Other:
		c.Name = cmp.Or(c.Name, "a build") + " (of another version of modwsgi)"
	case c.Name == "":
		c.Name = "(unreadable)"
	}
	return c
}

func trouble(err error) error {
	return fault.New(fault.Environment, "check its permissions, or name another one with --cache-dir", "read the cache: %w", err)
}

// dirItems returns each directory with items of a kind as one item.
func dirItems(store *owned.Dir, kind string, events event.Sink) ([]Item, error) {
	dir, err := openPlace(store, kind)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	entries, err := dir.Entries()
	if err != nil {
		return nil, err
	}
	var out []Item
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		sub, err := dir.Sub(e.Name())
		if owned.IsUntrusted(err) {
			events.Warn("left alone: " + err.Error())
		}
		if err != nil {
			continue
		}
		if c, err := dirItem(kind, sub); err == nil && (c.Size > 0 || kind == KindWork) {
			out = append(out, c)
		}
		_ = sub.Close()
	}
	sort.SliceStable(out, func(i, j int) bool {
		return cmp.Or(out[j].Used.Compare(out[i].Used), strings.Compare(out[i].ID, out[j].ID)) < 0
	})
	return out, nil
}

func dirItem(kind string, dir *owned.Dir) (Item, error) {
	info, err := dir.Root().Stat(".")
	if err != nil {
		return Item{}, err
	}
	name := filepath.Base(dir.Path())
	c := Item{Kind: kind, ID: name, Name: name, Size: filetree.Size(dir.Root().FS()), Used: info.ModTime(), Path: dir.Path()}
	if kind == KindDownload {
		if c.Name = archiveName(dir); c.Name == "" {
			c.Name = "(an incomplete archive)"
		}
	}
	return c, nil
}

// archiveName returns the name of the archive in a directory of the download cache, or ""
// if it is incomplete.
func archiveName(dir *owned.Dir) string {
	entries, _ := dir.Entries()
	for _, e := range entries {
		if n := e.Name(); e.Type().IsRegular() && !strings.HasSuffix(n, ".asc") && !strings.HasPrefix(n, "partial") {
			return n
		}
	}
	return ""
}

// FindItem returns the item with an identifier, or with an identifier that begins with at
// least six given characters. Errors are of class Usage.
func FindItem(o Options, id string) (*Item, error) {
	all, err := List(o)
	if err != nil {
		return nil, err
	}
	var found []Item
	for _, c := range all {
		if c.ID == id || len(id) >= 6 && strings.HasPrefix(c.ID, id) {
			found = append(found, c)
		}
	}
	switch len(found) {
	case 0:
		return nil, fault.New(fault.Usage, "modwsgi cache list shows all identifiers", "nothing in the cache has the identifier %q", id)
	case 1:
		return &found[0], nil
	}
	return nil, fault.New(fault.Usage, "give more characters", "%d items in the cache begin with %q", len(found), id)
}

// Verified is the result of Verify.
type Verified struct {
	Good int    // number of intact items
	Bad  []Item // damaged items
	// Other is the number of builds in the format of another version of this program,
	// which this one cannot check.
	Other int
}

// Verify reads all builds and downloads in full. With drop it removes the damaged ones.
func Verify(ctx context.Context, o Options, drop bool) (v Verified, err error) {
	store, err := o.open()
	if store == nil || err != nil {
		return v, err
	}
	defer func() { _ = store.Close() }()
	all, err := list(store, o.Events)
	if err != nil {
		return v, err
	}
	for _, item := range all {
		var why error
		switch {
		case item.Other:
			v.Other++
			continue
		case item.Build != nil:
			if why = buildsOf(store).Verify(ctx, item.ID); why == nil {
				why = verifySources(item.Build)
			}
		case item.Kind == KindDownload:
			why = verifyDownload(store, item)
		default:
			continue
		}
		if ctx.Err() != nil {
			return v, context.Cause(ctx)
		}
		if why == nil {
			v.Good++
			continue
		}
		if !buildcache.IsDamage(why) && !errors.Is(why, errDamaged) {
			return v, trouble(why)
		}
		item.Damage = why.Error()
		v.Bad = append(v.Bad, item)
		if drop {
			if _, err := remove(store, item); err != nil {
				return v, err
			}
		}
	}
	return v, nil
}

var errDamaged = errors.New("damaged")

// verifySources checks that a build shows what it was built from.
func verifySources(e *buildcache.Entry) error {
	if why := e.About.Unproven(); why != "" {
		return fmt.Errorf("%w: %s", errDamaged, why)
	}
	return nil
}

func verifyDownload(store *owned.Dir, c Item) error {
	place, err := openPlace(store, c.Kind)
	if err != nil {
		return err
	}
	defer func() { _ = place.Close() }()
	dir, err := place.Sub(c.ID)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	name := archiveName(dir)
	if name == "" {
		return nil // a download to be resumed later
	}
	f, err := dir.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	sum, err := digest.Of(f)
	if err == nil && sum != c.ID {
		err = fmt.Errorf("%w: %s has another SHA-256", errDamaged, name)
	}
	return err
}

// remove removes one item. An item that another process holds stays, and gone is false.
func remove(store *owned.Dir, c Item) (gone bool, err error) {
	hook("remove", c.Path)
	if c.Build != nil {
		err = buildsOf(store).Remove(c.ID)
	} else {
		gone, err = removeDir(store, c)
		if !gone && err == nil {
			return false, nil
		}
	}
	if err != nil {
		return false, fault.New(fault.Environment, "check the permissions of the cache directory", "remove %s from the cache: %w", c.Name, err)
	}
	return true, nil
}

func removeDir(store *owned.Dir, c Item) (gone bool, err error) {
	place, err := openPlace(store, c.Kind)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = place.Close() }()
	dir, err := place.Sub(c.ID)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	_ = dir.Close()
	release, ok, err := flock.Try(dir.Path())
	if err != nil || !ok {
		return errors.Is(err, fs.ErrNotExist), ignoreMissing(err)
	}
	err = place.RemoveAll(c.ID)
	release()
	return err == nil, err
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Policy selects what to remove from the cache.
type Policy struct {
	MaxSize   int64         // total bytes to keep; the least recently used items go first; negative for no limit
	OlderThan time.Duration // minimum time since last use; 0 for any
	Kinds     []string      // only these kinds; nil for all
	All       bool          // everything, regardless of age and size
	DryRun    bool          // only report
}

// Prune removes what a policy selects and returns it.
func Prune(o Options, p Policy) ([]Item, error) {
	store, err := o.open()
	if store == nil || err != nil {
		return nil, err
	}
	defer func() { _ = store.Close() }()
	all, err := list(store, o.Events)
	if err != nil {
		return nil, err
	}
	chosen := p.choose(all)
	if p.DryRun {
		return chosen, nil
	}
	var gone []Item
	for _, c := range chosen {
		removed, err := remove(store, c)
		if err != nil {
			return gone, err
		}
		if removed {
			gone = append(gone, c)
		}
	}
	return gone, nil
}

// choose returns what a policy selects.
func (p Policy) choose(all []Item) []Item {
	all = slices.DeleteFunc(all, func(c Item) bool { return len(p.Kinds) > 0 && !slices.Contains(p.Kinds, c.Kind) })
	sort.SliceStable(all, func(i, j int) bool { return all[j].Used.Before(all[i].Used) })
	if p.All {
		return all
	}
	entries := make([]buildcache.Entry, len(all))
	for i, c := range all {
		entries[i] = buildcache.Entry{Key: strconv.Itoa(i), Size: c.Size, Used: c.Used}
	}
	var out []Item
	for _, e := range (buildcache.Policy{MaxSize: p.MaxSize, OlderThan: p.OlderThan}).Choose(entries) {
		if i, err := strconv.Atoi(e.Key); err == nil {
			out = append(out, all[i])
		}
	}
	return out
}
