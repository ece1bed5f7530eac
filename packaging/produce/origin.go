package produce

// What a provenance statement names as the origin of an artifact.
//
// A statement describes one artifact by what that was made from: the choices of the user
// that decided its contents, and the inputs. Nothing else that the run makes may appear
// in it. Otherwise a release that several machines share would get other statements than
// the same release made by one. So the httpd, which is the same for every Python, does
// not name the Python that it happened to be built with.
//
// Choices are values that mean the same everywhere: the version of a Python and not its
// path, the digest of the lock file and not its name.

import (
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/installer"
	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/internal/target"
	"modwsgi/packaging"
)

// origin is what an artifact was made from.
type origin struct {
	choices map[string]string // external parameters of the statement
	facts   map[string]string // internal ones
	inputs  []packaging.Component
}

// set records a choice unless it is empty.
func (o *origin) set(key, value string) {
	if value != "" {
		o.choices[key] = value
	}
}

// trace records the origin of a job's artifacts. If there are several trees, each key
// names the system.
func (s *Settings) trace(d *packaging.Dist, trees []*Tree) error {
	for _, art := range d.Added() {
		httpd, module := has(art, "httpd"), has(art, "mod_wsgi")
		if !httpd && !module && art.Kind != "sdist" {
			continue // the tools
		}
		if len(trees) == 0 {
			trees = []*Tree{{wish: &s.Build.Wish}}
		}
		for _, t := range trees {
			from, err := s.origin(t, module)
			if err != nil {
				return err
			}
			end := ""
			if len(trees) > 1 {
				end = " of " + t.system()
			}
			add(&art.Parameters, from.choices, end)
			add(&art.Environment, from.facts, end)
			art.Inputs = append(art.Inputs, from.inputs...)
			if !module {
				delete(art.Environment, installer.TargetPython+end)
			} else if t.proof != "" {
				art.Environment["proof"+end] = t.proof + t.provenWith
			}
		}
		d.Update(art)
	}
	return nil
}

// has reports whether an artifact contains a component that was built from source.
func has(a packaging.Artifact, name string) bool {
	return slices.ContainsFunc(a.Components, func(c packaging.Component) bool { return c.Kind == packaging.FromSource && c.Name == name })
}

// add adds to a map of an artifact, whose own values stay.
func add(to *map[string]string, values map[string]string, end string) {
	all := maps.Clone(*to)
	if all == nil {
		all = map[string]string{}
	}
	for key, value := range values {
		if _, present := all[key+end]; !present {
			all[key+end] = value
		}
	}
	*to = all
}

// system is the name of the system that a tree is for.
func (t *Tree) system() string {
	if t.Target != "" {
		return t.Target
	}
	if here, err := target.Host(); err == nil {
		return here.String()
	}
	return host
}

// origin returns what is made from a tree; without module, the tree's httpd alone. A tree
// without a stage is the wish for a source distribution.
func (s *Settings) origin(t *Tree, module bool) (origin, error) {
	o := origin{choices: map[string]string{}, facts: map[string]string{}}
	if w := t.wish; w != nil {
		o.set("httpd_version", w.HTTPDVersion)
		o.set("with", listOf(w.With))
		o.set("without", listOf(w.Without))
		o.set("libraries", orText(w.Libraries, "auto"))
		o.set("hardening", orText(w.Hardening, "auto"))
		if w.DebugSymbols {
			o.set("debug_symbols", "true")
		}
		if module || t.Stage == nil {
			o.set("mod_wsgi_version", w.ModWSGIVersion)
		}
		if w.AllowVulnerable {
			o.set("allow_vulnerable", "true")
		}
		if w.Locked {
			sum, err := digest.File(s.lockFile())
			if err != nil {
				return o, fault.New(fault.Environment, "name the lock file with --lock-file", "hash the lock file: %w", err)
			}
			o.set("lock_sha256", sum)
		}
	} else {
		o.set("build", "installed") // an environment, which has no record of the choices
	}
	if t.Stage == nil {
		return o, nil
	}
	o.set("target", t.system())
	if h := t.Stage.HTTPD; h != nil {
		o.facts["httpd_features"] = listOf(h.Features)
	}
	if !module {
		return o, nil
	}
	return o, o.module(t)
}

// module adds what a module was built for: its Python and its httpd.
func (o *origin) module(t *Tree) error {
	m := t.Stage.Module
	o.set("python", m.Python.Version)
	o.set("httpd", "system")
	if m.Bundled {
		o.set("httpd", "bundled")
	}
	if m.Python.SOABI != "" {
		o.facts["python_soabi"] = m.Python.SOABI
	}
	if t.Cross { // for Windows, the archives of the headers are among the components
		return nil
	}
	python := packaging.Component{Kind: packaging.BuiltWith, Name: "cpython", Version: m.Python.Version}
	python.Identify()
	if t.Python != nil && t.Python.LibPython != "" {
		sum, err := digest.File(t.Python.LibPython)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fault.New(fault.Environment, "check the permissions of the file", "hash the library of Python %s: %w", m.Python.Version, err)
		}
		python.SHA256, python.File = sum, filepath.Base(t.Python.LibPython)
	}
	httpd := packaging.Component{Kind: packaging.BuiltWith, Name: "httpd", Version: m.HTTPD}
	if h := t.Stage.HTTPD; h != nil && m.Bundled {
		for _, c := range h.Components {
			if c.Name == "httpd" {
				httpd = c
				httpd.Kind = packaging.BuiltWith
			}
		}
	} else {
		httpd.Identify()
	}
	o.inputs = append(o.inputs, python, httpd)
	return nil
}

// listOf writes a list as a statement has it: sorted and separated by commas.
func listOf(all []string) string {
	return strings.Join(slices.Compact(slices.Sorted(slices.Values(all))), ",")
}
