package cachedir

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"time"

	"modwsgi/internal/buildcache"
	"modwsgi/internal/owned"
	"modwsgi/internal/run"
	"modwsgi/internal/scratch"
)

// Sweep removes what killed runs of this user left outside environments, in the cache
// directory and among the temporary files. Every command calls it at its start, since a
// run that finds nothing to do makes nothing and would remove nothing. It creates nothing
// and reports nothing. What cannot be removed stays, and so does everything that a
// running process holds.
func Sweep(o Options) {
	o.Events = nil // problems of the cache are reported where it is used
	scratch.SweepTemp(run.Getenv(o.Env, "TMPDIR"))
	path, err := Find(o)
	if err != nil {
		return
	}
	store, err := Open(path, false)
	if err != nil {
		return
	}
	defer func() { _ = store.Close() }()
	sweepStore(store)
}

// sweepStore sweeps the parts of the cache.
func sweepStore(store *owned.Dir) {
	for part, names := range map[string]*regexp.Regexp{Work: workName, Locks: lockName} {
		if dir, err := store.Sub(part); err == nil {
			scratch.SweepNames(dir, names)
			_ = dir.Close()
		}
	}
	if dir, err := store.Sub(Host); err == nil {
		sweepFiles(dir)
		_ = dir.Close()
	}
	buildcache.Cache{Dir: filepath.Join(store.Path(), Builds)}.Sweep()
}

// lockName matches the name of a directory that is the lock for the build of a key.
var lockName = regexp.MustCompile(`^[0-9a-f]{64}$`)

// halfWritten matches the temporary name of a file being written (owned.Dir.Create).
var halfWritten = regexp.MustCompile(`^\..+\.` + owned.RandomNames + `\.tmp$`)

// sweepFiles removes files that a killed run did not finish. They have no locks and take
// a moment to write: after an hour nobody is writing them any more.
func sweepFiles(dir *owned.Dir) {
	entries, _ := dir.Entries()
	for _, e := range entries {
		if !halfWritten.MatchString(e.Name()) {
			continue
		}
		if info, err := e.Info(); err == nil && info.Mode()&fs.ModeType == 0 && time.Since(info.ModTime()) > time.Hour {
			_ = dir.Remove(e.Name())
		}
	}
}
