package debian

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"modwsgi/internal/debian/debiantest"
	"modwsgi/internal/fault"
	"modwsgi/internal/fetch"
	"modwsgi/internal/pgp"
	"modwsgi/internal/testkit"
)

// The embedded keys are Debian's, by the fingerprints on https://ftp-master.debian.org/keys.html.
func TestEmbeddedKeys(t *testing.T) {
	keys, err := readKeys(archiveKeys)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/reference/keys.md")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range keys {
		if !strings.Contains(string(page), "| `"+pgp.Fingerprint(e)+"` | Debian ") {
			t.Errorf("docs/reference/keys.md does not list %s", pgp.Fingerprint(e))
		}
		got = append(got, pgp.Fingerprint(e))
		if v := pgp.Judge(e, 0, time.Now()); v.Standing == pgp.Unfit {
			t.Errorf("%s: %s", pgp.Fingerprint(e), v.Reason)
		}
	}
	for _, want := range []string{
		"1F89983E0081FDE018F3CC9673A4F27B8DD47936", "A4285295FC7B1A81600062A9605C66F00D6C9793", // bullseye
		"B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8", "4D64FEC119C2029067D6E791F8D2585B8783D481", // bookworm
		"04B54C3CDCA79751B16BC6B5225629DF75B188BD", "41587F7DB8C774BCCF131416762F67A0B2C39DE4", // trixie
	} {
		if !slices.Contains(got, want) {
			t.Errorf("the key %s is missing", want)
		}
	}
}

func serve(t *testing.T) *debiantest.Archive {
	return debiantest.Serve(t, map[string]*debiantest.Suite{"bookworm": {Arch: "arm64", Date: time.Now().Add(-time.Hour), Packages: []debiantest.Package{
		{Name: "libc6", Version: "2.36-9", Depends: "libgcc-s1, libcrypt1 (>= 1:4.4.10-10)", Deb: []byte("the libc")},
		{Name: "libgcc-s1", Version: "12.2.0-14", Depends: "gcc-12-base (= 12.2.0-14), libc6 (>= 2.35)", Deb: []byte("gcc")},
		{Name: "libcrypt1", Version: "1:4.4.33-2", Depends: "absent | libgcc-s1:any | libc6", Deb: []byte("crypt")},
	}}})
}

func open(t *testing.T, s *debiantest.Archive, o fetch.Options) *Archive {
	t.Helper()
	if o.CacheDir == "" {
		o.CacheDir = filepath.Join(t.TempDir(), "cache")
	}
	o.Retries = -1
	f, err := fetch.New(o)
	if err != nil {
		t.Fatal(err)
	}
	a, err := Open(f, []fetch.Mirror{{Base: s.URL, Keys: []string{s.Armored(t)}}})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestSuite(t *testing.T) {
	server := serve(t)
	cache := filepath.Join(t.TempDir(), "cache")
	a := open(t, server, fetch.Options{CacheDir: cache})
	s, err := a.Suite(t.Context(), "bookworm", "arm64")
	if err != nil {
		t.Fatal(err)
	}
	if s.Signer != pgp.Fingerprint(server.Key) || !s.Has("libc6") || s.Has("absent") {
		t.Errorf("%+v", s)
	}
	packages, err := s.Closure("libcrypt1")
	if err != nil || len(packages) != 3 || packages[0].Version != "1:4.4.33-2" {
		t.Errorf("%+v, %v", packages, err)
	}
	_, err = s.Find("libc6", "one", "two")
	testkit.WantFault(t, err, fault.Source, "one, two", "bookworm")
	file, err := a.Fetch(t.Context(), packages[0])
	if data, rerr := os.ReadFile(file); err != nil || rerr != nil || string(data) != "crypt" {
		t.Errorf("%q, %v, %v", data, err, rerr)
	}
	// From the cache, without the network: the index, and the package.
	before := len(server.Asked())
	b := open(t, server, fetch.Options{CacheDir: cache, Offline: true})
	if _, err = b.Suite(t.Context(), "bookworm", "arm64"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Fetch(t.Context(), packages[0]); err != nil {
		t.Error(err)
	}
	if now := len(server.Asked()); now != before {
		t.Errorf("asked for %v", server.Asked()[before:])
	}
	if _, err := b.Fetch(t.Context(), packages[1]); err == nil {
		t.Error("a package that is not in the cache, offline")
	}
}

func TestAbsentSuites(t *testing.T) {
	a := open(t, serve(t), fetch.Options{})
	for _, c := range [][2]string{{"buster", "arm64"}, {"bookworm", "riscv64"}} {
		_, err := a.Suite(t.Context(), c[0], c[1])
		var absent *NoSuite
		if !errors.As(err, &absent) {
			t.Errorf("%v: %v", c, err)
		}
	}
	f, err := fetch.New(fetch.Options{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(f, []fetch.Mirror{{Base: "/srv/debian"}})
	testkit.WantFault(t, err, fault.Usage, "not an http or https address")
}

// Nothing of a suite is used unless its index is authentic and current.
func TestUntrustworthyIndexes(t *testing.T) {
	stranger, err := openpgp.NewEntity("x", "", "x@example.org", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return time.Now().Add(-time.Hour * 99) }})
	if err != nil {
		t.Fatal(err)
	}
	const in = "dists/bookworm/InRelease"
	for name, c := range map[string]struct {
		change func(a *debiantest.Archive, s *debiantest.Suite)
		want   string
	}{
		"unsigned": {func(a *debiantest.Archive, s *debiantest.Suite) {
			a.Replace[in] = []byte("Codename: bookworm\n")
		}, "not a signed text"},
		"signed by a stranger": {func(a *debiantest.Archive, s *debiantest.Suite) {
			a.Replace[in] = debiantest.Sign(stranger, "Codename: bookworm\n")
		}, "unknown key"},
		"changed": {func(a *debiantest.Archive, s *debiantest.Suite) {
			a.Replace[in] = bytes.Replace(a.Files()[in], []byte("Origin: Debian"), []byte("Origin: debian"), 1)
		}, "signature"},
		"with an unsigned part": {func(a *debiantest.Archive, s *debiantest.Suite) {
			a.Replace[in] = append([]byte("Codename: bookworm\n\n"), a.Files()[in]...)
		}, "outside of the signature"},
		"expired":           {func(_ *debiantest.Archive, s *debiantest.Suite) { s.ValidUntil = time.Now().Add(-time.Minute) }, "valid until"},
		"from the future":   {func(_ *debiantest.Archive, s *debiantest.Suite) { s.Date = time.Now().Add(72 * time.Hour) }, "dated"},
		"of another suite":  {func(_ *debiantest.Archive, s *debiantest.Suite) { s.Named = "trixie" }, `codename "trixie"`},
		"too large":         {func(a *debiantest.Archive, _ *debiantest.Suite) { a.Replace[in] = make([]byte, 5<<20) }, "more than"},
		"with wrong hashes": {func(a *debiantest.Archive, _ *debiantest.Suite) { replaceIndexes(a, []byte("Package: evil\n")) }, "no provider has"},
		"with wrong hashes of the same size": {func(a *debiantest.Archive, s *debiantest.Suite) {
			data := bytes.Clone(a.Files()["dists/bookworm/main/binary-arm64/Packages.gz"])
			data[len(data)-1] ^= 1
			replaceIndexes(a, data)
		}, "it has sha256"},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t)
			c.change(server, server.Suites["bookworm"])
			a := open(t, server, fetch.Options{})
			_, err := a.Suite(t.Context(), "bookworm", "arm64")
			testkit.WantFault(t, err, fault.Source, c.want)
			if fault.HintOf(err) == "" {
				t.Error("no hint")
			}
			for _, p := range server.Asked() {
				if strings.HasPrefix(p, "pool/") {
					t.Errorf("asked for %s", p)
				}
			}
		})
	}
}

func replaceIndexes(a *debiantest.Archive, data []byte) {
	for path := range a.Files() {
		if strings.Contains(path, "/binary-arm64/") {
			a.Replace[path] = data
		}
	}
}

// The host's apt may be told not to check the age of a snapshot's index.
func TestAnyAge(t *testing.T) {
	server := serve(t)
	server.Suites["bookworm"].ValidUntil = time.Now().Add(-time.Hour)
	a := open(t, server, fetch.Options{})
	a.mirrors[0].AnyAge = true
	if _, err := a.Suite(t.Context(), "bookworm", "arm64"); err != nil {
		t.Error(err)
	}
}

// A suite that has changed since its InRelease was cached is read again.
func TestChangedSuite(t *testing.T) {
	server := serve(t)
	cache := filepath.Join(t.TempDir(), "cache")
	if _, err := open(t, server, fetch.Options{CacheDir: cache}).Suite(t.Context(), "bookworm", "arm64"); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(cache, "archives")); err != nil { // as after modwsgi cache prune
		t.Fatal(err)
	}
	server.Suites["bookworm"].Packages[0].Version = "2.36-10"
	s, err := open(t, server, fetch.Options{CacheDir: cache}).Suite(t.Context(), "bookworm", "arm64")
	if err != nil {
		t.Fatal(err)
	}
	if p, err := s.Find("libc6"); err != nil || p[0].Version != "2.36-10" {
		t.Errorf("%+v, %v", p, err)
	}
}

// A mirror that is damaged does not prevent the use of another one.
func TestSecondMirror(t *testing.T) {
	bad, good := serve(t), serve(t)
	good.Key = bad.Key
	bad.Replace["dists/bookworm/InRelease"] = []byte("<html>")
	a := open(t, bad, fetch.Options{})
	a.mirrors = append(a.mirrors, fetch.Mirror{Base: good.URL, Keys: a.mirrors[0].Keys})
	s, err := a.Suite(t.Context(), "bookworm", "arm64")
	if err != nil {
		t.Fatal(err)
	}
	packages, err := s.Find("libc6")
	if err != nil {
		t.Fatal(err)
	}
	bad.Replace[packages[0].File] = []byte("evil libc")
	file, err := a.Fetch(t.Context(), packages[0])
	if data, _ := os.ReadFile(file); err != nil || string(data) != "the libc" {
		t.Errorf("%q, %v", data, err)
	}
	good.Replace[packages[0].File] = []byte("the LIBC") // of the right size
	packages[0].SHA256 = debiantest.Sum([]byte("other"))
	if _, err := a.Fetch(t.Context(), packages[0]); err == nil || !strings.Contains(err.Error(), "sha256") {
		t.Errorf("with a wrong hash: %v", err)
	}
}

func TestParsePackages(t *testing.T) {
	hash := strings.Repeat("a", 64)
	good := "Package: good\nVersion: 1\nFilename: pool/g_1.deb\nSize: 3\nSHA256: " + hash + "\n\n"
	got, err := parsePackages(strings.NewReader(good +
		"Package: up\nFilename: ../up.deb\nSize: 3\nSHA256: " + hash + "\n\n" +
		"Package: odd\nFilename: pool/a b.deb\nSize: 3\nSHA256: " + hash + "\n\n" +
		"Package: unhashed\nFilename: pool/x.deb\nSize: 3\n\n" +
		"Package: empty\nFilename: pool/x.deb\nSize: 0\nSHA256: " + hash + "\n\n" +
		"Package: last\nFilename: ./pool/l.deb\nSize: 1\nSHA256: " + hash))
	if err != nil || len(got) != 2 || got["good"] == nil || got["last"] == nil || got["last"].File != "pool/l.deb" {
		t.Errorf("%+v, %v", got, err)
	}
}
