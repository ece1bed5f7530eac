package cachedir

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/scratch"
)

// keptLogs is how many runs' logs stay in the cache.
const keptLogs = 10

// WorkOptions are what scratch space is made for.
type WorkOptions struct {
	Path   string     // the cache directory, absolute
	Env    []string   // TMPDIR counts where the cache is not used
	Keep   bool       // leave sources and objects behind
	Events event.Sink // may be nil
}

// Workspace is the scratch space of one run: sources, objects and the stage are
// removed with it, logs stay. Its paths are ones that nobody else can exchange
// (internal/owned), so they are given to compilers and configure scripts.
type Workspace struct {
	Dir       string // new, private; removed by Close, except with WorkOptions.Keep
	Logs      string // new, private; stays unless it is empty
	Cache     string // where finished builds come from; "" where the cache directory is not used
	Downloads string // the download cache
	Hold      string // where this run has what it fetches, see fetch.Options; "" for the same
	Cached    bool   // Dir is in the cache directory

	base    *owned.Dir // that Dir is in
	logBase *owned.Dir // that Logs is in
	release func()     // of the locks on Dir and Logs
	keep    bool
}

// OpenWorkspace makes scratch space below the cache directory and removes that of
// earlier runs which were killed: theirs is not locked any more.
func OpenWorkspace(o WorkOptions) (*Workspace, error) {
	store, err := Open(o.Path, true)
	if cannotWrite(err) { // it may be there and readable
		if read, rerr := Open(o.Path, false); rerr == nil || owned.IsUntrusted(rerr) {
			store, err = read, rerr
		}
	}
	if owned.IsUntrusted(err) { // nothing is read from there, and nothing is kept
		warnUntrusted(o.Events, err)
		return scratchWorkspace(o, "")
	}
	if err != nil {
		return nil, noWorkspace(err)
	}
	defer func() { _ = store.Close() }()
	w, err := workIn(o, store)
	if cannotWrite(err) {
		o.Events.Note("the cache directory " + o.Path + " can only be read: nothing that is fetched or built is kept")
		return scratchWorkspace(o, store.Path())
	}
	if err != nil {
		return nil, noWorkspace(err)
	}
	return w, nil
}

// workIn makes a work directory in the cache.
func workIn(o WorkOptions, store *owned.Dir) (*Workspace, error) {
	base, prefix, err := workBase(store)
	if err != nil {
		return nil, err
	}
	hook("work", base.Path())
	dir, release, err := scratch.Claim(base, prefix)
	if err != nil {
		return nil, errors.Join(err, base.Close())
	}
	w := &Workspace{
		Dir: dir, Cache: store.Path(), Cached: filepath.Dir(base.Path()) == store.Path(),
		Downloads: filepath.Join(store.Path(), Downloads), Hold: filepath.Join(dir, "archives"),
		base: base, release: release, keep: o.Keep,
	}
	if err := w.openLogs(store); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// oddCharacters are those that make and configure scripts cannot take in a path.
const oddCharacters = " \t\n'\"\\$`#:;&()<>|*?[]{}!~%"

// workBase is where work directories are made: in the cache, or where the path of
// that has odd characters, in the system's directory for temporary files. What
// earlier runs left there is removed.
func workBase(store *owned.Dir) (base *owned.Dir, prefix string, err error) {
	if strings.ContainsAny(filepath.Join(store.Path(), Work), oddCharacters) {
		// A name that nobody can foresee: in /tmp somebody else could have taken it.
		if base, err = owned.OpenTemp(plainTemp); err == nil {
			scratch.Sweep(base)
		}
		return base, "modwsgi-work-", err
	}
	if base, err = store.MakeSub(Work, 0o700); err == nil {
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

// OpenDownloads returns where archives are kept, and where this run has them: in the
// cache, or where others may write to that in a temporary directory, which release
// removes. release may be nil.
func OpenDownloads(o WorkOptions) (downloads, hold string, release func(), err error) {
	store, err := Open(o.Path, true)
	if owned.IsUntrusted(err) {
		warnUntrusted(o.Events, err)
		dir, err := scratch.Temp(o.Env, scratch.Work, false)
		if err != nil {
			return "", "", nil, err
		}
		return filepath.Join(dir.Path(), Downloads), "", func() { _ = dir.Discard() }, nil
	}
	downloads = filepath.Join(o.Path, Downloads)
	if err != nil {
		return downloads, "", nil, nil // the fetcher reports a cache that it cannot write to
	}
	defer func() { _ = store.Close() }()
	downloads = filepath.Join(store.Path(), Downloads)
	base, prefix, err := workBase(store)
	if err != nil {
		return downloads, "", nil, nil
	}
	dir, unlock, err := scratch.Claim(base, prefix)
	if err != nil { // without locks the cache had better not be cleared meanwhile
		return downloads, "", nil, base.Close()
	}
	return downloads, dir, func() { _ = base.RemoveAll(filepath.Base(dir)); unlock(); _ = base.Close() }, nil
}

func warnUntrusted(events event.Sink, why error) {
	events.Warn("the cache is neither read nor written: " + why.Error() + "; " + fault.HintOf(untrusted(why)))
}

// scratchWorkspace works in temporary directories. cache is where finished builds
// may come from, "" for nowhere.
func scratchWorkspace(o WorkOptions, cache string) (*Workspace, error) {
	temp, err := scratch.Temp(o.Env, scratch.Work, false)
	if err != nil {
		return nil, err
	}
	base, dir, release := temp.Base(), temp.Path(), temp.Release
	_ = temp.Close()
	w := &Workspace{Dir: dir, Cache: cache, Downloads: filepath.Join(dir, Downloads), base: base, release: release, keep: o.Keep}
	// The logs are beside it: a failure is looked into later.
	logs, err := base.Temp("modwsgi-logs-")
	if err != nil {
		w.Close()
		return nil, noWorkspace(err)
	}
	w.Logs, w.logBase = logs.Path(), base
	_ = logs.Close()
	return w, nil
}

// logName is the name of a run's log directory; it begins with the time.
var logName = regexp.MustCompile(`^\d{8}T\d{6}Z-`)

// openLogs makes the log directory of this run. Like the work directory it is new,
// private and locked.
func (w *Workspace) openLogs(store *owned.Dir) error {
	logs, err := store.MakeSub(Logs, 0o700)
	if err != nil {
		return fmt.Errorf("make log directory: %w", err)
	}
	w.logBase = logs
	dir, release, err := scratch.Claim(logs, time.Now().UTC().Format("20060102T150405Z-"))
	if err != nil {
		return fmt.Errorf("make log directory: %w", err)
	}
	work := w.release
	w.Logs, w.release = dir, func() { work(); release() }
	dropOldLogs(logs)
	return nil
}

// Path is a name in the scratch space.
func (w *Workspace) Path(name string) string { return filepath.Join(w.Dir, name) }

// Kept is the name of the scratch space after a run with --keep-build.
func (w *Workspace) Kept() string { return filepath.Join(filepath.Dir(w.Dir), keptName(w.Dir)) }

func keptName(dir string) string {
	name := strings.TrimPrefix(filepath.Base(dir), "run-")
	if rest, temporary := strings.CutPrefix(name, "modwsgi-work-"); temporary {
		return "modwsgi-kept-" + rest
	}
	return "kept-" + name
}

// Close removes the scratch space, but for the logs.
func (w *Workspace) Close() {
	name := filepath.Base(w.Dir)
	if w.keep {
		// Under another name, so that the next run does not clear it away.
		_ = w.base.Root().Rename(name, keptName(w.Dir))
	} else {
		_ = w.base.RemoveAll(name)
	}
	w.release()
	if w.logBase != nil {
		if w.Logs != "" {
			_ = w.logBase.Remove(filepath.Base(w.Logs)) // only where it is empty
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
