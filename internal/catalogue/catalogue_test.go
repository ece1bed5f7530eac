package catalogue_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/catalogue"
	"modwsgi/internal/catalogue/publish"
	"modwsgi/internal/fault"
	"modwsgi/internal/recipe"
)

func TestUpdate(t *testing.T) {
	w := newWorld(t)
	if w.knows("2.4.72") {
		t.Fatal("known before the update")
	}
	if s := catalogue.Load(w.options()); len(s.Local) != 0 || !s.Date.Equal(s.Embedded) {
		t.Fatalf("%+v", s)
	}
	res, err := w.update()
	w.ok(err)
	if !res.Changed || !res.Anchored || res.Version != 1 || res.Root != 1 || res.Repository != w.server.URL || res.Path != w.file() || !res.Date.Equal(today) {
		t.Errorf("%+v", res)
	}
	if !w.knows("2.4.72") || !w.knows("2.4.71") {
		t.Error("a version is missing after the update")
	}
	s := catalogue.Load(w.options())
	l := s.Local[0]
	if l.State != catalogue.Used || l.Repository != w.server.URL || len(l.Signers) != 1 || !l.Expires.Equal(today.Add(90*publish.Day)) || len(s.Warnings()) != 0 || !s.Date.Equal(today) {
		t.Errorf("%+v", l)
	}
	// Later updates need neither address nor root, and change nothing if nothing changed.
	res, err = w.update(func(r *catalogue.Request) { r.From, r.Root = "", "" })
	w.ok(err)
	if res.Changed || res.Anchored {
		t.Errorf("%+v", res)
	}
	w.ok(os.Mkdir(filepath.Join(w.cache, ".update-killed"), 0o700))
	w.ok(w.repo.Publish(w.keys, catalogueWith("2.4.72 2.4.73", today)))
	if res, err = w.update(); err != nil || !res.Changed || res.Version != 2 || !w.knows("2.4.73") {
		t.Errorf("%+v, %v", res, err)
	}
	leftovers, _ := filepath.Glob(filepath.Join(w.cache, ".*"))
	if len(leftovers) != 0 {
		t.Errorf("left over: %v", leftovers)
	}
}

func TestUpdateFromADirectory(t *testing.T) {
	w := newWorld(t)
	res, err := w.update(func(r *catalogue.Request) { r.From, r.Dir = "repository", filepath.Dir(w.repo.Dir) })
	w.ok(err)
	if !w.knows("2.4.72") || res.Repository != w.repo.Dir {
		t.Errorf("%+v", res)
	}
	if _, err := w.update(func(r *catalogue.Request) { r.From = w.TempDir() }); err == nil || fault.ClassOf(err) != fault.Source {
		t.Errorf("an empty directory: %v", err)
	}
}

// Nothing is trusted because it was the first that was seen.
func TestTheFirstRootIsGiven(t *testing.T) {
	w := newWorld(t)
	_, err := w.update(func(r *catalogue.Request) { r.Root = "" })
	if err == nil || fault.ClassOf(err) != fault.Usage || !strings.Contains(fault.HintOf(err), "--root") {
		t.Errorf("%v (%s)", err, fault.HintOf(err))
	}
	_, err = w.update(func(r *catalogue.Request) { r.From, r.Root = "", "" })
	if err == nil || fault.ClassOf(err) != fault.Usage || !strings.Contains(fault.HintOf(err), catalogue.URLVariable) {
		t.Errorf("without a repository: %v (%s)", err, fault.HintOf(err))
	}
	for name, content := range map[string]string{"HTML": "<html>", "not a root": `{"signed": {"_type": "timestamp"}, "signatures": []}`, "unsigned": unsigned(t, w.root)} {
		file := filepath.Join(t.TempDir(), "root.json")
		w.ok(os.WriteFile(file, []byte(content), 0o600))
		if _, err := w.update(func(r *catalogue.Request) { r.Root = file }); err == nil || fault.ClassOf(err) != fault.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(w.file()); err == nil {
		t.Error("a refused update left a trusted root behind")
	}
	w.ok(os.Chmod(w.root, 0o666))
	if _, err := w.update(); err == nil {
		t.Error("a root that everybody can change was trusted")
	}
	w.ok(os.Chmod(w.root, 0o644))
	if _, err := w.update(); err != nil {
		t.Error(err)
	}
	other := newWorld(t)
	if _, err := w.update(func(r *catalogue.Request) { r.Root = other.root }); err == nil || fault.ClassOf(err) != fault.Usage {
		t.Errorf("the root of another repository replaced the trusted one: %v", err)
	}
	if _, err := w.update(func(r *catalogue.Request) { r.From = other.server.URL }); err == nil || !strings.Contains(err.Error(), string(catalogue.Unsigned)) {
		t.Errorf("another repository: %v", err)
	}
}

func unsigned(t *testing.T, root string) string {
	data, err := os.ReadFile(root)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	m["signatures"] = []any{}
	data, err = json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// A catalogue on this machine is verified whenever it is used.
func TestWhatIsOnThisMachineIsVerified(t *testing.T) {
	w := newWorld(t)
	if _, err := w.update(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(w.file())
	w.ok(err)
	if !strings.Contains(string(good), "2.4.72") {
		t.Fatal("the file does not have the catalogue")
	}
	for name, content := range map[string]string{
		"truncated":         string(good[:len(good)/2]),
		"empty":             "",
		"another schema":    strings.Replace(string(good), `"schema": 1`, `"schema": 9`, 1),
		"changed hash":      strings.Replace(string(good), "httpd-2.4.72", "httpd-2.4.79", 1),
		"changed metadata":  strings.ReplaceAll(string(good), `\"version\": 1`, `\"version\": 3`),
		"another signature": strings.ReplaceAll(string(good), `\"sig\": \"`, `\"sig\": \"00`),
	} {
		if content == string(good) {
			t.Fatalf("%s: nothing was changed", name)
		}
		w.ok(os.WriteFile(w.file(), []byte(content), 0o600))
		s := catalogue.Load(w.options())
		if _, ok := s.Set.Find("httpd", "2.4.72"); ok || len(s.Local) != 1 || s.Local[0].State != catalogue.Refused || len(s.Warnings()) != 1 {
			t.Errorf("%s: %+v", name, s.Local)
		}
	}
	w.ok(os.WriteFile(w.file(), good, 0o600))
	for _, path := range []string{w.file(), filepath.Dir(w.file())} {
		info, err := os.Stat(path)
		w.ok(err)
		w.ok(os.Chmod(path, info.Mode()|0o022))
		if s := catalogue.Load(w.options()); w.knows("2.4.72") || len(s.Warnings()) != 1 {
			t.Errorf("%s can be written by everybody: %+v", path, s.Local)
		}
		w.ok(os.Chmod(path, info.Mode()))
	}
	if !w.knows("2.4.72") {
		t.Error("not used although nothing is wrong any more")
	}
}

// After its end, a catalogue still warns.
func TestAnExpiredCatalogueOnlyWarns(t *testing.T) {
	w := newWorld(t)
	w.ok(w.repo.Publish(w.keys, warnsOf(catalogueWith("2.4.72", today), "2.4.71")))
	if _, err := w.update(); err != nil {
		t.Fatal(err)
	}
	w.now = today.Add(89 * publish.Day)
	if !w.knows("2.4.72") {
		t.Error("not used although it is valid")
	}
	w.now = today.Add(91 * publish.Day)
	s := catalogue.Load(w.options())
	if _, ok := s.Set.Find("httpd", "2.4.72"); ok || s.Local[0].State != catalogue.Expired || len(s.Warnings()) != 1 {
		t.Errorf("a version of an expired catalogue is used: %+v", s.Local)
	}
	if a := s.Set.Advisories("httpd", "2.4.71", nil); len(a) != 1 {
		t.Errorf("an advisory was forgotten: %v", a)
	}
}

func TestAnOlderCatalogueIsIgnored(t *testing.T) {
	w := newWorld(t)
	old := newWorld(t)
	old.repo.Dir = filepath.Join(t.TempDir(), "old")
	root, err := old.repo.Init(old.keys, 1)
	w.ok(err)
	w.ok(old.repo.Publish(old.keys, catalogueWith("2.4.72", recipe.Embedded().Date().Add(-time.Hour))))
	if _, err := old.update(func(r *catalogue.Request) { r.From, r.Root = old.repo.Dir, root }); err != nil {
		t.Fatal(err)
	}
	s := catalogue.Load(old.options())
	if old.knows("2.4.72") || s.Local[0].State != catalogue.Older || len(s.Warnings()) != 0 {
		t.Errorf("%+v", s.Local)
	}
}

func TestAge(t *testing.T) {
	w := newWorld(t)
	if _, err := w.update(); err != nil {
		t.Fatal(err)
	}
	for days, old := range map[int]bool{0: false, 30: false, 31: true, 80: true} {
		now := today.Add(time.Duration(days) * publish.Day)
		if got := catalogue.Load(w.options()).Old(now); (got != "") != old {
			t.Errorf("after %d days: %q", days, got)
		}
	}
	// A catalogue that the repository has confirmed lately is not old, whatever its date.
	w.now = today.Add(60 * publish.Day)
	w.ok(w.repo.Publish(w.keys, catalogueWith("2.4.72", today)))
	if _, err := w.update(); err != nil {
		t.Fatal(err)
	}
	if got := catalogue.Load(w.options()).Old(w.now); got != "" {
		t.Error(got)
	}
	if got := catalogue.Load(w.options()).Old(w.now.Add(-10 * publish.Day)); got == "" {
		t.Error("a confirmation in the future counts")
	}
}

// Root keeps a catalogue for every user; a user's own adds to it.
func TestTheDirectoryForEveryUser(t *testing.T) {
	w := newWorld(t)
	shared := filepath.Join(t.TempDir(), "modwsgi", "catalogue")
	t.Cleanup(catalogue.SetSystemDir(shared))
	_, err := w.update(func(r *catalogue.Request) { r.System = true })
	w.ok(err)
	for _, path := range []string{shared, filepath.Dir(shared), filepath.Join(shared, "trusted.json")} {
		info, err := os.Stat(path)
		w.ok(err)
		if info.Mode().Perm()&0o044 != 0o044 || info.Mode().Perm()&0o022 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
	}
	if _, err := os.Stat(w.file()); err == nil || !w.knows("2.4.72") {
		t.Error("the directory for every user is not used")
	}
	w.ok(w.repo.Publish(w.keys, catalogueWith("2.4.72 2.4.73", today.Add(time.Hour))))
	w.ok(errOf(w.update()))
	if s := catalogue.Load(w.options()); !w.knows("2.4.73") || len(s.Local) != 2 {
		t.Errorf("%+v", s.Local)
	}
	w.env = []string{catalogue.DirVariable + "=" + t.TempDir()}
	if w.knows("2.4.72") {
		t.Error("another directory than the named one is used")
	}
	w.ok(errOf(w.update()))
	if !w.knows("2.4.73") {
		t.Error("the named directory is not used")
	}
}

func errOf(_ *catalogue.Result, err error) error { return err }
