package linuxpkg

import (
	"bytes"
	"fmt"
	"io"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/apk"
	"github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	"github.com/goreleaser/nfpm/v2/rpm"
)

// kinds maps our file kinds to nfpm's.
var kinds = map[string]string{
	"file": files.TypeFile, "dir": files.TypeDir, "config": files.TypeConfigNoReplace, "doc": files.TypeRPMDoc, "license": files.TypeRPMLicense,
	"link": files.TypeSymlink,
}

// pack writes a package. Everything that nfpm would otherwise take from the machine,
// such as its name and the time, is set.
func pack(f Format, p *pkg, out io.Writer) error {
	info := &nfpm.Info{
		Name: p.Name, Arch: p.Arch, Platform: "linux", Version: p.Version, VersionSchema: "none", Release: p.Release, Section: "httpd", Priority: "optional",
		Maintainer: p.Maintainer, Description: p.Description, Homepage: p.Homepage, License: p.License, DisableGlobbing: true, MTime: p.Time,
	}
	info.Depends, info.Provides, info.Conflicts, info.Replaces = p.Depends, p.Provides, p.Conflicts, p.Replaces
	info.Scripts = nfpm.Scripts{
		PreInstall: p.Scripts["preinstall"], PostInstall: p.Scripts["postinstall"], PreRemove: p.Scripts["preremove"], PostRemove: p.Scripts["postremove"],
	}
	for _, e := range p.Entries {
		info.Contents = append(info.Contents, &files.Content{
			Source: e.From, Destination: e.Path, Type: kinds[e.Kind], FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: e.Mode, MTime: p.Time},
		})
	}
	switch f {
	case Deb:
		return packDeb(info, p, out)
	case RPM:
		return packRPM(info, p, out)
	case APK:
		info.Description = p.Summary
		info.APK.Arch, info.APK.Scripts.PostUpgrade = p.Arch, p.Scripts["postupgrade"]
		return apk.Default.Package(info, out)
	}
	return fmt.Errorf("unknown package format %q", f)
}

func packDeb(info *nfpm.Info, p *pkg, out io.Writer) error {
	info.Description = p.Summary + "\n" + p.Description
	info.Deb.Arch, info.Deb.Compression, info.Deb.Fields = p.Arch, "gzip", p.Fields
	if p.Section != "" {
		info.Section = p.Section
	}
	if p.Sign != nil {
		info.Deb.Signature.Type = "origin"
		info.Deb.Signature.SignFn = func(r io.Reader) ([]byte, error) {
			data, err := io.ReadAll(r)
			if err != nil {
				return nil, err
			}
			return p.Sign(data)
		}
	}
	return deb.Default.Package(info, out)
}

func packRPM(info *nfpm.Info, p *pkg, out io.Writer) error {
	info.Changelog = p.Changelog
	info.RPM = nfpm.RPM{Arch: p.Arch, BuildHost: "localhost", Group: "System Environment/Daemons", Summary: p.Summary, Packager: p.Maintainer, Compression: "gzip:1"}
	var unsigned bytes.Buffer
	if err := rpm.DefaultRPM.Package(copyOf(info), &unsigned); err != nil {
		return err
	}
	file, header, payload, err := relativePayload(unsigned.Bytes(), scriptNeeds(p))
	if err != nil {
		return fmt.Errorf("correct the names in the package: %w", err)
	}
	if p.Sign != nil {
		// The signature covers what relativePayload makes: first the header, then all
		// of it.
		parts := [][]byte{header, append(bytes.Clone(header), payload...)}
		info.RPM.Signature.SignFn = func(io.Reader) ([]byte, error) {
			data := parts[0]
			parts = parts[1:]
			return binarySignature(p.Sign, data)
		}
		var signed bytes.Buffer
		if err := rpm.DefaultRPM.Package(info, &signed); err != nil {
			return err
		}
		if file, _, _, err = relativePayload(signed.Bytes(), scriptNeeds(p)); err != nil {
			return fmt.Errorf("correct the names in the package: %w", err)
		}
	}
	_, err = out.Write(file)
	return err
}

// copyOf returns a copy that nfpm may change.
func copyOf(info *nfpm.Info) *nfpm.Info {
	c := *info
	return &c
}

// binarySignature removes the armor, which rpm does not read.
func binarySignature(sign func([]byte) ([]byte, error), data []byte) ([]byte, error) {
	armored, err := sign(data)
	if err != nil {
		return nil, err
	}
	block, err := armor.Decode(bytes.NewReader(armored))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(block.Body)
}
