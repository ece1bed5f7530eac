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

// Runs with one cache that want the same build would all make it. So who makes one
// holds a lock for its key, and the others wait and take what is in the cache then.
// The lock saves work and is not needed for a right result: a run that cannot lock,
// or has waited for long enough, builds by itself.
//
// The lock is on a directory of the cache with the name of the key, which comes and
// goes with it. Nobody holds one lock and waits for another: httpd's is given back
// before the module's is taken.

// Alone waits until no other run makes the build of a key. what names it, for people.
// release is never nil; made reports that another run may have made it meanwhile.
func (b *Store) Alone(ctx context.Context, key, what string) (release func(), made bool, err error) {
	none, waited := func() {}, false
	if b.o.Cache == "" {
		return none, false, nil
	}
	locks, err := b.openLocks()
	if err != nil { // the cache can only be read
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
		case errors.Is(err, fs.ErrNotExist): // its holder removed it in that moment
			waited = true
			continue
		case fault.ClassOf(err) == fault.Busy:
			b.o.Events.Note(err.Error() + ": it is built here as well")
		case err == nil:
			return func() { // the directory goes first: who waits for it sees that and makes another
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

// openLocks opens the directory of the locks, and makes it where it is missing.
func (b *Store) openLocks() (*owned.Dir, error) {
	store, err := cachedir.Open(b.o.Cache, true)
	if err != nil {
		return nil, err
	}
	defer func() { _ = store.Close() }()
	return store.MakeSub(cachedir.Locks, 0o700)
}
