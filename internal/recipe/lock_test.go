package recipe

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/fault"
)

func find(t *testing.T, component, version string) Archive {
	t.Helper()
	a, ok := Catalogue().Find(component, version)
	if !ok {
		t.Fatalf("%s %s is not in the catalogue", component, version)
	}
	return a
}

func TestLockRoundTrip(t *testing.T) {
	httpd, apr := find(t, "httpd", "2.4.68"), find(t, "apr", "1.7.6")
	module := Archive{
		Component: "mod_wsgi", Version: "6.1.1", File: "mod_wsgi-6.1.1.tar.gz",
		SHA256: strings.Repeat("ab", 32), URLs: []string{"https://me:secret@example.org/mod_wsgi-6.1.1.tar.gz", "http://example.org/x"},
	}
	var a, b Lock
	a.Put(module, Published, "")
	a.Put(httpd, Pinned, httpd.SignedBy)
	a.Put(apr, Pinned, "")
	b.Put(find(t, "apr", "1.7.5"), Pinned, "")
	b.Put(apr, Pinned, "")
	b.Put(httpd, Pinned, httpd.SignedBy)
	b.Put(module, Published, "")
	if !bytes.Equal(a.Encode(), b.Encode()) {
		t.Fatalf("the order of Put changes the file:\n%s\n%s", a.Encode(), b.Encode())
	}
	if bytes.Contains(a.Encode(), []byte("secret")) {
		t.Errorf("credentials went into the lock file:\n%s", a.Encode())
	}
	path := filepath.Join(t.TempDir(), "modwsgi.lock")
	if changed, err := a.Write(path); err != nil || !changed {
		t.Fatalf("Write = %v, %v", changed, err)
	}
	got, err := ReadLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Encode(), a.Encode()) {
		t.Errorf("read back:\n%s\nwrote:\n%s", got.Encode(), a.Encode())
	}
	if e, ok := got.Find("httpd"); !ok || e.Archive(Catalogue()).Debian == nil {
		t.Errorf("httpd of the lock is not the catalogue's: %+v %v", e, ok)
	}
	e, ok := got.Find("mod_wsgi")
	if m := e.Archive(Catalogue()); !ok || m.Trust != FromLock || m.SHA256 != module.SHA256 || len(m.URLs) != 1 {
		t.Errorf("mod_wsgi of the lock = %+v, %v", m, ok)
	}
	if _, ok := got.Find("expat"); ok {
		t.Error("expat was found")
	}
}

func TestLockIsWrittenOnlyWhenItChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "modwsgi.lock")
	var l Lock
	l.Put(find(t, "apr", "1.7.6"), Pinned, "")
	if _, err := l.Write(path); err != nil {
		t.Fatal(err)
	}
	old := time.Unix(1e9, 0)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	if changed, err := l.Write(path); err != nil || changed {
		t.Errorf("Write of the same = %v, %v", changed, err)
	}
	if fi, err := os.Stat(path); err != nil || !fi.ModTime().Equal(old) {
		t.Errorf("an equal file was written again: %v", err)
	}
	l.Put(find(t, "apr", "1.7.5"), Pinned, "")
	if changed, err := l.Write(path); err != nil || !changed {
		t.Errorf("Write of a change = %v, %v", changed, err)
	}
}

func TestBrokenLockIsRefusedByName(t *testing.T) {
	var l Lock
	l.Put(find(t, "apr", "1.7.6"), Pinned, "")
	good := string(l.Encode())
	for name, text := range map[string]string{
		"empty":          "",
		"merge conflict": "<<<<<<< HEAD\n" + good + "=======\n",
		"newer schema":   strings.Replace(good, "schema = 1", "schema = 2", 1),
		"twice":          good + good[strings.Index(good, "[[archive]]"):],
		"bad hash":       strings.Replace(good, "49030d92", "49030d9", 1),
		"path in file":   strings.Replace(good, `file = "`, `file = "../`, 1),
		"unknown trust":  strings.Replace(good, `"pinned"`, `"certain"`, 1),
		"plain http":     strings.ReplaceAll(good, "https:", "http:"),
		"truncated":      good[:len(good)-20],
	} {
		path := filepath.Join(t.TempDir(), "modwsgi.lock")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ReadLock(path)
		if err == nil || !strings.Contains(err.Error(), path) || fault.HintOf(err) == "" {
			t.Errorf("%s: ReadLock = %v, hint %q", name, err, fault.HintOf(err))
		}
	}
	if _, err := ReadLock(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadLock of no file = %v", err)
	}
}

// A hash that only the lock file has is not a pin, whatever the lock file says; its
// earlier trust stays in it.
func TestTrustOfAHashThatOnlyTheLockHas(t *testing.T) {
	l := &Lock{}
	a := Archive{Component: "mod_wsgi", Version: "9.9.9", File: "mod_wsgi-9.9.9.tar.gz", SHA256: strings.Repeat("ab", 32)}
	l.Put(a, Signed, "ABCD")
	e, _ := l.Find("mod_wsgi")
	got := e.Archive(Catalogue())
	if got.Trust != FromLock || !Published.Stronger(got.Trust) {
		t.Errorf("trust %q", got.Trust)
	}
	l.Put(got, got.Trust, "")
	if e, _ := l.Find("mod_wsgi"); e.Trust != Signed || e.SignedBy != "ABCD" {
		t.Errorf("the entry became %+v", e)
	}
}

// A lock file cannot bypass the catalogue: neither by another file name, nor another
// spelling, nor another version for a known archive.
func TestTheLockFileDoesNotPassByTheCatalogue(t *testing.T) {
	httpd, module := find(t, "httpd", "2.4.68"), find(t, "mod_wsgi", "6.0.5")
	other := strings.Repeat("ab", 32)
	entry := func(component, version, file, sha256 string) string {
		return "schema = 1\n\n[[archive]]\ncomponent = \"" + component + "\"\nversion = \"" + version + "\"\nfile = \"" + file + "\"\nsha256 = \"" + sha256 +
			"\"\ntrust = \"pinned\"\nurls = [\"https://example.org/" + file + "\"]\n"
	}
	for name, c := range map[string]struct {
		text string
		want []string // in the error; nil for a good file
	}{
		"as it is":                   {entry("mod_wsgi", "6.0.5", module.File, module.SHA256), nil},
		"another name, same content": {entry("mod_wsgi", "6.0.5", "mod_wsgi-6.0.5.tgz", module.SHA256), nil},
		"not in the catalogue":       {entry("mod_wsgi", "9.9.9", "mod_wsgi-9.9.9.tar.gz", other), nil},
		"another hash":               {entry("mod_wsgi", "6.0.5", module.File, other), []string{"mod_wsgi 6.0.5", other, module.SHA256}},
		"another hash and name":      {entry("mod_wsgi", "6.0.5", "mod_wsgi-6.0.5.tgz", other), []string{"mod_wsgi 6.0.5", "mod_wsgi-6.0.5.tgz", other, module.SHA256}},
		"a label":                    {entry("mod_wsgi", "6.0.5+x", "mod_wsgi-6.0.5.tgz", other), []string{"6.0.5+x", "write 6.0.5"}},
		"a v":                        {entry("mod_wsgi", "v6.0.5", "mod_wsgi-6.0.5.tgz", other), []string{"v6.0.5", "write 6.0.5"}},
		"a zero":                     {entry("mod_wsgi", "6.00.5", "mod_wsgi-6.0.5.tgz", other), []string{"6.00.5", "write 6.0.5"}},
		"a fourth number":            {entry("mod_wsgi", "6.0.5.0", "mod_wsgi-6.0.5.tgz", other), []string{"6.0.5.0", "write 6.0.5"}},
		"a blank":                    {entry("mod_wsgi", " 6.0.5", "mod_wsgi-6.0.5.tgz", other), []string{" 6.0.5"}},
		"a pre-release's hyphen":     {entry("mod_wsgi", "6.0.5-rc1", "mod_wsgi-6.0.5.tgz", other), []string{"6.0.5-rc1"}},
		"another digit":              {entry("mod_wsgi", "6.0.５", "mod_wsgi-6.0.5.tgz", other), []string{"6.0.５"}},
		"a vulnerable one as newer":  {entry("httpd", "2.4.99", "httpd-2.4.99.tar.gz", httpd.SHA256), []string{"httpd 2.4.99", "httpd 2.4.68"}},
		"one component as another":   {entry("mod_wsgi", "9.9.9", "x.tar.gz", httpd.SHA256), []string{"mod_wsgi 9.9.9", "httpd 2.4.68"}},
		"an unknown component":       {entry("HTTPD", "2.4.68", httpd.File, httpd.SHA256), []string{`"HTTPD"`}},
		"twice":                      {entry("httpd", "2.4.68", httpd.File, httpd.SHA256) + entry("httpd", "2.4.99", "x", other)[len("schema = 1\n"):], []string{"duplicate"}},
		"one that is not needed":     {entry("mod_wsgi", "6.0.5", module.File, module.SHA256) + entry("cpython", "3.11.2", "x", other)[len("schema = 1\n"):], []string{"cpython 3.11.2"}},
	} {
		path := filepath.Join(t.TempDir(), "modwsgi.lock")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := ReadLock(path)
		if c.want == nil {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else if e := l.Entries()[0]; (e.Archive(Catalogue()).Trust == Pinned) != (e.Version == "6.0.5") {
				t.Errorf("%s: %+v", name, e.Archive(Catalogue()))
			}
			continue
		}
		if err == nil || fault.ClassOf(err) != fault.Usage || fault.HintOf(err) == "" || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, hint %q", name, err, fault.HintOf(err))
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v does not have %q", name, err, want)
			}
		}
	}
}

// TestLockedIsPinned: an archive of the catalogue is the same archive after a lock file
// recorded it, also if it is not the first one of its version.
func TestLockedIsPinned(t *testing.T) {
	several := 0
	for _, component := range Catalogue().Components() {
		seen := ""
		for _, a := range Catalogue().Of(component) {
			if a.Version == seen {
				several++
			}
			seen = a.Version
			if a.SHA256 == "" {
				continue
			}
			var l Lock
			l.Put(a, Pinned, "")
			e, ok := l.Find(component)
			if got := e.Archive(Catalogue()); !ok || !reflect.DeepEqual(got, a) {
				t.Errorf("%s becomes %+v", a.File, got)
			}
		}
	}
	if several == 0 {
		t.Error("no version has several archives")
	}
}

// TestLockOfPythons: headers of several Pythons have an entry each, and a newer patch
// version replaces only that of its minor version.
func TestLockOfPythons(t *testing.T) {
	minors := slices.Clone(Catalogue().Of("cpython"))
	if len(minors) < 2 {
		t.Fatalf("the catalogue has only %d sources of headers", len(minors))
	}
	var l, other Lock
	for k := range minors {
		l.Put(minors[k], Pinned, "")
		other.Put(minors[len(minors)-1-k], Pinned, "")
	}
	l.Put(minors[0], Pinned, "")
	if !bytes.Equal(l.Encode(), other.Encode()) || len(l.Entries()) != len(minors) {
		t.Errorf("the order of Put matters:\n%s\n%s", l.Encode(), other.Encode())
	}
	path := filepath.Join(t.TempDir(), "modwsgi.lock")
	if _, err := l.Write(path); err != nil {
		t.Fatal(err)
	}
	got, err := ReadLock(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range minors {
		constraint := "~> " + a.Version[:strings.LastIndexByte(a.Version, '.')] + ".0"
		if e, ok := got.FindFor("cpython", constraint); !ok || e.Version != a.Version {
			t.Errorf("%s: %+v, %v", constraint, e, ok)
		}
	}
	if _, ok := got.FindFor("cpython", "~> 2.7.0"); ok {
		t.Error("Python 2.7 was found")
	}
	text := string(l.Encode())
	again := text[strings.Index(text, "\n[[archive]]"):]
	if err := os.WriteFile(path, []byte(text+again), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadLock(path); err == nil || !strings.Contains(err.Error(), "duplicate entry for cpython 3.") {
		t.Errorf("two of a minor version: %v", err)
	}
}
