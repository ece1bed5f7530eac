package produce

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"modwsgi/installer"
	"modwsgi/internal/cachedir"
	"modwsgi/internal/fault"
	"modwsgi/internal/fetch"
	"modwsgi/internal/recipe"
	"modwsgi/modulebuild/windows"
)

// WindowsBuild describes which modules for Windows to build, and from what. Paths are
// absolute.
type WindowsBuild struct {
	Pythons        []string          // minor versions: "3.11"
	SDKs           map[string]string // as Targets.SDKs; the others come from the pinned sources
	ModWSGI, HTTPD string            // versions or constraints
	HTTPDSDK       string            // Apache Lounge's zip or an Apache24 directory; "" for the pinned sources
	Base           installer.Request // sources of archives, cache directory and number of compilers
	LockLimit      time.Duration     // how long to wait for another run
}

// Complete sorts the Pythons, fills in defaults and refuses what cannot be built.
func (b *WindowsBuild) Complete() error {
	slices.SortFunc(b.Pythons, func(x, y string) int { // "3.9" before "3.10"
		if len(x) != len(y) {
			return len(x) - len(y)
		}
		return strings.Compare(x, y)
	})
	b.Pythons = slices.Compact(b.Pythons)
	if b.Base.Jobs < 0 {
		return fault.New(fault.Usage, "pass a positive number of compilers, or leave the flag out", "invalid --jobs %d", b.Base.Jobs)
	}
	if b.Base.Jobs == 0 {
		b.Base.Jobs = runtime.NumCPU()
	}
	b.Base.SourceDirs = slices.Clone(b.Base.SourceDirs)
	for k, dir := range b.Base.SourceDirs {
		if !filepath.IsAbs(dir) {
			b.Base.SourceDirs[k] = filepath.Join(b.Base.Dir, dir)
		}
	}
	return nil
}

// orNone converts a limit of zero, which means not to wait, for an API where zero
// means the default.
func orNone(limit time.Duration) time.Duration {
	if limit == 0 {
		return -1
	}
	return limit
}

// openWorkspace makes a directory for a run in the cache, and what fetches into it. limit
// is how long to wait for another run. The caller closes the workspace.
func openWorkspace(q *installer.Request, keep bool, limit time.Duration) (*cachedir.Workspace, *fetch.Fetcher, error) {
	cache, err := cachedir.Find(cachedir.Options{Path: q.CacheDir, Dir: q.Dir, Env: q.Env, Events: q.Events})
	if err != nil {
		return nil, nil, err
	}
	space, err := cachedir.OpenWorkspace(cachedir.WorkOptions{Path: cache, Env: q.Env, Keep: keep, Events: q.Events})
	if err != nil {
		return nil, nil, err
	}
	f, err := fetch.New(fetch.Options{
		Runner: q.Runner, Env: q.Env, CacheDir: space.Downloads, Hold: space.Hold, SourceDirs: q.SourceDirs,
		Mirrors: q.Mirrors, Offline: q.Offline, Events: q.Events, LockTimeout: orNone(limit),
	})
	if err != nil {
		space.Close()
		return nil, nil, err
	}
	return space, f, nil
}

// BuildModules fetches the sources and builds one module per Python, one at a time, as
// each uses all processors. It writes the modules to the directory into.
func BuildModules(ctx context.Context, b WindowsBuild, into string) ([]*windows.Result, *windows.Sources, error) {
	base := b.Base
	wish, err := base.Complete(base.Dir)
	if err != nil {
		return nil, nil, err
	}
	if _, err := windows.Compiler(ctx, base.Env, base.Runner); err != nil {
		return nil, nil, err
	}
	space, f, err := openWorkspace(&base, base.KeepBuild, b.LockLimit)
	if err != nil {
		return nil, nil, err
	}
	defer space.Close()
	var without []string
	sdks := Targets{SDKs: b.SDKs}.sdks(windows.Target, b.Pythons)
	for _, p := range b.Pythons {
		if sdks[p] == "" {
			without = append(without, p)
		}
	}
	lock, err := wish.Lock()
	if err != nil {
		return nil, nil, err
	}
	sources, err := windows.Fetch(ctx, f, windows.Wanted{
		ModWSGI: b.ModWSGI, HTTPD: b.HTTPD, HTTPDSDK: b.HTTPDSDK != "", Pythons: without, For: b.Pythons, Catalogue: recipe.Catalogue(), Events: base.Events,
		Archives: func(component, constraint string) ([]recipe.Archive, bool, error) {
			return wish.Archives(component, constraint, lock)
		},
	})
	if err != nil {
		return nil, nil, err
	}
	wish.Record(sources.Files(), base.Events)
	store, err := moduleStore(base, space, sources, b.LockLimit)
	if err != nil {
		return nil, nil, err
	}
	var out []*windows.Result
	for _, p := range b.Pythons {
		q := windows.Request{
			Python: p, HTTPDSDK: b.HTTPDSDK, PythonSDK: sdks[p], Jobs: base.Jobs, Work: filepath.Join(space.Dir, p), Out: into,
			Logs: filepath.Join(space.Logs, p), Env: base.Env, Runner: base.Runner, Events: base.Events, Store: store,
		}
		sources.Fill(&q)
		made, err := windows.Build(ctx, q)
		if err != nil {
			for _, r := range out {
				_ = os.Remove(r.File)
			}
			return nil, nil, err
		}
		out = append(out, made)
	}
	return out, sources, nil
}
