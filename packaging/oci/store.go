package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"modwsgi/internal/fault"
	"modwsgi/internal/filetree"
	"modwsgi/internal/owned"
	"modwsgi/packaging"
)

// finish makes the images, the index of several, and the artifact.
func (m *maker) finish() (*Result, error) {
	for _, i := range m.images {
		if err := m.build(i); err != nil {
			return nil, err
		}
	}
	first := m.images[0]
	r := &Result{Digest: first.digest.String()}
	var index v1.ImageIndex
	if len(m.images) > 1 {
		index = m.index()
		h, err := index.Digest()
		if err != nil {
			return nil, err
		}
		r.Digest = h.String()
	}
	blobs, err := m.blobs(index, false)
	if err != nil {
		return nil, err
	}
	platform := first.platform.OS + "-" + first.platform.Architecture
	if index != nil {
		platform = first.platform.OS + "-multi"
	}
	name := orElse(m.o.Name, m.title(first.in.Stage)+"-"+platform+".oci.tar")
	if r.Artifact, err = m.archive(name, platform, blobs); err != nil {
		return nil, err
	}
	if m.o.Layout != "" {
		if blobs, err = m.blobs(index, true); err != nil {
			return nil, err
		}
		if err := writeLayout(m.o.Layout, blobs); err != nil {
			return nil, err
		}
	}
	if m.o.Push != nil {
		if r.Pushed, err = m.push(index); err != nil {
			if m.o.Layout != "" {
				removeLayout(m.o.Layout)
			}
			return nil, err
		}
		if m.o.Sign != nil {
			h, err := v1.NewHash(r.Digest)
			if err != nil {
				return nil, err
			}
			r.Signature = signatureTag(m.o.Push.ref.Repository, h).Name()
		}
	}
	r.Warnings = m.warnings
	return r, nil
}

// index lists the images of several CPUs.
func (m *maker) index() v1.ImageIndex {
	media := types.OCIImageIndex
	if m.o.Docker {
		media = types.DockerManifestList
	}
	var adds []mutate.IndexAddendum
	for _, i := range m.images {
		adds = append(adds, mutate.IndexAddendum{Add: i.image, Descriptor: v1.Descriptor{Platform: &i.platform}})
	}
	return mutate.AppendManifests(mutate.IndexMediaType(empty.Index, media), adds...)
}

// blob is a file of a layout.
type blob struct {
	data []byte
	file string
}

// content maps the paths of a layout's files to their contents.
type content map[string]blob

func (c content) raw(data []byte) v1.Hash {
	h := hashOf(data)
	c["blobs/sha256/"+h.Hex] = blob{data: data}
	return h
}

// blobs lists the files of the layout. With attached, its index includes the
// descriptions of the images, which some readers of archives take for images.
func (m *maker) blobs(index v1.ImageIndex, attached bool) (content, error) {
	all := content{}
	var descs []v1.Descriptor
	var loads []dockerLoad
	for _, i := range m.images {
		raw, err := i.image.RawManifest()
		if err != nil {
			return nil, err
		}
		cfg, err := i.image.RawConfigFile()
		if err != nil {
			return nil, err
		}
		media, err := i.image.MediaType()
		if err != nil {
			return nil, err
		}
		all.raw(raw)
		load := dockerLoad{Config: "blobs/sha256/" + all.raw(cfg).Hex, RepoTags: []string{}}
		if m.o.Tag != "" {
			load.RepoTags = []string{m.o.Tag}
		}
		var layers []*layer
		if i.base != nil {
			layers = i.base.layers
		}
		for _, l := range slices.Concat(layers, i.layers) {
			name := "blobs/sha256/" + l.digest.Hex
			all[name] = blob{file: l.file}
			load.Layers = append(load.Layers, name)
		}
		loads = append(loads, load)
		descs = append(descs, v1.Descriptor{MediaType: media, Digest: i.digest, Size: int64(len(raw)), Platform: &i.platform})
	}
	if index != nil {
		raw, err := index.RawManifest()
		if err != nil {
			return nil, err
		}
		media, err := index.MediaType()
		if err != nil {
			return nil, err
		}
		descs = []v1.Descriptor{{MediaType: media, Digest: all.raw(raw), Size: int64(len(raw))}}
	}
	if m.o.Tag != "" {
		tag := m.o.Tag
		if at := strings.LastIndexByte(tag, ':'); at > strings.LastIndexByte(tag, '/') {
			tag = tag[at+1:]
		}
		descs[0].Annotations = map[string]string{"org.opencontainers.image.ref.name": tag, "io.containerd.image.name": m.o.Tag}
	}
	if attached {
		more, err := m.attach(all)
		if err != nil {
			return nil, err
		}
		descs = append(descs, more...)
	}
	return all, m.roots(all, descs, loads, index == nil)
}

// dockerLoad is an entry of the file that docker load has always read, which a layout
// may also contain.
type dockerLoad struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func (m *maker) roots(all content, descs []v1.Descriptor, loads []dockerLoad, single bool) error {
	list, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: descs})
	if err != nil {
		return err
	}
	all["index.json"] = blob{data: list}
	all["oci-layout"] = blob{data: []byte(`{"imageLayoutVersion":"1.0.0"}`)}
	if single && !m.o.Zstd {
		old, err := json.Marshal(loads)
		if err != nil {
			return err
		}
		all["manifest.json"] = blob{data: old}
	}
	return nil
}

// The kinds of attachments of images.
const (
	bomType        = "application/vnd.cyclonedx+json"
	provenanceType = "application/vnd.in-toto+json"
)

// referrers are the manifests of an image's descriptions, which name the image as
// their subject (https://github.com/opencontainers/image-spec/blob/main/manifest.md).
func (m *maker) referrers(i *image) ([]v1.Image, error) {
	raw, err := i.image.RawManifest()
	if err != nil {
		return nil, err
	}
	media, err := i.image.MediaType()
	if err != nil {
		return nil, err
	}
	subject := v1.Descriptor{MediaType: media, Digest: i.digest, Size: int64(len(raw))}
	var all []v1.Image
	for _, a := range []struct {
		kind string
		data []byte
		name string
	}{{bomType, i.bom, "sbom.cdx.json"}, {provenanceType, i.from, "provenance.intoto.json"}} {
		img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.MediaType(a.kind))
		img, err := mutate.Append(img, mutate.Addendum{
			Layer: static.NewLayer(a.data, types.MediaType(a.kind)), Annotations: map[string]string{"org.opencontainers.image.title": a.name},
		})
		if err != nil {
			return nil, err
		}
		img = mutate.Annotations(img, map[string]string{"org.opencontainers.image.created": m.o.Time.UTC().Format(time.RFC3339)}).(v1.Image)
		all = append(all, mutate.Subject(img, subject).(v1.Image))
	}
	return all, nil
}

// attach adds the referrers to a layout, and returns their descriptors.
func (m *maker) attach(all content) ([]v1.Descriptor, error) {
	var descs []v1.Descriptor
	for _, i := range m.images {
		list, err := m.referrers(i)
		if err != nil {
			return nil, err
		}
		for k, img := range list {
			raw, err := img.RawManifest()
			if err != nil {
				return nil, err
			}
			cfg, err := img.RawConfigFile()
			if err != nil {
				return nil, err
			}
			all.raw(cfg)
			all.raw([][]byte{i.bom, i.from}[k])
			descs = append(descs, v1.Descriptor{
				MediaType: types.OCIManifestSchema1, Digest: all.raw(raw), Size: int64(len(raw)), ArtifactType: []string{bomType, provenanceType}[k],
			})
		}
	}
	return descs, nil
}

// archive writes the layout as an archive and registers it.
func (m *maker) archive(name, platform string, all content) (*packaging.Artifact, error) {
	var entries []entry
	for _, n := range slices.Sorted(keys(all)) {
		e := dataEntry(n, all[n].data, 0o644)
		e.source = all[n].file
		entries = append(entries, e)
	}
	entries, err := complete(entries, false)
	if err != nil {
		return nil, err
	}
	return m.write(name, platform, func(w io.Writer) error { return writeTar(m.ctx, w, entries, m.o.Time) })
}

// write writes an artifact and registers it.
func (m *maker) write(name, platform string, fill func(io.Writer) error) (*packaging.Artifact, error) {
	out, err := m.dist.Create(name)
	if err != nil {
		return nil, err
	}
	err = fill(out)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, writing(name, err)
	}
	s := m.images[0].in.Stage
	a := &packaging.Artifact{
		Name: name, Kind: "oci", Project: "mod_wsgi-image", Version: s.Module.Version, Platform: platform, Took: time.Since(m.began), Parameters: m.parameters(),
	}
	if m.o.LayerOnly {
		a.Kind = "layer"
	}
	for _, i := range m.images {
		a.Components = append(a.Components, i.components...)
		for _, c := range i.linkage.Bundled {
			if !slices.Contains(a.Libraries, c.File) {
				a.Libraries = append(a.Libraries, c.File)
			}
		}
	}
	return a, m.dist.Add(a)
}

// layerOnly writes everything as one layer.
func (m *maker) layerOnly() (*Result, error) {
	if len(m.images) != 1 {
		return nil, fault.New(fault.Usage, "make one layer for each", "--layer-only makes a layer for one CPU, but there are %d stages", len(m.images))
	}
	i := m.images[0]
	l, err := m.makeLayer("", i.merged, true)
	if err != nil {
		return nil, err
	}
	platform := i.platform.OS + "-" + i.platform.Architecture
	ending := ".layer.tar.gz"
	if m.o.Zstd {
		ending = ".layer.tar.zst"
	}
	r := &Result{Warnings: m.warnings}
	r.Artifact, err = m.write(orElse(m.o.Name, m.title(i.in.Stage)+"-"+platform+ending), platform, func(w io.Writer) error {
		f, err := os.Open(l.file)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		_, err = io.Copy(w, f)
		return err
	})
	return r, err
}

// writeLayout writes a layout as a directory, which appears once it is complete. It
// refuses an existing directory.
func writeLayout(dir string, all content) (err error) {
	above, err := owned.MakeOutputDir(filepath.Dir(dir))
	if err != nil {
		return writing(dir, err)
	}
	defer func() { _ = above.Close() }()
	base := filepath.Base(dir)
	if _, serr := above.Lstat(base); !errors.Is(serr, fs.ErrNotExist) {
		return fault.New(fault.Usage, "name a directory that does not exist yet, or remove this one", "--layout: %s already exists", dir)
	}
	tmp, err := above.Temp(".modwsgi-layout-")
	if err != nil {
		return writing(dir, err)
	}
	defer func() {
		_ = tmp.Close()
		if err != nil {
			_ = above.RemoveAll(filepath.Base(tmp.Path()))
			err = writing(dir, err)
		}
	}()
	if err := tmp.Root().MkdirAll(filepath.Join("blobs", "sha256"), 0o755); err != nil {
		return err
	}
	for name, b := range all {
		if err := writeBlob(tmp.Root(), filepath.FromSlash(name), b); err != nil {
			return err
		}
	}
	if err := tmp.Root().Chmod(".", 0o755); err != nil {
		return err
	}
	return above.Root().Rename(filepath.Base(tmp.Path()), base)
}

// writeBlob writes a file of a layout.
func writeBlob(root *os.Root, name string, b blob) error {
	var from io.Reader = bytes.NewReader(b.data)
	if b.file != "" {
		f, err := os.Open(b.file)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		from = f
	}
	return filetree.CreateIn(root, name, from, 0o644)
}

// removeLayout removes what writeLayout made.
func removeLayout(dir string) {
	if above, err := owned.OutputDir(filepath.Dir(dir)); err == nil {
		_ = above.RemoveAll(filepath.Base(dir))
		_ = above.Close()
	}
}
