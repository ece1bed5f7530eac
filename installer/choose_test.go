package installer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/fault"
	"modwsgi/internal/recipe"
	"modwsgi/internal/testkit"
)

func TestChoices(t *testing.T) {
	var known []string
	for _, a := range recipe.Catalogue().Of("httpd") {
		known = append(known, a.Version)
	}
	newestFirst := strings.Join(known, " ")
	oldest := known[len(known)-1]
	if len(known) < 2 {
		t.Fatal("the catalogue has one httpd only")
	}
	for _, tt := range []struct {
		name, constraint string
		lock             *recipe.Lock
		locked           bool
		want             string
	}{
		{"the newest first", "", &recipe.Lock{}, false, newestFirst},
		{"the locked one first", "", locked(t, "httpd", oldest), false, oldest + " " + strings.Join(known[:len(known)-1], " ")},
		{"locked and nothing else", "", locked(t, "httpd", oldest), true, oldest},
		{"a constraint", "< " + known[0], &recipe.Lock{}, false, strings.Join(known[1:], " ")},
		{"the lock is against the constraint", known[0], locked(t, "httpd", oldest), false, known[0]},
		{"exactly one in the catalogue", "= " + known[0], &recipe.Lock{}, false, known[0]},
		{"exactly one that it does not have", "2.4.9999", &recipe.Lock{}, false, "2.4.9999"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := choices("httpd", tt.constraint, tt.lock, tt.locked)
			if err != nil || versions(got) != tt.want {
				t.Errorf("%q, %v, want %q", versions(got), err, tt.want)
			}
			for _, c := range got {
				if c.Unpinned != (c.Version == "2.4.9999") {
					t.Errorf("%s: unpinned %v", c.Version, c.Unpinned)
				}
			}
		})
	}
	for _, tt := range []struct {
		constraint string
		lock       *recipe.Lock
		locked     bool
		word       string
	}{
		{"not a version", &recipe.Lock{}, false, "not a version"},
		{"not a version", locked(t, "httpd", oldest), false, "not a version"},
		{"> 99", &recipe.Lock{}, false, known[0]},
		{"", &recipe.Lock{}, true, "no entry for httpd"},
		{known[0], locked(t, "httpd", oldest), true, "is locked"},
	} {
		_, err := choices("httpd", tt.constraint, tt.lock, tt.locked)
		testkit.WantFault(t, err, fault.Usage, tt.word)
	}
}

func TestUpgradeDoesNotPreferTheLocked(t *testing.T) {
	known := recipe.Catalogue().Of("httpd")
	lock := locked(t, "httpd", known[len(known)-1].Version)
	got, err := preferring(Wish{Upgrade: true}, "httpd", "", lock)
	if err != nil || got[0].Version != known[0].Version {
		t.Errorf("%v, %v", versions(got), err)
	}
}

func TestJudge(t *testing.T) {
	all := []Choice{{Version: "2.4.71"}, {Version: "2.4.68"}}
	features := []string{"http2", "tls"}

	byDefault := judge(all, features, nil, false)
	if c := byDefault[1]; c.Refused != "" || slices.Contains(c.Features, "http2") || !slices.Contains(c.Features, "tls") || len(c.Advisories) == 0 || !strings.Contains(c.Advisories[0], "built without http2") {
		t.Errorf("a feature that nobody asked for was not dropped: %+v", c)
	}
	if c := byDefault[0]; c.Refused != "" || len(c.Advisories) > 0 || !slices.Contains(c.Features, "http2") {
		t.Errorf("a version without advisory: %+v", c)
	}
	asked := judge(all, features, []string{"http2"}, false)
	if c := asked[1]; !strings.Contains(c.Refused, "CVE-") || asked[0].Refused != "" {
		t.Errorf("a feature that was asked for is not refused: %+v", asked)
	}
	allowed := judge(all, features, []string{"http2"}, true)
	if c := allowed[1]; c.Refused != "" || len(c.Advisories) == 0 || !slices.Contains(c.Features, "http2") {
		t.Errorf("--allow-vulnerable: %+v", c)
	}
	if len(all[1].Features)+len(features) != 2 {
		t.Error("judge changes its input")
	}
	testkit.WantFault(t, refusal(asked[1:]), fault.Source, "2.4.68", "CVE-", "--allow-vulnerable")
}

func TestModuleChoicesAdmitThePython(t *testing.T) {
	w := Wish{ModWSGIVersion: ">= 5"}
	_, _, err := moduleChoices(w, "2.7.18", &recipe.Lock{})
	testkit.WantFault(t, err, fault.Environment, "2.7.18", "needs Python")
	got, _, err := moduleChoices(w, "3.11.2", &recipe.Lock{})
	if err != nil || len(got) == 0 {
		t.Errorf("%v, %v", got, err)
	}
}

// A plan says why it uses an older version.
func TestOlderModuleBecauseOfThePython(t *testing.T) {
	got, skipped, err := moduleChoices(Wish{}, "3.9.2", &recipe.Lock{})
	if err != nil || len(got) == 0 || got[0].Version != "5.0.2" || len(skipped) != 1 || skipped[0].Version != "6.0.5" || skipped[0].Refused != "it needs Python >= 3.10, and this is 3.9.2" {
		t.Fatalf("%+v, %+v, %v", got, skipped, err)
	}
	m := ModulePlan{Action: buildModule, Versions: got, Refused: skipped}
	if notes := m.notes(); len(notes) != 1 || notes[0] != "mod_wsgi 6.0.5 is not used: it needs Python >= 3.10, and this is 3.9.2" {
		t.Errorf("%q", notes)
	}
	data, err := json.Marshal(m)
	if err != nil || !strings.Contains(string(data), `"refused":[{"version":"6.0.5"`) {
		t.Errorf("%s, %v", data, err)
	}
	if _, skipped, err := moduleChoices(Wish{}, "3.11.2", &recipe.Lock{}); err != nil || len(skipped) > 0 {
		t.Errorf("%+v, %v", skipped, err)
	}
	if _, skipped, err := moduleChoices(Wish{ModWSGIVersion: "~> 5.0"}, "3.9.2", &recipe.Lock{}); err != nil || len(skipped) > 0 {
		t.Errorf("a version that was not asked for: %+v, %v", skipped, err)
	}
}

// Archives that only the lock file vouches for are named before anything is fetched.
func TestUnvouchedArchivesAreNamed(t *testing.T) {
	h := &testkit.Events{}
	q := request(t)
	q.Events, q.LockFile = h.Sink, filepath.Join(q.Dir, "modwsgi.lock")
	sum := strings.Repeat("ab", 32)
	lock := &recipe.Lock{}
	lock.Put(recipe.Archive{Component: "mod_wsgi", Version: "9.9.9", File: "mod_wsgi-9.9.9.tgz", SHA256: sum}, recipe.Pinned, "")
	lock.Put(recipe.Catalogue().Of("httpd")[0], recipe.Pinned, "")
	all, err := choices("mod_wsgi", "", lock, true)
	if err != nil || len(all) != 1 || all[0].Trust != "locked" {
		t.Fatalf("%+v, %v", all, err)
	}
	p := &Plan{Wish: Wish{LockFile: q.LockFile}, Module: ModulePlan{Action: "build", Versions: all}}
	if p.Warnings = unvouchedIn(p); len(p.Warnings) != 1 {
		t.Fatalf("%q", p.Warnings)
	}
	for _, want := range []string{"mod_wsgi 9.9.9", sum, "mod_wsgi-9.9.9.tgz", filepath.Base(q.LockFile)} {
		if !strings.Contains(p.Warnings[0], want) {
			t.Errorf("%q lacks %q", p.Warnings[0], want)
		}
	}
	(&job{plan: p, events: h.Sink}).warn()
	if !h.Has("warn") {
		t.Error("no warning")
	}
	data, err := json.Marshal(p)
	if err != nil || !strings.Contains(string(data), `"trust":"locked"`) || !strings.Contains(string(data), `"warnings":["mod_wsgi 9.9.9`) {
		t.Errorf("%s, %v", data, err)
	}
	all, err = choices("httpd", "", lock, true)
	if err != nil || all[0].Trust != "pinned" {
		t.Errorf("%+v, %v", all, err)
	}
	p = &Plan{Wish: Wish{LockFile: q.LockFile}, Module: ModulePlan{Action: "build", Versions: all}}
	if warnings := unvouchedIn(p); len(warnings) != 0 {
		t.Errorf("%q", warnings)
	}
}

// Versions on the command line have one spelling, too.
func TestVersionsOnTheCommandLine(t *testing.T) {
	for _, v := range []string{"6.0.5+x", "v6.0.5", "6.00.5", "6.0.5.0", " 6.0.5", "6.0.5-rc1", "6.0.５", "99999999999.0.0", "= 6.0.5+x", ">= v6.0.5"} {
		for i, w := range []Wish{{ModWSGIVersion: v}, {HTTPDVersion: v}} {
			_, err := w.complete("/")
			testkit.WantFault(t, err, fault.Usage, []string{"--mod-wsgi-version", "--httpd-version"}[i])
		}
	}
	for _, v := range []string{"6.0.5", "= 6.0.5", "~> 6.0", ">= 5, < 7", "6.1.0rc1"} {
		if _, err := (Wish{ModWSGIVersion: v}).complete(t.TempDir()); err != nil {
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
	_, err := readLock(q.LockFile, true)
	testkit.WantFault(t, err, fault.Usage, "openssl 3.0.22", "version control")
}

// TestPartsOfVersions: an incomplete version is refused, with a hint what to write
// instead.
func TestPartsOfVersions(t *testing.T) {
	for _, v := range []string{"5", "2.4"} {
		_, err := Wish{HTTPDVersion: v}.complete("/")
		testkit.WantFault(t, err, fault.Usage, "~> ", v)
	}
	for _, v := range []string{"", "2.4.68", "~> 2.4", ">= 2"} {
		if _, err := (Wish{HTTPDVersion: v}).complete("/"); err != nil {
			t.Errorf("%q: %v", v, err)
		}
	}
}

// A library with an advisory is refused, or used with a warning if the user accepts the
// risk. One that is out of support is used, with a warning.
func TestJudgeLibrary(t *testing.T) {
	for _, c := range judgeLibrary("openssl", []Choice{{Version: "3.5.9"}, {Version: "3.0.22"}}, false) {
		old := c.Version == "3.0.22"
		if c.Refused != "" || (len(c.Advisories) == 1 && strings.Contains(c.Advisories[0], "out of support")) != old {
			t.Errorf("%+v", c)
		}
	}
	// The catalogue has advisories about httpd, which stands in for a library here.
	useAfterFree := Choice{Version: "2.4.68"}
	if c := judgeLibrary("httpd", []Choice{useAfterFree}, false)[0]; c.Refused != "" {
		t.Errorf("an advisory about a feature: %+v", c)
	}
}

// Only a plan with --libraries bundled collects the archives of libraries.
func TestCollectedLibraries(t *testing.T) {
	for libraries, want := range map[string][]string{"": nil, "auto": nil, "host": nil, "bundled": {"openssl", "zlib", "libxcrypt", "nghttp2"}} {
		all, err := collected(Wish{Libraries: libraries, With: []string{"http2"}, LockFile: filepath.Join(t.TempDir(), "lock")}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"openssl", "zlib", "libxcrypt", "nghttp2", "brotli"} {
			if _, ok := all[name]; ok != slices.Contains(want, name) {
				t.Errorf("%q, %s: %v", libraries, name, ok)
			}
		}
		if _, ok := all["expat"]; !ok {
			t.Error("no expat")
		}
	}
}
