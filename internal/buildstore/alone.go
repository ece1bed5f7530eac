package buildstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"modwsgi/internal/cachedir"
	"modwsgi/internal/fault"
	"modwsgi/internal/flock"
	"modwsgi/internal/owned"
)

// Concurrent runs with one cache that want the same build would all make it. So the run
// that makes it holds a lock for its key, and the others wait and then use the cache. The
// lock saves work and is not needed for a correct result: a run that cannot lock, or has
// waited long enough, builds by itself.
//
// Among machines, a claim in the shared cache does the same
// ([modwsgi/internal/buildcache/remote.Cache.Claim]); it is asked for with the lock held.
//
// The lock is on a directory of the cache named after the key, which exists only as long
// as the lock. Nobody holds one lock while waiting for another: httpd's is released
// before the module's is acquired.

// Alone waits until no other run is making the build of a key, on this machine or, with a
// shared cache that this run writes to, on another one. what names the build in messages.
// release is never nil; made reports that another run may have made it in the meantime.
func (b *Store) Alone(ctx context.Context, key, what string) (release func(), made bool, err error) {
	here, made, err := b.aloneHere(ctx, key, what)
	if err != nil {
		return here, made, err
	}
	shared := b.share()
	if made || shared == nil || !shared.Writes() || b.o.Offline {
		return here, made, nil
	}
	limit := max(0, b.o.LockLimit)
	there, made, err := shared.Claim(ctx, key, limit, func() {
		b.o.Events.Note(fmt.Sprintf("another machine builds the same %s: waiting up to %s for it in the shared cache %s", what, limit, shared.Name()))
	})
	if ctx.Err() != nil {
		there()
		return here, made, context.Cause(ctx)
	}
	if err != nil {
		b.trouble(shared, err)
	}
	return func() { there(); here() }, made, nil
}

// aloneHere waits for the runs of this machine.
func (b *Store) aloneHere(ctx context.Context, key, what string) (release func(), made bool, err error) {
	none, waited := func() {}, false
	if b.o.Cache == "" {
		return none, false, nil
	}
	locks, err := b.openLocks()
	if err != nil { // the cache is read-only
		return none, false, nil
	}
	for range 100 {
		dir, err := locks.MakeSub(key, 0o700)
		if err != nil {
			break
		}
		_ = dir.Close()
		lock, err := flock.Wait(ctx, flock.Options{
			Dir: dir.Path(), Limit: max(0, b.o.LockLimit), Busy: "builds the same " + what,
			Waiting: func(text string) { waited = true; b.o.Events.Note(text) },
		})
		switch {
		case ctx.Err() != nil:
			_ = locks.Close()
			return none, waited, context.Cause(ctx)
		case errors.Is(err, fs.ErrNotExist): // its holder removed it at that moment
			waited = true
			continue
		case fault.ClassOf(err) == fault.Busy:
			b.o.Events.Note(err.Error() + ": it is built here as well")
		case err == nil:
			return func() { // the directory first: a waiting run sees that and creates another
				_ = locks.Remove(key)
				_ = lock.Release()
				_ = locks.Close()
			}, waited || b.cache.Has(key), nil
		}
		break
	}
	_ = locks.Close()
	return none, waited, nil
}

// openLocks opens the directory of the locks, and creates it if missing.
func (b *Store) openLocks() (*owned.Dir, error) {
	store, err := cachedir.Open(b.o.Cache, true)
	if err != nil {
		return nil, err
	}
	defer func() { _ = store.Close() }()
	return store.MakeSub(cachedir.Locks, 0o700)
}
