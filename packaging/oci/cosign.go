package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Signer signs what is pushed as cosign does: base64 of an ASN.1 signature.
type Signer interface {
	// SignPayload returns the signature of a payload.
	SignPayload(payload []byte) (string, error)
	// Made reports whether a signature was made with this key for the payload.
	Made(payload []byte, signature string) bool
	// Envelope returns a signed envelope with a payload of a media type (DSSE). Equal
	// payloads must have equal envelopes.
	Envelope(mediaType string, payload []byte) ([]byte, error)
}

// Names that cosign uses in a registry
// (https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md).
const (
	signatureLayer      = "application/vnd.dev.cosign.simplesigning.v1+json"
	signatureAnnotation = "dev.cosignproject.cosign/signature"
	signatureType       = "cosign container image signature"
	envelopeLayer       = "application/vnd.dsse.envelope.v1+json"
	predicateAnnotation = "predicateType"
	predicateType       = "https://slsa.dev/provenance/v1"
)

// simpleSigning is the signed payload: the image and its name.
type simpleSigning struct {
	Critical struct {
		Identity struct {
			Reference string `json:"docker-reference"`
		} `json:"identity"`
		Image struct {
			Digest string `json:"docker-manifest-digest"`
		} `json:"image"`
		Type string `json:"type"`
	} `json:"critical"`
	Optional map[string]any `json:"optional"`
}

// signatureTag is the tag of an image's signatures.
func signatureTag(repo name.Repository, h v1.Hash) name.Tag { return besideTag(repo, h, ".sig") }

// attestationTag is the tag of an image's signed statements.
func attestationTag(repo name.Repository, h v1.Hash) name.Tag { return besideTag(repo, h, ".att") }

func besideTag(repo name.Repository, h v1.Hash, suffix string) name.Tag {
	return repo.Tag(strings.ReplaceAll(h.String(), ":", "-") + suffix)
}

// sign adds a signature of an image to those in the registry.
func (m *maker) sign(repo name.Repository, h v1.Hash) error {
	var p simpleSigning
	p.Critical.Identity.Reference, p.Critical.Image.Digest, p.Critical.Type = repo.Name(), h.String(), signatureType
	payload, err := json.Marshal(p)
	if err != nil {
		return err
	}
	present := func(d v1.Descriptor) bool { return m.o.Sign.Made(payload, d.Annotations[signatureAnnotation]) }
	return m.addLayer(signatureTag(repo, h), signatureLayer, payload, present, func() (map[string]string, error) {
		signature, err := m.o.Sign.SignPayload(payload)
		return map[string]string{signatureAnnotation: signature}, err
	})
}

// attest adds the signed provenance statement of an image to those in the registry.
func (m *maker) attest(repo name.Repository, i *image) error {
	envelope, err := m.o.Sign.Envelope(provenanceType, i.from)
	if err != nil {
		return err
	}
	present := func(v1.Descriptor) bool { return true } // it has the digest of the envelope
	return m.addLayer(attestationTag(repo, i.digest), envelopeLayer, envelope, present, func() (map[string]string, error) {
		return map[string]string{signatureAnnotation: "", predicateAnnotation: predicateType}, nil
	})
}

// addLayer adds a layer with annotations to an image under a tag in the registry, where
// others may be already. It adds nothing if a layer with the same contents is present.
func (m *maker) addLayer(tag name.Tag, media types.MediaType, data []byte, present func(v1.Descriptor) bool, annotate func() (map[string]string, error)) error {
	client, err := m.o.registry()
	if err != nil {
		return err
	}
	there, err := remote.Image(tag, client.Remote(m.ctx)...)
	var answer *transport.Error
	switch {
	case errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound:
		there = mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	case err != nil:
		return fmt.Errorf("get its signatures: %w", err)
	}
	list, err := there.Manifest()
	if err != nil {
		return err
	}
	want := hashOf(data)
	if slices.ContainsFunc(list.Layers, func(d v1.Descriptor) bool { return d.Digest == want && present(d) }) {
		return nil
	}
	annotations, err := annotate()
	if err != nil {
		return err
	}
	all, err := mutate.Append(there, mutate.Addendum{Layer: static.NewLayer(data, media), Annotations: annotations})
	if err != nil {
		return err
	}
	return remote.Write(tag, all, client.Remote(m.ctx)...)
}
