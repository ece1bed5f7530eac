package fetch

import (
	"context"
	"errors"
	"fmt"

	"modwsgi/internal/fault"
	"modwsgi/internal/httpc"
	"modwsgi/internal/recipe"
)

// provider is one kind of source for an archive. The contract of all providers is
// internal/fetch/providertest; CONTRIBUTING.md explains how to add one.
type provider struct {
	name string
	// entry means that get works in the archive's entry of the download cache, which is
	// locked from then on.
	entry bool
	// network means that get asks servers. It is skipped with Options.Offline, and gets a
	// share of Options.Total per location.
	network bool
	// places returns the locations that get would ask, for people. The time is divided
	// among them.
	places func(*Fetcher, recipe.Archive) []string
	// get returns the verified archive, or nil if this provider does not have it, with the
	// reasons in search.missing. An error ends the search and means that the user has to
	// act.
	get func(*Fetcher, context.Context, *search) (*File, error)
}

// providers in the order in which they are asked. The last one asks slow servers again.
var providers []provider

func init() { // the last one uses others in the list
	providers = []provider{
		{name: SourceDir, get: (*Fetcher).fromSourceDirs},
		{name: Cache, entry: true, get: (*Fetcher).fromCache},
		{name: URL, entry: true, network: true, places: (*Fetcher).urlPlaces, get: (*Fetcher).fromURLs},
		{name: Debian, entry: true, network: true, places: (*Fetcher).debianPlaces, get: (*Fetcher).fromDebian},
		{name: "slow servers", entry: true, network: true, get: (*Fetcher).fromSlow},
	}
}

// search is the search for one archive.
type search struct {
	archive  recipe.Archive
	progress *progress
	missing  *Unavailable
	entry    *entry // nil until a provider needs it
	queue    *queue // nil until a provider asks servers
	indexed  bool   // a signed index has its hash, see FetchIndexed
}

var errOffline = errors.New("not asked (offline)")

// fetch asks one provider after another. It keeps the result available to the caller if
// the cache is cleared, while the entry is still locked.
func (f *Fetcher) fetch(ctx context.Context, a recipe.Archive, p *progress) (*File, error) {
	return f.search(ctx, &search{archive: a, progress: p, missing: &Unavailable{Archive: a, Offline: f.opts.Offline}})
}

func (f *Fetcher) search(ctx context.Context, s *search) (*File, error) {
	defer func() {
		if s.entry != nil {
			s.entry.close()
		}
	}()
	for _, by := range providers {
		if by.name == Debian && s.indexed {
			continue
		}
		if by.network && f.opts.Offline {
			f.skip(by, s)
			continue
		}
		file, err := f.ask(ctx, by, s)
		if by.network && ctx.Err() != nil {
			return nil, fmt.Errorf("fetch %s: %w", s.archive, context.Cause(ctx))
		}
		if file != nil && err == nil && by.entry {
			return f.held(file, nil)
		}
		if file != nil || err != nil {
			return file, err
		}
	}
	return nil, fault.Wrap(fault.Source, "", s.missing)
}

// ask asks one provider, and prepares what it needs.
func (f *Fetcher) ask(ctx context.Context, by provider, s *search) (*File, error) {
	if by.entry && s.entry == nil {
		e, err := f.openEntry(ctx, s.archive, s.progress)
		if err != nil {
			return nil, err
		}
		s.entry = e
	}
	if by.network && s.queue == nil {
		s.queue = f.newQueue(s.archive)
	}
	return by.get(f, ctx, s)
}

// skip records where a provider would have asked. A source package without a name would
// only be searched for by its hash, and is not listed.
func (f *Fetcher) skip(by provider, s *search) {
	if by.places == nil || by.name == Debian && s.archive.Debian == nil {
		return
	}
	for _, where := range by.places(f, s.archive) {
		s.missing.add(by.name, where, errOffline)
	}
}

func (f *Fetcher) urlPlaces(a recipe.Archive) []string {
	var out []string
	for _, u := range f.addresses(a) {
		out = append(out, httpc.Redact(u))
	}
	return out
}

func (f *Fetcher) debianPlaces(a recipe.Archive) []string {
	switch {
	case f.opts.NoDebian:
		return nil
	case a.Debian != nil:
		return []string{a.Debian.File}
	}
	return []string{a.Component + " source package"}
}
