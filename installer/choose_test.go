package installer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/fault"
	"modwsgi/internal/recipe"
)

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
