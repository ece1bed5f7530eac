package buildcache

import (
	"fmt"
	"maps"
	"regexp"

	"modwsgi/internal/recipe"
)

// What an entry of the build cache proves about its sources.
//
// An entry's key is the SHA-256 of a text that names everything that went into the
// build (its inputs), the archives with their hashes among it. The entry keeps
// that text, and the hashes of the bytes that were really unpacked, which the
// unpacking computes (internal/archive). So it can be shown, without the archives
// and at any later time, that the key is the one of the inputs, that what was
// unpacked is what the inputs name, and that the catalogue agrees. An entry that
// does not show this is not used, and modwsgi cache verify reports it.

// component is a line of the inputs that names an archive.
var componentLine = regexp.MustCompile(`(?m)^(mod_wsgi|httpd|apr|apr-util|pcre2|expat) (\S+) ([0-9a-f]{64})$`)

// needed are the components without which there is no build of a kind.
var needed = map[string][]string{"httpd": {"httpd", "apr", "apr-util", "pcre2"}, "module": {"mod_wsgi"}}

// Unproven returns why an entry does not show what it was built from, "" where it
// does. That its key is the one of its inputs was compared when it was read.
func (a About) Unproven() string {
	if a.Inputs == "" {
		return "it does not say what it was built from"
	}
	named := map[string]string{}
	for _, m := range componentLine.FindAllStringSubmatch(a.Inputs, -1) {
		if _, twice := named[m[1]]; twice {
			return fmt.Sprintf("its key names two archives of %s", m[1])
		}
		named[m[1]] = m[2] + " " + m[3]
	}
	unpacked := map[string]string{}
	for _, p := range a.Parts {
		unpacked[p.Name] = p.Version + " " + p.SHA256
		if err := recipe.Catalogue().Contradicts(p.Name, p.Version, p.SHA256); err != nil {
			return err.Error()
		}
	}
	if len(unpacked) != len(a.Parts) || !maps.Equal(named, unpacked) {
		return "the archives that were unpacked are not those of its key"
	}
	for _, name := range needed[a.Kind] {
		if named[name] == "" {
			return "it names no archive of " + name
		}
	}
	if needed[a.Kind] == nil {
		return fmt.Sprintf("its kind %q is not known", a.Kind)
	}
	return ""
}
