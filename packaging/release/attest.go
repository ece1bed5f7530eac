package release

import "modwsgi/packaging"

// Provenance returns the provenance statement for an artifact that is not a file of an
// output directory: an image, by the digest of its manifest.
func Provenance(a packaging.Artifact, o Options) ([]byte, error) { return provenance(a, o) }
