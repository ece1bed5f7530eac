package toolrelease

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"

	"modwsgi/internal/atomicfile"
	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/internal/filetree"
	"modwsgi/internal/version"
)

// Binary is one of our programs in an archive.
type Binary struct {
	Name   string // file name, "modwsgi.exe"
	Data   []byte
	SHA256 string
}

// Program is the binary's name without ".exe".
func (b Binary) Program() string { return strings.TrimSuffix(b.Name, ".exe") }

const maxBinary = 256 << 20 // bytes; more is not one of our programs

// Binaries reads our programs out of an archive of a release (.tar.gz, .zip),
// sorted by name.
func Binaries(archive string) ([]Binary, error) {
	var found []Binary
	err := eachFile(archive, func(name string, _ os.FileMode, r io.Reader) error {
		base := path.Base(name)
		if !slices.Contains(Programs, strings.TrimSuffix(base, ".exe")) {
			return nil
		}
		data, err := io.ReadAll(io.LimitReader(r, maxBinary))
		if err != nil {
			return err
		}
		sum := sha256.Sum256(data)
		found = append(found, Binary{base, data, hex.EncodeToString(sum[:])})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Base(archive), err)
	}
	slices.SortFunc(found, func(a, b Binary) int { return strings.Compare(a.Name, b.Name) })
	return found, nil
}

// eachFile calls f for every regular file of an archive.
func eachFile(archive string, f func(name string, mode os.FileMode, r io.Reader) error) error {
	if strings.HasSuffix(archive, ".zip") || strings.HasSuffix(archive, ".whl") {
		z, err := zip.OpenReader(archive)
		if err != nil {
			return err
		}
		defer func() { _ = z.Close() }()
		for _, e := range z.File {
			if !e.Mode().IsRegular() {
				continue
			}
			r, err := e.Open()
			if err != nil {
				return err
			}
			if err := errors.Join(f(e.Name, e.Mode(), r), r.Close()); err != nil {
				return err
			}
		}
		return nil
	}
	in, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	unpacked, err := gzip.NewReader(in)
	if err != nil {
		return err
	}
	for t := tar.NewReader(unpacked); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, unpacked) // #nosec G110 -- for the checksum at the end; nothing is kept
			return err
		}
		if err != nil {
			return err
		}
		if h.Typeflag == tar.TypeReg {
			if err := f(h.Name, h.FileInfo().Mode(), t); err != nil {
				return err
			}
		}
	}
}

var packageName = regexp.MustCompile(`[._-](amd64|x86_64|arm64|aarch64)\.(deb|rpm|apk)$`)

// archiveOf returns the archive with the same programs as an artifact: itself,
// or for a package of a Linux distribution the archive beside it.
func archiveOf(artifact string) (string, error) {
	m := packageName.FindStringSubmatch(artifact)
	if m == nil {
		return artifact, nil
	}
	arch := map[string]string{"amd64": "amd64", "x86_64": "amd64", "arm64": "arm64", "aarch64": "arm64"}[m[1]]
	beside := filetree.Glob(filepath.Dir(artifact), "modwsgi_*_linux_"+arch+".tar.gz")
	if len(beside) != 1 {
		return "", fault.New(fault.Environment, "", "there are %d archives for linux/%s beside %s, not one", len(beside), arch, filepath.Base(artifact))
	}
	return beside[0], nil
}

// programsOf reads our programs that are in an artifact.
func programsOf(artifact string) ([]Binary, error) {
	archive, err := archiveOf(artifact)
	if err != nil {
		return nil, err
	}
	return Binaries(archive)
}

// Sbom writes the CycloneDX bill of materials of an artifact of a release: our
// programs with their hashes, and the Go modules that the programs themselves
// say they were linked from. The list of Notices gives the licences. The
// document has no date and a serial number made from the artifact, so that it is
// the same when made again.
func Sbom(artifact, document, modules string) error {
	binaries, err := programsOf(artifact)
	if err != nil {
		return err
	}
	sum, err := digest.File(artifact)
	if err != nil {
		return err
	}
	bom, err := describe(filepath.Base(artifact), sum, binaries, modules)
	if err != nil {
		return fmt.Errorf("describe %s: %w", filepath.Base(artifact), err)
	}
	var b bytes.Buffer
	e := cyclonedx.NewBOMEncoder(&b, cyclonedx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false)
	if err := e.EncodeVersion(bom, cyclonedx.SpecVersion1_5); err != nil {
		return err
	}
	return atomicfile.Write(document, b.Bytes(), 0o644)
}

// describe makes the document.
func describe(name, sum string, binaries []Binary, modules string) (*cyclonedx.BOM, error) {
	if len(binaries) == 0 {
		return nil, fault.New(fault.Environment, "", "none of our programs is in it")
	}
	licences, err := readModules(modules)
	if err != nil {
		return nil, err
	}
	sha := func(hex string) *[]cyclonedx.Hash {
		return &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hex}}
	}
	bom := cyclonedx.NewBOM()
	bom.SerialNumber = serial(sum)
	main := cyclonedx.Component{
		BOMRef: name, Type: cyclonedx.ComponentTypeFile, Name: name, Version: version.Release, Hashes: sha(sum),
		Licenses: &cyclonedx.Licenses{{Expression: "Apache-2.0"}},
	}
	bom.Metadata = &cyclonedx.Metadata{
		Component: &main,
		Tools:     &cyclonedx.ToolsChoice{Components: &[]cyclonedx.Component{{Type: cyclonedx.ComponentTypeApplication, Name: "modwsgi-release", Version: version.Release}}},
	}
	var components []cyclonedx.Component
	var dependencies []cyclonedx.Dependency
	var programs []string
	for _, b := range binaries {
		components = append(components, cyclonedx.Component{
			BOMRef: "program:" + b.Name, Type: cyclonedx.ComponentTypeApplication, Name: b.Name, Version: version.Release, Hashes: sha(b.SHA256),
			Licenses: &cyclonedx.Licenses{{Expression: "Apache-2.0"}},
		})
		programs = append(programs, "program:"+b.Name)
		linked, err := modulesIn(b)
		if err != nil {
			return nil, err
		}
		var refs []string
		for _, m := range linked {
			ref := "pkg:golang/" + m.Path + "@" + m.Version
			refs = append(refs, ref)
			if slices.ContainsFunc(components, func(c cyclonedx.Component) bool { return c.BOMRef == ref }) {
				continue
			}
			c := cyclonedx.Component{BOMRef: ref, Type: cyclonedx.ComponentTypeLibrary, Name: m.Path, Version: m.Version, PackageURL: ref}
			if l := licences[Module{Path: m.Path, Version: m.Version}]; l != "" {
				c.Licenses = &cyclonedx.Licenses{{Expression: l}}
			}
			components = append(components, c)
		}
		dependencies = append(dependencies, cyclonedx.Dependency{Ref: "program:" + b.Name, Dependencies: &refs})
	}
	dependencies = append(dependencies, cyclonedx.Dependency{Ref: name, Dependencies: &programs})
	slices.SortFunc(components, func(a, b cyclonedx.Component) int { return strings.Compare(a.BOMRef, b.BOMRef) })
	bom.Components, bom.Dependencies = &components, &dependencies
	return bom, nil
}

// build is what the go command noted in a program of how it was built.
func (b Binary) build() (*buildinfo.BuildInfo, error) {
	info, err := buildinfo.Read(bytes.NewReader(b.Data))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", b.Name, err)
	}
	return info, nil
}

// modulesIn reads from a program which modules it was linked from.
func modulesIn(b Binary) ([]Module, error) {
	info, err := b.build()
	if err != nil {
		return nil, err
	}
	out := []Module{{Path: "stdlib", Version: strings.TrimPrefix(info.GoVersion, "go")}}
	for _, d := range info.Deps {
		out = append(out, Module{Path: d.Path, Version: d.Version})
	}
	return out, nil
}

// readModules reads the list of Notices: licences by module.
func readModules(file string) (map[Module]string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.New(fault.Environment, "scripts/release-extras makes it", "read the modules' licences: %w", err)
	}
	var all []Module
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	out := map[Module]string{}
	for _, m := range all {
		out[Module{Path: m.Path, Version: m.Version}] = m.License
	}
	return out, nil
}

// serial makes a UUID (version 8, RFC 9562) from a digest.
func serial(sum string) string {
	raw, err := hex.DecodeString(sum)
	if err != nil || len(raw) < 16 {
		raw = make([]byte, 16)
	}
	raw = slices.Clone(raw[:16])
	raw[6], raw[8] = raw[6]&0x0f|0x80, raw[8]&0x3f|0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", raw[:4], raw[4:6], raw[6:8], raw[8:10], raw[10:])
}
