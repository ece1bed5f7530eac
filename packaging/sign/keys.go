package sign

import (
	"strings"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
)

// Signer makes a detached signature.
type Signer interface {
	// Suffix is the suffix of the signature's file: ".asc".
	Suffix() string
	// Sign returns the content of the signature's file for a file of that name.
	Sign(name string, data []byte, at time.Time) ([]byte, error)
}

// Suffixes are the suffixes of all signers.
var Suffixes = []string{(*OpenPGP)(nil).Suffix(), (*Minisign)(nil).Suffix(), (*ECDSA)(nil).Suffix()}

// Keys are files with private keys; "" for none.
type Keys struct {
	OpenPGP, Minisign, ECDSA string
	PassphraseFile           string // its first line is the passphrase of the keys
}

// maxPassphrase is the maximum size in bytes of a passphrase file.
const maxPassphrase = 1 << 16

// Signers reads the keys. Now is the time of OpenPGP signatures. Its errors are of
// class Usage.
func (k Keys) Signers(now func() time.Time) ([]Signer, error) {
	passphrase, err := k.passphrase()
	if err != nil {
		return nil, err
	}
	var all []Signer
	if k.OpenPGP != "" {
		s, err := NewOpenPGP(k.OpenPGP, passphrase)
		if err != nil {
			return nil, err
		}
		s.Now = now
		all = append(all, s)
	}
	if k.Minisign != "" {
		s, err := NewMinisign(k.Minisign, passphrase)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	if k.ECDSA != "" {
		s, err := NewECDSA(k.ECDSA, passphrase)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

func (k Keys) passphrase() ([]byte, error) {
	if k.PassphraseFile == "" {
		return nil, nil
	}
	data, err := owned.ReadSecret(k.PassphraseFile, maxPassphrase)
	if err != nil {
		return nil, fault.New(fault.Usage, fault.HintOr(err, "name the file whose first line is the passphrase"), "read the passphrase: %w", err)
	}
	first, _, _ := strings.Cut(string(data), "\n")
	return []byte(strings.TrimRight(first, "\r")), nil
}
