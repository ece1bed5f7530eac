package vex

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"modwsgi/packaging"
)

func TestStatements(t *testing.T) {
	httpd := func(features ...string) []packaging.Component {
		return packaging.WithFeatures([]packaging.Component{packaging.SourceComponent("httpd", "2.4.68", "", "ab"), packaging.SourceComponent("openssl", "3.5.7", "", "cd")}, features)
	}
	p := Product{PURL: "pkg:pypi/mod-wsgi-httpd@2.4.68", SHA256: "00", Time: time.Unix(0, 0), Author: "https://example.org", Tool: "1"}
	read := func(p Product, c []packaging.Component) (d document) {
		data, err := JSON(p, c)
		if err != nil {
			t.Fatal(err)
		}
		if again, _ := JSON(p, c); !bytes.Equal(data, again) {
			t.Error("other bytes when made again")
		}
		if err := json.Unmarshal(data, &d); err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := read(p, httpd("tls"))
	if len(d.Statements) != 12 || d.Author != p.Author || d.Timestamp != "1970-01-01T00:00:00Z" || !strings.HasPrefix(d.ID, "tag:modwsgi,2026:vex/") {
		t.Fatalf("got %+v", d)
	}
	s := d.Statements[0]
	part := "pkg:generic/httpd@2.4.68?checksum=sha256:ab&features=tls"
	if s.Vulnerability.Name != "CVE-2026-119618" || s.Status != "not_affected" || s.Justification != "vulnerable_code_not_present" || !strings.Contains(s.Impact, "http2, which is not built") ||
		len(s.Products) != 2 || s.Products[0].ID != p.PURL || s.Products[0].Subcomponents[0].ID != part || s.Products[1].ID != part {
		t.Errorf("got %+v", s)
	}
	for _, s := range d.Statements[2:] { // of openssl
		if s.Status != "not_affected" || s.Impact == "" || (s.Justification == "vulnerable_code_not_in_execute_path") != (s.Vulnerability.Name == "CVE-2026-14457" || s.Vulnerability.Name == "CVE-2026-75803") {
			t.Errorf("got %+v", s)
		}
	}
	p.PURL = ""
	s = read(p, httpd("tls", "http2")).Statements[0]
	if s.Status != "affected" || s.Justification != "" || !strings.Contains(s.Action, "fixed in 2.4.71") || s.Products[0].ID != "urn:sha256:00" {
		t.Errorf("got %+v", s)
	}
	for _, none := range [][]packaging.Component{nil, {packaging.SourceComponent("httpd", "2.4.71", "", "")}, {{Kind: packaging.FromHost, Name: "openssl", Version: "3.5.7", PURL: "pkg:deb/debian/openssl@3.5.7"}}} {
		if data, err := JSON(p, none); data != nil || err != nil {
			t.Errorf("%+v: %s, %v", none, data, err)
		}
	}
}
