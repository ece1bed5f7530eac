package release

import "modwsgi/packaging"

// Provenance returns the statement of where an artifact is from, for one that is no
// file of an output directory: an image, by the digest of its manifest.
func Provenance(a packaging.Artifact, o Options) ([]byte, error) { return provenance(a, o) }
