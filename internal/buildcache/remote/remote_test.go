package remote

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"modwsgi/internal/buildcache"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
)

var (
	key   = strings.Repeat("ab", 32)
	other = strings.Repeat("cd", 32)
)

// entry is a local cache with one entry.
func entry(t *testing.T) buildcache.Cache {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"bin/httpd": strings.Repeat("binary ", 50_000), "a b/ü.txt": "text", "lib/libx.so.1": ""} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("libx.so.1", filepath.Join(dir, "lib/libx.so")); err != nil {
		t.Fatal(err)
	}
	c := buildcache.Cache{Dir: filepath.Join(t.TempDir(), "builds")}
	if err := c.Store(t.Context(), key, dir, buildcache.About{Kind: "httpd", Name: "httpd 2.4 <test>"}); err != nil {
		t.Fatal(err)
	}
	return c
}

func empty(t *testing.T) buildcache.Cache {
	return buildcache.Cache{Dir: filepath.Join(t.TempDir(), "builds")}
}

// pair creates a signer and the trust in it.
func pair(t *testing.T) (*Signer, *Trust) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "key")
	if _, err := GenerateKey(name); err != nil {
		t.Fatal(err)
	}
	s, err := ReadSigner(name, "")
	if err != nil {
		t.Fatal(err)
	}
	trust, err := ReadTrust([]string{name + ".pub"}, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	return s, trust
}

func open(t *testing.T, address string, s *Signer, trust *Trust) *Cache {
	t.Helper()
	c, err := Open(address, Options{Signer: s, Trust: trust, Stall: 300 * time.Millisecond, Dir: "/nowhere"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// nothing checks that a local cache is as empty as before.
func nothing(t *testing.T, c buildcache.Cache) {
	t.Helper()
	if c.Has(key) {
		t.Error("there is an entry")
	}
	left, _ := filepath.Glob(filepath.Join(c.Dir, ".*"))
	if len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// stores are the kinds of shared caches. Their contract is internal/buildcache/storetest;
// signatures are tested here.
var stores = map[string]func(*testing.T) string{
	"layout":   func(t *testing.T) string { return "oci-layout:" + filepath.Join(t.TempDir(), "shared") },
	"file":     func(t *testing.T) string { return "file://" + filepath.Join(t.TempDir(), "shared") },
	"registry": func(t *testing.T) string { return newServer(t).address() },
}

func TestPushAndPull(t *testing.T) {
	for name, address := range stores {
		t.Run(name, func(t *testing.T) {
			where := address(t)
			s, trust := pair(t)
			shared, from, into := open(t, where, s, trust), entry(t), empty(t)
			if hit, err := shared.Pull(t.Context(), key, into, nil); hit || err != nil {
				t.Fatalf("an empty cache: %v, %v", hit, err)
			}
			for i := range 2 {
				if pushed, err := shared.Push(t.Context(), key, from); pushed != (i == 0) || err != nil {
					t.Fatalf("push: %v, %v", pushed, err)
				}
			}
			reader := open(t, where, nil, trust)
			if hit, err := reader.Pull(t.Context(), key, into, nil); !hit || err != nil {
				t.Fatalf("pull: %v, %v", hit, err)
			}
			if err := into.Verify(t.Context(), key); err != nil {
				t.Error(err)
			}
			a, _ := from.Info(key)
			b, _ := into.Info(key)
			if a.Name != b.Name || a.Files != b.Files || a.Size != b.Size {
				t.Errorf("%+v is not %+v", b, a)
			}
			if hit, err := reader.Pull(t.Context(), other, into, nil); hit || err != nil {
				t.Errorf("another key: %v, %v", hit, err)
			}
		})
	}
}

func TestUnknownKey(t *testing.T) {
	for name, address := range stores {
		t.Run(name, func(t *testing.T) {
			where := address(t)
			s, trust := pair(t)
			_, strangers := pair(t)
			if _, err := open(t, where, s, trust).Push(t.Context(), key, entry(t)); err != nil {
				t.Fatal(err)
			}
			into := empty(t)
			hit, err := open(t, where, nil, strangers).Pull(t.Context(), key, into, nil)
			refused(t, hit, err, "not trusted")
			nothing(t, into)
		})
	}
}

func refused(t *testing.T, hit bool, err error, words string) {
	t.Helper()
	var r *Refused
	if hit || !errors.As(err, &r) || !strings.Contains(err.Error(), words) {
		t.Errorf("got %v, %v, want a refusal with %q", hit, err, words)
	}
}

// TestTampered changes a layout in every way.
func TestTampered(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(t *testing.T, dir string, a artifact, s *Signer)
		words  string
	}{
		"a byte of the tree": {func(t *testing.T, dir string, a artifact, _ *Signer) {
			name := blobName(dir, a.Layers[0])
			data, _ := os.ReadFile(name)
			data[len(data)/2] ^= 1
			rewrite(t, name, data)
		}, ""},
		"the tree is short": {func(t *testing.T, dir string, a artifact, _ *Signer) {
			if err := os.Truncate(blobName(dir, a.Layers[0]), 20); err != nil {
				t.Fatal(err)
			}
		}, ""},
		"the tree is gone": {func(t *testing.T, dir string, a artifact, _ *Signer) {
			_ = os.Remove(blobName(dir, a.Layers[0]))
		}, "missing"},
		"the description is another": {func(t *testing.T, dir string, a artifact, _ *Signer) {
			rewrite(t, blobName(dir, a.Config), []byte(strings.Repeat("x", int(a.Config.Size))))
		}, "digest"},
		"an annotation more": {func(t *testing.T, dir string, a artifact, _ *Signer) {
			a.Annotations["x"] = "y"
			setManifest(t, dir, key, a)
		}, "not the one that was signed"},
		"another tree": {func(t *testing.T, dir string, a artifact, _ *Signer) {
			a.Layers[0] = a.Config
			setManifest(t, dir, key, a)
		}, "not the one that was signed"},
		"no signature": {func(t *testing.T, dir string, a artifact, _ *Signer) {
			delete(a.Annotations, signatureNote)
			setManifest(t, dir, key, a)
		}, "not signed"},
		"a field that nobody signs": {func(t *testing.T, dir string, a artifact, _ *Signer) {
			raw, _ := json.Marshal(a)
			setRaw(t, dir, key, append(raw[:len(raw)-1], []byte(`,"subject":{}}`)...))
		}, "that is not signed"},
		"garbage": {func(t *testing.T, dir string, _ artifact, _ *Signer) {
			setRaw(t, dir, key, []byte("<html>"))
		}, "not JSON"},
		"the signed layer has another name": {func(t *testing.T, dir string, a artifact, s *Signer) {
			evil(t, dir, a, s, func(w *tar.Writer) {
				_ = w.WriteHeader(&tar.Header{Name: "../../evil", Typeflag: tar.TypeReg, Size: 4, Mode: 0o755})
				_, _ = w.Write([]byte("evil"))
			})
		}, "in its manifest"},
		"the signed layer has a link first": {func(t *testing.T, dir string, a artifact, s *Signer) {
			evil(t, dir, a, s, func(w *tar.Writer) {
				_ = w.WriteHeader(&tar.Header{Name: "a b/ü.txt", Typeflag: tar.TypeSymlink, Linkname: "/etc"})
			})
		}, "in its manifest"},
		"the signed layer is a bomb": {func(t *testing.T, dir string, a artifact, s *Signer) {
			evil(t, dir, a, s, func(w *tar.Writer) {
				_ = w.WriteHeader(&tar.Header{Name: "a b/ü.txt", Typeflag: tar.TypeReg, Size: 1 << 30, Mode: 0o755})
				_, _ = io.CopyN(w, zeros{}, 1<<28)
			})
		}, "in its manifest"},
		"the signed layer is empty": {func(t *testing.T, dir string, a artifact, s *Signer) {
			evil(t, dir, a, s, func(*tar.Writer) {})
		}, "ends before"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "shared")
			s, trust := pair(t)
			shared := open(t, "oci-layout:"+dir, s, trust)
			if _, err := shared.Push(t.Context(), key, entry(t)); err != nil {
				t.Fatal(err)
			}
			raw, err := shared.store.manifest(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			var a artifact
			if err := json.Unmarshal(raw, &a); err != nil {
				t.Fatal(err)
			}
			tt.change(t, dir, a, s)
			into := empty(t)
			hit, err := shared.Pull(t.Context(), key, into, nil)
			refused(t, hit, err, tt.words)
			nothing(t, into)
		})
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func blobName(dir string, d descriptor) string { return (&layout{dir: dir}).path(d.Digest) }

func rewrite(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func setManifest(t *testing.T, dir, tag string, a artifact) {
	t.Helper()
	raw, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	setRaw(t, dir, tag, raw)
}

func setRaw(t *testing.T, dir, tag string, raw []byte) {
	t.Helper()
	if err := (&layout{dir: dir}).putManifest(t.Context(), tag, raw); err != nil {
		t.Fatal(err)
	}
}

// evil replaces the tree with one signed by the holder of the key.
func evil(t *testing.T, dir string, a artifact, s *Signer, fill func(*tar.Writer)) {
	t.Helper()
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	fill(w)
	_ = w.Flush()
	_ = z.Close()
	d := describe(treeType, b.Bytes())
	if err := (&layout{dir: dir}).putBlob(t.Context(), d, func() (io.ReadCloser, error) { return io.NopCloser(&b), nil }); err != nil {
		t.Fatal(err)
	}
	a.Layers = []descriptor{d}
	raw, err := s.seal(key, a, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	setRaw(t, dir, key, raw)
}

// TestReplayed puts a signed entry under the key of another one.
func TestReplayed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shared")
	s, trust := pair(t)
	shared := open(t, "oci-layout:"+dir, s, trust)
	if _, err := shared.Push(t.Context(), key, entry(t)); err != nil {
		t.Fatal(err)
	}
	raw, err := shared.store.manifest(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	setRaw(t, dir, other, raw)
	into := empty(t)
	hit, err := shared.Pull(t.Context(), other, into, nil)
	refused(t, hit, err, "made for another key")
	if into.Has(other) {
		t.Error("it was taken")
	}
	// The right entry repairs it.
	if pushed, err := shared.Push(t.Context(), key, entry(t)); pushed || err != nil {
		t.Errorf("%v, %v", pushed, err)
	}
}

func TestManyPushAtOnce(t *testing.T) {
	for name, address := range stores {
		t.Run(name, func(t *testing.T) {
			where, from := address(t), entry(t)
			s, trust := pair(t)
			var wg sync.WaitGroup
			for range 6 {
				wg.Go(func() {
					if _, err := open(t, where, s, trust).Push(t.Context(), key, from); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if hit, err := open(t, where, nil, trust).Pull(t.Context(), key, empty(t), nil); !hit || err != nil {
				t.Errorf("%v, %v", hit, err)
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	_, trust := pair(t)
	for address, words := range map[string]string{
		"":                                 "not a valid address",
		"https://x/y":                      "not a valid address",
		"oci://":                           "not a host",
		"oci://ghcr.io":                    "not a repository",
		"oci://ghcr.io/Upper":              "not a repository",
		"oci://ghcr.io/a/b:tag":            "not a repository",
		"oci://user:s3cret@ghcr.io/a":      "credentials",
		"oci://ghcr.io/a/../b":             "not a repository",
		"oci://-x/a":                       "not a host",
		"oci-layout:":                      "does not name a directory",
		"oci://good.example.org/a":         "",
		"oci://localhost:5000/a/b-c/d_e.f": "",
		"oci://[::1]:5000/a":               "",
		"oci-layout:relative/dir":          "",
	} {
		c, err := Open(address, Options{Trust: trust, Dir: "/base"})
		if words == "" {
			if err != nil {
				t.Errorf("%s: %v", address, err)
			}
			continue
		}
		if err == nil || fault.ClassOf(err) != fault.Usage || !strings.Contains(err.Error(), words) || strings.Contains(err.Error()+fault.HintOf(err), "s3cret") {
			t.Errorf("%s: %v, %v", address, c, err)
		}
	}
	if _, err := Open("oci://ghcr.io/a", Options{}); err == nil || !strings.Contains(err.Error(), "key") {
		t.Errorf("without a key: %v", err)
	}
}

func TestKeys(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "k")
	print, err := GenerateKey(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := GenerateKey(name); err == nil {
		t.Error("a key was overwritten")
	}
	if s, err := ReadSigner("k", dir); err != nil || s.Fingerprint() != print {
		t.Error(err)
	}
	text, _ := os.ReadFile(name)
	if s, err := ReadSigner(string(text), dir); err != nil || s.Fingerprint() != print {
		t.Error("as text:", err)
	}
	if tr, err := ReadTrust([]string{dir}, "", nil); err != nil || strings.Join(tr.Fingerprints(), "") != print {
		t.Error("as a directory:", err)
	}
	for what, bad := range map[string]string{"private": name, "none": "/no/such", "no key": filepath.Join(dir, "empty")} {
		_ = os.WriteFile(filepath.Join(dir, "empty"), nil, 0o600)
		if _, err := ReadTrust([]string{bad}, "", nil); err == nil {
			t.Errorf("%s was trusted", what)
		}
	}
	if _, err := ReadSigner(name+".pub", dir); err == nil {
		t.Error("a public key signs")
	}
	if err := os.Chmod(name, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadSigner(name, dir); err == nil || !strings.Contains(fault.HintOf(err), "chmod 600") {
		t.Errorf("a key that everybody can read: %v", err)
	}
}

// server is a minimal registry with configurable failures. The real one is in the
// acceptance tests.
type server struct {
	*httptest.Server
	mu    sync.Mutex
	blobs map[string][]byte
	hook  func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
}

func newServer(t *testing.T) *server {
	s := &server{blobs: map[string][]byte{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) address() string {
	return "oci://" + strings.TrimPrefix(s.URL, "http://") + "/team/cache"
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	hook := s.hook
	s.mu.Unlock()
	if hook != nil && hook(w, r) {
		return
	}
	name := r.URL.Path
	data, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case name == "/v2/": // the first request of every client
	case r.Method == http.MethodPost && strings.HasSuffix(name, "/blobs/uploads/"):
		w.Header().Set("Location", "/v2/team/cache/blobs/uploads/1?state=x")
		w.WriteHeader(http.StatusAccepted)
	case r.Method == http.MethodPut:
		if d := r.URL.Query().Get("digest"); d != "" {
			sum := sha256.Sum256(data)
			if d != "sha256:"+hex.EncodeToString(sum[:]) {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			name = "/v2/team/cache/blobs/" + d
		}
		s.blobs[name] = data
		w.WriteHeader(http.StatusCreated)
	case s.blobs[name] == nil:
		w.WriteHeader(http.StatusNotFound)
	default:
		_, _ = w.Write(s.blobs[name])
	}
}

// TestLocalRegistryWithTLS: a registry on this machine that uses TLS is never contacted
// without it.
func TestLocalRegistryWithTLS(t *testing.T) {
	server := &server{blobs: map[string][]byte{}}
	server.Server = httptest.NewTLSServer(server)
	t.Cleanup(server.Close)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.hook = func(w http.ResponseWriter, r *http.Request) bool {
		if r.TLS == nil {
			t.Error("a request without TLS")
		}
		return false
	}
	s, trust := pair(t)
	address := "oci://" + strings.TrimPrefix(server.URL, "https://") + "/team/cache"
	c, into := open(t, address, s, trust), empty(t)
	if _, err := c.Push(t.Context(), key, entry(t)); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("a stranger's certificate: %v", err)
	}
	if len(server.blobs) > 0 {
		t.Error("something was sent")
	}
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	c, err := Open(address, Options{Signer: s, Trust: trust, Stall: 300 * time.Millisecond, tls: &tls.Config{RootCAs: roots}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Push(t.Context(), key, entry(t)); err != nil {
		t.Fatal(err)
	}
	if hit, err := c.Pull(t.Context(), key, into, nil); !hit || err != nil {
		t.Errorf("%v, %v", hit, err)
	}
}

// TestRegistriesThatFail asks registries that do everything wrong. Each must soon end in
// an error that names the failure, and leave nothing.
func TestRegistriesThatFail(t *testing.T) {
	answer := func(status int, text string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text)
			return true
		}
	}
	inBlobs := func(do func(http.ResponseWriter, *http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			return strings.Contains(r.URL.Path, "/blobs/") && do(w, r)
		}
	}
	for name, tt := range map[string]struct {
		hook  func(http.ResponseWriter, *http.Request) bool
		words string
	}{
		"401":     {answer(401, ""), "docker login"},
		"403":     {answer(403, `{"errors":[{"code":"DENIED","message":"no\u001b[31m"}]}`), "DENIED no?[31m"},
		"500":     {answer(500, "<html>"), "500"},
		"garbage": {answer(200, "<html>hello</html>"), "not JSON"},
		"endless manifest": {func(w http.ResponseWriter, _ *http.Request) bool {
			_, _ = io.CopyN(w, zeros{}, 10<<20)
			return true
		}, "more than"},
		"silent": {func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }, "time"},
		"dies in the middle": {inBlobs(func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Length", "100000")
			_, _ = io.WriteString(w, "some")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}), "ended early"},
		"stalls in the middle": {inBlobs(func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Length", "100000")
			_, _ = io.WriteString(w, "some")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return true
		}), "stalled"},
		"too much": {inBlobs(func(w http.ResponseWriter, _ *http.Request) bool {
			_, _ = io.CopyN(w, zeros{}, 1<<30)
			return true
		}), "digest"},
		"blobs are gone": {inBlobs(answer(404, "")), "missing"},
		"leads to plain http elsewhere": {func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "http://registry.invalid/x?secret=1", http.StatusTemporaryRedirect)
			return true
		}, "not https"},
		"round in circles": {func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
			return true
		}, "redirects"},
	} {
		t.Run(name, func(t *testing.T) {
			s, trust := pair(t)
			server := newServer(t)
			shared := open(t, server.address(), s, trust)
			if _, err := shared.Push(t.Context(), key, entry(t)); err != nil {
				t.Fatal(err)
			}
			server.mu.Lock()
			server.hook = tt.hook
			server.mu.Unlock()
			into := empty(t)
			hit, err := open(t, server.address(), nil, trust).Pull(t.Context(), key, into, nil)
			if hit || err == nil || !strings.Contains(err.Error(), tt.words) || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v, %v", hit, err)
			}
			nothing(t, into)
		})
	}
	s, trust := pair(t)
	server := newServer(t)
	where := server.address()
	server.Close()
	if pushed, err := open(t, where, s, trust).Push(t.Context(), key, entry(t)); pushed || err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("down: %v, %v", pushed, err)
	}
}

// TestLogin has a registry that requires a token, and checks where credentials are sent.
func TestLogin(t *testing.T) {
	server := newServer(t)
	host := strings.TrimPrefix(server.URL, "http://")
	var asked []string
	server.hook = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			user, password, _ := r.BasicAuth()
			asked = append(asked, r.URL.Query().Get("scope"))
			if user != "me" || password != "s3cret:x" {
				w.WriteHeader(http.StatusUnauthorized)
				return true
			}
			_, _ = io.WriteString(w, `{"token":"T`+r.URL.Query().Get("scope")[len("repository:team/cache:"):]+`"}`)
			return true
		}
		want := "Bearer Tpull"
		if r.Method != http.MethodGet {
			want = "Bearer Tpull,push"
		}
		if r.Header.Get("Authorization") == want {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+server.URL+`/token",service="s"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	s, trust := pair(t)
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, ".docker"), 0o700); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`{"auths":{%q:{"auth":"bWU6czNjcmV0Ong="}}}`, host)
	if err := os.WriteFile(filepath.Join(home, ".docker/config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	tryLogins(t, server.address(), s, trust, map[string]login{
		"docker's":  {[]string{"HOME=" + home}, ""},
		"variables": {[]string{"MODWSGI_CACHE_USERNAME=me", "MODWSGI_CACHE_PASSWORD=s3cret:x"}, ""},
		"wrong":     {[]string{"MODWSGI_CACHE_USERNAME=me", "MODWSGI_CACHE_PASSWORD=s3cret"}, "refuses the credentials"},
		"none":      {nil, "docker login"},
	})
	if len(asked) == 0 {
		t.Error("no token was asked for")
	}
}

// login is an environment with credentials, and the words of the error ("" if they are
// accepted).
type login struct {
	env   []string
	words string
}

// tryLogins pushes to and pulls from a registry with several credentials.
func tryLogins(t *testing.T, address string, s *Signer, trust *Trust, all map[string]login) {
	t.Helper()
	for name, l := range all {
		t.Run(name, func(t *testing.T) {
			c, err := Open(address, Options{Signer: s, Trust: trust, Env: l.env})
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Push(t.Context(), key, entry(t))
			if l.words == "" {
				if err != nil {
					t.Fatal(err)
				}
				if hit, err := c.Pull(t.Context(), key, empty(t), nil); !hit || err != nil {
					t.Errorf("%v, %v", hit, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), l.words) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("push: %v", err)
			}
			into := empty(t)
			if hit, err := c.Pull(t.Context(), key, into, nil); hit || err == nil {
				t.Errorf("pull: %v, %v", hit, err)
			}
			nothing(t, into)
		})
	}
}

// TestTheSameTreeGivesTheSameBytes packs twice.
func TestTheSameTreeGivesTheSameBytes(t *testing.T) {
	digests := map[string]bool{}
	for range 2 {
		from := entry(t)
		m, tree, err := from.Open(key)
		if err != nil {
			t.Fatal(err)
		}
		scratch, err := owned.Scratch("", "modwsgi-test-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = scratch.Discard() })
		name, d, err := packTree(context.WithoutCancel(t.Context()), m, tree, scratch)
		if err != nil {
			t.Fatal(err)
		}
		digests[d.Digest] = true
		if info, err := os.Stat(name); err != nil || info.Size() != d.Size {
			t.Errorf("%v, %v", info, err)
		}
	}
	if len(digests) != 1 {
		t.Errorf("%v", digests)
	}
}
