//go:build unix

package release

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"modwsgi/internal/run"
	"modwsgi/packaging"
	"modwsgi/packaging/sign"
)

var at = time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)

// make writes a release of two wheels.
func makeRelease(t *testing.T, out string, signers ...Signer) {
	t.Helper()
	d, err := packaging.Open(out, false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Abort()
	for _, name := range []string{"mod_wsgi-5.0.2-cp311-cp311-linux_x86_64.whl", "mod_wsgi_httpd-2.4.68-py3-none-linux_x86_64.whl"} {
		o, err := d.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.Write([]byte(name)); err != nil {
			t.Fatal(err)
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
		project, version, _ := strings.Cut(name, "-")
		version, _, _ = strings.Cut(version, "-")
		a := &packaging.Artifact{
			Name: name, Kind: "wheel", Project: project, Version: version, Requires: ">=3.8", Sidecars: []string{name + ".metadata"},
			Components: []packaging.Component{
				packaging.SourceComponent("httpd", "2.4.68", "Apache-2.0", strings.Repeat("ab", 32)),
				{Kind: packaging.FromHost, Name: "libssl3", Version: "3.0.19-1", License: "Apache-2.0", File: "libssl.so.3", SHA256: strings.Repeat("cd", 32), PURL: "pkg:deb/debian/libssl3@3.0.19-1"},
				{Kind: packaging.FromModules, Name: "golang.org/x/sys", Version: "v0.1.0", Sum: "h1:x=", License: "BSD-3-Clause"},
			},
		}
		if err := d.Add(a); err != nil {
			t.Fatal(err)
		}
		if err := d.Meta(name+".metadata", []byte("Metadata-Version: 2.1\n")); err != nil {
			t.Fatal(err)
		}
	}
	if err := Finish(t.Context(), d, Options{Time: at, Tool: "1.2.3", Signers: signers}); err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestFinishIsTheSameTwice(t *testing.T) {
	base := t.TempDir()
	one, two := filepath.Join(base, "one"), filepath.Join(base, "some where", "else")
	makeRelease(t, one)
	makeRelease(t, two)
	makeRelease(t, two) // into the same again
	if a, b := read(t, filepath.Join(one, SumsName)), read(t, filepath.Join(two, SumsName)); a != b {
		t.Errorf("checksums differ:\n%s\n%s", a, b)
	}
	if code, out := verify(t, "--unsigned", two); code != 0 || !strings.Contains(out, "17 files match SHA256SUMS") {
		t.Errorf("%d: %s", code, out)
	}
}

func TestProvenanceAndBillOfMaterials(t *testing.T) {
	out := filepath.Join(t.TempDir(), "dist")
	makeRelease(t, out)
	var s statement
	if err := json.Unmarshal([]byte(read(t, filepath.Join(out, "mod_wsgi-5.0.2-cp311-cp311-linux_x86_64.whl.intoto.json"))), &s); err != nil {
		t.Fatal(err)
	}
	deps := s.Predicate.BuildDefinition.ResolvedDependencies
	if s.Type != "https://in-toto.io/Statement/v1" || s.PredicateType != "https://slsa.dev/provenance/v1" || len(s.Subject) != 1 || len(deps) != 3 {
		t.Errorf("statement %+v", s)
	}
	if !slices.ContainsFunc(deps, func(d resourceDescriptor) bool {
		return d.Name == "httpd" && d.Digest["sha256"] == strings.Repeat("ab", 32)
	}) {
		t.Errorf("dependencies %+v", deps)
	}
	var bom struct {
		BomFormat, SpecVersion, SerialNumber string
		Components                           []struct {
			Name, Version, Purl string
			Hashes              []struct{ Alg, Content string }
			Licenses            []struct{ Expression string }
		}
		Metadata struct{ Timestamp string }
	}
	if err := json.Unmarshal([]byte(read(t, filepath.Join(out, "mod_wsgi-5.0.2-cp311-cp311-linux_x86_64.whl.cdx.json"))), &bom); err != nil {
		t.Fatal(err)
	}
	if bom.BomFormat != "CycloneDX" || !strings.HasPrefix(bom.SerialNumber, "urn:uuid:") || len(bom.Components) != 3 || bom.Metadata.Timestamp != "2024-05-06T07:08:09Z" {
		t.Errorf("bill of materials %+v", bom)
	}
	for _, c := range bom.Components {
		if len(c.Licenses) != 1 || c.Licenses[0].Expression == "" {
			t.Errorf("%s has no licence", c.Name)
		}
	}
}

// keys makes a key of each kind and returns the signers, and the options of
// verify-release by kind.
func keys(t *testing.T) ([]Signer, map[string][]string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, text []byte, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var all []Signer
	options := map[string][]string{}

	e, err := openpgp.NewEntity("Release", "", "release@example.org", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return at }})
	if err != nil {
		t.Fatal(err)
	}
	var secret, public strings.Builder
	for _, k := range []struct {
		kind string
		to   *strings.Builder
	}{{openpgp.PrivateKeyType, &secret}, {openpgp.PublicKeyType, &public}} {
		w, err := armor.Encode(k.to, k.kind, nil)
		if err != nil {
			t.Fatal(err)
		}
		if k.kind == openpgp.PrivateKeyType {
			err = e.SerializePrivate(w, nil)
		} else {
			err = e.Serialize(w)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	pgp, err := sign.NewOpenPGP(write("secret.asc", []byte(secret.String()), 0o600), nil)
	if err != nil {
		t.Fatal(err)
	}
	all, options["openpgp"] = append(all, pgp), []string{"--openpgp", write("public.asc", []byte(public.String()), 0o644)}

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := sign.NewECDSA(write("ec.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600), nil)
	if err != nil {
		t.Fatal(err)
	}
	all, options["ecdsa"] = append(all, ec), []string{"--ecdsa", write("ec.pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub}), 0o644)}

	if tool("minisign") {
		var r run.Runner
		mk := run.Cmd{Argv: []string{"minisign", "-G", "-W", "-f", "-p", dir + "/mini.pub", "-s", dir + "/mini.key"}, Env: env}
		if err := r.Run(t.Context(), mk); err != nil {
			t.Logf("minisign: %v", err) // an old version asks for a password
		} else {
			mini, err := sign.NewMinisign(dir+"/mini.key", nil)
			if err != nil {
				t.Fatal(err)
			}
			all, options["minisign"] = append(all, mini), []string{"--minisign", dir + "/mini.pub"}
		}
	}
	return all, options
}

var env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C.UTF-8", "HOME=/nonexistent"}

func tool(name string) bool {
	_, err := run.LookPath(name, env)
	return err == nil
}

// verify runs scripts/verify-release and returns its exit code and its output.
func verify(t *testing.T, args ...string) (int, string) {
	t.Helper()
	script, err := filepath.Abs("../../scripts/verify-release")
	if err != nil {
		t.Fatal(err)
	}
	var r run.Runner
	var out strings.Builder
	err = r.Run(t.Context(), run.Cmd{Argv: append([]string{"/bin/sh", script}, args...), Dir: t.TempDir(), Env: env, Log: &out})
	var failed *run.Error
	if err != nil {
		failed, _ = err.(*run.Error)
		if failed == nil {
			t.Fatal(err)
		}
		return failed.ExitCode, out.String()
	}
	return 0, out.String()
}

func TestVerifyRelease(t *testing.T) {
	if testing.Short() || !tool("gpgv") || !tool("openssl") {
		t.Skip("needs gpgv and openssl, and is left out with -short")
	}
	signers, options := keys(t)
	_, others := keys(t)
	const a = "mod_wsgi-5.0.2-cp311-cp311-linux_x86_64.whl"
	for name, c := range map[string]struct {
		change func(dir string) error
		code   int
		says   string
	}{
		"untouched":      {func(string) error { return nil }, 0, "19 files match SHA256SUMS"},
		"changed":        {func(d string) error { return os.WriteFile(d+"/"+a, []byte("evil"), 0o644) }, 1, a + ": FAILED"},
		"missing":        {func(d string) error { return os.Remove(d + "/" + a) }, 1, "missing or differ from the release"},
		"missing page":   {func(d string) error { return os.Remove(d + "/simple/index.html") }, 1, "simple/index.html"},
		"added":          {func(d string) error { return os.WriteFile(d+"/mod_wsgi-5.0.3.whl", nil, 0o644) }, 1, "  mod_wsgi-5.0.3.whl"},
		"added below":    {func(d string) error { return os.WriteFile(d+"/simple/mod-wsgi/x.html", nil, 0o644) }, 1, "does not list"},
		"hidden":         {func(d string) error { return os.WriteFile(d+"/.x", nil, 0o644) }, 1, "does not list"},
		"link":           {func(d string) error { return os.Symlink("/etc/passwd", d+"/x") }, 1, "not regular files"},
		"link instead":   {func(d string) error { return relink(d, a) }, 1, "not regular files"},
		"sums changed":   {func(d string) error { return edit(d, func(s string) string { return strings.Replace(s, "a", "b", 1) }) }, 3, "is not a valid signature of SHA256SUMS"},
		"sums cut":       {func(d string) error { return edit(d, func(s string) string { return s[:len(s)/2] }) }, 3, "is not a valid signature of SHA256SUMS"},
		"sums empty":     {func(d string) error { return edit(d, func(string) string { return "" }) }, 3, "is not a valid signature of SHA256SUMS"},
		"no sums":        {func(d string) error { return os.Remove(d + "/" + SumsName) }, 1, "does not contain SHA256SUMS"},
		"no signature":   {func(d string) error { return unsign(d) }, 3, "is missing"},
		"bad signature":  {func(d string) error { return spoil(d) }, 3, "is not a valid signature of SHA256SUMS"},
		"no signed file": {func(d string) error { return os.RemoveAll(d + "/simple") }, 1, "missing or differ from the release"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "a 'dist'")
			makeRelease(t, dir, signers...)
			if err := c.change(dir); err != nil {
				t.Fatal(err)
			}
			for kind, option := range options {
				if code, out := verify(t, append(option, dir)...); code != c.code || !strings.Contains(out, c.says) {
					t.Errorf("%s: exit code %d: %s", kind, code, out)
				}
			}
		})
	}
	dir := filepath.Join(t.TempDir(), "dist")
	makeRelease(t, dir, signers...)
	for kind, option := range others {
		if code, out := verify(t, append(option, dir)...); code != 3 {
			t.Errorf("%s, another key: exit code %d: %s", kind, code, out)
		}
	}
	makeRelease(t, dir) // without a key: no outdated signature stays
	for _, suffix := range []string{".asc", ".sig", ".minisig"} {
		if _, err := os.Stat(filepath.Join(dir, SumsName+suffix)); err == nil {
			t.Errorf("a stale signature %s is there", suffix)
		}
	}
	for _, args := range [][]string{{}, {dir}, {"--unsigned", "--ecdsa", "x", dir}, {"--openpgp"}, {"--openpgp", "/nonexistent", dir}, {"--unsigned", "/nonexistent"}, {"--other", dir}, {"--unsigned", dir, dir}} {
		if code, out := verify(t, args...); code != 2 {
			t.Errorf("%v: exit code %d: %s", args, code, out)
		}
	}
}

func relink(dir, name string) error {
	if err := os.Rename(dir+"/"+name, dir+"/../moved"); err != nil {
		return err
	}
	return os.Symlink("../moved", dir+"/"+name)
}

func edit(dir string, change func(string) string) error {
	data, err := os.ReadFile(dir + "/" + SumsName)
	if err != nil {
		return err
	}
	return os.WriteFile(dir+"/"+SumsName, []byte(change(string(data))), 0o644)
}

func unsign(dir string) error {
	for _, suffix := range []string{".asc", ".sig", ".minisig"} {
		if err := os.RemoveAll(dir + "/" + SumsName + suffix); err != nil {
			return err
		}
	}
	return nil
}

// spoil replaces each signature with that of empty content.
func spoil(dir string) error {
	for _, suffix := range []string{".asc", ".sig", ".minisig"} {
		if err := os.WriteFile(dir+"/"+SumsName+suffix, []byte("AAAA\n"), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// TestUnsignedSumsAreChecked: without a signature the list itself may be hostile.
func TestUnsignedSumsAreChecked(t *testing.T) {
	zero := strings.Repeat("0", 64)
	for _, text := range []string{"", "x\n", zero + "  /etc/passwd\n", zero + "  ../x\n", zero + "  a/../../x\n", zero + " *x\n", zero + "  -\n", "\\" + zero + "  a\\nb\n", zero + "\n"} {
		dir := t.TempDir()
		if err := os.WriteFile(dir+"/"+SumsName, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if code, out := verify(t, "--unsigned", dir); code != 1 || !strings.Contains(out, "is not a list of checksums") {
			t.Errorf("%q: exit code %d: %s", text, code, out)
		}
	}
}
