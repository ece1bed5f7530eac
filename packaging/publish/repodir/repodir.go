// Package repodir is a directory that a web server offers as a package repository. Files
// in it appear complete under their names, one after the other, in the order in which a
// caller writes them. It also has what apt and dnf repositories have in common, and knows
// neither.
//
// Only this user and root may be able to change the directory: its indexes are signed,
// and a signature would vouch for the files of others.
package repodir

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/internal/flock"
	"modwsgi/internal/owned"
)

// Options describe a repository directory.
type Options struct {
	Path    string        // absolute
	Option  string        // that named it, for messages: "--apt"
	Entries []string      // names of a repository's top level; a directory that has only others is refused
	Limit   time.Duration // how long to wait for another publisher
	Waiting func(text string)
	// Appears is called before a file gets its name, and may fail in its place. It is for
	// tests of interrupted runs; nil otherwise.
	Appears func(name string) error
}

// Tree is an open repository directory.
type Tree struct {
	o    Options
	dir  *owned.Dir // nil if the directory does not exist and was opened for reading
	lock *flock.Lock
}

// Read opens the directory for reading, without a lock. It need not exist.
func Read(o Options) (*Tree, error) {
	t := &Tree{o: o}
	dir, err := owned.OutputDir(o.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	return t, t.accept(dir, err)
}

// Write makes the directory if necessary, opens it, and locks it until Close.
func Write(ctx context.Context, o Options) (*Tree, error) {
	t := &Tree{o: o}
	dir, err := owned.MakeOutputDir(o.Path)
	if err := t.accept(dir, err); err != nil {
		return nil, err
	}
	t.lock, err = flock.Wait(ctx, flock.Options{Dir: t.dir.Path(), Limit: o.Limit, Waiting: o.Waiting, Busy: "publishes to it"})
	if err != nil {
		t.Close()
		if fault.ClassOf(err) == fault.Busy {
			return nil, err
		}
		return nil, t.problem("lock", o.Path, err)
	}
	return t, nil
}

// accept takes an opened directory over, unless others can change it or it is something
// else than a repository.
func (t *Tree) accept(dir *owned.Dir, err error) error {
	if err != nil {
		return t.problem("open", t.o.Path, err)
	}
	refuse := func(err error) error {
		_ = dir.Close()
		return err
	}
	if dir.Shared() {
		why := owned.Check(dir.Path())
		return refuse(fault.New(fault.Environment, fault.HintOr(why, "name a directory that only you and root can write to"), "publish to %s: %w", t.o.Path, why))
	}
	entries, err := dir.Entries()
	if err != nil {
		return refuse(t.problem("read", t.o.Path, err))
	}
	other, ours := "", false
	for _, e := range entries {
		switch {
		case slices.Contains(t.o.Entries, e.Name()):
			ours = true
		case e.Name() != flock.Name && !leftover.MatchString(e.Name()):
			other = e.Name()
		}
	}
	if other != "" && !ours {
		return refuse(fault.New(fault.Usage, "name an empty or a new directory, or one that contains "+t.o.Entries[0],
			"%s %s is not a repository: it contains %q but no %s", t.o.Option, t.o.Path, other, t.o.Entries[0]))
	}
	t.dir = dir
	return nil
}

// problem is the error for a failed operation on a path.
func (t *Tree) problem(what, name string, err error) error {
	return fault.New(fault.Environment, fault.HintOr(err, "make "+t.o.Path+" writable, then run the same command again; what was published stays consistent"),
		"%s %s: %w", what, name, err)
}

// Close releases the lock.
func (t *Tree) Close() {
	if t.lock != nil {
		_ = t.lock.Release()
	}
	if t.dir != nil {
		_ = t.dir.Close()
		t.dir = nil
	}
}

// Path is the path of a file in the directory, for messages.
func (t *Tree) Path(name string) string { return filepath.Join(t.o.Path, filepath.FromSlash(name)) }

// enter opens the directory of a file, which it makes if write is set.
func (t *Tree) enter(name string, write bool) (*owned.Dir, string, error) {
	if t.dir == nil {
		return nil, "", fs.ErrNotExist
	}
	if !filepath.IsLocal(filepath.FromSlash(name)) || path.Clean(name) != name {
		return nil, "", fmt.Errorf("invalid name %q", name)
	}
	parts := strings.Split(name, "/")
	at, last := t.dir, parts[len(parts)-1]
	for _, part := range parts[:len(parts)-1] {
		var next *owned.Dir
		var err error
		if write {
			next, err = at.MakeSub(part, 0o755)
		} else {
			next, err = at.Sub(part)
		}
		if at != t.dir {
			_ = at.Close()
		}
		if err != nil {
			return nil, "", err
		}
		at = next
	}
	return at, last, nil
}

func (t *Tree) leave(dir *owned.Dir) {
	if dir != t.dir {
		_ = dir.Close()
	}
}

// Open opens a file. The error wraps fs.ErrNotExist if it is missing.
func (t *Tree) Open(name string) (*os.File, error) {
	dir, last, err := t.enter(name, false)
	if err != nil {
		return nil, t.reading(name, err)
	}
	defer t.leave(dir)
	f, err := dir.Open(last)
	return f, t.reading(name, err)
}

// reading keeps a missing file as it is.
func (t *Tree) reading(name string, err error) error {
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return t.problem("read", t.Path(name), err)
}

// ReadFile returns the contents of a file of at most limit bytes.
func (t *Tree) ReadFile(name string, limit int64) ([]byte, error) {
	f, err := t.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("it has more than %d bytes", limit)
	}
	return data, t.reading(name, err)
}

// Sum returns the SHA-256 of a file, lower case hex, and "" if it does not exist.
func (t *Tree) Sum(name string) (string, error) {
	f, err := t.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	sum, err := digest.Of(f)
	return sum, t.reading(name, err)
}

// Put writes a file. It appears under its name when it is complete and on the disk; a
// file of that name is replaced. It returns the SHA-256 and the size of what it wrote.
func (t *Tree) Put(name string, r io.Reader) (sum string, size int64, err error) {
	dir, last, err := t.enter(name, true)
	if err != nil {
		return "", 0, t.problem("write", t.Path(name), err)
	}
	defer t.leave(dir)
	f, err := dir.Create(last, 0o644)
	if err != nil {
		return "", 0, t.problem("write", t.Path(name), err)
	}
	defer f.Abort()
	h := sha256.New()
	size, err = io.Copy(io.MultiWriter(f, h), r)
	if err == nil && t.o.Appears != nil {
		err = t.o.Appears(name)
	}
	if err == nil {
		err = f.Commit()
	}
	if err != nil {
		if fault.ClassOf(err) != fault.Internal { // the source changed
			return "", 0, err
		}
		return "", 0, t.problem("write", t.Path(name), err)
	}
	return hex.EncodeToString(h.Sum(nil)), size, nil
}

// leftover matches the temporary files of killed runs (owned.Dir.Create).
var leftover = regexp.MustCompile(`^\..+\.` + owned.RandomNames + `\.tmp$`)

// Sweep removes from a directory what killed runs left, and the files that old accepts.
// A directory that is missing is not an error.
func (t *Tree) Sweep(name string, old func(fs.DirEntry) bool) error {
	at, _, err := t.enter(name+"/x", false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return t.problem("read", t.Path(name), err)
	}
	defer t.leave(at)
	entries, err := at.Entries()
	if err != nil {
		return t.problem("read", t.Path(name), err)
	}
	for _, e := range entries {
		if e.IsDir() || !leftover.MatchString(e.Name()) && (old == nil || !old(e)) {
			continue
		}
		if err := at.Remove(e.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return t.problem("remove", t.Path(name+"/"+e.Name()), err)
		}
	}
	return nil
}

// List returns the names of the entries of a directory, sorted; none if it is missing.
func (t *Tree) List(name string) ([]string, error) {
	at, _, err := t.enter(name+"/x", false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, t.problem("read", t.Path(name), err)
	}
	defer t.leave(at)
	entries, err := at.Entries()
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out, t.reading(name, err)
}
