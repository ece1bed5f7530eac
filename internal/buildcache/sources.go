package buildcache

import (
	"fmt"
	"maps"
	"regexp"

	"modwsgi/internal/recipe"
)

// What an entry of the build cache proves about its sources.
//
// An entry's key is the SHA-256 of a text that names everything that went into the build
// (its inputs), including the archives with their hashes. The entry keeps that text, and
// the hashes of the bytes that were actually unpacked, computed while unpacking
// (internal/archive). So it can be verified, without the archives and at any later time,
// that the key is the hash of the inputs, that the unpacked archives are those in the
// inputs, and that the catalogue agrees. An entry that does not prove this is not used,
// and modwsgi cache verify reports it.

// componentLine matches a line of the inputs that names an archive.
var componentLine = regexp.MustCompile(`(?m)^(mod_wsgi|httpd|apr|apr-util|pcre2|expat|openssl|nghttp2|zlib|brotli|libxml2|libxcrypt) (\S+) ([0-9a-f]{64})$`)

// needed are the components that every build of a kind has.
var needed = map[string][]string{"httpd": {"httpd", "apr", "apr-util", "pcre2"}, "module": {"mod_wsgi"}}

// Unproven returns why an entry does not prove what it was built from, or "". Its key was
// compared with its inputs when it was read.
func (a About) Unproven() string {
	if a.Inputs == "" {
		return "it does not name what it was built from"
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
		return "the unpacked archives are not those of its key"
	}
	for _, name := range needed[a.Kind] {
		if named[name] == "" {
			return "it names no archive of " + name
		}
	}
	if needed[a.Kind] == nil {
		return fmt.Sprintf("its kind %q is unknown", a.Kind)
	}
	return ""
}
