package fetch

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/recipe"
)

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestSourceDirSpellings(t *testing.T) {
	data := content(20, 1000)
	a := archiveOf(data, "")
	a.Component, a.File, a.Version = "mod_wsgi", "mod_wsgi-5.0.2.tar.gz", "5.0.2"
	a.Debian = &recipe.Debian{Source: "mod-wsgi", File: "mod-wsgi_5.0.2.orig.tar.gz"}
	a.URLs = []string{"https://example.org/archive/refs/tags/R_5_0_2.tar.gz", "https://example.org/5.0.2.tar.gz"}
	for _, name := range []string{
		"mod_wsgi-5.0.2.tar.gz", "mod-wsgi-5.0.2.tar.gz", "mod-wsgi_5.0.2.orig.tar.gz", "mod_wsgi_5.0.2.orig.tar.gz", "R_5_0_2.tar.gz",
	} {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, name), data)
		f := newFetcher(t, nil, Options{SourceDirs: []string{t.TempDir(), dir}, Offline: true})
		file, err := f.Fetch(context.Background(), a)
		mustBe(t, file, err, data)
		if file.Provider != SourceDir || file.Path != filepath.Join(dir, name) {
			t.Errorf("File = %+v", file)
		}
		if _, err := os.Stat(f.opts.CacheDir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the cache was touched: %v", err)
		}
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "5.0.2.tar.gz"), []byte("another project's"))
	f := newFetcher(t, nil, Options{SourceDirs: []string{dir}, Offline: true})
	var missing *Unavailable
	if _, err := f.Fetch(context.Background(), a); !errors.As(err, &missing) {
		t.Errorf("Fetch = %v", err)
	}
}

func TestWrongFileInSourceDirIsAnErrorAndStays(t *testing.T) {
	data := content(21, 1000)
	s := newServer(t, good(data))
	a := archiveOf(data, s.URL)
	for name, place := range map[string]func(path string) error{
		"other content": func(p string) error { return os.WriteFile(p, []byte("something else"), 0o600) },
		"empty":         func(p string) error { return os.WriteFile(p, nil, 0o600) },
		"a directory":   func(p string) error { return os.Mkdir(p, 0o700) },
		"dangling link": func(p string) error { return os.Symlink("nowhere", p) },
	} {
		dir, right := t.TempDir(), t.TempDir()
		path := filepath.Join(dir, a.File)
		if err := place(path); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(right, a.File), data)
		f := newFetcher(t, s, Options{SourceDirs: []string{dir, right}})
		_, err := f.Fetch(context.Background(), a)
		if err == nil || !strings.Contains(err.Error(), path) || fault.ClassOf(err) != fault.Source || fault.HintOf(err) == "" {
			t.Errorf("%s: Fetch = %v, hint %q", name, err, fault.HintOf(err))
		}
		var m *Mismatch
		if name == "other content" && (!errors.As(err, &m) || m.Expected != a.SHA256 || !strings.Contains(err.Error(), m.Actual) || !strings.Contains(err.Error(), a.SHA256)) {
			t.Errorf("%s: Fetch = %v", name, err)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("%s: it was removed: %v", name, err)
		}
	}
	if len(s.log()) > 0 {
		t.Errorf("the network was asked: %q", s.log())
	}
}

func TestSourceDirTakesLinks(t *testing.T) {
	data := content(22, 1000)
	a := archiveOf(data, "")
	real, dir := t.TempDir(), t.TempDir()
	writeFile(t, filepath.Join(real, "store"), data)
	if err := os.Symlink(filepath.Join(real, "store"), filepath.Join(dir, a.File)); err != nil {
		t.Skip(err)
	}
	f := newFetcher(t, nil, Options{SourceDirs: []string{dir}})
	file, err := f.Fetch(context.Background(), a)
	mustBe(t, file, err, data)
}

func TestOptionsThatCannotWork(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, nil)
	for name, o := range map[string]Options{
		"no source directory":    {SourceDirs: []string{filepath.Join(file, "none")}},
		"a file":                 {SourceDirs: []string{file}},
		"a mirror without host":  {Mirrors: []string{"/srv/mirror"}},
		"a mirror by ftp":        {Mirrors: []string{"ftp://user:secret@example.org/"}},
		"a mirror not parseable": {Mirrors: []string{"https://user:secret@exa mple.org/"}},
		"a proxy by gopher":      {Env: []string{"HTTPS_PROXY=gopher://user:secret@example.org"}},
	} {
		o.CacheDir = t.TempDir()
		_, err := New(o)
		if fault.ClassOf(err) != fault.Usage || fault.HintOf(err) == "" || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: New = %v", name, err)
		}
	}
}

func TestOfflineNeverAsksAndListsTheProviders(t *testing.T) {
	data := content(23, 1000)
	s := newServer(t, good(data))
	f := newFetcher(t, s, Options{Offline: true, Mirrors: []string{s.URL}})
	f.opts.NoDebian = false
	a := archiveOf(data, s.URL)
	a.Debian = &recipe.Debian{Source: "thing", File: "thing_1.0.orig.tar.gz"}
	_, err := f.Fetch(context.Background(), a)
	var missing *Unavailable
	if !errors.As(err, &missing) || !missing.Offline {
		t.Fatalf("Fetch = %v", err)
	}
	for _, want := range []string{s.URL + "/dist/thing-1.0.tar.gz", s.URL + "/thing/thing-1.0.tar.gz", "thing_1.0.orig.tar.gz"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if hint := fault.HintOf(err); !strings.Contains(hint, "--source-dir") || !strings.Contains(hint, "--offline") {
		t.Errorf("hint %q", hint)
	}
	if _, _, err := f.Resolve(context.Background(), "httpd", "2.4.72"); fault.ClassOf(err) != fault.Source {
		t.Errorf("Resolve = %v", err)
	}
	if len(s.log()) > 0 {
		t.Errorf("the network was asked: %q", s.log())
	}
}

func TestMirrors(t *testing.T) {
	data := content(24, 5000)
	good := good(data)
	for _, path := range []string{"/base/thing-1.0.tar.gz", "/base/thing/thing-1.0.tar.gz"} {
		s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
			if user, password, _ := r.BasicAuth(); r.URL.Path != path || user != "me" || password != "secret" {
				http.NotFound(w, r)
				return
			}
			good(w, r)
		})
		withPassword := strings.Replace(s.URL, "://", "://me:secret@", 1) + "/base/"
		var said strings.Builder
		f := newFetcher(t, s, Options{Mirrors: []string{withPassword}, Events: func(e event.Event) { said.WriteString(e.Text) }})
		file, err := f.Fetch(context.Background(), archiveOf(data, s.URL+"/unused"))
		mustBe(t, file, err, data)
		if file.From != s.URL+path || strings.Contains(said.String(), "secret") {
			t.Errorf("From = %q, events %q", file.From, said.String())
		}
		s.behave(http.NotFound)
		_, err = f.Fetch(context.Background(), archiveOf(content(25, 10), withPassword))
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("Fetch = %v", err)
		}
	}
}

func TestHTTPMirrorIsAllowed(t *testing.T) {
	data := content(26, 5000)
	plain := httptest.NewServer(good(data))
	defer plain.Close()
	f := newFetcher(t, nil, Options{Mirrors: []string{plain.URL}})
	file, err := f.Fetch(context.Background(), archiveOf(data, ""))
	mustBe(t, file, err, data)
	f = newFetcher(t, nil, Options{})
	if _, err := f.Fetch(context.Background(), archiveOf(data, plain.URL)); err == nil || !strings.Contains(err.Error(), "http addresses are not used") {
		t.Errorf("an http address of a recipe: %v", err)
	}
	f = newFetcher(t, nil, Options{AllowHTTP: true})
	file, err = f.Fetch(context.Background(), archiveOf(data, plain.URL))
	mustBe(t, file, err, data)
}

func TestNextAddressIsTried(t *testing.T) {
	data := content(27, 5000)
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/bad/") {
			_, _ = w.Write(content(28, 5000))
			return
		}
		good(data)(w, r)
	})
	a := archiveOf(data, s.URL+"/bad")
	a.URLs = append(a.URLs, s.URL+"/good/thing-1.0.tar.gz")
	f := newFetcher(t, s, Options{})
	file, err := f.Fetch(context.Background(), a)
	mustBe(t, file, err, data)
	if !strings.Contains(file.From, "/good/") {
		t.Errorf("From = %q", file.From)
	}
}

func TestDeadHostIsAskedOnce(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "https://" + l.Addr().String()
	l.Close()
	f := newFetcher(t, nil, Options{})
	f.opts.RetryDelay = time.Hour // a retry would end the test by its timeout
	f.opts.MaxDelay = time.Hour
	for i := range 3 {
		if _, err := f.Fetch(context.Background(), archiveOf(content(byte(30+i), 10), address)); err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("Fetch = %v", err)
		}
	}
	if len(f.hosts.errs) != 1 {
		t.Errorf("remembered: %v", f.hosts.errs)
	}
}

func TestUntrustedCertificateIsRefused(t *testing.T) {
	data := content(34, 100)
	s := newServer(t, good(data))
	f := newFetcher(t, nil, Options{})
	f.opts.RetryDelay, f.opts.MaxDelay = time.Hour, time.Hour
	a := archiveOf(data, s.URL)
	if _, err := f.Fetch(context.Background(), a); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("Fetch = %v", err)
	}
	nothingUsable(t, f, a, false)
}

func TestProxyFromTheEnvironment(t *testing.T) {
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.Host+" "+r.Header.Get("Proxy-Authorization"))
		w.WriteHeader(http.StatusForbidden)
	}))
	defer proxy.Close()
	env := []string{"https_proxy=" + strings.Replace(proxy.URL, "://", "://me:secret@", 1), "NO_PROXY=example.com"}
	f := newFetcher(t, nil, Options{Env: env})
	a := archiveOf(content(35, 10), "https://archive.example.org")
	_, err := f.Fetch(context.Background(), a)
	if err == nil || !strings.Contains(err.Error(), "proxy") || !strings.Contains(err.Error(), "403") || strings.Contains(err.Error(), "secret") {
		t.Errorf("Fetch = %v", err)
	}
	if len(asked) != 1 || asked[0] != "CONNECT archive.example.org:443 Basic bWU6c2VjcmV0" {
		t.Errorf("the proxy was asked %q", asked)
	}
}

func TestDeadProxyIsAskedOnce(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	f := newFetcher(t, nil, Options{Env: []string{"ALL_PROXY=http://me:secret@" + address}})
	f.opts.RetryDelay, f.opts.MaxDelay = time.Hour, time.Hour
	_, err = f.Fetch(context.Background(), archiveOf(content(38, 10), "https://archive.example.org"))
	if err == nil || !strings.Contains(err.Error(), "refused") || strings.Contains(err.Error(), "secret") {
		t.Errorf("Fetch = %v", err)
	}
}

func TestSummaryIsOneLineWithEachReasonOnce(t *testing.T) {
	s := newServer(t, http.NotFound)
	f := newFetcher(t, s, Options{Mirrors: []string{s.URL}})
	_, err := f.Fetch(context.Background(), archiveOf(content(39, 10), s.URL))
	var missing *Unavailable
	if !errors.As(err, &missing) || len(missing.Attempts) != 4 {
		t.Fatalf("Fetch = %v", err)
	}
	want := "thing 1.0 is unavailable (" + s.Listener.Addr().String() + ": 404 Not Found)"
	if got := missing.Summary(); got != want {
		t.Errorf("Summary = %q, want %q", got, want)
	}
}

func TestCacheThatCannotBeWritten(t *testing.T) {
	blocked := filepath.Join(t.TempDir(), "file")
	writeFile(t, blocked, nil)
	f := newFetcher(t, nil, Options{CacheDir: filepath.Join(blocked, "cache")})
	_, err := f.Fetch(context.Background(), archiveOf([]byte("x"), ""))
	if fault.ClassOf(err) != fault.Environment || !strings.Contains(err.Error(), blocked) || fault.HintOf(err) == "" {
		t.Errorf("Fetch = %v", err)
	}
}

func TestReadOnlyCacheServes(t *testing.T) {
	if runtime.GOOS == "windows" || os.Getuid() == 0 {
		t.Skip("needs an ordinary user on a Unix system")
	}
	data := content(36, 100)
	s := newServer(t, good(data))
	f := newFetcher(t, s, Options{})
	file, err := f.Fetch(context.Background(), archiveOf(data, s.URL))
	mustBe(t, file, err, data)
	if err := os.Chmod(filepath.Dir(file.Path), 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(filepath.Dir(file.Path), 0o700) })
	file, err = f.Fetch(context.Background(), archiveOf(data, s.URL))
	mustBe(t, file, err, data)
}

func TestProgressIsRareAndComplete(t *testing.T) {
	data := content(37, 3_000_000)
	s := newServer(t, good(data))
	var events []event.Event
	f := newFetcher(t, s, Options{Events: func(e event.Event) { events = append(events, e) }})
	a := archiveOf(data, s.URL)
	began := time.Now()
	file, err := f.Fetch(context.Background(), a)
	elapsed := time.Since(began)
	mustBe(t, file, err, data)
	if len(events) < 3 || events[0].Kind != event.Start || events[len(events)-1].Kind != event.Done {
		t.Fatalf("events: %+v", events)
	}
	if limit := 4 + int(elapsed/(100*time.Millisecond)); len(events) > limit+2 {
		t.Errorf("%d events in %s", len(events), elapsed)
	}
	whole := false
	for _, e := range events {
		if e.Step != "fetch thing 1.0" {
			t.Errorf("step %q", e.Step)
		}
		whole = whole || e.Bytes == a.Size && e.Total == a.Size
	}
	if !whole {
		t.Errorf("the last byte was not reported: %+v", events)
	}
}

func TestRefusesArchivesWithoutHashOrWithAPath(t *testing.T) {
	f := newFetcher(t, nil, Options{})
	for _, change := range []func(*recipe.Archive){
		func(a *recipe.Archive) { a.SHA256 = "" },
		func(a *recipe.Archive) { a.SHA256 = strings.Repeat("../", 21) + "x" },
		func(a *recipe.Archive) { a.SHA256 = strings.ToUpper(a.SHA256) },
		func(a *recipe.Archive) { a.File = "../x.tar.gz" },
		func(a *recipe.Archive) { a.File = "" },
	} {
		a := archiveOf(bytes.Repeat([]byte("x"), 9), "")
		change(&a)
		if _, err := f.Fetch(context.Background(), a); err == nil {
			t.Errorf("Fetch(%+v) succeeded", a)
		}
	}
	if _, err := os.Stat(f.opts.CacheDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the cache was touched: %v", err)
	}
}
