package catalogue_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/catalogue"
	"modwsgi/internal/catalogue/publish"
	"modwsgi/internal/fault"
	"modwsgi/internal/httpc"
	"modwsgi/internal/recipe"
)

// refused fails unless the update was refused for a reason, with a hint, and the present
// catalogue is as it was.
func (w *world) refused(reason string, change ...func(*catalogue.Request)) {
	w.Helper()
	before := catalogue.Load(w.options())
	_, err := w.update(change...)
	if err == nil || fault.ClassOf(err) != fault.Source || fault.HintOf(err) == "" || !strings.Contains(err.Error(), reason) {
		w.Errorf("got %v (class %v, hint %q), want %q", err, fault.ClassOf(err), fault.HintOf(err), reason)
	}
	after := catalogue.Load(w.options())
	if !after.Date.Equal(before.Date) || len(after.Local) != len(before.Local) || len(after.Local) > 0 && (after.Local[0].State != before.Local[0].State || after.Local[0].Version != before.Local[0].Version) {
		w.Errorf("the catalogue changed from %+v to %+v", before.Local, after.Local)
	}
}

// A server that shows the same state for ever is noticed when the timestamp expires.
func TestFreeze(t *testing.T) {
	w := newWorld(t)
	w.ok(errOf(w.update()))
	w.now = today.Add(6 * publish.Day)
	w.ok(errOf(w.update()))
	w.now = today.Add(8 * publish.Day)
	w.refused(string(catalogue.Stale))
	w.ok(w.repo.Renew(w.keys))
	w.ok(errOf(w.update()))
	w.now = today.Add(91 * publish.Day) // the catalogue itself
	w.ok(w.repo.Renew(w.keys))
	w.refused(string(catalogue.Stale))
	w.ok(w.repo.Publish(w.keys, catalogueWith("2.4.72", today)))
	w.ok(errOf(w.update()))
	w.now = today.Add(366 * publish.Day) // and the root
	w.ok(w.repo.Publish(w.keys, catalogueWith("2.4.72", today)))
	w.refused(string(catalogue.Stale))
	if _, err := w.repo.Rotate(w.keys, w.keys, 0); err != nil {
		t.Fatal(err)
	}
	w.ok(errOf(w.update()))
	fresh := newWorld(t)
	fresh.now = today.Add(8 * publish.Day)
	fresh.refused(string(catalogue.Stale)) // on first use, too
}

// An old copy of the repository is refused, although it is signed and still valid.
func TestRollback(t *testing.T) {
	w := newWorld(t)
	old := w.snapshot()
	w.ok(w.repo.Publish(w.keys, catalogueWith("2.4.72 2.4.73", today)))
	w.ok(errOf(w.update()))
	w.answer = serve(old)
	w.refused(string(catalogue.Rollback))
	if !w.knows("2.4.73") {
		t.Error("a version was forgotten")
	}
	// Nor is an older timestamp of the same state accepted.
	w.answer = nil
	before := w.snapshot()
	w.ok(w.repo.Renew(w.keys))
	w.ok(errOf(w.update()))
	w.answer = serve(before)
	w.refused(string(catalogue.Rollback))
	// With the timestamp's key alone, nobody can go back to an older snapshot.
	w.answer = nil
	current := w.snapshot()
	w.ok(os.WriteFile(filepath.Join(w.repo.Dir, "timestamp.json"), old["/timestamp.json"], 0o600))
	for range 4 {
		w.ok(w.repo.Renew(w.keys)) // newer than the client's, of the old snapshot
	}
	w.refused(string(catalogue.Rollback))
	// Nor with the keys of timestamp and snapshot to an older catalogue: see publish.
	w.answer = serve(current)
	w.ok(errOf(w.update()))
}

// A rollback is noticed even if the update in between failed after the timestamp.
func TestRollbackAfterAnInterruptedUpdate(t *testing.T) {
	w := newWorld(t)
	w.ok(errOf(w.update()))
	w.ok(w.repo.Renew(w.keys))
	middle := w.snapshot()
	w.ok(w.repo.Publish(w.keys, catalogueWith("2.4.72 2.4.73", today)))
	w.answer = func(rw http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "snapshot") {
			http.NotFound(rw, r)
			return
		}
		serve(w.snapshot())(rw, r)
	}
	w.refused("snapshot.json")
	w.answer = serve(middle)
	w.refused(string(catalogue.Rollback))
}

// Files of different states cannot be combined.
func TestMixAndMatch(t *testing.T) {
	w := newWorld(t)
	old := w.snapshot()
	w.ok(w.repo.Publish(w.keys, catalogueWith("2.4.72 2.4.73", today)))
	for _, role := range []string{"snapshot", "targets"} {
		mixed := w.snapshot()
		mixed["/2."+role+".json"] = old["/1."+role+".json"]
		w.answer = serve(mixed)
		w.refused(string(catalogue.Mismatch))
	}
	mixed := w.snapshot()
	var oldContent []byte
	for name, data := range old {
		if strings.HasPrefix(name, "/targets/") {
			oldContent = data
		}
	}
	for name := range mixed {
		if strings.HasPrefix(name, "/targets/") {
			mixed[name] = oldContent
		}
	}
	w.answer = serve(mixed)
	w.refused(string(catalogue.Mismatch))
}

// Whoever has only the server, or only another repository's keys, can change nothing.
func TestSignatures(t *testing.T) {
	w := newWorld(t)
	other := newWorld(t)
	w.answer = serve(other.snapshot())
	w.refused(string(catalogue.Unsigned))
	for _, name := range []string{"/timestamp.json", "/1.snapshot.json", "/1.targets.json"} {
		files := w.snapshot()
		files[name] = bytes.Replace(files[name], []byte(`"version": 1`), []byte(`"version": 7`), 1)
		if bytes.Equal(files[name], w.snapshot()[name]) {
			t.Fatal("nothing was changed")
		}
		w.answer = serve(files)
		w.refused("")
	}
	files := w.snapshot()
	for name, data := range files {
		files[name] = bytes.ReplaceAll(data, []byte("2.4.72"), []byte("2.4.79"))
	}
	w.answer = serve(files)
	w.refused(string(catalogue.Mismatch))
}

func TestRootRotation(t *testing.T) {
	w := newWorld(t)
	w.ok(errOf(w.update()))
	first := w.snapshot()
	second := w.newKeys(filepath.Join(t.TempDir(), "second"))
	third := w.newKeys(filepath.Join(t.TempDir(), "third"))
	for _, step := range [][2]*publish.Keys{{w.keys, second}, {second, third}} {
		if _, err := w.repo.Rotate(step[0], step[1], 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.repo.Publish(w.keys, catalogueWith("2.4.72", today)); err == nil {
		t.Error("a key that the root no longer lists signs")
	}
	w.ok(w.repo.Publish(third, catalogueWith("2.4.72 2.4.73", today)))
	res, err := w.update(func(r *catalogue.Request) { r.Root = "" })
	if err != nil || res.Root != 3 || !w.knows("2.4.73") {
		t.Fatalf("%+v, %v", res, err)
	}
	w.ok(errOf(w.update())) // with the first root, which is still the anchor
	// The keys of the first root are worth nothing any more.
	w.answer = serve(first)
	w.refused("")
	if _, err := w.repo.Rotate(second, second, 0); err == nil {
		t.Error("a root was signed with keys that the newest root does not list")
	}
}

// A root must be signed by the keys of the one before, and none may be skipped.
func TestRootOfSomebodyElse(t *testing.T) {
	w := newWorld(t)
	w.ok(errOf(w.update()))
	other := newWorld(t)
	if _, err := other.repo.Rotate(other.keys, other.keys, 0); err != nil {
		t.Fatal(err)
	}
	files := w.snapshot()
	files["/2.root.json"] = other.snapshot()["/2.root.json"]
	w.answer = serve(files)
	w.refused(string(catalogue.Unsigned))
	files["/2.root.json"] = files["/1.root.json"]
	w.refused(string(catalogue.Rollback))
	files["/2.root.json"] = []byte("<!doctype html><title>Please log in</title>")
	w.refused(string(catalogue.Malformed))
	delete(files, "/2.root.json")
	w.ok(errOf(w.update()))
}

// A key that a newer root revokes does not vouch for the catalogue on this machine any
// longer, even if everything after the root is withheld.
func TestRevokedSigner(t *testing.T) {
	w := newWorld(t)
	w.ok(errOf(w.update()))
	fresh := filepath.Join(t.TempDir(), "fresh")
	w.newKeys(fresh)
	for _, role := range []string{"root", "snapshot", "timestamp"} {
		w.ok(os.Remove(filepath.Join(fresh, role+".pem")))
	}
	onlyTargets, err := publish.ReadKeys(fresh)
	w.ok(err)
	if _, err := w.repo.Rotate(w.keys, onlyTargets, 0); err != nil {
		t.Fatal(err)
	}
	w.answer = func(rw http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "root.json") {
			http.Error(rw, "", http.StatusForbidden)
			return
		}
		serve(w.snapshot())(rw, r)
	}
	if err := errOf(w.update()); err == nil {
		t.Fatal("updated without a timestamp")
	}
	s := catalogue.Load(w.options())
	if w.knows("2.4.72") || s.Local[0].State != catalogue.Refused || !strings.Contains(s.Local[0].Problem, string(catalogue.Unsigned)) {
		t.Errorf("%+v", s.Local)
	}
	w.answer = nil
	w.ok(os.Rename(filepath.Join(fresh, "targets.pem"), filepath.Join(w.keyDir, "targets.pem")))
	w.keys, err = publish.ReadKeys(w.keyDir)
	w.ok(err)
	w.ok(w.repo.Publish(w.keys, catalogueWith("2.4.72", today)))
	if err := errOf(w.update()); err != nil || !w.knows("2.4.72") {
		t.Error(err)
	}
}

// A signed catalogue may still not contradict what the program knows.
func TestASignedCatalogueMayNotContradict(t *testing.T) {
	for name, change := range map[string]func(*recipe.Document){
		"contradicts": func(d *recipe.Document) { d.Archives[0].SHA256 = strings.Repeat("ab", 32) },
		"future":      func(d *recipe.Document) { d.Date = today.Add(3 * publish.Day) },
	} {
		w := newWorld(t)
		w.ok(errOf(w.update()))
		evil := catalogueWith("2.4.72", today)
		change(evil)
		w.force(evil)
		w.refused(name)
	}
	w := newWorld(t)
	w.ok(errOf(w.update()))
	w.force(catalogueWith("2.4.72", today.Add(-time.Hour)))
	w.refused("older than the present one")
}

// force publishes without the checks of package publish: as somebody with all keys would.
func (w *world) force(d *recipe.Document) {
	w.Helper()
	names, err := filepath.Glob(filepath.Join(w.repo.Dir, "*.json"))
	w.ok(err)
	for _, name := range names {
		if !strings.HasSuffix(name, "root.json") {
			w.ok(os.Remove(name))
		}
	}
	for range 3 { // in versions that the client has not seen
		w.ok(w.repo.Publish(w.keys, d))
	}
}

// An answer without end, at any size, speed or number of redirects, ends.
func TestServersThatNeverEnd(t *testing.T) {
	quick := func(r *catalogue.Request) {
		r.Limits = httpc.Limits{Rate: 64 << 10, Window: 100 * time.Millisecond, Total: 3 * time.Second, Set: true, Idle: 200 * time.Millisecond}
	}
	block := []byte(strings.Repeat(" ", 64<<10))
	for name, answer := range map[string]func(rw http.ResponseWriter, r *http.Request){
		"endless": func(rw http.ResponseWriter, r *http.Request) {
			for {
				if _, err := rw.Write(block); err != nil {
					return
				}
			}
		},
		"slow": func(rw http.ResponseWriter, r *http.Request) {
			for {
				if _, err := rw.Write(block[:1]); err != nil {
					return
				}
				_ = http.NewResponseController(rw).Flush()
				select {
				case <-r.Context().Done():
					return
				case <-time.After(20 * time.Millisecond): // the rate that is too slow
				}
			}
		},
		"silent":    func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"redirects": func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, r.URL.Path, http.StatusFound) },
	} {
		for _, file := range []string{"2.root.json", "timestamp.json", "catalogue.json"} {
			w := newWorld(t)
			files := serve(w.snapshot())
			w.answer = func(rw http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, file) {
					answer(rw, r)
					return
				}
				files(rw, r)
			}
			began := time.Now()
			if err := errOf(w.update(quick)); err == nil || fault.ClassOf(err) != fault.Source || name == "endless" && !strings.Contains(err.Error(), "more than ") {
				t.Errorf("%s, %s: %v", name, file, err)
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("%s, %s: took %s", name, file, took)
			}
			w.server.CloseClientConnections()
		}
	}
}

func TestRedirects(t *testing.T) {
	w := newWorld(t)
	moved := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, w.server.URL+r.URL.Path, http.StatusMovedPermanently)
	}))
	t.Cleanup(moved.Close)
	w.ok(errOf(w.update(func(r *catalogue.Request) { r.From = moved.URL })))
	if l := catalogue.Load(w.options()).Local[0]; l.Repository != moved.URL || !w.knows("2.4.72") {
		t.Errorf("%+v", l)
	}
	secure := httptest.NewTLSServer(moved.Config.Handler)
	t.Cleanup(secure.Close)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // the client does not know the certificate
	w.refused("certificate", func(r *catalogue.Request) { r.From = secure.URL })
}

// Credentials are sent, but not kept and not shown.
func TestCredentials(t *testing.T) {
	w := newWorld(t)
	files := serve(w.snapshot())
	w.answer = func(rw http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "secret" {
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		files(rw, r)
	}
	w.refused("401")
	at, err := url.Parse(w.server.URL)
	w.ok(err)
	at.User = url.UserPassword("me", "secret")
	w.ok(errOf(w.update(func(r *catalogue.Request) { r.From = at.String() })))
	data, err := os.ReadFile(w.file())
	w.ok(err)
	if bytes.Contains(data, []byte("secret")) {
		t.Error("the password was kept")
	}
	at.User = url.UserPassword("me", "wrongsecret")
	if err := errOf(w.update(func(r *catalogue.Request) { r.From = at.String() })); err == nil || strings.Contains(err.Error(), "wrongsecret") {
		t.Errorf("%v", err)
	}
}

func TestThroughAProxy(t *testing.T) {
	w := newWorld(t)
	files := serve(w.snapshot())
	asked := 0
	proxy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Host == "catalogue.example" {
			asked++
		}
		files(rw, r)
	}))
	t.Cleanup(proxy.Close)
	w.env = []string{"HTTP_PROXY=" + proxy.URL, "http_proxy=" + proxy.URL}
	w.ok(errOf(w.update(func(r *catalogue.Request) { r.From = "http://catalogue.example" })))
	if asked == 0 {
		t.Error("the proxy was not asked")
	}
}

// Hosts of static files that answer 403 for what does not exist are usable.
func TestForbiddenRootIsTheEnd(t *testing.T) {
	w := newWorld(t)
	files := serve(w.snapshot())
	w.answer = func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "2.root.json") {
			rw.WriteHeader(http.StatusForbidden)
			return
		}
		files(rw, r)
	}
	w.ok(errOf(w.update()))
	w.answer = func(rw http.ResponseWriter, r *http.Request) { rw.WriteHeader(http.StatusInternalServerError) }
	w.refused("500")
	w.answer = func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "timestamp.json") {
			rw.WriteHeader(http.StatusNotFound)
			return
		}
		files(rw, r)
	}
	w.refused("404")
}

func TestNoNetworkAndMistakes(t *testing.T) {
	w := newWorld(t)
	w.ok(errOf(w.update()))
	w.server.Close()
	w.refused("connection refused")
	if !w.knows("2.4.72") {
		t.Error("the catalogue is not used without a network")
	}
	for _, bad := range []string{"ftp://example.org/", "https:///x", "https://example.org/?x=1"} {
		if err := errOf(w.update(func(r *catalogue.Request) { r.From = bad })); err == nil || fault.ClassOf(err) != fault.Usage {
			t.Errorf("%s: %v", bad, err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the user has ended it"))
	if _, err := catalogue.Update(ctx, catalogue.Request{Options: w.options(), From: w.repo.Dir}); err == nil || !strings.Contains(fmt.Sprint(err), "the user has ended it") {
		t.Errorf("canceled: %v", err)
	}
	w.ok(os.WriteFile(w.file(), []byte("{"), 0o600))
	if err := errOf(w.update()); err == nil || fault.ClassOf(err) != fault.Environment || !strings.Contains(fault.HintOf(err), w.file()) {
		t.Errorf("a damaged file: %v", err)
	}
}
