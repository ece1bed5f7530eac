// Package release adds to the artifacts of a run what lets others trust them: a bill
// of materials and a provenance statement for each, and an index, checksums and
// signatures for all. scripts/verify-release checks the result without any of our
// code.
package release

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"modwsgi/internal/digest"
	"modwsgi/internal/pydist"
	"modwsgi/packaging"
	"modwsgi/packaging/index"
	"modwsgi/packaging/sbom"
	"modwsgi/packaging/sign"
	"modwsgi/packaging/vex"
)

// SumsName is the file that is signed.
const SumsName = packaging.SumsName

// Signer makes a detached signature.
type Signer = sign.Signer

// Set is a directory of artifacts: the output directory of a run (packaging.Dist), or
// the directory of a release of our own tools (packaging/toolrelease).
type Set interface {
	// MaySign returns an error if another user can change the files: a signature would
	// vouch for that user's files.
	MaySign() error
	// Added lists the artifacts to describe, Artifacts all that the sums list.
	Added() []packaging.Artifact
	Artifacts() []packaging.Artifact
	// Update replaces the record of an artifact, by name.
	Update(a packaging.Artifact)
	Open(name string) (*os.File, error)
	// Meta writes a file that describes artifacts. Drop removes one of an earlier run,
	// which need not exist.
	Meta(name string, data []byte) error
	Drop(name string) error
}

// Options are the user's choices.
type Options struct {
	Time       time.Time         // of bills of materials, and of signatures that have a timestamp
	Tool       string            // version of modwsgi
	Builder    string            // URI of the builder; "" for DefaultBuilder
	Parameters map[string]string // the build environment, for the provenance statement
	Signers    []Signer
	// SBOM returns the bill of materials of an artifact; nil for that of its
	// components. If it returns none, the artifact gets none.
	SBOM func(a packaging.Artifact) ([]byte, error)
	// Also are further descriptive files, which the sums list.
	Also map[string][]byte
	// NoIndex leaves out the index of the artifacts and the package index.
	NoIndex bool
}

// builder is the builder's URI.
func (o Options) builder() string {
	if o.Builder != "" {
		return o.Builder
	}
	return DefaultBuilder
}

// Finish writes the descriptions of the artifacts added to d: a bill of materials, a
// VEX document and a provenance statement for each, then the signed statements of all artifacts, the
// indexes, the sums and their signatures.
// Everything that is released passes through it.
func Finish(ctx context.Context, d Set, o Options) error {
	if len(o.Signers) > 0 { // before anything is described
		if err := d.MaySign(); err != nil {
			return err
		}
	}
	for _, a := range d.Added() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := describe(d, a, o); err != nil {
			return fmt.Errorf("describe %s: %w", a.Name, err)
		}
	}
	return List(d, o)
}

// List writes the indexes of all artifacts, the sums and their signatures, for artifacts
// that are described already.
func List(d Set, o Options) error {
	if len(o.Signers) > 0 {
		if err := d.MaySign(); err != nil {
			return err
		}
	}
	all := d.Artifacts()
	if err := attest(d, all, o); err != nil {
		return err
	}
	var others []string
	if !o.NoIndex {
		var err error
		if others, err = indexes(d, all); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Also)) {
		if err := d.Meta(name, o.Also[name]); err != nil {
			return err
		}
		others = append(others, name)
	}
	return sums(d, all, others, o)
}

// indexes writes the index of all artifacts and the package index, and returns the
// names of their files.
func indexes(d Set, all []packaging.Artifact) ([]string, error) {
	pages, err := index.Write(all, func(name string) string {
		sum, _ := digestOf(d, name+".metadata")
		return sum
	})
	if err != nil {
		return nil, err
	}
	names := []string{packaging.IndexName}
	for _, name := range slices.Sorted(maps.Keys(pages)) {
		names = append(names, index.Dir+"/"+name)
		if err := d.Meta(index.Dir+"/"+name, pages[name]); err != nil {
			return nil, err
		}
	}
	for i := range all {
		all[i].Components, all[i].Inputs, all[i].Parameters, all[i].Environment = nil, nil, nil, nil
	}
	data, err := json.MarshalIndent(packaging.Index{Schema: 1, Artifacts: all}, "", "  ")
	if err != nil {
		return nil, err
	}
	return names, d.Meta(packaging.IndexName, append(data, '\n'))
}

// descriptions are the files that describe an artifact, by the ends of their names. One
// that has nothing to tell is not written.
var descriptions = []struct {
	suffix string
	make   func(packaging.Artifact, Options) ([]byte, error)
}{{".cdx.json", bill}, {".openvex.json", advice}, {statementSuffix, provenance}}

// describe writes the descriptions of one artifact.
func describe(d Set, a packaging.Artifact, o Options) error {
	a.Sidecars = slices.Clone(a.Sidecars)
	for _, f := range descriptions {
		name := a.Name + f.suffix
		data, err := f.make(a, o)
		if err != nil {
			return err
		}
		if data == nil { // an earlier run may have had one
			if err := d.Drop(name); err != nil {
				return err
			}
			continue
		}
		if err := d.Meta(name, data); err != nil {
			return err
		}
		a.Sidecars = append(a.Sidecars, name)
	}
	slices.Sort(a.Sidecars)
	d.Update(a)
	return nil
}

// advice returns the VEX document of one artifact.
func advice(a packaging.Artifact, o Options) ([]byte, error) {
	return vex.JSON(vex.Product{PURL: purl(a), SHA256: a.SHA256, Time: o.Time, Author: o.builder(), Tool: o.Tool}, a.Components)
}

// purl is the package URL of an artifact, "" for a format without one.
func purl(a packaging.Artifact) string {
	switch a.Kind {
	case "wheel", "sdist":
		return packaging.PackageURL("pypi/"+pydist.NormalName(a.Project), a.Version)
	case "deb", "rpm", "apk":
		return sbom.PackageURL(a.Kind, a.Project, a.Version, a.Platform)
	}
	return ""
}

// bill returns the bill of materials of one artifact.
func bill(a packaging.Artifact, o Options) ([]byte, error) {
	if o.SBOM != nil {
		return o.SBOM(a)
	}
	return sbom.JSON(sbom.Subject{
		Name: a.Project, Version: a.Version, PURL: purl(a), FileName: a.Name, SHA256: a.SHA256, Time: o.Time, Tool: o.Tool,
	}, a.Components)
}

// sums writes the checksums of everything, and signs them.
func sums(d Set, all []packaging.Artifact, others []string, o Options) error {
	names := slices.Clone(others)
	for _, a := range all {
		names = append(append(names, a.Name), a.Sidecars...)
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range slices.Compact(names) {
		sum, err := digestOf(d, name)
		if err != nil {
			return fmt.Errorf("hash %s: %w", name, err)
		}
		fmt.Fprintf(&b, "%s  %s\n", sum, name)
	}
	text := []byte(b.String())
	if err := d.Meta(SumsName, text); err != nil {
		return err
	}
	// A signature of an earlier run does not match these checksums.
	for _, suffix := range sign.Suffixes {
		if !slices.ContainsFunc(o.Signers, func(s Signer) bool { return s.Suffix() == suffix }) {
			if err := d.Drop(SumsName + suffix); err != nil {
				return err
			}
		}
	}
	for _, s := range o.Signers {
		signature, err := s.Sign(SumsName, text, o.Time)
		if err != nil {
			return err
		}
		if err := d.Meta(SumsName+s.Suffix(), signature); err != nil {
			return err
		}
	}
	return nil
}

func digestOf(d Set, name string) (string, error) {
	f, err := d.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	return digest.Of(f)
}
