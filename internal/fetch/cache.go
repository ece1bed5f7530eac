package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/recipe"
)

// entry is the place of one archive in the download cache, locked. It holds the
// archive under its name, its signature beside it (FILE.asc), and while a
// download is under way "partial" and "partial.json".
type entry struct {
	dir   string
	close func() // gives the lock back
}

func (f *Fetcher) openEntry(ctx context.Context, a recipe.Archive, p *progress) (*entry, error) {
	return f.openDir(ctx, filepath.Join(f.opts.CacheDir, "archives", "sha256", a.SHA256), p)
}

// openDir makes a directory of the cache and locks it, waiting for another
// process or goroutine that has it.
func (f *Fetcher) openDir(ctx context.Context, dir string, p *progress) (*entry, error) {
	var release func()
	var err error
	for range 20 { // the cache may be cleared between the two
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, cacheFault(f.opts.CacheDir, err)
		}
		if release, err = f.lockDir(ctx, dir, p); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("wait for %s: %w", dir, context.Cause(ctx))
		}
		if fault.ClassOf(err) == fault.Busy {
			return nil, err
		}
		return nil, cacheFault(f.opts.CacheDir, err)
	}
	return &entry{dir: dir, close: release}, nil
}

func (e *entry) path(name string) string { return filepath.Join(e.dir, name) }

// drop removes files of the entry. That one cannot be removed is told where it
// is used next, so the error is of no use here.
func (e *entry) drop(names ...string) {
	for _, n := range names {
		_ = os.Remove(e.path(n))
	}
}

// dropEmptyPartial removes a partial file that holds nothing to resume from.
func (e *entry) dropEmptyPartial() {
	if fi, err := os.Lstat(e.path(partialName)); err == nil && fi.Size() == 0 {
		e.drop(partialName, stateName)
	}
}

// fromCache returns the cached archive. A damaged one is dropped.
func (f *Fetcher) fromCache(a recipe.Archive, e *entry, missing *NotObtainable) (*File, error) {
	path := e.path(a.File)
	err := verifyFile(path, a)
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

// fromSourceDirs looks into the user's directories. A file of a right name that
// is not the archive is an error.
func (f *Fetcher) fromSourceDirs(a recipe.Archive, missing *NotObtainable) (*File, error) {
	for _, dir := range f.opts.SourceDirs {
		found := ""
		for _, name := range spellings(a) {
			path := filepath.Join(dir, name)
			if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err := verifyFile(path, a); err != nil {
				return nil, fault.New(fault.Source, fmt.Sprintf("replace %s by the archive with SHA-256 %s, or take it out of the source directory", path, a.SHA256),
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

// verifyFile compares a file with the archive's hash. A missing one is
// fs.ErrNotExist; a dangling link and what is not a regular file is another
// error.
func verifyFile(path string, a recipe.Archive) error {
	fi, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if target, lerr := os.Readlink(path); lerr == nil {
			return fmt.Errorf("read %s: it is a link to %s, which is not there", path, target)
		}
	}
	if err != nil {
		return err
	}
	if !fi.Mode().IsRegular() {
		return fmt.Errorf("read %s: it is not a regular file", path)
	}
	sum, n, err := hashFile(path)
	if err != nil {
		return err
	}
	return compareHash(path, sum, n, a)
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
	last int64 // when, in units of 100 ms
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

func hashFile(path string) (sum string, size int64, err error) {
	file, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer file.Close()
	h := sha256.New()
	if size, err = io.Copy(h, file); err != nil {
		return "", 0, fmt.Errorf("read %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), size, nil
}
