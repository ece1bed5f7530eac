package refresh

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/internal/recipe"
)

func names(r *Report) string {
	var out []string
	for _, c := range r.Changes {
		if c.Archive != nil {
			out = append(out, c.Archive.String())
		} else {
			out = append(out, c.Record.ID)
		}
	}
	return strings.Join(out, ", ")
}

func TestRefresh(t *testing.T) {
	u := newUpstream(t)
	r, err := u.refresh()
	u.ok(err)
	got := names(r)
	for _, want := range []string{"httpd 2.4.72", "mod_wsgi 6.1.1", "pcre2 10.50", "openssl 3.5.10", "CVE-2026-90001"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is missing in %s", want, got)
		}
	}
	if len(r.Changes) != 5 {
		t.Errorf("%s", got)
	}
	var b bytes.Buffer
	r.Print(&b)
	for _, want := range []string{"  signature by ", "Debian sid, " + u.url, "SHA256SUMS", `+sha256 = "` + sum(archiveOf("httpd2.4.72")), "check it", "+[[archive]]\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
	now := time.Now()
	u.ok(r.Write(u.dir, now))
	d, err := Read(u.dir)
	u.ok(err)
	set, err := d.Set()
	u.ok(err)
	httpd := set.Of("httpd")[0]
	if httpd.Version != "2.4.72" || httpd.SHA256 != sum(archiveOf("httpd2.4.72")) || httpd.SignedBy == "" || httpd.Debian == nil || httpd.Size == 0 || !d.Date.Equal(now.UTC().Truncate(time.Second)) {
		t.Errorf("%+v, %s", httpd, d.Date)
	}
	if a := set.Advisories("httpd", "2.4.71", []string{"http2"}); len(a) != 1 || a[0].Severity != "moderate" || len(set.Advisories("httpd", "2.4.72", []string{"http2"})) != 0 || len(set.Advisories("httpd", "2.4.71", nil)) != 0 {
		t.Errorf("%+v", a)
	}
	if text, err := os.ReadFile(filepath.Join(u.dir, "sources.toml")); err != nil || !strings.Contains(string(text), "# a comment\n") || !strings.Contains(string(text), "# signature by "+httpd.SignedBy) {
		t.Errorf("%s", text)
	}
	// Afterwards there is nothing new.
	if r, err = u.refresh(); err != nil || len(r.Changes) != 0 {
		t.Errorf("%s, %v", names(r), err)
	}
}

// Each upstream misbehaves in its own way, and nothing is written.
func TestOddUpstreams(t *testing.T) {
	const httpd = "/dist/httpd/httpd-2.4.72.tar.gz"
	page := []byte("<!doctype html><title>Sign in</title>")
	release := func(u *upstream, field string, value any) {
		u.pypi["releases"].(map[string]any)["6.1.1"].([]any)[0].(map[string]any)[field] = value
	}
	for name, tt := range map[string]struct {
		spoil func(u *upstream)
		want  string
	}{
		"wrong digest":    {func(u *upstream) { u.files[httpd+".sha256"] = []byte(strings.Repeat("0", 64)) }, "httpd 2.4.72"},
		"wrong signature": {func(u *upstream) { u.files[httpd+".asc"] = sign(u.T, u.key, []byte("x"), time.Now()) }, "signature"},
		"no signature":    {func(u *upstream) { delete(u.files, httpd+".asc") }, "no embedded release key"},
		"unknown key": {func(u *upstream) {
			u.files[httpd+".asc"] = sign(u.T, newKey(u.T, "x"), archiveOf("httpd2.4.72"), time.Now())
		}, "by a key that is not among the embedded"},
		"revoked key": {func(u *upstream) { u.ok(u.key.Revoke(0, "stolen", nil)) }, "no embedded release key"},
		"signature from the future": {func(u *upstream) {
			u.files[httpd+".asc"] = sign(u.T, u.key, archiveOf("httpd2.4.72"), time.Now().Add(100*time.Hour))
		}, "httpd 2.4.72"},
		"page for a signature": {func(u *upstream) { u.files[httpd+".asc"] = page }, "no embedded release key"},
		"page for a digest":    {func(u *upstream) { u.files[httpd+".sha256"] = page }, "has no SHA-256"},
		"another archive":      {func(u *upstream) { u.files[httpd] = []byte("other") }, "httpd 2.4.72"},
		"downgrade":            {func(u *upstream) { u.listings("httpd-2.4.70.tar.gz", "apr-1.7.6.tar.bz2", "apr-util-1.6.4.tar.bz2") }, "lists neither httpd 2.4.71 nor a newer"},
		"page for a listing":   {func(u *upstream) { u.files["/dist/httpd/"] = page }, "not a listing"},
		"no listing":           {func(u *upstream) { delete(u.files, "/dist/apr/") }, "404"},
		"digest of a known one changed": {func(u *upstream) {
			u.listings("httpd-2.4.71.tar.gz", "apr-1.7.6.tar.bz2", "apr-util-1.6.4.tar.bz2")
			u.files["/dist/httpd/httpd-2.4.71.tar.gz.sha256"] = []byte(strings.Repeat("1", 64))
		}, "another digest than the catalogue"},
		"index is a page":    {func(u *upstream) { u.files["/pypi/mod_wsgi/json"] = page }, "a page in HTML"},
		"index is truncated": {func(u *upstream) { u.files["/pypi/mod_wsgi/json"] = u.files["/pypi/mod_wsgi/json"][:100] }, "read "},
		"index goes back":    {func(u *upstream) { u.pypi["info"].(map[string]any)["version"] = "5.0.2"; u.index() }, "names \"5.0.2\" as the newest"},
		"a version vanished": {func(u *upstream) { delete(u.pypi["releases"].(map[string]any), "6.0.5"); u.index() }, "no longer has it"},
		"a known version is withdrawn": {func(u *upstream) {
			u.pypi["releases"].(map[string]any)["6.0.5"] = []any{map[string]any{"packagetype": "sdist", "yanked": true}}
			u.index()
		}, "withdrawn"},
		"uploaded in the future": {func(u *upstream) {
			release(u, "upload_time_iso_8601", time.Now().Add(48*time.Hour).Format(time.RFC3339))
			u.index()
		}, "in the future"},
		"two answers differ": {func(u *upstream) {
			old := u.files["/pypi/mod_wsgi/6.1.1/json"]
			release(u, "digests", map[string]string{"sha256": strings.Repeat("2", 64)})
			u.index()
			u.files["/pypi/mod_wsgi/6.1.1/json"] = old
		}, "two answers"},
		"other checksums": {func(u *upstream) {
			u.files["/releases/mod_wsgi-6.1.1/SHA256SUMS"] = []byte(strings.Repeat("3", 64) + "  mod_wsgi-6.1.1.tar.gz\n")
		}, "but the package index has"},
		"checksums without the file": {func(u *upstream) { u.files["/releases/mod_wsgi-6.1.1/SHA256SUMS"] = nil }, "but the package index has"},
		"no checksums":               {func(u *upstream) { delete(u.files, "/releases/mod_wsgi-6.1.1/SHA256SUMS") }, "404"},
		"another sdist":              {func(u *upstream) { u.files["/packages/mod_wsgi-6.1.1.tar.gz"] = []byte("x") }, "mod_wsgi 6.1.1"},
		"Debian: unknown key":        {func(u *upstream) { u.archive = newKey(u.T, "x") }, "verify InRelease"},
		"Debian: from the future":    {func(u *upstream) { u.date = time.Now().Add(72 * time.Hour) }, "dated"},
		"Debian: page":               {func(u *upstream) { u.files["/debian/dists/sid/InRelease"] = page }, "verify InRelease"},
		"Debian: another index": {func(u *upstream) {
			u.files["/debian/dists/sid/main/source/Sources.gz"] = []byte("x")
			u.debian()
			for n := range u.files {
				if strings.Contains(n, "by-hash") {
					u.files[n] = []byte("x")
				}
			}
		}, "source index of Debian"},
		"Debian: hash of a known one": {func(u *upstream) { u.sources["pcre2"][0] = "pcre2_10.49.orig.tar.gz " + strings.Repeat("4", 64) }, "but the catalogue has"},
		"Debian and upstream differ":  {func(u *upstream) { u.sources["apache2"][1] = "apache2_2.4.72.orig.tar.gz " + strings.Repeat("5", 64) }, "upstream has sha256"},
		"library differs from Debian": {func(u *upstream) { u.files["/dist/pcre2/pcre2-10.50.tar.gz"] = archiveOf("pcre210.51") }, "does not confirm"},
		"library is not at upstream":  {func(u *upstream) { delete(u.files, "/dist/pcre2/pcre2-10.50.tar.gz") }, "does not confirm"},
		"openssl is not signed":       {func(u *upstream) { delete(u.files, "/dist/openssl/openssl-3.5.10.tar.gz.asc") }, "openssl 3.5.10: no embedded release key"},
		"openssl has a wrong signature": {func(u *upstream) {
			u.files["/dist/openssl/openssl-3.5.10.tar.gz.asc"] = sign(u.T, u.key, []byte("x"), time.Now())
		}, "openssl 3.5.10"},
		"Debian: package vanished": {func(u *upstream) { delete(u.sources, "pcre2") }, "has no source package pcre2"},
		"Debian: unknown to upstream": {func(u *upstream) {
			u.sources["apr"] = append(u.sources["apr"], "apr_1.7.9.orig.tar.bz2 "+strings.Repeat("6", 64))
		}, "which upstream's index lacks"},
		"advisories: page": {func(u *upstream) { u.files["/security/vulnerabilities_24.html"] = page }, "not the list"},
		"advisories: truncated": {func(u *upstream) {
			f := u.files["/security/vulnerabilities_24.html"]
			u.files["/security/vulnerabilities_24.html"] = f[:len(f)-10]
		}, "truncated"},
		"advisories: no record":          {func(u *upstream) { delete(u.files, "/security/json/CVE-2026-90001.json") }, "404"},
		"advisories: another record":     {record(`"cveId": "CVE-2026-90001"`, `"cveId": "CVE-2026-90002"`), "it is the record"},
		"advisories: draft":              {record("PUBLISHED", "RESERVED"), "RESERVED"},
		"advisories: descending":         {record(`"2.4.17"`, `"2.6.0"`), "do not ascend"},
		"advisories: not a version":      {record(`"2.4.71"`, `"latest"`), "not a semantic version"},
		"advisories: another status":     {record(`"status": "affected"`, `"status": "unknown"`), "has the status"},
		"advisories: another product":    {record("Apache HTTP Server", "Apache Tomcat"), "not about Apache HTTP Server"},
		"advisories: unknown severity":   {record("moderate", "terrible"), "unknown severity"},
		"advisories: in the future":      {record(lastMonth, time.Now().AddDate(0, 0, 30).Format(time.DateOnly)), "in the future"},
		"advisories: page for a record":  {func(u *upstream) { u.files["/security/json/CVE-2026-90001.json"] = page }, "a page in HTML"},
		"advisories: a known one is not": {func(u *upstream) { u.known("CVE-2026-90000") }, "no longer lists it"},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUpstream(t)
			tt.spoil(u)
			before, err := os.ReadFile(filepath.Join(u.dir, "sources.toml"))
			u.ok(err)
			r, err := u.refresh()
			var odd *Odd
			if r != nil || !errors.As(err, &odd) || !strings.Contains(err.Error(), tt.want) || fault.HintOf(err) == "" {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			after, err := os.ReadFile(filepath.Join(u.dir, "sources.toml"))
			u.ok(err)
			if !bytes.Equal(before, after) {
				t.Error("something was written")
			}
		})
	}
}

// record spoils the record of the vulnerability.
func record(old, with string) func(*upstream) {
	return func(u *upstream) {
		const at = "/security/json/CVE-2026-90001.json"
		if !bytes.Contains(u.files[at], []byte(old)) {
			u.Fatalf("the record does not contain %s", old)
		}
		u.files[at] = bytes.ReplaceAll(u.files[at], []byte(old), []byte(with))
	}
}

// known adds an advisory to the catalogue.
func (u *upstream) known(id string) {
	r := recipe.OSV{
		SchemaVersion: recipe.OSVVersion, ID: id, Modified: time.Now().UTC(), Summary: "known",
		Affected: []recipe.OSVAffected{{Ranges: []recipe.OSVRange{{Type: "SEMVER", Events: []recipe.OSVEvent{{Introduced: "0"}, {Fixed: "2.4.70"}}}}, Specific: recipe.OSVPart{Component: "httpd"}}},
	}
	u.write("advisories/"+id+".json", string(r.Encode()))
}

// One item can be left out by name.
func TestSkip(t *testing.T) {
	u := newUpstream(t)
	delete(u.files, "/dist/httpd/httpd-2.4.72.tar.gz.asc")
	record(`"2.4.17"`, `"2.6.0"`)(u)
	u.skip = []string{"httpd 2.4.72", "CVE-2026-90001"}
	r, err := u.refresh()
	u.ok(err)
	if got := names(r); strings.Contains(got, "httpd") || strings.Contains(got, "CVE") || !strings.Contains(strings.Join(r.Remarks, " "), "httpd 2.4.72 is left out") {
		t.Errorf("%s; %v", got, r.Remarks)
	}
}

func TestOtherSeriesAndRepackedArchivesAreRemarks(t *testing.T) {
	u := newUpstream(t)
	u.listings("httpd-2.4.72.tar.gz", "httpd-2.6.0.tar.gz", "apr-1.7.6.tar.bz2", "apr-util-1.6.4.tar.bz2")
	u.sources["pcre2"] = append(u.sources["pcre2"], "pcre2_10.60+dfsg.orig.tar.gz "+strings.Repeat("7", 64))
	r, err := u.refresh()
	u.ok(err)
	all := strings.Join(r.Remarks, "\n")
	if !strings.Contains(all, "httpd 2.6.0 is of another series") || !strings.Contains(all, "pcre2_10.60+dfsg") || strings.Contains(names(r), "10.60") {
		t.Errorf("%s\n%s", names(r), all)
	}
}
