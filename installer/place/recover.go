package place

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"modwsgi/internal/owned"
)

// Outcome is what Recover found and did.
type Outcome struct {
	Undone    []string // labels of unfinished changes that were undone
	Completed []string // labels of completed changes that were only tidied up
	Cleared   int      // hidden directories of changes of which nothing was visible yet
	// Superseded are labels of unfinished changes that another installer has since
	// installed over. They were not undone.
	Superseded []string
	Left       []Left // directories that are not trusted and were not touched
}

// Left is a directory that has the name of a hidden one but is not trusted.
type Left struct {
	Dir   string
	Owner string // "the user alice"
	Why   string // "it belongs to the user alice"
	Hint  string // what to do about it
}

// String returns a warning.
func (l Left) String() string {
	return fmt.Sprintf("%s looks like the remains of an interrupted run, and is not touched: %s; %s", l.Dir, l.Why, l.Hint)
}

// Recover brings an environment that a killed process left into the state before its
// change or after it, and clears hidden directories. Having nothing to do is not an
// error. Running it twice, or killing it, does no harm. roots are those of the changes
// (Request.Roots).
//
// A hidden directory and its journal are trusted only if they belong to this user or to
// root and nobody else may write to them. A journal is trusted only if a plan could have
// produced every path in it: inside the roots, without links on the way, and in the form
// that this package uses. Anything else is left alone and reported, and does not block
// later changes. That includes what a run of another user left: it may be honest, but its
// owner can make it say anything. That user finishes it by running the command again;
// anything installed in the meantime then stays (see superseded).
func (l *Locked) Recover(roots ...string) (Outcome, error) {
	var out Outcome
	if l.active != nil {
		return out, errors.New("place: recover during a transaction")
	}
	s, err := l.scope(roots)
	if err != nil {
		return out, err
	}
	defer s.close()
	return out, l.recoverAll(s, &out)
}

func (l *Locked) recoverAll(s *scope, out *Outcome) error {
	entries, err := l.dir.Entries()
	if err != nil {
		return changeError("read", l.anchor, err)
	}
	for _, e := range entries {
		if probed.MatchString(e.Name()) && e.IsDir() {
			_ = l.dir.Remove(e.Name()) // only an empty one; its run may do so first
		}
		if !hidden.MatchString(e.Name()) || !e.IsDir() && e.Type()&fs.ModeSymlink == 0 {
			continue
		}
		if err := l.recoverOne(s, filepath.Join(l.anchor, e.Name()), out); err != nil {
			return err
		}
	}
	return nil
}

func (l *Locked) recoverOne(s *scope, dir string, out *Outcome) error {
	info, err := l.dir.Lstat(filepath.Base(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return changeError("read", dir, err)
	}
	hook("found " + dir)
	t := &Transaction{locked: l, scope: s, dir: dir}
	doubt, err := t.open()
	if err != nil {
		return err
	}
	if doubt != nil {
		out.Left = append(out.Left, left(dir, info, doubt))
		return nil
	}
	switch t.j.State {
	case moving, undoing:
		if t.superseded() {
			out.Superseded = append(out.Superseded, t.j.Label)
			return t.drop()
		}
		if err := t.undo(); err != nil {
			return err
		}
		out.Undone = append(out.Undone, t.j.Label)
	case placed:
		out.Completed = append(out.Completed, t.j.Label)
	default:
		out.Cleared++
	}
	return t.drop()
}

// left describes a directory that is not trusted.
func left(dir string, info fs.FileInfo, err error) Left {
	l := Left{Dir: dir, Owner: owned.Owner(info), Why: err.Error()}
	var u *owned.Untrusted
	if errors.As(err, &u) {
		l.Why = u.Why
		if u.At != dir {
			l.Why = u.At + ": " + u.Why
		}
	}
	uid := owned.UID(info)
	switch {
	case errors.Is(err, fs.ErrPermission) && uid == 0:
		l.Why = "it belongs to root"
		l.Hint = "run modwsgi once as root to finish it, or have it removed"
	case info.IsDir() && uid != self() && uid != 0:
		l.Hint = "run modwsgi once as " + l.Owner + " to finish it, or remove it if it is not theirs"
	default:
		l.Hint = "find out who made it, and remove it"
	}
	return l
}

// open opens the hidden directory and its journal. doubt is why they are not trusted.
func (t *Transaction) open() (doubt, err error) {
	home, err := t.scope.enter(t.dir)
	if err != nil {
		return err, nil
	}
	j, doubt, err := t.load()
	if doubt != nil || err != nil {
		return doubt, err
	}
	if j != nil {
		t.j = *j
		return t.accept(), nil
	}
	// The run was killed before it had a journal. Anyone who can rename in the anchor
	// could have given any directory of root this name.
	info, err := home.Info()
	if err != nil {
		return err, nil
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 && t.locked.dir.Judge() != nil {
		return fmt.Errorf("it has no journal, and the mode %v, which modwsgi does not use", info.Mode().Perm()), nil
	}
	return t.checkHome(home), nil
}

// checkHome looks for files that no run puts into a hidden directory.
func (t *Transaction) checkHome(home *owned.Dir) error {
	entries, err := home.Entries()
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !stagedName.MatchString(e.Name()) && !savedName.MatchString(e.Name()) && !preparedForm.MatchString(e.Name()) && !strings.HasPrefix(e.Name(), "."+journalName+".") {
			return fmt.Errorf("it contains %q, which modwsgi does not put there", e.Name())
		}
	}
	return nil
}

var (
	stagedName = regexp.MustCompile(`^new-[0-9]{1,9}$`)
	savedName  = regexp.MustCompile(`^old-[0-9]{1,9}$`)
)

// accept checks that a plan could have made a journal, and opens the hidden directories
// that it names.
func (t *Transaction) accept() error {
	j := &t.j
	if !slices.Contains([]string{staging, moving, placed, undoing, undone}, j.State) {
		return fmt.Errorf("its journal has the state %q", j.State)
	}
	homes := []string{t.dir}
	for _, rel := range j.Sides {
		side, err := t.acceptPath(rel)
		if err != nil {
			return err
		}
		if filepath.Base(side) != filepath.Base(t.dir) || within(t.locked.anchor, side) || slices.Contains(homes, side) {
			return fmt.Errorf("its journal names %q as a hidden directory", rel)
		}
		if _, err := t.scope.enter(side); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		homes = append(homes, side)
	}
	for _, rel := range j.Made {
		dir, err := t.acceptPath(rel)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(t.scope.roots, func(r root) bool { return dir == r.path || within(r.path, dir) || within(dir, r.path) }) {
			return fmt.Errorf("its journal names %q as a created directory: that is outside the environment", rel)
		}
	}
	for _, o := range j.Ops {
		if err := t.acceptOp(o, homes); err != nil {
			return err
		}
	}
	return nil
}

// acceptPath resolves a path of a journal. A plan must have been able to write it, and no
// link may be on the way.
func (t *Transaction) acceptPath(rel string) (string, error) {
	bad := func(why string) (string, error) { return "", fmt.Errorf("its journal names %q: %s", rel, why) }
	switch {
	case rel == "" || rel == "." || rel != path.Clean(rel) && rel != filepath.Clean(rel) || strings.ContainsRune(rel, 0):
		return bad("it is not in canonical form")
	case filepath.VolumeName(rel) != "" && !filepath.IsAbs(rel):
		return bad("it depends on the current directory of a drive")
	case filepath.IsAbs(rel) && strings.EqualFold(filepath.VolumeName(rel), filepath.VolumeName(t.locked.anchor)):
		return bad("it is an absolute path")
	}
	full := t.path(rel)
	dir, err := canonical(filepath.Dir(full))
	if err != nil {
		return "", err
	}
	if real := filepath.Join(dir, filepath.Base(full)); real != full {
		return bad("a link leads to " + real)
	}
	if !t.scope.beside(filepath.Dir(full)) {
		return bad("it is outside the environment")
	}
	return full, nil
}

// acceptOp checks one operation.
func (t *Transaction) acceptOp(o op, homes []string) error {
	target, err := t.acceptPath(o.Target)
	if err != nil {
		return err
	}
	if _, err := t.scope.resolve(target); err != nil {
		return err
	}
	for at := target; at != filepath.Dir(at); at = filepath.Dir(at) {
		if hidden.MatchString(filepath.Base(at)) {
			return fmt.Errorf("its journal names %q: it is in a hidden directory", o.Target)
		}
	}
	needs := map[string][2]bool{put: {true, false}, take: {false, true}, swap: {true, true}}
	need, known := needs[o.Kind]
	if !known || need != [2]bool{o.Staged != "", o.Saved != ""} {
		return fmt.Errorf("its journal has an invalid operation %q", o.Kind)
	}
	if o.Kind == swap && o.New == nil && t.j.State != staging {
		return errors.New("its journal does not describe what is staged")
	}
	i := slices.IndexFunc(homes, func(home string) bool {
		if within(t.locked.anchor, target) {
			return home == t.dir
		}
		return home != t.dir && within(filepath.Dir(home), target)
	})
	if i < 0 {
		return fmt.Errorf("its journal has no hidden directory for %q", o.Target)
	}
	if o.Staged != "" && !t.isIn(homes, o.Staged, target, func(names []string) bool { return stagedName.MatchString(names[0]) }) {
		return fmt.Errorf("its journal names %q as a staged path", o.Staged)
	}
	if o.Saved != "" && !t.isIn(homes, o.Saved, target, func(names []string) bool { return len(names) == 1 && savedName.MatchString(names[0]) }) {
		return fmt.Errorf("its journal names %q as a saved path", o.Saved)
	}
	return nil
}

// isIn reports whether a path is in the hidden directory for a target, and whether its
// names there are valid.
func (t *Transaction) isIn(homes []string, rel, target string, form func(names []string) bool) bool {
	if rel != path.Clean(rel) && rel != filepath.Clean(rel) {
		return false
	}
	full := t.path(rel)
	for _, home := range homes {
		inside := within(t.locked.anchor, target)
		if within(home, full) && (inside == (home == t.dir)) && (inside || within(filepath.Dir(home), target)) {
			in, err := filepath.Rel(home, full)
			return err == nil && form(parts(in))
		}
	}
	return false
}

// undo reverts the operations, last one first, however many were done, and records that
// in the journal.
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
	// From here on nothing is left to revert, only to clear: an operation whose staged
	// part is missing would look like one that was done.
	if err := t.advance(undone); err != nil {
		return err
	}
	failpoint("undone")
	return nil
}

// drop removes the hidden directories, the one with the journal last, because the journal
// names the others.
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
	if home == nil { // not created yet, or already removed
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
