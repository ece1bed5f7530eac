package installer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"modwsgi/httpdbuild"
	"modwsgi/internal/buildcache"
	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/fetch"
	"modwsgi/internal/recipe"
	"modwsgi/internal/timeline"
)

// sources is every archive that a plan needs, verified and on this machine.
type sources struct {
	files    map[string]*fetch.File // by component
	features []string               // of the available httpd
	instead  []Substitute           // versions used although a newer one is known
	unseen   bool                   // archives without a path were not fetched: the cache has what is built from them
}

// newFetcher returns the fetcher of a run, which keeps archives in downloads.
func newFetcher(m Means, downloads, hold string) (*fetch.Fetcher, error) {
	return fetch.New(fetch.Options{
		Runner: m.Runner, Env: m.Env, CacheDir: downloads, SourceDirs: m.SourceDirs,
		Mirrors: m.Mirrors, Offline: m.Offline, Hold: hold, Events: m.Events, LockTimeout: m.lockLimit(),
	})
}

// all gets one version of each component concurrently.
func (g *gatherer) all(ctx context.Context, wanted map[string][]Choice) error {
	group, ctx := errgroup.WithContext(ctx)
	for name, versions := range wanted {
		group.Go(func() error { return g.first(ctx, name, versions) })
	}
	return group.Wait()
}

// hook is called when all archives are verified and nothing is unpacked yet ("fetched").
// Tests exchange files there.
var hook = func(moment, path string) {}

// gatherer gets archives, and reports those that are not the preferred ones.
type gatherer struct {
	fetcher  *fetch.Fetcher
	offline  bool
	lockFile string
	python   string // the version that mod_wsgi must support
	events   event.Sink
	timeline *timeline.Recorder

	mu  sync.Mutex
	got *sources
}

// first gets the first available version, and reports it if that is not the preferred
// one. With --locked there is only one choice.
func (g *gatherer) first(ctx context.Context, component string, all []Choice) error {
	var missing []*fetch.Unavailable
	for _, c := range all {
		if c.Refused != "" {
			g.events.Note(fmt.Sprintf("%s %s is skipped: %s", component, c.Version, c.Refused))
			continue
		}
		file, err := g.one(ctx, component, c)
		if err != nil && ctx.Err() != nil { // another archive failed, not this one
			return context.Cause(ctx)
		}
		if n, ok := unavailable(err); ok {
			missing = append(missing, n)
			continue
		}
		if err != nil {
			return fault.Wrap(classOr(err, fault.Source), fault.HintOf(err), err)
		}
		if len(missing) > 0 && missing[0].Archive.Version != c.Version { // otherwise it is another archive of the same version
			g.instead(component, missing[0].Archive.Version, c.Version, missing[0].Summary())
			g.events.Warn(fmt.Sprintf("%s %s is used instead of %s: %s", component, c.Version, missing[0].Archive.Version, missing[0].Summary()))
		}
		g.reportUsed(component, c, missing)
		g.mu.Lock()
		defer g.mu.Unlock()
		g.got.files[component] = file
		if component == "httpd" {
			g.got.features = c.Features
		}
		return nil
	}
	return g.none(component, all, missing)
}

// reportUnfetched reports for a version that was not fetched what first reports for a fetched one.
func (g *gatherer) reportUnfetched(component string, all []Choice) {
	if c, ok := preferred(all); ok {
		g.reportRefused(component, all, c)
		g.reportUsed(component, c, nil)
	}
}

// reportRefused reports the versions before the chosen one.
func (g *gatherer) reportRefused(component string, all []Choice, chosen Choice) {
	for _, c := range all {
		if c.Version == chosen.Version {
			return
		}
		g.events.Note(fmt.Sprintf("%s %s is skipped: %s", component, c.Version, c.Refused))
	}
}

// reportSkipped reports the versions of mod_wsgi that do not support the Python.
func (g *gatherer) reportSkipped(m ModulePlan) {
	for _, c := range m.Refused {
		if g.got.files["mod_wsgi"] != nil {
			g.instead("mod_wsgi", c.Version, g.got.files["mod_wsgi"].Archive.Version, c.Refused)
		}
	}
}

// reportUsed reports what a user should know about the version used.
func (g *gatherer) reportUsed(component string, c Choice, missing []*fetch.Unavailable) {
	g.reportOlder(component, c, missing)
	for _, a := range c.Advisories {
		g.events.Warn(component + " " + c.Version + ": " + a)
	}
}

// instead records for the report that a version replaces another one.
func (g *gatherer) instead(component, wanted, used, why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.got.instead = append(g.got.instead, Substitute{Component: component, Wanted: wanted, Used: used, Why: why})
}

// reportOlder reports a version that is older than the newest known one only because it is
// locked.
func (g *gatherer) reportOlder(component string, taken Choice, missing []*fetch.Unavailable) {
	known := slices.DeleteFunc(slices.Clone(recipe.Catalogue().Of(component)), func(a recipe.Archive) bool {
		ok, err := a.Admits("python", g.python)
		return component == "mod_wsgi" && g.python != "" && err == nil && !ok
	})
	if len(missing) > 0 || len(known) == 0 || known[0].Version == taken.Version {
		return
	}
	if taken.Locked {
		g.instead(component, known[0].Version, taken.Version, "it is locked in "+g.lockFile+"; --upgrade looks for newer ones")
		g.events.Note(fmt.Sprintf("%s %s is used as locked in %s; the newest known is %s (--upgrade)",
			component, taken.Version, filepath.Base(g.lockFile), known[0].Version))
	}
}

func (g *gatherer) none(component string, all []Choice, missing []*fetch.Unavailable) error {
	var refused []string
	for _, c := range all {
		if c.Refused != "" {
			refused = append(refused, c.Version+" ("+c.Refused+")")
		}
	}
	if len(missing) == 0 {
		return refusal(all)
	}
	if len(missing) == 1 && len(refused) == 0 {
		return fault.Wrap(fault.Source, missing[0].Hint(), missing[0])
	}
	var lines []string
	for _, n := range missing {
		lines = append(lines, n.Summary())
	}
	hint := missing[0].Hint()
	if len(refused) > 0 {
		lines = append(lines, "refused for a known vulnerability: "+strings.Join(refused, ", "))
		hint += "; or accept the risk of a refused version with --allow-vulnerable"
	}
	return fault.New(fault.Source, hint, "no version of %s is available:\n  %s", component, strings.Join(lines, "\n  "))
}

func (g *gatherer) one(ctx context.Context, component string, c Choice) (*fetch.File, error) {
	a := c.Archive
	if c.Unpinned {
		if g.offline {
			return nil, fault.New(fault.Source, "omit --offline, or use a version in the catalogue",
				"the hash of %s %s is not in the catalogue and cannot be looked up offline", component, c.Version)
		}
		var err error
		if a, _, err = g.fetcher.Resolve(ctx, component, c.Version); err != nil {
			return nil, fmt.Errorf("look up %s %s upstream: %w", component, c.Version, err)
		}
	}
	end := g.timeline.Begin(timeline.Fetch, "fetch", "fetch "+a.String())
	f, err := g.fetcher.Fetch(ctx, a)
	end(func(s *timeline.Span) { s.Failed, s.Cached = err != nil, err == nil && f.Provider == fetch.Cache })
	return f, err
}

// classOr returns the class of an error, or class if it has none.
func classOr(err error, class fault.Class) fault.Class {
	if c := fault.ClassOf(err); c != fault.Internal {
		return c
	}
	return class
}

// unavailable finds the fetcher's verdict in an error.
func unavailable(err error) (*fetch.Unavailable, bool) {
	var n *fetch.Unavailable
	return n, errors.As(err, &n)
}

// complete fills in the recorded data of archives that were not fetched.
func (s *sources) complete(parts []buildcache.Part, from string) {
	for _, p := range parts {
		if f := s.files[p.Name]; f != nil && f.Archive.SHA256 == p.SHA256 {
			if f.From = from; p.Signer != "" {
				f.Signer = p.Signer
			}
			if t := recipe.Trust(p.Trust); t.Stronger(f.Trust) {
				f.Trust = t
			}
		}
	}
}

// hashes returns the SHA-256 of the archives of components.
func (s *sources) hashes(components []httpdbuild.Component) map[string]string {
	all := map[string]string{}
	for _, c := range components {
		all[c.Name] = s.files[c.Name].Archive.SHA256
	}
	return all
}

// versions returns the versions of the archives.
func (s *sources) versions() map[string]string {
	all := map[string]string{}
	for name, f := range s.files {
		all[name] = f.Archive.Version
	}
	return all
}

// unseen returns the preferred archives without fetching them. ok is false if the hash of
// one is not known yet.
func unseen(wanted map[string][]Choice) (_ *sources, ok bool) {
	s := &sources{files: map[string]*fetch.File{}, unseen: true}
	for name, all := range wanted {
		c, ok := preferred(all)
		if !ok {
			return nil, false
		}
		f := &fetch.File{Archive: c.Archive, Provider: Recalled, Trust: c.Archive.Trust, Signer: c.Signer}
		if f.Trust == "" {
			f.Trust = recipe.Pinned
		}
		if s.files[name] = f; name == "httpd" {
			s.features = c.Features
		}
	}
	return s, true
}

// Recalled is the provider of an archive that was not needed, because its product was in
// the build cache.
const Recalled = "build-cache"

// Lock reads the lock file of a completed wish. Without one it is empty, unless --locked
// needs it.
func (w Wish) Lock() (*recipe.Lock, error) { return readLock(w.LockFile, w.Locked) }

// Archives lists the archives of a component that a build with this lock may use, the
// preferred one first: that is the locked one, and with --locked the only one. locked
// reports whether the first one is.
func (w Wish) Archives(component, constraint string, lock *recipe.Lock) (all []recipe.Archive, locked bool, err error) {
	choices, err := preferring(w, component, constraint, lock)
	for _, c := range choices {
		if !c.Unpinned { // would be looked up upstream
			all = append(all, c.Archive)
		}
	}
	return all, len(choices) > 0 && choices[0].Locked, err
}

// Record writes the versions used into the lock file, except with --locked.
func (w Wish) Record(files map[string]*fetch.File, events event.Sink) {
	if !w.Locked {
		writeLock(w.LockFile, &sources{files: files}, events)
	}
}

// writeLock records the versions used in the lock file. A directory that is not writable
// is not a failure: the lock file is optional.
func writeLock(file string, got *sources, events event.Sink) {
	lock, err := readLock(file, false)
	if err == nil {
		for _, f := range got.files {
			lock.Put(f.Archive, f.Trust, f.Signer)
		}
		var changed bool
		if changed, err = lock.Write(file); changed {
			events.Note("versions and hashes are in " + file)
		}
	}
	if err != nil { // not writable, a read-only file system, no room
		events.Warn("the lock file was not written: " + err.Error())
	}
}

func readLock(file string, locked bool) (*recipe.Lock, error) {
	lock, err := recipe.ReadLock(file)
	if errors.Is(err, os.ErrNotExist) {
		if locked {
			return nil, fault.New(fault.Usage, "run once without --locked to write it", "--locked needs the lock file %s, which does not exist", file)
		}
		return &recipe.Lock{}, nil
	}
	return lock, err
}
