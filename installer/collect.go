package installer

import (
	"context"
	"fmt"
	"sort"

	"modwsgi/httpdbuild"
	"modwsgi/internal/cachedir"
	"modwsgi/internal/event"
	"modwsgi/internal/fetch"
	"modwsgi/internal/recipe"
)

// Collected is the set of verified archives for a build elsewhere.
type Collected struct {
	Files  []CollectedFile // sorted by component
	Lock   []byte          // content of a lock file for exactly these archives
	Python string          // the Pythons that mod_wsgi supports, as in ">= 3.8"; "" for all

	close func()
}

// Close removes archives that could not be kept in the cache.
func (c *Collected) Close() {
	if c != nil && c.close != nil {
		c.close()
	}
}

// CollectedFile is one archive, in the download cache or a source directory.
type CollectedFile struct {
	Source
	Path string
}

// Version returns the version of a component, or "" if it is not included.
func (c *Collected) Version(component string) string {
	for _, f := range c.Files {
		if f.Component == component {
			return f.Version
		}
	}
	return ""
}

// Collect fetches the archives for building mod_wsgi and a bundled httpd, for any Python
// and any host, and builds nothing. Like any install it prefers the locked versions, but
// it does not write a lock file.
func Collect(ctx context.Context, w Wish, m Means) (_ *Collected, err error) {
	if w, err = w.complete(m.Dir); err != nil {
		return nil, err
	}
	if m, err = m.complete(ctx); err != nil {
		return nil, err
	}
	wanted, err := collected(w, m.Events)
	if err != nil {
		return nil, err
	}
	if m.CacheDir, err = cachedir.Find(m.cache()); err != nil {
		return nil, err
	}
	downloads, hold, release, err := cachedir.OpenDownloads(cachedir.WorkOptions{Path: m.CacheDir, Env: m.Env, Events: m.Events})
	if err != nil {
		return nil, err
	}
	out, taken := &Collected{close: release}, &recipe.Lock{}
	defer func() {
		if err != nil {
			out.Close()
		}
	}()
	f, err := newFetcher(m, downloads, hold)
	if err != nil {
		return nil, err
	}
	g := &gatherer{fetcher: f, offline: m.Offline, lockFile: w.LockFile, events: m.Events, timeline: m.Timeline, got: &sources{files: map[string]*fetch.File{}}}
	if err := g.all(ctx, wanted); err != nil {
		return nil, err
	}
	for name, f := range g.got.files {
		out.Files = append(out.Files, CollectedFile{sourceOf(name, f), f.Path})
		taken.Put(f.Archive, f.Trust, f.Signer)
		if name == "mod_wsgi" {
			out.Python = f.Archive.Requires["python"]
		}
	}
	sort.SliceStable(out.Files, func(i, j int) bool { return out.Files[i].Component < out.Files[j].Component })
	if out.Version("mod_wsgi") == "" {
		return nil, fmt.Errorf("collect sources: mod_wsgi is not among them")
	}
	out.Lock = taken.Encode()
	return out, nil
}

// collected lists the versions to collect, and warns of those that only the lock file
// vouches for.
func collected(w Wish, events event.Sink) (map[string][]Choice, error) {
	lock, err := readLock(w.LockFile, w.Locked)
	if err != nil {
		return nil, err
	}
	wanted := map[string][]Choice{}
	names := map[string]string{"mod_wsgi": w.ModWSGIVersion, "httpd": w.HTTPDVersion, "apr": "", "apr-util": "", "pcre2": "", "expat": ""}
	if w.Libraries == string(httpdbuild.FromSource) {
		for _, name := range httpdbuild.Sources() {
			if f := httpdbuild.FeatureOf(name); f == "" || httpdbuild.Wanted(f, w.With, w.Without) {
				names[name] = ""
			}
		}
	}
	for name, constraint := range names {
		all, err := preferring(w, name, constraint, lock)
		if err != nil {
			return nil, err
		}
		if name == "httpd" {
			all = judge(all, w.With, w.With, w.AllowVulnerable)
		}
		if name != "httpd" && name != "mod_wsgi" {
			all = judgeLibrary(name, all, w.AllowVulnerable)
		}
		if c, ok := preferred(all); ok && c.Trust == string(recipe.FromLock) {
			events.Warn(unvouched(name, c, w.LockFile))
		}
		wanted[name] = all
	}
	return wanted, nil
}
