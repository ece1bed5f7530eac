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
// Nothing is written between the first rename and the last: the journals of the
// states to come are there before, and are renamed into place, so that a disk
// that has become full keeps nothing from being taken back. What else would do so
// (immutable and append-only files, mount points, read-only parts) is looked for
// before anything is made.
//
// A journal without "placed" is undone by Recover and one with it is completed.
// There is no watcher process for a kill between two renames: that window is
// about a millisecond, and a watcher could be killed as well; the order of the
// renames makes what is visible meanwhile consistent for pip.
//
// Others may write to parts of an environment, or own all of it, while root changes
// it: see scope for how a change stays inside, and Recover for which journals are
// believed.
//
// The package knows renames and journals. It does not know Python's
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
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/flock"
	"modwsgi/internal/owned"
)

// Item is a staged file, symbolic link or directory, on any file system, and
// the absolute path that it is to get. Modes (without set-id bits), times and
// links are kept; the source stays as it is.
type Item struct{ Source, Target string }

// Request is one change of an environment.
type Request struct {
	Items []Item
	// Remove lists absolute paths to take away: files, links, or directories
	// with everything in them. No link may be on the way from a root to them. Paths that do not exist are passed over. The
	// byte-compiled files of a .py file go with it, and so do directories below
	// the anchor in which nothing else is left; files that are not listed stay.
	// A target that exists must be listed here, or hold only what is listed.
	Remove []string
	// Beside are further directories of packages below a root, from which something is
	// removed: as below the anchor, directories in which nothing else is left go too.
	Beside []string
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
	given  string // as it was asked for
	dir    *owned.Dir
	lock   *flock.Lock
	active *Transaction
}

// Transaction is a change that has been made and can be taken back.
type Transaction struct {
	locked *Locked
	scope  *scope
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

// failed says of a change that was not made what became of the environment: it is as
// before, or what could not be taken back is in the hidden directory.
func (t *Transaction) failed(err, undo error) error {
	var f *fault.Error
	if undo == nil {
		if errors.As(err, &f) && f.Class == fault.Place && f.Cure != "" && !strings.Contains(f.Cure, "nothing was changed") {
			f.Cure += "; nothing was changed"
		}
		return err
	}
	hint := "then run the same command again, which first takes back what is left in " + t.dir
	for _, e := range []error{undo, err} {
		if h := fault.HintOf(e); h != "" {
			hint = h + "; " + hint
			break
		}
	}
	return fault.New(fault.Place, hint, "%w; and it could not all be taken back: %w", err, undo)
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
	// From the first rename on nothing is written any more: on a full disk that
	// could not even be taken back.
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

// Commit drops what Rollback would need. An error leaves the change made and
// only hidden directories behind, which the next Recover clears.
func (t *Transaction) Commit() error {
	if err := t.end(); err != nil {
		return err
	}
	defer t.scope.close()
	return t.drop()
}

// Rollback takes the change back. After an error, and after a kill, the next
// Recover goes on with it.
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
		return errors.New("place: the transaction is over already")
	}
	t.locked.active = nil
	return nil
}

// undo takes the operations back, last one first, however many were done, and
// notes that in the journal.
func (t *Transaction) undo() error {
	for _, o := range slices.Backward(t.j.Ops) {
		hook("back " + o.Target)
		if err := t.takeBack(o); err != nil {
			return changeError("restore", t.path(o.Target), err)
		}
		failpoint("undone " + o.Target)
	}
	for _, dir := range slices.Backward(t.j.Made) {
		// Not empty or never made: both are fine.
		_ = t.scope.rmdir(t.path(dir))
	}
	t.syncTargets()
	// From here on there is nothing to take back, only to clear: an operation
	// of which the staged part is gone would look like one that was done.
	if err := t.advance(undone); err != nil {
		return err
	}
	failpoint("undone")
	return nil
}

// drop removes the hidden directories; the journal goes last, because it
// knows the others.
func (t *Transaction) drop() error {
	for _, side := range t.paths(t.j.Sides) {
		if err := t.clear(side); err != nil {
			return err
		}
		failpoint("dropped side")
	}
	if err := t.clear(t.dir); err != nil {
		return err
	}
	failpoint("dropped")
	return nil
}

// clear removes a hidden directory with everything in it.
func (t *Transaction) clear(dir string) error {
	home := t.scope.homes[dir]
	if home == nil { // not made yet, or removed before
		return nil
	}
	hook("clear " + dir)
	entries, err := home.Entries()
	for _, e := range entries {
		if e.Name() == journalName {
			continue
		}
		if err = home.RemoveAll(e.Name()); err != nil {
			break
		}
		failpoint("dropped " + e.Name())
	}
	if err == nil {
		err = home.RemoveAll(journalName)
	}
	if err == nil {
		err = t.scope.leave(dir)
	}
	if err != nil {
		return changeError("clear", dir, err)
	}
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
	// A directory in which things can be made and not removed would keep the probe.
	if o := closedDir(dir); o != nil {
		return o.error(path)
	}
	name := hiddenName()
	err = dir.Root().Mkdir(name, 0o700)
	if err == nil {
		err = dir.Remove(name)
	}
	if err != nil {
		return changeError("write into", path, err)
	}
	return nil
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
