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

// WindowsBuild says which modules for Windows are built, and from what. Paths are
// absolute.
type WindowsBuild struct {
	Pythons        []string          // minor versions: "3.11"
	SDKs           map[string]string // headers and library of some of them; the others come from the pinned sources
	ModWSGI, HTTPD string            // versions or constraints
	HTTPDSDK       string            // Apache Lounge's zip or an Apache24 directory; "" for the pinned sources
	Base           installer.Request // where archives come from, the cache, how many compilers run
	LockLimit      time.Duration     // how long another run is waited for
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
		return fault.New(fault.Usage, "give a number of compilers, or leave the flag out", "--jobs %d is not a number of compilers", b.Base.Jobs)
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

// orNone is a limit of zero, which does not wait, where zero is the default.
func orNone(limit time.Duration) time.Duration {
	if limit == 0 {
		return -1
	}
	return limit
}

// BuildModules fetches what is needed and builds one module per Python, one after
// the other: each takes all processors. The modules are written to the directory
// into.
func BuildModules(ctx context.Context, b WindowsBuild, into string) ([]*windows.Result, *windows.Sources, error) {
	base := b.Base
	if _, err := windows.Compiler(ctx, base.Env, base.Runner); err != nil {
		return nil, nil, err
	}
	cache, err := cachedir.Find(cachedir.Options{Path: base.CacheDir, Dir: base.Dir, Env: base.Env, Events: base.Events})
	if err != nil {
		return nil, nil, err
	}
	space, err := cachedir.OpenWorkspace(cachedir.WorkOptions{Path: cache, Env: base.Env, Keep: base.KeepBuild, Events: base.Events})
	if err != nil {
		return nil, nil, err
	}
	defer space.Close()
	f, err := fetch.New(fetch.Options{
		Runner: base.Runner, Env: base.Env, CacheDir: space.Downloads, Hold: space.Hold, SourceDirs: base.SourceDirs,
		Mirrors: base.Mirrors, Offline: base.Offline, Events: base.Events, LockTimeout: orNone(b.LockLimit),
	})
	if err != nil {
		return nil, nil, err
	}
	var without []string
	for _, p := range b.Pythons {
		if b.SDKs[p] == "" {
			without = append(without, p)
		}
	}
	sources, err := windows.Fetch(ctx, f, windows.Wanted{
		ModWSGI: b.ModWSGI, HTTPD: b.HTTPD, HTTPDSDK: b.HTTPDSDK != "", Pythons: without, Catalogue: recipe.Catalogue(), Events: base.Events,
	})
	if err != nil {
		return nil, nil, err
	}
	var out []*windows.Result
	for _, p := range b.Pythons {
		q := windows.Request{
			Python: p, HTTPDSDK: b.HTTPDSDK, PythonSDK: b.SDKs[p], Jobs: base.Jobs, Work: filepath.Join(space.Dir, p), Out: into,
			Logs: filepath.Join(space.Logs, p), Env: base.Env, Runner: base.Runner, Events: base.Events,
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
