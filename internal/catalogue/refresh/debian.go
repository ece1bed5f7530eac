package refresh

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"modwsgi/internal/fetch"
	"modwsgi/internal/recipe"
)

// debianSources reads the source index of a suite of Debian, which the archive's keys
// have signed. It confirms the hashes of archives that are known or were just found, and
// has the new versions of libraries whose projects have no index.
func (r *run) debianSources(ctx context.Context) {
	wanted, components := map[string]bool{}, map[string]string{}
	for _, name := range r.set.Components() {
		for _, a := range r.set.Of(name) {
			if a.Debian != nil {
				wanted[a.Debian.Source], components[a.Debian.Source] = true, name
			}
		}
	}
	files, signer, err := r.Debian.Sources(ctx, r.Suite, wanted)
	if err != nil {
		r.odd = append(r.odd, err)
		return
	}
	seen := map[string]bool{}
	for _, f := range files {
		seen[f.Source] = true
		r.debianFile(ctx, components[f.Source], f, signer)
	}
	for source := range wanted {
		name := components[source]
		if !seen[source] && name != "cpython" { // whose source packages have the version in their names
			r.oddf("Debian %s has no source package %s, or no upstream archive of it", r.Suite, source)
		}
	}
}

// debianFile compares one upstream archive with the catalogue.
func (r *run) debianFile(ctx context.Context, component string, f fetch.SourceFile, signer string) {
	for _, a := range r.set.Of(component) {
		if a.Debian != nil && a.Debian.File == f.Name {
			if a.SHA256 != f.SHA256 {
				r.oddf("%s: Debian %s has sha256 %s for %s, but the catalogue has %s", a, r.Suite, f.SHA256, f.Name, a.SHA256)
			}
			return
		}
	}
	form := regexp.MustCompile(`^` + regexp.QuoteMeta(f.Source) + `_([^_]+)\.orig(\.tar\.(?:gz|bz2|xz))$`)
	m := form.FindStringSubmatch(f.Name)
	if m == nil {
		return // a further archive of the source package
	}
	version, ext := m[1], m[2]
	evidence := fmt.Sprintf("sha256: Debian %s, %s, signed by %s", r.Suite, f.URL, signer)
	if c := r.added(component, version); c != nil && strings.HasSuffix(c.Archive.File, ext) && component != "mod_wsgi" {
		if c.Archive.SHA256 != f.SHA256 {
			r.oddf("%s: upstream has sha256 %s, but Debian %s has %s", c.Archive, c.Archive.SHA256, r.Suite, f.SHA256)
			return
		}
		c.Archive.Debian, c.Evidence = &recipe.Debian{Source: f.Source, File: f.Name}, append(c.Evidence, evidence)
		return
	}
	base, _, changed := strings.Cut(version, "+")
	switch {
	case !r.newer(component, base):
	case changed:
		r.remark("Debian %s has %s %s, packed by Debian as %s", r.Suite, component, base, f.Name)
	case component == "mod_wsgi" || sameSeries[component] > 0 && component != "openssl":
		if r.added(component, version) == nil {
			r.oddf("Debian %s has %s %s, which upstream's index lacks", r.Suite, component, version)
		}
	default:
		r.library(ctx, component, version, f, evidence)
	}
}

// library adds a version of a library of which Debian's index has the hash, if upstream's
// archive has the same. Its addresses are those of the newest known one with the version
// exchanged.
func (r *run) library(ctx context.Context, component, version string, f fetch.SourceFile, evidence string) {
	was := r.set.Of(component)[0]
	for _, o := range r.set.Of(component) {
		if o.Debian != nil && len(o.URLs) > 0 {
			was = o
			break
		}
	}
	if was.Debian == nil || len(was.URLs) == 0 {
		r.remark("Debian %s has %s %s, but no known archive shows where upstream's would be", r.Suite, component, version)
		return
	}
	exchange := strings.NewReplacer(was.Version, version, strings.ReplaceAll(was.Version, ".", "_"), strings.ReplaceAll(version, ".", "_")).Replace
	a := recipe.Archive{
		Component: component, Version: version, File: exchange(was.File), Size: f.Size, SHA256: f.SHA256, Signature: exchange(was.Signature),
		Debian: &recipe.Debian{Source: f.Source, File: f.Name}, Requires: was.Requires, Trust: recipe.Published,
	}
	for _, u := range was.URLs {
		a.URLs = append(a.URLs, exchange(u))
	}
	got, err := r.Fetcher.Fetch(ctx, a)
	if err != nil {
		r.oddf("%s: upstream's archive does not confirm Debian's hash %s: %w", a, a.SHA256, err)
		return
	}
	all := []string{evidence, "sha256: " + got.From}
	if component == "openssl" && got.Trust != recipe.Signed {
		r.oddf("%s: no embedded release key signed it (%s)", a, a.Signature)
		return
	}
	if a.SignedBy = got.Signer; a.SignedBy != "" {
		all = append(all, "signature by "+a.SignedBy+": "+a.Signature)
	}
	r.add(a, all...)
}
