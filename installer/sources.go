package installer

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"modwsgi/internal/fault"
	"modwsgi/internal/fetch"
	"modwsgi/internal/recipe"
	"modwsgi/internal/timeline"
)

// sources is every archive that a plan needs, verified and on this machine.
type sources struct {
	files    map[string]*fetch.File // by component
	features []string               // of the httpd that was obtainable
	instead  []Substitute           // versions taken although a newer one is known
	unseen   bool                   // what has no path was not fetched: the cache has what is made of it
}

// httpdParts are the components of a bundled httpd besides itself.
var httpdParts = []string{"apr", "apr-util", "pcre2"}

// httpdParts are the components that a bundled httpd needs on this host.
func (p *Plan) httpdParts() []string {
	if p.host.Expat {
		return httpdParts
	}
	return append([]string{"expat"}, httpdParts...)
}

// fetcher makes the fetcher of a run, and reads the lock file.
func (p *Plan) fetcher() (*fetch.Fetcher, *recipe.Lock, error) {
	q := p.request
	if q.downloads == "" {
		q.downloads = filepath.Join(q.CacheDir, "downloads")
	}
	f, err := fetch.New(fetch.Options{
		Runner: q.Runner, Env: q.Env, CacheDir: q.downloads, SourceDirs: q.SourceDirs,
		Mirrors: q.Mirrors, Offline: q.Offline, Hold: q.hold, Events: q.Events, LockTimeout: q.lockLimit(),
	})
	if err != nil {
		return nil, nil, err
	}
	lock, err := p.lockFile()
	return f, lock, err
}

// fetchAll gets all archives at the same time and records them in the lock file.
func (p *Plan) fetchAll(ctx context.Context) (*sources, error) {
	f, lock, err := p.fetcher()
	if err != nil {
		return nil, err
	}
	g := &gatherer{plan: p, fetcher: f, got: &sources{files: map[string]*fetch.File{}}, lock: lock}
	group, ctx := errgroup.WithContext(ctx)
	if p.Module.Action == "build" {
		group.Go(func() error { return g.first(ctx, "mod_wsgi", p.Module.Versions) })
	}
	if p.HTTPD.Action == BuildHTTPD {
		group.Go(func() error { return g.first(ctx, "httpd", p.HTTPD.Versions) })
		for _, name := range p.httpdParts() {
			all, err := p.choices(name, "", lock)
			if err != nil {
				return nil, err
			}
			group.Go(func() error { return g.first(ctx, name, all) })
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	hook("fetched", "")
	return g.got, p.writeLock(lock, g.got)
}

// hook is called when all archives were verified and nothing is unpacked yet ("fetched").
// Tests exchange files there.
var hook = func(moment, path string) {}

type gatherer struct {
	plan    *Plan
	fetcher *fetch.Fetcher
	lock    *recipe.Lock // as it was read
	mu      sync.Mutex
	got     *sources
}

// first gets the first version that is to be had, and says so when that is not
// the one that was wanted most. With --locked there is only one.
func (g *gatherer) first(ctx context.Context, component string, all []Choice) error {
	var missing []*fetch.NotObtainable
	for _, c := range all {
		if c.Refused != "" {
			g.plan.request.Events.Note(fmt.Sprintf("%s %s is left out: %s", component, c.Version, c.Refused))
			continue
		}
		file, err := g.one(ctx, component, c)
		if err != nil && ctx.Err() != nil { // another archive failed: its error is not about this one
			return context.Cause(ctx)
		}
		if n, ok := notObtainable(err); ok {
			missing = append(missing, n)
			continue
		}
		if err != nil {
			return fault.Wrap(classOr(err, fault.Source), fault.HintOf(err), err)
		}
		if len(missing) > 0 {
			g.instead(component, missing[0].Archive.Version, c.Version, missing[0].Summary())
			g.plan.request.Events.Warn(fmt.Sprintf("%s %s is used instead of %s: %s", component, c.Version, missing[0].Archive.Version, missing[0].Summary()))
		}
		g.took(component, c, missing)
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

// sayRefused tells of the versions before the chosen one.
func (g *gatherer) sayRefused(component string, all []Choice, chosen Choice) {
	for _, c := range all {
		if c.Version == chosen.Version {
			return
		}
		g.plan.request.Events.Note(fmt.Sprintf("%s %s is left out: %s", component, c.Version, c.Refused))
	}
}

// took tells what is to be known of the version that is taken.
func (g *gatherer) took(component string, c Choice, missing []*fetch.NotObtainable) {
	g.sayOlder(component, c, missing)
	for _, a := range c.Advisories {
		g.plan.request.Events.Warn(component + " " + c.Version + ": " + a)
	}
}

// instead records for the report that a version stands in for another one.
func (g *gatherer) instead(component, wanted, used, why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.got.instead = append(g.got.instead, Substitute{Component: component, Wanted: wanted, Used: used, Why: why})
}

// sayOlder tells of a version that is older than the newest one known only
// because the lock file says so.
func (g *gatherer) sayOlder(component string, taken Choice, missing []*fetch.NotObtainable) {
	known := recipe.Catalogue().Of(component)
	if len(missing) > 0 || len(known) == 0 || known[0].Version == taken.Version {
		return
	}
	if e, ok := g.lock.Find(component); ok && e.Version == taken.Version {
		g.instead(component, known[0].Version, taken.Version, "it is locked in "+g.plan.request.LockFile+"; --upgrade looks for newer ones")
		g.plan.request.Events.Note(fmt.Sprintf("%s %s is taken as locked in %s; the newest known is %s (--upgrade)",
			component, taken.Version, filepath.Base(g.plan.request.LockFile), known[0].Version))
	}
}

func (g *gatherer) none(component string, all []Choice, missing []*fetch.NotObtainable) error {
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
		hint += "; or take the risk of a refused version with --allow-vulnerable"
	}
	return fault.New(fault.Source, hint, "no version of %s can be had:\n  %s", component, strings.Join(lines, "\n  "))
}

func (g *gatherer) one(ctx context.Context, component string, c Choice) (*fetch.File, error) {
	a := c.archive
	if c.Unpinned {
		if g.plan.request.Offline {
			return nil, fault.New(fault.Source, "leave out --offline, or take a version of the catalogue",
				"the hash of %s %s is not in the catalogue and cannot be asked of upstream offline", component, c.Version)
		}
		var err error
		if a, _, err = g.fetcher.Resolve(ctx, component, c.Version); err != nil {
			return nil, fmt.Errorf("look for %s %s at upstream: %w", component, c.Version, err)
		}
	}
	end := g.plan.request.Timeline.Begin(timeline.Fetch, "fetch", "fetch "+a.String())
	f, err := g.fetcher.Fetch(ctx, a)
	end(func(s *timeline.Span) { s.Failed, s.Cached = err != nil, err == nil && f.Provider == fetch.Cache })
	return f, err
}

// classOr returns the class of an error, or class where nobody classified it.
func classOr(err error, class fault.Class) fault.Class {
	if c := fault.ClassOf(err); c != fault.Internal {
		return c
	}
	return class
}

// writeLock records what was taken. A directory that cannot be written to is no
// failure: the lock file is for those who keep it.
func (p *Plan) writeLock(lock *recipe.Lock, got *sources) error {
	if p.request.Locked {
		return nil
	}
	for _, f := range got.files {
		lock.Put(f.Archive, f.Trust, f.Signer)
	}
	changed, err := lock.Write(p.request.LockFile)
	switch {
	case err != nil: // not writable, a read-only file system, no room
		p.request.Events.Warn("the lock file is not written: " + err.Error())
	case changed:
		p.request.Events.Note("versions and hashes are in " + p.request.LockFile)
	}
	return nil
}
