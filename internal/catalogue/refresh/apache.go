package refresh

import (
	"context"
	"regexp"
	"strings"

	"modwsgi/internal/recipe"
)

// apache reads the listing of a folder of Apache's dist area, which has the current
// releases, and the digest and signature beside each new archive
// (https://infra.apache.org/release-distribution.html).
func (r *run) apache(ctx context.Context, component string) {
	known := r.set.Of(component)
	if len(known) == 0 {
		return
	}
	folder, ext := "httpd", ".tar.gz"
	if component != "httpd" {
		folder, ext = "apr", ".tar.bz2"
	}
	at := r.Apache + "/" + folder + "/"
	data, err := r.get(ctx, at, maxListing, true)
	if err != nil {
		r.oddf("%s: %w", component, err)
		return
	}
	current := false
	form := regexp.MustCompile(`href="` + regexp.QuoteMeta(component) + `-([0-9.]+)` + regexp.QuoteMeta(ext) + `"`)
	for _, m := range form.FindAllStringSubmatch(string(data), -1) {
		version := m[1]
		if version == known[0].Version {
			current = true
			r.samePublished(ctx, known[0], at+known[0].File+".sha256")
		}
		if newer, err := recipe.Satisfies("> "+known[0].Version, version); err == nil && newer {
			current = true
		}
		if r.newer(component, version) && r.added(component, version) == nil {
			r.signed(ctx, component, version)
		}
	}
	if !current {
		r.oddf("%s lists neither %s nor a newer version: it is out of date, truncated, or not a listing", at, known[0])
	}
}

// samePublished compares the published digest of a known archive.
func (r *run) samePublished(ctx context.Context, a recipe.Archive, at string) {
	data, err := r.get(ctx, at, 4<<10, false)
	switch {
	case err != nil:
		r.oddf("%s: %w", a, err)
	case !strings.Contains(strings.ToLower(string(data)), a.SHA256):
		r.oddf("%s: %s has another digest than the catalogue's %s", a, at, a.SHA256)
	}
}

// signed adds a version whose archive is signed by an embedded release key.
func (r *run) signed(ctx context.Context, component, version string) {
	a, trust, err := r.Fetcher.Resolve(ctx, component, version)
	if err != nil {
		r.oddf("%s %s: %w", component, version, err)
		return
	}
	if trust != recipe.Signed {
		r.oddf("%s: no embedded release key signed it (%s)", a, a.Signature)
		return
	}
	archived := strings.Replace(a.URLs[0], r.Apache+"/", "https://archive.apache.org/dist/", 1)
	evidence := []string{"sha256: " + a.URLs[0] + ".sha256", "signature by " + a.SignedBy + ": " + a.Signature}
	if archived != a.URLs[0] {
		a.URLs = append(a.URLs, archived) // where it stays after the next release
	}
	r.add(a, evidence...)
}
