package sbom

import "testing"

func TestPackageURL(t *testing.T) {
	for want, c := range map[string][4]string{
		"pkg:deb/modwsgi/mod-wsgi-express-py311@5.0.2%2Bhttpd2.4.68-1?arch=amd64": {"deb", "mod-wsgi-express-py311", "5.0.2+httpd2.4.68-1", "amd64"},
		"pkg:rpm/modwsgi/mod_wsgi-py311@5.1.0~rc1-1?arch=x86_64":                  {"rpm", "mod_wsgi-py311", "5.1.0~rc1-1", "x86_64"},
	} {
		if got := PackageURL(c[0], c[1], c[2], c[3]); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
