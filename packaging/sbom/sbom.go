// Package sbom describes an artifact as a CycloneDX bill of materials
// (https://cyclonedx.org/docs/1.6/json/): each component with its version, licence,
// package URL and the hash that it was verified against. Equal contents produce equal
// bytes. It does not know how an artifact is made.
package sbom

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"modwsgi/packaging"
)

// Subject is the described artifact.
type Subject struct {
	Name     string // "mod_wsgi"
	Version  string
	PURL     string // "pkg:pypi/mod-wsgi@5.0.2"
	License  string // SPDX expression
	FileName string // of the artifact; "" inside of one
	SHA256   string // of the artifact; "" inside of one
	Time     time.Time
	Tool     string // version of modwsgi
	// Properties are facts without a dedicated field, by name.
	Properties [][2]string
}

// PackageURL identifies a package in a Linux distribution's format by its format,
// name, version and CPU (https://github.com/package-url/purl-spec). It names no
// distribution, because the package is ours.
func PackageURL(format, name, version, arch string) string {
	return packaging.PackageURL(format+"/modwsgi/"+name, version, [2]string{"arch", arch})
}

// JSON returns the bill of materials.
func JSON(s Subject, components []packaging.Component) ([]byte, error) {
	bom := cdx.NewBOM()
	root := cdx.Component{
		BOMRef: "root", Type: cdx.ComponentTypeApplication, Name: s.Name, Version: s.Version, PackageURL: s.PURL, Licenses: licences(s.License),
	}
	if s.SHA256 != "" {
		root.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: s.SHA256}}
	}
	var properties []cdx.Property
	if s.FileName != "" {
		properties = append(properties, cdx.Property{Name: "modwsgi:file", Value: s.FileName})
	}
	for _, p := range s.Properties {
		properties = append(properties, cdx.Property{Name: "modwsgi:" + p[0], Value: p[1]})
	}
	if len(properties) > 0 {
		root.Properties = &properties
	}
	bom.Metadata = &cdx.Metadata{
		Timestamp: s.Time.UTC().Format(time.RFC3339), Component: &root,
		Tools: &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: "modwsgi", Version: s.Tool}}},
	}
	var all []cdx.Component
	var refs []string
	for _, c := range packaging.SortComponents(components) {
		one := component(c)
		all, refs = append(all, one), append(refs, one.BOMRef)
	}
	all = append(all, systems(packaging.SortComponents(components))...)
	bom.Components = &all
	bom.Dependencies = &[]cdx.Dependency{{Ref: "root", Dependencies: &refs}}
	bom.SerialNumber = ""
	first, err := encode(bom)
	if err != nil {
		return nil, err
	}
	bom.SerialNumber = serial(sha256.Sum256(first))
	return encode(bom)
}

// Version is the version of CycloneDX of every document.
const Version = cdx.SpecVersion1_6

func encode(bom *cdx.BOM) ([]byte, error) {
	var b bytes.Buffer
	if err := cdx.NewBOMEncoder(&b, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bom, Version); err != nil {
		return nil, fmt.Errorf("write bill of materials: %w", err)
	}
	return b.Bytes(), nil
}

// serial derives an identifier from a digest (RFC 9562, version 8).
func serial(h [sha256.Size]byte) string {
	h[6], h[8] = h[6]&0x0f|0x80, h[8]&0x3f|0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

func licences(spdx string) *cdx.Licenses {
	if spdx == "" {
		return nil
	}
	return &cdx.Licenses{{Expression: spdx}}
}

func component(c packaging.Component) cdx.Component {
	out := cdx.Component{
		BOMRef: c.Kind + ":" + c.Name + "@" + c.Version, Type: cdx.ComponentTypeLibrary, Name: c.Name, Version: c.Version,
		PackageURL: c.PURL, Licenses: licences(c.License),
	}
	if len(c.CPEs) > 0 {
		out.CPE = c.CPEs[0]
	}
	if c.File != "" && c.Kind == packaging.FromHost {
		out.BOMRef += "#" + c.File
	}
	if c.Name == "httpd" {
		out.Type = cdx.ComponentTypeApplication
	}
	if c.SHA256 != "" {
		out.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: c.SHA256}}
	}
	if c.URL != "" {
		out.ExternalReferences = &[]cdx.ExternalReference{{Type: cdx.ERTypeDistribution, URL: c.URL}}
	}
	var properties []cdx.Property
	for _, p := range [][2]string{{"from", c.Kind}, {"trust", c.Trust}, {"file", c.File}, {"sum", c.Sum}, {"supported-until", c.Support}} {
		if p[1] != "" {
			properties = append(properties, cdx.Property{Name: "modwsgi:" + p[0], Value: p[1]})
		}
	}
	if len(c.Features) > 0 {
		properties = append(properties, cdx.Property{Name: "modwsgi:features", Value: strings.Join(c.Features, ",")})
	}
	for _, other := range c.CPEs[min(1, len(c.CPEs)):] { // CycloneDX has a field for one; this is where syft and grype have the others
		properties = append(properties, cdx.Property{Name: "syft:cpe23", Value: other})
	}
	out.Properties = &properties
	return out
}

// systems are the Linux distributions that components were copied from, as their package
// URLs name them ("distro=debian-12"). A scanner needs them to choose the advisories.
func systems(components []packaging.Component) []cdx.Component {
	var all []cdx.Component
	for _, c := range components {
		_, query, _ := strings.Cut(c.PURL, "?")
		for q := range strings.SplitSeq(query, "&") {
			system, is := strings.CutPrefix(q, "distro=")
			id, release, _ := strings.Cut(system, "-")
			ref := "system:" + system
			if is && release != "" && !slices.ContainsFunc(all, func(o cdx.Component) bool { return o.BOMRef == ref }) {
				all = append(all, cdx.Component{BOMRef: ref, Type: cdx.ComponentTypeOS, Name: id, Version: release, Description: "libraries were copied from it"})
			}
		}
	}
	return all
}
