// Package recipe knows which upstream source archives exist, by pinned hash, what they
// require, and which versions have known vulnerabilities. It also knows the lock file
// that records what an environment was built from. The facts are data: sources.toml,
// support.toml and advisories/, and what a newer catalogue adds to them. It does not know
// where a newer one comes from (internal/catalogue), how an archive is fetched
// (internal/fetch) or built (httpdbuild, modulebuild).
package recipe

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"modwsgi/internal/fault"
)

// Trust is the source of an archive's hash.
type Trust string

// The levels of trust, strongest first.
const (
	Pinned    Trust = "pinned"    // the hash is in the catalogue
	Signed    Trust = "signed"    // an embedded release key signed the archive
	Published Trust = "published" // upstream's own index gave the hash over TLS
	FromLock  Trust = "locked"    // only the lock file has the hash
)

// Stronger reports whether t is strictly stronger than other. A level that is not one of
// the three is weaker than all of them.
func (t Trust) Stronger(other Trust) bool { return t.rank() > other.rank() }

func (t Trust) rank() int {
	return 1 + slices.Index([]Trust{FromLock, Published, Signed, Pinned}, t)
}

// Debian names the byte-identical archive inside a Debian source package.
type Debian struct {
	Source string `toml:"source" json:"source,omitempty"` // source package, for example "apache2"
	File   string `toml:"file" json:"file,omitempty"`     // file name in the pool, "apache2_2.4.68.orig.tar.gz"
}

// Archive is one upstream source archive. The hash identifies it; everything else
// describes where it may be found.
type Archive struct {
	Component string            `toml:"component" json:"component,omitempty"` // "httpd", "apr", "mod_wsgi", …
	Version   string            `toml:"version" json:"version,omitempty"`     // in upstream's spelling
	File      string            `toml:"file" json:"file,omitempty"`           // modwsgi's file name, without a directory
	Size      int64             `toml:"size" json:"size,omitempty"`           // bytes; 0 if unknown
	SHA256    string            `toml:"sha256" json:"sha256,omitempty"`       // lower case hex, 64 digits
	URLs      []string          `toml:"urls" json:"urls,omitempty"`           // https, in order of preference
	Signature string            `toml:"signature" json:"signature,omitempty"` // URL of the detached OpenPGP signature, or ""
	SignedBy  string            `toml:"signed_by" json:"signed_by,omitempty"` // fingerprint of the signing key, upper case hex, or ""
	Debian    *Debian           `toml:"debian" json:"debian,omitempty"`       // nil if Debian does not carry it
	Requires  map[string]string `toml:"requires" json:"requires,omitempty"`   // "python": ">= 3.8"; constraints in go-version's syntax
	Trust     Trust             `toml:"-" json:"trust,omitempty"`             // source of SHA256
}

// String returns component and version, in the usual form.
func (a Archive) String() string { return a.Component + " " + a.Version }

// Admits reports whether the archive supports a version of what (for example "python"). A
// suffix of the version ("3.13.0rc1", "3.12.1+") is ignored, and without a requirement
// every version is supported. The error is for a version that does not begin with a
// number and for a broken requirement.
func (a Archive) Admits(what, version string) (bool, error) {
	wanted, ok := a.Requires[what]
	if !ok {
		return true, nil
	}
	v, err := numeric(version)
	if err != nil {
		return false, fmt.Errorf("compare %s %q with what %s requires: %w", what, version, a, err)
	}
	c, err := constraints(wanted)
	if err != nil {
		return false, fmt.Errorf("read what %s requires of %s: %w", a, what, err)
	}
	return c.Check(v), nil
}

// Set is a collection of archives and advisories. It is read-only and safe for
// concurrent use.
type Set struct {
	archives   map[string][]Archive // newest first
	advisories []Advisory
	supports   []Support
	date       time.Time // when its newest part was established
}

// check returns what is wrong with an archive read from a file.
func (a Archive) check() error {
	if a.Component == "" {
		return errors.New("it has no component")
	}
	if err := (&Set{}).CheckVersion(a.Component, a.Version); err != nil {
		return fmt.Errorf("%w (%s)", err, fault.HintOf(err))
	}
	if !FileName(a.File) {
		return fmt.Errorf("file %q is not a plain file name", a.File)
	}
	if !Digest(a.SHA256) {
		return fmt.Errorf("sha256 %q is not 64 lower case hex digits", a.SHA256)
	}
	if a.Size < 0 {
		return fmt.Errorf("size %d is negative", a.Size)
	}
	urls := a.URLs
	if a.Signature != "" {
		urls = append(slices.Clone(urls), a.Signature)
	}
	for _, raw := range urls {
		if u, err := url.Parse(raw); err != nil || u.Scheme != "https" || u.Host == "" {
			return fmt.Errorf("%q is not an https address", raw)
		}
	}
	if a.Debian != nil && (!FileName(a.Debian.File) || a.Debian.Source == "") {
		return fmt.Errorf("debian file %q is not a plain file name, or its source is missing", a.Debian.File)
	}
	for _, wanted := range a.Requires {
		if _, err := constraints(wanted); err != nil {
			return err
		}
	}
	return nil
}

// FileName reports whether s can be the name of an archive: one path element without
// special meaning to any shell, file system or URL.
func FileName(s string) bool {
	const safe = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+~-"
	return s != "" && len(s) <= 200 && strings.Trim(s, safe) == "" && !strings.HasPrefix(s, ".") && !strings.HasPrefix(s, "-")
}

// Digest reports whether s is a SHA-256 in this package's form.
func Digest(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32 && s == strings.ToLower(s)
}

// Of returns the archives of a component, newest first; nil for an unknown one.
func (s *Set) Of(component string) []Archive { return slices.Clone(s.archives[component]) }

// Find returns the archive of exactly that version, upstream's if there are several.
func (s *Set) Find(component, version string) (Archive, bool) {
	for _, a := range s.archives[component] {
		if a.Version == version {
			return a, true
		}
	}
	return Archive{}, false
}

// Contradicts returns an error for an archive that contradicts the catalogue: a version
// in the catalogue must have its hash, and a hash in the catalogue must be of its
// version. It returns nil for archives that the catalogue does not know or agrees with.
// Errors are of class Usage.
func (s *Set) Contradicts(component, version, sha256 string) error {
	if a, known := s.Find(component, version); known && !slices.ContainsFunc(s.archives[component], func(o Archive) bool { return o.Version == version && o.SHA256 == sha256 }) {
		return fault.New(fault.Usage, "",
			"the catalogue has sha256 %s for %s, not %s", a.SHA256, a, sha256)
	}
	for _, all := range s.archives {
		for _, a := range all {
			if a.SHA256 == sha256 && (a.Component != component || a.Version != version) {
				return fault.New(fault.Usage, "",
					"sha256 %s belongs to %s in the catalogue, not to %s %s", sha256, a, component, version)
			}
		}
	}
	return nil
}

// Match returns the archives of a component that satisfy a constraint in go-version's
// syntax ("~> 5.0", ">= 2.4, < 2.5"), newest first. A bare version means exactly that
// one, and an empty constraint means all. The error is for an invalid constraint; having
// no match is not an error.
func (s *Set) Match(component, constraint string) ([]Archive, error) {
	if strings.TrimSpace(constraint) == "" {
		return s.Of(component), nil
	}
	if err := s.CheckConstraint(component, constraint); err != nil {
		return nil, err
	}
	c, err := constraints(constraint)
	if err != nil {
		return nil, err
	}
	var out []Archive
	for _, a := range s.archives[component] {
		if v, err := parseVersion(a.Version); err == nil && c.Check(v) {
			out = append(out, a)
		}
	}
	return out, nil
}

// Components returns the names of all components, sorted.
func (s *Set) Components() []string { return slices.Sorted(maps.Keys(s.archives)) }
