package installer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/internal/flock"
)

// keptLogs is how many runs' logs stay in the cache.
const keptLogs = 10

// workspace is the scratch space of one run: sources, objects and the stage go
// away with it, logs stay.
type workspace struct {
	dir     string
	logs    string
	release func()
	keep    bool
	builds  *builds
}

// newWorkspace makes the scratch space below the cache directory and removes
// that of earlier runs which were killed: theirs is not locked any more.
func newWorkspace(q *Request) (*workspace, error) {
	if err := q.openShared(); err != nil {
		return nil, err
	}
	base := filepath.Join(q.CacheDir, "work")
	if strings.ContainsAny(base, " \t\n'\"\\$`#:;&()<>|*?[]{}!~%") {
		base = filepath.Join(plainTemp, fmt.Sprintf("modwsgi-work-%d", os.Geteuid()))
	}
	err := os.MkdirAll(base, 0o700)
	if err == nil && filepath.Dir(base) == plainTemp {
		err = private(base)
	} else if err == nil {
		err = writable(base)
	}
	if cannotWrite(err) {
		return spareWorkspace(q, err)
	}
	if err != nil {
		return nil, noWorkspace(err)
	}
	sweep(base)
	dir, release, err := claim(base)
	if err != nil {
		return nil, noWorkspace(err)
	}
	return openWorkspace(q, dir, release, filepath.Join(q.CacheDir, "logs"))
}

// claim makes a work directory and locks it. Somebody else's sweep may come
// between the two; then there is another one.
func claim(base string) (dir string, release func(), err error) {
	for range 100 {
		if dir, err = os.MkdirTemp(base, "run-"); err != nil {
			return "", nil, err
		}
		release, ok, err := flock.Try(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			_ = os.Remove(dir)
			return "", nil, fmt.Errorf("lock work directory %s: %w", dir, err)
		}
		if !ok {
			continue
		}
		if _, err := os.Lstat(dir); err == nil {
			return dir, release, nil
		}
		release()
	}
	return "", nil, fmt.Errorf("make work directory in %s: each one that was made went away at once", base)
}

// noWorkspace is the error for a directory that cannot be worked in.
func noWorkspace(err error) error {
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	return fault.New(fault.Environment, "make that directory writable, or name another one with --cache-dir", "make work directory: %w", err)
}

// cannotWrite says whether a directory is closed to us for good: a cache that
// somebody else keeps, which may be read all the same.
func cannotWrite(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

// writable tries whether something can be made in a directory.
func writable(dir string) error {
	probe, err := os.MkdirTemp(dir, ".probe-")
	if err != nil {
		return err
	}
	return os.Remove(probe)
}

// spareWorkspace is one outside of a cache that can only be read: builds may
// come from there, and nothing is kept.
func spareWorkspace(q *Request, why error) (*workspace, error) {
	if _, err := os.Stat(q.CacheDir); err != nil { // not there at all, and it cannot be made
		return nil, noWorkspace(why)
	}
	dir, remove, err := q.scratch("modwsgi-work-", false)
	if err != nil {
		return nil, err
	}
	q.Events.Note("the cache directory " + q.CacheDir + " can only be read: nothing that is fetched or built is kept")
	q.downloads = filepath.Join(dir, "downloads")
	// The logs are beside it: what failed is looked at later.
	return &workspace{dir: dir, logs: dir + "-logs", release: remove, keep: q.KeepBuild, builds: newBuilds(q, dir)}, os.Mkdir(dir+"-logs", 0o700)
}

// openWorkspace takes a new directory that is locked.
func openWorkspace(q *Request, dir string, release func(), logs string) (*workspace, error) {
	w := &workspace{dir: dir, release: release, keep: q.KeepBuild, builds: newBuilds(q, dir)}
	w.logs = filepath.Join(logs, time.Now().UTC().Format("20060102T150405Z")+"-"+strings.TrimPrefix(filepath.Base(dir), "run-"))
	if err := os.MkdirAll(w.logs, 0o700); err != nil {
		w.close()
		return nil, fmt.Errorf("make log directory: %w", err)
	}
	dropOldLogs(filepath.Dir(w.logs))
	return w, nil
}

func (w *workspace) path(name string) string { return filepath.Join(w.dir, name) }

// kept is the name of the scratch space after a run with --keep-build.
func (w *workspace) kept() string {
	return filepath.Join(filepath.Dir(w.dir), "kept-"+strings.TrimPrefix(filepath.Base(w.dir), "run-"))
}

// close removes the scratch space, but for the logs.
func (w *workspace) close() {
	if w.keep {
		// Under another name, so that the next run does not clear it away.
		_ = os.Rename(w.dir, w.kept())
		w.release()
		return
	}
	_ = removeTree(w.dir)
	w.release()
	_ = os.Remove(w.logs) // only where it is empty
}

// sweep removes work directories that nobody holds; those of --keep-build have
// another name.
func sweep(base string) {
	entries, err := os.ReadDir(base)
	if err != nil {
		return
	}
	for _, e := range entries {
		dir := filepath.Join(base, e.Name())
		if !strings.HasPrefix(e.Name(), "run-") {
			continue
		}
		if release, ok, err := flock.Try(dir); err == nil && ok {
			_ = removeTree(dir)
			release()
		}
	}
}

// removeTree is RemoveAll also for trees with directories that are not writable.
func removeTree(dir string) error {
	if err := os.RemoveAll(dir); err == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

func dropOldLogs(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	for _, name := range names[:max(0, len(names)-keptLogs)] {
		_ = os.RemoveAll(filepath.Join(dir, name))
	}
}
