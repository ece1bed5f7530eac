// Package place changes a Python environment in one transaction: staged files
// and directories go to their targets, what they replace goes away, and a
// process that is killed at any moment leaves something that the next one
// turns into exactly the state before or exactly the state after.
//
// How it works. Everything is first copied into a hidden directory on the
// target's own file system (".modwsgi-" and hexadecimal digits, in the anchor
// and, for targets outside of it, beside them) and synced. A journal in the
// anchor's hidden directory then lists every rename that is to follow, with
// paths relative to the anchor, so that it is still right when the environment
// was moved. Then come the renames and nothing else: a few, as whole
// directories move at once. Metadata directories (*.dist-info) of what is
// replaced go away first and new ones come last, so that pip sees a complete
// distribution or none; programs outside of the anchor come after the libraries
// that they need and go before them. "Placed" in the journal ends it; what was
// replaced is kept until Commit.
//
// A journal without "placed" is undone by Recover and one with it is completed.
// There is no watcher process for a kill between two renames: that window is
// about a millisecond, and a watcher could be killed as well; the order of the
// renames makes what is visible meanwhile consistent for pip.
//
// The package knows renames, journals and locks. It does not know Python's
// rules for what belongs to a distribution (internal/pydist), nor whether what
// it places is any good.
package place

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"modwsgi/internal/fault"
)

// Item is a staged file, symbolic link or directory, on any file system, and
// the absolute path that it is to get. Modes (without set-id bits), times and
// links are kept; the source stays as it is.
type Item struct{ Source, Target string }

// Request is one change of an environment.
type Request struct {
	Items []Item
	// Remove lists absolute paths to take away: files, links, or directories
	// with everything in them. Paths that do not exist are passed over. The
	// byte-compiled files of a .py file go with it, and so do directories below
	// the anchor in which nothing else is left; files that are not listed stay.
	// A target that exists must be listed here, or hold only what is listed.
	Remove []string
	// Roots are directories which all targets and removals have to lie in,
	// symbolic links resolved. The anchor is always one of them; the directory
	// of programs is another one to name, and may be a link to somewhere else.
	Roots []string
	// Label says what is changed, for messages: "mod_wsgi 5.0.2".
	Label string
	// Spent says that nobody needs the sources after the change, nor writes to them
	// meanwhile: where they lie on the target's file system, hard links do instead
	// of copies.
	Spent bool
	// Ready is called once when all is copied and nothing visible has changed; an
	// error of its ends the change. nil is always ready.
	Ready func() error
}

// Locked is an environment that nobody else changes.
type Locked struct {
	anchor string // resolved
	lock   *lockFile
	active *Transaction
}

// Transaction is a change that has been made and can be taken back.
type Transaction struct {
	locked *Locked
	dir    string // the hidden directory in the anchor
	j      journal
}

// failpoint is called between all steps that a kill could fall between.
var failpoint = func(string) {}

// Apply makes the change and keeps what is needed to take it back. It finishes
// with Recover first what a killed process left. On an error, and where ctx
// ends during the copy, the environment is as before; from the first rename on
// ctx is not looked at any more. Errors are of the class fault.Place.
func (l *Locked) Apply(ctx context.Context, r Request) (*Transaction, error) {
	if l.active != nil {
		return nil, errors.New("place: the transaction before has neither been committed nor rolled back")
	}
	if _, err := l.Recover(); err != nil {
		return nil, err
	}
	p, err := newPlan(l.anchor, r)
	if err != nil {
		return nil, err
	}
	t := &Transaction{locked: l, dir: p.home, j: p.journal()}
	err = t.stage(ctx, p)
	if err == nil && r.Ready != nil {
		err = r.Ready()
	}
	if err != nil {
		if derr := t.drop(); derr != nil {
			err = errors.Join(err, derr)
		}
		return nil, err
	}
	if err := t.move(); err != nil {
		if uerr := t.undo(); uerr != nil {
			return nil, errors.Join(err, uerr)
		}
		return nil, errors.Join(err, t.drop())
	}
	l.active = t
	return t, nil
}

// stage fills the hidden directories. Nothing visible changes.
func (t *Transaction) stage(ctx context.Context, p *plan) error {
	if err := os.Mkdir(t.dir, 0o700); err != nil {
		return changeError("create", t.dir, err)
	}
	failpoint("created")
	t.j.State = staging
	if err := t.save(); err != nil {
		return err
	}
	failpoint("journal of staging")
	for _, side := range t.j.Sides {
		if err := os.Mkdir(t.path(side), 0o700); err != nil {
			return changeError("create", t.path(side), err)
		}
	}
	failpoint("created sides")
	if err := copyAll(ctx, p.copies(), p.spent); err != nil {
		return err
	}
	failpoint("copied")
	for _, dir := range append([]string{t.dir}, t.paths(t.j.Sides)...) {
		if err := syncTree(dir); err != nil {
			return changeError("sync", dir, err)
		}
	}
	failpoint("synced")
	return t.mark()
}

// move does the renames.
func (t *Transaction) move() error {
	t.j.State = moving
	if err := t.save(); err != nil {
		return err
	}
	failpoint("journal of moving")
	for _, dir := range t.j.Made {
		if err := os.Mkdir(t.path(dir), 0o755); err != nil {
			return changeError("create", t.path(dir), err)
		}
		failpoint("made " + dir)
	}
	for _, o := range t.j.Ops {
		if err := t.do(o); err != nil {
			return changeError("place", t.path(o.Target), err)
		}
		failpoint(o.Kind + " " + o.Target)
	}
	t.syncTargets()
	t.j.State = placed
	if err := t.save(); err != nil {
		return err
	}
	failpoint("placed")
	return nil
}

// Commit drops what Rollback would need. An error leaves the change made and
// only hidden directories behind, which the next Recover clears.
func (t *Transaction) Commit() error {
	if err := t.end(); err != nil {
		return err
	}
	return t.drop()
}

// Rollback takes the change back. After an error, and after a kill, the next
// Recover goes on with it.
func (t *Transaction) Rollback() error {
	if err := t.end(); err != nil {
		return err
	}
	t.j.State = undoing
	if err := t.save(); err != nil {
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
		return errors.New("place: the transaction is over already")
	}
	t.locked.active = nil
	return nil
}

// undo takes the operations back, last one first, however many were done, and
// notes that in the journal.
func (t *Transaction) undo() error {
	for _, o := range slices.Backward(t.j.Ops) {
		if err := t.takeBack(o); err != nil {
			return changeError("restore", t.path(o.Target), err)
		}
		failpoint("undone " + o.Target)
	}
	for _, dir := range slices.Backward(t.j.Made) {
		// Not empty or never made: both are fine.
		_ = os.Remove(t.path(dir))
	}
	t.syncTargets()
	// From here on there is nothing to take back, only to clear: an operation
	// of which the staged part is gone would look like one that was done.
	t.j.State = undone
	if err := t.save(); err != nil {
		return err
	}
	failpoint("undone")
	return nil
}

// drop removes the hidden directories; the journal goes last, because it
// knows the others.
func (t *Transaction) drop() error {
	for _, side := range t.paths(t.j.Sides) {
		if err := removeTree(side); err != nil {
			return changeError("clear", side, err)
		}
		failpoint("dropped side")
	}
	entries, err := os.ReadDir(t.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return changeError("clear", t.dir, err)
	}
	for _, e := range entries {
		if e.Name() == journalName {
			continue
		}
		if err := removeTree(filepath.Join(t.dir, e.Name())); err != nil {
			return changeError("clear", t.dir, err)
		}
		failpoint("dropped " + e.Name())
	}
	if err := removeTree(t.dir); err != nil {
		return changeError("clear", t.dir, err)
	}
	failpoint("dropped")
	return nil
}

// Writable says early whether the anchor and the directories of the targets
// can be changed, by making and removing an empty hidden directory in each: a
// read-only file system, missing rights and immutable directories all show
// that way, also to root. The error is of the class fault.Place and names the
// directory.
func Writable(anchor string, targets ...string) error {
	dirs := []string{anchor}
	for _, target := range targets {
		dirs = append(dirs, existing(filepath.Dir(target)))
	}
	slices.Sort(dirs)
	for _, dir := range slices.Compact(dirs) {
		probe := filepath.Join(dir, hiddenName())
		if err := os.Mkdir(probe, 0o700); err != nil {
			return changeError("write into", dir, err)
		}
		if err := os.Remove(probe); err != nil {
			return changeError("write into", dir, err)
		}
	}
	return nil
}

// existing returns the innermost directory on the way to path that exists.
func existing(path string) string {
	for {
		if _, err := os.Lstat(path); err == nil || filepath.Dir(path) == path {
			return path
		}
		path = filepath.Dir(path)
	}
}

// changeError gives a failed change its class and the cure that fits.
func changeError(verb, path string, err error) error {
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	var cause *os.PathError
	if errors.As(err, &cause) {
		err = cause.Err // the path is in our message
	}
	return &fault.Error{Class: fault.Place, Cure: cure(path, err), Err: fmt.Errorf("%s %s: %w", verb, path, err)}
}
