package cachedir_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/buildcache"
	"modwsgi/internal/buildstore"
	"modwsgi/internal/cachedir"
	"modwsgi/internal/fault"
	"modwsgi/internal/testkit"
)

func TestSizesAndAges(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "1": 1, "2k": 2048, "2G": 2 << 30, "1.5M": 3 << 19, "3GiB": 3 << 30, "4 TB": 4 << 40, " 7mb ": 7 << 20} {
		if n, err := cachedir.ParseSize(text); n != want || err != nil {
			t.Errorf("%q: %d, %v", text, n, err)
		}
	}
	for _, text := range []string{"", "G", "-1", "1Q", "NaN", "Inf", "0x10", "1e9", "9999999T", "1 2"} {
		if n, err := cachedir.ParseSize(text); err == nil {
			t.Errorf("%q: %d", text, n)
		}
	}
	for text, want := range map[string]time.Duration{"30d": 720 * time.Hour, "2w": 336 * time.Hour, "36h": 36 * time.Hour, "0.5d": 12 * time.Hour} {
		if d, err := cachedir.ParseAge(text); d != want || err != nil {
			t.Errorf("%q: %v, %v", text, d, err)
		}
	}
	for _, text := range []string{"", "d", "30", "-1d", "-5h", "NaNd", "1e9d", "x"} {
		if d, err := cachedir.ParseAge(text); err == nil {
			t.Errorf("%q: %v", text, d)
		}
	}
	for env, want := range map[string]int64{"": cachedir.DefaultLimit, "MODWSGI_CACHE_LIMIT=none": -1, "MODWSGI_CACHE_LIMIT=1M": 1 << 20} {
		if n, err := cachedir.Limit([]string{env}); n != want || err != nil {
			t.Errorf("%s: %d, %v", env, n, err)
		}
	}
	_, err := cachedir.Limit([]string{"MODWSGI_CACHE_LIMIT=much"})
	testkit.WantFault(t, err, fault.Usage, "much", "5G")
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

// filledCache is a request whose cache has builds, a download and a log.
func filledCache(t *testing.T) request {
	t.Helper()
	q := request{CacheDir: filepath.Join(t.TempDir(), "cache"), Env: []string{"PATH=" + os.Getenv("PATH")}}
	c := buildcache.Cache{Dir: filepath.Join(q.CacheDir, cachedir.Builds)}
	for i, kind := range []string{"httpd", "module"} {
		tree := t.TempDir()
		testkit.Write(t, tree, map[string]string{"file": strings.Repeat(kind, 100)})
		key, about := about(kind)
		if err := c.Store(t.Context(), key, tree, about); err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(-time.Duration(i+1) * 24 * time.Hour)
		if err := os.Chtimes(filepath.Join(c.Dir, key[:2], key, "manifest.json"), old, old); err != nil {
			t.Fatal(err)
		}
	}
	// The SHA-256 of "archive".
	testkit.Write(t, q.CacheDir, map[string]string{
		"downloads/archives/sha256/3b6a07d0d404fab4e23b6d34bc6696a6a312dd92821332385e5af7c01c421351/x.tar.gz": "archive",
		"logs/20260101T000000Z-1/x.log": "log", "work/kept-1/src/x.c": "c",
	})
	return q
}

// moduleID is the beginning of the key of the module in a filled cache.
func moduleID() string { key, _ := about("module"); return key[:6] }

func TestCacheCommands(t *testing.T) {
	q := filledCache(t)
	all, err := list(q)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, c := range all {
		kinds = append(kinds, c.Kind)
	}
	if want := []string{"httpd", "module", cachedir.KindDownload, cachedir.KindWork, cachedir.KindLog}; !slices.Equal(kinds, want) {
		t.Errorf("%v, want %v", kinds, want)
	}
	if c, err := find(q, moduleID()); err != nil || c.Kind != "module" {
		t.Errorf("%+v, %v", c, err)
	}
	for _, id := range []string{"", moduleID()[:2], "zzzzzz"} {
		_, err := find(q, id)
		testkit.WantFault(t, err, fault.Usage)
	}
	v, err := verify(t, q, false)
	if v.Good != 2 || len(v.Bad) != 1 || v.Bad[0].Kind != cachedir.KindDownload || v.Other != 0 || err != nil {
		t.Errorf("%+v, %v", v, err) // the hash above does not match the text
	}
	gone, err := prune(q, cachedir.Policy{MaxSize: -1, OlderThan: 36 * time.Hour, DryRun: true})
	if err != nil || len(gone) != 1 || gone[0].Kind != "module" {
		t.Errorf("%+v, %v", gone, err)
	}
	if after, _ := list(q); len(after) != len(all) {
		t.Error("a dry run removed something")
	}
	if gone, err = prune(q, cachedir.Policy{MaxSize: -1, OlderThan: 36 * time.Hour}); err != nil || len(gone) != 1 {
		t.Errorf("%+v, %v", gone, err)
	}
	if gone, err = prune(q, cachedir.Policy{MaxSize: 300, Kinds: []string{"httpd"}}); err != nil || len(gone) != 1 || gone[0].Kind != "httpd" {
		t.Errorf("%+v, %v", gone, err)
	}
	if gone, err = prune(q, cachedir.Policy{All: true}); err != nil || len(gone) != 3 {
		t.Errorf("%+v, %v", gone, err)
	}
	if after, err := list(q); len(after) != 0 || err != nil {
		t.Errorf("left %+v, %v", after, err)
	}
}

// TestCacheOfAnotherVersion: a build written by another version is neither intact nor
// damaged, and verify --drop leaves it to that version.
func TestCacheOfAnotherVersion(t *testing.T) {
	q := filledCache(t)
	c, err := find(q, moduleID())
	if err != nil {
		t.Fatal(err)
	}
	testkit.Write(t, c.Path, map[string]string{"manifest.json": `{"schema":1,"name":"mod_wsgi 5","files":{}}`})
	v, err := verify(t, q, true)
	if v.Good != 1 || len(v.Bad) != 1 || v.Other != 1 || err != nil {
		t.Errorf("%+v, %v", v, err)
	}
	c, err = find(q, moduleID())
	if err != nil || !c.Other || c.Damage != "" || c.Name != "a build (of another version of modwsgi)" {
		t.Errorf("%+v, %v", c, err)
	}
	if gone, err := prune(q, cachedir.Policy{MaxSize: -1, OlderThan: time.Nanosecond, Kinds: []string{"build"}, DryRun: true}); err != nil || len(gone) != 1 {
		t.Errorf("%+v, %v", gone, err)
	}
	// If the build is wanted, the old entry is dropped without a report of damage.
	var h testkit.Events
	q.Events = h.Sink
	b := buildstore.New(buildstore.Options{Cache: q.CacheDir, Work: t.TempDir(), Events: q.Events})
	dest := filepath.Join(t.TempDir(), "tree")
	if e, err := b.Restore(t.Context(), c.ID, dest); e != nil || err != nil || !h.Has("another version of modwsgi and is dropped") || h.Has("damaged") {
		t.Errorf("%+v, %v, %q", e, err, h.Texts())
	}
	if (buildcache.Cache{Dir: filepath.Join(q.CacheDir, cachedir.Builds)}).Has(c.ID) || fileExists(dest) {
		t.Error("it is still there, or was restored")
	}
}

func TestCacheDir(t *testing.T) {
	for _, tt := range []struct {
		env  []string
		want string
	}{
		{[]string{"HOME=/home/u"}, "/home/u/.cache/modwsgi"},
		{[]string{"HOME=/home/u", "XDG_CACHE_HOME=/x"}, "/x/modwsgi"},
		{[]string{"HOME=/home/u", "XDG_CACHE_HOME=relative"}, "/home/u/.cache/modwsgi"}, // the specification says to ignore it
		{[]string{"HOME=/home/u", "MODWSGI_CACHE_DIR=/m"}, "/m"},
		{[]string{"HOME="}, ""},
		{[]string{"HOME=relative"}, ""},
		{nil, ""},
	} {
		got, _, err := cachedir.DefaultDir(tt.env)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%v: %q, %v", tt.env, got, err)
		}
		if err != nil {
			testkit.WantFault(t, err, fault.Environment, "--cache-dir")
		}
	}
}
