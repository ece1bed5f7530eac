package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/internal/recipe"
)

// tree serves files by path; other paths are 404.
func tree(files map[string][]byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		data, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(data)
	}
}

func TestResolveApache(t *testing.T) {
	data := content(50, 20_000)
	sum := sha256.Sum256(data)
	digest := hex.EncodeToString(sum[:])
	key, stranger := newKey(t, "release", nil), newKey(t, "stranger", nil)
	sig := sign(t, key, data, time.Time{})
	const at = "/httpd/httpd-2.4.72.tar.gz"
	for _, tt := range []struct {
		name  string
		files map[string][]byte
		trust recipe.Trust
		want  string // of the error
	}{
		{"digest and signature", map[string][]byte{at: data, at + ".sha256": []byte(digest + " *httpd-2.4.72.tar.gz\n"), at + ".asc": sig}, recipe.Signed, ""},
		{"digest alone", map[string][]byte{at: data, at + ".sha256": []byte(digest + "  httpd-2.4.72.tar.gz\n")}, recipe.Published, ""},
		{"signature alone", map[string][]byte{at: data, at + ".asc": sig}, recipe.Signed, ""},
		{"only in the archive", map[string][]byte{"/old" + at: data, "/old" + at + ".sha256": []byte(digest)}, recipe.Published, ""},
		{"nothing", nil, "", "upstream has no such release"},
		{"neither digest nor signature", map[string][]byte{at: data}, "", "no such release"},
		{"wrong digest", map[string][]byte{at: data, at + ".sha256": []byte(strings.Repeat("0", 64))}, "", "it has sha256 " + digest},
		{"digest of another file", map[string][]byte{at: data, at + ".sha256": []byte(digest + "  httpd-2.4.7.tar.gz\n")}, "", "has no SHA-256 of httpd-2.4.72.tar.gz"},
		{"a page for a digest", map[string][]byte{at: data, at + ".sha256": []byte("<html>sign in</html>")}, "", "has no SHA-256"},
		{"bad signature", map[string][]byte{at: data, at + ".sha256": []byte(digest), at + ".asc": sign(t, key, []byte("x"), time.Time{})}, "", "signature"},
		{"signature of a stranger, no digest", map[string][]byte{at: data, at + ".asc": sign(t, stranger, data, time.Time{})}, "", "not among the embedded"},
		{"a page for a signature, no digest", map[string][]byte{at: data, at + ".asc": []byte("<html>")}, "", "neither a digest nor a signature"},
		{"no archive", map[string][]byte{at + ".sha256": []byte(digest)}, "", "404"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t, tree(tt.files))
			f := newFetcher(t, s, Options{ApacheBases: []string{s.URL, s.URL + "/old"}})
			f.keys = keyring(key)
			a, trust, err := f.Resolve(context.Background(), "httpd", "2.4.72")
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) || fault.ClassOf(err) != fault.Source || fault.HintOf(err) == "" {
					t.Errorf("Resolve = %+v, %v; hint %q", a, err, fault.HintOf(err))
				}
				nothingUsable(t, f, a, false)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if a.SHA256 != digest || a.File != "httpd-2.4.72.tar.gz" || a.Size != int64(len(data)) || trust != tt.trust || a.Trust != trust {
				t.Errorf("Resolve = %+v, %q", a, trust)
			}
			if trust == recipe.Signed && a.SignedBy != fingerprint(key) {
				t.Errorf("SignedBy = %q", a.SignedBy)
			}
			file, err := f.Fetch(context.Background(), a)
			mustBe(t, file, err, data)
			if file.Trust != tt.trust {
				t.Errorf("Fetch: trust %q", file.Trust)
			}
		})
	}
}

func TestResolvePyPI(t *testing.T) {
	data := content(51, 5000)
	sum := sha256.Sum256(data)
	type m = map[string]any
	for _, tt := range []struct {
		name   string
		change func(file m)
		want   string
	}{
		{"good", func(m) {}, ""},
		{"only a wheel", func(f m) { f["packagetype"] = "bdist_wheel" }, "no source archive"},
		{"a path for a name", func(f m) { f["filename"] = "../mod_wsgi-6.1.1.tar.gz" }, "invalid file name"},
		{"no digest", func(f m) { f["digests"] = m{} }, "invalid file name"},
		{"an md5 for a digest", func(f m) { f["digests"] = m{"sha256": strings.Repeat("a", 32)} }, "invalid file name"},
		{"a file of another version", func(f m) { f["filename"] = "mod_wsgi-6.1.2.tar.gz" }, "names the file"},
		{"a file of another spelling", func(f m) { f["filename"] = "mod_wsgi-6.1.1.0.tar.gz" }, "names the file"},
		{"a file of another project", func(f m) { f["filename"] = "mod_python-6.1.1.tar.gz" }, "names the file"},
		{"a catalogued archive under another version", func(f m) {
			f["digests"] = m{"sha256": recipe.Catalogue().Of("mod_wsgi")[0].SHA256}
		}, "belongs to mod_wsgi"},
		{"an answer about another version", func(f m) { f["answers"] = "6.1.1+x" }, "answers for version"},
		{"a huge file", func(f m) { f["size"] = int64(1) << 50 }, "impossible size"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t, nil)
			file := m{
				"packagetype": "sdist", "filename": "mod_wsgi-6.1.1.tar.gz", "size": len(data),
				"digests": m{"sha256": hex.EncodeToString(sum[:])}, "url": s.URL + "/packages/mod_wsgi-6.1.1.tar.gz",
			}
			tt.change(file)
			says := "6.1.1"
			if v, ok := file["answers"].(string); ok {
				says = v
			}
			answer, err := json.Marshal(m{"info": m{"version": says, "requires_python": ">=3.10, !=3.10.1,~=3.9"}, "urls": []m{{"packagetype": "bdist_wheel"}, file}})
			if err != nil {
				t.Fatal(err)
			}
			s.behave(tree(map[string][]byte{"/pypi/mod_wsgi/6.1.1/json": answer, "/packages/mod_wsgi-6.1.1.tar.gz": data}))
			f := newFetcher(t, s, Options{PyPIBase: s.URL})
			a, trust, err := f.Resolve(context.Background(), "mod_wsgi", "6.1.1")
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) || fault.HintOf(err) == "" {
					t.Errorf("Resolve = %v", err)
				}
				return
			}
			if err != nil || trust != recipe.Published || a.Requires["python"] != ">= 3.10, != 3.10.1, ~> 3.9" {
				t.Fatalf("Resolve = %+v, %q, %v", a, trust, err)
			}
			got, err := f.Fetch(context.Background(), a)
			mustBe(t, got, err, data)
			if got.Trust != recipe.Published {
				t.Errorf("trust %q", got.Trust)
			}
		})
	}
}

func TestResolveOfWhatDoesNotExist(t *testing.T) {
	s := newServer(t, http.NotFound)
	f := newFetcher(t, s, Options{PyPIBase: s.URL, ApacheBases: []string{s.URL}})
	for _, component := range []string{"httpd", "apr", "mod_wsgi"} {
		_, _, err := f.Resolve(context.Background(), component, "9.9.9")
		var released *NotReleased
		if !errors.As(err, &released) || !strings.Contains(err.Error(), component+" 9.9.9") || fault.ClassOf(err) != fault.Source {
			t.Errorf("Resolve(%s) = %v", component, err)
		}
	}
	s.behave(nil)
	for _, version := range []string{"", "latest", "../../etc", "1/2", "1?x", "1.0%2f", strings.Repeat("1", 100), "-1", "1..2", "2.4.72+x", "v2.4.72", "2.4.072", "2.4.72.0", "2.4", " 2.4.72", "2.4.72-rc1"} {
		if _, _, err := f.Resolve(context.Background(), "httpd", version); fault.ClassOf(err) != fault.Usage {
			t.Errorf("Resolve(httpd %q) = %v", version, err)
		}
	}
	if _, _, err := f.Resolve(context.Background(), "expat", "2.9.1"); err == nil {
		t.Error("a component without an index was resolved")
	}
	if len(s.log()) > 0 {
		t.Errorf("asked %q", s.log())
	}
}

func TestResolveWithoutNetworkIsNotNotReleased(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	f := newFetcher(t, s, Options{PyPIBase: s.URL, ApacheBases: []string{s.URL}, Retries: -1})
	for _, component := range []string{"httpd", "mod_wsgi"} {
		_, _, err := f.Resolve(context.Background(), component, "9.9.9")
		var released *NotReleased
		if err == nil || errors.As(err, &released) || !strings.Contains(err.Error(), "503") {
			t.Errorf("Resolve(%s) = %v", component, err)
		}
	}
}

func TestParseDigest(t *testing.T) {
	const h = "6b0433674ded858d2ac01e95345935ce127d5d287471762f0a7f10f4969cbfe8"
	grouped := "f.tar.gz: 6B043367 4DED858D 2AC01E95 345935CE\n          127D5D28 7471762F 0A7F10F4 969CBFE8\n"
	for text, ok := range map[string]bool{
		h: true, h + "\n": true, h + " *f.tar.gz": true, h + "  f.tar.gz\r\n": true, strings.ToUpper(h) + "  f.tar.gz": true,
		"SHA256 (f.tar.gz) = " + h: true, grouped: true, "# comment\n" + h + "  f.tar.gz\n": true,
		"": false, h[:63]: false, h + "0": false, h + "  g.tar.gz": false, h + " " + h: false, "<html>" + h + "</html>": false,
	} {
		if got, err := parseDigest(text, "f.tar.gz"); ok && (err != nil || got != h) || !ok && err == nil {
			t.Errorf("parseDigest(%q) = %q, %v", text, got, err)
		}
	}
}
