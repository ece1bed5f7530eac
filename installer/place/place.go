// Package place changes a Python environment in one transaction. Staged files and
// directories move to their targets, and the files they replace are removed. If the
// process is killed at any moment, the next one restores exactly the state before or
// completes exactly the state after.
//
// How it works. Everything is first copied into a hidden directory on the target's own
// file system (".modwsgi-" and hexadecimal digits, in the anchor and, for targets outside
// of it, beside them) and synced. A journal in the anchor's hidden directory then lists
// every rename that follows. Its paths are relative to the anchor, so it stays valid if
// the environment is moved. Then come the renames and nothing else. They are few, because
// whole directories are moved. Metadata directories (*.dist-info) of what is replaced are
// removed first and new ones are added last, so that pip sees a complete distribution or
// none. Programs outside the anchor are added after the libraries that they need and
// removed before them. "Placed" in the journal ends the change; replaced files are kept
// until Commit.
//
// Nothing is written between the first rename and the last: the journals of later states
// are written in advance and renamed into place, so that a full disk never prevents a
// rollback. Anything else that would (immutable and append-only files, mount points,
// read-only parts) is checked for before anything is made.
//
// Recover undoes a journal without "placed" and completes one with it. No watcher process
// guards against a kill between two renames: that window is about a millisecond, and a
// watcher could be killed as well. The order of the renames keeps the intermediate states
// consistent for pip.
//
// Other users may write to parts of an environment, or own all of it, while root changes
// it. See scope for how a change stays inside, and Recover for which journals are
// trusted.
//
// The package knows renames and journals. It does not know Python's rules for which files
// belong to a distribution (internal/pydist), nor whether the placed files work.
package place

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/fault"
)

// Apply makes the change and keeps what a rollback needs. It first finishes what a killed
// process left, with Recover. On an error, and if ctx ends during the copy, the
// environment is as before. From the first rename on, ctx is ignored. Errors are of class
// fault.Place.
func (l *Locked) Apply(ctx context.Context, r Request) (*Transaction, error) {
	if l.active != nil {
		return nil, errors.New("place: the previous transaction was neither committed nor rolled back")
	}
	s, err := l.scope(r.Roots)
	if err != nil {
		return nil, err
	}
	t, err := l.apply(ctx, s, r)
	if err != nil {
		s.close()
		return nil, err
	}
	l.active = t
	return t, nil
}

func (l *Locked) apply(ctx context.Context, s *scope, r Request) (*Transaction, error) {
	if err := l.recoverAll(s, new(Outcome)); err != nil {
		return nil, err
	}
	p, err := newPlan(s, r)
	if err != nil {
		return nil, err
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	t := &Transaction{locked: l, scope: s, dir: p.home, j: p.journal()}
	err = t.stage(ctx, p)
	if err == nil && r.Ready != nil {
		err = r.Ready()
	}
	if err != nil {
		return nil, t.failed(err, t.drop())
	}
	if err := t.move(); err != nil {
		uerr := t.undo()
		if uerr == nil {
			uerr = t.drop()
		}
		return nil, t.failed(err, uerr)
	}
	return t, nil
}

// failed adds to the error of a change that was not made the state of the environment: it
// is as before, or files that could not be restored are in the hidden directory.
func (t *Transaction) failed(err, undo error) error {
	var f *fault.Error
	if undo == nil {
		if errors.As(err, &f) && f.Class == fault.Place && f.Advice != "" && !strings.Contains(f.Advice, "nothing was changed") {
			f.Advice += "; nothing was changed"
		}
		return err
	}
	hint := "then run the same command again, which first restores what is left in " + t.dir
	for _, e := range []error{undo, err} {
		if h := fault.HintOf(e); h != "" {
			hint = h + "; " + hint
			break
		}
	}
	return fault.New(fault.Place, hint, "%w; and it could not be fully undone: %w", err, undo)
}

// stage fills the hidden directories. Nothing visible changes.
func (t *Transaction) stage(ctx context.Context, p *plan) error {
	if err := t.scope.make(t.dir); err != nil {
		return changeError("create", t.dir, err)
	}
	failpoint("created")
	t.j.State = staging
	if err := t.save(); err != nil {
		return err
	}
	failpoint("journal of staging")
	for _, side := range t.j.Sides {
		if err := t.scope.make(t.path(side)); err != nil {
			return changeError("create", t.path(side), err)
		}
	}
	failpoint("created sides")
	if err := copyAll(ctx, t.scope, p.copies(), p.spent); err != nil {
		return err
	}
	failpoint("copied")
	if err := t.mark(); err != nil {
		return err
	}
	// From the first rename on nothing is written any more: on a full disk that could not
	// even be undone.
	if err := t.prepare(); err != nil {
		return err
	}
	failpoint("prepared")
	for _, dir := range append([]string{t.dir}, t.paths(t.j.Sides)...) {
		if err := syncTree(spot{dir: t.scope.homes[dir]}); err != nil {
			return changeError("sync", dir, err)
		}
	}
	failpoint("synced")
	return nil
}

// move does the renames.
func (t *Transaction) move() error {
	t.j.State = moving
	if err := t.save(); err != nil {
		return err
	}
	failpoint("journal of moving")
	for _, dir := range t.j.Made {
		if err := t.scope.mkdir(t.path(dir), 0o755); err != nil {
			return changeError("create", t.path(dir), err)
		}
		failpoint("made " + dir)
	}
	for _, o := range t.j.Ops {
		hook(o.Kind + " " + o.Target)
		if err := t.do(o); err != nil {
			return changeError("place", t.path(o.Target), err)
		}
		failpoint(o.Kind + " " + o.Target)
	}
	t.syncTargets()
	if err := t.advance(placed); err != nil {
		return err
	}
	failpoint("placed")
	return nil
}

// Commit drops what Rollback would need. An error leaves the change in place and only
// hidden directories behind, which the next Recover clears.
func (t *Transaction) Commit() error {
	if err := t.end(); err != nil {
		return err
	}
	defer t.scope.close()
	return t.drop()
}

// Rollback undoes the change. After an error or a kill, the next Recover continues it.
func (t *Transaction) Rollback() error {
	if err := t.end(); err != nil {
		return err
	}
	defer t.scope.close()
	if err := t.advance(undoing); err != nil {
		return err
	}
	failpoint("journal of undoing")
	if err := t.undo(); err != nil {
		return err
	}
	return t.drop()
}

func (t *Transaction) end() error {
	if t.locked.active != t {
		return errors.New("place: the transaction has already ended")
	}
	t.locked.active = nil
	return nil
}

// Writable checks early whether the anchor and the directories of the targets can be
// changed, by making and removing an empty hidden directory in each. This detects a
// read-only file system, missing rights and immutable directories, even as root. The
// error is of class fault.Place and names the directory.
func Writable(anchor string, targets ...string) error {
	dirs := []string{existing(anchor)}
	for _, target := range targets {
		dirs = append(dirs, existing(filepath.Dir(target)))
	}
	slices.Sort(dirs)
	for _, path := range slices.Compact(dirs) {
		if err := probe(path); err != nil {
			return err
		}
	}
	return nil
}

func probe(path string) error {
	dir, err := open(path)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	// The probe would stay behind in a directory in which names can be made but not
	// removed.
	if o := closedDir(dir); o != nil {
		return o.error(path)
	}
	name := probeName()
	err = dir.Root().Mkdir(name, 0o700)
	if err == nil {
		if err = dir.Remove(name); errors.Is(err, fs.ErrNotExist) {
			err = nil // another run's recovery removed it
		}
	}
	if err != nil {
		return changeError("write into", path, err)
	}
	return nil
}
