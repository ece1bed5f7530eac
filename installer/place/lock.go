package place

import (
	"context"
	"path/filepath"
	"time"

	"modwsgi/internal/flock"
	"modwsgi/internal/owned"
)

// Lock waits until nobody else is changing the environment with this anchor, its
// site-packages directory, and then excludes others until Unlock or the end of the
// process. If it has to wait, it calls waiting once (unless nil) with a text that names
// the holder and the limit. When ctx or the limit ends, Lock returns an error of class
// fault.Busy that names the holder.
//
// The lock is on a file in the directory, which only those who may write there can open
// (internal/flock). Unlock removes it.
func Lock(ctx context.Context, anchor string, limit time.Duration, waiting func(text string)) (*Locked, error) {
	dir, err := open(anchor)
	if err != nil {
		return nil, err
	}
	lock, err := flock.Wait(ctx, flock.Options{In: dir.Root(), Dir: dir.Path(), Limit: limit, Waiting: waiting, Busy: "changes this environment"})
	if err != nil {
		_ = dir.Close()
		return nil, changeError("lock", dir.Path(), err)
	}
	return &Locked{anchor: dir.Path(), given: absolute(anchor), dir: dir, lock: lock}, nil
}

func absolute(path string) string {
	if full, err := filepath.Abs(path); err == nil {
		return full
	}
	return path
}

// Is reports whether the environment was locked by that anchor.
func (l *Locked) Is(anchor string) bool { return l.given == absolute(anchor) }

// Unlock lets others change the environment. A transaction that was neither committed nor
// rolled back counts as made: the next Recover completes it.
func (l *Locked) Unlock() error {
	if l.lock == nil {
		return nil
	}
	err := l.lock.Release()
	l.lock = nil
	_ = l.dir.Close()
	if err != nil {
		return changeError("unlock", l.anchor, err)
	}
	return nil
}

// scope opens the roots.
func (l *Locked) scope(roots []string) (*scope, error) {
	s := &scope{anchor: l.anchor, roots: []root{{l.anchor, l.given, l.dir}}, homes: map[string]*owned.Dir{}}
	for _, name := range roots {
		path, err := canonical(name)
		if err != nil {
			s.close()
			return nil, err
		}
		dir, err := open(existing(filepath.Dir(path)))
		if err != nil {
			s.close()
			return nil, err
		}
		s.roots = append(s.roots, root{path, absolute(name), dir})
	}
	return s, nil
}
