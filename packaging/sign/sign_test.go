//go:build unix

package sign

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

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
		"openpgp open":     {openPGP, open, "others may read the signing key"},
		"openpgp text":     {openPGP, text, "is no OpenPGP private key"},
		"openpgp gone":     {openPGP, dir + "/gone", "read the signing key"},
		"openpgp dir":      {openPGP, dir, "is no key file"},
		"minisign open":    {minisign, open, "others may read the signing key"},
		"minisign text":    {minisign, text, "is no minisign private key"},
		"minisign cut":     {minisign, mini, "is no minisign private key"},
		"ecdsa text":       {ecdsaKey, text, "it is not PEM"},
		"ecdsa other kind": {ecdsaKey, rsa, `its kind is "RSA PRIVATE KEY"`},
	} {
		err := c.err(c.file)
		if fault.ClassOf(err) != fault.Usage || !strings.Contains(err.Error(), c.says) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func openPGP(name string) error  { _, err := NewOpenPGP(name, nil); return err }
func minisign(name string) error { _, err := NewMinisign(name, nil); return err }
func ecdsaKey(name string) error { _, err := NewECDSA(name); return err }
