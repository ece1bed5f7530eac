package installer

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/buildcache"
	"modwsgi/internal/fault"
)

func TestSizesAndAges(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "1": 1, "2k": 2048, "2G": 2 << 30, "1.5M": 3 << 19, "3GiB": 3 << 30, "4 TB": 4 << 40, " 7mb ": 7 << 20} {
		if n, err := ParseSize(text); n != want || err != nil {
			t.Errorf("%q: %d, %v", text, n, err)
		}
	}
	for _, text := range []string{"", "G", "-1", "1Q", "NaN", "Inf", "0x10", "1e9", "9999999T", "1 2"} {
		if n, err := ParseSize(text); err == nil {
			t.Errorf("%q: %d", text, n)
		}
	}
	for text, want := range map[string]time.Duration{"30d": 720 * time.Hour, "2w": 336 * time.Hour, "36h": 36 * time.Hour, "0.5d": 12 * time.Hour} {
		if d, err := ParseAge(text); d != want || err != nil {
			t.Errorf("%q: %v, %v", text, d, err)
		}
	}
	for _, text := range []string{"", "d", "30", "-1d", "-5h", "NaNd", "1e9d", "x"} {
		if d, err := ParseAge(text); err == nil {
			t.Errorf("%q: %v", text, d)
		}
	}
	for env, want := range map[string]int64{"": DefaultCacheLimit, "MODWSGI_CACHE_LIMIT=none": -1, "MODWSGI_CACHE_LIMIT=1M": 1 << 20} {
		if n, err := CacheLimit([]string{env}); n != want || err != nil {
			t.Errorf("%s: %d, %v", env, n, err)
		}
	}
	_, err := CacheLimit([]string{"MODWSGI_CACHE_LIMIT=much"})
	wantFault(t, err, fault.Usage, "much", "5G")
}

// about describes an entry as a build does; its key is the SHA-256 of its inputs.
func about(kind string) (string, buildcache.About) {
	a := buildcache.About{Kind: kind, Name: kind + " 1", Inputs: "test " + kind + "\n"}
	for _, name := range needed[kind] {
		sum := hashOf("archive of " + name)
		a.Parts = append(a.Parts, buildcache.Part{Name: name, Version: "99.9.9", SHA256: sum})
		a.Inputs += name + " 99.9.9 " + sum + "\n"
	}
	return hashOf(a.Inputs), a
}

// filledCache is a request whose cache has builds, a download and a log.
func filledCache(t *testing.T) Request {
	t.Helper()
	q := request(t)
	c := buildcache.Cache{Dir: buildsDir(q.CacheDir)}
	for i, kind := range []string{"httpd", "module"} {
		tree := t.TempDir()
		write(t, tree, map[string]string{"file": strings.Repeat(kind, 100)})
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
	write(t, q.CacheDir, map[string]string{
		"downloads/archives/sha256/3b6a07d0d404fab4e23b6d34bc6696a6a312dd92821332385e5af7c01c421351/x.tar.gz": "archive",
		"logs/20260101T000000Z-1/x.log": "log", "work/kept-1/src/x.c": "c",
	})
	return q
}

// moduleID is the beginning of the key of the module in a filled cache.
func moduleID() string { key, _ := about("module"); return key[:6] }

func TestCacheCommands(t *testing.T) {
	q := filledCache(t)
	all, err := ListCache(q)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, c := range all {
		kinds = append(kinds, c.Kind)
	}
	if want := []string{"httpd", "module", KindDownload, KindWork, KindLog}; !slices.Equal(kinds, want) {
		t.Errorf("%v, want %v", kinds, want)
	}
	if c, err := FindCached(q, moduleID()); err != nil || c.Kind != "module" {
		t.Errorf("%+v, %v", c, err)
	}
	for _, id := range []string{"", moduleID()[:2], "zzzzzz"} {
		_, err := FindCached(q, id)
		wantFault(t, err, fault.Usage)
	}
	v, err := VerifyCache(t.Context(), q, false)
	if v.Good != 2 || len(v.Bad) != 1 || v.Bad[0].Kind != KindDownload || v.Other != 0 || err != nil {
		t.Errorf("%+v, %v", v, err) // the hash above is not that of the text
	}
	gone, err := PruneCache(q, CachePolicy{MaxSize: -1, OlderThan: 36 * time.Hour, DryRun: true})
	if err != nil || len(gone) != 1 || gone[0].Kind != "module" {
		t.Errorf("%+v, %v", gone, err)
	}
	if after, _ := ListCache(q); len(after) != len(all) {
		t.Error("a dry run removed something")
	}
	if gone, err = PruneCache(q, CachePolicy{MaxSize: -1, OlderThan: 36 * time.Hour}); err != nil || len(gone) != 1 {
		t.Errorf("%+v, %v", gone, err)
	}
	if gone, err = PruneCache(q, CachePolicy{MaxSize: 300, Kinds: []string{"httpd"}}); err != nil || len(gone) != 1 || gone[0].Kind != "httpd" {
		t.Errorf("%+v, %v", gone, err)
	}
	if gone, err = PruneCache(q, CachePolicy{All: true}); err != nil || len(gone) != 3 {
		t.Errorf("%+v, %v", gone, err)
	}
	if after, err := ListCache(q); len(after) != 0 || err != nil {
		t.Errorf("left %+v, %v", after, err)
	}
}

// TestCacheOfAnotherVersion has a build that another version has written: it is
// neither intact nor damaged, and verify --drop leaves it to that version.
func TestCacheOfAnotherVersion(t *testing.T) {
	q := filledCache(t)
	c, err := FindCached(q, moduleID())
	if err != nil {
		t.Fatal(err)
	}
	write(t, c.Path, map[string]string{"manifest.json": `{"schema":1,"name":"mod_wsgi 5","files":{}}`})
	v, err := VerifyCache(t.Context(), q, true)
	if v.Good != 1 || len(v.Bad) != 1 || v.Other != 1 || err != nil {
		t.Errorf("%+v, %v", v, err)
	}
	c, err = FindCached(q, moduleID())
	if err != nil || !c.Other || c.Damage != "" || c.Name != "a build (of another version of modwsgi)" {
		t.Errorf("%+v, %v", c, err)
	}
	if gone, err := PruneCache(q, CachePolicy{MaxSize: -1, OlderThan: time.Nanosecond, Kinds: []string{"build"}, DryRun: true}); err != nil || len(gone) != 1 {
		t.Errorf("%+v, %v", gone, err)
	}
	// Where it is wanted it makes room, and nobody is told of damage.
	var h heard
	q.Events = h.sink
	b := newBuilds(&q, q.CacheDir, t.TempDir())
	dest := filepath.Join(t.TempDir(), "tree")
	if e, err := b.restore(t.Context(), c.ID, dest); e != nil || err != nil || !h.has("another version of modwsgi and is dropped") || h.has("damaged") {
		t.Errorf("%+v, %v, %q", e, err, h.texts)
	}
	if b.cache.Has(c.ID) || fileExists(dest) {
		t.Error("it is still there, or was restored")
	}
}

// hosted is a plan for a fixed host, remembered.
func hosted(t *testing.T) *Plan {
	t.Helper()
	p := &Plan{request: request(t)}
	p.request.Env = append(p.request.Env, "CC=cc")
	p.HTTPD.Action = BuildHTTPD
	if err := p.probeHost(t.Context()); err != nil {
		t.Skipf("needs a compiler: %v", err)
	}
	return p
}

func TestTheHostIsRemembered(t *testing.T) {
	p := hosted(t)
	p.rememberHost(t.Context())
	record := filepath.Join(p.request.CacheDir, partHost, recordName(&p.request))
	again := &Plan{request: p.request}
	again.HTTPD.Action = BuildHTTPD
	if !again.recallHost() {
		t.Fatal("it was not")
	}
	if again.tools.Compiler != p.tools.Compiler || len(again.host.Has) != len(p.host.Has) || again.host.Toolchain != again.tools {
		t.Errorf("%+v is not %+v", again.host, p.host)
	}
	if err := again.lookAgain(t.Context()); err != nil || again.remembered {
		t.Errorf("the same host: %v", err)
	}
	for name, change := range map[string]func(*Plan){
		"another compiler":  func(q *Plan) { q.request.Env = []string{"PATH=" + os.Getenv("PATH"), "CC=gcc"} },
		"no compiler":       func(q *Plan) { q.request.Env = []string{"PATH=/nowhere", "CC=cc"} },
		"flags":             func(q *Plan) { q.request.Env = append(slices.Clone(q.request.Env), "CFLAGS=-O3") },
		"another date":      func(q *Plan) { q.request.Env = append(slices.Clone(q.request.Env), "SOURCE_DATE_EPOCH=5") },
		"no cache":          func(q *Plan) { q.request.CacheDir = "" },
		"somebody else's":   func(q *Plan) { _ = os.Chmod(filepath.Join(q.request.CacheDir, "host"), 0o777) },
		"nothing is in it":  func(q *Plan) { _ = os.WriteFile(record, []byte("{}"), 0o600) },
		"damaged (garbage)": func(q *Plan) { _ = os.WriteFile(record, []byte("\x00"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			_ = os.Chmod(filepath.Join(p.request.CacheDir, "host"), 0o700)
			other := &Plan{request: p.request}
			other.HTTPD.Action = BuildHTTPD
			change(other)
			if other.recallHost() {
				t.Error("what was remembered was taken")
			}
		})
	}
}

// A record that lies is found out before anything is built.
func TestARecordThatIsWrong(t *testing.T) {
	p := hosted(t)
	wrong := *p.tools
	wrong.Compiler = "cc 0.1"
	p.tools, p.remembered = &wrong, true
	host := *p.host
	host.Toolchain = &wrong
	p.host = &host
	if err := p.lookAgain(t.Context()); !errors.Is(err, errHostChanged) {
		t.Errorf("got %v", err)
	}
}

// TestPartsOfVersions are refused with what to write instead.
func TestPartsOfVersions(t *testing.T) {
	for _, v := range []string{"5", "2.4"} {
		q := request(t)
		q.HTTPDVersion = v
		wantFault(t, q.normalise(), fault.Usage, "~> ", v)
	}
	for _, v := range []string{"", "2.4.68", "~> 2.4", ">= 2"} {
		q := request(t)
		q.HTTPDVersion = v
		if err := q.normalise(); err != nil {
			t.Errorf("%q: %v", v, err)
		}
	}
}

// TestAnEnvironmentWithoutItsPython can still be listed.
func TestAnEnvironmentWithoutItsPython(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "env")
	site := "lib/python3.11/site-packages/"
	write(t, dir, map[string]string{
		"pyvenv.cfg": "home = /gone\nversion = 3.11.2\n", "bin/": "",
		site + "mod_wsgi-5.0.2.dist-info/METADATA":  "Metadata-Version: 2.1\nName: mod_wsgi\nVersion: 5.0.2\n",
		site + "mod_wsgi-5.0.2.dist-info/INSTALLER": "modwsgi\n",
		site + "mod_wsgi-5.0.2.dist-info/RECORD":    "mod_wsgi/__init__.py,,\nmod_wsgi-5.0.2.dist-info/METADATA,,\nmod_wsgi-5.0.2.dist-info/INSTALLER,,\nmod_wsgi-5.0.2.dist-info/RECORD,,\n",
		site + "mod_wsgi/__init__.py":               "",
	})
	if err := os.Symlink("/gone/bin/python3", filepath.Join(dir, "bin/python")); err != nil {
		t.Fatal(err)
	}
	q := request(t)
	q.Python = dir
	var h heard
	q.Events = h.sink
	py, all, err := List(t.Context(), q)
	if err != nil || len(all) != 1 || py.Prefix != dir || !h.has("cannot be asked") {
		t.Fatalf("%+v, %+v, %v", py, all, err)
	}
	names, err := Uninstall(t.Context(), q)
	if err != nil || len(names) != 1 {
		t.Fatalf("%v, %v", names, err)
	}
	for _, gone := range []string{"mod_wsgi", "mod_wsgi-5.0.2.dist-info"} {
		if _, err := os.Lstat(filepath.Join(dir, site, gone)); err == nil {
			t.Errorf("%s is there", gone)
		}
	}
	q.Python = t.TempDir()
	if _, _, err := List(t.Context(), q); err == nil {
		t.Error("a directory that is no environment was listed")
	}
}

func TestFlagsOfTheEnvironmentAreTold(t *testing.T) {
	for env, want := range map[string]string{"CFLAGS=-O0": "CFLAGS; flags", "LDFLAGS=x": "LDFLAGS; flags", "CFLAGS=": "", "CC=gcc -O3": ""} {
		var h heard
		p := &Plan{request: Request{Env: []string{env}, Events: h.sink}}
		p.sayUnused()
		p.sayUnused()
		if len(h.texts) > 1 || (len(h.texts) == 1) != (want != "") || want != "" && !h.has(want) {
			t.Errorf("%s: %q", env, h.texts)
		}
	}
}
