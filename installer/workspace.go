package installer

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/scratch"
)

// keptLogs is how many runs' logs stay in the cache.
const keptLogs = 10

// workspace is the scratch space of one run: sources, objects and the stage are
// removed with it, logs stay. Its paths are ones that nobody else can exchange
// (internal/owned), so they are given to compilers and configure scripts.
type workspace struct {
	dir     string
	base    *owned.Dir // that dir is in
	logs    string
	logBase *owned.Dir // that logs is in
	release func()     // of the locks on dir and logs
	keep    bool
	cached  bool // dir is in the cache
	builds  *builds
}

// newWorkspace makes the scratch space below the cache directory and removes
// that of earlier runs which were killed: theirs is not locked any more.
func newWorkspace(q *Request) (*workspace, error) {
	if err := q.openShared(); err != nil {
		return nil, err
	}
	return makeWorkspace(q)
}

func makeWorkspace(q *Request) (*workspace, error) {
	store, err := openStore(q.CacheDir, true)
	if cannotWrite(err) { // it may be there and readable
		if read, rerr := openStore(q.CacheDir, false); rerr == nil || owned.IsUntrusted(rerr) {
			store, err = read, rerr
		}
	}
	if owned.IsUntrusted(err) {
		return privateWorkspace(q, err)
	}
	if err != nil {
		return nil, noWorkspace(err)
	}
	defer func() { _ = store.Close() }()
	w, err := workIn(q, store)
	if cannotWrite(err) {
		return spareWorkspace(q, store)
	}
	if err != nil {
		return nil, noWorkspace(err)
	}
	return w, nil
}

// workIn makes a work directory in the cache.
func workIn(q *Request, store *owned.Dir) (*workspace, error) {
	base, prefix, err := workBase(store)
	if err != nil {
		return nil, err
	}
	hook("work", base.Path())
	dir, release, err := scratch.Claim(base, prefix)
	if err != nil {
		return nil, errors.Join(err, base.Close())
	}
	w := &workspace{
		dir: dir, base: base, release: release, keep: q.KeepBuild,
		cached: filepath.Dir(base.Path()) == store.Path(), builds: newBuilds(q, store.Path(), dir),
	}
	if err := w.openLogs(store); err != nil {
		w.close()
		return nil, err
	}
	q.downloads, q.hold = filepath.Join(store.Path(), partDownloads), w.path("archives")
	return w, nil
}

// oddCharacters are those that make and configure scripts cannot take in a path.
const oddCharacters = " \t\n'\"\\$`#:;&()<>|*?[]{}!~%"

// workBase is where work directories are made: in the cache, or where the path of
// that has odd characters, in the system's directory for temporary files. What
// earlier runs left there is removed.
func workBase(store *owned.Dir) (base *owned.Dir, prefix string, err error) {
	if strings.ContainsAny(filepath.Join(store.Path(), partWork), oddCharacters) {
		// A name that nobody can foresee: in /tmp somebody else could have taken it.
		if base, err = owned.OpenTemp(plainTemp); err == nil {
			scratch.Sweep(base)
		}
		return base, "modwsgi-work-", err
	}
	if base, err = store.MakeSub(partWork, 0o700); err == nil {
		scratch.SweepNames(base, workName)
	}
	return base, "run-", err
}

// noWorkspace is the error for a directory that cannot be worked in.
func noWorkspace(err error) error {
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	return fault.New(fault.Environment, "make that directory writable, or name another one with --cache-dir", "make work directory: %w", err)
}

// privateWorkspace is one outside of a cache that others may write to: nothing is
// read from there, and nothing is kept.
func privateWorkspace(q *Request, why error) (*workspace, error) {
	q.warnUntrusted(why)
	return scratchWorkspace(q, "")
}

// openDownloads sets where archives are kept: in the cache, or where others may
// write to that in a temporary directory, which release removes.
func (q *Request) openDownloads() (release func(), err error) {
	store, err := openStore(q.CacheDir, true)
	if owned.IsUntrusted(err) {
		q.warnUntrusted(err)
		dir, err := scratch.Temp(q.Env, scratch.Work, false)
		if err != nil {
			return nil, err
		}
		q.downloads = filepath.Join(dir.Path(), partDownloads)
		return func() { _ = dir.Discard() }, nil
	}
	q.downloads = filepath.Join(q.CacheDir, partDownloads)
	if err != nil {
		return nil, nil // the fetcher reports a cache that it cannot write to
	}
	defer func() { _ = store.Close() }()
	q.downloads = filepath.Join(store.Path(), partDownloads)
	base, prefix, err := workBase(store)
	if err != nil {
		return nil, nil
	}
	dir, unlock, err := scratch.Claim(base, prefix)
	if err != nil { // without locks the cache had better not be cleared meanwhile
		return nil, base.Close()
	}
	q.hold = dir
	return func() { _ = base.RemoveAll(filepath.Base(dir)); unlock(); _ = base.Close() }, nil
}

func (q *Request) warnUntrusted(why error) {
	q.Events.Warn("the cache is neither read nor written: " + why.Error() + "; " + fault.HintOf(untrustedCache(why)))
}

// spareWorkspace is one outside of a cache that can only be read: builds may
// come from there, and nothing is kept.
func spareWorkspace(q *Request, store *owned.Dir) (*workspace, error) {
	q.Events.Note("the cache directory " + q.CacheDir + " can only be read: nothing that is fetched or built is kept")
	return scratchWorkspace(q, store.Path())
}

// scratchWorkspace works in temporary directories. cache is where finished builds
// may come from, "" for nowhere.
func scratchWorkspace(q *Request, cache string) (*workspace, error) {
	temp, err := scratch.Temp(q.Env, scratch.Work, false)
	if err != nil {
		return nil, err
	}
	base, dir, release := temp.Base(), temp.Path(), temp.Release
	_ = temp.Close()
	w := &workspace{dir: dir, base: base, release: release, keep: q.KeepBuild, builds: newBuilds(q, cache, dir)}
	// The logs are beside it: a failure is looked into later.
	logs, err := base.Temp("modwsgi-logs-")
	if err != nil {
		w.close()
		return nil, noWorkspace(err)
	}
	w.logs, w.logBase = logs.Path(), base
	_ = logs.Close()
	q.downloads, q.hold = filepath.Join(dir, partDownloads), ""
	return w, nil
}

// logName is the name of a run's log directory; it begins with the time.
var logName = regexp.MustCompile(`^\d{8}T\d{6}Z-`)

// openLogs makes the log directory of this run. Like the work directory it is new,
// private and locked.
func (w *workspace) openLogs(store *owned.Dir) error {
	logs, err := store.MakeSub(partLogs, 0o700)
	if err != nil {
		return fmt.Errorf("make log directory: %w", err)
	}
	w.logBase = logs
	dir, release, err := scratch.Claim(logs, time.Now().UTC().Format("20060102T150405Z-"))
	if err != nil {
		return fmt.Errorf("make log directory: %w", err)
	}
	work := w.release
	w.logs, w.release = dir, func() { work(); release() }
	dropOldLogs(logs)
	return nil
}

func (w *workspace) path(name string) string { return filepath.Join(w.dir, name) }

// kept is the name of the scratch space after a run with --keep-build.
func (w *workspace) kept() string { return filepath.Join(filepath.Dir(w.dir), keptName(w.dir)) }

func keptName(dir string) string {
	name := strings.TrimPrefix(filepath.Base(dir), "run-")
	if rest, temporary := strings.CutPrefix(name, "modwsgi-work-"); temporary {
		return "modwsgi-kept-" + rest
	}
	return "kept-" + name
}

// close removes the scratch space, but for the logs.
func (w *workspace) close() {
	name := filepath.Base(w.dir)
	if w.keep {
		// Under another name, so that the next run does not clear it away.
		_ = w.base.Root().Rename(name, keptName(w.dir))
	} else {
		_ = w.base.RemoveAll(name)
	}
	w.release()
	if w.logBase != nil {
		if w.logs != "" {
			_ = w.logBase.Remove(filepath.Base(w.logs)) // only where it is empty
		}
		if w.logBase != w.base {
			_ = w.logBase.Close()
		}
	}
	_ = w.base.Close()
}

// workName is the name of a run's work directory. Those of --keep-build have another
// one.
var workName = regexp.MustCompile(`^run-`)

// removeUnused removes a directory of this user that nobody holds.
func removeUnused(base *owned.Dir, name string) bool {
	return scratch.Remove(base, name, func() { hook("remove", filepath.Join(base.Path(), name)) })
}

// dropOldLogs removes the logs of the oldest runs; those of runs under way are
// locked and stay.
func dropOldLogs(logs *owned.Dir) {
	entries, err := logs.Entries()
	if err != nil {
		return
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && logName.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	for _, name := range names[:max(0, len(names)-keptLogs)] {
		removeUnused(logs, name)
	}
}
