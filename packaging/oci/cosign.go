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
	// Made says whether a signature is of this key and of the payload.
	Made(payload []byte, signature string) bool
}

// Names that cosign has for what it keeps in a registry
// (https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md).
const (
	signatureLayer      = "application/vnd.dev.cosign.simplesigning.v1+json"
	signatureAnnotation = "dev.cosignproject.cosign/signature"
	signatureType       = "cosign container image signature"
)

// simpleSigning is what is signed: which image, and what it is called.
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

// signatureTag is where the signatures of an image are.
func signatureTag(repo name.Repository, h v1.Hash) name.Tag {
	return repo.Tag(strings.ReplaceAll(h.String(), ":", "-") + ".sig")
}

// sign adds a signature of an image to those that the registry has of it.
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
		return fmt.Errorf("ask for its signatures: %w", err)
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

// signed says whether a signature by our key is among those that are there.
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
