package installer

import (
	"context"
	"errors"
	"path/filepath"

	"modwsgi/httpdbuild"
	"modwsgi/internal/fetch"
	"modwsgi/internal/recipe"
)

// What was built before needs no sources: their hashes are enough to find it.

// Recalled is the provider of an archive that was not needed, because what is
// made of it was taken from the build cache.
const Recalled = "build-cache"

// errNeedsSources means that what the cache was thought to have must be built.
var errNeedsSources = errors.New("the build cache does not have it any more")

// recall returns the archives that are wanted most, unseen, where the httpd that
// is made of them stands in a cache; else nil. Where the user names places of
// sources, these decide what is had.
func (p *Plan) recall(ctx context.Context, w *workspace) (*sources, error) {
	q := p.request
	if len(q.SourceDirs) > 0 || len(q.Mirrors) > 0 {
		return nil, nil
	}
	lock, err := p.lockFile()
	if err != nil {
		return nil, err
	}
	wanted := map[string][]Choice{}
	if p.Module.Action == "build" {
		wanted["mod_wsgi"] = p.Module.Versions
	}
	if p.HTTPD.Action == BuildHTTPD {
		wanted["httpd"] = p.HTTPD.Versions
		for _, name := range p.httpdParts() {
			if wanted[name], err = p.choices(name, "", lock); err != nil {
				return nil, err
			}
		}
	}
	src := &sources{files: map[string]*fetch.File{}, unseen: true}
	chosen := map[string]Choice{}
	for name, all := range wanted {
		c, ok := preferred(all)
		if !ok {
			return nil, nil
		}
		chosen[name] = c
		src.files[name] = &fetch.File{Archive: c.archive, Provider: Recalled, Trust: c.archive.Trust}
		if src.files[name].Trust == "" {
			src.files[name].Trust = recipe.Pinned
		}
		if e, ok := lock.Find(name); ok && e.SHA256 == c.archive.SHA256 {
			src.files[name].Signer = e.SignedBy
		}
		if name == "httpd" {
			src.features = c.Features
		}
	}
	if p.HTTPD.Action == BuildHTTPD {
		b := p.httpdRequest(w, src)
		w.wantHTTPD(&b, src)
		if ok, err := w.builds.Has(ctx, b.Key()); !ok || err != nil {
			return nil, err
		}
		src.complete(w.builds.Parts(b.Key()))
	}
	for name := range chosen {
		if name != "mod_wsgi" { // that one may still be another
			p.tell(src, name, wanted[name])
		}
	}
	return src, nil
}

// tell says of a version that was taken unseen what is said of a fetched one.
func (p *Plan) tell(src *sources, name string, all []Choice) {
	if c, ok := preferred(all); ok {
		g := &gatherer{plan: p, got: src, lock: p.lock}
		g.sayRefused(name, all, c)
		g.took(name, c, nil)
	}
}

// preferred is the first choice that is not refused; none where its hash is not
// known yet.
func preferred(all []Choice) (Choice, bool) {
	for _, c := range all {
		if c.Refused == "" {
			return c, !c.Unpinned && c.archive.SHA256 != ""
		}
	}
	return Choice{}, false
}

// httpdRequest is the build of the httpd out of its archives.
func (p *Plan) httpdRequest(w *workspace, src *sources) httpdbuild.Request {
	q := p.request
	b := httpdbuild.Request{
		Features: src.features, Host: p.host, Jobs: q.Jobs,
		Timeline: q.Timeline,
		Work:     w.Path("httpd"), Stage: filepath.Join(w.Dir, "stage", "httpd"), Logs: w.Logs, Runner: q.Runner, Events: q.Events,
	}
	if d, err := httpdbuild.ParseDriver(q.BuildDriver); err == nil { // checked before
		b.Driver = d
	}
	for _, name := range sortedKeys(src.files) {
		if f := src.files[name]; name != "mod_wsgi" {
			b.Components = append(b.Components, httpdbuild.Component{Name: name, Version: f.Archive.Version, Archive: f.Path, SHA256: f.Archive.SHA256})
		}
	}
	return b
}

// seeModule gets the archive of mod_wsgi where it was not needed so far.
func (p *Plan) seeModule(ctx context.Context, src *sources) (changed bool, err error) {
	if src.files["mod_wsgi"].Path != "" {
		return false, nil
	}
	if err := p.lookAgain(ctx); err != nil {
		return false, err
	}
	f, lock, err := p.fetcher()
	if err != nil {
		return false, err
	}
	before := src.files["mod_wsgi"].Archive.SHA256
	g := &gatherer{plan: p, fetcher: f, got: src, lock: lock}
	if err := g.first(ctx, "mod_wsgi", p.Module.Versions); err != nil {
		return false, err
	}
	return src.files["mod_wsgi"].Archive.SHA256 != before, nil
}
