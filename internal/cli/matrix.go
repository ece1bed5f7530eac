package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"modwsgi/internal/fault"
	"modwsgi/packaging"
	"modwsgi/packaging/matrix"
	"modwsgi/packaging/produce"
)

// packMatrix adds to the command group package the flags for a whole release.
func (a *app) packMatrix(group *cobra.Command) {
	var o packOptions
	var file string
	var dryRun, keepGoing bool
	var shard string
	var only []string
	f := group.Flags()
	f.StringVar(&file, "matrix", "", "file that describes a release: Pythons, httpds, platforms and formats (docs/reference/matrix.md)")
	f.BoolVar(&dryRun, "dry-run", false, "with --matrix: print what would be made, without making it")
	f.BoolVar(&keepGoing, "keep-going", false, "with --matrix: publish the successful artifacts even if others failed")
	f.StringVar(&shard, "shard", "", "with --matrix: the part of the release that this machine makes, as in 3/8 (package merge joins the parts)")
	f.StringArrayVar(&only, "only", nil, "with --matrix: make only what matches, as in python=3.12,platform=linux/arm64 (repeatable)")
	o.flags(f)
	group.Example = "  modwsgi package wheel --python .venv\n  modwsgi package deb --python /usr/bin/python3\n  modwsgi package --matrix release.toml\n  modwsgi package --matrix release.toml --dry-run"
	// For a single format these flags apply; for a release the file has these
	// settings.
	single := append([]string{"python", "from-env", "bundle", "allow-foreign", "httpd-version", "mod-wsgi-version", "with", "without", "libraries", "hardening"}, targetNames...)
	for _, name := range single {
		_ = f.MarkHidden(name)
	}
	group.RunE = func(c *cobra.Command, _ []string) error {
		if file == "" {
			if c.Flags().NFlag() > 0 && !c.Flags().Changed("help") {
				return fault.New(fault.Usage, "name a format, as in modwsgi package wheel, or pass a release description with --matrix", "missing format to package")
			}
			return c.Help()
		}
		for _, name := range single {
			if c.Flags().Changed(name) {
				return fault.New(fault.Usage, "write it into "+file+" (docs/reference/matrix.md)", "--matrix and --%s cannot be combined", name)
			}
		}
		r := &produce.Release{Settings: a.settings(&o), File: a.abs(file), Name: file, KeepGoing: keepGoing, Only: only}
		if c.Flags().Changed("shard") {
			var err error
			if r.Shard, err = matrix.ParseShard(shard); err != nil {
				return err
			}
		}
		return a.makeRelease(c.Context(), r, &o, dryRun)
	}
}

// makeRelease makes a release, or lists what would be made.
func (a *app) makeRelease(ctx context.Context, r *produce.Release, o *packOptions, dryRun bool) error {
	if err := r.Read(); err != nil {
		return err
	}
	if !dryRun {
		if err := o.check(); err != nil {
			return err
		}
	}
	if err := a.begin(&r.Settings); err != nil {
		return err
	}
	if dryRun {
		plan, err := r.Plan(ctx)
		if plan == nil {
			return err
		}
		a.view.close()
		if serr := a.showRelease(plan, r.Out); serr != nil {
			return serr
		}
		return err
	}
	made, err := r.Run(ctx)
	if err != nil {
		return err
	}
	a.view.close()
	if err := a.showReleased(made); err != nil {
		return err
	}
	return made.Err()
}

// showRelease is --dry-run.
func (a *app) showRelease(all []produce.Planned, out string) error {
	if a.flags.json {
		writeJSON(a.Stdout, struct {
			Event string            `json:"event"`
			Cells []produce.Planned `json:"cells"`
		}{"plan", all})
		return nil
	}
	t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "format\tPython\thttpd\tmod_wsgi\tplatform\ttag (at most)\tin")
	for _, c := range all {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			c.Format, strings.TrimSpace(c.Python+" "+c.Version), strings.TrimSpace(c.HTTPD+" "+c.HTTPDVersion), c.ModWSGI, c.Platform, c.Tag, c.Prefix)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(a.Stdout, "%d to make, in %s; nothing was built\n", len(all), out)
	return err
}

// showReleased prints the summary of a release.
func (a *app) showReleased(r *produce.Result) error {
	made := slices.Clone(r.Artifacts)
	sort.SliceStable(made, func(i, j int) bool { return made[i].Name < made[j].Name })
	if a.flags.json {
		writeJSON(a.Stdout, struct {
			Event     string            `json:"event"`
			Directory string            `json:"directory"`
			Artifacts []produce.Made    `json:"artifacts"`
			Failed    []produce.Failure `json:"failed,omitempty"`
			Elapsed   time.Duration     `json:"elapsed_ns"`
		}{"result", r.Dir, made, r.Failed, r.Elapsed})
		return nil
	}
	w := a.Stdout
	if len(made) == 0 {
		_, err := fmt.Fprintf(w, "\nThis part of the release has nothing to make; %s is an empty part for modwsgi package merge\n", r.Dir)
		return err
	}
	_, _ = fmt.Fprintf(w, "\nIn %s, made in %s:\n", r.Dir, seconds(r.Elapsed))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "  artifact\tsize\ttime\tbuild")
	for _, m := range made {
		from := "cached"
		if m.Compiled {
			from = "compiled"
		}
		if m.Unproven != "" {
			from += ", unproven"
		}
		_, _ = fmt.Fprintf(t, "  %s\t%.1f MB\t%s\t%s\n", m.Name, float64(m.Size)/1e6, seconds(m.Elapsed), from)
	}
	for _, f := range r.Failed {
		_, _ = fmt.Fprintf(t, "  FAILED: %s\n", f.Cell)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	var all []packaging.Artifact
	for _, m := range made {
		all = append(all, m.Artifact)
	}
	showUnproven(w, all)
	if _, err := os.Stat(filepath.Join(r.Dir, "simple")); err == nil {
		_, _ = fmt.Fprintf(w, "Next: serve %s with any web server, and pip install --index-url http://HOST/simple/ mod_wsgi\n", r.Dir)
	}
	return nil
}
