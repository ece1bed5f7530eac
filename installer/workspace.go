package installer

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
}

// newWorkspace makes the scratch space below the cache directory and removes
// that of earlier runs which were killed: theirs is not locked any more.
func newWorkspace(q *Request) (*workspace, error) {
	base := filepath.Join(q.CacheDir, "work")
	if strings.ContainsAny(base, " \t\n'\"\\$`#:;&()<>|*?[]{}!~%") {
		base = filepath.Join(plainTemp, fmt.Sprintf("modwsgi-work-%d", os.Geteuid()))
	}
	if err := os.MkdirAll(base, 0o700); err != nil {
		return nil, fault.New(fault.Environment, "make that directory writable, or name another one with --cache-dir", "make work directory: %w", err)
	}
	if filepath.Dir(base) == plainTemp {
		if err := private(base); err != nil {
			return nil, err
		}
	}
	sweep(base)
	dir, err := os.MkdirTemp(base, "run-")
	if err != nil {
		return nil, fault.New(fault.Environment, "make that directory writable, or name another one with --cache-dir", "make work directory: %w", err)
	}
	release, ok, err := flock.Try(dir)
	if err != nil || !ok {
		return nil, fmt.Errorf("lock work directory %s: %w", dir, err)
	}
	w := &workspace{dir: dir, release: release, keep: q.KeepBuild}
	w.logs = filepath.Join(q.CacheDir, "logs", time.Now().UTC().Format("20060102T150405Z")+"-"+strings.TrimPrefix(filepath.Base(dir), "run-"))
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
		info, err := e.Info()
		if err != nil || !strings.HasPrefix(e.Name(), "run-") || time.Since(info.ModTime()) < time.Second {
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
