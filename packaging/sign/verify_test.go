package sign

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/fault"
)

// TestVerifyKeys checks signatures of the two kinds that need no OpenPGP. Those of
// OpenPGP are checked with gpgv and apt.
func TestVerifyKeys(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	file, data := filepath.Join(dir, "SHA256SUMS"), []byte("sums\n")
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	mini := &Minisign{id: [8]byte{1, 2, 3}, key: private}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []Signer{mini, &ECDSA{key}} {
		signature, err := s.Sign("SHA256SUMS", data, time.Unix(1, 0))
		if err != nil {
			t.Fatal(err)
		}
		write("SHA256SUMS"+s.Suffix(), string(signature))
	}
	line := base64.StdEncoding.EncodeToString(append(append([]byte("Ed"), mini.id[:]...), public...))
	miniKey := write("minisign.pub", "untrusted comment: minisign public key\n"+line+"\n")
	ecKey := write("cosign.pub", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	if err := (VerifyKeys{Minisign: miniKey, ECDSA: ecKey}).Verify(file, data); err != nil {
		t.Error(err)
	}
	for _, k := range []VerifyKeys{{Minisign: miniKey}, {ECDSA: ecKey}} {
		if err := k.Verify(file, []byte("other\n")); fault.ClassOf(err) != fault.Verify || !strings.Contains(err.Error(), "does not match") {
			t.Errorf("other data: %v", err)
		}
	}
	for _, k := range []VerifyKeys{{Minisign: ecKey}, {ECDSA: miniKey}, {OpenPGP: miniKey}, {OpenPGP: filepath.Join(dir, "nothing")}} {
		if err := k.Verify(file, data); err == nil || fault.HintOf(err) == "" {
			t.Errorf("%+v: %v", k, err)
		}
	}
	signature, err := os.ReadFile(file + ".minisig")
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{{"timestamp:1", "timestamp:2"}, {"\n", ""}} {
		write("SHA256SUMS.minisig", strings.Replace(string(signature), change[0], change[1], 1))
		if err := (VerifyKeys{Minisign: miniKey}).Verify(file, data); fault.ClassOf(err) != fault.Verify {
			t.Errorf("changed %q: %v", change[0], err)
		}
	}
}
