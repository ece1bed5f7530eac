//go:build acceptance && linux

package acceptance

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"modwsgi/internal/recipe"
	"modwsgi/packaging"
	"modwsgi/packaging/sbom"
	"modwsgi/packaging/vex"
)

// tool is the path of a program that scripts/scanners builds.
func tool(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(filepath.Dir(setting(t, "MODWSGI_TEST_CACHE")), "scan", name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("LEFT OUT: %s is missing: run scripts/scanners", path)
	}
	return path
}

// advisory is an entry of the database of scripts/scandb.
type advisory struct {
	ID       string `json:"id"`
	CPE      string `json:"cpe,omitempty"`
	Distro   string `json:"distro,omitempty"`
	System   string `json:"ecosystem,omitempty"`
	Package  string `json:"package,omitempty"`
	Versions string `json:"versions"`
	Type     string `json:"type"`
}

// scanner is grype with a database of a few advisories.
type scanner struct {
	t       *testing.T
	program string
	env     []string
	dir     string
}

func newScanner(t *testing.T, advisories []advisory) *scanner {
	t.Helper()
	s := &scanner{t: t, program: tool(t, "grype"), dir: t.TempDir()}
	data, err := json.Marshal(advisories)
	if err != nil {
		t.Fatal(err)
	}
	input := filepath.Join(s.dir, "advisories.json")
	if err := os.WriteFile(input, data, 0o644); err != nil {
		t.Fatal(err)
	}
	db := filepath.Join(s.dir, "db")
	must(t, s.dir, bareEnv(), "/bin/sh", "-c", `exec "$0" "$1" <"$2"`, tool(t, "scandb"), db, input)
	s.env = bareEnv("HOME="+s.dir, "GRYPE_DB_CACHE_DIR="+db, "GRYPE_DB_AUTO_UPDATE=false", "GRYPE_DB_VALIDATE_AGE=false", "GRYPE_CHECK_FOR_APP_UPDATE=false")
	return s
}

// found scans a bill of materials and returns what was found: "httpd CVE-1", sorted.
func (s *scanner) found(file string, args ...string) []string {
	s.t.Helper()
	r := must(s.t, s.dir, s.env, append([]string{s.program, "-q", "-o", "json", "sbom:" + file}, args...)...)
	var report struct {
		Matches []struct {
			Vulnerability struct{ ID string }
			Artifact      struct{ Name string }
		}
	}
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
		s.t.Fatalf("%v: %s", err, r)
	}
	var all []string
	for _, m := range report.Matches {
		all = append(all, m.Artifact.Name+" "+m.Vulnerability.ID)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// TestScannersKnowEveryComponent: grype finds an advisory for each component that can be
// in an artifact, under the name that the database has it by.
func TestScannersKnowEveryComponent(t *testing.T) {
	var advisories []advisory
	var components []packaging.Component
	var want []string
	add := func(a advisory, c packaging.Component, affected bool) {
		a.ID = fmt.Sprintf("CVE-2026-%d", 10000+len(advisories))
		advisories, components = append(advisories, a), append(components, c)
		if affected {
			want = append(want, c.Name+" "+a.ID)
		}
	}
	for _, name := range recipe.Catalogue().Components() {
		if len(recipe.Catalogue().Of(name)) == 0 || name == "libxcrypt" { // which the database does not list
			continue
		}
		c := packaging.SourceComponent(name, recipe.Catalogue().Of(name)[0].Version, "MIT", strings.Repeat("ab", 32))
		if name == "mod_wsgi" {
			add(advisory{System: "python", Package: "mod-wsgi", Versions: "< 99", Type: "python"}, c, true)
			continue
		}
		for _, cpe := range c.CPEs {
			f := strings.Split(cpe, ":")
			add(advisory{CPE: f[3] + ":" + f[4], Versions: "< 99", Type: "unknown"}, c, true)
		}
	}
	add(advisory{System: "go-module", Package: "stdlib", Versions: "< 99", Type: "go"}, packaging.GoModule("stdlib", "1.26.8", ""), true)
	host := func(name, version, purl string) packaging.Component {
		return packaging.Component{Kind: packaging.FromHost, Name: name, Version: version, File: name + ".so", License: "MIT", PURL: purl}
	}
	deb := host("libcrypt1", "1:4.4.33-2", packaging.PackageURL("deb/debian/libcrypt1", "1:4.4.33-2", [2]string{"arch", "amd64"}, [2]string{"distro", "debian-12"}, [2]string{"upstream", "libxcrypt"}))
	add(advisory{Distro: "debian-12", Package: "libxcrypt", Versions: "< 1:4.4.34", Type: "dpkg"}, deb, true)
	add(advisory{Distro: "debian-12", Package: "libxcrypt", Versions: "< 9", Type: "dpkg"}, deb, false) // without its epoch it would be
	add(advisory{Distro: "debian-11", Package: "libxcrypt", Versions: "< 1:4.4.34", Type: "dpkg"}, deb, false)
	sysroot := host("libssl1.1", "1.1.1w-0+deb11u1", packaging.PackageURL("deb/debian/libssl1.1", "1.1.1w-0+deb11u1", [2]string{"arch", "arm64"}, [2]string{"distro", "debian-bullseye"}, [2]string{"upstream", "openssl"}))
	add(advisory{Distro: "debian-11", Package: "openssl", Versions: "< 1.1.1w-0+deb11u9", Type: "dpkg"}, sysroot, true)
	rpm := host("openssl-libs", "1:3.2.2-3.fc41", packaging.PackageURL("rpm/fedora/openssl-libs", "3.2.2-3.fc41", [2]string{"arch", "x86_64"}, [2]string{"distro", "fedora-41"}, [2]string{"epoch", "1"}, [2]string{"upstream", "openssl-3.2.2-3.fc41.src.rpm"}))
	add(advisory{Distro: "fedora-41", Package: "openssl", Versions: "< 1:3.2.2-9.fc41", Type: "rpm"}, rpm, true)
	apk := host("libssl3", "3.3.1-r0", packaging.PackageURL("apk/alpine/libssl3", "3.3.1-r0", [2]string{"arch", "x86_64"}, [2]string{"distro", "alpine-3.20.1"}, [2]string{"upstream", "openssl"}))
	add(advisory{Distro: "alpine-3.20", Package: "openssl", Versions: "< 3.3.9-r0", Type: "apk"}, apk, true)

	bom, err := sbom.JSON(sbom.Subject{Name: "x", Version: "1", Time: time.Unix(0, 0)}, components)
	if err != nil {
		t.Fatal(err)
	}
	s := newScanner(t, advisories)
	file := filepath.Join(s.dir, "x.cdx.json")
	if err := os.WriteFile(file, bom, 0o644); err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	if got := s.found(file); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// TestScannersFollowFeatures: a vulnerability in http2 is reported of an httpd that has
// it, and not of one without.
func TestScannersFollowFeatures(t *testing.T) {
	var advisories []advisory
	for _, id := range []string{"CVE-2026-119618", "CVE-2026-57941", "CVE-2026-1"} {
		advisories = append(advisories, advisory{ID: id, CPE: "apache:http_server", Versions: "< 2.4.71", Type: "unknown"})
	}
	s := newScanner(t, advisories)
	httpd := func(features ...string) []packaging.Component {
		return packaging.WithFeatures([]packaging.Component{packaging.SourceComponent("httpd", "2.4.68", "Apache-2.0", strings.Repeat("ab", 32))}, features)
	}
	write := func(name string, data []byte, err error) string {
		path := filepath.Join(s.dir, name)
		if err == nil {
			err = os.WriteFile(path, data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	document := func(name string, c []packaging.Component) string {
		data, err := vex.JSON(vex.Product{PURL: "pkg:pypi/mod-wsgi-httpd@2.4.68", SHA256: strings.Repeat("00", 32), Time: time.Unix(0, 0), Author: "test"}, c)
		return write(name, data, err)
	}
	bill := func(name string, c []packaging.Component) string {
		data, err := sbom.JSON(sbom.Subject{Name: "mod_wsgi-httpd", Version: "2.4.68", PURL: "pkg:pypi/mod-wsgi-httpd@2.4.68", Time: time.Unix(0, 0)}, c)
		return write(name, data, err)
	}
	all := []string{"httpd CVE-2026-1", "httpd CVE-2026-119618", "httpd CVE-2026-57941"}
	with, without := httpd("tls", "http2"), httpd("tls")
	for name, c := range map[string]struct {
		bill, vex []packaging.Component
		want      []string
	}{
		"without http2":             {without, without, all[:1]},
		"with http2":                {with, with, all},
		"the document of the other": {with, without, all}, // which is about other products
	} {
		if got := s.found(bill("x.cdx.json", c.bill), "--vex", document("x.openvex.json", c.vex)); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
	if got := s.found(bill("x.cdx.json", without)); !slices.Equal(got, all) {
		t.Errorf("without a VEX document: got %v", got)
	}
}

// signedWheels makes two wheels, signed with an ECDSA key, and returns their directory,
// the private key and the public one.
func signedWheels(t *testing.T, dir string) (dist, private, public string) {
	t.Helper()
	private, public = filepath.Join(dir, "key.pem"), filepath.Join(dir, "key.pub")
	must(t, dir, bareEnv(), "/bin/sh", "-c", "umask 077; openssl ecparam -name prime256v1 -genkey -noout -out key.pem && openssl ec -in key.pem -pubout -out key.pub")
	dist = filepath.Join(dir, "dist")
	must(t, dir, bareEnv(), packageArgs(t, "--python", setting(t, "MODWSGI_TEST_PYTHON"), "--source-dir", setting(t, "MODWSGI_TEST_SOURCES"),
		"--without", "http2", "--out", dist, "--sign-ecdsa", private)...)
	return dist, private, public
}

// TestReleaseIsVerifiedByCosign makes wheels and lets tools of others read what is beside
// them: cosign, grype and scripts/verify-release.
func TestReleaseIsVerifiedByCosign(t *testing.T) {
	cosign := tool(t, "cosign")
	dir := workdir(t, "attest")
	dist, private, public := signedWheels(t, dir)
	wheels, _ := filepath.Glob(filepath.Join(dist, "*.whl"))
	if len(wheels) != 2 {
		t.Fatalf("got %v", wheels)
	}
	script, err := filepath.Abs("../scripts/verify-release")
	if err != nil {
		t.Fatal(err)
	}
	must(t, dir, bareEnv(), "/bin/sh", script, "--ecdsa", public, dist)
	must(t, dir, bareEnv("HOME="+dir), cosign, "verify-blob", "--key", public, "--insecure-ignore-tlog", "--signature", filepath.Join(dist, "SHA256SUMS.sig"), filepath.Join(dist, "SHA256SUMS"))
	verify := func(artifact, envelope, key string) result {
		return command(t, dir, bareEnv("HOME="+dir), cosign, "verify-blob-attestation", "--key", key, "--insecure-ignore-tlog", "--type", "slsaprovenance1", "--signature", envelope, artifact)
	}
	for _, wheel := range wheels {
		if r := verify(wheel, wheel+".intoto.jsonl", public); r.code != 0 {
			t.Errorf("%s", r)
		}
	}
	must(t, dir, bareEnv(), "/bin/sh", "-c", "umask 077; openssl ecparam -name prime256v1 -genkey -noout -out other.pem && openssl ec -in other.pem -pubout -out other.pub")
	data, err := os.ReadFile(wheels[0] + ".intoto.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	forge := func(name string, edit func([]byte) []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, edit(bytes.Clone(data)), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tampered := forge("tampered", func(b []byte) []byte {
		var e struct{ Payload string }
		_ = json.Unmarshal(b, &e)
		text, _ := base64.StdEncoding.DecodeString(e.Payload)
		text = bytes.Replace(text, []byte("builder/local"), []byte("builder/other"), 1)
		return bytes.Replace(b, []byte(e.Payload), []byte(base64.StdEncoding.EncodeToString(text)), 1)
	})
	changed := forge("changed.whl", func([]byte) []byte { return []byte("evil") })
	for name, r := range map[string]result{
		"tampered payload":  verify(wheels[0], tampered, public),
		"wrong key":         verify(wheels[0], wheels[0]+".intoto.jsonl", filepath.Join(dir, "other.pub")),
		"another artifact":  verify(wheels[1], wheels[0]+".intoto.jsonl", public),
		"another statement": verify(wheels[0], wheels[1]+".intoto.jsonl", public),
		"changed artifact":  verify(changed, wheels[0]+".intoto.jsonl", public),
		"truncated":         verify(wheels[0], forge("truncated", func(b []byte) []byte { return b[:len(b)/2] }), public),
		"no signature":      verify(wheels[0], wheels[0]+".intoto.json", public),
	} {
		if r.code == 0 {
			t.Errorf("%s was accepted: %s", name, r)
		}
	}
	again := filepath.Join(dir, "again")
	must(t, dir, bareEnv(), packageArgs(t, "--python", setting(t, "MODWSGI_TEST_PYTHON"), "--source-dir", setting(t, "MODWSGI_TEST_SOURCES"),
		"--without", "http2", "--out", again, "--sign-ecdsa", private)...)
	if one, two := snapshot(t, dist), snapshot(t, again); !maps.Equal(one, two) {
		t.Errorf("made again, these differ: %v", differences(one, two))
	}
	scanWheels(t, wheels)
}

// scanWheels scans what is beside the wheels of httpd and of the module.
func scanWheels(t *testing.T, wheels []string) {
	t.Helper()
	s := newScanner(t, []advisory{
		{ID: "CVE-2026-119618", CPE: "apache:http_server", Versions: "< 99", Type: "unknown"},
		{ID: "CVE-2026-1", CPE: "apache:portable_runtime", Versions: "< 99", Type: "unknown"},
		{ID: "CVE-2026-2", CPE: "pcre:pcre2", Versions: "< 99", Type: "unknown"},
		{ID: "CVE-2026-3", System: "python", Package: "mod-wsgi", Versions: "< 99", Type: "python"},
	})
	for _, wheel := range wheels {
		want := []string{"mod_wsgi CVE-2026-3"}
		if strings.Contains(wheel, "httpd") {
			want = []string{"apr CVE-2026-1", "httpd CVE-2026-119618", "pcre2 CVE-2026-2"}
		}
		if got := s.found(wheel + ".cdx.json"); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", filepath.Base(wheel), got, want)
		}
		if _, err := os.Stat(wheel + ".openvex.json"); err != nil {
			continue // nothing is known of these versions
		}
		want = slices.DeleteFunc(want, func(m string) bool { return m == "httpd CVE-2026-119618" })
		if got := s.found(wheel+".cdx.json", "--vex", wheel+".openvex.json"); !slices.Equal(got, want) {
			t.Errorf("%s with its VEX document: got %v, want %v", filepath.Base(wheel), got, want)
		}
	}
}

// checkAttested lets cosign verify the signature and the signed statement of an image in
// a registry.
func checkAttested(t *testing.T, reg *registry, digest v1.Hash, keys string) {
	t.Helper()
	t.Run("cosign", func(t *testing.T) {
		cosign, dir := tool(t, "cosign"), t.TempDir()
		image := reg.address + "/shop/web@" + digest.String()
		run := func(key string, args ...string) result {
			args = append([]string{cosign}, args...)
			return command(t, dir, bareEnv("HOME="+dir, "DOCKER_CONFIG="+reg.docker, "SSL_CERT_FILE="+reg.ca), append(args, "--key", key, "--insecure-ignore-tlog", image)...)
		}
		statement := []string{"verify-attestation", "--type", "slsaprovenance1"}
		for _, args := range [][]string{{"verify"}, statement} {
			if r := run(keys+".pub", args...); r.code != 0 {
				t.Errorf("%s", r)
			}
		}
		other := ecdsaKeys(t, dir)
		if r := run(other+".pub", statement...); r.code == 0 {
			t.Errorf("another key was accepted: %s", r)
		}
		if r := run(keys+".pub", "verify-attestation", "--type", "openvex"); r.code == 0 {
			t.Errorf("another kind of statement was accepted: %s", r)
		}
	})
}
