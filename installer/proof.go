package installer

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"modwsgi/httpdbuild"
	"modwsgi/internal/buildcache"
	"modwsgi/internal/fetch"
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

// unproven says why an entry does not show what it was built from, "" where it
// does. That its key is the one of its inputs was compared when it was read.
func unproven(a buildcache.About) string {
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

// wanted is what an entry must have been made of to be used for a plan.
type wanted struct {
	inputs string
	hashes map[string]string // component -> SHA-256
}

// want tells what the entry of a key must be made of.
func (b *builds) want(key, inputs string, files ...*fetch.File) {
	w := wanted{inputs, map[string]string{}}
	for _, f := range files {
		w.hashes[f.Archive.Component] = f.Archive.SHA256
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wants == nil {
		b.wants = map[string]wanted{}
	}
	b.wants[key] = w
}

// wantHTTPD is want for a tree of httpd.
func (w *workspace) wantHTTPD(b *httpdbuild.Request, src *sources) {
	var files []*fetch.File
	for _, c := range b.Components {
		files = append(files, src.files[c.Name])
	}
	w.builds.want(b.Key(), b.Inputs(), files...)
}

// hashOf is the key that inputs have.
func hashOf(inputs string) string {
	sum := sha256.Sum256([]byte(inputs))
	return hex.EncodeToString(sum[:])
}

// judge says why an entry is not for the plan, "" where it is.
func (b *builds) judge(key string, a buildcache.About) string {
	if why := unproven(a); why != "" {
		return why
	}
	b.mu.Lock()
	w, known := b.wants[key]
	b.mu.Unlock()
	if !known {
		return "nobody asked for it"
	}
	if a.Inputs != w.inputs {
		return "it was built from something else than the plan names"
	}
	for _, p := range a.Parts {
		if w.hashes[p.Name] != p.SHA256 {
			return fmt.Sprintf("it was built from another archive of %s than the plan names", p.Name)
		}
	}
	return ""
}

// counts reports whether the entry of a key may be taken out of a local cache. One
// that does not show what it was built from is dropped, and so is one from a shared
// cache whose signer is not trusted any more or that has become too old. What is
// not there, or cannot be read, is for whoever restores it to tell.
func (b *builds) counts(c buildcache.Cache, key string) bool {
	e, err := c.Info(key)
	if err != nil || e.Format != 0 || e.Damage != "" {
		return true
	}
	why := b.judge(key, e.About)
	if why == "" && b.q.shared != nil {
		why = b.q.shared.Accepts(e.Origin)
	}
	if why == "" {
		return true
	}
	if !c.Writable() {
		b.q.Events.Note("an entry of the build cache is not used: " + key[:12] + ", " + why)
		return false
	}
	b.q.Events.Note("an entry of the build cache is dropped: " + key[:12] + ", " + why)
	if err := c.Remove(key); err != nil {
		b.unusable(err)
	}
	return false
}

// unpackedParts are the parts of an entry, with the hashes of what was unpacked.
func unpackedParts(unpacked map[string]string, files map[string]*fetch.File) []buildcache.Part {
	var out []buildcache.Part
	for _, name := range slices.Sorted(maps.Keys(unpacked)) {
		if f := files[name]; f != nil {
			p := part(f)
			p.SHA256 = unpacked[name]
			out = append(out, p)
		}
	}
	return out
}
