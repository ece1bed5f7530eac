package recipe

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/fault"
)

// newer returns a document that a test changes: what the program has, of a later day.
func newer(t *testing.T) *Document {
	t.Helper()
	d, err := ParseDocument(EmbeddedDocument().Encode())
	if err != nil {
		t.Fatal(err)
	}
	d.Date = d.Date.Add(24 * time.Hour)
	return d
}

func next(d *Document) *Archive {
	a := d.Archives[0]
	a.Version, a.File, a.SHA256, a.Size = "2.4.72", "httpd-2.4.72.tar.gz", strings.Repeat("72", 32), 0
	d.Archives = append(d.Archives, a)
	return &d.Archives[len(d.Archives)-1]
}

func TestANewerCatalogueAdds(t *testing.T) {
	d := newer(t)
	next(d)
	r, err := ParseOSV([]byte(strings.ReplaceAll(record, "2.4.50", "2.4.71")))
	if err != nil {
		t.Fatal(err)
	}
	d.Advisories = []OSV{r} // those of the program are missing
	d.Supports = []Support{{Component: "openssl", Affected: ">= 3.0, < 3.1", Ends: "2031-01-01"}}
	d.Archives = append(d.Archives, Archive{Component: "nginx", Version: "1.0.0", File: "nginx.tar.gz", SHA256: strings.Repeat("11", 32)})
	d.Archives = d.Archives[1:] // and 2.4.71 is
	s, err := Embedded().Extend(d, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := versions(s.Of("httpd")); got != "2.4.72 2.4.71 2.4.69 2.4.68" {
		t.Errorf("httpd %s", got)
	}
	if len(s.Of("nginx")) != 0 {
		t.Error("a component that this program cannot build was added")
	}
	if a := s.Advisories("httpd", "2.4.71", nil); len(a) != 1 || a[0].ID != "CVE-2026-1000" {
		t.Errorf("advisories %+v", a)
	}
	if a := s.Advisories("httpd", "2.4.68", []string{"http2"}); len(a) != 2 {
		t.Errorf("an advisory of the program was forgotten: %+v", a)
	}
	if got := s.SupportedUntil("openssl", "3.0.22"); got != "2031-01-01" {
		t.Errorf("support ends %s", got)
	}
	if got := s.SupportedUntil("openssl", "3.5.9"); got != "2030-04-08" {
		t.Errorf("support of another branch ends %s", got)
	}
	if !s.Date().Equal(d.Date) {
		t.Errorf("date %s", s.Date())
	}
	warnings, err := Embedded().Extend(d, true)
	if err != nil || versions(warnings.Of("httpd")) != "2.4.71 2.4.69 2.4.68" || len(warnings.Advisories("httpd", "2.4.71", nil)) != 1 || !warnings.Date().Equal(Embedded().Date()) {
		t.Errorf("only warnings: %v, %v", versions(warnings.Of("httpd")), err)
	}
}

// An advisory that the program knows is neither narrowed nor withdrawn, and one with the
// same name is reported once.
func TestANewerCatalogueDoesNotHideVulnerabilities(t *testing.T) {
	d := newer(t)
	when := d.Date
	for i := range d.Advisories {
		d.Advisories[i].Withdrawn = &when
	}
	s, err := Embedded().Extend(d, false)
	if err != nil || len(s.Advisories("httpd", "2.4.68", []string{"http2"})) != 2 {
		t.Errorf("withdrawn advisories are forgotten: %v", err)
	}
	d = newer(t)
	d.Advisories[0].Affected[0].Specific.Feature = ""
	if s, err = Embedded().Extend(d, false); err != nil || len(s.Advisories("httpd", "2.4.68", []string{"http2"})) != 2 || len(s.Advisories("httpd", "2.4.70", nil)) != 1 {
		t.Errorf("a wider advisory: %v, %v", s.Advisories("httpd", "2.4.70", nil), err)
	}
}

func TestANewerCatalogueMustNotContradict(t *testing.T) {
	for name, change := range map[string]func(d *Document){
		"another hash":            func(d *Document) { d.Archives[0].SHA256 = strings.Repeat("ab", 32) },
		"another hash and file":   func(d *Document) { d.Archives[0].SHA256, d.Archives[0].File = strings.Repeat("ab", 32), "x.tar.gz" },
		"second archive":          func(d *Document) { next(d).Version = "2.4.71" },
		"hash of another version": func(d *Document) { d.Archives[0].Version, d.Archives[0].File = "2.4.72", "x.tar.gz" },
		"file of another version": func(d *Document) { f := d.Archives[0].File; d.Archives = d.Archives[1:]; next(d).File = f },
		"another size":            func(d *Document) { d.Archives[0].Size++ },
		"another spelling":        func(d *Document) { next(d).Version = "2.4.72.0" },
	} {
		d := newer(t)
		change(d)
		if s, err := Embedded().Extend(d, false); err == nil || s != nil || fault.ClassOf(err) != fault.Source {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Embedded().Extend(d, true); err == nil {
			t.Errorf("%s: accepted for its warnings", name)
		}
	}
}

func TestDocumentsAreChecked(t *testing.T) {
	good := EmbeddedDocument().Encode()
	if d, err := ParseDocument(good); err != nil || !bytes.Equal(d.Encode(), good) {
		t.Fatalf("what was written is read differently: %v", err)
	}
	for name, change := range map[string][2]string{
		"schema":   {`"schema": 1`, `"schema": 2`},
		"date":     {`"date": "2026-11-29T00:00:00Z"`, `"other": 1`},
		"hash":     {`6b0433674ded`, `6b0433674dEd`},
		"advisory": {`"introduced": "2.4.55"`, `"introduced": "2.4"`},
		"support":  {`2030-04-08`, `some day`},
		"HTML":     {`{`, `<`},
	} {
		text := strings.Replace(string(good), change[0], change[1], 1)
		if text == string(good) {
			t.Errorf("%s: nothing was changed", name)
		}
		if _, err := ParseDocument([]byte(text)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := ParseDocument(good[:len(good)/2]); err == nil {
		t.Error("half a catalogue is accepted")
	}
}

func TestAdopt(t *testing.T) {
	d := newer(t)
	next(d)
	s, err := Embedded().Extend(d, false)
	if err != nil {
		t.Fatal(err)
	}
	Adopt(s)
	t.Cleanup(func() { Adopt(nil) })
	if _, ok := Catalogue().Find("httpd", "2.4.72"); !ok {
		t.Error("the catalogue of this run is not the adopted one")
	}
	Adopt(nil)
	if _, ok := Catalogue().Find("httpd", "2.4.72"); ok {
		t.Error("the embedded catalogue has changed")
	}
}
