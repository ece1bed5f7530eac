package localca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/fault"
)

func make1(t *testing.T, dir string, now time.Time) *Certificate {
	t.Helper()
	c, err := Localhost(dir, now)
	if err != nil {
		t.Fatal(err, fault.HintOf(err))
	}
	return c
}

func load(t *testing.T, dir string) (root, leaf *authority) {
	t.Helper()
	data := map[string][]byte{}
	for _, name := range []string{RootFile, keyFile, leafFile} {
		var err error
		if data[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := parse(data[RootFile], data[keyFile])
	if err != nil {
		t.Fatal(err)
	}
	if leaf, err = parse(data[leafFile], data[leafFile]); err != nil {
		t.Fatal(err)
	}
	return root, leaf
}

func verify(root, leaf *x509.Certificate, name string, now time.Time) error {
	pool := x509.NewCertPool()
	pool.AddCert(root)
	_, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: pool, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	return err
}

// TestMadeOnce: the authority is made once and private, and its certificate is for this
// machine's names only.
func TestMadeOnce(t *testing.T) {
	dir, now := filepath.Join(t.TempDir(), "state", "ca"), time.Now()
	first := make1(t, dir, now)
	if !first.MadeRoot || !first.MadeLeaf || first.WhyNewOne != "" || first.Root != filepath.Join(dir, RootFile) {
		t.Errorf("%+v", first)
	}
	root, leaf := load(t, dir)
	for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
		if err := verify(root.cert, leaf.cert, name, now); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := verify(root.cert, leaf.cert, "example.com", now); err == nil {
		t.Error("the certificate is valid for another name")
	}
	if d := leaf.cert.NotAfter.Sub(leaf.cert.NotBefore); d >= 398*24*time.Hour {
		t.Errorf("valid for %v", d)
	}
	if !root.cert.PermittedDNSDomainsCritical || !root.cert.MaxPathLenZero || leaf.cert.IsCA {
		t.Errorf("%+v", root.cert)
	}
	if unixModes {
		for name, want := range map[string]os.FileMode{".": 0o700, keyFile: 0o600, leafFile: 0o600} {
			if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != want {
				t.Errorf("%s: %v %v", name, info.Mode(), err)
			}
		}
	}
	second := make1(t, dir, now.Add(time.Minute))
	again, same := load(t, dir)
	if second.MadeRoot || second.MadeLeaf || !again.cert.Equal(root.cert) || !same.cert.Equal(leaf.cert) {
		t.Errorf("%+v", second)
	}
}

// TestConstraints: clients refuse what the authority signs for other names, even if the key
// was stolen.
func TestConstraints(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	make1(t, dir, now)
	root, _ := load(t, dir)
	for _, c := range []struct {
		name     string
		template *x509.Certificate
	}{
		{"example.com", &x509.Certificate{DNSNames: []string{"example.com"}}},
		{"192.0.2.1", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1).To4()}}},
		{"localhost.example.com", &x509.Certificate{DNSNames: []string{"localhost.example.com"}}},
	} {
		c.template.NotBefore, c.template.NotAfter = now.Add(-time.Hour), now.Add(time.Hour)
		c.template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		a, _, _, err := issue(c.template, root)
		if err != nil {
			t.Fatal(err)
		}
		if err := verify(root.cert, a.cert, c.name, now); err == nil || !strings.Contains(err.Error(), "constraint") && !strings.Contains(err.Error(), "not permitted") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// Nor can it make another authority.
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sub := &x509.Certificate{SerialNumber: root.cert.SerialNumber, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, sub, root.cert, &key.PublicKey, root.key)
	if err != nil {
		t.Fatal(err)
	}
	subCert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	leaf, _, _, err := issue(&x509.Certificate{DNSNames: []string{"localhost"}, NotBefore: sub.NotBefore, NotAfter: sub.NotAfter}, &authority{subCert, key})
	if err != nil {
		t.Fatal(err)
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(root.cert)
	between.AddCert(subCert)
	if _, err := leaf.cert.Verify(x509.VerifyOptions{DNSName: "localhost", Roots: roots, Intermediates: between}); err == nil {
		t.Error("a further authority is accepted")
	}
}

// TestRenewed: a certificate near its end is replaced, one of another authority too, and
// the authority itself before it would end first.
func TestRenewed(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	make1(t, dir, now)
	root, leaf := load(t, dir)
	soon := leaf.cert.NotAfter.Add(-leafRest + time.Hour)
	c := make1(t, dir, soon)
	root2, leaf2 := load(t, dir)
	if c.MadeRoot || !c.MadeLeaf || !root2.cert.Equal(root.cert) || leaf2.cert.Equal(leaf.cert) || verify(root.cert, leaf2.cert, "localhost", soon) != nil {
		t.Errorf("%+v", c)
	}
	late := root.cert.NotAfter.Add(-leafPeriod + time.Hour)
	if c = make1(t, dir, late); !c.MadeRoot || !c.MadeLeaf || c.WhyNewOne == "" {
		t.Errorf("%+v", c)
	}
	// A part of a write that was interrupted.
	if err := os.WriteFile(filepath.Join(dir, leafFile), []byte("-----BEGIN"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c = make1(t, dir, late); c.MadeRoot || !c.MadeLeaf {
		t.Errorf("%+v", c)
	}
}

// TestRefused: an authority whose key may be known to others, or that is damaged, is not
// used, and the message has the way out.
func TestRefused(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"other users may have read its key":  func(dir string) error { return os.Chmod(filepath.Join(dir, keyFile), 0o644) },
		"in PEM":                             func(dir string) error { return os.WriteFile(filepath.Join(dir, keyFile), []byte("x"), 0o600) },
		"root.key does not exist":            func(dir string) error { return os.Remove(filepath.Join(dir, keyFile)) },
		"not the one of the certificate":     func(dir string) error { return otherKey(t, dir) },
		"the local certificate authority in": func(dir string) error { return os.WriteFile(filepath.Join(dir, RootFile), nil, 0o600) },
	} {
		if !unixModes && strings.Contains(name, "other users") {
			continue
		}
		dir := t.TempDir()
		make1(t, dir, time.Now())
		if err := spoil(dir); err != nil {
			t.Fatal(err)
		}
		before, _ := os.ReadFile(filepath.Join(dir, leafFile))
		_, err := Localhost(dir, time.Now())
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(fault.HintOf(err), "remove ") {
			t.Errorf("%s: %v (%s)", name, err, fault.HintOf(err))
		}
		if after, _ := os.ReadFile(filepath.Join(dir, leafFile)); string(after) != string(before) {
			t.Errorf("%s: a certificate was issued", name)
		}
	}
}

func otherKey(t *testing.T, dir string) error {
	t.Helper()
	other := t.TempDir()
	make1(t, other, time.Now())
	data, err := os.ReadFile(filepath.Join(other, keyFile))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, keyFile), data, 0o600)
}

func TestDirectory(t *testing.T) {
	for want, env := range map[string][]string{
		"/s/mod_wsgi-express/ca":              {"HOME=/h", "XDG_STATE_HOME=/s"},
		"/h/.local/state/mod_wsgi-express/ca": {"HOME=/h", "XDG_STATE_HOME=relative"},
		"":                                    {"HOME="},
	} {
		if !unixModes {
			t.Skip("paths of Unix")
		}
		if got, err := Directory(env); got != want || (want == "") != (err != nil) {
			t.Errorf("%q: %q %v", env, got, err)
		}
	}
}

func TestTrustCommand(t *testing.T) {
	for _, c := range [][3]string{
		{"linux", "debian", "sudo cp '/a b/root.crt' /usr/local/share/ca-certificates/mod_wsgi-express.crt && sudo update-ca-certificates"},
		{"linux", "fedora", "/etc/pki/ca-trust/source/anchors/"},
		{"darwin", "", "security add-trusted-cert"},
		{"windows", "", "certutil -user"},
		{"freebsd", "", "certctl rehash"},
	} {
		if got := TrustCommand(c[0], c[1], "/a b/root.crt"); !strings.Contains(got, c[2]) || !strings.Contains(got, "'/a b/root.crt'") {
			t.Errorf("%v: %s", c[:2], got)
		}
	}
}
