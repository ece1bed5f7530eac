package refresh

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"modwsgi/internal/debian"
	"modwsgi/internal/debian/debiantest"
	"modwsgi/internal/fetch"
)

// TestMain makes the certificate of test servers one that clients trust.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		s := httptest.NewTLSServer(nil)
		defer s.Close()
		dir, err := os.MkdirTemp("", "refresh-test-")
		if err != nil {
			panic(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		file := filepath.Join(dir, "ca.pem")
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
			panic(err)
		}
		if err := os.Setenv("SSL_CERT_FILE", file); err != nil {
			panic(err)
		}
		return m.Run()
	}())
}

func newKey(t *testing.T, name string) *openpgp.Entity {
	t.Helper()
	key, err := openpgp.NewEntity(name, "", name+"@example.org", &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return time.Now().Add(-1000 * time.Hour) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, key *openpgp.Entity, data []byte, when time.Time) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := openpgp.ArmoredDetachSign(&b, []*openpgp.Entity{key}, bytes.NewReader(data), &openpgp.SignParams{Config: &packet.Config{Time: func() time.Time { return when }}}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

// upstream imitates every upstream on one server. Files are what it serves, by path.
type upstream struct {
	*testing.T
	url     string
	files   map[string][]byte
	key     *openpgp.Entity // of the release manager
	archive *openpgp.Entity // of Debian's archive, which signs
	trusted *openpgp.Entity // and the one that clients know
	sources map[string][]string
	date    time.Time // of Debian's index
	pypi    map[string]any
	dir     string
	skip    []string
}

// archiveOf is the contents of an archive.
func archiveOf(name string) []byte { return []byte(strings.Repeat(name+"\n", 100)) }

const tarGz, tarBz2 = ".tar.gz", ".tar.bz2"

// newUpstream makes upstreams that have new versions of everything, and a catalogue that
// does not.
func newUpstream(t *testing.T) *upstream {
	t.Helper()
	u := &upstream{T: t, files: map[string][]byte{}, key: newKey(t, "release"), archive: newKey(t, "archive"), sources: map[string][]string{}, date: time.Now(), dir: t.TempDir()}
	u.trusted = u.archive
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, ok := u.files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(data)
	}))
	t.Cleanup(s.Close)
	u.url = s.URL
	for _, c := range []struct{ component, source, ext, known, next string }{
		{"httpd", "apache2", tarGz, "2.4.71", "2.4.72"},
		{"apr", "apr", tarBz2, "1.7.6", ""},
		{"apr-util", "apr-util", tarBz2, "1.6.4", ""},
		{"pcre2", "pcre2", tarGz, "10.49", "10.50"},
		{"openssl", "openssl", tarGz, "3.5.9", "3.5.10"},
		{"mod_wsgi", "mod-wsgi", tarGz, "6.0.5", ""},
	} {
		for _, v := range strings.Fields(c.known + " " + c.next) {
			u.release(c.component, v, c.ext)
			u.sources[c.source] = append(u.sources[c.source], c.source+"_"+v+".orig"+c.ext+" "+sum(archiveOf(c.component+v)))
		}
		u.catalogue(c.component, c.known, c.source, c.ext)
	}
	u.listings("httpd-2.4.72.tar.gz", "apr-1.7.6.tar.bz2", "apr-util-1.6.4.tar.bz2")
	u.modWSGI("6.1.1")
	u.vulnerability("CVE-2026-90001", "2.4.72", "2.4.71")
	u.write("support.toml", "")
	u.ok(os.Mkdir(filepath.Join(u.dir, "advisories"), 0o700))
	return u
}

func (u *upstream) ok(err error) {
	u.Helper()
	if err != nil {
		u.Fatal(err)
	}
}

func (u *upstream) write(name, text string) {
	u.Helper()
	f, err := os.OpenFile(filepath.Join(u.dir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	u.ok(err)
	_, err = f.WriteString(text)
	u.ok(err)
	u.ok(f.Close())
}

func folderOf(component string) string {
	if component == "apr-util" {
		return "apr"
	}
	return component
}

// release puts an archive on the server, with digest and signature.
func (u *upstream) release(component, version, ext string) {
	data := archiveOf(component + version)
	at := "/dist/" + folderOf(component) + "/" + component + "-" + version + ext
	u.files[at], u.files[at+".sha256"] = data, []byte(sum(data)+" *"+component+"-"+version+ext+"\n")
	u.files[at+".asc"] = sign(u.T, u.key, data, time.Now().Add(-time.Hour))
}

func (u *upstream) catalogue(component, version, source, ext string) {
	if _, err := os.Stat(filepath.Join(u.dir, "sources.toml")); err != nil {
		u.write("sources.toml", "# a comment\ndate = 2026-11-29T00:00:00Z\n")
	}
	file := component + "-" + version + ext
	at := u.url + "/dist/" + folderOf(component) + "/" + file
	u.write("sources.toml", fmt.Sprintf("\n# %s\n[[archive]]\ncomponent = %q\nversion = %q\nfile = %q\nsize = %d\nsha256 = %q\nurls = [%q]\nsignature = %q\ndebian = { source = %q, file = %q }\n",
		component, component, version, file, len(archiveOf(component+version)), sum(archiveOf(component+version)), at, at+".asc", source, source+"_"+version+".orig"+ext))
}

// listings are the folders of Apache's dist area.
func (u *upstream) listings(files ...string) {
	for _, folder := range []string{"httpd", "apr"} {
		text := "<html><body>"
		for _, f := range files {
			if strings.HasPrefix(f, folder) {
				text += fmt.Sprintf("<a href=%q>%s</a>\n<a href=%q>x</a>", f, f, f+".asc")
			}
		}
		u.files["/dist/"+folder+"/"] = []byte(text + "</body></html>")
	}
}

// modWSGI puts a version of mod_wsgi into the package index.
func (u *upstream) modWSGI(version string) {
	data := archiveOf("mod_wsgi" + version)
	file := map[string]any{
		"packagetype": "sdist", "filename": "mod_wsgi-" + version + ".tar.gz", "size": len(data), "digests": map[string]string{"sha256": sum(data)},
		"url": u.url + "/packages/mod_wsgi-" + version + ".tar.gz", "upload_time_iso_8601": time.Now().Add(-time.Hour).Format(time.RFC3339), "yanked": false,
	}
	u.pypi = map[string]any{"info": map[string]any{"version": version, "requires_python": ">=3.10"}, "releases": map[string]any{"6.0.5": []any{map[string]any{"packagetype": "sdist"}}, version: []any{file}}, "urls": []any{file}}
	u.files["/packages/mod_wsgi-"+version+".tar.gz"] = data
	u.files["/releases/mod_wsgi-"+version+"/SHA256SUMS"] = []byte(sum(data) + "  mod_wsgi-" + version + ".tar.gz\n")
	u.index()
}

// index writes both answers of the package index.
func (u *upstream) index() {
	data, err := json.Marshal(u.pypi)
	u.ok(err)
	u.files["/pypi/mod_wsgi/json"], u.files["/pypi/mod_wsgi/6.1.1/json"] = data, data
}

// lastMonth is a day in the past.
var lastMonth = time.Now().AddDate(0, 0, -30).Format(time.DateOnly)

// vulnerability puts a record and its page on the server.
func (u *upstream) vulnerability(id, fixed, last string) {
	u.files["/security/vulnerabilities_24.html"] = []byte(`<html><h1 id="` + fixed + `">Fixed</h1><h3 id="` + id + `">x</h3><h1 id="2.4.48">Fixed</h1><h3 id="CVE-2021-31618">x</h3></html>`)
	u.files["/security/json/"+id+".json"] = []byte(`{"dataType": "CVE_RECORD", "cveMetadata": {"cveId": "` + id + `", "state": "PUBLISHED"}, "containers": {"cna": {
 "title": "mod_http2 crash", "descriptions": [{"value": "A crash in mod_http2."}], "metrics": [{"other": {"content": {"text": "moderate"}}}],
 "timeline": [{"time": "` + lastMonth + `T12:00:00.000Z"}],
 "affected": [{"product": "Apache HTTP Server", "versions": [{"version": "2.4.17", "lessThanOrEqual": "` + last + `", "status": "affected", "versionType": "semver"}]}]}}}`)
}

// debian writes the signed source index.
func (u *upstream) debian() {
	var b strings.Builder
	for source, files := range u.sources {
		fmt.Fprintf(&b, "Package: %s\nDirectory: pool/main/%s\nChecksums-Sha256:\n", source, source)
		for _, f := range files {
			name, hash, _ := strings.Cut(f, " ")
			version := strings.TrimSuffix(strings.TrimSuffix(strings.SplitN(name, "_", 2)[1], ".orig"+tarGz), ".orig"+tarBz2)
			component := map[string]string{"apache2": "httpd", "mod-wsgi": "mod_wsgi"}[source]
			if component == "" {
				component = source
			}
			fmt.Fprintf(&b, " %s %d %s\n", hash, len(archiveOf(component+version)), name)
		}
		b.WriteString("\n")
	}
	index := debiantest.Gzip([]byte(b.String()))
	text := fmt.Sprintf("Suite: unstable\nCodename: sid\nDate: %s\nSHA256:\n %s %d main/source/Sources.gz\n", u.date.UTC().Format("Mon, 02 Jan 2006 15:04:05 UTC"), debiantest.Sum(index), len(index))
	for name, data := range map[string][]byte{"InRelease": debiantest.Sign(u.archive, text), "main/source/Sources.gz": index, "main/source/by-hash/SHA256/" + debiantest.Sum(index): index} {
		if _, ok := u.files["/debian/dists/sid/"+name]; !ok {
			u.files["/debian/dists/sid/"+name] = data
		}
	}
}

// refresh runs against these upstreams.
func (u *upstream) refresh() (*Report, error) {
	u.Helper()
	u.debian()
	f, err := fetch.New(fetch.Options{
		CacheDir: filepath.Join(u.TempDir(), "cache"), NoDebian: true, Retries: -1, ApacheBases: []string{u.url + "/dist"}, PyPIBase: u.url,
		Keys: func(string) (openpgp.EntityList, error) { return openpgp.EntityList{u.key}, nil },
	})
	u.ok(err)
	armored := (&debiantest.Archive{Key: u.trusted}).Armored(u.T)
	d, err := debian.Open(f, []fetch.Mirror{{Base: u.url + "/debian", Keys: []string{armored}}})
	u.ok(err)
	return Run(u.Context(), Options{
		Dir: u.dir, Fetcher: f, Debian: d, Suite: "sid", Apache: u.url + "/dist", PyPI: u.url, Releases: u.url + "/releases", Security: u.url + "/security", Skip: u.skip, Now: time.Now,
	})
}
