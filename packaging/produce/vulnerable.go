package produce

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/internal/recipe"
	"modwsgi/packaging"
)

// admit refuses trees whose httpd has a known vulnerability, as install refuses to
// build one. A build was already checked when it was planned, but an environment, or a
// copy of one, may have been installed before the advisory, or with
// --allow-vulnerable. With that flag, a warning names the advisories.
//
// A module for the httpd of a distribution, or for an Apache on Windows, contains no
// httpd.
func (l *line) admit(ctx context.Context, o order) error {
	var seen []string
	for _, part := range o.staged() {
		h := part.tree.Stage.HTTPD
		if h == nil {
			continue
		}
		var lines []string
		for _, a := range recipe.Catalogue().Advisories("httpd", h.Version, h.Features) {
			lines = append(lines, a.String())
		}
		if len(lines) == 0 {
			continue
		}
		text := fmt.Sprintf("httpd %s has known vulnerabilities: %s", h.Version, strings.Join(lines, "; "))
		if part.source != "" {
			text += ", in " + part.source
		}
		if l.Build.AllowVulnerable {
			if !slices.Contains(seen, text) {
				l.events().Warn(text)
			}
			seen = append(seen, text)
			continue
		}
		err := fault.New(fault.Source, part.fix+"accept the risk with --allow-vulnerable", "%s", text)
		if part.name == "" {
			return err
		}
		if err := o.fail(ctx, part.name, err); err != nil {
			return err
		}
		part.drop()
	}
	return nil
}

// staged is a tree that a run will package.
type staged struct {
	tree   *Tree
	name   string // the part of a release; "" for a single format
	source string // the environment that it was taken from; "" for a build
	fix    string // the beginning of the hint, "upgrade it with ..., or "
	drop   func() // leaves the tree out of a release
}

// unsupported warns of artifacts that contain a library that upstream no longer
// supports: one built from source, or one copied from the build host, which only gets
// the fixes of its distribution.
func (l *line) unsupported() {
	in := map[string][]string{}
	for _, a := range l.dist.Added() {
		for _, c := range packaging.SortComponents(a.Components) {
			if end := recipe.Past(c.Support, time.Now()); c.Support != "" && end != "" {
				text := c.Name + " " + c.Version + " is " + recipe.EndedText(end)
				if c.Kind == packaging.FromHost {
					text += "; this host's distribution may do so, but an artifact contains the library as it is today"
				}
				if !slices.Contains(in[text], a.Name) { // a package may have several libraries
					in[text] = append(in[text], a.Name)
				}
			}
		}
	}
	for _, text := range slices.Sorted(maps.Keys(in)) {
		l.events().Warn(text + " (in " + strings.Join(in[text], ", ") + ")")
	}
}
