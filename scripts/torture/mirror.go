//go:build linux

package main

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// wrong answers for a file; every one has to end in an error that names the mirror,
// with the environment as it was.
type wrong func(w http.ResponseWriter, r *http.Request, data []byte)

// answer is a whole answer of one status.
func answer(status int, kind string, body func([]byte) []byte) wrong {
	return func(w http.ResponseWriter, _ *http.Request, data []byte) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = w.Write(body(data))
	}
}

func same(data []byte) []byte { return data }

func text(s string) func([]byte) []byte { return func([]byte) []byte { return []byte(s) } }

// slowly sends bytes with pauses until nobody listens.
func slowly(w io.Writer, r *http.Request, body []byte, n int, every time.Duration) {
	for i := 0; r.Context().Err() == nil && len(body) > 0; i += n {
		if _, err := w.Write(body[:min(n, len(body))]); err != nil {
			return
		}
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
		body = body[min(n, len(body)):]
		select {
		case <-r.Context().Done():
		case <-time.After(every):
		}
	}
}

// endless sends the same again and again.
func endless(w http.ResponseWriter, r *http.Request, data []byte) {
	for r.Context().Err() == nil {
		if _, err := w.Write(data); err != nil {
			return
		}
	}
}

// raw answers on the connection itself.
func raw(do func(c net.Conn, r *http.Request, data []byte)) wrong {
	return func(w http.ResponseWriter, r *http.Request, data []byte) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		do(c, r, data)
	}
}

func redirect(status int, to string) wrong {
	return func(w http.ResponseWriter, r *http.Request, _ []byte) { http.Redirect(w, r, to, status) }
}

func length(n string, part func([]byte) []byte) wrong {
	return raw(func(c net.Conn, _ *http.Request, data []byte) {
		_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n", n)
		_, _ = c.Write(part(data))
	})
}

var kinds = map[string]wrong{
	"a flipped bit":          answer(200, "application/gzip", func(d []byte) []byte { d[len(d)/2] ^= 1; return d }),
	"a flipped first bit":    answer(200, "application/gzip", func(d []byte) []byte { d[0] ^= 1; return d }),
	"a flipped last bit":     answer(200, "application/gzip", func(d []byte) []byte { d[len(d)-1] ^= 1; return d }),
	"the first half":         answer(200, "application/gzip", func(d []byte) []byte { return d[:len(d)/2] }),
	"one byte less":          answer(200, "application/gzip", func(d []byte) []byte { return d[:len(d)-1] }),
	"one byte more":          answer(200, "application/gzip", func(d []byte) []byte { return append(d, 'x') }),
	"twice":                  answer(200, "application/gzip", func(d []byte) []byte { return append(d, d...) }),
	"nothing":                answer(200, "application/gzip", text("")),
	"zeros":                  answer(200, "application/gzip", func(d []byte) []byte { return make([]byte, len(d)) }),
	"a page":                 answer(200, "text/html", text("<html>sign in</html>")),
	"a page as an archive":   answer(200, "application/gzip", text("<html>sign in</html>")),
	"204":                    answer(204, "text/plain", text("")),
	"206 that nobody wanted": answer(206, "application/gzip", same),
	"300":                    answer(300, "text/plain", text("choose")),
	"304":                    answer(304, "text/plain", text("")),
	"401":                    answer(401, "text/plain", text("who?")),
	"403":                    answer(403, "text/plain", text("no")),
	"404":                    answer(404, "text/plain", text("no")),
	"410":                    answer(410, "text/plain", text("gone")),
	"418":                    answer(418, "text/plain", text("tea")),
	"500":                    answer(500, "text/plain", text("oh")),
	"503 with the whole":     answer(503, "application/gzip", same),
	"an unknown status":      answer(799, "text/plain", text("?")),
	"redirect to itself": func(w http.ResponseWriter, r *http.Request, _ []byte) {
		http.Redirect(w, r, r.URL.Path, http.StatusFound)
	},
	"redirect to another host": redirect(302, "http://192.0.2.1/x"),
	"redirect to a file":       redirect(301, "file:///etc/passwd"),
	"redirect to nowhere": raw(func(c net.Conn, _ *http.Request, _ []byte) {
		_, _ = io.WriteString(c, "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n")
	}),
	"wait an hour": func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(429)
	},
	"hangs up":                raw(func(net.Conn, *http.Request, []byte) {}),
	"hangs up in the headers": raw(func(c net.Conn, _ *http.Request, _ []byte) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Le") }),
	"not HTTP":                raw(func(c net.Conn, _ *http.Request, _ []byte) { _, _ = io.WriteString(c, "220 ready\r\n") }),
	"a length too large":      length("99999999999999", same),
	"a length too small":      length("10", same),
	"no number as a length":   length("many", same),
	"a negative length":       length("-1", same),
	"ends in the middle": func(w http.ResponseWriter, _ *http.Request, d []byte) {
		w.Header().Set("Content-Length", fmt.Sprint(len(d)))
		_, _ = w.Write(d[:1000])
	},
	"stops in the middle": func(w http.ResponseWriter, r *http.Request, d []byte) {
		w.Header().Set("Content-Length", fmt.Sprint(len(d)))
		_, _ = w.Write(d[:1000])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	},
	"never answers":       func(_ http.ResponseWriter, r *http.Request, _ []byte) { <-r.Context().Done() },
	"a byte now and then": func(w http.ResponseWriter, r *http.Request, d []byte) { slowly(w, r, d, 1, 100*time.Millisecond) },
	"headers without end": raw(func(c net.Conn, r *http.Request, _ []byte) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
		slowly(c, r, []byte(strings.Repeat("X: y\r\n", 5000)), 6, 20*time.Millisecond)
	}),
	"huge headers": raw(func(c net.Conn, _ *http.Request, _ []byte) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("y", 1<<20)+"\r\n\r\n")
	}),
	"a redirect without end": func(w http.ResponseWriter, r *http.Request, d []byte) {
		w.Header().Set("Location", "/x")
		w.WriteHeader(http.StatusFound)
		slowly(w, r, d, 1, 50*time.Millisecond)
	},
	"a bad chunk": raw(func(c net.Conn, _ *http.Request, _ []byte) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
	}),
	"chunks without end": func(w http.ResponseWriter, r *http.Request, d []byte) {
		endless(w, r, d)
	},
	"gzip around it": func(w http.ResponseWriter, _ *http.Request, d []byte) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(d[:len(d)-7])
	},
	"100 without end": raw(func(c net.Conn, r *http.Request, _ []byte) {
		slowly(c, r, []byte(strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 500)), 25, 20*time.Millisecond)
	}),
	"a range of its own": func(w http.ResponseWriter, _ *http.Request, d []byte) {
		w.Header().Set("Content-Range", "bytes 5-9/10")
		w.WriteHeader(206)
		_, _ = w.Write(d)
	},
	"another file instead": answer(200, "application/gzip", func(d []byte) []byte { slices.Reverse(d); return d }),
}

// mirror has an install ask a mirror of each kind alone, and at the end, with what
// the cache has become, one that behaves.
func (t *torture) mirror() {
	names := slices.Sorted(maps.Keys(kinds))
	t.rand.Shuffle(len(names), func(i, k int) { names[i], names[k] = names[k], names[i] })
	if t.short {
		names = names[:5]
	}
	env, err := t.venv(t.ctx, "env-mirror")
	if err != nil {
		t.fail("%v", err)
		return
	}
	s := httptest.NewServer(http.HandlerFunc(t.misbehave))
	defer s.Close()
	before := snapshot(env)
	var wait sync.WaitGroup
	slots := make(chan struct{}, 3)
	var mu sync.Mutex
	tried := 0
	for _, name := range names {
		if !t.more() {
			break
		}
		tried++
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			began := time.Now()
			r := t.fetching(env, s.URL, name, filepath.Join("mirror", strings.ReplaceAll(name, " ", "-")))
			mu.Lock()
			defer mu.Unlock()
			if r.code != 4 || !strings.Contains(r.output, "hint:") || !strings.Contains(r.output, s.Listener.Addr().String()) {
				t.fail("a mirror with %q: %v", name, r)
			}
			if spent := time.Since(began); spent > 4*time.Minute {
				t.fail("a mirror with %q held an install up for %s", name, spent)
			}
			if found, _ := filepath.Glob(t.path("mirror/" + strings.ReplaceAll(name, " ", "-") + "/downloads/archives/sha256/*/*.tar.*")); len(found) > 0 {
				t.fail("a mirror with %q: in the cache: %q", name, found)
			}
		})
	}
	wait.Wait()
	if d := differences(before, snapshot(env)); len(d) > 0 {
		t.fail("the environment has changed: %q", d)
	}
	// The cache of the first one goes on with a mirror that behaves.
	at := filepath.Join("mirror", strings.ReplaceAll(names[0], " ", "-"))
	if r := t.do(t.ctx, "cp", "-a", filepath.Join(t.cache, "builds"), t.path(at)); r.code != 0 {
		t.fail("%v", r)
	}
	if r := t.fetching(env, s.URL, "good", at); r.code != 0 {
		t.fail("when the mirror behaves: %v", r)
	}
	t.whole("when the mirror behaves", env)
	t.clean("after the mirrors", env)
	t.figure("%d kinds", tried)
}

// fetching is an install that needs every archive, from a mirror of one kind.
func (t *torture) fetching(env, base, kind, cache string) result {
	limit := "8s"
	if kind == "good" {
		limit = "3m"
	}
	argv := t.modwsgi("install", "--httpd", "bundled", "--python", env, "--cache-dir", t.path(cache), "--lock-file", t.path(cache)+".lock",
		"--mirror", base+"/"+strings.ReplaceAll(kind, " ", "-"), "--download-timeout", limit)
	_ = os.MkdirAll(t.path(cache), 0o755)
	return t.do(t.ctx, argv...)
}

// misbehave serves archives, well or badly, as the first part of the path says.
func (t *torture) misbehave(w http.ResponseWriter, r *http.Request) {
	kind, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	data, err := os.ReadFile(t.path(filepath.Join("sources", filepath.Base(name))))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	if kind == "good" {
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(data)))
		return
	}
	for known, do := range kinds {
		if strings.ReplaceAll(known, " ", "-") == kind {
			do(w, r, data)
			return
		}
	}
	http.NotFound(w, r)
}
