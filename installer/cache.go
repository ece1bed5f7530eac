package installer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"modwsgi/internal/buildcache"
	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/internal/filetree"
	"modwsgi/internal/flock"
	"modwsgi/internal/owned"
)

// The kinds of what is in the cache directory, besides the kinds of builds
// ("httpd", "module").
const (
	KindDownload = "download" // a source archive
	KindLog      = "log"      // the logs of one run
	KindWork     = "work"     // sources and objects that --keep-build or a killed run left
)

// Cached is one thing in the cache directory.
type Cached struct {
	Kind   string    `json:"kind"`
	ID     string    `json:"id"`   // key of a build, SHA-256 of an archive, else the name
	Name   string    `json:"name"` // what it is
	Size   int64     `json:"bytes"`
	Used   time.Time `json:"used"`
	Path   string    `json:"path"`
	Damage string    `json:"damage,omitempty"`        // why it cannot be used
	Other  bool      `json:"other_version,omitempty"` // another version of this program has written it
	// Build has the rest that is known of a build.
	Build *buildcache.Entry `json:"build,omitempty"`
}

// CacheDirectory is where a request keeps what it keeps.
func CacheDirectory(q Request) (string, error) {
	err := q.findCache()
	return q.CacheDir, err
}

// ListCache returns everything in the cache directory, builds first, then
// downloads and the rest, each kind by its last use. What belongs to another user is
// left out, with a warning.
func ListCache(q Request) ([]Cached, error) {
	store, err := q.openCache()
	if store == nil || err != nil {
		return nil, err
	}
	defer func() { _ = store.Close() }()
	return q.listStore(store)
}

// openCache opens the cache directory for a command on it; nil if it does not exist.
func (q *Request) openCache() (*owned.Dir, error) {
	if err := q.findCache(); err != nil {
		return nil, err
	}
	store, err := openStore(q.CacheDir, false)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case owned.IsUntrusted(err):
		return nil, untrustedCache(err)
	case err != nil:
		return nil, cacheTrouble(err)
	}
	return store, nil
}

func (q *Request) listStore(store *owned.Dir) ([]Cached, error) {
	entries, err := buildsOf(store).List()
	if err != nil {
		return nil, cacheTrouble(err)
	}
	var out []Cached
	for _, e := range entries {
		out = append(out, cachedBuild(e))
	}
	for _, kind := range []string{KindDownload, KindWork, KindLog} {
		list, err := q.cachedDirs(store, kind)
		if err != nil {
			return nil, cacheTrouble(err)
		}
		out = append(out, list...)
	}
	return out, nil
}

func buildsOf(store *owned.Dir) buildcache.Cache {
	return buildcache.Cache{Dir: buildsDir(store.Path())}
}

// places are the directories that hold the things of each kind.
var places = map[string][]string{
	KindDownload: {partDownloads, "archives", "sha256"}, KindWork: {partWork}, KindLog: {partLogs},
}

// openPlace opens the directory with the things of a kind.
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

func cachedBuild(e buildcache.Entry) Cached {
	c := Cached{Kind: e.Kind, ID: e.Key, Name: e.Name, Size: e.Size, Used: e.Used, Path: e.Path, Damage: e.Damage, Other: e.Format != 0, Build: &e}
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

func cacheTrouble(err error) error {
	return fault.New(fault.Environment, "look at its permissions, or name another one with --cache-dir", "read the cache: %w", err)
}

// cachedDirs takes each directory with things of a kind as one thing.
func (q *Request) cachedDirs(store *owned.Dir, kind string) ([]Cached, error) {
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
	var out []Cached
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		sub, err := dir.Sub(e.Name())
		if owned.IsUntrusted(err) {
			q.Events.Warn("left alone: " + err.Error())
		}
		if err != nil {
			continue
		}
		if c, err := cachedDir(kind, sub); err == nil && (c.Size > 0 || kind == KindWork) {
			out = append(out, c)
		}
		_ = sub.Close()
	}
	slices.SortStableFunc(out, func(a, b Cached) int { return cmp.Or(b.Used.Compare(a.Used), strings.Compare(a.ID, b.ID)) })
	return out, nil
}

func cachedDir(kind string, dir *owned.Dir) (Cached, error) {
	info, err := dir.Root().Stat(".")
	if err != nil {
		return Cached{}, err
	}
	name := filepath.Base(dir.Path())
	c := Cached{Kind: kind, ID: name, Name: name, Size: filetree.Size(dir.Root().FS()), Used: info.ModTime(), Path: dir.Path()}
	if kind == KindDownload {
		if c.Name = archiveName(dir); c.Name == "" {
			c.Name = "(a part of an archive)"
		}
	}
	return c, nil
}

// archiveName is the name of the archive in a directory of the download cache, ""
// where there is only a part of one.
func archiveName(dir *owned.Dir) string {
	entries, _ := dir.Entries()
	for _, e := range entries {
		if n := e.Name(); e.Type().IsRegular() && !strings.HasSuffix(n, ".asc") && !strings.HasPrefix(n, "partial") {
			return n
		}
	}
	return ""
}

// FindCached returns what an identifier, or the beginning of one with at least
// six characters, means. Errors are of class Usage.
func FindCached(q Request, id string) (*Cached, error) {
	all, err := ListCache(q)
	if err != nil {
		return nil, err
	}
	var found []Cached
	for _, c := range all {
		if c.ID == id || len(id) >= 6 && strings.HasPrefix(c.ID, id) {
			found = append(found, c)
		}
	}
	switch len(found) {
	case 0:
		return nil, fault.New(fault.Usage, "modwsgi cache list shows what there is", "there is nothing in the cache with the identifier %q", id)
	case 1:
		return &found[0], nil
	}
	return nil, fault.New(fault.Usage, "write more of it", "%d things in the cache begin with %q", len(found), id)
}

// Verified is what VerifyCache found.
type Verified struct {
	Good int      // things that are as they were recorded
	Bad  []Cached // damaged ones
	// Other is the number of builds in the format of another version of this
	// program, which this one cannot judge.
	Other int
}

// VerifyCache reads all builds and downloads in full; with drop those that are
// damaged are removed.
func VerifyCache(ctx context.Context, q Request, drop bool) (v Verified, err error) {
	store, err := q.openCache()
	if store == nil || err != nil {
		return v, err
	}
	defer func() { _ = store.Close() }()
	all, err := q.listStore(store)
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
			return v, cacheTrouble(why)
		}
		item.Damage = why.Error()
		v.Bad = append(v.Bad, item)
		if drop {
			if _, err := removeCached(store, item); err != nil {
				return v, err
			}
		}
	}
	return v, nil
}

var errDamaged = errors.New("damaged")

// verifySources checks that a build shows what it was built from.
func verifySources(e *buildcache.Entry) error {
	if why := unproven(e.About); why != "" {
		return fmt.Errorf("%w: %s", errDamaged, why)
	}
	return nil
}

func verifyDownload(store *owned.Dir, c Cached) error {
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
		return nil // a download that goes on later
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

// removeCached removes one thing. What another process holds stays; gone is false
// then.
func removeCached(store *owned.Dir, c Cached) (gone bool, err error) {
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
		return false, fault.New(fault.Environment, "look at the permissions of the cache directory", "remove %s from the cache: %w", c.Name, err)
	}
	return true, nil
}

func removeDir(store *owned.Dir, c Cached) (gone bool, err error) {
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

// CachePolicy says what of the cache is too much.
type CachePolicy struct {
	MaxSize   int64         // bytes in all, what was not used for longest goes first; negative for any
	OlderThan time.Duration // not used for so long; 0 for any
	Kinds     []string      // only these; nil for all
	All       bool          // everything, whatever its age and size
	DryRun    bool          // say only
}

// PruneCache removes what a policy is against and returns it.
func PruneCache(q Request, p CachePolicy) ([]Cached, error) {
	store, err := q.openCache()
	if store == nil || err != nil {
		return nil, err
	}
	defer func() { _ = store.Close() }()
	all, err := q.listStore(store)
	if err != nil {
		return nil, err
	}
	chosen := p.choose(all)
	if p.DryRun {
		return chosen, nil
	}
	var gone []Cached
	for _, c := range chosen {
		removed, err := removeCached(store, c)
		if err != nil {
			return gone, err
		}
		if removed {
			gone = append(gone, c)
		}
	}
	return gone, nil
}

// choose returns what a policy is against.
func (p CachePolicy) choose(all []Cached) []Cached {
	all = slices.DeleteFunc(all, func(c Cached) bool { return len(p.Kinds) > 0 && !slices.Contains(p.Kinds, c.Kind) })
	slices.SortStableFunc(all, func(a, b Cached) int { return b.Used.Compare(a.Used) })
	if p.All {
		return all
	}
	entries := make([]buildcache.Entry, len(all))
	for i, c := range all {
		entries[i] = buildcache.Entry{Key: strconv.Itoa(i), Size: c.Size, Used: c.Used}
	}
	var out []Cached
	for _, e := range (buildcache.Policy{MaxSize: p.MaxSize, OlderThan: p.OlderThan}).Choose(entries) {
		if i, err := strconv.Atoi(e.Key); err == nil {
			out = append(out, all[i])
		}
	}
	return out
}
