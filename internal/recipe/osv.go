package recipe

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Advisories are records in the schema of OSV (https://ossf.github.io/osv-schema/), so
// that they can be exchanged with other databases and read by other tools. What this
// package makes of a record is [Advisory]: one component, and the versions in question.
//
// The schema leaves two things to a database, and this one has them in
// affected[].database_specific. "component" is a name in sources.toml: OSV has
// ecosystems, but none for releases of C projects. "feature" is the httpd feature without
// which the vulnerability does not apply.
//
// Records are read strictly. A range whose meaning is unclear could hide a version.

// OSVVersion is the version of the schema that records are written for.
const OSVVersion = "1.7.3"

// OSV is a vulnerability as a record in OSV's schema, with the fields that are used here.
type OSV struct {
	SchemaVersion string          `json:"schema_version,omitempty"`
	ID            string          `json:"id"`
	Modified      time.Time       `json:"modified"`
	Published     *time.Time      `json:"published,omitempty"`
	Withdrawn     *time.Time      `json:"withdrawn,omitempty"`
	Aliases       []string        `json:"aliases,omitempty"`
	Summary       string          `json:"summary,omitempty"`
	Details       string          `json:"details,omitempty"`
	Severity      []OSVSeverity   `json:"severity,omitempty"`
	Affected      []OSVAffected   `json:"affected,omitempty"`
	References    []OSVReference  `json:"references,omitempty"`
	Specific      OSVRating       `json:"database_specific,omitzero"`
	Credits       json.RawMessage `json:"credits,omitempty"`
}

// OSVRating is upstream's rating of a record: critical, important, moderate or low.
type OSVRating struct {
	Severity string `json:"severity,omitempty"`
}

// OSVSeverity is a score.
type OSVSeverity struct {
	Type  string `json:"type"`
	Score string `json:"score"` // a CVSS vector
}

// OSVAffected are versions of one component.
type OSVAffected struct {
	Package  *OSVPackage `json:"package,omitempty"`
	Ranges   []OSVRange  `json:"ranges,omitempty"`
	Versions []string    `json:"versions,omitempty"`
	Specific OSVPart     `json:"database_specific,omitzero"`
}

// OSVPart is what a record affects, in this project's terms.
type OSVPart struct {
	Component string `json:"component,omitempty"` // "httpd"
	Feature   string `json:"feature,omitempty"`   // of httpd; "" for always
}

// OSVPackage is a package in an ecosystem that OSV knows.
type OSVPackage struct {
	Ecosystem string `json:"ecosystem"`
	Name      string `json:"name"`
	PURL      string `json:"purl,omitempty"`
}

// OSVRange are versions between events, in ascending order.
type OSVRange struct {
	Type   string     `json:"type"`
	Repo   string     `json:"repo,omitempty"`
	Events []OSVEvent `json:"events"`
}

// OSVEvent begins or ends a range. Exactly one field is set.
type OSVEvent struct {
	Introduced   string `json:"introduced,omitempty"`    // "0" is before every version
	Fixed        string `json:"fixed,omitempty"`         // the first version that is not affected
	LastAffected string `json:"last_affected,omitempty"` // the last one that is
	Limit        string `json:"limit,omitempty"`         // only for commits
}

// OSVReference is an address with more about a vulnerability.
type OSVReference struct {
	Type string `json:"type"`
	URL  string `json:"url"`
}

// ParseOSV reads a record and checks it. Unknown fields are accepted, as the schema
// requires of readers.
func ParseOSV(data []byte) (OSV, error) {
	var r OSV
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("read advisory: %w", err)
	}
	if _, err := r.advisories(); err != nil {
		return r, err
	}
	return r, nil
}

// Encode returns the record as a file.
func (r OSV) Encode() []byte {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		panic(err) // strings and times always encode
	}
	return append(data, '\n')
}

var (
	osvID       = regexp.MustCompile(`^(CVE-[0-9]{4}-[0-9]{4,}|GHSA(-[0-9a-z]{4}){3}|PYSEC-[0-9]{4}-[0-9]+)$`)
	osvScores   = map[string]*regexp.Regexp{"CVSS_V2": regexp.MustCompile(`^AV:[A-Z]/`), "CVSS_V3": regexp.MustCompile(`^CVSS:3\.[01]/`), "CVSS_V4": regexp.MustCompile(`^CVSS:4\.0/`)}
	osvRefs     = []string{"ADVISORY", "ARTICLE", "DETECTION", "DISCUSSION", "REPORT", "FIX", "INTRODUCED", "GIT", "PACKAGE", "EVIDENCE", "WEB"}
	plainName   = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,39}$`)
	osvVersions = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+$`)
)

// advisories returns what the record means, or what is wrong with it. A record that was
// withdrawn means nothing.
func (r OSV) advisories() ([]Advisory, error) {
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("advisory %.40q: %w", r.ID, err)
	}
	var out []Advisory
	for _, a := range r.Affected {
		clauses, err := a.constraints()
		if err != nil {
			return nil, fmt.Errorf("advisory %s: %w", r.ID, err)
		}
		severity := r.Specific.Severity
		if severity == "" {
			severity = "unrated"
		}
		out = append(out, Advisory{
			ID: r.ID, Component: a.Specific.Component, Feature: a.Specific.Feature, Severity: severity, Summary: r.Summary,
			Affected: strings.Join(clauses, " or "), clauses: clauses,
		})
	}
	if r.Withdrawn != nil {
		return nil, nil
	}
	return out, nil
}

// check applies the schema's rules to everything but the versions.
func (r OSV) check() error {
	switch {
	case !osvID.MatchString(r.ID):
		return errors.New("its id is not that of a database that OSV lists (CVE, GHSA or PYSEC)")
	case r.Modified.IsZero():
		return errors.New("it lacks the time of its last change")
	case strings.ContainsAny(r.Summary, "\r\n") || strings.TrimSpace(r.Summary) == "":
		return errors.New("its summary is not one line")
	case len(r.Affected) == 0:
		return errors.New("it affects nothing")
	case !slices.Contains([]string{"", "critical", "important", "moderate", "low"}, r.Specific.Severity):
		return fmt.Errorf("unknown severity %.40q", r.Specific.Severity)
	}
	for _, s := range r.Severity {
		if form := osvScores[s.Type]; form == nil || !form.MatchString(s.Score) {
			return fmt.Errorf("score %.60q is not a vector of type %.20q", s.Score, s.Type)
		}
	}
	for _, ref := range r.References {
		if u, err := url.Parse(ref.URL); err != nil || u.Host == "" || !slices.Contains(osvRefs, ref.Type) {
			return fmt.Errorf("reference %.100q of type %.20q is not valid", ref.URL, ref.Type)
		}
	}
	for _, a := range r.Affected {
		switch {
		case !plainName.MatchString(a.Specific.Component):
			return errors.New("it does not name the affected component (database_specific.component)")
		case a.Specific.Feature != "" && !plainName.MatchString(a.Specific.Feature):
			return fmt.Errorf("%.40q is not the name of a feature", a.Specific.Feature)
		case a.Specific.Feature != "" && a.Specific.Component != "httpd":
			return fmt.Errorf("%s has no features", a.Specific.Component)
		case a.Package != nil && (a.Package.Ecosystem == "" || a.Package.Name == ""):
			return errors.New("its package has no ecosystem or no name")
		}
	}
	return nil
}

// constraints returns the affected versions as constraints in go-version's syntax, any of
// which may hold.
func (a OSVAffected) constraints() ([]string, error) {
	var out []string
	for _, r := range a.Ranges {
		switch r.Type {
		case "GIT": // commits, not releases
			if r.Repo == "" {
				return nil, errors.New("a range of commits lacks its repository")
			}
			continue
		case "ECOSYSTEM":
			if a.Package == nil {
				return nil, errors.New("a range of an ecosystem lacks its package")
			}
		case "SEMVER":
		default:
			return nil, fmt.Errorf("unknown type of range %.20q", r.Type)
		}
		some, err := r.constraints()
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
	}
	for _, v := range a.Versions {
		out = append(out, "= "+v)
	}
	if len(out) == 0 {
		return nil, errors.New("it names no affected release")
	}
	for _, c := range out {
		if _, err := constraints(c); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// constraints returns one constraint for each introduction. Events must alternate and
// ascend.
func (r OSVRange) constraints() ([]string, error) {
	var out []string
	open, last := "", ""
	for _, e := range r.Events {
		version := e.Introduced + e.Fixed + e.LastAffected
		set := len(slices.DeleteFunc([]string{e.Introduced, e.Fixed, e.LastAffected, e.Limit}, func(s string) bool { return s == "" }))
		if set != 1 || version == "" {
			return nil, errors.New("an event of a range is not exactly one of introduced, fixed and last_affected")
		}
		first := e.Introduced == "0" && last == ""
		if r.Type == "SEMVER" && !first && !osvVersions.MatchString(version) {
			return nil, fmt.Errorf("%.40q is not a semantic version", version)
		}
		if !first && last != "" && compare(version, last) <= 0 {
			return nil, fmt.Errorf("the events of a range do not ascend: %.40q after %.40q", version, last)
		}
		switch {
		case e.Introduced != "" && open != "":
			return nil, errors.New("a range is introduced twice without a fix in between")
		case e.Introduced != "":
			open = ">= " + e.Introduced
		case open == "":
			return nil, errors.New("a range ends before it is introduced")
		case e.Fixed != "":
			out, open = append(out, open+", < "+e.Fixed), ""
		default:
			out, open = append(out, open+", <= "+e.LastAffected), ""
		}
		last = version
	}
	if open != "" {
		out = append(out, open)
	}
	if len(out) == 0 {
		return nil, errors.New("a range has no events")
	}
	return out, nil
}
