package sign

import (
	"encoding/json"
	"fmt"
)

// Attester signs a document in an envelope, so that the signature and the kind of the
// document travel with it.
type Attester interface {
	// Envelope returns a signed envelope with a payload of a media type, as one line.
	Envelope(payloadType string, payload []byte) ([]byte, error)
}

// Why only ECDSA keys attest.
//
// An envelope is worth something if the tools of others verify it, and those take a
// public key in PEM: cosign, sigstore's libraries, policy engines. No such tool reads
// OpenPGP or minisign keys. A minisign key is an Ed25519 key and could be converted, but
// one key would then sign two formats: minisign's oldest signs the plain bytes of a file,
// so that an envelope's signature would also be one of a file with the envelope's text.
// Releases that are signed with these keys alone have their statements in the signed list
// of checksums.

// envelope is a DSSE envelope
// (https://github.com/secure-systems-lab/dsse/blob/v1.0.0/envelope.md). The order of the
// fields is that of scripts/verify-release.
type envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     []byte      `json:"payload"`
	Signatures  []signature `json:"signatures"`
}

// signature is a signature in an envelope. The key's name is a hint that verifiers compare
// with names of their own making, so it stays empty.
type signature struct {
	KeyID string `json:"keyid"`
	Sig   []byte `json:"sig"`
}

// paeOf is the signed text of an envelope
// (https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md): it says which
// bytes are the type and which the payload.
func paeOf(payloadType string, payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
}

// Envelope implements [Attester]. Equal payloads have equal envelopes.
func (s *ECDSA) Envelope(payloadType string, payload []byte) ([]byte, error) {
	raw, err := s.raw(paeOf(payloadType, payload))
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(envelope{payloadType, payload, []signature{{Sig: raw}}})
	return append(data, '\n'), err
}
