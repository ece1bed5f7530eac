// Package acme obtains and renews the certificate of a server from an authority that
// speaks ACME (RFC 8555), and keeps it in a directory that outlives the server.
//
// The process that supervises httpd runs it ([Keeper]). httpd itself answers the
// authority: mod_handover sends the files of the directory challenges, so that nothing in
// httpd.conf can stand in their way.
//
// # The directory
//
//	accounts/          an account for each authority, with its key
//	challenges/        what httpd answers; all that its processes may read
//	certificates/NAME-HASH/ for each certificate, named after its first name, all names and
//	                   the authority:
//	    current        a link to the certificate that httpd uses
//	    temporary/     a certificate that nobody trusts, for the time before the first one
//	    1/, 2/, ...    obtained ones: fullchain.pem, privkey.pem, issued, perhaps ocsp
//	    state.json     the last error, and when to try next
//
// Only the link changes when a certificate is renewed, so httpd never sees a certificate
// with the key of another one.
package acme

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
)

// The authorities that need no more than an option.
const (
	LetsEncrypt        = "https://acme-v02.api.letsencrypt.org/directory"
	LetsEncryptStaging = "https://acme-staging-v02.api.letsencrypt.org/directory"
)

// The challenges, by which an authority checks who controls a name.
const (
	HTTP01    = "http-01"
	TLSALPN01 = "tls-alpn-01"
	DNS01     = "dns-01"
)

// Settings are what a server wants certificates for, and from whom.
type Settings struct {
	Names     []string `json:"names"` // the first one is the name of the certificate
	Directory string   `json:"directory"`
	Email     string   `json:"email,omitempty"`
	Challenge string   `json:"challenge"`
	Port      int      `json:"port"`                 // on which httpd answers that challenge
	CA        string   `json:"ca,omitempty"`         // file with certificates that the authority's own must be signed by
	External  string   `json:"external,omitempty"`   // file with the account's binding
	Command   string   `json:"command,omitempty"`    // program for dns-01
	State     string   `json:"state"`                // the directory
	Group     int      `json:"group,omitempty"`      // of httpd's processes, if they run as another user
	OtherUser bool     `json:"other_user,omitempty"` // they do
}

// Dir is the directory of the certificate. Servers share it only if they want the same
// names from the same authority.
func (s *Settings) Dir() string {
	names := slices.Sorted(slices.Values(s.Names))
	sum := sha256.Sum256([]byte(s.Directory + "\n" + strings.Join(names, "\n")))
	return filepath.Join(s.State, "certificates", s.stem()+hex.EncodeToString(sum[:4]))
}

// stem begins the names of the directories of all certificates with this first name.
func (s *Settings) stem() string { return strings.ReplaceAll(s.Names[0], "*", "_") + "-" }

// CurrentFile returns the path of a file of the certificate that httpd uses.
func (s *Settings) CurrentFile(name string) string { return filepath.Join(s.Dir(), current, name) }

// Files of a certificate.
const (
	ChainFile  = "fullchain.pem"
	KeyFile    = "privkey.pem"
	IssuedFile = "issued" // exists if an authority has issued it, and contains its address
	OCSPFile   = "ocsp"   // exists if the authority answers questions for its revocation
)

// Challenges is the directory that httpd's processes read.
func (s *Settings) Challenges() string { return filepath.Join(s.State, "challenges") }

// Authority is the name of the authority, for messages.
func (s *Settings) Authority() string {
	switch s.Directory {
	case LetsEncrypt:
		return "Let's Encrypt"
	case LetsEncryptStaging:
		return "Let's Encrypt (staging)"
	}
	if u, err := url.Parse(s.Directory); err == nil && u.Host != "" {
		return u.Host
	}
	return s.Directory
}
