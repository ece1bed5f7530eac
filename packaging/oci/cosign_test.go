package oci

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// pen signs with its name.
type pen string

func (p pen) SignPayload(payload []byte) (string, error) {
	return string(p) + " " + hashOf(payload).Hex, nil
}

func (p pen) Envelope(media string, payload []byte) ([]byte, error) {
	return []byte(string(p) + " " + media + " " + string(payload)), nil
}

func (p pen) Made(payload []byte, signature string) bool {
	return signature == string(p)+" "+hashOf(payload).Hex
}

// TestSignaturesAreAdded: other signatures stay, and the same key signs only once.
func TestSignaturesAreAdded(t *testing.T) {
	s := httptest.NewServer(registry.New())
	t.Cleanup(s.Close)
	target, err := NewTarget(strings.TrimPrefix(s.URL, "http://")+"/shop/web:1", false)
	must(t, err)
	m := newMaker(t, Options{Push: target})
	digest := hashOf([]byte("image"))
	m.images = []*image{{digest: digest, from: []byte("statement")}}
	for _, by := range []pen{"jane", "jane", "joe", "jane", "joe"} {
		m.o.Sign = by
		must(t, m.signAll(target.ref.Repository, digest))
	}
	img, err := remote.Image(signatureTag(target.ref.Repository, digest))
	must(t, err)
	list, err := img.Manifest()
	must(t, err)
	var by []string
	for _, l := range list.Layers {
		name, _, _ := strings.Cut(l.Annotations[signatureAnnotation], " ")
		by = append(by, name)
	}
	if got := strings.Join(by, " "); got != "jane joe" {
		t.Errorf("signed by %s", got)
	}
	img, err = remote.Image(attestationTag(target.ref.Repository, digest))
	must(t, err)
	list, err = img.Manifest()
	must(t, err)
	if l := list.Layers; len(l) != 2 || l[0].Digest != hashOf([]byte("jane application/vnd.in-toto+json statement")) || l[0].MediaType != envelopeLayer || l[0].Annotations[predicateAnnotation] != predicateType {
		t.Errorf("statements %+v", l)
	}
	if err := m.signAll(target.ref.Repository, v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}); err != nil {
		t.Errorf("another image: %v", err)
	}
	s.Close()
	if err := m.signAll(target.ref.Repository, digest); err == nil || !strings.Contains(err.Error(), "sign "+digest.String()) {
		t.Errorf("without a registry: %v", err)
	}
}
