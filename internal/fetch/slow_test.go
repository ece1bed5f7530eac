package fetch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/internal/httpc"
	"modwsgi/internal/recipe"
)

// drip serves data properly, n bytes per interval, and supports Range.
func drip(data []byte, n int, every time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/thing-1.0.tar.gz") {
			http.NotFound(w, r)
			return
		}
		from := 0
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(data)-1, len(data)))
		}
		w.Header().Set("ETag", `"slow"`)
		w.Header().Set("Content-Length", fmt.Sprint(len(data)-from))
		if from > 0 {
			w.WriteHeader(http.StatusPartialContent)
		}
		dripBody(w, r, data[from:], n, every)
	}
}

func dripBody(w http.ResponseWriter, r *http.Request, data []byte, n int, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for len(data) > 0 {
		k := min(n, len(data))
		if _, err := w.Write(data[:k]); err != nil {
			return
		}
		w.(http.Flusher).Flush()
		data = data[k:]
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

func mirrorsOf(servers ...*server) []string {
	var out []string
	for _, s := range servers {
		out = append(out, s.URL)
	}
	return out
}

// TestSlowServerIsAbandoned: a server that sends a byte now and then never stalls, but must
// not hold up the download, and the next server is asked.
func TestSlowServerIsAbandoned(t *testing.T) {
	data := content(40, 200_000)
	for name, slow := range map[string]http.HandlerFunc{
		"a byte every 20 ms":         drip(data, 1, 20*time.Millisecond),
		"a byte just before a stall": drip(data, 1, 150*time.Millisecond),
		"below the rate":             drip(data, 500, 20*time.Millisecond),
		"fast at first": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			_, _ = w.Write(data[:100_000])
			dripBody(w, r, data[100_000:], 1, 20*time.Millisecond)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad, well := newServer(t, slow), newServer(t, good(data))
			f := newFetcher(t, bad, Options{Mirrors: mirrorsOf(bad, well), StallTimeout: 300 * time.Millisecond, MinRate: 100_000, Total: time.Minute})
			began := time.Now()
			file, err := f.Fetch(context.Background(), archiveOf(data, ""))
			mustBe(t, file, err, data)
			if !strings.HasPrefix(file.From, well.URL) {
				t.Errorf("from %s", file.From)
			}
			if spent := time.Since(began); spent > 20*time.Second {
				t.Errorf("it took %s", spent)
			}
			left, _ := filepath.Glob(filepath.Join(filepath.Dir(file.Path), "*"))
			if len(left) != 1 {
				t.Errorf("beside the archive: %v", left)
			}
		})
	}
}

// TestShareOfTheTime: a server that is just fast enough for the rate does not use up the
// time of the others.
func TestShareOfTheTime(t *testing.T) {
	data := content(41, 200_000)
	bad, well := newServer(t, drip(data, 200, 10*time.Millisecond)), newServer(t, good(data))
	f := newFetcher(t, bad, Options{Mirrors: mirrorsOf(bad, well), MinRate: 1, Total: 5 * time.Second})
	file, err := f.Fetch(context.Background(), archiveOf(data, ""))
	mustBe(t, file, err, data)
	if !strings.HasPrefix(file.From, well.URL) {
		t.Errorf("from %s", file.From)
	}
}

// TestSlowServerIsResumedLast: if no other server has the archive, the slow server is
// resumed, however slow it is, and whatever the others sent in the meantime.
func TestSlowServerIsResumedLast(t *testing.T) {
	data := content(42, 100_000)
	for name, other := range map[string]http.HandlerFunc{
		"not there": http.NotFound,
		"busy":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
		"a page": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte("hello"))
		},
		"wrong content": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content(43, 100_000)) },
		"ends early": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100000")
			_, _ = w.Write(data[:10])
		},
		"slower than all": drip(data, 1, 20*time.Millisecond),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// 60,000 bytes at once, then too little; fast enough the second time.
			var asked atomic.Int32
			bad := newServer(t, func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/thing/thing-1.0.tar.gz") {
					http.NotFound(w, r)
					return
				}
				if asked.Add(1) == 1 {
					w.Header().Set("ETag", `"slow"`)
					w.Header().Set("Content-Length", fmt.Sprint(len(data)))
					_, _ = w.Write(data[:60_000])
					dripBody(w, r, data[60_000:], 1, 20*time.Millisecond)
					return
				}
				drip(data, 2000, 10*time.Millisecond)(w, r)
			})
			well := newServer(t, other)
			f := newFetcher(t, bad, Options{
				Mirrors: mirrorsOf(bad, well), StallTimeout: 300 * time.Millisecond, MinRate: 1 << 30, Total: time.Minute, Retries: -1,
			})
			file, err := f.Fetch(context.Background(), archiveOf(data, ""))
			mustBe(t, file, err, data)
			if !strings.HasPrefix(file.From, bad.URL) {
				t.Errorf("from %s", file.From)
			}
			log := bad.log()
			last := log[len(log)-1]
			var from int
			if _, err := fmt.Sscanf(last, "/thing-1.0.tar.gz bytes=%d-", &from); err != nil || from < 60_000 {
				t.Errorf("the slow one was asked %q", log)
			}
			left, _ := filepath.Glob(filepath.Join(filepath.Dir(file.Path), "*"))
			if len(left) != 1 {
				t.Errorf("beside the archive: %v", left)
			}
		})
	}
}

// TestTotalLimit: the download has a total limit, which is reported, and the next run
// resumes.
func TestTotalLimit(t *testing.T) {
	data := content(44, 100_000)
	s := newServer(t, drip(data, 500, 20*time.Millisecond))
	f := newFetcher(t, s, Options{Total: 900 * time.Millisecond, MinRate: -1})
	a := archiveOf(data, s.URL)
	began := time.Now()
	_, err := f.Fetch(context.Background(), a)
	var missing *Unavailable
	if !errors.As(err, &missing) || !strings.Contains(err.Error(), "--download-timeout") || !strings.Contains(fault.HintOf(err), "to resume") || fault.ClassOf(err) != fault.Source {
		t.Fatalf("Fetch = %v, hint %q", err, fault.HintOf(err))
	}
	if spent := time.Since(began); spent > 15*time.Second {
		t.Errorf("it took %s", spent)
	}
	part, err := os.Stat(filepath.Join(f.opts.CacheDir, "archives", "sha256", a.SHA256, partialName))
	if err != nil || part.Size() == 0 {
		t.Fatalf("the beginning was removed: %v", err)
	}
	s.behave(good(data))
	file, err := f.Fetch(context.Background(), a)
	mustBe(t, file, err, data)
	if want := fmt.Sprintf("bytes=%d-", part.Size()); !strings.Contains(s.log()[0], want) {
		t.Errorf("asked %q, want %q", s.log(), want)
	}
}

// TestSlowAnswersOfEveryKind: every read of an answer has a limit.
func TestSlowAnswersOfEveryKind(t *testing.T) {
	slowly := func(w http.ResponseWriter, r *http.Request) {
		dripBody(w, r, []byte(strings.Repeat("x", 4000)), 1, 20*time.Millisecond)
	}
	bodyOfRedirect := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(http.StatusFound)
		slowly(w, r)
	}
	options := Options{StallTimeout: 200 * time.Millisecond, HeaderTimeout: 200 * time.Millisecond, MinRate: 10_000, Total: time.Minute, Retries: 1}
	within := func(t *testing.T, do func() error, want string) {
		t.Helper()
		began := time.Now()
		if err := do(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if spent := time.Since(began); spent > 15*time.Second {
			t.Errorf("it took %s", spent)
		}
	}
	resolve := func(f *Fetcher, component, version string) func() error {
		return func() error { _, _, err := f.Resolve(context.Background(), component, version); return err }
	}
	t.Run("digest file", func(t *testing.T) {
		t.Parallel()
		s := newServer(t, slowly)
		o := options
		o.ApacheBases = []string{s.URL}
		within(t, resolve(newFetcher(t, s, o), "httpd", "2.4.99"), "below the minimum")
	})
	t.Run("package index", func(t *testing.T) {
		t.Parallel()
		s := newServer(t, slowly)
		o := options
		o.PyPIBase = s.URL
		within(t, resolve(newFetcher(t, s, o), "mod_wsgi", "9.9.9"), "below the minimum")
	})
	t.Run("body of a redirect", func(t *testing.T) {
		t.Parallel()
		s := newServer(t, bodyOfRedirect)
		f := newFetcher(t, s, options)
		within(t, func() error { _, err := f.Fetch(context.Background(), archiveOf(content(45, 100), s.URL)); return err }, "redirects included")
	})
	t.Run("signature", func(t *testing.T) {
		t.Parallel()
		data := content(46, 50_000)
		s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, ".asc") {
				slowly(w, r)
				return
			}
			_, _ = w.Write(data)
		})
		f := newFetcher(t, s, options)
		a := archiveOf(data, s.URL)
		a.Component = "httpd"
		began := time.Now()
		file, err := f.Fetch(context.Background(), a)
		mustBe(t, file, err, data)
		if spent := time.Since(began); spent > 4*time.Second || file.Trust != recipe.Pinned {
			t.Errorf("it took %s; %+v", spent, file)
		}
	})
	t.Run("headers without end", func(t *testing.T) {
		t.Parallel()
		s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = conn.Close() }()
			_, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\n"))
			for range 1000 {
				if _, err := conn.Write([]byte("X-More: 1\r\n")); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
		f := newFetcher(t, s, options)
		within(t, func() error { _, err := f.Fetch(context.Background(), archiveOf(content(47, 100), s.URL)); return err }, "timeout")
	})
}

// TestLimitsAreRead: the program's options take effect, and invalid ones are refused.
func TestLimitsAreRead(t *testing.T) {
	f, err := New(Options{CacheDir: t.TempDir(), Env: []string{httpc.RateVariable + "=2K", httpc.TimeoutVariable + "=80s"}})
	if err != nil {
		t.Fatal(err)
	}
	if f.opts.MinRate != 2048 || f.opts.Total != 80*time.Second || f.opts.StallTimeout != 5*time.Second {
		t.Errorf("%+v", f.opts)
	}
	if _, err := New(Options{CacheDir: t.TempDir(), Env: []string{httpc.TimeoutVariable + "=soon"}}); fault.ClassOf(err) != fault.Usage {
		t.Errorf("%v", err)
	}
}
