package fetch

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"modwsgi/internal/distro"
	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/recipe"
)

func TestParseOneLine(t *testing.T) {
	got := encodeSources(parseOneLine(`
# deb http://commented.example/debian bookworm main
deb http://mirror.example/debian/ bookworm main contrib # trailing
deb-src [ signed-by=/a.gpg,/b.gpg arch=amd64 trusted=yes ] https://mirror.example/debian	bookworm-updates   main
deb [arch=amd64 http://unclosed.example/ bookworm main
deb http://flat.example/ ./
rpm http://other.example/ x y
deb
`))
	want := `Types: deb-src
URIs: http://mirror.example/debian/
Suites: bookworm
Components: main contrib

Types: deb-src
URIs: https://mirror.example/debian
Suites: bookworm-updates
Components: main
Signed-By: /a.gpg /b.gpg
Trusted: yes

`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestParseDeb822(t *testing.T) {
	got := encodeSources(parseDeb822(`# the distribution
Types: deb deb-src
URIs: http://one.example/debian http://two.example/debian
Suites: bookworm
 bookworm-updates
Components: main
# a comment inside
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main


Types: deb
URIs: http://incomplete.example/debian
` + "\r\n" + `types: deb
uris: http://lower.example/debian
suites: bookworm-security
components: main
check-valid-until: no`))
	want := `Types: deb-src
URIs: http://one.example/debian http://two.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: 
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb-src
URIs: http://lower.example/debian
Suites: bookworm-security
Components: main
Check-Valid-Until: no

`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestWhichSuitesAreAsked(t *testing.T) {
	for _, tt := range []struct {
		name, list string
		host       host
		want       string
		indexes    string // of apt, in indexFormat
	}{
		{
			"Debian 12", "deb http://m/debian bookworm main\ndeb http://m/debian bookworm-updates main\ndeb http://m/security bookworm-security main",
			host{"debian", "bookworm", false},
			"http://m/debian: bookworm stable testing unstable; http://m/debian: bookworm-updates stable-updates testing-updates; http://m/security: bookworm-security stable-security testing-security",
			"",
		},
		{"by alias", "deb http://m/debian stable main", host{"debian", "trixie", false}, "http://m/debian: stable testing unstable", ""},
		{"no stable twice", "deb http://m/debian trixie main", host{"debian", "trixie", false}, "http://m/debian: trixie testing unstable", ""},
		{"sid", "deb http://m/debian sid main", host{"debian", "", true}, "http://m/debian: sid stable testing", ""},
		{"Ubuntu keeps its own", "deb http://m/ubuntu noble main universe\ndeb http://m/ubuntu noble-security main", host{"ubuntu", "noble", false}, "http://m/ubuntu: noble; http://m/ubuntu: noble-security", ""},
		{
			"others' repositories are left alone",
			"deb http://node nodistro main\ndeb http://docker bookworm stable\ndeb http://pg bookworm-pgdg main\ndeb cdrom:[x] bookworm main\ndeb http://m/debian bookworm main",
			host{"debian", "bookworm", false},
			"http://m/debian: bookworm stable testing unstable",
			"",
		},
		{"twice the same", "deb http://m/debian bookworm main\ndeb-src http://m/debian/ bookworm main", host{"debian", "bookworm", false}, "http://m/debian: bookworm stable testing unstable", ""},
		{
			"unstable, as os-release names the next release", "deb http://m/debian sid main",
			host{"debian", "forky", true},
			"http://m/debian: sid stable testing",
			"sid|unstable|sid|Debian\n",
		},
		{"unstable, apt has no lists", "deb http://m/debian sid main", host{"debian", "forky", true}, "http://m/debian: sid stable testing", "sid|||\n"},
		{"unstable, apt does not answer", "deb http://m/debian unstable main", host{"debian", "duke", true}, "http://m/debian: unstable stable testing", ""},
		{"testing", "deb http://m/debian testing main\ndeb http://m/security testing-security main", host{"debian", "forky", true}, "http://m/debian: testing stable unstable; http://m/security: testing-security stable-security", ""},
		{
			"a release that this program does not know", "deb http://m/debian duke main",
			host{"debian", "", true},
			"http://m/debian: duke stable testing unstable",
			"duke|testing|duke|Debian\n",
		},
		{"by a new alias", "deb http://m/debian oldoldstable main", host{"debian", "bullseye", false}, "http://m/debian: oldoldstable stable testing unstable", "oldoldstable|oldoldstable|bullseye|Debian\n"},
		{
			"what apt knows of others' repositories is not used", "deb http://x/debian sid main\ndeb http://m/ubuntu noble main",
			host{"ubuntu", "noble", false},
			"http://m/ubuntu: noble",
			"sid|unstable|sid|Other\nnoble|noble|noble|Ubuntu\n",
		},
		{"lists of another release", "deb http://m/debian trixie main", host{"debian", "bookworm", false}, "http://m/debian: trixie testing unstable", ""},
		{"nothing of the host's release", "deb http://m/debian buster main", host{"debian", "bookworm", false}, "", ""},
	} {
		var got []string
		for _, s := range widen(distribution(parseOneLine(tt.list), tt.host, parseIndexes(tt.indexes)), tt.host) {
			got = append(got, strings.Join(s.uris, " ")+": "+strings.Join(s.suites, " "))
		}
		if text := strings.Join(got, "; "); text != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, text, tt.want)
		}
	}
}

func TestParseIndexes(t *testing.T) {
	got := parseIndexes("sid|unstable|sid|Debian\n\nold|$(SUITE)|$(CODENAME)|$(ORIGIN)\na|b\n")
	want := []aptIndex{{"sid", "unstable", "sid", "Debian"}, {release: "old"}}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestAptConfigPaths(t *testing.T) {
	c := parseAptConfig(`Dir "/";
Dir::Etc "etc/apt";
Dir::Etc::sourcelist "sources.list";
Dir::Etc::sourceparts "/elsewhere/parts";
Acquire::http::Proxy "http://proxy.example:3128";
Acquire::https::Verify-Peer "true";
Acquire::IndexTargets::deb-src::Sources::MetaKey "x";
APT::Update::Post-Invoke:: "rm -rf /";
DPkg::Post-Invoke:: "rm -rf /";
APT::Architectures:: "amd64";
nonsense
`)
	if got := c.path("Dir::Etc::sourcelist"); got != "/etc/apt/sources.list" {
		t.Errorf("sourcelist = %q", got)
	}
	if got := c.path("Dir::Etc::sourceparts"); got != "/elsewhere/parts" {
		t.Errorf("sourceparts = %q", got)
	}
	want := "Acquire::http::Proxy \"http://proxy.example:3128\";\nAcquire::https::Verify-Peer \"true\";\nAPT::Architectures:: \"amd64\";"
	if got := strings.Join(c.acquire(), "\n"); got != want {
		t.Errorf("acquire = %s", got)
	}
}

func TestParseSourcesKeepsOnlyUpstreamArchives(t *testing.T) {
	h := strings.Repeat("ab", 32)
	text := "Package: apache2\nFormat: 3.0 (quilt)\nVersion: 2.4.68-1\nDirectory: pool/main/a/apache2\nFiles:\n " + strings.Repeat("c", 32) +
		" 5 apache2_2.4.68.orig.tar.gz\nChecksums-Sha256:\n " + h + " 7 apache2_2.4.68.orig.tar.gz\n " + h + " 8 apache2_2.4.68.orig.tar.gz.asc\n " + h +
		" 9 apache2_2.4.68-1.debian.tar.xz\n " + h + " 9 ../x.orig.tar.gz\n " + h + " -1 y.orig.tar.gz\n short 9 z.orig.tar.gz\n\n" +
		"Package: other\nDirectory: pool/o\nChecksums-Sha256:\n " + h + " 7 other.orig.tar.gz\n"
	files, err := parseSources(strings.NewReader(text), "http://m/debian/", "sid", map[string]bool{"apache2": true})
	if err != nil || len(files) != 2 || files[0].URL != "http://m/debian/pool/main/a/apache2/apache2_2.4.68.orig.tar.gz" || files[0].Size != 7 || files[0].Suite != "sid" {
		t.Errorf("parseSources = %+v, %v", files, err)
	}
	x := &sourceIndex{Files: files}
	if sig, ok := x.beside(files[0]); !ok || sig.Size != 8 {
		t.Errorf("beside = %+v, %v", sig, ok)
	}
}

func TestHostThatIsNotDebian(t *testing.T) {
	f := newFetcher(t, nil, Options{Env: []string{"PATH=" + t.TempDir()}})
	f.opts.NoDebian = false
	_, err := f.Fetch(context.Background(), archiveOf([]byte("x"), ""))
	var missing *Unavailable
	if !errors.As(err, &missing) || !errors.Is(err, errNotDebian) {
		t.Errorf("Fetch = %v", err)
	}
}

// debianMirror is a small package mirror on the loopback interface, used by the real apt.
type debianMirror struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string][]byte
	asked []string
	pool  http.HandlerFunc // answers requests for the files in the suites; nil serves files
}

func newDebianMirror(t *testing.T) *debianMirror {
	t.Helper()
	m := &debianMirror{files: map[string][]byte{}}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		data, ok := m.files[r.URL.Path]
		m.asked = append(m.asked, r.URL.Path)
		pool := m.pool
		m.mu.Unlock()
		if pool != nil && strings.Contains(r.URL.Path, "/pool/") {
			pool(w, r)
			return
		}
		if !ok || data == nil {
			http.NotFound(w, r)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	t.Cleanup(m.Close)
	return m
}

// put sets the content of a path; nil removes it.
func (m *debianMirror) put(path string, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files[path] = data
}

func (m *debianMirror) count(suffix string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, path := range m.asked {
		if strings.HasSuffix(path, suffix) {
			n++
		}
	}
	return n
}

// publish adds a suite whose index names these files of the package mod-wsgi.
func (m *debianMirror) publish(suite, dir string, files map[string][]byte) {
	var lines string
	for name, data := range files {
		lines += fmt.Sprintf(" %x %d %s\n", sha256.Sum256(data), len(data), name)
	}
	m.publishSums(suite, dir, lines)
}

// publishSums is publish with the lines of the index.
func (m *debianMirror) publishSums(suite, dir, lines string) {
	var index, zipped bytes.Buffer
	fmt.Fprintf(&index, "Package: mod-wsgi\nVersion: 1\nDirectory: %s\nChecksums-Sha256:\n%s", dir, lines)
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write(index.Bytes())
	_ = z.Close()
	release := fmt.Sprintf("Suite: %s\nCodename: %s\nDate: %s\nArchitectures: all\nComponents: main\nSHA256:\n %x %d main/source/Sources\n %x %d main/source/Sources.gz\n",
		suite, suite, time.Now().UTC().Format(time.RFC1123), sha256.Sum256(index.Bytes()), index.Len(), sha256.Sum256(zipped.Bytes()), zipped.Len())
	m.mu.Lock()
	defer m.mu.Unlock()
	base := "/debian/dists/" + suite
	m.files[base+"/Release"] = []byte(release)
	m.files[base+"/main/source/Sources"] = index.Bytes()
	m.files[base+"/main/source/Sources.gz"] = zipped.Bytes()
}

// aptHost returns an environment in which apt's only source is the mirror.
func aptHost(t *testing.T, m *debianMirror) []string {
	t.Helper()
	if _, err := exec.LookPath("apt-get"); err != nil {
		t.Skip("no apt-get: not a Debian-like host")
	}
	release, err := os.ReadFile("/etc/os-release")
	if h := hostOf(distro.ParseRelease(string(release))); err != nil || h.id != "debian" || h.codename != "bookworm" {
		t.Skip("the mirror of this test is for Debian 12")
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "sources.list"), []byte("deb [trusted=yes] "+m.URL+"/debian bookworm main\n"))
	if err := os.Mkdir(filepath.Join(dir, "none"), 0o700); err != nil {
		t.Fatal(err)
	}
	hook := filepath.Join(dir, "hook-ran")
	writeFile(t, filepath.Join(dir, "apt.conf"), []byte(
		aptSetting("Dir::Etc::sourcelist", filepath.Join(dir, "sources.list"))+"\n"+
			aptSetting("Dir::Etc::sourceparts", filepath.Join(dir, "none"))+"\n"+
			aptSetting("APT::Update::Post-Invoke::", "touch "+hook)+"\n"))
	t.Cleanup(func() {
		if _, err := os.Stat(hook); err == nil {
			t.Error("a hook of the host's apt configuration ran")
		}
	})
	return append(os.Environ(), "APT_CONFIG="+filepath.Join(dir, "apt.conf"), "http_proxy=", "HTTP_PROXY=")
}

func moduleArchive(data []byte) recipe.Archive {
	a := archiveOf(data, "")
	a.Component, a.Version, a.File = "mod_wsgi", "5.0.2", "mod_wsgi-5.0.2.tar.gz"
	a.Debian = &recipe.Debian{Source: "mod-wsgi", File: "mod-wsgi_5.0.2.orig.tar.gz"}
	return a
}

func TestDebianProviderOnALocalMirror(t *testing.T) {
	m := newDebianMirror(t)
	env := aptHost(t, m)
	data, other := content(70, 200_000), content(71, 200_000)
	const name = "mod-wsgi_5.0.2.orig.tar.gz"
	m.publish("bookworm", "pool/old", map[string][]byte{name: other}) // the same name, another file
	m.publish("stable", "pool/gone", map[string][]byte{name: data})   // indexed, but 404
	m.publish("testing", "pool/lies", map[string][]byte{name: data})  // indexed, with other contents
	m.publish("unstable", "pool/right", map[string][]byte{name: data})
	m.put("/debian/pool/old/"+name, other)
	m.put("/debian/pool/lies/"+name, other)
	m.put("/debian/pool/right/"+name, data)

	cache := filepath.Join(t.TempDir(), "cache with a space")
	f := newFetcher(t, nil, Options{Env: env, CacheDir: cache})
	f.opts.NoDebian = false
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			file, err := f.Fetch(context.Background(), moduleArchive(data))
			if err != nil {
				t.Error(err)
				return
			}
			if file.Provider == Debian && !strings.Contains(file.From, "/pool/right/") {
				t.Errorf("From = %q", file.From)
			}
			mustBe(t, file, err, data)
		})
	}
	_, err := f.Fetch(context.Background(), moduleArchive(content(72, 10)))
	if err == nil || !strings.Contains(err.Error(), "no suite of the mirror") {
		t.Errorf("Fetch of an unknown hash = %v", err)
	}
	wg.Wait()
	if n := m.count("/dists/bookworm/Release"); n != 1 {
		t.Errorf("the index was read %d times", n)
	}

	// Another process on the same day reads the extract.
	var steps []string
	f = newFetcher(t, nil, Options{Env: env, CacheDir: cache, Events: func(e event.Event) {
		if e.Kind == event.Start {
			steps = append(steps, e.Step)
		}
	}})
	f.opts.NoDebian = false
	a := moduleArchive(data)
	if err := os.RemoveAll(filepath.Join(cache, "archives")); err != nil {
		t.Fatal(err)
	}
	m.put("/debian/pool/right/"+name, nil)
	_, err = f.Fetch(context.Background(), a)
	var missing *Unavailable
	if !errors.As(err, &missing) || strings.Count(err.Error(), "404 Not Found") != 2 || fault.ClassOf(err) != fault.Source {
		t.Errorf("Fetch = %v", err)
	}
	if len(steps) != 1 {
		t.Errorf("steps: %q", steps)
	}
	left, _ := filepath.Glob(filepath.Join(cache, "archives", "sha256", "*", "*"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestMirrorWithoutSomeSuites(t *testing.T) {
	m := newDebianMirror(t)
	env := aptHost(t, m)
	data := content(74, 100_000)
	const name = "mod-wsgi_5.0.2.orig.tar.gz"
	key := newKey(t, "release", nil)
	signature := sign(t, key, data, time.Time{})
	m.publish("bookworm", "pool/none", map[string][]byte{"mod-wsgi_1.orig.tar.gz": nil})
	m.publish("unstable", "pool/x", map[string][]byte{name: data, name + ".asc": signature})
	m.put("/debian/pool/x/"+name, append(data[:len(data):len(data)], content(75, 1_000_000)...))
	f := newFetcher(t, nil, Options{Env: env})
	f.opts.NoDebian = false
	f.keys = keyring(key)
	a := moduleArchive(data)
	a.Component = "httpd" // whose signatures are checked
	if file, err := f.Fetch(context.Background(), a); err == nil {
		t.Errorf("an oversized file was accepted: %+v", file)
	}
	nothingUsableBut(t, f, "debian")

	m.put("/debian/pool/x/"+name, data)
	m.put("/debian/pool/x/"+name+".asc", sign(t, key, []byte("other"), time.Time{}))
	file, err := f.Fetch(context.Background(), a) // apt refuses a signature that differs from the index
	mustBe(t, file, err, data)
	if file.Signer != "" {
		t.Errorf("signer %q", file.Signer)
	}
	if err := os.RemoveAll(filepath.Dir(file.Path)); err != nil {
		t.Fatal(err)
	}
	m.put("/debian/pool/x/"+name+".asc", signature)
	file, err = f.Fetch(context.Background(), a)
	mustBe(t, file, err, data)
	if file.Provider != Debian || file.Trust != recipe.Pinned || file.Signer != fingerprint(key) {
		t.Errorf("File = %+v", file)
	}
}

func nothingUsableBut(t *testing.T, f *Fetcher, folder string) {
	t.Helper()
	left, _ := filepath.Glob(filepath.Join(f.opts.CacheDir, "*", "*", "*", "*"))
	for _, path := range left {
		if !strings.HasPrefix(path, filepath.Join(f.opts.CacheDir, folder)) {
			t.Errorf("left behind: %s", path)
		}
	}
}

func TestMirrorThatDoesNotAnswer(t *testing.T) {
	m := newDebianMirror(t)
	env := aptHost(t, m)
	m.Close()
	f := newFetcher(t, nil, Options{Env: env})
	f.opts.NoDebian = false
	for range 2 {
		_, err := f.Fetch(context.Background(), moduleArchive(content(73, 10)))
		var missing *Unavailable
		if !errors.As(err, &missing) || !strings.Contains(err.Error(), "debian mod-wsgi_5.0.2.orig.tar.gz: read the mirror's indexes") {
			t.Errorf("Fetch = %v", err)
		}
	}
}
