package installer

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/recipe"
)

// moduleChoices lists the versions of mod_wsgi that admit the Python.
func (p *Plan) moduleChoices(lock *recipe.Lock) ([]Choice, error) {
	all, err := p.choices("mod_wsgi", p.request.ModWSGIVersion, lock)
	if err != nil {
		return nil, err
	}
	var refused []string
	var out []Choice
	for _, c := range all {
		if !c.Unpinned {
			ok, err := c.archive.Admits("python", p.Python.Version)
			if err != nil {
				return nil, err
			}
			if !ok {
				refused = append(refused, fmt.Sprintf("%s needs Python %s", c.Version, c.archive.Requires["python"]))
				continue
			}
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, fault.New(fault.Environment, "use another Python, or another --mod-wsgi-version",
			"no version of mod_wsgi fits Python %s: %s", p.Python.Version, strings.Join(refused, "; "))
	}
	return out, nil
}

// nameUnvouched notes which archives of the plan nobody but the lock file vouches
// for.
func (p *Plan) nameUnvouched(lock *recipe.Lock) error {
	p.Warnings = nil
	add := func(component string, all []Choice) {
		if c, ok := preferred(all); ok && c.Trust == string(recipe.FromLock) {
			p.Warnings = append(p.Warnings, unvouched(component, c, p.request.LockFile))
		}
	}
	if p.Module.Action == "build" {
		add("mod_wsgi", p.Module.Versions)
	}
	if p.HTTPD.Action != BuildHTTPD {
		return nil
	}
	add("httpd", p.HTTPD.Versions)
	for _, name := range p.httpdParts() {
		all, err := p.choices(name, "", lock)
		if err != nil {
			return err
		}
		add(name, all)
	}
	return nil
}

// unvouched is the warning about a hash that is only in the lock file.
func unvouched(component string, c Choice, lockFile string) string {
	return fmt.Sprintf("%s %s is not in the catalogue of this release: nothing but %s vouches for sha256 %s of %s",
		component, c.Version, filepath.Base(lockFile), c.archive.SHA256, c.archive.File)
}

// warnUnvouched tells of what the plan notes.
func (p *Plan) warnUnvouched() {
	for _, w := range p.Warnings {
		p.request.Events.Warn(w)
	}
}

// choices are those of the package-level function; with --upgrade what is locked
// is not preferred.
func (p *Plan) choices(component, constraint string, lock *recipe.Lock) ([]Choice, error) {
	if p.request.Upgrade {
		lock = &recipe.Lock{}
	}
	return choices(component, constraint, lock, p.request.Locked)
}

// nothingNewer says whether a plan that --upgrade made necessary has come to the
// versions that are there.
func (p *Plan) nothingNewer(src *sources) bool {
	if !p.request.Upgrade || p.request.Reinstall || len(p.older) != len(p.Reasons) {
		return false
	}
	for component, present := range p.older {
		if f := src.files[component]; f == nil || f.Archive.Version != present {
			return false
		}
	}
	return true
}

// choices lists the versions of a component that satisfy a constraint, the
// locked one first, then the newest first. An exact version that the catalogue
// does not have is one choice, to be asked of upstream.
func choices(component, constraint string, lock *recipe.Lock, locked bool) ([]Choice, error) {
	set := recipe.Catalogue()
	var out []Choice
	if e, ok := lock.Find(component); ok {
		if err := set.Contradicts(component, e.Version, e.SHA256); err != nil { // ReadLock has looked, too
			return nil, fault.New(fault.Usage, "restore the lock file from version control, or remove it and run modwsgi again without --locked",
				"the lock file's entry for %s (%s): %w", component, e.File, err)
		}
		fits := true
		if constraint != "" {
			var err error
			if fits, err = recipe.Satisfies(constraint, e.Version); err != nil {
				return nil, err
			}
		}
		switch {
		case fits:
			a := e.Archive(set)
			out = append(out, Choice{Version: e.Version, Trust: string(a.Trust), archive: a})
		case locked:
			return nil, fault.New(fault.Usage, "leave out --locked to change the lock file", "%s %s is locked, and %q is wanted", component, e.Version, constraint)
		}
	} else if locked {
		return nil, fault.New(fault.Usage, "leave out --locked to complete the lock file", "the lock file has no entry for %s", component)
	}
	if locked {
		return out, nil
	}
	archives := set.Of(component)
	if constraint != "" {
		var err error
		if archives, err = set.Match(component, constraint); err != nil {
			return nil, err
		}
	}
	for _, a := range archives {
		if len(out) == 0 || out[0].Version != a.Version {
			out = append(out, Choice{Version: a.Version, Trust: string(a.Trust), archive: a})
		}
	}
	if version, exact := recipe.Exact(constraint); len(out) == 0 && exact {
		out = append(out, Choice{Version: version, Unpinned: true})
	}
	if len(out) == 0 {
		var known []string
		for _, a := range set.Of(component) {
			known = append(known, a.Version)
		}
		return nil, fault.New(fault.Usage, "the catalogue has "+strings.Join(known, ", ")+"; another version is looked for at upstream when it is named exactly, as in 2.4.72",
			"no known version of %s satisfies %q", component, constraint)
	}
	return out, nil
}

// judge takes features that nobody asked for away from versions which a known
// advisory warns of, and refuses versions where that does not help.
func judge(all []Choice, features []string, q Request) []Choice {
	out := slices.Clone(all)
	for i := range out {
		c := &out[i]
		c.Features = slices.Clone(features)
		for _, a := range recipe.Catalogue().Advisories("httpd", c.Version, features) {
			line := a.ID + ": " + a.Summary
			switch {
			case q.AllowVulnerable:
				c.Advisories = append(c.Advisories, line)
			case a.Feature != "" && !slices.Contains(q.With, a.Feature):
				c.Features = slices.DeleteFunc(c.Features, func(f string) bool { return f == a.Feature })
				c.Advisories = append(c.Advisories, line+" (built without "+a.Feature+")")
			case c.Refused != "":
				c.Refused += ", " + line
			default:
				c.Refused = line
			}
		}
	}
	return out
}

func refusal(all []Choice) error {
	var lines []string
	for _, c := range all {
		lines = append(lines, "httpd "+c.Version+" has "+c.Refused)
	}
	return fault.New(fault.Source, "leave out the feature that it is about, or take the risk with --allow-vulnerable",
		"no version of httpd can be taken with these features: %s", strings.Join(lines, "; "))
}
