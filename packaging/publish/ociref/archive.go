package ociref

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"modwsgi/packaging/publish"
)

// maxManifest is the maximum size in bytes of a manifest or a configuration.
const maxManifest = 16 << 20

// archive is an image layout in a tar archive
// (https://github.com/opencontainers/image-spec/blob/main/image-layout.md). Its blobs are
// read from their places in the archive; nothing is unpacked.
type archive struct {
	file  *publish.File
	blobs map[string]*io.SectionReader // by name in the archive
	top   v1.Descriptor
}

// openArchive reads the archive's directory, and compares the whole with its checksum.
func openArchive(f *publish.File) (*archive, error) {
	if _, err := io.Copy(io.Discard, f.Checked()); err != nil {
		return nil, err
	}
	a := &archive{file: f, blobs: map[string]*io.SectionReader{}}
	whole := io.NewSectionReader(f, 0, f.Size)
	for t := tar.NewReader(whole); ; {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		at, err := whole.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		a.blobs[path.Clean(h.Name)] = io.NewSectionReader(f, at, h.Size)
	}
	var index v1.IndexManifest
	data, err := a.read("index.json")
	if err == nil {
		err = json.Unmarshal(data, &index)
	}
	if err != nil {
		return nil, fmt.Errorf("it is not an image layout: %w", err)
	}
	if len(index.Manifests) == 0 {
		return nil, errors.New("its index.json names no image")
	}
	a.top = index.Manifests[0]
	return a, nil
}

func (a *archive) read(name string) ([]byte, error) {
	r := a.blobs[name]
	if r == nil {
		return nil, fmt.Errorf("%s is missing", name)
	}
	if r.Size() > maxManifest {
		return nil, fmt.Errorf("%s is too large", name)
	}
	return io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
}

// blob reads a manifest or a configuration, and checks its digest.
func (a *archive) blob(h v1.Hash) ([]byte, error) {
	data, err := a.read("blobs/" + h.Algorithm + "/" + h.Hex)
	if err != nil {
		return nil, err
	}
	if got, _, err := v1.SHA256(bytes.NewReader(data)); err != nil || got != h {
		return nil, fmt.Errorf("the blob %s has other contents", h)
	}
	return data, nil
}

// image returns an image in the archive.
func (a *archive) image(d v1.Descriptor) (v1.Image, error) {
	raw, err := a.blob(d.Digest)
	if err != nil {
		return nil, err
	}
	var m v1.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("read the manifest %s: %w", d.Digest, err)
	}
	return partial.CompressedToImage(&imageCore{a, d, raw, m})
}

// imageCore implements [partial.CompressedImageCore].
type imageCore struct {
	a        *archive
	desc     v1.Descriptor
	raw      []byte
	manifest v1.Manifest
}

func (i *imageCore) RawManifest() ([]byte, error)        { return i.raw, nil }
func (i *imageCore) MediaType() (types.MediaType, error) { return i.desc.MediaType, nil }
func (i *imageCore) RawConfigFile() ([]byte, error)      { return i.a.blob(i.manifest.Config.Digest) }

func (i *imageCore) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	for _, d := range i.manifest.Layers {
		if d.Digest == h {
			return &layer{i.a, d}, nil
		}
	}
	if h == i.manifest.Config.Digest {
		return partial.ConfigLayer(i)
	}
	return nil, fmt.Errorf("the layer %s is missing", h)
}

// layer implements [partial.CompressedLayer]. The registry compares its digest.
type layer struct {
	a    *archive
	desc v1.Descriptor
}

func (l *layer) Digest() (v1.Hash, error)            { return l.desc.Digest, nil }
func (l *layer) Size() (int64, error)                { return l.desc.Size, nil }
func (l *layer) MediaType() (types.MediaType, error) { return l.desc.MediaType, nil }
func (l *layer) Compressed() (io.ReadCloser, error) {
	r := l.a.blobs["blobs/"+l.desc.Digest.Algorithm+"/"+l.desc.Digest.Hex]
	if r == nil || r.Size() != l.desc.Size {
		return nil, fmt.Errorf("the layer %s is missing in %s", l.desc.Digest, l.a.file.Name)
	}
	return io.NopCloser(io.NewSectionReader(r, 0, r.Size())), nil
}

// manifest is a manifest as bytes; it implements [remote.Taggable].
type manifest struct {
	raw   []byte
	media types.MediaType
}

func (m *manifest) RawManifest() ([]byte, error)        { return m.raw, nil }
func (m *manifest) MediaType() (types.MediaType, error) { return m.media, nil }

var _ remote.Taggable = (*manifest)(nil)

// children are the images below an index.
func (a *archive) children() ([]v1.Descriptor, error) {
	raw, err := a.blob(a.top.Digest)
	if err != nil {
		return nil, err
	}
	var index v1.IndexManifest
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, fmt.Errorf("read the index %s: %w", a.top.Digest, err)
	}
	for _, d := range index.Manifests {
		if !d.MediaType.IsImage() {
			return nil, fmt.Errorf("the index contains a %s", d.MediaType)
		}
	}
	return index.Manifests, nil
}
