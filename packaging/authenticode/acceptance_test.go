//go:build acceptance

package authenticode

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// TestRealSignatures signs a program with the real osslsigncode and verifies a
// modified file, an unsigned one, and one signed by a stranger.
func TestRealSignatures(t *testing.T) {
	for _, tool := range []string{"osslsigncode", "openssl", "x86_64-w64-mingw32-gcc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("NOT TESTED: %s is missing; scripts/windows-prerequisites installs it", tool)
		}
	}
	dir := filepath.Join(t.TempDir(), "keys and ä")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	sh := func(argv ...string) {
		t.Helper()
		c := exec.Command(argv[0], argv[1:]...)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%q: %v: %s", argv, err, out)
		}
	}
	for _, who := range []string{"us", "stranger"} {
		sh("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", who+".key", "-out", who+".pem", "-days", "7300",
			"-subj", "/CN="+who, "-addext", "extendedKeyUsage=codeSigning", "-addext", "keyUsage=digitalSignature")
	}
	sh("openssl", "pkcs12", "-export", "-inkey", "us.key", "-in", "us.pem", "-out", "us.p12", "-passout", "pass:very secret")
	if err := os.WriteFile(path("pass"), []byte("very secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path("x.c"), []byte("int main(void) { return 0; }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	sh("x86_64-w64-mingw32-gcc", "-s", "-o", "plain.exe", "x.c")
	plain, err := os.ReadFile(path("plain.exe"))
	if err != nil {
		t.Fatal(err)
	}
	env := os.Environ()
	sign := func(name string, s Signer) []byte {
		t.Helper()
		if err := os.WriteFile(path(name), plain, 0o755); err != nil {
			t.Fatal(err)
		}
		s.Env, s.Runner, s.Time, s.Name = env, &run.Runner{}, time.Now().Add(-time.Hour), "mod_wsgi"
		s.Time = time.Unix(s.Time.Unix()/86400*86400, 0) // the same for each
		if err := s.Check(); err != nil {
			t.Fatal(err)
		}
		if err := s.Sign(t.Context(), path(name)); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path(name))
		if err != nil || bytes.Equal(data, plain) {
			t.Fatal("not signed", err)
		}
		return data
	}
	pem := Signer{Cert: path("us.pem"), Key: path("us.key")}
	first := sign("first.exe", pem)
	if again := sign("again.exe", pem); !bytes.Equal(first, again) {
		t.Error("two signatures of one time differ")
	}
	sign("p12.exe", Signer{Cert: path("us.p12"), Passphrase: path("pass")})
	sign("stranger.exe", Signer{Cert: path("stranger.pem"), Key: path("stranger.key")})
	changed := bytes.Clone(first)
	changed[len(plain)/2] ^= 1
	if err := os.WriteFile(path("changed.exe"), changed, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"first.exe": "", "p12.exe": "", "plain.exe": "not signed", "changed.exe": "changed after", "stranger.exe": "not issued by the given",
	} {
		err := Verify(t.Context(), &run.Runner{}, env, path(name), path("us.pem"))
		if want == "" && err != nil || want != "" && (fault.ClassOf(err) != fault.Verify || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	wrong := Signer{Cert: path("us.p12"), Passphrase: path("x.c"), Env: env, Runner: &run.Runner{}}
	if err := wrong.Sign(t.Context(), path("plain.exe")); err == nil || strings.Contains(err.Error(), "very secret") {
		t.Errorf("a wrong passphrase: %v", err)
	}
	if now, _ := os.ReadFile(path("plain.exe")); !bytes.Equal(now, plain) {
		t.Error("a failed signature changed the file")
	}
}
