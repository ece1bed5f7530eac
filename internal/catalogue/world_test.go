package catalogue_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/catalogue"
	"modwsgi/internal/catalogue/publish"
	"modwsgi/internal/recipe"
)

// today is the day of these tests, after the embedded catalogue's.
var today = recipe.Embedded().Date().Add(10 * publish.Day)

// world is a repository on a server, and a machine that uses it.
type world struct {
	*testing.T
	repo   *publish.Repository
	keys   *publish.Keys
	keyDir string
	server *httptest.Server
	answer http.HandlerFunc // replaces the files of the repository, unless nil
	cache  string
	root   string // the file that a user got from the repository's host
	now    time.Time
	env    []string
}

// newWorld makes a repository with a catalogue that has httpd 2.4.72 in addition.
func newWorld(t *testing.T) *world {
	t.Helper()
	t.Cleanup(catalogue.SetSystemDir(""))
	base := t.TempDir()
	w := &world{T: t, keyDir: filepath.Join(base, "keys"), cache: filepath.Join(base, "cache"), now: today}
	w.repo = &publish.Repository{Dir: filepath.Join(base, "repository"), Lives: publish.Default, Now: func() time.Time { return w.now }}
	w.keys = w.newKeys(w.keyDir)
	root, err := w.repo.Init(w.keys, 1)
	w.ok(err)
	w.root = root
	w.ok(w.repo.Publish(w.keys, catalogueWith("2.4.72", today)))
	files := http.FileServer(http.Dir(w.repo.Dir))
	w.server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if w.answer != nil {
			w.answer(rw, r)
			return
		}
		files.ServeHTTP(rw, r)
	}))
	t.Cleanup(w.server.Close)
	return w
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) newKeys(dir string) *publish.Keys {
	w.Helper()
	w.ok(publish.NewKeys(dir))
	keys, err := publish.ReadKeys(dir)
	w.ok(err)
	return keys
}

// catalogueWith is what the program has, with more versions of httpd.
func catalogueWith(versions string, date time.Time) *recipe.Document {
	d, err := recipe.ParseDocument(recipe.EmbeddedDocument().Encode())
	if err != nil {
		panic(err)
	}
	d.Date = date
	for _, v := range strings.Fields(versions) {
		a := d.Archives[0]
		a.Version, a.File, a.Size = v, "httpd-"+v+".tar.gz", 0
		a.SHA256 = strings.Repeat("0123456789abcdef"[len(v)%16:len(v)%16+1], 32) + strings.Repeat(v[len(v)-1:], 32)
		d.Archives = append(d.Archives, a)
	}
	return d
}

// warnsOf adds an advisory about a version of httpd.
func warnsOf(d *recipe.Document, version string) *recipe.Document {
	r, err := recipe.ParseOSV([]byte(`{"schema_version": "1.7.3", "id": "CVE-2026-77777", "modified": "2026-12-01T00:00:00Z", "summary": "a hole",
 "affected": [{"ranges": [{"type": "SEMVER", "events": [{"introduced": "` + version + `"}]}], "database_specific": {"component": "httpd"}}]}`))
	if err != nil {
		panic(err)
	}
	d.Advisories = append(d.Advisories, r)
	return d
}

func (w *world) options() catalogue.Options {
	return catalogue.Options{Env: w.env, Private: w.cache, Now: func() time.Time { return w.now }}
}

// update updates from the server, with the root on first use.
func (w *world) update(change ...func(*catalogue.Request)) (*catalogue.Result, error) {
	r := catalogue.Request{Options: w.options(), From: w.server.URL, Root: w.root, Dir: w.TempDir()}
	for _, c := range change {
		c(&r)
	}
	return catalogue.Update(w.Context(), r)
}

func (w *world) file() string { return filepath.Join(w.cache, "trusted.json") }

// knows returns whether a run now would know a version of httpd.
func (w *world) knows(version string) bool {
	_, ok := catalogue.Load(w.options()).Set.Find("httpd", version)
	return ok
}

// snapshot copies the repository, as somebody who wants to show an old state later.
func (w *world) snapshot() map[string][]byte {
	w.Helper()
	files := map[string][]byte{}
	w.ok(filepath.WalkDir(w.repo.Dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(w.repo.Dir, path)
		if err != nil {
			return err
		}
		files["/"+filepath.ToSlash(rel)], err = os.ReadFile(path)
		return err
	}))
	return files
}

// serve answers with files only.
func serve(files map[string][]byte) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		data, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(rw, r)
			return
		}
		_, _ = rw.Write(data)
	}
}
