package fetch

import (
	"context"
	"errors"
	"fmt"

	"modwsgi/internal/fault"
	"modwsgi/internal/httpc"
	"modwsgi/internal/recipe"
)

// provider is one kind of place that may have an archive. The contract of all
// providers is internal/fetch/providertest; CONTRIBUTING.md says how to add one.
type provider struct {
	name string
	// entry means that get works in the archive's entry of the download cache,
	// which is locked from then on.
	entry bool
	// network means that get asks servers: not with Options.Offline, and with a
	// share of Options.Total for each place.
	network bool
	// places are where get would ask, for people; it divides the time among them.
	places func(*Fetcher, recipe.Archive) []string
	// get returns the verified archive, or nil where this provider does not have it,
	// with the reasons in search.missing. An error ends the search: it is for
	// something that the user has to act on.
	get func(*Fetcher, context.Context, *search) (*File, error)
}

// providers in the order in which they are asked. The last one asks places again.
var providers []provider

func init() { // the last one asks others of the list
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
	missing  *NotObtainable
	entry    *entry // nil before a provider needs it
	queue    *queue // nil before a provider asks servers
}

var errOffline = errors.New("not asked, offline")

// fetch asks one provider after another. What was found stays available to the
// caller when the cache is cleared, which is seen to while the entry is locked.
func (f *Fetcher) fetch(ctx context.Context, a recipe.Archive, p *progress) (*File, error) {
	s := &search{archive: a, progress: p, missing: &NotObtainable{Archive: a, Offline: f.opts.Offline}}
	defer func() {
		if s.entry != nil {
			s.entry.close()
		}
	}()
	for _, by := range providers {
		if by.network && f.opts.Offline {
			f.skip(by, s)
			continue
		}
		file, err := f.ask(ctx, by, s)
		if by.network && ctx.Err() != nil {
			return nil, fmt.Errorf("fetch %s: %w", a, context.Cause(ctx))
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

// skip records where a provider would have asked. A source package without a name
// would only be searched for by its hash, and is not listed.
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
