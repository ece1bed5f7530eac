package sign

import (
	"bytes"
	"fmt"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"modwsgi/internal/pgp"
)

// ClearSign returns a text with a signature around it (RFC 9580, section 7), as in
// InRelease.
func (s *OpenPGP) ClearSign(text []byte) ([]byte, error) {
	config := pgp.Config(s.Now)
	key, ok := s.entity.SigningKey(config.Now(), config)
	if !ok {
		return nil, fmt.Errorf("sign with OpenPGP: the key %s cannot sign", pgp.Fingerprint(s.entity))
	}
	var b bytes.Buffer
	w, err := clearsign.Encode(&b, key.PrivateKey, config)
	if err != nil {
		return nil, fmt.Errorf("sign with OpenPGP: %w", err)
	}
	if _, err := w.Write(text); err != nil {
		return nil, fmt.Errorf("sign with OpenPGP: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("sign with OpenPGP: %w", err)
	}
	return append(b.Bytes(), '\n'), nil
}

// Public returns the armored public key.
func (s *OpenPGP) Public() ([]byte, error) {
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	if err == nil {
		err = s.entity.Serialize(w)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("write the public key: %w", err)
	}
	return append(b.Bytes(), '\n'), nil
}

// Fingerprint is that of the primary key, in upper case hex.
func (s *OpenPGP) Fingerprint() string { return pgp.Fingerprint(s.entity) }

// VerifyClear returns the text of a clear-signed message if this key signed it. The error
// is pgp.ErrStranger if only other keys did.
func (s *OpenPGP) VerifyClear(data []byte) ([]byte, error) {
	_, text, err := pgp.CheckClear(openpgp.EntityList{s.entity}, data, s.now())
	return text, err
}

// VerifyDetached checks that this key made an armored signature of data. The error is
// pgp.ErrStranger if only other keys did.
func (s *OpenPGP) VerifyDetached(data, armored []byte) error {
	return verifyOpenPGP(openpgp.EntityList{s.entity}, data, armored, s.now())
}

func (s *OpenPGP) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

func verifyOpenPGP(ring openpgp.EntityList, data, armored []byte, now time.Time) error {
	all, err := pgp.Read(armored)
	if err != nil {
		return err
	}
	for _, signature := range all {
		if _, err = pgp.Check(ring, bytes.NewReader(data), signature, now); err == nil {
			return nil
		}
	}
	return err
}
