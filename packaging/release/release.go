// Package release adds to the artifacts of a run what lets others trust them: for
// each a bill of materials and a statement of where it is from, and for all of
// them an index, checksums and signatures. scripts/verify-release checks the
// result without any of our code.
package release

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"modwsgi/internal/digest"
	"modwsgi/internal/pydist"
	"modwsgi/packaging"
	"modwsgi/packaging/index"
	"modwsgi/packaging/sbom"
	"modwsgi/packaging/sign"
)

// SumsName is the file with the checksums of every other file, in the form of
// sha256sum(1). It is what gets signed.
const SumsName = "SHA256SUMS"

// Signer makes a detached signature.
type Signer = sign.Signer

// Options are what a user may choose.
type Options struct {
	Time       time.Time         // as Stage.Time
	Tool       string            // version of modwsgi
	Builder    string            // URI that names who built; "" for DefaultBuilder
	Parameters map[string]string // what the environment of the build was, for the provenance statement
	Signers    []Signer
}

// Finish writes the descriptions of the artifacts that were added to d. The files
// appear at d.Commit.
func Finish(ctx context.Context, d *packaging.Dist, o Options) error {
	if len(o.Signers) > 0 {
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
	all := d.Artifacts()
	pages, err := index.Write(all, func(name string) string {
		sum, _ := digestOf(d, name+".metadata")
		return sum
	})
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(pages)) {
		if err := d.Meta(index.Dir+"/"+name, pages[name]); err != nil {
			return err
		}
	}
	for i := range all {
		all[i].Components, all[i].Parameters = nil, nil
	}
	data, err := json.MarshalIndent(packaging.Index{Schema: 1, Artifacts: all}, "", "  ")
	if err != nil {
		return err
	}
	if err := d.Meta(packaging.IndexName, append(data, '\n')); err != nil {
		return err
	}
	return sums(d, all, slices.Sorted(maps.Keys(pages)), o)
}

// describe writes the bill of materials and the provenance of one artifact.
func describe(d *packaging.Dist, a packaging.Artifact, o Options) error {
	purl := ""
	if a.Kind == "wheel" || a.Kind == "sdist" {
		purl = "pkg:pypi/" + pydist.NormalName(a.Project) + "@" + strings.ReplaceAll(a.Version, "+", "%2B")
	}
	if slices.Contains([]string{"deb", "rpm", "apk"}, a.Kind) {
		purl = sbom.PackageURL(a.Kind, a.Project, a.Version, a.Platform)
	}
	bom, err := sbom.JSON(sbom.Subject{
		Name: a.Project, Version: a.Version, PURL: purl, FileName: a.Name, SHA256: a.SHA256, Time: o.Time, Tool: o.Tool,
	}, a.Components)
	if err != nil {
		return err
	}
	if err := d.Meta(a.Name+".cdx.json", bom); err != nil {
		return err
	}
	from, err := provenance(a, o)
	if err != nil {
		return err
	}
	if err := d.Meta(a.Name+".intoto.json", from); err != nil {
		return err
	}
	a.Sidecars = append(slices.Clone(a.Sidecars), a.Name+".cdx.json", a.Name+".intoto.json")
	slices.Sort(a.Sidecars)
	d.Update(a)
	return nil
}

// sums writes the checksums of everything, and signs them.
func sums(d *packaging.Dist, all []packaging.Artifact, pages []string, o Options) error {
	names := []string{packaging.IndexName}
	for _, a := range all {
		names = append(append(names, a.Name), a.Sidecars...)
	}
	for _, p := range pages {
		names = append(names, index.Dir+"/"+p)
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range slices.Compact(names) {
		sum, err := digestOf(d, name)
		if err != nil {
			return fmt.Errorf("add up %s: %w", name, err)
		}
		fmt.Fprintf(&b, "%s  %s\n", sum, name)
	}
	text := []byte(b.String())
	if err := d.Meta(SumsName, text); err != nil {
		return err
	}
	// A signature of an earlier run is not one of these checksums.
	for _, suffix := range sign.Suffixes {
		if !slices.ContainsFunc(o.Signers, func(s Signer) bool { return s.Suffix() == suffix }) {
			d.Drop(SumsName + suffix)
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

func digestOf(d *packaging.Dist, name string) (string, error) {
	f, err := d.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	return digest.Of(f)
}
