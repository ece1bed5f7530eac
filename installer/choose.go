package installer

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/internal/recipe"
)

// moduleChoices lists the versions of mod_wsgi that support a Python, and those that
// would be preferred but do not, with the reason.
func moduleChoices(w Wish, python string, lock *recipe.Lock) (out, skipped []Choice, _ error) {
	all, err := preferring(w, "mod_wsgi", w.ModWSGIVersion, lock)
	if err != nil {
		return nil, nil, err
	}
	var refused []string
	for _, c := range all {
		if !c.Unpinned {
			ok, err := c.Archive.Admits("python", python)
			if err != nil {
				return nil, nil, err
			}
			if !ok {
				refused = append(refused, fmt.Sprintf("%s needs Python %s", c.Version, c.Archive.Requires["python"]))
				if c.Refused = fmt.Sprintf("it needs Python %s, and this is %s", c.Archive.Requires["python"], python); len(out) == 0 {
					skipped = append(skipped, c)
				}
				continue
			}
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, nil, fault.New(fault.Environment, "use another Python, or another --mod-wsgi-version",
			"no version of mod_wsgi supports Python %s: %s", python, strings.Join(refused, "; "))
	}
	return out, skipped, nil
}

// httpdChoices lists the versions of httpd that can be built with features.
func httpdChoices(w Wish, features []string, lock *recipe.Lock) ([]Choice, error) {
	all, err := preferring(w, "httpd", w.HTTPDVersion, lock)
	if err != nil {
		return nil, err
	}
	all = judge(all, features, w.With, w.AllowVulnerable)
	if !slices.ContainsFunc(all, func(c Choice) bool { return c.Refused == "" }) {
		return nil, refusal(all)
	}
	return all, nil
}

// Preferred returns the versions of httpd and of mod_wsgi that the build begins with. It
// takes others if an archive is unavailable.
func (p *Plan) Preferred() (httpd, module string) {
	h, _ := preferred(p.HTTPD.Versions)
	m, _ := preferred(p.Module.Versions)
	return h.Version, m.Version
}

// Foresee is [Plan.Preferred] for a Python of another system ("3.12"), of which no plan can
// be made yet: it knows what the lock file, the catalogue and the constraints tell.
func (w Wish) Foresee(python string) (httpd, module string, err error) {
	lock, err := readLock(w.LockFile, w.Locked)
	if err != nil {
		return "", "", err
	}
	modules, _, err := moduleChoices(w, python, lock)
	if err != nil {
		return "", "", err
	}
	httpds, err := httpdChoices(w, w.With, lock)
	if err != nil {
		return "", "", err
	}
	httpd, module = (&Plan{HTTPD: HTTPDPlan{Versions: httpds}, Module: ModulePlan{Versions: modules}}).Preferred()
	return httpd, module, nil
}

// httpdParts are the other components of a bundled httpd.
var httpdParts = []string{"apr", "apr-util", "pcre2"}

// partChoices lists the versions of the components that httpd is built with, among them
// libraries that the host does not provide.
func partChoices(w Wish, libraries []string, lock *recipe.Lock) (map[string][]Choice, error) {
	parts := map[string][]Choice{}
	for _, name := range slices.Concat(libraries, httpdParts) {
		all, err := preferring(w, name, "", lock)
		if err != nil {
			return nil, err
		}
		if all = judgeLibrary(name, all, w.AllowVulnerable); !slices.ContainsFunc(all, func(c Choice) bool { return c.Refused == "" }) {
			return nil, fault.New(fault.Source, "use the library of the host with --libraries host, or accept the risk with --allow-vulnerable",
				"no version of %s can be used: %s %s", name, all[0].Version, all[0].Refused)
		}
		parts[name] = all
	}
	return parts, nil
}

// judgeLibrary refuses versions with a known advisory, and marks those that upstream no
// longer supports.
func judgeLibrary(name string, all []Choice, allowVulnerable bool) []Choice {
	out := slices.Clone(all)
	for i := range out {
		c := &out[i]
		for _, a := range recipe.Catalogue().Advisories(name, c.Version, nil) {
			if line := a.String(); allowVulnerable {
				c.Advisories = append(c.Advisories, line)
			} else {
				c.Refused = strings.TrimPrefix(c.Refused+", has "+line, ", ")
			}
		}
		if end := recipe.Catalogue().Ended(name, c.Version, time.Now()); end != "" {
			c.Advisories = append(c.Advisories, recipe.EndedText(end))
		}
	}
	return out
}

// unvouchedIn names the archives of a plan whose hash is only in the lock file.
func unvouchedIn(p *Plan) []string {
	var out []string
	wanted := p.wanted()
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if c, ok := preferred(wanted[name]); ok && c.Trust == string(recipe.FromLock) {
			out = append(out, unvouched(name, c, p.Wish.LockFile))
		}
	}
	return out
}

// unvouched warns about a hash that is only in the lock file.
func unvouched(component string, c Choice, lockFile string) string {
	return fmt.Sprintf("%s %s is not in the catalogue: only %s vouches for sha256 %s of %s",
		component, c.Version, filepath.Base(lockFile), c.Archive.SHA256, c.Archive.File)
}

// preferred returns the first choice that is not refused. It returns false if the hash of
// that choice is not known yet.
func preferred(all []Choice) (Choice, bool) {
	for _, c := range all {
		if c.Refused == "" {
			return c, !c.Unpinned && c.Archive.SHA256 != ""
		}
	}
	return Choice{}, false
}

// preferring returns choices in the order a wish prefers. With --upgrade the locked
// version does not come first, but it is marked in any case.
func preferring(w Wish, component, constraint string, lock *recipe.Lock) ([]Choice, error) {
	first := lock
	if w.Upgrade {
		first = &recipe.Lock{}
	}
	all, err := choices(component, constraint, first, w.Locked)
	if err != nil {
		return nil, err
	}
	if e, ok := lock.FindFor(component, constraint); ok {
		for i := range all {
			all[i].Locked = all[i].Version == e.Version
			if all[i].Archive.SHA256 == e.SHA256 {
				all[i].Signer = e.SignedBy
			}
		}
	}
	return all, nil
}

// choices lists the versions of a component that satisfy a constraint, the locked one
// first, then from newest to oldest. An exact version missing from the catalogue is a
// single choice, to be looked up upstream.
func choices(component, constraint string, lock *recipe.Lock, locked bool) ([]Choice, error) {
	set := recipe.Catalogue()
	var out []Choice
	if e, ok := lock.FindFor(component, constraint); ok {
		if err := set.Contradicts(component, e.Version, e.SHA256); err != nil { // ReadLock checked it, too
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
			out = append(out, Choice{Version: e.Version, Trust: string(a.Trust), Archive: a})
		case locked:
			return nil, fault.New(fault.Usage, "omit --locked to change the lock file", "%s %s is locked, but %q is wanted", component, e.Version, constraint)
		}
	} else if locked {
		return nil, fault.New(fault.Usage, "omit --locked to complete the lock file", "the lock file has no entry for %s", component)
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
		if len(out) == 0 || out[0].Version != a.Version || out[0].Archive.SHA256 != a.SHA256 {
			out = append(out, Choice{Version: a.Version, Trust: string(a.Trust), Archive: a})
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
		return nil, fault.New(fault.Usage, "the catalogue has "+strings.Join(known, ", ")+"; name another version exactly, as in 2.4.72, to have it looked up upstream",
			"no known version of %s satisfies %q", component, constraint)
	}
	return out, nil
}

// judge drops features that nobody asked for from versions with a known advisory about
// them, and refuses versions where that does not help.
func judge(all []Choice, features, with []string, allowVulnerable bool) []Choice {
	out := slices.Clone(all)
	for i := range out {
		c := &out[i]
		c.Features = slices.Clone(features)
		for _, a := range recipe.Catalogue().Advisories("httpd", c.Version, features) {
			line := a.String()
			switch {
			case allowVulnerable:
				c.Advisories = append(c.Advisories, line)
			case a.Feature != "" && !slices.Contains(with, a.Feature):
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
	return fault.New(fault.Source, "omit the affected feature, or accept the risk with --allow-vulnerable",
		"no version of httpd can be used with these features: %s", strings.Join(lines, "; "))
}
