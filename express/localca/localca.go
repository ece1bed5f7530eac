// Package localca is a private certificate authority for HTTPS on this machine. It is made
// once, in the user's state directory, and issues one certificate for localhost. Browsers
// accept that once the system trusts the authority.
//
// # What a user risks who trusts it
//
// Whoever gets the authority's key can pretend to be any server towards this user. So the
// key is readable for this user only, in a directory that nobody else can change, and name
// constraints (RFC 5280, 4.2.1.10) limit the authority to localhost and loopback addresses:
// clients refuse certificates for other names. It cannot issue further authorities.
//
// The package knows nothing of httpd.
package localca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/run"
)

// Names of the files.
const (
	RootFile = "root.crt"      // the authority's certificate, which the system has to trust
	keyFile  = "root.key"      // its key
	leafFile = "localhost.pem" // the server's certificate and its key
)

// Periods. Apple's systems refuse certificates of servers for more than 398 days
// (https://support.apple.com/en-us/102028).
const (
	rootPeriod = 10 * 365 * 24 * time.Hour
	leafPeriod = 390 * 24 * time.Hour
	leafRest   = 30 * 24 * time.Hour // a certificate with less time left is replaced
	clockSkew  = time.Hour
)

const largest = 1 << 16

// Directory returns the directory of the authority (XDG Base Directory Specification).
func Directory(env []string) (string, error) {
	for _, v := range []struct{ name, below string }{{"XDG_STATE_HOME", ""}, {"LOCALAPPDATA", ""}, {"HOME", ".local/state"}} {
		if dir := run.Getenv(env, v.name); filepath.IsAbs(dir) {
			return filepath.Join(dir, filepath.FromSlash(v.below), "mod_wsgi-express", "ca"), nil
		}
	}
	return "", fault.New(fault.Environment, "set XDG_STATE_HOME to an absolute path", "neither XDG_STATE_HOME nor HOME is set, so there is no place for the local certificate authority")
}

// Certificate is the server's certificate, and how it came about.
type Certificate struct {
	Root      string    // path of the authority's certificate
	File      string    // path of the certificate and key
	NotAfter  time.Time // of the certificate
	MadeRoot  bool      // the authority is new
	MadeLeaf  bool      // the certificate is new
	WhyNewOne string    // why an authority was replaced; "" if it was not
}

// Localhost returns a certificate for localhost, and makes what is missing or too old. now
// is the present time.
func Localhost(dir string, now time.Time) (*Certificate, error) {
	d, err := open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }()
	c := &Certificate{Root: filepath.Join(d.Path(), RootFile), File: filepath.Join(d.Path(), leafFile)}
	root, err := readRoot(d)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		root, c.MadeRoot = nil, true
	case err != nil:
		return nil, damaged(d.Path(), err)
	case now.Add(leafPeriod).After(root.cert.NotAfter):
		root, c.MadeRoot, c.WhyNewOne = nil, true, "the one before ends on "+root.cert.NotAfter.Format(time.DateOnly)
	}
	if root == nil {
		if root, err = makeRoot(d, now); err != nil {
			return nil, fault.New(fault.Environment, "", "make the local certificate authority in %s: %w", d.Path(), err)
		}
	}
	leaf := readLeaf(d, root, now)
	if leaf == nil {
		c.MadeLeaf = true
		if leaf, err = makeLeaf(d, root, now); err != nil {
			return nil, fault.New(fault.Environment, "", "issue a certificate in %s: %w", d.Path(), err)
		}
	}
	c.NotAfter = leaf.NotAfter
	return c, nil
}

// open opens the directory, which only this user may read.
func open(dir string) (*owned.Dir, error) {
	d, err := owned.MakeDir(dir)
	if err != nil {
		return nil, fault.New(fault.Environment, fault.HintOr(err, "set XDG_STATE_HOME to a directory of your own"), "the directory of the local certificate authority: %w", err)
	}
	info, err := d.Root().Stat(".")
	if err == nil && unixModes && info.Mode().Perm() != 0o700 {
		err = d.Root().Chmod(".", 0o700)
	}
	if err != nil {
		_ = d.Close()
		return nil, err
	}
	return d, nil
}

func damaged(dir string, err error) error {
	return fault.New(fault.Environment, "remove "+run.Quote(dir)+", and the authority from those that the system trusts; another one is made then", "the local certificate authority in %s cannot be used: %w", dir, err)
}

// authority is the certificate and key of the authority.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func readRoot(d *owned.Dir) (*authority, error) {
	cert, err := d.ReadFile(RootFile, largest)
	if err != nil {
		return nil, err
	}
	key, err := d.ReadFile(keyFile, largest)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) { // an authority without a key is as good as none, but the system may trust it
			err = errors.New(keyFile + " does not exist")
		}
		return nil, err
	}
	if info, err := d.Lstat(keyFile); err == nil && unixModes && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("other users may have read its key: %s has the mode %04o", keyFile, info.Mode().Perm())
	}
	return parse(cert, key)
}

// parse reads a certificate and a key in PEM that belong to each other.
func parse(cert, key []byte) (*authority, error) {
	c, _ := pem.Decode(cert)
	k := block(key, "PRIVATE KEY")
	if c == nil || c.Type != "CERTIFICATE" || k == nil {
		return nil, errors.New("the files are not a certificate and a key in PEM")
	}
	a := &authority{}
	var err error
	if a.cert, err = x509.ParseCertificate(c.Bytes); err != nil {
		return nil, err
	}
	private, err := x509.ParsePKCS8PrivateKey(k.Bytes)
	if err != nil {
		return nil, err
	}
	signer, ok := private.(*ecdsa.PrivateKey)
	if !ok || !signer.PublicKey.Equal(a.cert.PublicKey) {
		return nil, errors.New("the key is not the one of the certificate")
	}
	a.key = signer
	return a, nil
}

// block returns the first block of a kind.
func block(data []byte, kind string) *pem.Block {
	for {
		b, rest := pem.Decode(data)
		if b == nil || b.Type == kind {
			return b
		}
		data = rest
	}
}

// loopback are the addresses of this machine.
var loopback = []*net.IPNet{
	{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)},
	{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)},
}

func makeRoot(d *owned.Dir, now time.Time) (*authority, error) {
	name, err := os.Hostname()
	if err != nil || len(name) > 40 {
		name = "this machine"
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "mod_wsgi-express on " + name, Organization: []string{"mod_wsgi-express, local certificate authority"}},
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(rootPeriod),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: []string{"localhost"}, PermittedIPRanges: loopback,
	}
	a, cert, key, err := issue(template, nil)
	if err != nil {
		return nil, err
	}
	// The certificate comes last: without it, the rest is made again.
	for _, f := range []struct {
		name string
		data []byte
		mode fs.FileMode
	}{{keyFile, key, 0o600}, {RootFile, cert, 0o644}} {
		if err := d.WriteFile(f.name, f.data, f.mode); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func makeLeaf(d *owned.Dir, root *authority, now time.Time) (*x509.Certificate, error) {
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "localhost"},
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(leafPeriod),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1).To4(), net.IPv6loopback},
	}
	a, cert, key, err := issue(template, root)
	if err != nil {
		return nil, err
	}
	// One file, so that certificate and key are never of different pairs.
	return a.cert, d.WriteFile(leafFile, append(cert, key...), 0o600)
}

// issue makes a key and its certificate; without an issuer, it signs itself.
func issue(template *x509.Certificate, by *authority) (a *authority, cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, nil, nil, err
	}
	parent, signer := template, crypto.Signer(private)
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &private.PublicKey, signer)
	if err != nil {
		return nil, nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, nil, err
	}
	cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	return &authority{parsed, private}, cert, key, nil
}

// readLeaf returns the certificate if it can still be used, or nil.
func readLeaf(d *owned.Dir, root *authority, now time.Time) *x509.Certificate {
	data, err := d.ReadFile(leafFile, largest)
	if err != nil {
		return nil
	}
	if info, err := d.Lstat(leafFile); err != nil || unixModes && info.Mode().Perm()&0o077 != 0 {
		return nil
	}
	leaf, err := parse(data, data)
	if err != nil || now.Add(leafRest).After(leaf.cert.NotAfter) || now.Before(leaf.cert.NotBefore) {
		return nil
	}
	if leaf.cert.CheckSignatureFrom(root.cert) != nil || !bytes.Equal(leaf.cert.RawIssuer, root.cert.RawSubject) {
		return nil
	}
	return leaf.cert
}
