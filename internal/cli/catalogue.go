package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"modwsgi/internal/cachedir"
	"modwsgi/internal/catalogue"
	"modwsgi/internal/fault"
	"modwsgi/internal/recipe"
	"modwsgi/internal/run"
)

// useCatalogue chooses the catalogue of this run: the embedded one, or a newer one on this
// machine. It asks no server.
func (a *app) useCatalogue() *catalogue.Status {
	s := catalogue.Load(a.catalogueOptions())
	recipe.Adopt(s.Set)
	return s
}

func (a *app) catalogueOptions() catalogue.Options {
	o := catalogue.Options{Env: a.Env, Now: a.Now}
	if cache := a.cacheAt(); cache != "" {
		o.Private = filepath.Join(cache, cachedir.Catalogue)
	}
	return o
}

func (a *app) catalogueCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "catalogue", Short: "Show and update the catalogue of versions and advisories",
		Long: "catalogue manages the list of the versions that modwsgi can build, with their hashes, known vulnerabilities and\n" +
			"ends of support. Every release of modwsgi contains one. A newer one can only add to it, and must be signed by a\n" +
			"repository that you trust.",
		Args: onlyCommands,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	var dir string
	c.PersistentFlags().StringVar(&dir, "cache-dir", "", "cache directory (default ~/.cache/modwsgi)")
	c.AddCommand(a.catalogueShow(), a.catalogueUpdate())
	return c
}

func (a *app) catalogueShow() *cobra.Command {
	return &cobra.Command{
		Use: "show", Args: noArgs, Short: "Show the catalogue in use, its origin and its contents",
		RunE: func(*cobra.Command, []string) error {
			if err := a.start(); err != nil {
				return err
			}
			a.view.close()
			if a.flags.json {
				writeJSON(a.Stdout, map[string]any{"event": "result", "catalogue": a.catalogueRecord()})
				return nil
			}
			a.showCatalogue(a.Stdout)
			return nil
		},
	}
}

// knownVersion is an archive of the catalogue, for JSON.
type knownVersion struct {
	recipe.Archive
	Added bool `json:"added"` // not in the program
}

type catalogueRecord struct {
	*catalogue.Status
	Current    time.Time         `json:"current"`  // when it was last known to be the newest
	AgeDays    int               `json:"age_days"` // since then
	Old        bool              `json:"old"`
	Versions   []knownVersion    `json:"versions"`
	Advisories []recipe.Advisory `json:"advisories"`
	Supports   []recipe.Support  `json:"supports"`
}

func (a *app) catalogueRecord() catalogueRecord {
	s, now := a.catalogue, a.Now()
	r := catalogueRecord{
		Status: s, Current: s.Current(now), AgeDays: days(now.Sub(s.Current(now))), Old: s.Old(now) != "",
		Versions: []knownVersion{}, Advisories: append([]recipe.Advisory{}, s.Set.AllAdvisories()...), Supports: append([]recipe.Support{}, s.Set.Supports()...),
	}
	for _, name := range s.Set.Components() {
		for _, archive := range s.Set.Of(name) {
			_, embedded := recipe.Embedded().Find(name, archive.Version)
			r.Versions = append(r.Versions, knownVersion{archive, !embedded})
		}
	}
	return r
}

func days(d time.Duration) int { return max(0, int(d.Hours()/24)) }

func (a *app) showCatalogue(w io.Writer) {
	r := a.catalogueRecord()
	_, _ = fmt.Fprintf(w, "catalogue of %s, known to be current %d days ago\n", day(r.Date), r.AgeDays)
	_, _ = fmt.Fprintf(w, "  in the program: %s\n", day(r.Embedded))
	for _, l := range r.Local {
		_, _ = fmt.Fprintf(w, "  %s: %s\n", printable(l.Path), l.State)
		if l.Problem != "" {
			_, _ = fmt.Fprintf(w, "    %s\n    fix: %s\n", printable(l.Problem), printable(l.Hint))
		}
		if !l.Date.IsZero() {
			_, _ = fmt.Fprintf(w, "    version %d of %s, expires on %s\n    from %s, updated %s\n    signed by %s\n",
				l.Version, day(l.Date), day(l.Expires), printable(l.Repository), a.ago(l.Checked), strings.Join(l.Signers, ", "))
		}
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, name := range r.Set.Components() {
		var all []string
		for _, v := range r.Versions {
			if text := v.Version + map[bool]string{true: " (added)"}[v.Added]; v.Component == name && !slices.Contains(all, text) {
				all = append(all, text)
			}
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\n", name, strings.Join(all, ", "))
	}
	_ = t.Flush()
	_, _ = fmt.Fprintln(w, "advisories:")
	for _, v := range r.Advisories {
		with := ""
		if v.Feature != "" {
			with = " with " + v.Feature
		}
		_, _ = fmt.Fprintf(w, "  %s (%s): %s %s%s: %s\n", v.ID, v.Severity, v.Component, v.Affected, with, printable(v.Summary))
	}
	_, _ = fmt.Fprintln(w, "upstream's support:")
	for _, v := range r.Supports {
		_, _ = fmt.Fprintf(w, "  %s %s: until %s\n", v.Component, v.Affected, v.Ends)
	}
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

func (a *app) catalogueUpdate() *cobra.Command {
	var r catalogue.Request
	c := &cobra.Command{
		Use: "update", Args: noArgs, Short: "Fetch and verify the newest catalogue of a repository",
		Long: "update asks a repository of The Update Framework for its newest catalogue, verifies its signatures, its age and\n" +
			"that it is not older than the last one, and keeps it for later runs. If anything is wrong, the present catalogue\n" +
			"stays. The first update needs the root of trust (--root) unless the program contains it; later ones need no options.\n\n" +
			"The repository is --from, else MODWSGI_CATALOGUE_URL, else that of the last update, else the one built in.",
		Example: "  modwsgi catalogue update --from https://example.org/catalogue --root root.json\n" +
			"  modwsgi catalogue update",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := a.start(); err != nil {
				return err
			}
			return a.updateCatalogue(c.Context(), r)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&r.From, "from", "", "repository: an https address, or a directory (default MODWSGI_CATALOGUE_URL)")
	f.StringVar(&r.Root, "root", "", "file with the repository's root of trust, for the first update")
	f.BoolVar(&r.System, "system", false, "keep the catalogue for every user, in /var/lib/modwsgi/catalogue (as root)")
	return c
}

func (a *app) updateCatalogue(ctx context.Context, r catalogue.Request) error {
	system := r.System
	r.Options = a.catalogueOptions()
	r.System, r.Dir, r.Limits, r.Wait = system, a.Dir, a.pace(), a.lockLimit()
	r.Note = a.view.sink().Note
	if r.Root != "" && !filepath.IsAbs(r.Root) {
		r.Root = filepath.Join(a.Dir, r.Root)
	}
	res, err := catalogue.Update(ctx, r)
	if err != nil {
		return err
	}
	a.view.close()
	if a.flags.json {
		writeJSON(a.Stdout, map[string]any{"event": "result", "update": res})
		return nil
	}
	what := "unchanged"
	if res.Changed {
		what = "updated"
	}
	_, err = fmt.Fprintf(a.Stdout, "%s: catalogue of %s, version %d from %s, expires on %s\n", what, day(res.Date), res.Version, printable(res.Repository), day(res.Expires))
	if err == nil && res.Date.Before(recipe.Embedded().Date()) {
		_, err = fmt.Fprintf(a.Stdout, "The catalogue in this release of modwsgi, of %s, is newer and is used.\n", day(recipe.Embedded().Date()))
	}
	return err
}

// outdatedError is the result of outdated --exit-code.
func outdatedError(outdated, vulnerable, ended int, prefix string) error {
	var parts []string
	for _, p := range []struct {
		n    int
		text string
	}{{vulnerable, "vulnerable"}, {ended, "out of support"}, {outdated, "outdated"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.text))
		}
	}
	return fault.New(fault.Outdated, "modwsgi install --upgrade --python "+run.Quote(prefix), "components: %s", strings.Join(parts, ", "))
}
