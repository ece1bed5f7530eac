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
	"sort"
	"strings"

	"modwsgi/internal/atomicfile"
	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/internal/filetree"
	"modwsgi/internal/version"
	"modwsgi/packaging"
	"modwsgi/packaging/linuxpkg"
	"modwsgi/packaging/sbom"
)

// Binary is one of our programs in an archive.
type Binary struct {
	Name   string // file name, "modwsgi.exe"
	Data   []byte
	SHA256 string
}

// Program is the binary's name without ".exe".
func (b Binary) Program() string { return strings.TrimSuffix(b.Name, ".exe") }

const maxBinary = 256 << 20 // bytes; a larger file is not one of our programs

// Binaries reads our programs from an archive of a release (.tar.gz, .zip), sorted by
// name.
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
	sort.SliceStable(found, func(i, j int) bool { return found[i].Name < found[j].Name })
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

// archiveOf returns the archive with the same programs as an artifact: the artifact
// itself, or for a package of a Linux distribution the archive next to it.
func archiveOf(artifact string) (string, error) {
	m := packageName.FindStringSubmatch(artifact)
	if m == nil {
		return artifact, nil
	}
	arch := map[string]string{"amd64": "amd64", "x86_64": "amd64", "arm64": "arm64", "aarch64": "arm64"}[m[1]]
	beside := filetree.Glob(filepath.Dir(artifact), "modwsgi_*_linux_"+arch+".tar.gz")
	if len(beside) != 1 {
		return "", fault.New(fault.Environment, "", "%d archives for linux/%s next to %s, not one", len(beside), arch, filepath.Base(artifact))
	}
	return beside[0], nil
}

// programsOf reads our programs in an artifact.
func programsOf(artifact string) ([]Binary, error) {
	archive, err := archiveOf(artifact)
	if err != nil {
		return nil, err
	}
	return Binaries(archive)
}

// Sbom writes the bill of materials of a release's artifact (sbom.Programs): our
// programs with their hashes, and the Go modules recorded in them. The list of Notices
// provides the licences.
//
// goreleaser calls it for every artifact before it hashes them, and has no step of its
// own there. So this is also where the names in an rpm are corrected.
func Sbom(artifact, document, modules string) error {
	binaries, err := programsOf(artifact)
	if err != nil {
		return err
	}
	if strings.HasSuffix(artifact, ".rpm") {
		if err := linuxpkg.RelativePayload(artifact); err != nil {
			return err
		}
	}
	sum, err := digest.File(artifact)
	if err != nil {
		return err
	}
	licences, err := readModules(modules)
	if err != nil {
		return err
	}
	data, err := bill(filepath.Base(artifact), sum, binaries, licences)
	if err != nil {
		return fmt.Errorf("describe %s: %w", filepath.Base(artifact), err)
	}
	return atomicfile.Write(document, data, 0o644)
}

// bill returns the bill of materials of a file with these programs.
func bill(name, sum string, binaries []Binary, licences map[Module]string) ([]byte, error) {
	if len(binaries) == 0 {
		return nil, fault.New(fault.Environment, "", "it contains none of our programs")
	}
	var programs []sbom.Program
	for _, b := range binaries {
		linked, err := modulesIn(b)
		if err != nil {
			return nil, err
		}
		p := sbom.Program{Name: b.Name, SHA256: b.SHA256}
		for _, m := range linked {
			c := packaging.GoModule(m.Path, m.Version, "")
			c.License = licences[m]
			p.Modules = append(p.Modules, c)
		}
		programs = append(programs, p)
	}
	return sbom.Programs(name, sum, version.Release, programs)
}

// build is the go command's record in a program of how it was built.
func (b Binary) build() (*buildinfo.BuildInfo, error) {
	info, err := buildinfo.Read(bytes.NewReader(b.Data))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", b.Name, err)
	}
	return info, nil
}

// modulesIn reads the linked modules of a program.
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
		return nil, fault.New(fault.Environment, "run scripts/release-extras", "read the modules' licences: %w", err)
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
