package installer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/buildcache"
	"modwsgi/internal/buildcache/remote"
	"modwsgi/internal/fault"
	"modwsgi/internal/fetch"
	"modwsgi/internal/recipe"
)

// An entry of the build cache is used only if it shows that it was built from the
// archives that its key names, and that the catalogue agrees.
func TestAnEntryProvesItsSources(t *testing.T) {
	known, ok := recipe.Catalogue().Find("httpd", "2.4.68")
	if !ok {
		t.Fatal("no httpd 2.4.68")
	}
	for _, kind := range []string{"httpd", "module"} {
		_, good := about(kind)
		if why := unproven(good); why != "" {
			t.Errorf("%s: %s", kind, why)
		}
		for name, c := range map[string]struct {
			change func(*buildcache.About)
			want   string
		}{
			"no inputs":             {func(a *buildcache.About) { a.Inputs = "" }, "does not say what it was built from"},
			"another archive":       {func(a *buildcache.About) { a.Parts[0].SHA256 = hashOf("evil") }, "not those of its key"},
			"another version":       {func(a *buildcache.About) { a.Parts[0].Version = "99.9.8" }, "not those of its key"},
			"one less":              {func(a *buildcache.About) { a.Parts = a.Parts[1:] }, "not those of its key"},
			"one more":              {func(a *buildcache.About) { a.Parts = append(a.Parts, buildcache.Part{Name: "expat"}) }, "not those of its key"},
			"one twice":             {func(a *buildcache.About) { a.Parts = append(a.Parts, a.Parts[0]) }, "not those of its key"},
			"two in the key":        {func(a *buildcache.About) { a.Inputs += a.Parts[0].Name + " 99.9.9 " + hashOf("evil") + "\n" }, "two archives"},
			"another kind":          {func(a *buildcache.About) { a.Kind = "tree" }, "kind"},
			"none of what it needs": {func(a *buildcache.About) { a.Parts, a.Inputs = nil, "test\n" }, "names no archive"},
			"against the catalogue": {func(a *buildcache.About) {
				a.Inputs = strings.ReplaceAll(a.Inputs, "99.9.9 "+a.Parts[0].SHA256, "99.9.9 "+known.SHA256)
				a.Parts[0].SHA256 = known.SHA256
			}, "httpd 2.4.68"},
		} {
			_, a := about(kind)
			c.change(&a)
			if why := unproven(a); !strings.Contains(why, c.want) {
				t.Errorf("%s, %s: %q, want %q", kind, name, why, c.want)
			}
		}
	}
}

// cacheOf makes the build cache of a request, which wants what about describes.
func cacheOf(t *testing.T, q *Request, kind string) (b *builds, key string, a buildcache.About, tree string) {
	t.Helper()
	b = newBuilds(q, q.CacheDir, t.TempDir())
	key, a = wantAbout(b, kind)
	tree = t.TempDir()
	write(t, tree, map[string]string{"bin/httpd": "program"})
	return b, key, a, tree
}

// wantAbout has the builds want what about describes.
func wantAbout(b *builds, kind string) (key string, a buildcache.About) {
	key, a = about(kind)
	var files []*fetch.File
	for _, p := range a.Parts {
		files = append(files, &fetch.File{Archive: recipe.Archive{Component: p.Name, Version: p.Version, SHA256: p.SHA256}})
	}
	b.want(key, a.Inputs, files...)
	return key, a
}

// A build of another archive never gets an entry under the honest key, and one that
// lies there is not used.
func TestTheCacheKeepsNothingOfAnotherArchive(t *testing.T) {
	for name, change := range map[string]func(*buildcache.About){
		"another archive was unpacked": func(a *buildcache.About) { a.Parts[0].SHA256 = hashOf("evil") },
		"nobody knows what was":        func(a *buildcache.About) { a.Inputs = "" },
	} {
		q := request(t)
		b, key, a, tree := cacheOf(t, &q, "httpd")
		bad := a
		bad.Parts = append([]buildcache.Part(nil), a.Parts...)
		change(&bad)
		b.store(t.Context(), key, tree, bad)
		if b.cache.Has(key) {
			t.Errorf("%s: it was kept", name)
		}
		// One that an older version, or somebody, has put there.
		if err := b.cache.Store(t.Context(), key, tree, bad); err != nil {
			t.Fatal(err)
		}
		v, err := VerifyCache(t.Context(), q, false)
		if err != nil || v.Good != 0 || len(v.Bad) != 1 || v.Bad[0].Damage == "" {
			t.Errorf("%s: verify finds %+v, %v", name, v, err)
		}
		if has, err := b.has(t.Context(), key); has || err != nil {
			t.Errorf("%s: has = %v, %v", name, has, err)
		}
		dest := filepath.Join(t.TempDir(), "dest")
		if e, err := b.restore(t.Context(), key, dest); e != nil || err != nil {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
		if b.cache.Has(key) {
			t.Errorf("%s: it is still there", name)
		}
		b.store(t.Context(), key, tree, a)
		if e, err := b.restore(t.Context(), key, dest); e == nil || err != nil {
			t.Errorf("%s: the good one: %+v, %v", name, e, err)
		}
		if v, err := VerifyCache(t.Context(), q, false); err != nil || v.Good != 1 || len(v.Bad) != 0 {
			t.Errorf("%s: verify finds %+v, %v", name, v, err)
		}
	}
}

// A plan for another archive does not get the entry, even under its key.
func TestAnEntryIsOnlyForItsPlan(t *testing.T) {
	q := request(t)
	b, key, a, tree := cacheOf(t, &q, "module")
	b.store(t.Context(), key, tree, a)
	b.want(key, a.Inputs, &fetch.File{Archive: recipe.Archive{Component: "mod_wsgi", Version: "99.9.9", SHA256: hashOf("another")}})
	if e, err := b.restore(t.Context(), key, filepath.Join(t.TempDir(), "dest")); e != nil || err != nil {
		t.Errorf("%+v, %v", e, err)
	}
}

// Who takes a key out of the trusted ones does not get what it signed out of the
// local cache either.
func TestBuildsOfASignerThatIsNotTrustedAnyMore(t *testing.T) {
	keys := t.TempDir()
	for _, name := range []string{"old", "new"} {
		if _, err := remote.GenerateKey(filepath.Join(keys, name)); err != nil {
			t.Fatal(err)
		}
	}
	shared := "oci-layout:" + filepath.Join(t.TempDir(), "shared")
	openAs := func(q *Request, sign string, trust ...string) {
		var err error
		if q.shared, err = OpenShared(shared, sign, trust, false, *q); err != nil {
			t.Fatal(err)
		}
	}
	builder := request(t)
	builder.Offline = false
	openAs(&builder, filepath.Join(keys, "old"))
	b, key, a, tree := cacheOf(t, &builder, "httpd")
	b.store(t.Context(), key, tree, a)

	q := request(t)
	q.Offline = false
	openAs(&q, "", filepath.Join(keys, "old.pub"))
	b, _, _, _ = cacheOf(t, &q, "httpd")
	if e, err := b.restore(t.Context(), key, filepath.Join(t.TempDir(), "dest")); e == nil || err != nil {
		t.Fatalf("%+v, %v", e, err)
	}
	openAs(&q, "", filepath.Join(keys, "new.pub"))
	b, _, _, _ = cacheOf(t, &q, "httpd")
	if e, err := b.restore(t.Context(), key, filepath.Join(t.TempDir(), "dest")); e != nil || err != nil {
		t.Errorf("%+v, %v", e, err)
	}
	if b.cache.Has(key) {
		t.Error("it is still in the local cache")
	}
}

func TestAgeOfASharedCache(t *testing.T) {
	date := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		q    Request
		want remote.Age
	}{
		{Request{}, remote.Age{}},
		{Request{CacheMaxAge: "2w"}, remote.Age{Max: 14 * 24 * time.Hour}},
		{Request{CacheMaxAge: "none"}, remote.Age{Max: -1}},
		{Request{Env: []string{"MODWSGI_CACHE_MAX_AGE=36h", "MODWSGI_CACHE_NOT_BEFORE=2026-11-28"}}, remote.Age{Max: 36 * time.Hour, NotBefore: date}},
		{Request{CacheMaxAge: "1d", CacheNotBefore: "2026-11-28T00:00:00Z", Env: []string{"MODWSGI_CACHE_MAX_AGE=36h", "MODWSGI_CACHE_NOT_BEFORE=x"}}, remote.Age{Max: 24 * time.Hour, NotBefore: date}},
	} {
		got, err := sharedAge(c.q)
		if err != nil || got.Max != c.want.Max || !got.NotBefore.Equal(c.want.NotBefore) {
			t.Errorf("%+v: %+v, %v", c.q, got, err)
		}
	}
	for _, q := range []Request{{CacheMaxAge: "soon"}, {CacheMaxAge: "0d"}, {CacheMaxAge: "-1d"}, {CacheNotBefore: "yesterday"}, {CacheNotBefore: "28.11.2026"}} {
		_, err := sharedAge(q)
		wantFault(t, err, fault.Usage, "--cache-")
	}
}

// What nothing but the lock file vouches for is named before anything is fetched.
func TestUnvouchedArchivesAreNamed(t *testing.T) {
	h := &heard{}
	q := request(t)
	q.Events, q.LockFile = h.sink, filepath.Join(q.Dir, "modwsgi.lock")
	sum := strings.Repeat("ab", 32)
	lock := &recipe.Lock{}
	lock.Put(recipe.Archive{Component: "mod_wsgi", Version: "9.9.9", File: "mod_wsgi-9.9.9.tgz", SHA256: sum}, recipe.Pinned, "")
	lock.Put(recipe.Catalogue().Of("httpd")[0], recipe.Pinned, "")
	all, err := choices("mod_wsgi", "", lock, true)
	if err != nil || len(all) != 1 || all[0].Trust != "locked" {
		t.Fatalf("%+v, %v", all, err)
	}
	p := &Plan{request: q, Module: ModulePlan{Action: "build", Versions: all}}
	if err := p.nameUnvouched(lock); err != nil || len(p.Warnings) != 1 {
		t.Fatalf("%q, %v", p.Warnings, err)
	}
	for _, want := range []string{"mod_wsgi 9.9.9", sum, "mod_wsgi-9.9.9.tgz", filepath.Base(q.LockFile)} {
		if !strings.Contains(p.Warnings[0], want) {
			t.Errorf("%q lacks %q", p.Warnings[0], want)
		}
	}
	p.warnUnvouched()
	if !h.has("warn") {
		t.Error("nothing was told")
	}
	data, err := json.Marshal(p)
	if err != nil || !strings.Contains(string(data), `"trust":"locked"`) || !strings.Contains(string(data), `"warnings":["mod_wsgi 9.9.9`) {
		t.Errorf("%s, %v", data, err)
	}
	all, err = choices("httpd", "", lock, true)
	if err != nil || all[0].Trust != "pinned" {
		t.Errorf("%+v, %v", all, err)
	}
	p = &Plan{request: q, Module: ModulePlan{Action: "build", Versions: all}}
	if err := p.nameUnvouched(lock); err != nil || len(p.Warnings) != 0 {
		t.Errorf("%q, %v", p.Warnings, err)
	}
}

// Versions on the command line have one spelling, too.
func TestVersionsOnTheCommandLine(t *testing.T) {
	for _, v := range []string{"6.0.5+x", "v6.0.5", "6.00.5", "6.0.5.0", " 6.0.5", "6.0.5-rc1", "6.0.５", "99999999999.0.0", "= 6.0.5+x", ">= v6.0.5"} {
		for i, q := range []Request{{ModWSGIVersion: v}, {HTTPDVersion: v}} {
			err := q.normalise()
			wantFault(t, err, fault.Usage, []string{"--mod-wsgi-version", "--httpd-version"}[i])
		}
	}
	for _, v := range []string{"6.0.5", "= 6.0.5", "~> 6.0", ">= 5, < 7", "6.1.0rc1"} {
		q := Request{ModWSGIVersion: v, Dir: t.TempDir()}
		if err := q.normalise(); err != nil {
			t.Errorf("%q: %v", v, err)
		}
	}
}

// The lock file of a request is compared with the catalogue as a whole.
func TestLockedChecksTheWholeFile(t *testing.T) {
	q := request(t)
	q.Locked, q.LockFile = true, filepath.Join(q.Dir, "modwsgi.lock")
	good := recipe.Catalogue().Of("mod_wsgi")[0]
	lock := &recipe.Lock{}
	lock.Put(good, recipe.Pinned, "")
	if err := os.WriteFile(q.LockFile, append(lock.Encode(), []byte("\n[[archive]]\ncomponent = \"openssl\"\nversion = \"3.0.22\"\nfile = \"x.tgz\"\nsha256 = \""+strings.Repeat("ab", 32)+"\"\ntrust = \"pinned\"\n")...), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := readLock(q)
	wantFault(t, err, fault.Usage, "openssl 3.0.22", "version control")
}
