package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
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
}

// Names that cosign uses in a registry
// (https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md).
const (
	signatureLayer      = "application/vnd.dev.cosign.simplesigning.v1+json"
	signatureAnnotation = "dev.cosignproject.cosign/signature"
	signatureType       = "cosign container image signature"
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
func signatureTag(repo name.Repository, h v1.Hash) name.Tag {
	return repo.Tag(strings.ReplaceAll(h.String(), ":", "-") + ".sig")
}

// sign adds a signature of an image to those in the registry.
func (m *maker) sign(repo name.Repository, h v1.Hash) error {
	var p simpleSigning
	p.Critical.Identity.Reference, p.Critical.Image.Digest, p.Critical.Type = repo.Name(), h.String(), signatureType
	payload, err := json.Marshal(p)
	if err != nil {
		return err
	}
	client, err := m.o.registry()
	if err != nil {
		return err
	}
	tag := signatureTag(repo, h)
	there, err := remote.Image(tag, client.Remote(m.ctx)...)
	var answer *transport.Error
	switch {
	case errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound:
		there = mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	case err != nil:
		return fmt.Errorf("get its signatures: %w", err)
	}
	if done, err := m.signed(there, payload); done || err != nil {
		return err
	}
	signature, err := m.o.Sign.SignPayload(payload)
	if err != nil {
		return err
	}
	all, err := mutate.Append(there, mutate.Addendum{
		Layer: static.NewLayer(payload, types.MediaType(signatureLayer)), Annotations: map[string]string{signatureAnnotation: signature},
	})
	if err != nil {
		return err
	}
	return remote.Write(tag, all, client.Remote(m.ctx)...)
}

// signed reports whether the existing signatures include one by our key.
func (m *maker) signed(there v1.Image, payload []byte) (bool, error) {
	list, err := there.Manifest()
	if err != nil {
		return false, err
	}
	want := hashOf(payload)
	for _, d := range list.Layers {
		if d.Digest == want && m.o.Sign.Made(payload, d.Annotations[signatureAnnotation]) {
			return true, nil
		}
	}
	return false, nil
}
