package installer

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"modwsgi/internal/cachedir"
	"modwsgi/internal/fetch"
	"modwsgi/internal/recipe"
)

// Collected are the verified archives of a build that is to happen elsewhere.
type Collected struct {
	Files  []CollectedFile // sorted by component
	Lock   []byte          // content of a lock file that names exactly these
	Python string          // which Pythons mod_wsgi admits, as in ">= 3.8"; "" for all

	close func()
}

// Close removes archives that could not be kept in the cache.
func (c *Collected) Close() {
	if c != nil && c.close != nil {
		c.close()
	}
}

// CollectedFile is one of them, in the download cache or a source directory.
type CollectedFile struct {
	Source
	Path string
}

// Version returns the version of a component, "" where it is not there.
func (c *Collected) Version(component string) string {
	for _, f := range c.Files {
		if f.Component == component {
			return f.Version
		}
	}
	return ""
}

// Collect fetches what a build of mod_wsgi and a bundled httpd takes, for any
// Python and any host, and builds nothing. Like any install it prefers what the
// lock file says; it does not write one.
func Collect(ctx context.Context, q Request) (_ *Collected, err error) {
	if err := q.normalise(); err != nil {
		return nil, err
	}
	lock, err := readLock(q)
	if err != nil {
		return nil, err
	}
	if err := q.findCache(); err != nil {
		return nil, err
	}
	var release func()
	q.downloads, q.hold, release, err = cachedir.OpenDownloads(cachedir.WorkOptions{Path: q.CacheDir, Env: q.Env, Events: q.Events})
	if err != nil {
		return nil, err
	}
	out, taken := &Collected{close: release}, &recipe.Lock{}
	defer func() {
		if err != nil {
			out.Close()
		}
	}()
	p := &Plan{request: q, lock: lock}
	f, _, err := p.fetcher()
	if err != nil {
		return nil, err
	}
	g := &gatherer{plan: p, fetcher: f, got: &sources{files: map[string]*fetch.File{}}, lock: lock}
	group, gctx := errgroup.WithContext(ctx)
	for name, constraint := range map[string]string{
		"mod_wsgi": q.ModWSGIVersion, "httpd": q.HTTPDVersion, "apr": "", "apr-util": "", "pcre2": "", "expat": "",
	} {
		all, err := p.choices(name, constraint, lock)
		if err != nil {
			return nil, err
		}
		if name == "httpd" {
			all = judge(all, q.With, q)
		}
		if c, ok := preferred(all); ok && c.Trust == string(recipe.FromLock) {
			q.Events.Warn(unvouched(name, c, q.LockFile))
		}
		group.Go(func() error { return g.first(gctx, name, all) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for name, f := range g.got.files {
		out.Files = append(out.Files, CollectedFile{sourceOf(name, f), f.Path})
		taken.Put(f.Archive, f.Trust, f.Signer)
		if name == "mod_wsgi" {
			out.Python = f.Archive.Requires["python"]
		}
	}
	slices.SortFunc(out.Files, func(a, b CollectedFile) int { return strings.Compare(a.Component, b.Component) })
	if out.Version("mod_wsgi") == "" {
		return nil, fmt.Errorf("collect sources: there is no mod_wsgi among them")
	}
	out.Lock = taken.Encode()
	return out, nil
}
