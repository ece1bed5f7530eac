package refresh

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"modwsgi/internal/recipe"
)

// cveRecord is a record in CVE's format, as Apache publishes it
// (https://github.com/CVEProject/cve-schema).
type cveRecord struct {
	DataType string `json:"dataType"`
	Metadata struct {
		ID    string `json:"cveId"`
		State string `json:"state"`
	} `json:"cveMetadata"`
	Containers struct {
		CNA struct {
			Title        string `json:"title"`
			Descriptions []struct {
				Value string `json:"value"`
			} `json:"descriptions"`
			Affected []struct {
				Product  string       `json:"product"`
				Versions []cveVersion `json:"versions"`
			} `json:"affected"`
			Metrics []struct {
				Other struct {
					Content struct {
						Text string `json:"text"`
					} `json:"content"`
				} `json:"other"`
			} `json:"metrics"`
			Timeline []struct {
				Time string `json:"time"`
			} `json:"timeline"`
		} `json:"cna"`
	} `json:"containers"`
}

type cveVersion struct {
	Version         string `json:"version"`
	LessThan        string `json:"lessThan"`
	LessThanOrEqual string `json:"lessThanOrEqual"`
	Status          string `json:"status"`
}

var (
	fixedIn = regexp.MustCompile(`<h1 id="([0-9]+\.[0-9]+\.[0-9]+)[^"]*"`)
	cveID   = regexp.MustCompile(`id="(CVE-[0-9]{4}-[0-9]{4,})"`)
	module  = regexp.MustCompile(`mod_[a-z0-9_]+`)
)

// featureOf are the features that build a module. A vulnerability in other modules always
// applies.
var featureOf = map[string]string{
	"mod_http2": "http2", "mod_proxy_http2": "http2", "mod_ssl": "tls", "mod_deflate": "deflate", "mod_brotli": "brotli", "mod_proxy_html": "xml", "mod_xml2enc": "xml",
}

// advisories reads the list of vulnerabilities fixed in releases of httpd, and the record
// of each one that was fixed after the oldest version in the catalogue.
func (r *run) advisories(ctx context.Context) {
	known := r.set.Of("httpd")
	if len(known) == 0 {
		return
	}
	at := r.Security + "/vulnerabilities_24.html"
	data, err := r.get(ctx, at, maxJSON, true)
	if err != nil {
		r.oddf("advisories: %w", err)
		return
	}
	page := string(data)
	if !strings.Contains(page, "</html>") || !fixedIn.MatchString(page) {
		r.oddf("advisories: %s is truncated or not the list of vulnerabilities", at)
		return
	}
	oldest := known[len(known)-1].Version
	listed := map[string]bool{}
	sections := fixedIn.FindAllStringSubmatchIndex(page, -1)
	for i, s := range sections {
		end := len(page)
		if i+1 < len(sections) {
			end = sections[i+1][0]
		}
		since, err := recipe.Satisfies("> "+oldest, page[s[2]:s[3]])
		for _, m := range cveID.FindAllStringSubmatch(page[s[0]:end], -1) {
			listed[m[1]] = true
			if err == nil && since && !r.skipped(m[1]) {
				r.advisory(ctx, m[1])
			}
		}
	}
	for _, a := range r.set.AllAdvisories() {
		if a.Component == "httpd" && strings.HasPrefix(a.ID, "CVE-") && !listed[a.ID] && !r.skipped(a.ID) {
			r.oddf("%s: %s no longer lists it", a.ID, at)
		}
	}
}

// advisory adds a vulnerability that affects a version in the catalogue and is not known,
// or not for all of them.
func (r *run) advisory(ctx context.Context, id string) {
	at := r.Security + "/json/" + id + ".json"
	data, err := r.get(ctx, at, maxListing, false)
	if err != nil {
		r.oddf("%s: %w", id, err)
		return
	}
	record, err := r.convert(id, data)
	if err != nil {
		r.oddf("%s: read %s: %w", id, at, err)
		return
	}
	document := &recipe.Document{Schema: recipe.Schema, Date: r.Now(), Advisories: []recipe.OSV{*record}}
	theirs, err := document.Set()
	if err != nil {
		r.oddf("%s: read %s: %w", id, at, err)
		return
	}
	var affected, unknown []string
	feature := []string{record.Affected[0].Specific.Feature}
	for _, a := range r.set.Of("httpd") {
		if len(theirs.Advisories("httpd", a.Version, feature)) == 0 {
			continue
		}
		affected = append(affected, a.Version)
		if !slices.ContainsFunc(r.set.AllAdvisories(), func(o recipe.Advisory) bool { return o.ID == id && o.Component == "httpd" && o.Affects(a.Version) }) {
			unknown = append(unknown, a.Version)
		}
	}
	if len(unknown) == 0 {
		return
	}
	note := "affects " + strings.Join(affected, ", ") + " of the catalogue"
	if feature[0] != "" {
		note += "; the feature " + feature[0] + " is concluded from the text: check it"
	}
	r.Changes = append(r.Changes, Change{Record: record, Evidence: []string{"record: " + at, note}})
}

// convert translates a record. It refuses everything that it does not understand.
func (r *run) convert(id string, data []byte) (*recipe.OSV, error) {
	var c cveRecord
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, err
	}
	cna := c.Containers.CNA
	if c.DataType != "CVE_RECORD" || c.Metadata.ID != id || c.Metadata.State != "PUBLISHED" {
		return nil, fmt.Errorf("it is the record %.30q, of type %.30q in state %.30q", c.Metadata.ID, c.DataType, c.Metadata.State)
	}
	for _, t := range cna.Timeline {
		day, err := time.Parse(time.DateOnly, t.Time[:min(len(t.Time), 10)])
		if err != nil || day.After(r.Now().Add(24*time.Hour)) {
			return nil, fmt.Errorf("its date %.40q is not valid, or in the future", t.Time)
		}
	}
	if len(cna.Metrics) == 0 || len(cna.Affected) != 1 || cna.Affected[0].Product != "Apache HTTP Server" {
		return nil, fmt.Errorf("it has no severity, or is not about Apache HTTP Server alone")
	}
	out := &recipe.OSV{
		SchemaVersion: recipe.OSVVersion, ID: id, Modified: r.Now().UTC().Truncate(time.Second), Summary: strings.TrimSpace(cna.Title),
		Specific:   recipe.OSVRating{Severity: strings.ToLower(strings.TrimSpace(cna.Metrics[0].Other.Content.Text))},
		References: []recipe.OSVReference{{Type: "ADVISORY", URL: "https://httpd.apache.org/security/vulnerabilities_24.html#" + id}},
	}
	text := cna.Title
	for _, d := range cna.Descriptions {
		text += " " + d.Value
	}
	part := recipe.OSVAffected{Specific: recipe.OSVPart{Component: "httpd", Feature: feature(text)}}
	for _, v := range cna.Affected[0].Versions {
		if v.Status != "affected" {
			return nil, fmt.Errorf("version %.40q has the status %.40q", v.Version, v.Status)
		}
		if v.LessThan == "" && v.LessThanOrEqual == "" {
			part.Versions = append(part.Versions, v.Version)
			continue
		}
		from := v.Version
		if from == "" {
			from = "0"
		}
		part.Ranges = append(part.Ranges, recipe.OSVRange{Type: "SEMVER", Events: []recipe.OSVEvent{{Introduced: from}, {Fixed: v.LessThan, LastAffected: v.LessThanOrEqual}}})
	}
	out.Affected = []recipe.OSVAffected{part}
	checked, err := recipe.ParseOSV(out.Encode())
	return &checked, err
}

// feature is the httpd feature of all modules in a text, "" if they have none in common.
func feature(text string) string {
	var found []string
	for _, name := range module.FindAllString(text, -1) {
		found = append(found, featureOf[name])
	}
	slices.Sort(found)
	if found = slices.Compact(found); len(found) == 1 {
		return found[0]
	}
	return ""
}
