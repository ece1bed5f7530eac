package authenticode

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"os"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/pe"
)

// signedData is the part of a PKCS#7 message up to its certificates (RFC 2315, section
// 9.1).
type signedData struct {
	Version      int
	Digests      asn1.RawValue
	Content      asn1.RawValue
	Certificates asn1.RawValue `asn1:"optional,tag:0"`
}

// certificates are the certificates in a signed program.
func certificates(path string) ([]*x509.Certificate, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	signature, err := pe.Signature(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	var message struct {
		Type asn1.ObjectIdentifier
		Data signedData `asn1:"explicit,tag:0"`
	}
	if _, err := asn1.Unmarshal(signature, &message); err != nil {
		return nil, fmt.Errorf("read the signature: %w", err)
	}
	return x509.ParseCertificates(message.Data.Certificates.Bytes)
}

// checkValidity refuses a file signed with a certificate that is not valid now:
// without a timestamp from its validity period, Windows would also refuse it. This
// comes after signing because only then is the certificate in a PKCS#12 file known.
func checkValidity(path string, now time.Time) error {
	all, err := certificates(path)
	if err != nil {
		return err
	}
	const hint = "sign with a certificate that is valid now"
	for _, c := range all {
		if c.IsCA && len(all) > 1 {
			continue
		}
		if now.After(c.NotAfter) {
			return fault.New(fault.Environment, hint, "the certificate of %q expired on %s", c.Subject.CommonName, c.NotAfter.UTC().Format(time.DateOnly))
		}
		if now.Before(c.NotBefore) {
			return fault.New(fault.Environment, hint, "the certificate of %q is not valid before %s", c.Subject.CommonName, c.NotBefore.UTC().Format(time.DateOnly))
		}
	}
	return nil
}

// maxAuthorities is the maximum size in bytes of a file of authorities.
const maxAuthorities = 16 << 20

// checkAuthorities reports a problem of a file of trusted authorities, which would
// otherwise look like a problem of the verified file.
func checkAuthorities(path string) error {
	const hint = "name a PEM file with the certificates of the authorities you trust"
	data, err := owned.ReadFile(path, maxAuthorities)
	if err != nil {
		return fault.New(fault.Usage, fault.HintOr(err, hint), "read the authorities: %w", err)
	}
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return fault.New(fault.Usage, hint, "%s contains no certificate in PEM", path)
		}
		if block.Type == "CERTIFICATE" || block.Type == "TRUSTED CERTIFICATE" || block.Type == "X509 CERTIFICATE" {
			return nil
		}
	}
}

// encrypted reports whether a key in PEM needs a passphrase.
func (s *Signer) encrypted(path string) bool {
	data, given := s.given[path]
	if !given {
		data, _ = owned.ReadSecret(path, maxSecret)
	}
	return bytes.Contains(data, []byte("BEGIN ENCRYPTED PRIVATE KEY")) || bytes.Contains(data, []byte("Proc-Type: 4,ENCRYPTED"))
}
