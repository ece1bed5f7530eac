package cachedir

import (
	"errors"
	"fmt"
	"io/fs"
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

// WorkOptions are the options for scratch space.
type WorkOptions struct {
	Path   string     // the cache directory, absolute
	Env    []string   // TMPDIR is used if the cache is not
	Keep   bool       // keep sources and objects
	Events event.Sink // may be nil
}

// Workspace is the scratch space of one run. Sources, objects and the stage are removed
// with it; logs stay. Nobody else can exchange its paths (internal/owned), so they can be
// passed to compilers and configure scripts.
type Workspace struct {
	Dir       string // new, private; removed by Close, except with WorkOptions.Keep
	Logs      string // new, private; kept unless it is empty
	Cache     string // where finished builds are found; "" if the cache directory is not used
	Downloads string // the download cache
	Hold      string // where this run keeps what it fetches, see fetch.Options; "" for Downloads
	Cached    bool   // Dir is in the cache directory

	base    *owned.Dir // parent of Dir
	logBase *owned.Dir // parent of Logs
	release func()     // releases the locks on Dir and Logs
	keep    bool
}

// OpenWorkspace creates scratch space below the cache directory and removes that of
// earlier runs which were killed: theirs is no longer locked.
func OpenWorkspace(o WorkOptions) (*Workspace, error) {
	store, err := Open(o.Path, true)
	if cannotWrite(err) { // it may exist and be readable
		if read, rerr := Open(o.Path, false); rerr == nil || owned.IsUntrusted(rerr) {
			store, err = read, rerr
		}
	}
	if owned.IsUntrusted(err) { // nothing is read from it or kept in it
		warnUntrusted(o.Events, err)
		return scratchWorkspace(o, "")
	}
	if err != nil {
		return nil, noWorkspace(err)
	}
	defer func() { _ = store.Close() }()
	w, err := workIn(o, store)
	if cannotWrite(err) {
		o.Events.Note("the cache directory " + o.Path + " is read-only: nothing that is fetched or built is kept")
		return scratchWorkspace(o, store.Path())
	}
	if err != nil {
		return nil, noWorkspace(err)
	}
	return w, nil
}

// workIn creates a work directory in the cache.
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

// oddCharacters are characters that make and configure scripts do not support in a path.
const oddCharacters = " \t\n'\"\\$`#:;&()<>|*?[]{}!~%"

// workBase returns where work directories are created: in the cache or, if its path has
// odd characters, in the system's directory for temporary files. It removes what earlier
// runs left there.
func workBase(store *owned.Dir) (base *owned.Dir, prefix string, err error) {
	if strings.ContainsAny(filepath.Join(store.Path(), Work), oddCharacters) {
		// An unpredictable name: in /tmp another user could have taken it.
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

// Workplace returns an existing directory on the file system that builds work on: the
// cache directory or, before that is made, the one that it will be made in. It is "" if
// they work among the temporary files, because the cache cannot be written to or its path
// has odd characters.
func Workplace(o Options) string {
	o.Events = nil // reported where the cache is used
	path, err := Find(o)
	if err != nil || strings.ContainsAny(filepath.Join(path, Work), oddCharacters) {
		return ""
	}
	for dir := path; ; dir = filepath.Dir(dir) {
		err := owned.Check(dir)
		switch {
		case err == nil && writable(dir):
			return dir
		case !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir):
			return ""
		}
	}
}

// noWorkspace is the error for a directory that cannot be used for work.
func noWorkspace(err error) error {
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	return fault.New(fault.Environment, "make that directory writable, or name another one with --cache-dir", "make work directory: %w", err)
}

// OpenDownloads returns where archives are kept, and where this run holds them: in the
// cache, or if others may write to that, in a temporary directory, which release removes.
// release may be nil.
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
	if err != nil { // without locks the cache should not be cleared meanwhile
		return downloads, "", nil, base.Close()
	}
	return downloads, dir, func() { _ = base.RemoveAll(filepath.Base(dir)); unlock(); _ = base.Close() }, nil
}

func warnUntrusted(events event.Sink, why error) {
	events.Warn("the cache is neither read nor written: " + why.Error() + "; " + fault.HintOf(untrusted(why)))
}

// scratchWorkspace works in temporary directories. cache is where finished builds may be
// found, or "".
func scratchWorkspace(o WorkOptions, cache string) (*Workspace, error) {
	temp, err := scratch.Temp(o.Env, scratch.Work, false)
	if err != nil {
		return nil, err
	}
	base, dir, release := temp.Base(), temp.Path(), temp.Release
	_ = temp.Close()
	w := &Workspace{Dir: dir, Cache: cache, Downloads: filepath.Join(dir, Downloads), base: base, release: release, keep: o.Keep}
	// The logs are beside it: a failure is investigated later.
	logs, err := base.Temp("modwsgi-logs-")
	if err != nil {
		w.Close()
		return nil, noWorkspace(err)
	}
	w.Logs, w.logBase = logs.Path(), base
	_ = logs.Close()
	return w, nil
}

// logName matches the name of a run's log directory; it begins with the time.
var logName = regexp.MustCompile(`^\d{8}T\d{6}Z-`)

// openLogs creates the log directory of this run. Like the work directory it is new,
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

// Path returns the path of a name in the scratch space.
func (w *Workspace) Path(name string) string { return filepath.Join(w.Dir, name) }

// Kept returns the path of the scratch space after a run with --keep-build.
func (w *Workspace) Kept() string { return filepath.Join(filepath.Dir(w.Dir), keptName(w.Dir)) }

func keptName(dir string) string {
	name := strings.TrimPrefix(filepath.Base(dir), "run-")
	if rest, temporary := strings.CutPrefix(name, "modwsgi-work-"); temporary {
		return "modwsgi-kept-" + rest
	}
	return "kept-" + name
}

// Close removes the scratch space, except the logs.
func (w *Workspace) Close() {
	name := filepath.Base(w.Dir)
	if w.keep {
		// It gets another name, so that the next run does not remove it.
		_ = w.base.Root().Rename(name, keptName(w.Dir))
	} else {
		_ = w.base.RemoveAll(name)
	}
	w.release()
	if w.logBase != nil {
		if w.Logs != "" {
			_ = w.logBase.Remove(filepath.Base(w.Logs)) // removed only if empty
		}
		if w.logBase != w.base {
			_ = w.logBase.Close()
		}
	}
	_ = w.base.Close()
}

// workName matches the name of a run's work directory. Those of --keep-build have another
// one.
var workName = regexp.MustCompile(`^run-`)

// removeUnused removes a directory of this user that nobody holds.
func removeUnused(base *owned.Dir, name string) bool {
	return scratch.Remove(base, name, func() { hook("remove", filepath.Join(base.Path(), name)) })
}

// dropOldLogs removes the logs of the oldest runs. Those of running ones are locked and
// stay.
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
