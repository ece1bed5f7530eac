package doctor

import (
	"context"
	"time"

	"modwsgi/detect"
	"modwsgi/internal/catalogue"
	"modwsgi/internal/recipe"
)

// advisories looks up known vulnerabilities of the installed versions.
func (e *exam) advisories(context.Context) {
	if e.receipt == nil {
		return
	}
	found := false
	server := e.receipt.HTTPD.Version
	if now := e.sameHTTPD(); now != nil && now.Version != "" {
		server = now.Version // it may have been upgraded since the build
	}
	for _, c := range []struct {
		component, version string
		features           []string
	}{{"httpd", server, e.receipt.HTTPD.Features}, {"mod_wsgi", e.receipt.Module.Version, nil}} {
		for _, a := range recipe.Catalogue().Advisories(c.component, c.version, c.features) {
			found = true
			fix := e.modwsgi("install --upgrade")
			severity := Warning
			if c.component == "httpd" && e.receipt.HTTPD.Provenance != string(detect.Bundled) {
				// Distributions fix vulnerabilities without a new version number.
				fix, severity = "upgrade the distribution's httpd, which may have the fix under the old version number", Note
			}
			e.find(severity, fix, "%s %s: %s (%s): %s", c.component, c.version, a.ID, a.Severity, a.Summary).because("affected", "advisories", a.Affected)
		}
	}
	if !found {
		e.find(OK, "", "no known advisory for httpd %s and mod_wsgi %s", server, e.receipt.Module.Version)
	}
}

// catalogue checks what the advisories are known from.
func (e *exam) catalogue(context.Context) {
	s := e.Catalogue
	if s == nil {
		return
	}
	bad := false
	for _, l := range s.Local {
		if l.Problem != "" {
			bad = true
			e.find(Warning, l.Hint, "%s", l.Problem).because("catalogue", l.Path, l.State)
		}
	}
	if old := s.Old(e.Now); old != "" {
		bad = true
		e.find(Warning, catalogue.OldHint, "%s", old).because("catalogue", "date", s.Date.UTC().Format(time.DateOnly))
	}
	if !bad {
		e.find(OK, "", "the catalogue of versions and advisories is of %s", s.Date.UTC().Format(time.DateOnly))
	}
}
