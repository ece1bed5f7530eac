package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/digest"
	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/recipe"
)

// entry is the locked directory of one archive in the download cache. It contains the
// archive under its name, its signature beside it (FILE.asc), and during a download
// "partial" and "partial.json".
type entry struct {
	dir   string     // for messages, and for tools that need a path
	root  *owned.Dir // for writing and removing there
	close func()     // releases the lock
}

func (f *Fetcher) openEntry(ctx context.Context, a recipe.Archive, p *progress) (*entry, error) {
	return f.openDir(ctx, filepath.Join(f.opts.CacheDir, "archives", "sha256", a.SHA256), p)
}

// openDir creates a directory of the cache and locks it, waiting for another process or
// goroutine that has it.
func (f *Fetcher) openDir(ctx context.Context, dir string, p *progress) (*entry, error) {
	for range 100 {
		made, err := f.makeDir(dir)
		if err != nil {
			return nil, cacheFault(f.opts.CacheDir, err)
		}
		path := made.Path()
		_ = made.Close()
		release, err := f.lockDir(ctx, path, p)
		if ctx.Err() != nil && err != nil {
			return nil, fmt.Errorf("wait for %s: %w", dir, context.Cause(ctx))
		}
		if errors.Is(err, fs.ErrNotExist) { // the cache was cleared at that moment
			continue
		}
		if fault.ClassOf(err) == fault.Busy {
			return nil, err
		}
		if err != nil {
			return nil, cacheFault(f.opts.CacheDir, err)
		}
		root, err := f.makeDir(dir)
		if err != nil {
			release()
			return nil, cacheFault(f.opts.CacheDir, err)
		}
		return &entry{dir: path, root: root, close: func() { release(); _ = root.Close() }}, nil
	}
	return nil, cacheFault(f.opts.CacheDir, fmt.Errorf("make %s: each new directory was removed at once", dir))
}

// makeDir opens a directory below the cache directory, and creates the missing parts.
// Only this user and root may be able to change each part, and none may be a link.
func (f *Fetcher) makeDir(dir string) (*owned.Dir, error) {
	base := filepath.Clean(f.opts.CacheDir)
	below, err := filepath.Rel(filepath.Dir(base), dir)
	if err != nil {
		return nil, err
	}
	at, err := owned.MakeDir(filepath.Dir(base))
	if err != nil {
		return nil, err
	}
	for _, name := range strings.Split(below, string(filepath.Separator)) {
		sub, err := at.MakeSub(name, 0o700)
		_ = at.Close()
		if err != nil {
			return nil, err
		}
		at = sub
	}
	return at, nil
}

func (e *entry) path(name string) string { return filepath.Join(e.dir, name) }

// drop removes files of the entry. A file that cannot be removed is reported where it is
// used next, so the error is ignored here.
func (e *entry) drop(names ...string) {
	for _, n := range names {
		_ = e.root.Remove(n)
	}
}

// dropEmptyPartial removes a partial file with nothing to resume from.
func (e *entry) dropEmptyPartial() {
	if fi, err := e.root.Lstat(partialName); err == nil && fi.Size() == 0 {
		e.drop(partialName, stateName)
	}
}

// fromCache returns the cached archive. A damaged one is dropped.
func (f *Fetcher) fromCache(_ context.Context, s *search) (*File, error) {
	a, e, missing := s.archive, s.entry, s.missing
	path := e.path(a.File)
	err := verifyFile(path, a, digest.OpenHere)
	if errors.Is(err, fs.ErrNotExist) {
		missing.add(Cache, f.opts.CacheDir, errors.New("not there"))
		return nil, nil
	}
	if err != nil {
		f.opts.Events.Warn(fmt.Sprintf("the cached copy of %s is damaged and fetched again (%v)", a, err))
		missing.add(Cache, path, errors.New("it was damaged"))
		e.drop(a.File, a.File+".asc")
		return nil, nil
	}
	signer, err := f.checkSignatureFile(a, path, path+".asc")
	if err != nil {
		f.opts.Events.Warn(fmt.Sprintf("the cached signature of %s is damaged and dropped (%v)", a, err))
		e.drop(a.File + ".asc")
	}
	return &File{Path: path, Archive: a, Provider: Cache, From: path, Trust: a.Trust, Signer: signer}, nil
}

// fromSourceDirs searches the user's directories. A file with the right name but other
// contents is an error.
func (f *Fetcher) fromSourceDirs(_ context.Context, s *search) (*File, error) {
	a, missing := s.archive, s.missing
	for _, dir := range f.opts.SourceDirs {
		found := ""
		for _, name := range spellings(a) {
			path := filepath.Join(dir, name)
			if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
				continue
			}
			err := verifyFile(path, a, digest.Open)
			if isOther(err, a) {
				continue
			}
			if err != nil {
				return nil, fault.New(fault.Source, fmt.Sprintf("replace %s with the archive with SHA-256 %s, or remove it from the source directory", path, a.SHA256),
					"take %s from the source directory: %w", a, err)
			}
			if found == "" {
				found = path
			}
		}
		if found == "" {
			missing.add(SourceDir, dir, errors.New("not there"))
			continue
		}
		signer, err := f.checkSignatureFile(a, found, found+".asc")
		if err != nil {
			return nil, err
		}
		return &File{Path: found, Archive: a, Provider: SourceDir, From: found, Trust: a.Trust, Signer: signer}, nil
	}
	return nil, nil
}

// isOther reports whether a file is another archive of the same version, which the
// catalogue also has.
func isOther(err error, a recipe.Archive) bool {
	var m *Mismatch
	return errors.As(err, &m) && slices.ContainsFunc(recipe.Catalogue().Of(a.Component), func(o recipe.Archive) bool {
		return o.Version == a.Version && o.SHA256 == m.Actual
	})
}

// verifyFile compares a file with the archive's hash. A missing one is fs.ErrNotExist; a
// dangling link and anything but a regular file are other errors. The contents are
// compared again while they are unpacked (internal/archive). This check decides whether
// the file is the wanted one, so that unpacking is not even tried for another.
func verifyFile(path string, a recipe.Archive, open func(string) (*os.File, error)) error {
	file, err := open(path)
	if errors.Is(err, fs.ErrNotExist) {
		if target, lerr := os.Readlink(path); lerr == nil {
			return fmt.Errorf("read %s: it is a link to %s, which does not exist", path, target)
		}
	}
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	sum, n, err := hashOf(file, max(MaxUnknownSize, a.Size))
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return compareHash(path, sum, n, a)
}

// hashOf hashes a file to its end, or to a little beyond the maximum size of the archive:
// then it is another file.
func hashOf(file io.Reader, most int64) (sum string, n int64, err error) {
	r := digest.NewReader(io.LimitReader(file, most+1))
	if _, err = io.Copy(io.Discard, r); err != nil {
		return "", 0, err
	}
	return r.Sum(), r.Count(), nil
}

func compareHash(file, got string, n int64, a recipe.Archive) error {
	if got != a.SHA256 {
		return &Mismatch{File: file, Expected: a.SHA256, Actual: got, ExpectedBytes: a.Size, ActualBytes: n}
	}
	return nil
}

// progress reports the bytes of a step, at most ten times a second.
type progress struct {
	sink event.Sink
	step string
	last int64 // time of the last report, in units of 100 ms
}

func (p *progress) bytes(done, total int64) {
	if now := tenthsOfSecond(); now != p.last || done == total {
		p.last = now
		p.sink.Send(event.Event{Kind: event.Progress, Step: p.step, Bytes: done, Total: total})
	}
}

func (p *progress) text(s string) {
	p.sink.Send(event.Event{Kind: event.Progress, Step: p.step, Text: s})
}
