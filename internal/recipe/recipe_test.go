package recipe

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"modwsgi/internal/fault"
)

func versions(list []Archive) string {
	var v []string
	for _, a := range list {
		v = append(v, a.Version)
	}
	return strings.Join(v, " ")
}

func TestCatalogueIsSoundAndNewestFirst(t *testing.T) {
	s := Catalogue()
	for component, want := range map[string]string{
		"httpd":     "2.4.71 2.4.69 2.4.68",
		"apr":       "1.7.6 1.7.5",
		"apr-util":  "1.6.4 1.6.3",
		"pcre2":     "10.49 10.46 10.42",
		"expat":     "2.9.0 2.5.0",
		"mod_wsgi":  "6.0.5 5.0.2 4.9.4",
		"nghttp2":   "1.70.0 1.52.0",
		"openssl":   "3.5.9 3.5.7 3.0.22",
		"zlib":      "1.3.2 1.3.2 1.3.1",
		"brotli":    "1.2.0 1.2.0",
		"libxml2":   "2.15.4 2.15.4",
		"libxcrypt": "4.5.2 4.5.1",
		"nginx":     "",
	} {
		if got := versions(s.Of(component)); got != want {
			t.Errorf("Of(%q) = %q, want %q", component, got, want)
		}
	}
	a, ok := s.Find("httpd", "2.4.68")
	if !ok || a.SignedBy != "65B2D44FE74BD5E3DE3AC3F082781DE46D5954FA" || a.Debian == nil || a.Trust != Pinned {
		t.Errorf("Find(httpd 2.4.68) = %+v, %v", a, ok)
	}
	s.Of("httpd")[0].Version = "changed"
	if s.Of("httpd")[0].Version == "changed" {
		t.Error("a caller changed the catalogue")
	}
}

func TestMatch(t *testing.T) {
	for _, tt := range []struct{ component, constraint, want string }{
		{"mod_wsgi", "~> 5.0", "5.0.2"},
		{"mod_wsgi", "~>5.0", "5.0.2"},
		{"mod_wsgi", "< 6", "5.0.2 4.9.4"},
		{"mod_wsgi", "", "6.0.5 5.0.2 4.9.4"},
		{"mod_wsgi", "  ", "6.0.5 5.0.2 4.9.4"},
		{"httpd", ">= 2.4, < 2.5", "2.4.71 2.4.69 2.4.68"},
		{"httpd", ">= 2.4, < 2.4.70", "2.4.69 2.4.68"},
		{"httpd", "2.4.68", "2.4.68"},
		{"httpd", "= 2.4.68", "2.4.68"},
		{"httpd", "!= 2.4.71", "2.4.69 2.4.68"},
		{"httpd", "2.4.99", ""},
		{"httpd", "2.4.68rc1", ""},
		{"nginx", ">= 1", ""},
	} {
		got, err := Catalogue().Match(tt.component, tt.constraint)
		if err != nil || versions(got) != tt.want {
			t.Errorf("Match(%s, %q) = %q, %v, want %q", tt.component, tt.constraint, versions(got), err, tt.want)
		}
	}
}

func TestMatchOfABadConstraintHasAHint(t *testing.T) {
	for _, bad := range []string{"latest", "=> 5", "5.0.*", "^5", "> 5 < 6", ",", ">= 2.4,", "99999999999999999999", "\x00", "2", "2.4.6.8.1", ">= 99999999999999999999"} {
		got, err := Catalogue().Match("mod_wsgi", bad)
		if err == nil || got != nil {
			t.Errorf("Match(%q) = %v, %v, want an error", bad, got, err)
			continue
		}
		if fault.ClassOf(err) != fault.Usage || !strings.Contains(fault.HintOf(err), "~> 5.0") {
			t.Errorf("Match(%q): class %v, hint %q", bad, fault.ClassOf(err), fault.HintOf(err))
		}
	}
}

func TestExact(t *testing.T) {
	for in, want := range map[string]string{
		"2.4.72": "2.4.72", " = 2.4.72 ": "2.4.72", "=2.4.72": "2.4.72", "v6.1.1": "", "6.01.1": "", "6.1.1+x": "", "6.1.1-rc1": "", "６.1.1": "", "6.1.1rc1": "6.1.1rc1",
		"~> 5.0": "", ">= 2": "", "": "", "2.4.72, 2.4.73": "", "../../x": "", "2.4.72/..": "",
	} {
		if got, ok := Exact(in); got != want || ok != (want != "") {
			t.Errorf("Exact(%q) = %q, %v", in, got, ok)
		}
	}
}

func TestAdmits(t *testing.T) {
	a, _ := Catalogue().Find("mod_wsgi", "6.0.5")
	for version, want := range map[string]bool{
		"3.9.18": false, "3.9": false, "3.10": true, "3.10.0": true, "3.13.0rc1": true, "3.12.1+": true,
		"3.14.0a1+dev": true, "2.7.18": false, "3.9.0rc2": false,
	} {
		if got, err := a.Admits("python", version); err != nil || got != want {
			t.Errorf("Admits(python, %q) = %v, %v, want %v", version, got, err, want)
		}
	}
	if ok, err := a.Admits("perl", "nonsense"); !ok || err != nil {
		t.Errorf("Admits(perl) = %v, %v", ok, err)
	}
	for _, bad := range []string{"", "unknown", "-1", "99999999999999999999.1"} {
		if ok, err := a.Admits("python", bad); ok || err == nil {
			t.Errorf("Admits(python, %q) = %v, %v, want an error", bad, ok, err)
		}
	}
}

func TestAdvisories(t *testing.T) {
	const race, useAfterFree = "CVE-2026-119618", "CVE-2026-57941"
	http2 := []string{"tls", "http2"}
	for _, tt := range []struct {
		component, version string
		features           []string
		want               string
	}{
		{"httpd", "2.4.54", http2, useAfterFree},
		{"httpd", "2.4.55", http2, race + " " + useAfterFree},
		{"httpd", "2.4.68", http2, race + " " + useAfterFree},
		{"httpd", "2.4.69", http2, race},
		{"httpd", "2.4.70", http2, race},
		{"httpd", "2.4.70-dev", http2, race},
		{"httpd", "2.4.71", http2, ""},
		{"httpd", "2.4.72", http2, ""},
		{"httpd", "2.5.0", http2, ""},
		{"httpd", "2.4.68", []string{"tls"}, ""},
		{"httpd", "2.4.68", nil, ""},
		{"httpd", "who knows", http2, race + " " + useAfterFree},
		{"mod_wsgi", "5.0.2", http2, ""},
	} {
		var ids []string
		for _, a := range Catalogue().Advisories(tt.component, tt.version, tt.features) {
			ids = append(ids, a.ID)
		}
		if got := strings.Join(ids, " "); got != tt.want {
			t.Errorf("Advisories(%s %s, %v) = %q, want %q", tt.component, tt.version, tt.features, got, tt.want)
		}
	}
}

func TestTrustOrder(t *testing.T) {
	order := []Trust{Pinned, Signed, Published, "hearsay"}
	for i, a := range order {
		for j, b := range order {
			if a.Stronger(b) != (i < j) {
				t.Errorf("%q.Stronger(%q) = %v", a, b, a.Stronger(b))
			}
		}
	}
}

func TestBrokenCatalogueIsRefused(t *testing.T) {
	const good = `[[archive]]
component = "x"
version = "1.0"
file = "x-1.0.tar.gz"
sha256 = "6b0433674ded858d2ac01e95345935ce127d5d287471762f0a7f10f4969cbfe8"
urls = ["https://example.org/x-1.0.tar.gz"]
`
	if err := parse(good, ""); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"twice":               good + good,
		"unknown key":         good + "sha1 = \"\"\n",
		"upper case hash":     strings.Replace(good, "6b0433674ded", "6B0433674DED", 1),
		"short hash":          strings.Replace(good, "cbfe8", "", 1),
		"path in file":        strings.Replace(good, `"x-1.0.tar.gz"`, `"../x-1.0.tar.gz"`, 1),
		"hidden file":         strings.Replace(good, `"x-1.0.tar.gz"`, `".x"`, 1),
		"plain http":          strings.Replace(good, "https:", "http:", 1),
		"no version":          strings.Replace(good, `"1.0"`, `"newest"`, 1),
		"negative size":       good + "size = -1\n",
		"broken requirement":  good + "requires = { python = \"recent\" }\n",
		"debian without name": good + "debian = { source = \"x\", file = \"a/b\" }\n",
	} {
		if err := parse(text, ""); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// parse reads a catalogue without advisories.
func parse(sources, support string) error {
	d, err := ReadDocument(sources, support, fstest.MapFS{})
	if err == nil {
		_, err = d.Set()
	}
	return err
}

// Every release has one spelling. The spelling that was probably meant is shown, and
// never used.
func TestVersionsHaveOneSpelling(t *testing.T) {
	set := Catalogue()
	for _, c := range []struct{ component, version, meant string }{ // meant is "" for a good one, "?" if nothing is shown
		{"mod_wsgi", "6.0.5", ""},
		{"mod_wsgi", "6.1.0rc1", ""},
		{"mod_wsgi", "6.0.5.dev1", ""},
		{"mod_wsgi", "6.0.5.post2", ""},
		{"pcre2", "10.47", ""},
		{"httpd", "2.4.0", ""},
		{"mod_wsgi", "6.0.5+x", "6.0.5"},
		{"mod_wsgi", "v6.0.5", "6.0.5"},
		{"mod_wsgi", "V6.0.5", "6.0.5"},
		{"mod_wsgi", "6.00.5", "6.0.5"},
		{"mod_wsgi", "06.0.5", "6.0.5"},
		{"mod_wsgi", "6.0.05", "6.0.5"},
		{"mod_wsgi", "6.0.5.0", "6.0.5"},
		{"mod_wsgi", "6.0.5.0.0", "6.0.5"},
		{"mod_wsgi", " 6.0.5", "6.0.5"},
		{"mod_wsgi", "6.0.5 ", "6.0.5"},
		{"mod_wsgi", "6.0.5\n", "6.0.5"},
		{"mod_wsgi", "6.0.5-rc1", "6.0.5rc1"},
		{"mod_wsgi", "6.0.5.rc.01", "6.0.5rc1"},
		{"mod_wsgi", "6.0.5-alpha", "6.0.5a0"},
		{"mod_wsgi", "6.0.5RC1", "6.0.5rc1"},
		{"mod_wsgi", "6.0.5-", "?"},
		{"mod_wsgi", "6.0.5-1", "?"},
		{"mod_wsgi", "6.0.5~1", "?"},
		{"mod_wsgi", "1!6.0.5", "?"},
		{"mod_wsgi", "6.0", "?"},
		{"mod_wsgi", "6", "?"},
		{"mod_wsgi", "6.0.5.1", "?"},
		{"mod_wsgi", "", "?"},
		{"mod_wsgi", "6..5", "?"},
		{"mod_wsgi", ".6.0.5", "?"},
		{"mod_wsgi", "6.0.5.", "?"},
		{"mod_wsgi", "٦.0.5", "?"},
		{"mod_wsgi", "6.0.５", "?"},
		{"mod_wsgi", "6.0.5\u200b", "?"},
		{"mod_wsgi", "6.0.0x5", "?"},
		{"mod_wsgi", "6.0.9999999999", "?"},
		{"pcre2", "10.42.0", "10.42"},
		{"pcre2", "10", "?"},
		{"httpd", "2.4.068", "2.4.68"},
		{"httpd", "2.4.68-dev", "?"},
	} {
		for what, err := range map[string]error{
			"version": set.CheckVersion(c.component, c.version), "constraint": set.CheckConstraint(c.component, c.version+map[bool]string{true: "x"}[c.version == ""]),
		} {
			if c.meant == "" {
				if err != nil {
					t.Errorf("%s %s %q: %v", what, c.component, c.version, err)
				}
				continue
			}
			shown := strings.HasPrefix(fault.HintOf(err), "write "+c.meant)
			if fault.ClassOf(err) != fault.Usage || fault.HintOf(err) == "" || c.meant != "?" && !shown {
				t.Errorf("%s %s %q: %v, hint %q, want %q", what, c.component, c.version, err, fault.HintOf(err), c.meant)
			}
		}
		if c.meant != "" {
			if all, err := set.Match(c.component, c.version+"x"); err == nil || len(all) > 0 {
				t.Errorf("Match(%q) = %v", c.version, all)
			}
		}
	}
	for _, bad := range []string{">= v6.0.5", "~> 6.00", "= 6.0.5+x", "= 6.0.5.0", "!= 6.0.5-rc1", ">= 6, < 7.0+x", ">= ６", "6.0.5,", "6.0.5, v6.0.5"} {
		if err := set.CheckConstraint("mod_wsgi", bad); fault.ClassOf(err) != fault.Usage || fault.HintOf(err) == "" {
			t.Errorf("CheckConstraint(%q) = %v, hint %q", bad, err, fault.HintOf(err))
		}
	}
	for _, good := range []string{"", "~> 5.0", ">= 2.4, < 2.5", "= 6.0.5", ">=6", "!= 6.0.5, > 5", "> 6.0.0rc1"} {
		if err := set.CheckConstraint("mod_wsgi", good); err != nil {
			t.Errorf("CheckConstraint(%q) = %v", good, err)
		}
	}
}

// Advisories apply to a version whatever suffix it has.
func TestSuffixesDoNotEscapeAdvisories(t *testing.T) {
	for _, version := range []string{"2.4.68", "2.4.68rc1", "2.4.68.post1", "2.4.68.dev3", "2.4.068", "v2.4.68", "2.4.68.0", "2.4.68+x"} {
		if got := Catalogue().Advisories("httpd", version, []string{"tls", "http2"}); len(got) != 2 {
			t.Errorf("%s: %d advisories", version, len(got))
		}
	}
}

func TestContradicts(t *testing.T) {
	set := Catalogue()
	known, ok := set.Find("httpd", "2.4.68")
	if !ok {
		t.Fatal("no httpd 2.4.68")
	}
	other := strings.Repeat("ab", 32)
	for _, c := range []struct{ component, version, sha256, want string }{
		{"httpd", "2.4.68", known.SHA256, ""},
		{"httpd", "2.4.99", other, ""},
		{"httpd", "2.4.68", other, known.SHA256},
		{"httpd", "2.4.99", known.SHA256, "belongs to httpd 2.4.68"},
		{"mod_wsgi", "7.0.0", known.SHA256, "belongs to httpd 2.4.68"},
	} {
		err := set.Contradicts(c.component, c.version, c.sha256)
		if c.want == "" && err != nil || c.want != "" && (fault.ClassOf(err) != fault.Usage || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// A branch that upstream no longer supports is known by its version, also by that of a
// distribution's package.
func TestEnded(t *testing.T) {
	at := func(day string) time.Time {
		d, err := time.Parse(time.DateOnly, day)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, c := range []struct{ component, version, day, want string }{
		{"openssl", "3.0.22", "2026-09-07", ""},
		{"openssl", "3.0.22", "2026-09-08", "2026-09-07"},
		{"openssl", "3.0.22-1~deb12u2", "2026-11-29", "2026-09-07"},
		{"openssl", "1.1.1w", "2026-11-29", "2023-09-11"},
		{"openssl", "3.5.9", "2026-11-29", ""},
		{"openssl", "3.5.9", "2030-04-09", "2030-04-08"},
		{"openssl", "nonsense", "2026-11-29", ""},
		{"zlib", "1.2.11", "2026-11-29", ""},
	} {
		if got := Catalogue().Ended(c.component, c.version, at(c.day)); got != c.want {
			t.Errorf("%s %s on %s: %q, want %q", c.component, c.version, c.day, got, c.want)
		}
	}
}

// Two archives of one version are alternatives: upstream's comes first, and neither
// contradicts the catalogue.
func TestTwoArchivesOfOneVersion(t *testing.T) {
	s := Catalogue()
	all, err := s.Match("zlib", "1.3.2")
	if err != nil || len(all) != 2 || all[0].File != "zlib-1.3.2.tar.gz" || all[1].Debian == nil {
		t.Fatalf("%+v, %v", all, err)
	}
	for _, a := range all {
		if err := s.Contradicts("zlib", "1.3.2", a.SHA256); err != nil {
			t.Error(err)
		}
	}
	if err := s.Contradicts("zlib", "1.3.2", strings.Repeat("ab", 32)); err == nil {
		t.Error("another hash is accepted")
	}
	if err := s.Contradicts("zlib", "1.3.1", all[1].SHA256); err == nil {
		t.Error("the hash of another version is accepted")
	}
	for name, text := range map[string]string{
		"hash twice":     sourcesTOML + "\n[[archive]]\ncomponent = \"zlib\"\nversion = \"1.3.1\"\nfile = \"x.tar.gz\"\nsha256 = \"" + all[1].SHA256 + "\"\n",
		"bad support":    "",
		"no such ending": "",
	} {
		support := supportTOML
		switch name {
		case "bad support":
			support += "\n[[support]]\ncomponent = \"zlib\"\naffected = \"< 1\"\nends = \"soon\"\n"
		case "no such ending":
			support += "\n[[support]]\naffected = \"< 1\"\nends = \"2026-01-01\"\n"
		}
		if text == "" {
			text = sourcesTOML
		}
		if err := parse(text, support); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
