package supervise

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"modwsgi/express/acme"
	"modwsgi/internal/fault"
)

// Certificate is a certificate that httpd serves HTTPS with, as its file has it now. httpd
// reads the file when it starts and when it is reloaded.
type Certificate struct {
	File     string    `json:"file,omitempty"`
	Names    []string  `json:"names"`
	NotAfter time.Time `json:"not_after,omitzero"`
	Error    string    `json:"error,omitempty"`   // why it is unknown, or does not exist yet
	Warning  string    `json:"warning,omitempty"` // why the one of --https-auto was not renewed
}

// automatic is the certificate of --https-auto in the same form.
func automatic(s *acme.Status) Certificate {
	c := Certificate{Names: append([]string{}, s.Names...), NotAfter: s.NotAfter}
	switch {
	case !s.Issued && s.LastError == "":
		c.Error = "none yet from " + s.Authority
	case !s.Issued:
		c.Error = "none yet from " + s.Authority + ": " + s.LastError
	case s.LastError != "":
		c.Warning = "not renewed: " + s.LastError
	}
	return c
}

const mostCertificate = 1 << 20 // bytes of a file

// readCertificates reads the certificates of an instance.
func readCertificates(files []string) (list []Certificate) {
	for _, file := range files {
		c := Certificate{File: file, Names: []string{}}
		leaf, err := readCertificate(file)
		if err != nil {
			c.Error = err.Error()
			list = append(list, c)
			continue
		}
		c.NotAfter = leaf.NotAfter.UTC()
		c.Names = append(c.Names, leaf.DNSNames...)
		for _, ip := range leaf.IPAddresses {
			c.Names = append(c.Names, ip.String())
		}
		if len(c.Names) == 0 && leaf.Subject.CommonName != "" {
			c.Names = append(c.Names, leaf.Subject.CommonName)
		}
		for k, name := range c.Names {
			c.Names[k] = printable(name)
		}
		list = append(list, c)
	}
	return list
}

// readCertificate returns the first certificate of a file, which is the server's.
func readCertificate(path string) (*x509.Certificate, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fault.New(fault.Environment, "", "%s is not a regular file", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, mostCertificate))
	if err != nil {
		return nil, err
	}
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return nil, fault.New(fault.Environment, "", "%s contains no certificate in PEM format", path)
		}
		if slices.Contains([]string{"CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"}, block.Type) {
			leaf, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, errors.New(path + ": " + err.Error())
			}
			return leaf, nil
		}
	}
}

// Remaining is how long the certificate is still valid; negative if it is not any more.
func (c Certificate) Remaining(now time.Time) time.Duration { return c.NotAfter.Sub(now) }

// Text describes the certificate for people.
func (c Certificate) Text(now time.Time) string {
	if c.Error != "" {
		return "unknown: " + c.Error
	}
	names := strings.Join(c.Names[:min(len(c.Names), 3)], ", ")
	if more := len(c.Names) - 3; more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	return names + ", " + c.Validity(now)
}

// Validity is how long the certificate is valid, for people.
func (c Certificate) Validity(now time.Time) string {
	if c.Error != "" {
		return "unreadable"
	}
	left := c.Remaining(now)
	date := c.NotAfter.Format(time.DateOnly)
	switch {
	case left <= 0:
		return "EXPIRED (" + date + ")"
	case left < 48*time.Hour:
		return fmt.Sprintf("expires in %d h (%s)", int(left.Hours()), date)
	}
	return fmt.Sprintf("valid for %d days (%s)", int(left.Hours()/24), date)
}
