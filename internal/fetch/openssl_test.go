package fetch

import (
	"os"
	"path/filepath"
	"testing"

	"modwsgi/internal/recipe"
)

// The signature of OpenSSL's release, as it is published, is by the embedded key, and
// not of other contents. MODWSGI_TEST_OPENSSL is the archive, with its signature beside it.
func TestSignatureOfOpenSSL(t *testing.T) {
	archive := os.Getenv("MODWSGI_TEST_OPENSSL")
	a, ok := recipe.Catalogue().Find("openssl", "3.5.7")
	if !ok || signersOf("openssl") == "" {
		t.Fatal("no openssl 3.5.7, or no keys for it")
	}
	if archive == "" {
		t.Skip("MODWSGI_TEST_OPENSSL is not set")
	}
	f, err := New(Options{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if signer, err := f.checkSignatureFile(a, archive, archive+".asc"); err != nil || signer != a.SignedBy {
		t.Errorf("signer %q, %v", signer, err)
	}
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if signer, err := f.checkSignatureFile(a, other, archive+".asc"); err == nil {
		t.Errorf("a signature of other contents: signer %q", signer)
	}
}
