package packaging

import (
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/recipe"
)

// TestIdentities: every component of the catalogue has the names that scanners know it
// by.
func TestIdentities(t *testing.T) {
	for want, c := range map[string]Component{
		"pkg:generic/apr@1.7.6 cpe:2.3:a:apache:portable_runtime:1.7.6:*:*:*:*:*:*:* cpe:2.3:a:apache:apr:1.7.6:*:*:*:*:*:*:*": SourceComponent("apr", "1.7.6", "", ""),
		"pkg:generic/openssl@3.5.7?checksum=sha256:abc cpe:2.3:a:openssl:openssl:3.5.7:*:*:*:*:*:*:*":                          SourceComponent("openssl", "3.5.7", "", "abc"),
		"pkg:pypi/mod-wsgi@5.0.2 cpe:2.3:a:modwsgi:mod_wsgi:5.0.2:*:*:*:*:*:*:*":                                               SourceComponent("mod_wsgi", "5.0.2", "", ""),
		"pkg:generic/python@3.13.0rc1 cpe:2.3:a:python:python:3.13.0rc1:*:*:*:*:*:*:*":                                         Interpreter("3.13.0rc1"),
		"pkg:generic/python@3.13.5%2B cpe:2.3:a:python:python:3.13.5\\+:*:*:*:*:*:*:*":                                         Interpreter("3.13.5+"),
		"pkg:golang/stdlib@1.26.8 cpe:2.3:a:golang:go:1.26.8:*:*:*:*:*:*:*":                                                    GoModule("stdlib", "1.26.8", ""),
		"pkg:golang/github.com/x/y@v1.0.0%2Bincompatible":                                                                      GoModule("github.com/x/y", "v1.0.0+incompatible", "h1:x"),
		"pkg:generic/libxcrypt@4.5.2": SourceComponent("libxcrypt", "4.5.2", "", ""),
		"pkg:generic/httpd@2.4.68?checksum=sha256:abc&features=brotli%2Ctls cpe:2.3:a:apache:http_server:2.4.68:*:*:*:*:*:*:*": WithFeatures([]Component{SourceComponent("httpd", "2.4.68", "", "abc")}, []string{"tls", "brotli"})[0],
	} {
		if got := strings.Join(append([]string{c.PURL}, c.CPEs...), " "); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	for _, name := range recipe.Catalogue().Components() {
		known, ok := identities[name]
		if !ok || len(known.cpes) == 0 && name != "libxcrypt" {
			t.Errorf("%s has no CPE: list it in identities", name)
		}
	}
}

func TestFeaturesBelongToHTTPD(t *testing.T) {
	before := []Component{SourceComponent("httpd", "2.4.68", "", ""), SourceComponent("zlib", "1.3.2", "", "")}
	after := WithFeatures(before, []string{"http2"})
	if before[0].Features != nil || !slices.Equal(after[0].Features, []string{"http2"}) || after[1].Features != nil {
		t.Errorf("got %+v", after)
	}
}
