// Package publishtest makes small output directories of modwsgi package, with real
// packages of every kind, and keys to sign repositories with. It is imported by tests
// only.
package publishtest

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb" // the formats register themselves
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm"

	"modwsgi/packaging"
	"modwsgi/packaging/release"
	"modwsgi/packaging/sign"
)

// At is the time of the artifacts.
var At = time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)

// File is an artifact to make.
type File struct {
	Artifact packaging.Artifact
	Data     []byte
}

// Dist writes the files into a new output directory and returns it.
func Dist(t testing.TB, signers []sign.Signer, all ...File) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "dist")
	d, err := packaging.Open(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Abort()
	for _, f := range all {
		if err := d.Put(f.Artifact.Name, bytes.NewReader(f.Data)); err != nil {
			t.Fatal(err)
		}
		if err := d.Add(&f.Artifact); err != nil {
			t.Fatal(err)
		}
	}
	if err := release.Finish(t.Context(), d, release.Options{Time: At, Tool: "1.0.0", Signers: signers}); err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Package makes a deb or an rpm with one program, /usr/bin/NAME, that prints content. It
// depends on nothing.
func Package(t testing.TB, format, name, version, arch, content string) File {
	t.Helper()
	p, err := nfpm.Get(format)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho "+content+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	info := nfpm.WithDefaults(&nfpm.Info{
		Name: name, Version: version, Release: "1", Arch: arch, Platform: "linux", Maintainer: "Jane <jane@example.org>", Description: "A test & more\nwith <two> lines", MTime: At,
		License: "Apache-2.0", Homepage: "https://example.org/?a=1&b=2",
		Overridables: nfpm.Overridables{
			Provides: []string{name + "-virtual"},
			Contents: files.Contents{
				{Source: program, Destination: "/usr/bin/" + name, FileInfo: &files.ContentFileInfo{Mode: 0o755, MTime: At}},
				{Source: program, Destination: "/usr/share/" + name + "/plain", FileInfo: &files.ContentFileInfo{Mode: 0o644, MTime: At}},
				{Destination: "/var/lib/" + name, Type: files.TypeDir, FileInfo: &files.ContentFileInfo{Mode: 0o755, MTime: At}},
			},
		},
	})
	if err := nfpm.PrepareForPackager(info, format); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	file := p.ConventionalFileName(info)
	if err := p.Package(info, &b); err != nil {
		t.Fatal(err)
	}
	return File{packaging.Artifact{Name: file, Kind: format, Project: name, Version: version + "-1", Platform: arch}, b.Bytes()}
}

// Wheel makes a pure wheel with one module.
func Wheel(t testing.TB, project, version, more, content string) File {
	t.Helper()
	return wheel(t, project, version, "py3-none-any", more, content)
}

// LinuxWheel makes one that only this machine can use.
func LinuxWheel(t testing.TB, project, version string) File {
	t.Helper()
	return wheel(t, project, version, "py3-none-linux_x86_64", "", "")
}

func wheel(t testing.TB, project, version, tag, more, content string) File {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	info := project + "-" + version + ".dist-info/"
	for _, f := range [][2]string{
		{project + ".py", "# " + content + "\n"},
		{info + "METADATA", "Metadata-Version: 2.1\nName: " + project + "\nVersion: " + version +
			"\nSummary: A test: of colons\nHome-page: https://example.org/\nLicense: Apache-2.0\nClassifier: Programming Language :: Python :: 3\nClassifier: Topic :: Internet\n" +
			"Requires-Python: >=3.8\nProject-URL: Source, https://example.org/src\nDescription-Content-Type: text/plain\n" + more + "\nA description\nof two lines with ünicode.\n"},
		{info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: " + tag + "\n"},
		{info + "RECORD", project + ".py,,\n" + info + "METADATA,,\n" + info + "WHEEL,,\n" + info + "RECORD,,\n"},
	} {
		w, err := z.CreateHeader(&zip.FileHeader{Name: f[0], Modified: At, Method: zip.Deflate})
		if err == nil {
			_, err = io.WriteString(w, f[1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("%s-%s-%s.whl", project, version, tag)
	return File{packaging.Artifact{Name: name, Kind: "wheel", Project: project, Version: version, Requires: ">=3.8"}, b.Bytes()}
}

// Image makes an image archive; with several CPUs it is an index.
func Image(t testing.TB, content string, cpus ...string) File {
	t.Helper()
	blobs := map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)}
	add := func(data []byte) v1.Hash {
		h, _, err := v1.SHA256(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		blobs["blobs/sha256/"+h.Hex] = data
		return h
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	var top v1.Descriptor
	for _, cpu := range cpus {
		layer := static.NewLayer([]byte(content+cpu), types.OCIUncompressedLayer)
		add([]byte(content + cpu))
		img, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), layer)
		if err == nil {
			img, err = mutate.ConfigFile(img, &v1.ConfigFile{OS: "linux", Architecture: cpu, RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{add([]byte(content + cpu))}}})
		}
		if err != nil {
			t.Fatal(err)
		}
		raw, err1 := img.RawManifest()
		config, err2 := img.RawConfigFile()
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		add(config)
		top = v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: add(raw), Size: int64(len(raw))}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: cpu}}})
	}
	if len(cpus) > 1 {
		raw, err := index.RawManifest()
		if err != nil {
			t.Fatal(err)
		}
		top = v1.Descriptor{MediaType: types.OCIImageIndex, Digest: add(raw), Size: int64(len(raw))}
	}
	list, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{top}})
	if err != nil {
		t.Fatal(err)
	}
	blobs["index.json"] = list
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, data := range blobs {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data)), ModTime: At}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return File{packaging.Artifact{Name: "web-1.0.oci.tar", Kind: "oci", Project: "web", Version: "1.0"}, b.Bytes()}
}

// Key makes an OpenPGP key, and returns the files of its two halves, armored.
func Key(t testing.TB) (private, public string) {
	t.Helper()
	e, err := openpgp.NewEntity("repository", "", "repository@example.org", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return time.Now().Add(-time.Hour) }})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, f := range []struct {
		to    *string
		name  string
		kind  string
		write func(io.Writer) error
	}{
		{&private, "private.asc", openpgp.PrivateKeyType, func(w io.Writer) error { return e.SerializePrivate(w, nil) }},
		{&public, "public.asc", openpgp.PublicKeyType, e.Serialize},
	} {
		var b bytes.Buffer
		w, err := armor.Encode(&b, f.kind, nil)
		if err == nil {
			err = f.write(w)
		}
		if err == nil {
			err = w.Close()
		}
		*f.to = filepath.Join(dir, f.name)
		if err == nil {
			err = os.WriteFile(*f.to, append(b.Bytes(), '\n'), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return private, public
}

// Signer reads a key.
func Signer(t testing.TB, file string) *sign.OpenPGP {
	t.Helper()
	s, err := sign.NewOpenPGP(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
