package httpc

import (
	"crypto/tls"
	"crypto/x509"

	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
)

// maxAuthorities is the maximum size in bytes of a file with certificates.
const maxAuthorities = 8 << 20

// Authorities returns how servers prove who they are: by a certificate of the system's
// authorities or of those in a file ("" for none), which an option names, or with insecure
// and without a file not at all. nil is the default.
func Authorities(option, file string, insecure bool) (*tls.Config, error) {
	if file == "" && !insecure {
		return nil, nil
	}
	c := &tls.Config{InsecureSkipVerify: file == ""} // #nosec G402 -- with the user's --insecure only
	if file == "" {
		return c, nil
	}
	data, err := owned.ReadFile(file, maxAuthorities)
	if err != nil {
		return nil, fault.New(fault.Usage, fault.HintOr(err, "name a file with certificates in PEM"), "read %s: %w", option, err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(data) {
		return nil, fault.New(fault.Usage, "name a file with certificates in PEM", "%s: %s contains no certificate", option, file)
	}
	c.RootCAs = pool
	return c, nil
}
