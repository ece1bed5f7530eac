package oci

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"modwsgi/internal/fault"
)

// Prefixes of bases that are not in a registry: a directory, and a file that docker
// save or podman save wrote. dockerPrefix is accepted for users of skopeo.
const (
	layoutPrefix  = "oci-layout:"
	archivePrefix = "docker-archive:"
	dockerPrefix  = "docker://"
)

// local reports whether a base is on the build machine, where its name means nothing
// to others.
func local(base string) bool {
	return strings.HasPrefix(base, layoutPrefix) || strings.HasPrefix(base, archivePrefix)
}

// base is the image that ours is based on.
type base struct {
	name   string // as the user gave it
	digest v1.Hash
	config *v1.ConfigFile
	layers []*layer
	root   *rootfs
	glibc  string // version of its C library; "" if it is not glibc
}

// openBase fetches the base for the CPU of an image and inspects it.
func (m *maker) openBase(i *image) error {
	if m.o.Base == Scratch || m.o.LayerOnly {
		return nil
	}
	img, err := m.resolveBase(i)
	if err != nil {
		return err
	}
	b := &base{name: m.o.Base}
	if b.digest, err = img.Digest(); err != nil {
		return m.baseProblem(err)
	}
	if b.config, err = img.ConfigFile(); err != nil {
		return m.baseProblem(err)
	}
	if cpu := b.config.Architecture; cpu != i.platform.Architecture || b.config.OS != i.platform.OS {
		return fault.New(fault.Usage, "name a base for "+i.platform.String()+", or build on a machine with that CPU",
			"the base %s is for %s/%s, but the build is for %s", m.o.Base, b.config.OS, cpu, i.platform.String())
	}
	layers, err := img.Layers()
	if err != nil {
		return m.baseProblem(err)
	}
	for _, l := range layers {
		got, err := m.keep(l)
		if err != nil {
			return m.baseProblem(err)
		}
		b.layers = append(b.layers, got)
	}
	if b.root, err = readRoot(m.ctx, b.layers); err != nil {
		return m.baseProblem(err)
	}
	i.base = b
	return m.checkLibc(i)
}

func (m *maker) baseProblem(err error) error {
	if m.ctx.Err() != nil {
		return m.ctx.Err()
	}
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	return fault.New(fault.Source, registryHint(err, "check that it is complete, or name another one with --base"), "read the base %s: %w", m.o.Base, err)
}

// resolveBase finds the image, by its platform if the base is a list of several.
func (m *maker) resolveBase(i *image) (v1.Image, error) {
	if rest, ok := strings.CutPrefix(m.o.Base, layoutPrefix); ok {
		return m.fromLayout(rest, i.platform)
	}
	if rest, ok := strings.CutPrefix(m.o.Base, archivePrefix); ok {
		return m.fromArchive(rest)
	}
	ref, err := parseReference(strings.TrimPrefix(m.o.Base, dockerPrefix), m.o.Insecure, "--base")
	if err != nil {
		return nil, err
	}
	client, err := m.o.registry()
	if err != nil {
		return nil, err
	}
	desc, err := remote.Get(ref, client.Remote(m.ctx)...)
	if err != nil {
		return nil, m.baseProblem(err)
	}
	if !desc.MediaType.IsIndex() {
		return desc.Image()
	}
	index, err := desc.ImageIndex()
	if err != nil {
		return nil, m.baseProblem(err)
	}
	return m.choose(index, i.platform)
}

// choose selects the image for a platform from a list.
func (m *maker) choose(index v1.ImageIndex, p v1.Platform) (v1.Image, error) {
	list, err := index.IndexManifest()
	if err != nil {
		return nil, m.baseProblem(err)
	}
	var there []string
	for _, d := range list.Manifests {
		if d.Platform == nil || d.Platform.OS == "unknown" || !d.MediaType.IsImage() {
			continue // the list also contains descriptions of images
		}
		if d.Platform.OS == p.OS && d.Platform.Architecture == p.Architecture && (p.Variant == "" || d.Platform.Variant == "" || d.Platform.Variant == p.Variant) {
			img, err := index.Image(d.Digest)
			if err != nil {
				return nil, m.baseProblem(err)
			}
			return img, nil
		}
		there = append(there, d.Platform.String())
	}
	return nil, fault.New(fault.Usage, "name a base that has it, or build on a machine with one of those CPUs",
		"the base %s has no image for %s, only for %s", m.o.Base, p.String(), orNone(there))
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "no platform"
	}
	return strings.Join(names, ", ")
}

// fromLayout finds an image in a directory: the named one, else the only one, else the
// only one for the platform.
func (m *maker) fromLayout(rest string, p v1.Platform) (v1.Image, error) {
	dir, want := splitLayout(rest)
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, fault.New(fault.Usage, "name the directory that contains the files oci-layout and index.json", "the base %s is not an OCI layout: %w", m.o.Base, err)
	}
	list, err := index.IndexManifest()
	if err != nil {
		return nil, m.baseProblem(err)
	}
	var found []v1.Descriptor
	var names []string
	for _, d := range list.Manifests {
		tag := d.Annotations["org.opencontainers.image.ref.name"]
		// Some writers list the platform only in an image's configuration.
		attached := d.ArtifactType != "" && d.ArtifactType != string(types.OCIConfigJSON) && d.ArtifactType != string(types.DockerConfigJSON)
		if attached || !d.MediaType.IsImage() && !d.MediaType.IsIndex() {
			continue
		}
		if want != "" && want != tag && want != d.Digest.String() && !strings.HasSuffix(tag, ":"+want) {
			names = append(names, orElse(tag, d.Digest.String()))
			continue
		}
		found, names = append(found, d), append(names, orElse(tag, d.Digest.String()))
	}
	if len(found) > 1 {
		same := slices.DeleteFunc(slices.Clone(found), func(d v1.Descriptor) bool {
			return d.Platform == nil || d.Platform.OS != p.OS || d.Platform.Architecture != p.Architecture
		})
		if len(same) > 0 {
			found = same
		}
	}
	if len(found) != 1 {
		return nil, fault.New(fault.Usage, "name one of them after the directory, as in oci-layout:DIR:TAG or oci-layout:DIR@DIGEST",
			"the base %s matches %d images of: %s", m.o.Base, len(found), strings.Join(names, ", "))
	}
	if !found[0].MediaType.IsIndex() {
		return index.Image(found[0].Digest)
	}
	inner, err := index.ImageIndex(found[0].Digest)
	if err != nil {
		return nil, m.baseProblem(err)
	}
	return m.choose(inner, p)
}

// fromArchive finds an image in a file of docker save: the one whose reference follows
// the file's name, else the only one.
func (m *maker) fromArchive(rest string) (v1.Image, error) {
	file, text := splitLayout(rest)
	// The reference contains a colon, too. The file's name is the part that exists.
	for at := strings.IndexByte(rest, ':'); text != "" && at >= 0; {
		if _, err := os.Stat(rest[:at]); err == nil {
			file, text = rest[:at], rest[at+1:]
			break
		}
		next := strings.IndexByte(rest[at+1:], ':')
		if next < 0 {
			break
		}
		at += 1 + next
	}
	var tag *name.Tag
	if text != "" {
		t, err := name.NewTag(text)
		if err != nil {
			return nil, fault.New(fault.Usage, "write docker-archive:FILE, or docker-archive:FILE:REPOSITORY:TAG", "the base %s names no image: %w", m.o.Base, err)
		}
		tag = &t
	}
	img, err := tarball.ImageFromPath(file, tag)
	if err != nil {
		return nil, fault.New(fault.Usage, "name a file of docker save or podman save, followed by the image if it contains several, as in docker-archive:FILE:REPOSITORY:TAG",
			"cannot read the base %s: %w", m.o.Base, err)
	}
	return img, nil
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// splitLayout splits DIR:TAG and DIR@DIGEST. A directory that exists under the whole
// name takes precedence.
func splitLayout(rest string) (dir, want string) {
	if _, err := os.Stat(rest); err == nil {
		return rest, ""
	}
	if d, digest, ok := strings.Cut(rest, "@"); ok {
		return d, digest
	}
	if at := strings.LastIndexByte(rest, ':'); at > strings.LastIndexByte(rest, '/') {
		return rest[:at], rest[at+1:]
	}
	return rest, ""
}

// keep copies a layer of a base next to ours and checks its digest.
func (m *maker) keep(l v1.Layer) (*layer, error) {
	desc, err := partial.Descriptor(l)
	if err != nil {
		return nil, err
	}
	diffID, err := l.DiffID()
	if err != nil {
		return nil, err
	}
	out := &layer{file: filepath.Join(m.scratch, "base-"+desc.Digest.Hex), digest: desc.Digest, diffID: diffID, size: desc.Size, media: mediaFor(desc.MediaType, m.o.Docker)}
	if out.media == "" {
		return nil, fault.New(fault.Usage, "name a base whose layers can be redistributed", "the base has a layer of media type %s", desc.MediaType)
	}
	if info, err := os.Stat(out.file); err == nil && info.Size() == desc.Size {
		return out, nil
	}
	from, err := l.Compressed()
	if err != nil {
		return nil, err
	}
	defer func() { _ = from.Close() }()
	f, err := os.Create(out.file)
	if err != nil {
		return nil, writing("a layer of the base", err)
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), contextReader{m.ctx, from})
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil && (newHash(h) != desc.Digest || n != desc.Size) {
		err = fmt.Errorf("layer %s is damaged: it has the digest %s", desc.Digest, newHash(h))
	}
	if err != nil {
		_ = os.Remove(out.file)
		return nil, err
	}
	return out, nil
}

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}

// mediaFor returns a layer's media type in the image's family; "" for a layer that
// must not be redistributed.
func mediaFor(t types.MediaType, docker bool) types.MediaType {
	kinds := [][2]types.MediaType{
		{types.OCILayer, types.DockerLayer}, {types.OCIUncompressedLayer, types.DockerUncompressedLayer}, {types.OCILayerZStd, ""},
	}
	for _, k := range kinds {
		if t == k[0] || t == k[1] {
			if docker {
				return k[1]
			}
			return k[0]
		}
	}
	return ""
}

// node is a file of a base.
type node struct {
	kind  byte
	link  string
	layer int
}

// rootfs is the merged file system of a base's layers.
type rootfs struct {
	nodes  map[string]node // by path without a leading slash
	layers []*layer
}

// maxNodes limits the number of files of a base.
const maxNodes = 4 << 20

// readRoot lists the files of the layers from the bottom up, applying whiteouts
// (https://github.com/opencontainers/image-spec/blob/main/layer.md).
func readRoot(ctx context.Context, layers []*layer) (*rootfs, error) {
	r := &rootfs{nodes: map[string]node{}, layers: layers}
	for n, l := range layers {
		below := r.nodes
		r.nodes = make(map[string]node, len(below))
		var gone, opaque []string
		err := eachHeader(ctx, l, func(h *tar.Header, _ io.Reader) (bool, error) {
			file := strings.TrimPrefix(filepath.ToSlash(filepath.Clean("/"+h.Name)), "/")
			dir, last := "", file
			if at := strings.LastIndexByte(file, '/'); at >= 0 {
				dir, last = file[:at], file[at+1:]
			}
			switch {
			case last == ".wh..wh..opq":
				opaque = append(opaque, dir)
			case strings.HasPrefix(last, ".wh."):
				gone = append(gone, strings.TrimPrefix(dir+"/"+strings.TrimPrefix(last, ".wh."), "/"))
			default:
				r.nodes[file] = node{h.Typeflag, h.Linkname, n}
			}
			if len(r.nodes) > maxNodes {
				return false, errors.New("it has more files than any image")
			}
			return true, nil
		})
		if err != nil {
			return nil, fmt.Errorf("list layer %s: %w", l.digest, err)
		}
		for file, old := range below {
			if _, newer := r.nodes[file]; !newer && !coveredBy(file, gone, opaque) {
				r.nodes[file] = old
			}
		}
	}
	return r, nil
}

func coveredBy(file string, gone, opaque []string) bool {
	return slices.ContainsFunc(gone, func(g string) bool { return file == g || strings.HasPrefix(file, g+"/") }) ||
		slices.ContainsFunc(opaque, func(o string) bool { return o == "" || strings.HasPrefix(file, o+"/") })
}

// eachHeader calls do for each entry of a layer until do stops it.
func eachHeader(ctx context.Context, l *layer, do func(*tar.Header, io.Reader) (bool, error)) error {
	z, err := openLayer(l.file)
	if err != nil {
		return err
	}
	defer func() { _ = z.Close() }()
	t := tar.NewReader(contextReader{ctx, z})
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if more, err := do(h, t); err != nil || !more {
			return err
		}
	}
}

// resolve follows symbolic links inside the root directory; ok reports whether the
// path exists.
func (r *rootfs) resolve(file string) (string, node, bool) {
	parts := strings.Split(strings.Trim(filepath.ToSlash(filepath.Clean("/"+file)), "/"), "/")
	at := ""
	for hops := 0; len(parts) > 0; {
		next := strings.TrimPrefix(at+"/"+parts[0], "/")
		if parts[0] == ".." {
			at, parts = strings.TrimPrefix(filepath.ToSlash(filepath.Dir("/"+at)), "/"), parts[1:]
			continue
		}
		n, there := r.nodes[next]
		if !there && len(parts) == 1 {
			return "", node{}, false
		}
		parts = parts[1:]
		if n.kind != tar.TypeSymlink {
			at = next
			continue
		}
		if hops++; hops > 40 {
			return "", node{}, false
		}
		rest := strings.FieldsFunc(n.link, func(c rune) bool { return c == '/' })
		rest = slices.DeleteFunc(rest, func(p string) bool { return p == "." })
		parts = append(rest, parts...)
		if strings.HasPrefix(n.link, "/") {
			at = ""
		}
	}
	n, there := r.nodes[at]
	return at, n, there
}

// has reports whether a file exists, and returns its path with links resolved.
func (r *rootfs) has(file string) (string, bool) {
	real, n, ok := r.resolve(file)
	return "/" + real, ok && n.kind != tar.TypeDir
}

// read returns the content of a file, up to a number of bytes.
func (r *rootfs) read(ctx context.Context, file string, most int64) ([]byte, error) {
	real, n, ok := r.resolve(file)
	if ok && n.kind == tar.TypeLink { // a hard link: the content is stored under the other name
		real, n, ok = r.resolve(n.link)
	}
	if !ok || n.kind != tar.TypeReg {
		return nil, os.ErrNotExist
	}
	var data []byte
	err := eachHeader(ctx, r.layers[n.layer], func(h *tar.Header, body io.Reader) (bool, error) {
		if strings.TrimPrefix(filepath.ToSlash(filepath.Clean("/"+h.Name)), "/") != real || h.Typeflag != tar.TypeReg {
			return true, nil
		}
		if h.Size > most {
			return false, fmt.Errorf("%s has %d bytes", file, h.Size)
		}
		var err error
		data, err = io.ReadAll(io.LimitReader(body, most))
		return false, err
	})
	return data, err
}

// parseReference reads a reference; its error names the flag.
func parseReference(text string, insecure bool, flag string) (name.Reference, error) {
	var opts []name.Option
	if insecure {
		opts = append(opts, name.Insecure)
	}
	ref, err := name.ParseReference(text, opts...)
	if err != nil {
		return nil, fault.New(fault.Usage, "write REGISTRY/REPOSITORY:TAG, as in registry.example.org/shop/web:1.0", "%s %q is not a valid image reference: %w", flag, text, err)
	}
	return ref, nil
}
