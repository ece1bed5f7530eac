package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/recipe"
)

// content returns n incompressible bytes.
func content(seed byte, n int) []byte {
	r := rand.NewChaCha8([32]byte{seed})
	b := make([]byte, n)
	_, _ = r.Read(b)
	return b
}

func archiveOf(data []byte, url string) recipe.Archive {
	sum := sha256.Sum256(data)
	a := recipe.Archive{
		Component: "thing", Version: "1.0", File: "thing-1.0.tar.gz",
		Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:]),
	}
	if url != "" {
		a.URLs = []string{url + "/dist/thing-1.0.tar.gz"}
	}
	return a
}

// server is a TLS server on the loopback interface whose behaviour a test changes, with a
// log of requests.
type server struct {
	*httptest.Server
	mu      sync.Mutex
	handler http.Handler
	asked   []string // "PATH RANGE IF-RANGE"
}

func newServer(t *testing.T, h http.HandlerFunc) *server {
	t.Helper()
	s := &server{handler: h}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, strings.TrimSpace(r.URL.Path+" "+r.Header.Get("Range")+" "+r.Header.Get("If-Range")))
		h := s.handler
		s.mu.Unlock()
		h.ServeHTTP(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func (s *server) behave(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handler, s.asked = h, nil
}

func (s *server) log() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

// good serves the data properly, with ranges and an ETag; other paths are 404.
func good(data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/thing-1.0.tar.gz") {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Content-Type", "application/gzip")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}
}

// newFetcher returns a Fetcher that trusts the server's certificate and does not wait
// long.
func newFetcher(t *testing.T, s *server, o Options) *Fetcher {
	t.Helper()
	if o.CacheDir == "" {
		o.CacheDir = filepath.Join(t.TempDir(), "cache")
	}
	o.NoDebian = true
	o.RetryDelay = time.Millisecond
	if o.MaxDelay == 0 {
		o.MaxDelay = 50 * time.Millisecond
	}
	if o.StallTimeout == 0 {
		o.StallTimeout = 5 * time.Second
	}
	f, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if s != nil {
		f.client.Transport.(*http.Transport).TLSClientConfig = s.Client().Transport.(*http.Transport).TLSClientConfig
	}
	return f
}

// nothingUsable fails the test if the cache contains anything that could be mistaken for
// an archive: only directories and the beginning of a download are allowed.
func nothingUsable(t *testing.T, f *Fetcher, a recipe.Archive, partialAllowed bool) {
	t.Helper()
	err := filepath.WalkDir(f.opts.CacheDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name := d.Name()
		if !partialAllowed || name != partialName && name != stateName {
			t.Errorf("left behind: %s", path)
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func mustBe(t *testing.T, file *File, err error, data []byte) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	got, rerr := os.ReadFile(file.Path)
	if rerr != nil || !bytes.Equal(got, data) {
		t.Fatalf("%s does not contain the archive: %v", file.Path, rerr)
	}
}

func TestMisbehavingServerFailsClosedThenSucceeds(t *testing.T) {
	data := content(1, 300_000)
	tampered := append([]byte(nil), data...)
	tampered[200_000] ^= 1
	write := func(status int, kind string, body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			_, _ = w.Write(body)
		}
	}
	chunked := func(body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for rest := body; len(rest) > 0; {
				n := min(len(rest), 50_000)
				if _, err := w.Write(rest[:n]); err != nil {
					return
				}
				w.(http.Flusher).Flush()
				rest = rest[n:]
			}
		}
	}
	for _, tt := range []struct {
		name    string
		bad     http.HandlerFunc
		unknown bool // the archive's size is unknown
		want    string
		partial bool // a beginning may stay
	}{
		{name: "tampered", bad: good(tampered), want: "it has sha256"},
		{name: "tampered, size unknown", bad: good(tampered), unknown: true, want: "it has sha256"},
		{name: "truncated", bad: good(data[:100_000]), want: "announces 100000 bytes"},
		{name: "truncated, chunked", bad: chunked(data[:100_000]), want: "ended after 100000 of 300000", partial: true},
		{name: "truncated, size unknown", bad: good(data[:100_000]), unknown: true, want: "it has sha256"},
		{name: "oversized", bad: good(append(data[:len(data):len(data)], 'x')), want: "announces 300001 bytes"},
		{name: "oversized, chunked", bad: chunked(append(data[:len(data):len(data)], 'x')), want: "sends more than 300000"},
		{name: "endless announcement, size unknown", unknown: true, want: "more than the limit", bad: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1099511627776")
			_, _ = w.Write(data)
		}},
		{name: "wrong content length", want: "the connection ended", partial: true, bad: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "300000")
			_, _ = w.Write(data[:1000])
		}},
		{name: "empty", bad: write(200, "application/gzip", nil), want: "announces 0 bytes"},
		{name: "gzip-encoded", want: "announces", bad: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write([]byte("\x1f\x8b\x08not what it seems"))
		}},
		{name: "HTML page with 200", bad: write(200, "text/html; charset=utf-8", []byte("<html>sign in</html>")), want: "HTML page"},
		{name: "HTML page with 200, size unknown", bad: write(200, "text/html", []byte("<html>sign in</html>")), unknown: true, want: "HTML page"},
		{name: "404", bad: write(404, "text/plain", data), want: "404 Not Found"},
		{name: "403", bad: write(403, "text/plain", data), want: "403 Forbidden"},
		{name: "500 for ever", bad: write(500, "text/plain", data), want: "500 Internal Server Error"},
		{name: "503 with a long wish", want: "asks to wait for 1h0m0s", bad: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(503)
		}},
		{name: "204", bad: write(204, "text/plain", nil), want: "204 No Content"},
		{name: "unrequested 206", bad: write(206, "text/plain", data), want: "206"},
		{name: "redirect to http", want: "not https", bad: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://example.org/thing-1.0.tar.gz", http.StatusFound)
		}},
		{name: "redirect to a file", want: "not https", bad: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		}},
		{name: "redirect loop", want: "redirects", bad: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
		}},
		{name: "stalls before the answer", want: "timeout", bad: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
		{name: "stalls in the middle", want: "no more data", partial: true, bad: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "300000")
			_, _ = w.Write(data[:1000])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}},
		{name: "hangs up", want: "EOF", bad: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, tt.bad)
			f := newFetcher(t, s, Options{Retries: 1, HeaderTimeout: 200 * time.Millisecond, StallTimeout: 200 * time.Millisecond})
			a := archiveOf(data, s.URL)
			if tt.unknown {
				a.Size = 0
			}
			file, err := f.Fetch(context.Background(), a)
			var missing *Unavailable
			if file != nil || !errors.As(err, &missing) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("Fetch = %v, %v; want an error with %q", file, err, tt.want)
			}
			if fault.ClassOf(err) != fault.Source || !strings.Contains(fault.HintOf(err), "--source-dir") || !strings.Contains(fault.HintOf(err), a.SHA256) {
				t.Errorf("class %v, hint %q", fault.ClassOf(err), fault.HintOf(err))
			}
			nothingUsable(t, f, a, tt.partial)
			s.behave(good(data))
			file, err = f.Fetch(context.Background(), a)
			mustBe(t, file, err, data)
			if file.Provider != URL || file.Trust != recipe.Pinned || strings.Contains(file.From, "@") {
				t.Errorf("File = %+v", file)
			}
			left, _ := filepath.Glob(filepath.Join(filepath.Dir(file.Path), "*"))
			if len(left) != 1 {
				t.Errorf("beside the archive: %v", left)
			}
		})
	}
}

func TestTransientErrorsAreRetried(t *testing.T) {
	data := content(2, 10_000)
	for _, status := range []int{500, 502, 503, 429, 408} {
		var n atomic.Int32
		s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1) <= 2 {
				w.Header().Set("Retry-After", "0")
				w.WriteHeader(status)
				return
			}
			good(data)(w, r)
		})
		f := newFetcher(t, s, Options{})
		file, err := f.Fetch(context.Background(), archiveOf(data, s.URL))
		mustBe(t, file, err, data)
	}
}

// cutOff sends the first n bytes of the whole and then drops the connection.
func cutOff(data []byte, n int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		_, _ = w.Write(data[:n])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}

func TestResume(t *testing.T) {
	data := content(3, 400_000)
	other := content(4, 400_000)
	const n = 150_000
	for _, tt := range []struct {
		name string
		then http.HandlerFunc
		want []string // requests after the interruption
	}{
		{"the server supports ranges", good(data), []string{`bytes=150000- "v1"`}},
		{"the server ignores ranges", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) }, []string{`bytes=150000- "v1"`}},
		{"another range comes", func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				w.Header().Set("Content-Range", "bytes 100000-399999/400000")
				w.WriteHeader(206)
				_, _ = w.Write(data[100_000:])
				return
			}
			good(data)(w, r)
		}, []string{`bytes=150000- "v1"`, ""}},
		{"no range is named", func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				w.WriteHeader(206)
				_, _ = w.Write(data[n:])
				return
			}
			good(data)(w, r)
		}, []string{`bytes=150000- "v1"`, ""}},
		{"the range is refused", func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				w.WriteHeader(416)
				return
			}
			good(data)(w, r)
		}, []string{`bytes=150000- "v1"`, ""}},
		{"the content changed and If-Range is ignored", func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				w.Header().Set("Content-Range", "bytes 150000-399999/400000")
				w.WriteHeader(206)
				_, _ = w.Write(other[n:])
				return
			}
			good(data)(w, r)
		}, []string{`bytes=150000- "v1"`, ""}},
		{"the file has another length now", func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				w.WriteHeader(503)
				return
			}
			good(data)(w, r)
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, nil)
			var first atomic.Bool
			s.behave(func(w http.ResponseWriter, r *http.Request) {
				if first.CompareAndSwap(false, true) {
					cutOff(data, n)(w, r)
				}
				tt.then(w, r)
			})
			f := newFetcher(t, s, Options{})
			a := archiveOf(data, s.URL)
			file, err := f.Fetch(context.Background(), a)
			if tt.want == nil {
				if err == nil {
					t.Fatal("a server that is always busy served")
				}
				nothingUsable(t, f, a, true)
				return
			}
			mustBe(t, file, err, data)
			var got []string
			for _, line := range s.log()[1:] {
				got = append(got, strings.TrimSpace(strings.TrimPrefix(line, "/dist/thing-1.0.tar.gz")))
			}
			if strings.Join(got, "|") != strings.Join(tt.want, "|") {
				t.Errorf("asked %q, want %q", got, tt.want)
			}
		})
	}
}

func TestDamagedPartIsResumedOnce(t *testing.T) {
	data := content(5, 100_000)
	s := newServer(t, good(data))
	f := newFetcher(t, s, Options{})
	for name, begin := range map[string][]byte{
		"other content": content(6, 40_000), "complete but wrong": content(6, 100_000), "too long": content(6, 100_001),
		"complete and right": data, "empty": {},
	} {
		a := archiveOf(data, s.URL)
		dir := filepath.Join(f.opts.CacheDir, "archives", "sha256", a.SHA256)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for file, text := range map[string][]byte{partialName: begin, stateName: []byte("{torn")} {
			if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s.behave(good(data))
		file, err := f.Fetch(context.Background(), a)
		mustBe(t, file, err, data)
		if asked := len(s.log()); asked > 2 || name == "complete and right" && asked != 0 {
			t.Errorf("%s: asked %q", name, s.log())
		}
	}
}

func TestParallelFetchesAskOnce(t *testing.T) {
	data := content(7, 500_000)
	s := newServer(t, good(data))
	cache := filepath.Join(t.TempDir(), "cache")
	var wg sync.WaitGroup
	for i := range 8 {
		f := newFetcher(t, s, Options{CacheDir: cache}) // as separate processes would
		wg.Go(func() {
			file, err := f.Fetch(context.Background(), archiveOf(data, s.URL))
			if err != nil {
				t.Error(i, err)
				return
			}
			if got, err := os.ReadFile(file.Path); err != nil || !bytes.Equal(got, data) {
				t.Error(i, err)
			}
		})
	}
	wg.Wait()
	if asked := s.log(); len(asked) != 1 {
		t.Errorf("the server was asked %d times: %q", len(asked), asked)
	}
}

func TestDamagedCacheEntryIsFetchedAgain(t *testing.T) {
	data := content(8, 50_000)
	s := newServer(t, good(data))
	var warned []string
	f := newFetcher(t, s, Options{Events: func(e event.Event) {
		if e.Kind == event.Warn {
			warned = append(warned, e.Text)
		}
	}})
	a := archiveOf(data, s.URL)
	file, err := f.Fetch(context.Background(), a)
	mustBe(t, file, err, data)
	for name, damage := range map[string]func(path string) error{
		"a flipped bit": func(p string) error { return os.WriteFile(p, append([]byte{data[0] ^ 1}, data[1:]...), 0o600) },
		"truncated":     func(p string) error { return os.Truncate(p, 10) },
		"empty":         func(p string) error { return os.Truncate(p, 0) },
	} {
		warned = nil
		if err := damage(file.Path); err != nil {
			t.Fatal(err)
		}
		s.behave(good(data))
		again, err := f.Fetch(context.Background(), a)
		mustBe(t, again, err, data)
		if again.Provider != URL || len(s.log()) != 1 || len(warned) != 1 {
			t.Errorf("%s: provider %s, asked %q, warned %q", name, again.Provider, s.log(), warned)
		}
	}
	s.behave(good(data))
	again, err := f.Fetch(context.Background(), a)
	mustBe(t, again, err, data)
	if again.Provider != Cache || len(s.log()) != 0 {
		t.Errorf("provider %s, asked %q", again.Provider, s.log())
	}
}

func TestCancelledFetchLeavesNothingUsable(t *testing.T) {
	data := content(9, 300_000)
	ctx, cancel := context.WithCancel(context.Background())
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "300000")
		_, _ = w.Write(data[:100_000])
		w.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
	})
	f := newFetcher(t, s, Options{})
	a := archiveOf(data, s.URL)
	_, err := f.Fetch(ctx, a)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Fetch = %v", err)
	}
	nothingUsable(t, f, a, true)
	s.behave(good(data))
	file, err := f.Fetch(context.Background(), a)
	mustBe(t, file, err, data)
}
