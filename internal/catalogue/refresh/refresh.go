// Package refresh looks for new versions and advisories upstream, for the maintainers of
// the catalogue. It reads the indexes that upstream publishes, verifies every signature
// that exists, and edits sources.toml and advisories/ together with the evidence for each
// change. It knows the forms of those indexes, and nothing about how a catalogue is
// published or used.
//
// # Odd means stop
//
// A wrong catalogue is worse than an old one, and whoever reads the diff sees what was
// added, not what was missing. So anything that should not happen is an error, and then
// nothing is written: a signature that is missing, wrong or by an unknown key; a hash
// that differs between two sources, or from the catalogue; a known version that upstream
// no longer has; an index that is older than the catalogue, truncated, or not an index at
// all; a date in the future. The maintainer decides, and can leave out one item by name
// ([Options.Skip]).
//
// # Two sources for each hash
//
// Apache's archives and OpenSSL's need a signature by an embedded release key. mod_wsgi's
// hash must be the same in the package index and in the SHA256SUMS of the release. The
// other libraries come from Debian's signed source index, and upstream's own archive must
// have the same hash.
package refresh

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"modwsgi/internal/debian"
	"modwsgi/internal/fault"
	"modwsgi/internal/fetch"
	"modwsgi/internal/recipe"
)

// Options name the upstreams. Addresses are without a final slash.
type Options struct {
	Dir      string         // with sources.toml, support.toml and advisories/
	Fetcher  *fetch.Fetcher // with ApacheBases and PyPIBase
	Debian   *debian.Archive
	Suite    string   // of Debian: "sid"
	Apache   string   // "https://downloads.apache.org"
	PyPI     string   // "https://pypi.org"
	Releases string   // mod_wsgi's release files
	Security string   // "https://httpd.apache.org/security"
	Skip     []string // items to leave out: "httpd 2.4.72", "CVE-2026-63686"
	Now      func() time.Time
}

// Change is a new archive, or a new or changed advisory.
type Change struct {
	Archive  *recipe.Archive
	Record   *recipe.OSV
	Evidence []string // which source showed what
}

// Report is the result.
type Report struct {
	Changes []Change
	Remarks []string // for the maintainer; nothing is wrong
	odd     []error
}

// Odd is the error for findings that need a decision. Nothing was written.
type Odd struct{ Findings []error }

func (o *Odd) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d odd findings, so nothing was written:", len(o.Findings))
	for _, f := range o.Findings {
		b.WriteString("\n  " + strings.ReplaceAll(f.Error(), "\n", "\n  "))
	}
	return b.String()
}

// Hint returns what to do about it.
func (o *Odd) Hint() string {
	return "find out what happened upstream; -skip leaves out one version or advisory, as in -skip 'httpd 2.4.72'"
}

// run is one refresh.
type run struct {
	Options
	set *recipe.Set
	Report
}

func (r *run) oddf(format string, args ...any) { r.odd = append(r.odd, fmt.Errorf(format, args...)) }

func (r *run) remark(format string, args ...any) {
	r.Remarks = append(r.Remarks, fmt.Sprintf(format, args...))
}

// skipped reports whether an item is left out, and remarks on it.
func (r *run) skipped(item string) bool {
	if !slices.Contains(r.Skip, item) {
		return false
	}
	r.remark("%s is left out as requested", item)
	return true
}

// Run asks every upstream. The error is *Odd if anything needs a decision.
func Run(ctx context.Context, o Options) (*Report, error) {
	d, err := Read(o.Dir)
	if err != nil {
		return nil, err
	}
	set, err := d.Set()
	if err != nil {
		return nil, err
	}
	r := &run{Options: o, set: set}
	for _, component := range []string{"httpd", "apr", "apr-util"} {
		r.apache(ctx, component)
	}
	r.modWSGI(ctx)
	r.debianSources(ctx)
	r.advisories(ctx)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if len(r.odd) > 0 {
		return nil, fault.Wrap(fault.Source, "", &Odd{r.odd})
	}
	return &r.Report, nil
}

// Read reads the catalogue in a directory.
func Read(dir string) (*recipe.Document, error) {
	sources, err := os.ReadFile(filepath.Join(dir, "sources.toml"))
	support, serr := os.ReadFile(filepath.Join(dir, "support.toml"))
	if err = errors.Join(err, serr); err != nil {
		return nil, fault.New(fault.Usage, "name a directory such as internal/recipe", "read the catalogue: %w", err)
	}
	return recipe.ReadDocument(string(sources), string(support), os.DirFS(dir))
}

const (
	maxListing = 1 << 20
	maxJSON    = 32 << 20
)

var release = regexp.MustCompile(`^[0-9]+(\.[0-9]+)+$`)

// sameSeries is how many numbers of a new version must be those of the newest known one.
// Another series is a decision of the maintainer.
var sameSeries = map[string]int{"httpd": 2, "openssl": 2, "apr": 2, "apr-util": 2}

// newer reports whether a version is newer than the newest known one of a component and
// may be added. A newer one of another series is remarked on.
func (r *run) newer(component, version string) bool {
	known := r.set.Of(component)
	if len(known) == 0 || !release.MatchString(version) || r.set.CheckVersion(component, version) != nil {
		return false
	}
	is, err := recipe.Satisfies("> "+known[0].Version, version)
	if err != nil || !is {
		return false
	}
	n := max(1, sameSeries[component])
	was, now := strings.Split(known[0].Version, "."), strings.Split(version, ".")
	if !slices.Equal(was[:min(n, len(was))], now[:min(n, len(now))]) {
		r.remark("%s %s is of another series than %s", component, version, known[0].Version)
		return false
	}
	return !r.skipped(component + " " + version)
}

// add records a new archive. Two upstreams may name the same one, and must agree.
func (r *run) add(a recipe.Archive, evidence ...string) {
	if err := r.set.Contradicts(a.Component, a.Version, a.SHA256); err != nil {
		r.odd = append(r.odd, fmt.Errorf("%s: %w", a, err))
		return
	}
	r.Changes = append(r.Changes, Change{Archive: &a, Evidence: evidence})
}

// added returns the new archive of a version.
func (r *run) added(component, version string) *Change {
	for i := range r.Changes {
		if a := r.Changes[i].Archive; a != nil && a.Component == component && a.Version == version {
			return &r.Changes[i]
		}
	}
	return nil
}

// get returns a document, which must not be a page where something else is expected.
func (r *run) get(ctx context.Context, address string, limit int64, page bool) ([]byte, error) {
	data, err := r.Fetcher.Document(ctx, address, limit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	if start := strings.ToLower(strings.TrimSpace(string(data[:min(len(data), 100)]))); !page && strings.HasPrefix(start, "<") {
		return nil, fmt.Errorf("%s: a page in HTML", address)
	}
	return data, nil
}
