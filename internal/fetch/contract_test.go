package fetch

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"modwsgi/internal/fetch/providertest"
	"modwsgi/internal/recipe"
)

// contracts are the providers under test.
var contracts = map[string]providertest.Provider{
	"source directory": {Name: SourceDir, New: sourceDirSite},
	"download cache":   {Name: Cache, New: cacheSite},
	"mirror":           {Name: URL, New: func(t *testing.T, m providertest.Mode) *providertest.Site { return serverSite(t, m, true) }},
	"upstream":         {Name: URL, New: func(t *testing.T, m providertest.Mode) *providertest.Site { return serverSite(t, m, false) }},
	"Debian":           {Name: Debian, New: debianSite},
}

// TestProviders runs the contract of providers with each of them.
func TestProviders(t *testing.T) {
	for name, p := range contracts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			providertest.Run(t, p)
		})
	}
}

// TestEveryProviderHasItsContract: a new one must be in the list above.
func TestEveryProviderHasItsContract(t *testing.T) {
	tested := map[string]bool{}
	for _, p := range contracts {
		tested[p.Name] = true
	}
	for _, p := range providers[:len(providers)-1] { // the last one asks the others again
		if !tested[p.name] {
			t.Errorf("%s has no contract", p.name)
		}
	}
}

// site creates a fetcher with the limits of the contract.
func site(t *testing.T, s *server, m providertest.Mode, o Options) (*providertest.Site, *Fetcher) {
	t.Helper()
	o.Offline, o.Total, o.Retries, o.MinRate, o.StallTimeout = m.Offline, m.Total, -1, providertest.Rate, providertest.Stall
	f := newFetcher(t, s, o)
	return &providertest.Site{
		Cache: f.opts.CacheDir,
		Archive: func(data []byte) recipe.Archive {
			return providertest.Archive("thing", "thing-1.0.tar.gz", data)
		},
		Fetch: func(ctx context.Context, a recipe.Archive) (providertest.Got, error) {
			file, err := f.Fetch(ctx, a)
			if err != nil {
				return providertest.Got{}, err
			}
			return providertest.Got{Path: file.Path, Provider: file.Provider, From: file.From, Trust: file.Trust}, nil
		},
	}, f
}

func offerFile(t *testing.T, dir string, a recipe.Archive, has []byte) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, a.File), has, 0o600); err != nil {
		t.Fatal(err)
	}
}

func sourceDirSite(t *testing.T, m providertest.Mode) *providertest.Site {
	dir := t.TempDir()
	s, _ := site(t, nil, m, Options{SourceDirs: []string{dir}})
	s.Offer = func(a recipe.Archive, has []byte) { offerFile(t, dir, a, has) }
	return s
}

func cacheSite(t *testing.T, m providertest.Mode) *providertest.Site {
	s, f := site(t, nil, m, Options{})
	s.Offer = func(a recipe.Archive, has []byte) {
		offerFile(t, filepath.Join(f.opts.CacheDir, "archives", "sha256", a.SHA256), a, has)
	}
	return s
}

// serverSite is a mirror, or upstream.
func serverSite(t *testing.T, m providertest.Mode, mirror bool) *providertest.Site {
	server := newServer(t, http.NotFound)
	o := Options{}
	if mirror {
		o.Mirrors = mirrorsOf(server)
	}
	s, _ := site(t, server, m, o)
	s.Archive = func(data []byte) recipe.Archive {
		a := providertest.Archive("thing", "thing-1.0.tar.gz", data)
		if !mirror {
			a.URLs = []string{server.URL + "/dist/" + a.File}
		}
		return a
	}
	var asked atomic.Int32
	behave := func(h http.HandlerFunc) {
		server.behave(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			h(w, r)
		})
	}
	s.Asked = func() int { return int(asked.Load()) }
	s.Offer = func(_ recipe.Archive, has []byte) { behave(good(has)) }
	s.Hang = func(recipe.Archive) { behave(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }) }
	s.Drip = func(_ recipe.Archive, has []byte) { behave(drip(has, 1, 20*time.Millisecond)) }
	return s
}

// debianSite is a source package on a Debian mirror, which the real apt asks.
func debianSite(t *testing.T, m providertest.Mode) *providertest.Site {
	mirror := newDebianMirror(t)
	s, f := site(t, nil, m, Options{Env: aptHost(t, mirror)})
	f.opts.NoDebian = false
	const name = "mod-wsgi_5.0.2.orig.tar.gz"
	mirror.publish("bookworm", "pool/none", map[string][]byte{"mod-wsgi_1.orig.tar.gz": nil})
	s.Archive = moduleArchive
	s.Offer = func(a recipe.Archive, has []byte) {
		mirror.publishSums("bookworm", "pool/x", fmt.Sprintf(" %s %d %s\n", a.SHA256, a.Size, name))
		mirror.put("/debian/pool/x/"+name, bytes.Clone(has))
	}
	behave := func(h http.HandlerFunc) {
		mirror.mu.Lock()
		defer mirror.mu.Unlock()
		mirror.pool = h
	}
	s.Asked = func() int { return mirror.count("/" + name) }
	s.Hang = func(recipe.Archive) { behave(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }) }
	s.Drip = func(_ recipe.Archive, has []byte) {
		behave(func(w http.ResponseWriter, r *http.Request) { dripBody(w, r, has, 1, 20*time.Millisecond) })
	}
	return s
}
