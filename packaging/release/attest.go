package release

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/packaging"
	"modwsgi/packaging/sign"
)

// The statement of an artifact is in two files. NAME.intoto.json is the statement itself:
// everybody can read it, SHA256SUMS lists it, and every kind of signature of that list
// vouches for it. NAME.intoto.jsonl is the same bytes in a signed envelope (DSSE), which
// tools verify that get one artifact and not the whole release. It exists if the release
// is signed with a key that such tools read (package sign).
const (
	statementSuffix = ".intoto.json"
	envelopeSuffix  = ".intoto.jsonl"
	statementMedia  = "application/vnd.in-toto+json"
)

// Remade reports whether [List] writes a sidecar again, because it depends on the keys.
func Remade(name string) bool { return strings.HasSuffix(name, envelopeSuffix) }

// maxStatement is the maximum size in bytes of a statement.
const maxStatement = 16 << 20

// Provenance returns the provenance statement for an artifact that is not a file of an
// output directory: an image, by the digest of its manifest.
func Provenance(a packaging.Artifact, o Options) ([]byte, error) { return provenance(a, o) }

// attest writes the signed statements of all artifacts, and adds them to their sidecars.
// Those of earlier runs are included, because the list of checksums, which is signed
// again, includes them too.
func attest(d Set, all []packaging.Artifact, o Options) error {
	var key sign.Attester
	for _, s := range o.Signers {
		if a, is := s.(sign.Attester); is {
			key = a
		}
	}
	for k := range all {
		a := &all[k]
		file := a.Name + envelopeSuffix
		if !slices.Contains(a.Sidecars, a.Name+statementSuffix) {
			continue
		}
		if key == nil {
			if remade(d, a.Name) { // the old signature is of another statement
				if err := d.Drop(file); err != nil {
					return err
				}
				a.Sidecars = slices.DeleteFunc(slices.Clone(a.Sidecars), func(name string) bool { return name == file })
			}
			continue
		}
		text, err := statementOf(d, *a)
		if err != nil {
			return err
		}
		signed, err := key.Envelope(statementMedia, text)
		if err != nil {
			return err
		}
		if err := d.Meta(file, signed); err != nil {
			return err
		}
		if !slices.Contains(a.Sidecars, file) {
			a.Sidecars = append(slices.Clone(a.Sidecars), file)
			slices.Sort(a.Sidecars)
		}
	}
	return nil
}

func remade(d Set, name string) bool {
	return slices.ContainsFunc(d.Added(), func(a packaging.Artifact) bool { return a.Name == name })
}

// statementOf reads the statement of an artifact, which may be of an earlier run. It
// refuses one about anything else, because the signature would vouch for it.
func statementOf(d Set, a packaging.Artifact) ([]byte, error) {
	name := a.Name + statementSuffix
	f, err := d.Open(name)
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", name, err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxStatement+1))
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", name, err)
	}
	var s statement
	if err := json.Unmarshal(text, &s); err != nil || len(text) > maxStatement || s.Type != statementType || len(s.Subject) != 1 ||
		s.Subject[0].Name != a.Name || len(s.Subject[0].Digest) != 1 || s.Subject[0].Digest["sha256"] != a.SHA256 {
		return nil, fault.New(fault.Environment, "make the artifact again, or leave it out of the directory", "%s is not a statement about this %s and was not signed", name, a.Name)
	}
	return text, nil
}
