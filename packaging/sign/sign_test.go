//go:build unix

package sign

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"golang.org/x/crypto/nacl/secretbox"
	"golang.org/x/crypto/scrypt"

	"modwsgi/internal/fault"
)

func TestKeysAreRefused(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	open := write("open", "x", 0o644)
	text := write("text", "some text\n", 0o600)
	mini := write("mini", "untrusted comment: x\nRWQAAEIy\n", 0o600)
	rsa := write("rsa.pem", "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n", 0o600)
	for name, c := range map[string]struct {
		err  func(string) error
		file string
		says string
	}{
		"openpgp open":     {openPGP, open, "can be read by other users"},
		"openpgp text":     {openPGP, text, "is not a usable OpenPGP private key"},
		"openpgp gone":     {openPGP, dir + "/gone", "read the signing key"},
		"openpgp dir":      {openPGP, dir, "it is a directory"},
		"minisign open":    {minisign, open, "can be read by other users"},
		"minisign text":    {minisign, text, "is not a usable minisign private key"},
		"minisign cut":     {minisign, mini, "is not a usable minisign private key"},
		"ecdsa text":       {ecdsaKey, text, "it is not PEM"},
		"ecdsa other kind": {ecdsaKey, rsa, `its kind is "RSA PRIVATE KEY"`},
	} {
		err := c.err(c.file)
		if fault.ClassOf(err) != fault.Usage || !strings.Contains(err.Error(), c.says) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A key whose signatures nobody should trust signs nothing.
func TestWeakKeysSignNothing(t *testing.T) {
	past := time.Now().Add(-1000 * time.Hour)
	for name, c := range map[string]struct {
		config packet.Config
		revoke bool
		says   string // "" for a good key
	}{
		"ed25519":  {config: packet.Config{Algorithm: packet.PubKeyAlgoEdDSA}},
		"rsa 2048": {config: packet.Config{RSABits: 2048}},
		"rsa 1024": {config: packet.Config{RSABits: 1024}, says: "RSA-1024"},
		"expired":  {config: packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, KeyLifetimeSecs: 3600, Time: func() time.Time { return past }}, says: "it expired on"},
		"revoked":  {config: packet.Config{Algorithm: packet.PubKeyAlgoEdDSA}, revoke: true, says: "it is revoked"},
	} {
		e, err := openpgp.NewEntity("somebody", "", "somebody@example.org", &c.config)
		if err != nil {
			t.Fatal(err)
		}
		if c.revoke {
			if err := e.Revoke(packet.KeyRetired, "", nil); err != nil {
				t.Fatal(err)
			}
		}
		var b bytes.Buffer
		if err := e.SerializePrivateWithoutSigning(&b, nil); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = NewOpenPGP(file, nil)
		if c.says == "" && err != nil || c.says != "" && (fault.ClassOf(err) != fault.Usage || !strings.Contains(err.Error(), c.says) || fault.HintOf(err) == "") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func openPGP(name string) error  { _, err := NewOpenPGP(name, nil); return err }
func minisign(name string) error { _, err := NewMinisign(name, nil); return err }
func ecdsaKey(name string) error { _, err := NewECDSA(name, nil); return err }

// TestCosignKey reads a key in the format of cosign's files, made here from its
// specification: scrypt, and NaCl's secretbox around PKCS #8.
func TestCosignKey(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	boxed := func(name, kind string, change func(map[string]any)) string {
		salt, nonce := bytes.Repeat([]byte{1}, 32), [24]byte{2}
		derived, err := scrypt.Key([]byte("s3cret"), salt, 1024, 8, 1, 32)
		if err != nil {
			t.Fatal(err)
		}
		content := map[string]any{
			"kdf":        map[string]any{"name": "scrypt", "params": map[string]int{"N": 1024, "r": 8, "p": 1}, "salt": salt},
			"cipher":     map[string]any{"name": "nacl/secretbox", "nonce": nonce[:]},
			"ciphertext": secretbox.Seal(nil, der, &nonce, (*[32]byte)(derived)),
		}
		change(content)
		text, err := json.Marshal(content)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: text}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	same := func(map[string]any) {}
	for _, kind := range []string{"ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"} {
		s, err := NewECDSA(boxed("good", kind, same), []byte("s3cret"))
		if err != nil {
			t.Fatal(err)
		}
		signature, err := s.Sign("", []byte("data"), time.Time{})
		if err != nil || !s.Made([]byte("data"), string(signature)) || s.Made([]byte("other"), string(signature)) || s.Made([]byte("data"), "x") {
			t.Errorf("%s signs %q, %v", kind, signature, err)
		}
		sum := sha256.Sum256([]byte("data"))
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(signature)))
		if err != nil || !ecdsa.VerifyASN1(&key.PublicKey, sum[:], raw) {
			t.Errorf("it is not the key's: %v", err)
		}
	}
	kind := "ENCRYPTED SIGSTORE PRIVATE KEY"
	for name, c := range map[string]struct {
		change     func(map[string]any)
		passphrase string
		says       string
	}{
		"none":      {same, "", "needs a passphrase"},
		"wrong":     {same, "other", "the passphrase for"},
		"algorithm": {func(m map[string]any) { m["cipher"] = map[string]any{"name": "rot13"} }, "s3cret", "its algorithms are unknown"},
		"nonce":     {func(m map[string]any) { m["cipher"] = map[string]any{"name": "nacl/secretbox", "nonce": []byte{1}} }, "s3cret", "its algorithms are unknown"},
		"memory": {func(m map[string]any) {
			m["kdf"] = map[string]any{"name": "scrypt", "params": map[string]int{"N": 1 << 30, "r": 8, "p": 1}}
		}, "s3cret", "too much memory"},
		"odd cost": {func(m map[string]any) {
			m["kdf"] = map[string]any{"name": "scrypt", "params": map[string]int{"N": 1000, "r": 8, "p": 1}}
		}, "s3cret", "is not a usable cosign private key"},
		"text": {func(m map[string]any) { m["kdf"] = "x" }, "s3cret", "is not a usable cosign private key"},
	} {
		_, err := NewECDSA(boxed("bad", kind, c.change), []byte(c.passphrase))
		if fault.ClassOf(err) != fault.Usage || !strings.Contains(err.Error(), c.says) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
