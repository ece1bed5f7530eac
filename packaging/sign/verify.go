package sign

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"golang.org/x/crypto/blake2b"

	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
)

// maxSignature is the maximum size in bytes of a signature's file.
const maxSignature = 1 << 20

// VerifyKeys are files with public keys; "" for none. They are those that
// scripts/verify-release takes.
type VerifyKeys struct{ OpenPGP, Minisign, ECDSA string }

// Verify checks the signatures next to a file with each of the keys. Every key that is
// given must have signed.
func (k VerifyKeys) Verify(file string, data []byte) error {
	for _, c := range []struct {
		key, suffix string
		check       func(key, data, signature []byte) error
	}{
		{k.OpenPGP, (*OpenPGP)(nil).Suffix(), checkOpenPGP},
		{k.Minisign, (*Minisign)(nil).Suffix(), checkMinisign},
		{k.ECDSA, (*ECDSA)(nil).Suffix(), checkECDSA},
	} {
		if c.key == "" {
			continue
		}
		key, err := owned.ReadFile(c.key, maxKey)
		if err != nil {
			return fault.New(fault.Usage, fault.HintOr(err, "name the file with the public key"), "read the public key: %w", err)
		}
		signature, err := owned.ReadInput(file+c.suffix, maxSignature)
		if err != nil {
			return fault.New(fault.Verify, "do not publish it; or leave out that key", "the signature %s cannot be read: %w", file+c.suffix, err)
		}
		var bad *badPublic
		if err := c.check(key, data, signature); errors.As(err, &bad) {
			return fault.New(fault.Usage, "name a public key of that kind", "%s is not a usable public key: %w", c.key, err)
		} else if err != nil {
			return fault.New(fault.Verify, "do not publish it; check that the key is the right one", "the signature %s is not valid: %w", file+c.suffix, err)
		}
	}
	return nil
}

// badPublic is the error for a file that is not a public key.
type badPublic struct{ error }

func checkOpenPGP(key, data, signature []byte) error {
	read := openpgp.ReadKeyRing
	if bytes.Contains(key, []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----")) {
		read = openpgp.ReadArmoredKeyRing
	}
	ring, err := read(bytes.NewReader(key))
	if err != nil {
		return &badPublic{err}
	}
	return verifyOpenPGP(ring, data, signature, time.Now())
}

// checkMinisign verifies a signature over the file or its hash, and the one over the
// trusted comment.
func checkMinisign(key, data, signature []byte) error {
	lines := strings.Split(strings.TrimSpace(string(key)), "\n")
	public, err := base64.StdEncoding.DecodeString(strings.TrimSpace(lines[len(lines)-1]))
	if err != nil || len(public) != 2+8+ed25519.PublicKeySize || string(public[:2]) != "Ed" {
		return &badPublic{errors.New("it is not one of minisign")}
	}
	lines = strings.Split(strings.TrimRight(string(signature), "\n"), "\n")
	if len(lines) != 4 {
		return errors.New("it is not one of minisign")
	}
	raw, err1 := base64.StdEncoding.DecodeString(strings.TrimSpace(lines[1]))
	global, err2 := base64.StdEncoding.DecodeString(strings.TrimSpace(lines[3]))
	comment, named := strings.CutPrefix(strings.TrimSuffix(lines[2], "\r"), "trusted comment: ")
	if err1 != nil || err2 != nil || !named || len(raw) != 2+8+ed25519.SignatureSize || len(global) != ed25519.SignatureSize {
		return errors.New("it is not one of minisign")
	}
	if !bytes.Equal(raw[2:10], public[2:10]) {
		return errors.New("it is by another key")
	}
	switch string(raw[:2]) {
	case "ED":
		sum := blake2b.Sum512(data)
		data = sum[:]
	case "Ed":
	default:
		return errors.New("its algorithm is unknown")
	}
	own := ed25519.PublicKey(public[10:])
	if !ed25519.Verify(own, data, raw[10:]) || !ed25519.Verify(own, append(bytes.Clone(raw[10:]), comment...), global) {
		return errors.New("it does not match")
	}
	return nil
}

func checkECDSA(key, data, signature []byte) error {
	block, _ := pem.Decode(key)
	if block == nil {
		return &badPublic{errors.New("it is not PEM")}
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return &badPublic{err}
	}
	public, ok := parsed.(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return &badPublic{errors.New("it is not of the curve P-256")}
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(signature)))
	if err != nil {
		return fmt.Errorf("it is not base64: %w", err)
	}
	if sum := sha256.Sum256(data); !ecdsa.VerifyASN1(public, sum[:], raw) {
		return errors.New("it does not match")
	}
	return nil
}
