package refresh

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"modwsgi/internal/recipe"
)

// project is the package index's answer about a project (https://docs.pypi.org/api/json/).
type project struct {
	Info struct {
		Version string `json:"version"`
	} `json:"info"`
	Releases map[string][]struct {
		Kind     string    `json:"packagetype"`
		Filename string    `json:"filename"`
		Uploaded time.Time `json:"upload_time_iso_8601"`
		Yanked   bool      `json:"yanked"`
		Digests  struct {
			SHA256 string `json:"sha256"`
		} `json:"digests"`
	} `json:"releases"`
}

// modWSGI reads the package index and the checksums of mod_wsgi's releases.
func (r *run) modWSGI(ctx context.Context) {
	known := r.set.Of("mod_wsgi")
	if len(known) == 0 {
		return
	}
	at := r.PyPI + "/pypi/mod_wsgi/json"
	data, err := r.get(ctx, at, maxJSON, false)
	if err != nil {
		r.oddf("mod_wsgi: %w", err)
		return
	}
	var p project
	if err := json.Unmarshal(data, &p); err != nil {
		r.oddf("mod_wsgi: read %s: %w", at, err)
		return
	}
	if current, err := recipe.Satisfies(">= "+known[0].Version, p.Info.Version); err != nil || !current {
		r.oddf("mod_wsgi: %s names %.40q as the newest version, but the catalogue has %s", at, p.Info.Version, known[0].Version)
	}
	r.stillThere(known, p, at)
	versions := make([]string, 0, len(p.Releases))
	for v := range p.Releases {
		versions = append(versions, v)
	}
	slices.Sort(versions)
	for _, version := range versions {
		if !r.newer("mod_wsgi", version) {
			continue
		}
		for _, f := range p.Releases[version] {
			switch {
			case f.Kind != "sdist":
			case f.Yanked:
				r.remark("mod_wsgi %s was withdrawn by its authors", version)
			case f.Uploaded.After(r.Now().Add(time.Hour)):
				r.oddf("mod_wsgi %s: %s says that it was uploaded on %s, in the future", version, at, f.Uploaded.Format(time.DateOnly))
			default:
				r.published(ctx, version, f.Filename, f.Digests.SHA256, at)
			}
		}
	}
}

// stillThere looks for the known versions.
func (r *run) stillThere(known []recipe.Archive, p project, at string) {
	for _, a := range known {
		files, ok := p.Releases[a.Version]
		if r.skipped(a.String()) {
			continue
		}
		if !ok || len(files) == 0 {
			r.oddf("%s: %s no longer has it", a, at)
		}
		for _, f := range files {
			if f.Yanked {
				r.oddf("%s: its authors have withdrawn %s", a, f.Filename)
			}
		}
	}
}

// published adds a version of mod_wsgi on whose hash the package index, in both of its
// answers, the SHA256SUMS of the release, and the archive itself agree.
func (r *run) published(ctx context.Context, version, file, sha256, index string) {
	a, _, err := r.Fetcher.Resolve(ctx, "mod_wsgi", version)
	if err != nil {
		r.oddf("mod_wsgi %s: %w", version, err)
		return
	}
	if a.File != file || a.SHA256 != sha256 {
		r.oddf("%s: two answers of the package index differ: %s %s, and %s %s", a, file, sha256, a.File, a.SHA256)
		return
	}
	sums := fmt.Sprintf("%s/mod_wsgi-%s/SHA256SUMS", r.Releases, version)
	data, err := r.get(ctx, sums, 64<<10, false)
	if err != nil {
		r.oddf("%s: %w", a, err)
		return
	}
	if got := sumOf(string(data), a.File); got != a.SHA256 {
		r.oddf("%s: %s has sha256 %.70q for %s, but the package index has %s", a, sums, got, a.File, a.SHA256)
		return
	}
	got, err := r.Fetcher.Fetch(ctx, a)
	if err != nil {
		r.oddf("%s: %w", a, err)
		return
	}
	a.Trust = got.Trust
	if a.Requires == nil {
		a.Requires = map[string]string{}
	}
	if was := r.set.Of("mod_wsgi")[0].Requires["httpd"]; was != "" {
		a.Requires["httpd"] = was
	}
	if a.Requires["python"] == "" {
		r.remark("%s: the package index does not have the Python versions that it needs", a)
	}
	r.add(a, "sha256: "+index, "sha256: "+sums)
}

// sumOf returns the hash of a file in a list of checksums, "" if it is not there once.
func sumOf(text, file string) string {
	var found string
	for line := range strings.Lines(text) {
		w := strings.Fields(line)
		if len(w) != 2 || strings.TrimPrefix(w[1], "*") != file {
			continue
		}
		if found != "" {
			return ""
		}
		found = strings.ToLower(w[0])
	}
	return found
}
