package recipe

import (
	"strings"
	"testing"
)

func TestAssess(t *testing.T) {
	s := Catalogue()
	text := func(all []Assessment) string {
		var out []string
		for _, a := range all {
			switch {
			case a.Applies:
				out = append(out, a.ID+" applies")
			case a.Present:
				out = append(out, a.ID+" is unreachable")
			default:
				out = append(out, a.ID+" is absent")
			}
		}
		return strings.Join(out, ", ")
	}
	for _, c := range []struct{ component, version, features, want string }{
		{"httpd", "2.4.68", "tls deflate", "CVE-2026-119618 is absent, CVE-2026-57941 is absent"},
		{"httpd", "2.4.68", "tls http2", "CVE-2026-119618 applies, CVE-2026-57941 applies"},
		{"httpd", "2.4.70", "tls", "CVE-2026-119618 is absent"},
		{"httpd", "2.4.71", "tls http2", ""},
		{"httpd", "2.4.71", "tls", ""},
		{"httpd", "2.4.68", "", "CVE-2026-119618 applies, CVE-2026-57941 applies"}, // unknown features
		{"openssl", "3.5.9", "", ""},
		{"zlib", "1.3.2", "", ""},
	} {
		if got := text(s.Assess(c.component, c.version, strings.Fields(c.features))); got != c.want {
			t.Errorf("%s %s with %q: got %s, want %s", c.component, c.version, c.features, got, c.want)
		}
	}
	if all := s.Assess("openssl", "3.5.7", nil); len(all) != 10 || !strings.Contains(text(all), "CVE-2026-14457 is unreachable") || !strings.Contains(text(all), "CVE-2026-18798 is absent") {
		t.Errorf("got %s", text(all))
	}
	if a := s.Assess("httpd", "2.4.68", []string{"tls", "deflate"})[0]; a.Reason != "it is in http2, which is not built: the features of this httpd are deflate, tls" {
		t.Errorf("got %q", a.Reason)
	}
	for _, broken := range []string{"[[exempt]]", "x = 1", "=", "[[exempt]]\ncomponent = \"x\"\nids = [\"CVE-1\"]\nreason = \"r\"\naffected = \"some\""} {
		if _, err := parseExemptions(broken); err == nil {
			t.Errorf("%q was accepted", broken)
		}
	}
}
