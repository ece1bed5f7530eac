//go:build acceptance

package authenticode

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// identity writes NAME.pem and NAME.key, valid from a given day for some days.
func identity(t *testing.T, dir, name string, from time.Time, days int) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: from.AddDate(0, 0, days),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSigningFailures makes the real tool refuse each way in which certificate, key,
// passphrase and timestamp server can be wrong. The error names the reason, the
// program is unchanged, and nothing is left next to it.
func TestSigningFailures(t *testing.T) {
	for _, tool := range []string{"osslsigncode", "openssl", "x86_64-w64-mingw32-gcc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("NOT TESTED: %s is missing; scripts/windows-prerequisites installs it", tool)
		}
	}
	dir := filepath.Join(t.TempDir(), "Schlüssel und so")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := func(name string) string {
		if name == "" {
			return ""
		}
		return filepath.Join(dir, name)
	}
	write := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(path(name), data, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	sh := func(argv ...string) {
		t.Helper()
		c := exec.Command(argv[0], argv[1:]...)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%q: %v: %s", argv, err, out)
		}
	}
	now := time.Now()
	identity(t, dir, "us", now.AddDate(0, 0, -1), 300)
	identity(t, dir, "other", now.AddDate(0, 0, -1), 300)
	identity(t, dir, "old", now.AddDate(-3, 0, 0), 300)
	identity(t, dir, "soon", now.AddDate(0, 0, 20), 300)
	write("right", []byte("very secret\r\n"))
	write("wrong", []byte("a guess\n"))
	write("x.c", []byte("int main(void) { return 0; }\n"))
	sh("openssl", "pkcs12", "-export", "-inkey", "us.key", "-in", "us.pem", "-out", "us.p12", "-passout", "pass:very secret")
	sh("openssl", "pkcs12", "-export", "-inkey", "us.key", "-in", "us.pem", "-out", "open.PFX", "-passout", "pass:")
	sh("openssl", "pkcs12", "-export", "-inkey", "old.key", "-in", "old.pem", "-out", "old.p12", "-passout", "pass:")
	sh("openssl", "pkcs8", "-topk8", "-in", "us.key", "-out", "locked.key", "-passout", "pass:very secret")
	sh("x86_64-w64-mingw32-gcc", "-s", "-o", "plain.exe", "x.c")
	plain, err := os.ReadFile(path("plain.exe"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ cert, key, pass, stamp, want string }{
		"PKCS#12":                      {cert: "us.p12", pass: "right"},
		"PKCS#12 without a passphrase": {cert: "open.PFX"},
		"a locked key":                 {cert: "us.pem", key: "locked.key", pass: "right"},
		"a wrong passphrase":           {cert: "us.p12", pass: "wrong", want: "the passphrase in "},
		"no passphrase":                {cert: "us.p12", want: "us.p12 needs a passphrase"},
		"no passphrase for a key":      {cert: "us.pem", key: "locked.key", want: "locked.key is encrypted"},
		"a wrong one for a key":        {cert: "us.pem", key: "locked.key", pass: "wrong", want: "the passphrase in "},
		"another's key":                {cert: "us.pem", key: "other.key", want: "other.key does not match the certificate"},
		"a key for a certificate":      {cert: "us.key", key: "us.key", want: "us.key contains no certificate"},
		"a certificate for a key":      {cert: "us.pem", key: "us.pem", want: "us.pem contains no readable private key"},
		"no file":                      {cert: "none.pem", key: "us.key", want: "none.pem"},
		"expired":                      {cert: "old.pem", key: "old.key", want: `certificate of "old" expired on`},
		"expired, in PKCS#12":          {cert: "old.p12", want: `certificate of "old" expired on`},
		"not valid yet":                {cert: "soon.pem", key: "soon.key", want: `certificate of "soon" is not valid before`},
		"no time stamp server":         {cert: "us.pem", key: "us.key", stamp: "http://127.0.0.1:9/stamp", want: "timestamp server http://127.0.0.1:9/stamp"},
	} {
		s := Signer{
			Cert: path(c.cert), Key: path(c.key), Passphrase: path(c.pass), Timestamp: c.stamp, Time: now, Env: os.Environ(), Runner: &run.Runner{},
		}
		write("this.exe", plain)
		err := s.Check()
		if err == nil {
			err = s.Sign(t.Context(), path("this.exe"))
		}
		signed, rerr := os.ReadFile(path("this.exe"))
		if rerr != nil {
			t.Fatal(rerr)
		}
		if c.want == "" {
			if err == nil {
				err = Verify(t.Context(), &run.Runner{}, os.Environ(), path("this.exe"), path("us.pem"))
			}
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") || fault.ClassOf(err) == fault.Internal {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.Equal(signed, plain) {
			t.Errorf("%s: the program was changed", name)
		}
		if _, err := os.Lstat(path("this.exe.signed")); err == nil {
			t.Errorf("%s: something was left", name)
		}
	}
	for name, want := range map[string]string{"none.pem": "read the authorities", "plain.exe": "contains no certificate"} {
		if err := Verify(t.Context(), &run.Runner{}, os.Environ(), path("plain.exe"), path(name)); fault.ClassOf(err) != fault.Usage || !strings.Contains(err.Error(), want) {
			t.Errorf("trusting %s: %v", name, err)
		}
	}
}
