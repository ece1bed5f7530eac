// Package scratch creates directories that belong to one run: private, with a random
// name, and locked while the run uses them. An unlocked one was left by a killed run, and
// [Sweep] removes it. Creating a directory sweeps first, and so does every start of the
// program ([SweepTemp]).
//
// The lock decides, not the id of a process, which another one may have by now, and not
// the age, which a long build exceeds. A lock ends with its process (internal/flock).
// Directories of other users are left alone.
package scratch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"modwsgi/internal/flock"
	"modwsgi/internal/owned"
)

// Kind is the purpose of a directory among the temporary files; its name is
// "modwsgi-KIND-" and random letters.
type Kind string

// All kinds. Sweep knows no others.
const (
	Doctor  Kind = "doctor"  // compiler tests for modwsgi doctor
	Lock    Kind = "lock"    // the lock file of a source distribution's build
	Package Kind = "package" // files to be packed into an artifact
	Probe   Kind = "probe"   // compiler tests for a plan
	Push    Kind = "push"    // a tree to be pushed to a shared cache
	Sign    Kind = "sign"    // keys for a signing tool
	Verify  Kind = "verify"  // a throwaway server, or an archive under examination
	Wheel   Kind = "wheel"   // the tree of a wheel
	Work    Kind = "work"    // sources and objects
)

// Prefix returns the beginning of the names of a kind.
func (k Kind) Prefix() string { return "modwsgi-" + string(k) + "-" }

// names matches what owned.Dir.Temp makes of the prefixes.
var names = regexp.MustCompile(`^modwsgi-(doctor|lock|package|probe|push|sign|verify|wheel|work)-` + owned.RandomNames + `$`)

// Dir is a directory of this run.
type Dir struct {
	*owned.Dir
	base    *owned.Dir
	release func()
}

// Make creates a directory in base, or if base is "" in the environment's directory for
// temporary files (os.TempDir), or where [Temp] would if that cannot be written to and
// was not named. base may be sticky, as /tmp is; it is swept first. The
// error is *owned.Untrusted if another user could exchange base.
func Make(base string, kind Kind) (*Dir, error) {
	if base != "" {
		return place{path: base}.make(kind)
	}
	first := place{path: os.TempDir(), given: os.Getenv("TMPDIR") != ""}
	d, err := first.make(kind)
	if err == nil || !first.skip(err) {
		return d, err
	}
	for _, p := range temporary("") {
		if d, err := p.make(kind); err == nil {
			return d, nil
		}
	}
	return nil, err
}

// In is Make in an open directory, which then belongs to the result.
func In(base *owned.Dir, kind Kind) (*Dir, error) {
	Sweep(base)
	path, release, err := Claim(base, kind.Prefix())
	var locks *LockError
	if errors.As(err, &locks) { // it works without, but a sweep could not tell that it is in use
		made, err := base.Temp(kind.Prefix())
		return &Dir{made, base, func() {}}, err
	}
	if err != nil {
		return nil, err
	}
	made, err := base.Sub(filepath.Base(path))
	if err != nil {
		release()
		return nil, err
	}
	return &Dir{made, base, release}, nil
}

// Base returns the parent directory.
func (d *Dir) Base() *owned.Dir { return d.base }

// Release releases the lock and does nothing else.
func (d *Dir) Release() { d.release() }

// Discard removes the directory with everything in it.
func (d *Dir) Discard() error {
	name := filepath.Base(d.Path())
	_ = d.Close()
	_ = d.base.RemoveAll(name)
	d.release()
	err := d.base.RemoveAll(name) // on Windows the lock is a file in it
	return errors.Join(err, d.base.Close())
}

// Claim creates a directory in base and locks it. If another run's sweep removes it
// between the two steps, Claim creates another one.
func Claim(base *owned.Dir, prefix string) (dir string, release func(), err error) {
	for range 100 {
		made, err := base.Temp(prefix)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", nil, err
		}
		dir, name := made.Path(), filepath.Base(made.Path())
		_ = made.Close()
		release, ok, err := flock.Try(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			_ = base.Remove(name)
			return "", nil, &LockError{dir, err}
		}
		if !ok {
			continue
		}
		if _, err := base.Lstat(name); err == nil {
			return dir, release, nil
		}
		release()
	}
	return "", nil, fmt.Errorf("make work directory in %s: each new directory was removed at once", base.Path())
}

// LockError is a file system without locks.
type LockError struct {
	Dir string
	Err error
}

func (l *LockError) Error() string { return fmt.Sprintf("lock work directory %s: %v", l.Dir, l.Err) }
func (l *LockError) Unwrap() error { return l.Err }

// Sweep removes what killed runs of this user left in a directory.
func Sweep(base *owned.Dir) { SweepNames(base, names) }

// SweepNames is Sweep for directories with other names. It may remove one that is about
// to be locked: see Claim.
func SweepNames(base *owned.Dir, names *regexp.Regexp) {
	entries, _ := base.Entries()
	for _, e := range entries {
		if names.MatchString(e.Name()) {
			Remove(base, e.Name(), nil)
		}
	}
}

// SweepTemp sweeps the directories in which runs with this TMPDIR create theirs.
func SweepTemp(tmpdir string) {
	dirs := []string{os.TempDir()}
	for _, p := range temporary(tmpdir) {
		dirs = append(dirs, p.path)
	}
	for i, dir := range dirs {
		if !filepath.IsAbs(dir) || slices.Contains(dirs[:i], dir) {
			continue
		}
		if base, err := owned.OpenTemp(dir); err == nil {
			Sweep(base)
			_ = base.Close()
		}
	}
}

// Remove removes a directory of this user that nobody holds, and reports whether it did.
// Unless nil, before is called once nobody is known to hold it.
func Remove(base *owned.Dir, name string, before func()) bool {
	if !mine(base, name) {
		return false
	}
	release, ok, err := flock.Try(filepath.Join(base.Path(), name))
	if err != nil || !ok {
		return false
	}
	defer release()
	if before != nil {
		before()
	}
	return base.RemoveAll(name) == nil
}

// mine reports whether an entry is a directory of this user that nobody else may write
// to.
func mine(base *owned.Dir, name string) bool {
	dir, err := base.Sub(name)
	if err != nil {
		return false
	}
	defer func() { _ = dir.Close() }()
	info, err := dir.Root().Stat(".")
	return err == nil && (owned.UID(info) == os.Geteuid() || owned.UID(info) < 0)
}
