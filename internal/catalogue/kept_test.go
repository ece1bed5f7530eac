package catalogue_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/catalogue"
	"modwsgi/internal/fault"
	"modwsgi/internal/recipe"
)

// kept reads the kept file as JSON.
func (w *world) kept() map[string]any {
	w.Helper()
	data, err := os.ReadFile(w.file())
	w.ok(err)
	var m map[string]any
	w.ok(json.Unmarshal(data, &m))
	return m
}

func (w *world) keep(m map[string]any) {
	w.Helper()
	data, err := json.MarshalIndent(m, "", " ")
	w.ok(err)
	w.ok(os.WriteFile(w.file(), data, 0o644))
}

// Parts of the kept file that another repository signed do not count, and the next update
// brings what its own repository has.
func TestPartsOfAnotherRepository(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	w.ok(errOf(w.update()))
	other.ok(other.repo.Publish(other.keys, catalogueWith("2.4.72 2.4.79", today)))
	other.ok(errOf(other.update()))
	good, theirs := w.kept(), other.kept()
	set := func(name string) map[string]any {
		m := w.kept()
		m[name] = theirs[name]
		return m
	}
	part := func(names ...string) map[string]any {
		m := w.kept()
		for _, name := range names {
			m["catalogue"].(map[string]any)[name] = theirs["catalogue"].(map[string]any)[name]
		}
		return m
	}
	for name, m := range map[string]map[string]any{
		"the root":                           set("root"),
		"the catalogue":                      set("catalogue"),
		"its content":                        part("content"),
		"its list":                           part("targets", "content"),
		"all but the timestamp and the root": part("snapshot", "targets", "content"),
	} {
		w.keep(m)
		s := catalogue.Load(w.options())
		_, mine := s.Set.Find("httpd", "2.4.72")
		if _, found := s.Set.Find("httpd", "2.4.79"); found || mine || len(s.Local) != 1 || s.Local[0].State != catalogue.Refused || len(s.Warnings()) != 1 {
			t.Errorf("%s of another repository: %+v", name, s.Local)
		}
		err := errOf(w.update())
		if name == "the root" { // an update begins with it
			if err == nil || w.knows("2.4.72") || w.knows("2.4.79") {
				t.Errorf("%s of another repository, an update: %v", name, err)
			}
		} else if err != nil || !w.knows("2.4.72") || w.knows("2.4.79") {
			t.Errorf("%s of another repository, an update: %v", name, err)
		}
		w.keep(good)
	}
}

// The file of another repository as a whole proves itself. Only this user can put it there,
// it can only add, and an update from the repository that was trusted refuses it.
func TestFileOfAnotherRepository(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	w.ok(errOf(w.update()))
	other.ok(other.repo.Publish(other.keys, catalogueWith("2.4.72 2.4.79", today)))
	other.ok(errOf(other.update()))
	w.keep(other.kept())
	if err := errOf(w.update()); fault.ClassOf(err) != fault.Usage || !strings.Contains(err.Error(), "is not the root of trust of the catalogue on this machine") {
		t.Errorf("with the root of the repository: %v", err)
	}
	if err := errOf(w.update(func(r *catalogue.Request) { r.Root = "" })); fault.ClassOf(err) != fault.Source || !strings.Contains(err.Error(), string(catalogue.Unsigned)) {
		t.Errorf("without it: %v", err)
	}
	set := catalogue.Load(w.options()).Set
	for _, a := range recipe.EmbeddedDocument().Archives {
		before, _ := recipe.Embedded().Find(a.Component, a.Version)
		if now, ok := set.Find(a.Component, a.Version); !ok || now.SHA256 != before.SHA256 {
			t.Errorf("%s %s is %+v, was %+v", a.Component, a.Version, now, before)
		}
	}
}

// A link or a directory in place of the file is not read, and an update does not write through it.
func TestKeptFileThatIsNone(t *testing.T) {
	w := newWorld(t)
	w.ok(errOf(w.update()))
	good := w.kept()
	elsewhere := filepath.Join(t.TempDir(), "elsewhere.json")
	w.ok(os.Rename(w.file(), elsewhere))
	for name, put := range map[string]func() error{
		"a link":          func() error { return os.Symlink(elsewhere, w.file()) },
		"a directory":     func() error { return os.Mkdir(w.file(), 0o755) },
		"a dangling link": func() error { return os.Symlink(elsewhere+".none", w.file()) },
	} {
		w.ok(put())
		s := catalogue.Load(w.options())
		if _, ok := s.Set.Find("httpd", "2.4.72"); ok || len(s.Local) != 1 || s.Local[0].State != catalogue.Refused {
			t.Errorf("%s: %+v", name, s.Local)
		}
		if err := errOf(w.update()); err == nil {
			t.Errorf("%s: an update replaced it", name)
		}
		if _, err := os.Lstat(elsewhere + ".none"); err == nil {
			t.Errorf("%s: an update wrote through it", name)
		}
		w.ok(os.Remove(w.file()))
	}
	w.keep(good)
	if !w.knows("2.4.72") {
		t.Error("a file again, and it is not used")
	}
}

// The first update must prove the repository with the root that was given, and keeps nothing
// of one that it does not prove: no later update trusts what the server offered.
func TestFirstUseWithAnotherRoot(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	for range 2 {
		err := errOf(w.update(func(r *catalogue.Request) { r.Root = other.root }))
		if fault.ClassOf(err) != fault.Source || !strings.Contains(err.Error(), string(catalogue.Unsigned)) {
			t.Errorf("a root of another repository: %v", err)
		}
		if _, err := os.Lstat(w.file()); err == nil {
			t.Fatal("a file was kept")
		}
		if err := errOf(w.update(func(r *catalogue.Request) { r.Root = "" })); fault.ClassOf(err) != fault.Usage {
			t.Errorf("then without a root: %v", err)
		}
	}
	w.ok(errOf(w.update()))
}

// A root in the program is the only one that needs no option. It counts on first use, and a
// repository that it does not vouch for is refused.
func TestRootInTheProgram(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	t.Cleanup(func() { catalogue.DefaultURL, catalogue.DefaultRoot = "", "" })
	use := func(root string) {
		data, err := os.ReadFile(root)
		w.ok(err)
		catalogue.DefaultRoot = base64.StdEncoding.EncodeToString(data)
	}
	plain := func(r *catalogue.Request) { r.From, r.Root = "", "" }
	catalogue.DefaultURL = w.server.URL
	use(other.root)
	if err := errOf(w.update(plain)); fault.ClassOf(err) != fault.Source || !strings.Contains(err.Error(), string(catalogue.Unsigned)) {
		t.Errorf("a root of another repository in the program: %v", err)
	}
	if _, err := os.Lstat(w.file()); err == nil {
		t.Fatal("a file was kept")
	}
	catalogue.DefaultRoot = "<no root>"
	if err := errOf(w.update(plain)); fault.ClassOf(err) != fault.Internal {
		t.Errorf("a damaged root in the program: %v", err)
	}
	use(w.root)
	res, err := w.update(plain)
	if err != nil || !res.Anchored || !w.knows("2.4.72") {
		t.Fatalf("%+v, %v", res, err)
	}
	// The present root stays, whatever the next build of the program has.
	use(other.root)
	if res, err := w.update(plain); err != nil || res.Anchored {
		t.Errorf("%+v, %v", res, err)
	}
	if err := errOf(w.update(func(r *catalogue.Request) { r.From, r.Root = other.server.URL, "" })); fault.ClassOf(err) != fault.Source {
		t.Errorf("another repository: %v", err)
	}
}
