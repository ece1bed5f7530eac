package recipe

import (
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/BurntSushi/toml"
)

// Assessment is what a known vulnerability means for one build of a component.
type Assessment struct {
	ID      string // "CVE-2026-57941"
	Applies bool
	Summary string // one line for people; "" if it does not apply
	// Reason is why it does not apply, and Present whether the vulnerable code is a part of
	// the build all the same.
	Reason  string
	Present bool
}

// exemption is an entry of exempt.toml.
type exemption struct {
	Component string   `toml:"component"`
	Affected  string   `toml:"affected"`
	IDs       []string `toml:"ids"`
	Present   bool     `toml:"present"`
	Reason    string   `toml:"reason"`
}

//go:embed exempt.toml
var exemptTOML string

// exemptions panics on broken data, as [Catalogue] does.
var exemptions = sync.OnceValue(func() []exemption {
	all, err := parseExemptions(exemptTOML)
	if err != nil {
		panic(err)
	}
	return all
})

func parseExemptions(text string) ([]exemption, error) {
	var data struct {
		Exempt []exemption `toml:"exempt"`
	}
	md, err := toml.Decode(text, &data)
	if err != nil {
		return nil, fmt.Errorf("read exempt.toml: %w", err)
	}
	if unknown := md.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("read exempt.toml: unknown key %s", unknown[0])
	}
	for _, e := range data.Exempt {
		if _, err := constraints(e.Affected); err != nil || e.Component == "" || len(e.IDs) == 0 || e.Reason == "" {
			return nil, fmt.Errorf("read exempt.toml: exemption of %q: %w", e.Component, errors.Join(errors.New("it is incomplete"), err))
		}
	}
	return data.Exempt, nil
}

// Assess returns what every vulnerability known of a version means for a build with these
// features, sorted by identifier. A vulnerability in a feature that was not built does not
// apply. Without any features, none is concluded to be missing: they are unknown then.
func (s *Set) Assess(component, version string, features []string) []Assessment {
	if len(features) == 0 {
		features = nil
	}
	var every []string
	for _, a := range s.advisories {
		every = append(every, a.Feature)
	}
	var out []Assessment
	for _, a := range s.Advisories(component, version, every) {
		one := Assessment{ID: a.ID, Applies: true, Summary: a.Summary}
		if a.Missing(features) {
			one = Assessment{ID: a.ID, Reason: fmt.Sprintf("it is in %s, which is not built: the features of this %s are %s",
				a.Feature, component, strings.Join(slices.Sorted(slices.Values(features)), ", "))}
		}
		out = append(out, one)
	}
	v, err := numeric(version)
	for _, e := range exemptions() {
		if c, cerr := constraints(e.Affected); err != nil || cerr != nil || e.Component != component || !c.Check(v) {
			continue
		}
		for _, id := range e.IDs {
			if !slices.ContainsFunc(out, func(a Assessment) bool { return a.ID == id }) { // an advisory is stronger
				out = append(out, Assessment{ID: id, Reason: e.Reason, Present: e.Present})
			}
		}
	}
	slices.SortFunc(out, func(a, b Assessment) int { return strings.Compare(a.ID, b.ID) })
	return out
}
