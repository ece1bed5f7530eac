package sign

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/nacl/secretbox"
	"golang.org/x/crypto/scrypt"

	"modwsgi/internal/fault"
)

// cosignKey is the content of a key file that cosign generate-key-pair wrote: a PKCS
// #8 key encrypted with a passphrase (NaCl's secretbox, RFC 7914).
type cosignKey struct {
	KDF struct {
		Name   string `json:"name"`
		Params struct{ N, R, P int }
		Salt   []byte `json:"salt"`
	} `json:"kdf"`
	Cipher struct {
		Name  string `json:"name"`
		Nonce []byte `json:"nonce"`
	} `json:"cipher"`
	Ciphertext []byte `json:"ciphertext"`
}

// openCosign returns the PKCS #8 key of a cosign key file.
func openCosign(name string, content, passphrase []byte) ([]byte, error) {
	var k cosignKey
	if err := json.Unmarshal(content, &k); err != nil {
		return nil, badKey(name, "cosign", err)
	}
	if k.KDF.Name != "scrypt" || k.Cipher.Name != "nacl/secretbox" || len(k.Cipher.Nonce) != 24 {
		return nil, badKey(name, "cosign", errors.New("its algorithms are unknown"))
	}
	if p := k.KDF.Params; p.N < 2 || p.R < 1 || p.P < 1 || p.P > 64 || p.R > 1<<10 || p.N > 2<<30/128/p.R {
		return nil, badKey(name, "cosign", errors.New("its parameters ask for too much memory"))
	}
	derived, err := scrypt.Key(passphrase, k.KDF.Salt, k.KDF.Params.N, k.KDF.Params.R, k.KDF.Params.P, 32)
	if err != nil {
		return nil, badKey(name, "cosign", err)
	}
	der, ok := secretbox.Open(nil, k.Ciphertext, (*[24]byte)(k.Cipher.Nonce), (*[32]byte)(derived))
	switch {
	case ok:
		return der, nil
	case len(passphrase) == 0:
		return nil, fault.New(fault.Usage, "put it into a file and pass --sign-passphrase-file", "the key %s needs a passphrase", name)
	}
	return nil, fault.New(fault.Usage, "pass the right one with --sign-passphrase-file", "the passphrase for %s is wrong", name)
}

// parsePKCS8 extracts an ECDSA key from PKCS #8.
func parsePKCS8(name string, der []byte) (*ECDSA, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	key, ok := parsed.(*ecdsa.PrivateKey)
	if err == nil && !ok {
		err = fmt.Errorf("it is a %T", parsed)
	}
	return newECDSA(name, key, err)
}

// Made reports whether a signature, in base64, was made with the key for the data.
func (s *ECDSA) Made(data []byte, signature string) bool {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(signature))
	sum := sha256.Sum256(data)
	return err == nil && ecdsa.VerifyASN1(&s.key.PublicKey, sum[:], raw)
}
