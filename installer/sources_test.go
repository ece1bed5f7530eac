package installer

import (
	"context"
	"strings"
	"testing"

	"modwsgi/internal/fault"
	"modwsgi/internal/fetch"
	"modwsgi/internal/recipe"
	"modwsgi/internal/testkit"
)

// If one archive is unavailable, the others are given up with its error. It must not be
// reported as theirs, in a warning such as "pcre2 10.46 is used instead of 4.9.4".
func TestFirstGivenUp(t *testing.T) {
	var h testkit.Events
	q := request(t)
	q.Events = h.Sink
	f, err := fetch.New(fetch.Options{Runner: q.Runner, Env: q.Env, CacheDir: q.CacheDir, Offline: true, Events: q.Events})
	if err != nil {
		t.Fatal(err)
	}
	g := &gatherer{fetcher: f, offline: true, events: q.Events, got: &sources{files: map[string]*fetch.File{}}}
	ctx, cancel := context.WithCancelCause(t.Context())
	other := &fetch.Unavailable{Archive: recipe.Archive{Component: "mod_wsgi", Version: "4.9.4"}}
	cancel(other)
	all, err := choices("pcre2", "", &recipe.Lock{}, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.first(ctx, "pcre2", all); err != error(other) {
		t.Errorf("%v, want the error of the other archive", err)
	}
	if h.Has("warn") || len(g.got.instead) > 0 || len(g.got.files) > 0 {
		t.Errorf("%q, %+v", h.Texts(), g.got)
	}
}

// A lock file cannot replace a pinned archive with another one.
func TestLockAgainstTheCatalogue(t *testing.T) {
	a, ok := recipe.Catalogue().Find("mod_wsgi", "5.0.2")
	if !ok {
		t.Fatal("the catalogue has no mod_wsgi 5.0.2")
	}
	pinned := a.SHA256
	a.SHA256, a.Size = strings.Repeat("ab", 32), 0
	lock := &recipe.Lock{}
	lock.Put(a, recipe.Pinned, "")
	for _, only := range []bool{false, true} {
		_, err := choices("mod_wsgi", "", lock, only)
		testkit.WantFault(t, err, fault.Usage, a.File, a.SHA256, pinned, "version control")
	}
	if _, err := choices("mod_wsgi", "", &recipe.Lock{}, false); err != nil {
		t.Error(err)
	}
}
