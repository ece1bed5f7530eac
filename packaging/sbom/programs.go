package sbom

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"sort"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"modwsgi/packaging"
	"modwsgi/packaging/licence"
)

// Program is one of our programs, and the Go modules that are linked into it.
type Program struct {
	Name    string // file name
	SHA256  string
	Modules []packaging.Component
}

// Programs returns the bill of materials of a file with our own programs: which
// modules are in which of them. It has no date, and its serial number is derived from
// the file, so that it is the same when made again.
func Programs(file, sha256, version string, all []Program) ([]byte, error) {
	bom := cdx.NewBOM()
	var err error
	if bom.SerialNumber, err = serialOf(sha256); err != nil {
		return nil, err
	}
	bom.Metadata = &cdx.Metadata{
		Component: own(file, cdx.ComponentTypeFile, file, version, sha256),
		Tools:     &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: "modwsgi-release", Version: version}}},
	}
	var components []cdx.Component
	var dependencies []cdx.Dependency
	var programs []string
	for _, p := range all {
		ref := "program:" + p.Name
		programs = append(programs, ref)
		components = append(components, *own(ref, cdx.ComponentTypeApplication, p.Name, version, p.SHA256))
		var refs []string
		for _, m := range p.Modules {
			refs = append(refs, m.PURL)
			if !slices.ContainsFunc(components, func(c cdx.Component) bool { return c.BOMRef == m.PURL }) {
				one := cdx.Component{
					BOMRef: m.PURL, Type: cdx.ComponentTypeLibrary, Name: m.Name, Version: m.Version, PackageURL: m.PURL, Licenses: licences(m.License),
				}
				if len(m.CPEs) > 0 {
					one.CPE = m.CPEs[0]
				}
				components = append(components, one)
			}
		}
		dependencies = append(dependencies, cdx.Dependency{Ref: ref, Dependencies: &refs})
	}
	dependencies = append(dependencies, cdx.Dependency{Ref: file, Dependencies: &programs})
	sort.SliceStable(components, func(i, j int) bool { return components[i].BOMRef < components[j].BOMRef })
	bom.Components, bom.Dependencies = &components, &dependencies
	return encode(bom)
}

// own is a component of this project.
func own(ref string, kind cdx.ComponentType, name, version, sha256 string) *cdx.Component {
	return &cdx.Component{
		BOMRef: ref, Type: kind, Name: name, Version: version, Licenses: licences(licence.Ours),
		Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: sha256}},
	}
}

// serialOf derives a serial number from a digest in hexadecimal digits.
func serialOf(digest string) (string, error) {
	raw, err := hex.DecodeString(digest)
	if err != nil || len(raw) != sha256.Size {
		return "", fmt.Errorf("write bill of materials: %q is not a SHA-256", digest)
	}
	return serial([sha256.Size]byte(raw)), nil
}
