package buildstore

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"modwsgi/internal/buildcache"
	"modwsgi/internal/buildcache/remote"
	"modwsgi/internal/cachedir"
	"modwsgi/internal/fault"
	"modwsgi/internal/flock"
	"modwsgi/internal/run"
	"modwsgi/internal/testkit"
)

// wantAbout makes a store want what about describes.
func wantAbout(b *Store, kind string) (key string, a buildcache.About) {
	key, a = about(kind)
	hashes := map[string]string{}
	for _, p := range a.Parts {
		hashes[p.Name] = p.SHA256
	}
	b.Want(key, a.Inputs, hashes)
	return key, a
}

// about describes an entry as a build does; its key is the SHA-256 of its inputs.
func about(kind string) (string, buildcache.About) {
	a := buildcache.About{Kind: kind, Name: kind + " 1", Inputs: "test " + kind + "\n"}
	for _, name := range map[string][]string{"httpd": {"httpd", "apr", "apr-util", "pcre2"}, "module": {"mod_wsgi"}}[kind] {
		sum := buildcache.KeyOf("archive of " + name)
		a.Parts = append(a.Parts, buildcache.Part{Name: name, Version: "99.9.9", SHA256: sum})
		a.Inputs += name + " 99.9.9 " + sum + "\n"
	}
	return buildcache.KeyOf(a.Inputs), a
}

// cacheOf opens a store that wants what about describes.
func cacheOf(t *testing.T, o Options, kind string) (b *Store, key string, a buildcache.About, tree string) {
	t.Helper()
	o.Work = t.TempDir()
	b = New(o)
	key, a = wantAbout(b, kind)
	tree = t.TempDir()
	testkit.Write(t, tree, map[string]string{"bin/httpd": "program"})
	return b, key, a, tree
}

// A build of another archive never gets an entry under the honest key, and an existing
// one is not used.
func TestTheCacheKeepsNothingOfAnotherArchive(t *testing.T) {
	for name, change := range map[string]func(*buildcache.About){
		"another archive was unpacked": func(a *buildcache.About) { a.Parts[0].SHA256 = buildcache.KeyOf("evil") },
		"nobody knows what was":        func(a *buildcache.About) { a.Inputs = "" },
	} {
		o := Options{Cache: filepath.Join(t.TempDir(), "cache"), Offline: true}
		b, key, a, tree := cacheOf(t, o, "httpd")
		bad := a
		bad.Parts = append([]buildcache.Part(nil), a.Parts...)
		change(&bad)
		b.Keep(t.Context(), key, tree, bad)
		if b.cache.Has(key) {
			t.Errorf("%s: it was kept", name)
		}
		// One that an older version, or an attacker, has put there.
		if err := b.cache.Store(t.Context(), key, tree, bad); err != nil {
			t.Fatal(err)
		}
		v, err := cachedir.Verify(t.Context(), cachedir.Options{Path: o.Cache}, false)
		if err != nil || v.Good != 0 || len(v.Bad) != 1 || v.Bad[0].Damage == "" {
			t.Errorf("%s: verify finds %+v, %v", name, v, err)
		}
		if has, err := b.Has(t.Context(), key); has || err != nil {
			t.Errorf("%s: has = %v, %v", name, has, err)
		}
		dest := filepath.Join(t.TempDir(), "dest")
		if e, err := b.Restore(t.Context(), key, dest); e != nil || err != nil {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
		if b.cache.Has(key) {
			t.Errorf("%s: it is still there", name)
		}
		b.Keep(t.Context(), key, tree, a)
		if e, err := b.Restore(t.Context(), key, dest); e == nil || err != nil {
			t.Errorf("%s: the good one: %+v, %v", name, e, err)
		}
		if v, err := cachedir.Verify(t.Context(), cachedir.Options{Path: o.Cache}, false); err != nil || v.Good != 1 || len(v.Bad) != 0 {
			t.Errorf("%s: verify finds %+v, %v", name, v, err)
		}
	}
}

// A plan for another archive does not get the entry, even under its key.
func TestAnEntryIsOnlyForItsPlan(t *testing.T) {
	o := Options{Cache: filepath.Join(t.TempDir(), "cache"), Offline: true}
	b, key, a, tree := cacheOf(t, o, "module")
	b.Keep(t.Context(), key, tree, a)
	b.Want(key, a.Inputs, map[string]string{"mod_wsgi": buildcache.KeyOf("another")})
	if e, err := b.Restore(t.Context(), key, filepath.Join(t.TempDir(), "dest")); e != nil || err != nil {
		t.Errorf("%+v, %v", e, err)
	}
}

// After a key is removed from the trusted ones, its entries are not used from the local
// cache either.
func TestBuildsOfASignerNoLongerTrusted(t *testing.T) {
	keys := t.TempDir()
	for _, name := range []string{"old", "new"} {
		if _, err := remote.GenerateKey(filepath.Join(keys, name)); err != nil {
			t.Fatal(err)
		}
	}
	shared := "oci-layout:" + filepath.Join(t.TempDir(), "shared")
	openAs := func(o *Options, sign string, trust ...string) {
		var err error
		if o.Shared, err = OpenShared(SharedOptions{Cache: shared, CacheSignKey: sign, CacheTrust: trust}, []string{"PATH=" + os.Getenv("PATH")}, t.TempDir(), &run.Runner{}, flock.DefaultLimit); err != nil {
			t.Fatal(err)
		}
	}
	builder := Options{Cache: filepath.Join(t.TempDir(), "cache")}
	openAs(&builder, filepath.Join(keys, "old"))
	b, key, a, tree := cacheOf(t, builder, "httpd")
	b.Keep(t.Context(), key, tree, a)

	o := Options{Cache: filepath.Join(t.TempDir(), "cache"), Offline: true}
	o.Offline = false
	openAs(&o, "", filepath.Join(keys, "old.pub"))
	b, _, _, _ = cacheOf(t, o, "httpd")
	if e, err := b.Restore(t.Context(), key, filepath.Join(t.TempDir(), "dest")); e == nil || err != nil {
		t.Fatalf("%+v, %v", e, err)
	}
	openAs(&o, "", filepath.Join(keys, "new.pub"))
	b, _, _, _ = cacheOf(t, o, "httpd")
	if e, err := b.Restore(t.Context(), key, filepath.Join(t.TempDir(), "dest")); e != nil || err != nil {
		t.Errorf("%+v, %v", e, err)
	}
	if b.cache.Has(key) {
		t.Error("it is still in the local cache")
	}
}

func TestAgeOfASharedCache(t *testing.T) {
	date := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		q    SharedOptions
		env  []string
		want remote.Age
	}{
		{SharedOptions{}, nil, remote.Age{}},
		{SharedOptions{CacheMaxAge: "2w"}, nil, remote.Age{Max: 14 * 24 * time.Hour}},
		{SharedOptions{CacheMaxAge: "none"}, nil, remote.Age{Max: -1}},
		{SharedOptions{}, []string{"MODWSGI_CACHE_MAX_AGE=36h", "MODWSGI_CACHE_NOT_BEFORE=2026-11-28"}, remote.Age{Max: 36 * time.Hour, NotBefore: date}},
		{SharedOptions{CacheMaxAge: "1d", CacheNotBefore: "2026-11-28T00:00:00Z"}, []string{"MODWSGI_CACHE_MAX_AGE=36h", "MODWSGI_CACHE_NOT_BEFORE=x"}, remote.Age{Max: 24 * time.Hour, NotBefore: date}},
	} {
		got, err := sharedAge(c.q, c.env)
		if err != nil || got.Max != c.want.Max || !got.NotBefore.Equal(c.want.NotBefore) {
			t.Errorf("%+v: %+v, %v", c.q, got, err)
		}
	}
	for _, q := range []SharedOptions{{CacheMaxAge: "soon"}, {CacheMaxAge: "0d"}, {CacheMaxAge: "-1d"}, {CacheNotBefore: "yesterday"}, {CacheNotBefore: "28.11.2026"}} {
		_, err := sharedAge(q, nil)
		testkit.WantFault(t, err, fault.Usage, "--cache-")
	}
}
