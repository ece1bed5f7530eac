// Package recipe knows which upstream source archives exist, by pinned hash,
// what they require, and which versions have known vulnerabilities; and it
// knows the lock file that records what an environment was built from. The
// facts are data (sources.toml, advisories.toml). It refuses to know how an
// archive is had (internal/fetch) or built (httpdbuild, modulebuild).
package recipe

import (
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/BurntSushi/toml"

	"modwsgi/internal/fault"
)

// Trust says how the hash of an archive came to be known.
type Trust string

// The levels of trust, strongest first.
const (
	Pinned    Trust = "pinned"    // the hash is in the embedded catalogue
	Signed    Trust = "signed"    // a release key that we embed signed the archive
	Published Trust = "published" // upstream's own index gave the hash over TLS
	FromLock  Trust = "locked"    // only the lock file has the hash
)

// Stronger reports whether t is strictly stronger than other. A level that is not
// one of the three is weaker than all of them.
func (t Trust) Stronger(other Trust) bool { return t.rank() > other.rank() }

func (t Trust) rank() int {
	return 1 + slices.Index([]Trust{FromLock, Published, Signed, Pinned}, t)
}

// Debian names the byte-identical archive inside a Debian source package.
type Debian struct {
	Source string `toml:"source" json:"source,omitempty"` // source package, for example "apache2"
	File   string `toml:"file" json:"file,omitempty"`     // file name in the pool, "apache2_2.4.68.orig.tar.gz"
}

// Archive is one upstream source archive. The hash identifies it; everything
// else says where it may be found.
type Archive struct {
	Component string            `toml:"component" json:"component,omitempty"` // "httpd", "apr", "mod_wsgi", …
	Version   string            `toml:"version" json:"version,omitempty"`     // as upstream writes it
	File      string            `toml:"file" json:"file,omitempty"`           // our file name, without a directory
	Size      int64             `toml:"size" json:"size,omitempty"`           // bytes; 0 where not known
	SHA256    string            `toml:"sha256" json:"sha256,omitempty"`       // lower case hex, 64 digits
	URLs      []string          `toml:"urls" json:"urls,omitempty"`           // https, in the order of preference
	Signature string            `toml:"signature" json:"signature,omitempty"` // URL of the detached OpenPGP signature, or ""
	SignedBy  string            `toml:"signed_by" json:"signed_by,omitempty"` // fingerprint of the signing key, upper case hex, or ""
	Debian    *Debian           `toml:"debian" json:"debian,omitempty"`       // nil where Debian does not carry it
	Requires  map[string]string `toml:"requires" json:"requires,omitempty"`   // "python": ">= 3.8"; constraints in go-version's syntax
	Trust     Trust             `toml:"-" json:"trust,omitempty"`             // how SHA256 came to be known
}

// String returns component and version, as people write them.
func (a Archive) String() string { return a.Component + " " + a.Version }

// Admits reports whether what (for example "python") may be of that version. A
// suffix of the version ("3.13.0rc1", "3.12.1+") is not looked at; what the
// archive has no requirement for is admitted. The error is for a version that
// does not begin with a number and for a broken requirement.
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
}

//go:embed sources.toml
var sourcesTOML string

//go:embed advisories.toml
var advisoriesTOML string

// Catalogue returns the embedded set. It panics on broken data, which only a
// wrong commit can cause; the tests read it.
var Catalogue = sync.OnceValue(func() *Set {
	s, err := parse(sourcesTOML, advisoriesTOML)
	if err != nil {
		panic(err)
	}
	return s
})

func parse(sources, advisories string) (*Set, error) {
	var data struct {
		Archive  []Archive  `toml:"archive" json:"archive,omitempty"`
		Advisory []Advisory `toml:"advisory" json:"advisory,omitempty"`
	}
	for name, text := range map[string]string{"sources.toml": sources, "advisories.toml": advisories} {
		md, err := toml.Decode(text, &data)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		if unknown := md.Undecoded(); len(unknown) > 0 {
			return nil, fmt.Errorf("read %s: unknown key %s", name, unknown[0])
		}
	}
	s := &Set{archives: map[string][]Archive{}, advisories: data.Advisory}
	for _, a := range data.Archive {
		a.Trust = Pinned
		if err := a.check(); err != nil {
			return nil, fmt.Errorf("read sources.toml: %s: %w", a, err)
		}
		if _, dup := s.Find(a.Component, a.Version); dup {
			return nil, fmt.Errorf("read sources.toml: %s is there twice", a)
		}
		s.archives[a.Component] = append(s.archives[a.Component], a)
	}
	for _, list := range s.archives {
		slices.SortStableFunc(list, func(a, b Archive) int { return compare(b.Version, a.Version) })
	}
	for _, v := range s.advisories {
		if _, err := constraints(v.Affected); err != nil || v.ID == "" || v.Component == "" {
			return nil, fmt.Errorf("read advisories.toml: %q: %w", v.ID, errors.Join(errors.New("it is not complete"), err))
		}
	}
	return s, nil
}

// check says what is wrong with an archive that was read from a file.
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

// FileName reports whether s can be the name of an archive: one path element
// that no shell, file system or URL treats in a special way.
func FileName(s string) bool {
	const safe = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+~-"
	return s != "" && len(s) <= 200 && strings.Trim(s, safe) == "" && !strings.HasPrefix(s, ".") && !strings.HasPrefix(s, "-")
}

// Digest reports whether s is a SHA-256 as this package writes it.
func Digest(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32 && s == strings.ToLower(s)
}

// Of returns the archives of a component, newest first; nil for an unknown one.
func (s *Set) Of(component string) []Archive { return slices.Clone(s.archives[component]) }

// Find returns the archive of exactly that version.
func (s *Set) Find(component, version string) (Archive, bool) {
	for _, a := range s.archives[component] {
		if a.Version == version {
			return a, true
		}
	}
	return Archive{}, false
}

// Contradicts is the error for an archive of which the catalogue knows better: a
// version that it knows has its hash, and a hash that it knows is of its version.
// It is nil for what the catalogue knows nothing of, and for what it agrees with.
// Errors are of class Usage.
func (s *Set) Contradicts(component, version, sha256 string) error {
	if a, known := s.Find(component, version); known && a.SHA256 != sha256 {
		return fault.New(fault.Usage, "",
			"the catalogue of this release has sha256 %s for %s, not %s", a.SHA256, a, sha256)
	}
	for _, all := range s.archives {
		for _, a := range all {
			if a.SHA256 == sha256 && (a.Component != component || a.Version != version) {
				return fault.New(fault.Usage, "",
					"sha256 %s belongs to %s in the catalogue of this release, not to %s %s", sha256, a, component, version)
			}
		}
	}
	return nil
}

// Match returns the archives of a component that a constraint in go-version's
// syntax admits ("~> 5.0", ">= 2.4, < 2.5"), newest first; a bare version means
// exactly that one, an empty constraint means all. The error is for a
// constraint that cannot be read; that nothing matches is not an error.
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
