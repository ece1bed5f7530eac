package fetch

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"modwsgi/internal/flock"
)

// lockDir locks a directory of the cache against other processes and goroutines. If it
// has to wait, it reports that once. A read-only cache needs no lock: this process cannot
// change it.
func (f *Fetcher) lockDir(ctx context.Context, dir string, p *progress) (release func(), err error) {
	limit := f.opts.LockTimeout
	if limit == 0 {
		limit = flock.DefaultLimit
	}
	lock, err := flock.Wait(ctx, flock.Options{
		Dir: dir, Limit: max(0, limit), Busy: "fetches the same",
		Waiting: func(text string) { p.text(text) },
	})
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return func() {}, nil
	}
	if err != nil {
		return nil, err
	}
	return func() { _ = lock.Release() }, nil
}
