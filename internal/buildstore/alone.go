package buildstore

import (
	"context"
	"errors"
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
// The lock is on a directory of the cache named after the key, which exists only as long
// as the lock. Nobody holds one lock while waiting for another: httpd's is released
// before the module's is acquired.

// Alone waits until no other run is making the build of a key. what names the build in
// messages. release is never nil; made reports that another run may have made it in the
// meantime.
func (b *Store) Alone(ctx context.Context, key, what string) (release func(), made bool, err error) {
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
