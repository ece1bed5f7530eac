package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// showPlan is --dry-run.
func (r *matrixRun) showPlan() error {
	type plan struct {
		Format   string `json:"format"`
		Python   string `json:"python"`
		Version  string `json:"python_version,omitempty"`
		Prefix   string `json:"prefix,omitempty"`
		HTTPD    string `json:"httpd"`
		Platform string `json:"platform"`
	}
	var all []plan
	for _, c := range r.cells {
		one := plan{Format: c.Format, Python: c.Python, HTTPD: c.HTTPD.Name, Platform: c.Platform}
		if py := r.pythons[c.Python]; py != nil && r.staged(c) {
			one.Version, one.Prefix = py.Version, py.Prefix
		}
		all = append(all, one)
	}
	if r.a.flags.json {
		writeJSON(r.a.Stdout, struct {
			Event string `json:"event"`
			Cells []plan `json:"cells"`
		}{"plan", all})
		return r.failure()
	}
	t := tabwriter.NewWriter(r.a.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "format\tPython\thttpd\tplatform\tin")
	for _, c := range all {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", c.Format, strings.TrimSpace(c.Python+" "+c.Version), c.HTTPD, c.Platform, c.Prefix)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(r.a.Stdout, "%d to make, in %s; nothing was built\n", len(all), r.a.abs(r.o.out))
	return r.failure()
}

// show is the summary.
func (r *matrixRun) show(took time.Duration) error {
	for k := range r.made { // what was written beside it is known by now
		for _, a := range r.p.Added() {
			if a.Name == r.made[k].Name {
				r.made[k].Artifact = a
			}
		}
	}
	slices.SortFunc(r.made, func(a, b matrixMade) int { return strings.Compare(a.Name, b.Name) })
	if r.a.flags.json {
		writeJSON(r.a.Stdout, struct {
			Event     string          `json:"event"`
			Directory string          `json:"directory"`
			Artifacts []matrixMade    `json:"artifacts"`
			Failed    []matrixFailure `json:"failed,omitempty"`
			Elapsed   time.Duration   `json:"elapsed_ns"`
		}{"result", r.p.Dir(), r.made, r.failed, took})
		return nil
	}
	w := r.a.Stdout
	_, _ = fmt.Fprintf(w, "\nIn %s, made in %s:\n", r.p.Dir(), seconds(took))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "  artifact\tsize\ttime\tbuild")
	for _, m := range r.made {
		from := "cached"
		if m.Compiled {
			from = "compiled"
		}
		_, _ = fmt.Fprintf(t, "  %s\t%.1f MB\t%s\t%s\n", m.Name, float64(m.Size)/1e6, seconds(m.Elapsed), from)
	}
	for _, f := range r.failed {
		_, _ = fmt.Fprintf(t, "  FAILED: %s\n", f.Cell)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(r.p.Dir(), "simple")); err == nil {
		_, _ = fmt.Fprintf(w, "Next: serve %s with any web server, and pip install --index-url http://HOST/simple/ mod_wsgi\n", r.p.Dir())
	}
	return nil
}
