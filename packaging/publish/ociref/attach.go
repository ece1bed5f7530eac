package ociref

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// attachment is a description of the image that names it as its subject
// (https://github.com/opencontainers/image-spec/blob/main/manifest.md, "Guidelines for
// Artifact Usage").
type attachment struct {
	name     string // of the sidecar
	manifest *manifest
	digest   v1.Hash
	blobs    []v1.Layer
}

// kinds are the media types of sidecars by the ends of their names. Others are not
// attached.
var kinds = []struct{ suffix, media string }{
	{".cdx.json", "application/vnd.cyclonedx+json"},
	{".spdx.json", "application/spdx+json"},
	{".openvex.json", "application/vnd.openvex+json"},
	{".intoto.jsonl", "application/vnd.dsse.envelope.v1+json"},
	{".intoto.json", "application/vnd.in-toto+json"},
	{".sigstore.json", "application/vnd.dev.sigstore.bundle.v0.3+json"},
}

// kindOf is the media type of a sidecar, "" if it is not attached.
func kindOf(name string) string {
	for _, k := range kinds {
		if strings.HasSuffix(name, k.suffix) {
			return k.media
		}
	}
	return ""
}

// emptyConfig is the configuration of a manifest that has none.
const (
	emptyConfig = "{}"
	emptyType   = "application/vnd.oci.empty.v1+json"
)

// attach makes the manifest of a sidecar.
func attach(name, kind string, data []byte, subject v1.Descriptor, annotations map[string]string) (*attachment, error) {
	a := &attachment{name: name, blobs: []v1.Layer{
		static.NewLayer([]byte(emptyConfig), emptyType), static.NewLayer(data, types.MediaType(kind)),
	}}
	var descs []v1.Descriptor
	for _, b := range a.blobs {
		h, err := b.Digest()
		if err != nil {
			return nil, err
		}
		size, err := b.Size()
		if err != nil {
			return nil, err
		}
		media, err := b.MediaType()
		if err != nil {
			return nil, err
		}
		descs = append(descs, v1.Descriptor{MediaType: media, Size: size, Digest: h})
	}
	descs[1].Annotations = map[string]string{"org.opencontainers.image.title": name}
	raw, err := json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: kind, Config: descs[0], Layers: descs[1:], Subject: &subject, Annotations: annotations,
	})
	if err != nil {
		return nil, err
	}
	a.manifest = &manifest{raw, types.OCIManifestSchema1}
	a.digest, _, err = v1.SHA256(bytes.NewReader(raw))
	return a, err
}

// about adds the image to the subjects of an unsigned in-toto statement. The statement of
// the archive names only the archive, which nobody who pulls the image has; that the
// archive contains exactly this image was checked. A signed envelope stays as it is.
func about(statement []byte, repository string, image v1.Hash) ([]byte, error) {
	var s map[string]json.RawMessage
	if json.Unmarshal(statement, &s) != nil || s["_type"] == nil || s["subject"] == nil {
		return statement, nil
	}
	var subjects []json.RawMessage
	if err := json.Unmarshal(s["subject"], &subjects); err != nil {
		return nil, fmt.Errorf("its subjects are not a list: %w", err)
	}
	first, err := json.Marshal(map[string]any{"name": repository, "digest": map[string]string{image.Algorithm: image.Hex}})
	if err != nil {
		return nil, err
	}
	if s["subject"], err = json.Marshal(append([]json.RawMessage{first}, subjects...)); err != nil {
		return nil, err
	}
	data, err := json.MarshalIndent(s, "", "  ")
	return append(data, '\n'), err
}
