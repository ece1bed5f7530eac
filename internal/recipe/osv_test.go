package recipe

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/fstest"
)

const record = `{"schema_version": "1.7.3", "id": "CVE-2026-1000", "modified": "2026-11-21T00:00:00Z", "summary": "a line",
 "affected": [{"ranges": [{"type": "SEMVER", "events": [{"introduced": "2.4.10"}, {"fixed": "2.4.20"}, {"introduced": "2.4.30"}, {"last_affected": "2.4.40"}, {"introduced": "2.4.50"}]}],
  "versions": ["2.2.34"], "database_specific": {"component": "httpd"}}],
 "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
 "references": [{"type": "ADVISORY", "url": "https://example.org/"}], "database_specific": {"severity": "important"}, "another_field": 1}`

func TestAffectedVersionsOfARecord(t *testing.T) {
	r, err := ParseOSV([]byte(record))
	if err != nil {
		t.Fatal(err)
	}
	all, err := r.advisories()
	if err != nil || len(all) != 1 || all[0].Severity != "important" || all[0].Affected != ">= 2.4.10, < 2.4.20 or >= 2.4.30, <= 2.4.40 or >= 2.4.50 or = 2.2.34" {
		t.Fatalf("%+v, %v", all, err)
	}
	for version, want := range map[string]bool{
		"2.4.9": false, "2.4.10": true, "2.4.19": true, "2.4.20": false, "2.4.30": true, "2.4.40": true, "2.4.41": false, "2.4.50": true, "2.4.99": true,
		"2.2.34": true, "2.2.33": false, "unknown": true, "2.4.19-dev": true,
	} {
		if got := all[0].Affects(version); got != want {
			t.Errorf("Affects(%s) = %v", version, got)
		}
	}
	withdrawn, err := ParseOSV([]byte(strings.Replace(record, `"summary"`, `"withdrawn": "2026-11-22T00:00:00Z", "summary"`, 1)))
	if none, aerr := withdrawn.advisories(); err != nil || aerr != nil || len(none) != 0 {
		t.Errorf("a withdrawn record means %v, %v, %v", none, err, aerr)
	}
}

// The rules are those of OSV's schema, and those that make a range unambiguous.
func TestBrokenRecordsAreRefused(t *testing.T) {
	for name, change := range map[string][2]string{
		"no id":               {`"CVE-2026-1000"`, `""`},
		"unknown database":    {`"CVE-2026-1000"`, `"BUG-1"`},
		"no time":             {`"modified": "2026-11-21T00:00:00Z", `, ``},
		"not a time":          {`"2026-11-21T00:00:00Z"`, `"yesterday"`},
		"no summary":          {`"a line"`, `" "`},
		"two lines":           {`"a line"`, `"a\nline"`},
		"no component":        {`{"component": "httpd"}`, `{}`},
		"odd component":       {`{"component": "httpd"}`, `{"component": "httpd\u001b[2J"}`},
		"feature of another":  {`{"component": "httpd"}`, `{"component": "apr", "feature": "http2"}`},
		"unknown range":       {`"SEMVER"`, `"VERSIONS"`},
		"ecosystem":           {`"SEMVER"`, `"ECOSYSTEM"`},
		"commits without":     {`"SEMVER"`, `"GIT"`},
		"two in one event":    {`{"introduced": "2.4.10"}`, `{"introduced": "2.4.10", "fixed": "2.4.11"}`},
		"limit":               {`{"introduced": "2.4.10"}`, `{"limit": "2.4.10"}`},
		"empty event":         {`{"introduced": "2.4.10"}`, `{}`},
		"fixed first":         {`{"introduced": "2.4.10"}, `, ``},
		"introduced twice":    {`{"fixed": "2.4.20"}, `, ``},
		"descending":          {`{"fixed": "2.4.20"}`, `{"fixed": "2.4.5"}`},
		"not semantic":        {`"2.4.10"`, `"2.4"`},
		"another spelling":    {`"2.2.34"`, `"v2.2.34"`},
		"score of another":    {`"CVSS_V3"`, `"CVSS_V4"`},
		"unknown score":       {`"CVSS_V3"`, `"GUESS"`},
		"unknown rating":      {`"important"`, `"terrible"`},
		"unknown reference":   {`"ADVISORY"`, `"BLOG"`},
		"reference not a URL": {`"https://example.org/"`, `"see below"`},
		"package without":     {`"versions"`, `"package": {"ecosystem": "PyPI"}, "versions"`},
		"HTML":                {record, `<!doctype html>`},
		"truncated":           {record, record[:200]},
	} {
		text := strings.Replace(record, change[0], change[1], 1)
		if text == record {
			t.Errorf("%s: nothing was changed", name)
		}
		if _, err := ParseOSV([]byte(text)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A record is written as it was read.
func TestRecordsOfTheCatalogue(t *testing.T) {
	d := EmbeddedDocument()
	if len(d.Advisories) == 0 {
		t.Fatal("no records")
	}
	for _, r := range d.Advisories {
		data, err := advisoryFiles.ReadFile("advisories/" + r.ID + ".json")
		if err != nil || string(r.Encode()) != string(data) {
			t.Errorf("%s is not in the form that this program writes: %v", r.ID, err)
		}
		if r.SchemaVersion != OSVVersion || len(r.References) == 0 {
			t.Errorf("%s: schema %q, references %v", r.ID, r.SchemaVersion, r.References)
		}
		var plain map[string]any
		if err := json.Unmarshal(data, &plain); err != nil {
			t.Error(err)
		}
	}
	if _, err := ReadDocument(sourcesTOML, supportTOML, fstest.MapFS{"advisories/CVE-2026-1.json": {Data: []byte(record)}}); err == nil {
		t.Error("a record under another name is accepted")
	}
}
