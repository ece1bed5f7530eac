package installer

import (
	"maps"
	"slices"

	"modwsgi/httpdbuild"
	"modwsgi/internal/buildcache"
	"modwsgi/internal/fetch"
)

// wantHTTPD says what a tree of httpd must be made of to be used.
func (w *workspace) wantHTTPD(b *httpdbuild.Request, src *sources) {
	hashes := map[string]string{}
	for _, c := range b.Components {
		hashes[c.Name] = src.files[c.Name].Archive.SHA256
	}
	w.builds.Want(b.Key(), b.Inputs(), hashes)
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
