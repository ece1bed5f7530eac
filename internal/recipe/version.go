package recipe

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	goversion "github.com/hashicorp/go-version"

	"modwsgi/internal/fault"
)

// leadingNumber matches the part of a version that constraints are checked against if a
// suffix must not matter.
var leadingNumber = regexp.MustCompile(`^v?[0-9]+(\.[0-9]+)*`)

func parseVersion(s string) (*goversion.Version, error) {
	v, err := goversion.NewVersion(s)
	if err != nil {
		return nil, fmt.Errorf("read version %q: it is not a version number", s)
	}
	return v, nil
}

// numeric reads the number that a version begins with. In go-version, a pre-release never
// matches a constraint without one, so "3.13.0rc1" would fail ">= 3.8" and "2.4.70-dev"
// would escape an advisory.
func numeric(s string) (*goversion.Version, error) {
	return parseVersion(leadingNumber.FindString(strings.TrimSpace(s)))
}

// compare orders versions; an invalid version comes before all valid ones.
func compare(a, b string) int {
	va, errA := parseVersion(a)
	vb, errB := parseVersion(b)
	switch {
	case errA != nil && errB != nil:
		return strings.Compare(a, b)
	case errA != nil:
		return -1
	case errB != nil:
		return 1
	}
	return va.Compare(vb)
}

// Why versions have one spelling.
//
// Advisories, the catalogue and the lock file are compared by version. A spelling that
// counts as the same release in a comparison but as another in a lookup ("6.0.5.0",
// "v6.0.5", "6.00.5", "6.0.5+x") would be a way past them: a lock file's "6.0.5+x" is not
// in the catalogue, so nothing contradicts its hash. So only one spelling is valid: the
// normal form of PEP 440 without epochs and local labels, which Apache's projects also
// use, with as many numbers as the component's releases have. Everything else is an error
// and is not corrected.

// number is one number of a version. Nine digits fit everywhere.
const number = `(?:0|[1-9][0-9]{0,8})`

var canonicalForm = regexp.MustCompile(`^` + number + `(?:\.` + number + `)*(?:(?:a|b|rc)` + number + `)?(?:\.post` + number + `)?(?:\.dev` + number + `)?$`)

// suffix matches the part of a canonical version after its numbers.
var suffix = regexp.MustCompile(`(?:a|b|rc|\.post|\.dev).*$`)

// CheckVersion returns nil for a version of the component in its canonical spelling. A
// component missing from the catalogue may have any number of numbers. Errors are of
// class Usage and show the spelling that was probably meant.
func (s *Set) CheckVersion(component, version string) error {
	return s.checkVersion(component, version, "write it as upstream does, as in 2.4.71")
}

func (s *Set) checkVersion(component, version, hint string) error {
	want := 0
	if all := s.archives[component]; len(all) > 0 {
		want = numbers(all[0].Version)
	}
	if !canonicalForm.MatchString(version) {
		if meant := normal(version, want); meant != "" && meant != version {
			hint = "write " + meant
		}
		return fault.New(fault.Usage, hint, "version %q of %s is not in its canonical spelling", version, component)
	}
	if n := numbers(version); want > 0 && n != want {
		if meant := normal(version, want); meant != "" && meant != version {
			hint = "write " + meant
		}
		return fault.New(fault.Usage, hint, "version %q of %s has %d parts, but releases of %s have %d", version, component, n, component, want)
	}
	return nil
}

func numbers(version string) int {
	return strings.Count(suffix.ReplaceAllString(version, ""), ".") + 1
}

var looseForm = regexp.MustCompile(`^[vV]?([0-9]+(?:\.[0-9]+)*)(?:[-._]?(a|alpha|b|beta|c|rc|pre)[-._]?([0-9]*))?(?:[+].*)?$`)

// normal returns the canonical spelling that was probably meant, with want numbers (0 for
// as many as the version has), or "" if it cannot tell.
func normal(version string, want int) string {
	m := looseForm.FindStringSubmatch(strings.ToLower(strings.TrimSpace(version)))
	if m == nil {
		return ""
	}
	all := strings.Split(m[1], ".")
	for i := range all {
		if all[i] = strings.TrimLeft(all[i], "0"); all[i] == "" {
			all[i] = "0"
		}
	}
	for want > 0 && len(all) > want && all[len(all)-1] == "0" {
		all = all[:len(all)-1]
	}
	out := strings.Join(all, ".")
	if kind := map[string]string{"a": "a", "alpha": "a", "b": "b", "beta": "b", "c": "rc", "rc": "rc", "pre": "rc"}[m[2]]; kind != "" {
		n := strings.TrimLeft(m[3], "0")
		if n == "" {
			n = "0"
		}
		out += kind + n
	}
	if !canonicalForm.MatchString(out) || want > 0 && numbers(out) != want {
		return ""
	}
	return out
}

// clause is one part of a constraint: an operator and a version.
var clause = regexp.MustCompile(`^[ ]*(=|!=|>=|<=|>|<|~>)?[ ]*(.*?)[ ]*$`)

const constraintHint = `write a version such as 2.4.71, or a constraint such as "~> 5.0" or ">= 2.4, < 2.5"`

// constraints reads a constraint whose versions are spelled canonically; they may have
// fewer numbers than a release ("~> 5.0").
func constraints(s string) (goversion.Constraints, error) {
	for part := range strings.SplitSeq(s, ",") {
		if m := clause.FindStringSubmatch(part); m == nil || !canonicalForm.MatchString(m[2]) {
			if m != nil {
				if meant := normal(m[2], 0); meant != "" {
					return nil, fault.New(fault.Usage, "write "+meant, "read version constraint %q: %q is not in its canonical spelling", s, m[2])
				}
			}
			return nil, fault.New(fault.Usage, constraintHint, "read version constraint %q: not a valid constraint", s)
		}
	}
	c, err := goversion.NewConstraint(s)
	if err != nil {
		return nil, fault.New(fault.Usage, constraintHint, "read version constraint %q: not a valid constraint", s)
	}
	return c, nil
}

// CheckConstraint returns nil for "" and for a valid constraint that names versions of
// the component in their canonical spelling. Errors are of class Usage.
func (s *Set) CheckConstraint(component, constraint string) error {
	if constraint == "" || strings.TrimSpace(constraint) == "" {
		return nil
	}
	if !strings.ContainsAny(constraint, "=<>~!,") {
		return s.checkVersion(component, constraint, constraintHint)
	}
	if _, err := constraints(constraint); err != nil {
		return err
	}
	if version, ok := Exact(constraint); ok {
		return s.checkVersion(component, version, constraintHint)
	}
	return nil
}

// Satisfies reports whether the version of a release or of something installed satisfies
// a constraint. The error is for an invalid one.
func Satisfies(constraint, version string) (bool, error) {
	c, err := constraints(constraint)
	if err != nil {
		return false, err
	}
	v, err := goversion.NewVersion(version)
	if err != nil {
		return false, fmt.Errorf("compare version %q with %q: %w", version, constraint, err)
	}
	return c.Check(v), nil
}

// Exact returns the version that a constraint names outright ("2.4.72", "= 2.4.72"),
// which can be looked up outside the catalogue.
func Exact(constraint string) (version string, ok bool) {
	m := clause.FindStringSubmatch(constraint)
	if m == nil || m[1] != "" && m[1] != "=" || !canonicalForm.MatchString(m[2]) {
		return "", false
	}
	return m[2], true
}

// Advisory is a known vulnerability in a component: what an [OSV] record means here.
type Advisory struct {
	ID        string `json:"id"`                // "CVE-2026-57941"
	Component string `json:"component"`         // "httpd"
	Affected  string `json:"affected"`          // versions, for people: ">= 2.4.55, < 2.4.71"
	Feature   string `json:"feature,omitempty"` // only if this feature is built; "" for always
	Severity  string `json:"severity"`          // upstream's rating; "unrated" if unknown
	Summary   string `json:"summary"`           // one line for people

	clauses []string // constraints in go-version's syntax, any of which may hold
}

// String returns the advisory in a line for people.
func (a Advisory) String() string { return a.ID + ": " + a.Summary }

// Missing reports whether the advisory is about a feature that a build does not have.
// features are those of the build; nil means that they are unknown, and then no feature is
// missing.
func (a Advisory) Missing(features []string) bool {
	return a.Feature != "" && features != nil && !slices.Contains(features, a.Feature)
}

// Affects reports whether a version is affected, whatever it is built with. A suffix of
// the version ("2.4.70-dev") is ignored, and an unreadable version counts as affected.
func (a Advisory) Affects(version string) bool {
	v, err := numeric(version)
	return err != nil || slices.ContainsFunc(a.clauses, func(clause string) bool {
		c, err := constraints(clause)
		return err != nil || c.Check(v)
	})
}

// Advisories returns those that apply to a version built with these features, in the
// order of the catalogue, each once: see [Advisory.Affects].
func (s *Set) Advisories(component, version string, features []string) []Advisory {
	var out []Advisory
	for _, a := range s.advisories {
		applies := a.Component == component && (a.Feature == "" || slices.Contains(features, a.Feature)) && a.Affects(version)
		if applies && !slices.ContainsFunc(out, func(o Advisory) bool { return o.ID == a.ID }) {
			out = append(out, a)
		}
	}
	return out
}

// Support is how long upstream supports the releases of a branch.
type Support struct {
	Component string `toml:"component" json:"component"` // "openssl"
	Affected  string `toml:"affected" json:"affected"`   // versions, a constraint in go-version's syntax
	Ends      string `toml:"ends" json:"ends"`           // the last day, "2026-09-07"
}

// EndedText is the sentence for users about a release whose support ended on a day.
func EndedText(day string) string {
	return "out of support: upstream has not mended vulnerabilities in it since " + day
}

// SupportedUntil returns the last day of upstream's support for a version, "2026-09-07",
// or "" if it is unknown. A suffix of the version is ignored ("3.0.22-1~deb12u2").
func (s *Set) SupportedUntil(component, version string) string {
	v, err := numeric(version)
	if err != nil {
		return ""
	}
	for _, x := range s.supports {
		if c, err := constraints(x.Affected); x.Component == component && err == nil && c.Check(v) {
			return x.Ends
		}
	}
	return ""
}

// Ended returns the last day of upstream's support for a version if it is before today,
// otherwise "".
func (s *Set) Ended(component, version string, today time.Time) string {
	return Past(s.SupportedUntil(component, version), today)
}

// Past returns a day ("2026-09-07") if it is before today, otherwise "".
func Past(day string, today time.Time) string {
	if today.UTC().Format(time.DateOnly) > day {
		return day
	}
	return ""
}
