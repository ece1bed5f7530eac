// Package sign makes detached signatures that common tools verify: OpenPGP (gpg,
// gpgv), minisign, and ECDSA in the format of cosign and openssl. It reads keys from
// files. It generates no keys and keeps none.
package sign

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/pgp"
)

// maxKey is the maximum size in bytes of a key file.
const maxKey = 1 << 20

// keyFile reads a file with a private key. It refuses a file that other users can read
// or change.
func keyFile(name string) ([]byte, error) {
	data, err := owned.ReadSecret(name, maxKey)
	if err != nil {
		return nil, fault.New(fault.Usage, fault.HintOr(err, "name the file with the private key"), "read the signing key: %w", err)
	}
	return data, nil
}

func badKey(name, kind string, err error) error {
	return fault.New(fault.Usage, "name a private key of that kind", "%s is not a usable %s private key: %w", name, kind, err)
}

// OpenPGP signs with a key that gpg --export-secret-keys wrote, armored or not.
type OpenPGP struct {
	entity *openpgp.Entity
	// Now is the time of the signature; nil is time.Now. It is not the timestamp of
	// the artifacts because a key is not valid before its creation.
	Now func() time.Time
}

// NewOpenPGP reads a key. The passphrase is used if the key is encrypted.
func NewOpenPGP(name string, passphrase []byte) (*OpenPGP, error) {
	data, err := keyFile(name)
	if err != nil {
		return nil, err
	}
	read := openpgp.ReadKeyRing
	if bytes.Contains(data, []byte("-----BEGIN PGP PRIVATE KEY BLOCK-----")) {
		read = openpgp.ReadArmoredKeyRing
	}
	ring, err := read(bytes.NewReader(data))
	if err != nil {
		return nil, badKey(name, "OpenPGP", err)
	}
	if len(ring) != 1 {
		return nil, badKey(name, "OpenPGP", fmt.Errorf("it contains %d keys, not one", len(ring)))
	}
	e := ring[0]
	if e.PrivateKey == nil {
		return nil, badKey(name, "OpenPGP", errors.New("it is a public key"))
	}
	keys := []*packet.PrivateKey{e.PrivateKey}
	for _, s := range e.Subkeys {
		if s.PrivateKey != nil {
			keys = append(keys, s.PrivateKey)
		}
	}
	for _, k := range keys {
		if !k.Encrypted {
			continue
		}
		if len(passphrase) == 0 {
			return nil, fault.New(fault.Usage, "put it into a file and pass --sign-passphrase-file", "the key %s needs a passphrase", name)
		}
		if err := k.Decrypt(passphrase); err != nil {
			return nil, fault.New(fault.Usage, "pass the right one with --sign-passphrase-file", "the passphrase for %s is wrong", name)
		}
	}
	// A signature that verifiers rightly reject is worse than none.
	if v := pgp.Judge(e, 0, time.Now()); v.Standing != pgp.Valid {
		if v.Standing == pgp.Expired {
			v.Reason = "it expired on " + v.Expires.Format(time.DateOnly)
		}
		return nil, fault.New(fault.Usage, "make a key such as gpg --quick-generate-key NAME ed25519 sign; docs/reference/keys.md has the rules",
			"the OpenPGP key %s cannot sign: %s", name, v.Reason)
	}
	return &OpenPGP{entity: e}, nil
}

// Suffix is ".asc".
func (s *OpenPGP) Suffix() string { return ".asc" }

// Sign returns an armored detached signature.
func (s *OpenPGP) Sign(_ string, data []byte, _ time.Time) ([]byte, error) {
	var b bytes.Buffer
	err := openpgp.ArmoredDetachSign(&b, []*openpgp.Entity{s.entity}, bytes.NewReader(data), &openpgp.SignParams{Config: pgp.Config(s.Now)})
	if err != nil {
		return nil, fmt.Errorf("sign with OpenPGP: %w", err)
	}
	return append(b.Bytes(), '\n'), nil
}

// ECDSA signs with a P-256 key as cosign sign-blob does: base64 of an ASN.1 signature
// of the SHA-256.
type ECDSA struct{ key *ecdsa.PrivateKey }

// NewECDSA reads a key in PEM, as written by openssl ecparam, or by cosign
// generate-key-pair, whose keys the passphrase decrypts. It refuses keys encrypted in
// another way.
func NewECDSA(name string, passphrase []byte) (*ECDSA, error) {
	data, err := keyFile(name)
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "EC PRIVATE KEY":
			key, err := x509.ParseECPrivateKey(block.Bytes)
			return newECDSA(name, key, err)
		case "PRIVATE KEY":
			return parsePKCS8(name, block.Bytes)
		case "ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY":
			der, err := openCosign(name, block.Bytes, passphrase)
			if err != nil {
				return nil, err
			}
			return parsePKCS8(name, der)
		case "EC PARAMETERS":
		default:
			return nil, badKey(name, "ECDSA", fmt.Errorf("its kind is %q", block.Type))
		}
	}
	return nil, badKey(name, "ECDSA", errors.New("it is not PEM"))
}

func newECDSA(name string, key *ecdsa.PrivateKey, err error) (*ECDSA, error) {
	if err == nil && key.Curve != elliptic.P256() {
		err = errors.New("its curve is not P-256")
	}
	if err != nil {
		return nil, badKey(name, "ECDSA", err)
	}
	return &ECDSA{key}, nil
}

// Suffix is ".sig".
func (s *ECDSA) Suffix() string { return ".sig" }

// raw returns the signature of the data. It is derived from the key and the data alone
// (RFC 6979), so that a release that is made again has the same signatures.
func (s *ECDSA) raw(data []byte) ([]byte, error) {
	sum := sha256.Sum256(data)
	raw, err := s.key.Sign(nil, sum[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("sign with ECDSA: %w", err)
	}
	return raw, nil
}

// Sign returns the signature in base64.
func (s *ECDSA) Sign(_ string, data []byte, _ time.Time) ([]byte, error) {
	raw, err := s.raw(data)
	if err != nil {
		return nil, err
	}
	return []byte(base64.StdEncoding.EncodeToString(raw) + "\n"), nil
}
