package recipe

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	goversion "github.com/hashicorp/go-version"

	"modwsgi/internal/fault"
)

// leadingNumber is the part of a version that constraints are checked against
// where a suffix must not matter.
var leadingNumber = regexp.MustCompile(`^v?[0-9]+(\.[0-9]+)*`)

func parseVersion(s string) (*goversion.Version, error) {
	v, err := goversion.NewVersion(s)
	if err != nil {
		return nil, fmt.Errorf("read version %q: it is not a version number", s)
	}
	return v, nil
}

// numeric reads the number that a version begins with: go-version lets no
// pre-release match a constraint without one, so that "3.13.0rc1" would fail
// ">= 3.8" and "2.4.70-dev" would escape an advisory.
func numeric(s string) (*goversion.Version, error) {
	return parseVersion(leadingNumber.FindString(strings.TrimSpace(s)))
}

// compare orders versions; what is not a version comes before all that are.
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

func constraints(s string) (goversion.Constraints, error) {
	c, err := goversion.NewConstraint(s)
	if err != nil {
		return nil, fault.New(fault.Usage, `write a version such as 2.4.71, or a constraint such as "~> 5.0" or ">= 2.4, < 2.5"`,
			"read version constraint %q: it is not one", s)
	}
	return c, nil
}

// Exact returns the version that a constraint names outright ("2.4.72",
// "= 2.4.72"), which can be looked for outside the catalogue.
func Exact(constraint string) (version string, ok bool) {
	version = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(constraint), "="))
	if _, err := parseVersion(version); err != nil {
		return "", false
	}
	return strings.TrimPrefix(version, "v"), true
}

// Advisory is a known vulnerability.
type Advisory struct {
	ID        string `toml:"id"`        // "CVE-2026-57941"
	Component string `toml:"component"` // "httpd"
	Affected  string `toml:"affected"`  // versions, a constraint in go-version's syntax
	Feature   string `toml:"feature"`   // only where this feature is built; "" is always
	Severity  string `toml:"severity"`  // as upstream rates it; "unrated" where we do not know
	Summary   string `toml:"summary"`   // one line for people
}

// Advisories returns those that apply to a version built with these features,
// in the order of the catalogue. A suffix of the version ("2.4.70-dev") is not
// looked at, and a version that cannot be read counts as affected.
func (s *Set) Advisories(component, version string, features []string) []Advisory {
	v, unreadable := numeric(version)
	var out []Advisory
	for _, a := range s.advisories {
		if a.Component != component || a.Feature != "" && !slices.Contains(features, a.Feature) {
			continue
		}
		c, err := constraints(a.Affected)
		if unreadable != nil || err != nil || c.Check(v) {
			out = append(out, a)
		}
	}
	return out
}
