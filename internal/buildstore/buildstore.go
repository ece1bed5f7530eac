// Package buildstore keeps finished trees on this machine and, if configured, in a shared
// cache. It finds earlier builds, restores them, keeps new ones, and prevents concurrent
// runs from all making the same build. An entry is used only if it shows that it was made
// from what the caller asks for ([Store.Want]).
//
// It does not know how anything is built. An unusable cache costs time and is never a
// failure.
package buildstore

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"modwsgi/internal/buildcache"
	"modwsgi/internal/buildcache/remote"
	"modwsgi/internal/cachedir"
	"modwsgi/internal/event"
	"modwsgi/internal/timeline"
)

// Options are the options of a store.
type Options struct {
	Cache     string             // the cache directory; "" if it is not used
	Work      string             // a directory of this run, for trees that cannot be kept in the cache
	Shared    *remote.Cache      // nil if none is configured
	Offline   bool               // do not ask the shared cache
	Limit     int64              // maximum size of the cache directory in bytes; negative for no limit
	LockLimit time.Duration      // how long to wait for another run that makes the same build; negative does not wait
	Events    event.Sink         // may be nil
	Timeline  *timeline.Recorder // may be nil
}

// Store restores and keeps finished trees in the local cache and, if configured, in a
// shared one. It is safe for concurrent use.
type Store struct {
	o     Options
	cache buildcache.Cache
	spare buildcache.Cache // of this run only, if the local one is not writable
	mu    sync.Mutex
	said  bool            // already reported that the local cache is not used
	off   bool            // the shared one is no longer asked
	got   map[string]bool // keys restored from the shared one
	wants map[string]wanted
}

// New opens the builds of a cache directory.
func New(o Options) *Store {
	b := &Store{o: o, spare: buildcache.Cache{Dir: filepath.Join(o.Work, cachedir.Builds)}, got: map[string]bool{}}
	if o.Cache != "" {
		b.cache.Dir = filepath.Join(o.Cache, cachedir.Builds)
	}
	return b
}

// local returns the caches on this machine, in the order in which they are asked.
func (b *Store) local() []buildcache.Cache { return []buildcache.Cache{b.cache, b.spare} }

// Restore puts the tree of a key at dest, if there is one, and describes it. An unusable
// cache is reported once and counts as empty.
func (b *Store) Restore(ctx context.Context, key, dest string) (*buildcache.Entry, error) {
	e, err := b.restoreLocal(ctx, key, dest)
	if e != nil || err != nil {
		if e != nil && !b.pulled(key) {
			b.push(ctx, key)
		}
		return e, err
	}
	if got, err := b.pull(ctx, key); !got || err != nil {
		return nil, err
	}
	return b.restoreLocal(ctx, key, dest)
}

func (b *Store) restoreLocal(ctx context.Context, key, dest string) (found *buildcache.Entry, err error) {
	end := b.o.Timeline.Begin(timeline.Cache, "build cache", "restore "+key[:12])
	defer func() { end(func(s *timeline.Span) { s.Cached, s.Failed = found != nil, err != nil }) }()
	for _, c := range b.local() {
		if !b.counts(c, key) {
			continue
		}
		before, _ := c.Info(key)
		hit, err := c.Restore(ctx, key, dest)
		if err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			b.unusable(err)
		}
		if before != nil && !hit && err == nil {
			what := "was damaged"
			if before.Format != 0 {
				what = "is in the format of another version of modwsgi"
			}
			b.o.Events.Note("an entry of the build cache " + what + " and is dropped: " + key[:12])
		}
		if !hit {
			continue
		}
		e, err := c.Info(key)
		if err != nil || e.Damage != "" { // pruned in the meantime; the restored tree is good
			e = &buildcache.Entry{Key: key}
		}
		return e, nil
	}
	return nil, nil
}

func (b *Store) unusable(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.said {
		b.said = true
		b.o.Events.Note("the build cache is not used: " + err.Error())
	}
}

// pulled reports whether an entry came from the shared cache in this run.
func (b *Store) pulled(key string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.got[key]
}

// pull copies an entry from the shared cache to a local one. A failure is reported once
// and is not an error.
func (b *Store) pull(ctx context.Context, key string) (bool, error) {
	shared := b.share()
	if shared == nil || b.o.Offline {
		return false, nil
	}
	into := b.cache
	if !b.cache.Writable() {
		into = b.spare
	}
	end := b.o.Timeline.Begin(timeline.Fetch, "shared cache", "pull "+key[:12])
	hit, err := shared.Pull(ctx, key, into, func(a buildcache.About) error {
		if why := b.judge(key, a); why != "" {
			return errors.New(why)
		}
		return nil
	})
	end(func(s *timeline.Span) { s.Cached, s.Failed = hit, err != nil })
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if err != nil {
		b.trouble(shared, err)
		return false, nil
	}
	if hit {
		b.mu.Lock()
		b.got[key] = true
		b.mu.Unlock()
	}
	return hit, nil
}

// share returns the shared cache, or nil if it is not configured or failed before.
func (b *Store) share() *remote.Cache {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.off {
		return nil
	}
	return b.o.Shared
}

// trouble reports a failure of the shared cache. A refused entry does not affect the
// others; after any other failure the cache is not asked again.
func (b *Store) trouble(c *remote.Cache, err error) {
	var refused *remote.Refused
	if errors.As(err, &refused) {
		b.o.Events.Warn("the shared cache is not used for this: " + err.Error())
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.off {
		b.off = true
		b.o.Events.Note("the shared cache is not used, and the work goes on without it: " + err.Error())
	}
}

// FarmDetail is the detail of an entry whose objects were compiled by other machines, with
// the name of the compile farm. Such an entry is not put into a shared cache: whoever
// trusts its signer does not trust those machines, which return objects without proof.
const FarmDetail = "farm"

// push puts an entry into the shared cache, if there is a key to sign with.
func (b *Store) push(ctx context.Context, key string) {
	shared := b.share()
	if shared == nil || !shared.Writes() || b.o.Offline {
		return
	}
	for _, c := range b.local() {
		if !c.Has(key) {
			continue
		}
		if e, err := c.Info(key); err == nil && e.Details[FarmDetail] != "" {
			b.o.Events.Note("not put into the shared cache, because " + e.Details[FarmDetail] + " compiled parts of it on other machines: " + key[:12])
			return
		}
		end := b.o.Timeline.Begin(timeline.Cache, "shared cache", "push "+key[:12])
		pushed, err := shared.Push(ctx, key, c)
		end(func(s *timeline.Span) { s.Failed = err != nil })
		switch {
		case ctx.Err() != nil:
		case err != nil:
			b.trouble(shared, err)
		case pushed:
			b.o.Events.Note("put into the shared cache " + shared.Name() + ": " + key[:12])
		}
		return
	}
}

// Keep keeps a tree. Not being able to is not a failure.
func (b *Store) Keep(ctx context.Context, key, tree string, about buildcache.About) {
	if why := b.judge(key, about); why != "" {
		b.o.Events.Warn("the build is not kept in the cache: " + why)
		return
	}
	err := b.cache.Store(ctx, key, tree, about)
	if err != nil && ctx.Err() == nil {
		b.mu.Lock()
		if !b.said && b.o.Cache != "" { // otherwise that was reported at the start
			b.said = true
			b.o.Events.Note("the build is not kept in the cache: " + err.Error())
		}
		b.mu.Unlock()
		if b.share() == nil || !b.share().Writes() || b.spare.Store(ctx, key, tree, about) != nil {
			return
		}
	}
	b.push(ctx, key)
	if err == nil {
		b.limit(key)
	}
}

// limit drops the least recently used builds if the cache has become too large. Builds
// used within the last hour stay: they may be in use.
func (b *Store) limit(keep string) {
	p := buildcache.Policy{
		MaxSize: b.o.Limit, Young: time.Hour, Keep: func(key string) bool { return key == keep },
		Count: cachedir.Downloaded(b.o.Cache),
	}
	gone, err := b.cache.Prune(p)
	if err == nil && len(gone) > 0 {
		b.o.Events.Note(fmt.Sprintf("dropped the %d least recently used builds from the cache (MODWSGI_CACHE_LIMIT)", len(gone)))
	}
}

// Has reports whether there is a tree of a key, after pulling it from the shared cache if
// necessary.
func (b *Store) Has(ctx context.Context, key string) (bool, error) {
	if slices.ContainsFunc(b.local(), func(c buildcache.Cache) bool { return c.Has(key) && b.counts(c, key) }) {
		return true, nil
	}
	return b.pull(ctx, key)
}

// From names the source of an entry in messages.
func (b *Store) From(key string) string {
	if b.pulled(key) {
		return "the shared cache " + b.o.Shared.Name()
	}
	return "the build cache"
}

// Forget removes an entry from the cache, so that it is built again.
func (b *Store) Forget(key string) {
	if err := b.cache.Remove(key); err != nil {
		b.unusable(err)
	}
}

// Parts returns what an entry was made of, and its source; nil if unknown.
func (b *Store) Parts(key string) (parts []buildcache.Part, from string) {
	for _, c := range b.local() {
		if e, err := c.Info(key); err == nil {
			return e.Parts, b.From(key)
		}
	}
	return nil, ""
}
