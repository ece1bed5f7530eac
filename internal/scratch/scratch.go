// Package scratch makes directories that belong to one run: private, with a random
// name, and locked while the run has them. What is not locked any more was left by a
// run that was killed, and [Sweep] removes it; whoever makes one sweeps first, and so
// does every start of the program ([SweepTemp]).
//
// The lock decides, not the number of a process, which another one may have by now,
// and not the age, which says nothing of a long build. A lock ends with its process
// (internal/flock). Directories of other users are left alone.
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

// Kind is what a directory among the temporary files is for; its name is
// "modwsgi-KIND-" and random letters.
type Kind string

// All kinds. Sweep knows no others.
const (
	Doctor  Kind = "doctor"  // attempts of the compiler for modwsgi doctor
	Lock    Kind = "lock"    // the lock file of a source distribution's build
	Package Kind = "package" // files on their way into an artifact
	Probe   Kind = "probe"   // attempts of the compiler for a plan
	Push    Kind = "push"    // a tree on its way to a shared cache
	Sign    Kind = "sign"    // keys for a signing tool
	Verify  Kind = "verify"  // a throwaway server, or an archive that is looked into
	Wheel   Kind = "wheel"   // the tree of a wheel
	Work    Kind = "work"    // sources and objects
)

// Prefix is how the names of a kind begin.
func (k Kind) Prefix() string { return "modwsgi-" + string(k) + "-" }

// names are those that owned.Dir.Temp makes of the prefixes.
var names = regexp.MustCompile(`^modwsgi-(doctor|lock|package|probe|push|sign|verify|wheel|work)-[a-z2-7]{12}$`)

// Dir is a directory of this run.
type Dir struct {
	*owned.Dir
	base    *owned.Dir
	release func()
}

// Make makes a directory in base, "" for that of the environment for temporary files
// (os.TempDir). base may be sticky, as /tmp is; it is swept first. Errors are
// *owned.Untrusted where another user could exchange base.
func Make(base string, kind Kind) (*Dir, error) {
	if base == "" {
		base = os.TempDir()
	}
	parent, err := owned.OpenTemp(base)
	if err != nil {
		return nil, err
	}
	d, err := In(parent, kind)
	if err != nil {
		return nil, errors.Join(err, parent.Close())
	}
	return d, nil
}

// In is Make in an open directory, which belongs to the result then.
func In(base *owned.Dir, kind Kind) (*Dir, error) {
	Sweep(base)
	path, release, err := Claim(base, kind.Prefix())
	var locks *LockError
	if errors.As(err, &locks) { // it works without; only a sweep would not know
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

// Base is the directory that it is in.
func (d *Dir) Base() *owned.Dir { return d.base }

// Release ends the lock and nothing else.
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

// Claim makes a directory in base and locks it. Another run's sweep may come between
// the two; then there is another one.
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
	return "", nil, fmt.Errorf("make work directory in %s: each one that was made was removed at once", base.Path())
}

// LockError is a file system that has no locks.
type LockError struct {
	Dir string
	Err error
}

func (l *LockError) Error() string { return fmt.Sprintf("lock work directory %s: %v", l.Dir, l.Err) }
func (l *LockError) Unwrap() error { return l.Err }

// Sweep removes what killed runs of this user left in a directory.
func Sweep(base *owned.Dir) { SweepNames(base, names) }

// SweepNames is Sweep for directories with other names. One that its maker is about
// to lock may go: see Claim.
func SweepNames(base *owned.Dir, names *regexp.Regexp) {
	entries, _ := base.Entries()
	for _, e := range entries {
		if names.MatchString(e.Name()) {
			Remove(base, e.Name(), nil)
		}
	}
}

// SweepTemp sweeps the directories in which runs with this TMPDIR make theirs.
func SweepTemp(tmpdir string) {
	dirs := []string{tmpdir, os.TempDir(), "/tmp", "/var/tmp"}
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

// Remove removes a directory of this user that nobody holds, and reports whether it
// did. before is called once it is known that nobody does; nil for none.
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

// mine reports whether an entry is a directory that this user made, and that nobody
// else may write to.
func mine(base *owned.Dir, name string) bool {
	dir, err := base.Sub(name)
	if err != nil {
		return false
	}
	defer func() { _ = dir.Close() }()
	info, err := dir.Root().Stat(".")
	return err == nil && (owned.UID(info) == os.Geteuid() || owned.UID(info) < 0)
}
