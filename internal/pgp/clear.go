package pgp

import (
	"bytes"
	"errors"
	"io"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// CheckClear verifies a text signed with the cleartext framework (RFC 9580, section 7) and
// returns exactly the text that was signed. One accepted signature suffices: several keys
// sign the indexes of Debian, and only some of them are known to older hosts. Nothing may
// precede or follow the signed text, because a reader could take that for signed.
func CheckClear(ring openpgp.EntityList, data []byte, now time.Time) (*Signature, []byte, error) {
	block, rest := clearsign.Decode(data)
	if block == nil {
		return nil, nil, errors.New("it is not a signed text")
	}
	begin := bytes.Index(data, []byte("-----BEGIN PGP SIGNED MESSAGE-----"))
	if begin < 0 || len(bytes.TrimSpace(data[:begin])) > 0 || len(bytes.TrimSpace(rest)) > 0 {
		return nil, nil, errors.New("there is text outside of the signature")
	}
	all, err := clearSignatures(block.ArmoredSignature.Body)
	if err != nil {
		return nil, nil, err
	}
	var reasons []error
	for _, sig := range all {
		if sig.SigType != packet.SigTypeText && sig.SigType != packet.SigTypeBinary {
			reasons = append(reasons, errors.New("it is not a signature over a text"))
			continue
		}
		s, err := check(ring, bytes.NewReader(block.Bytes), sig, now)
		if err == nil {
			return s, bytes.ReplaceAll(block.Bytes, []byte("\r\n"), []byte("\n")), nil
		}
		// A signature by a known key that does not match means tampering, whatever
		// the others are.
		var unfit *UnfitError
		if !errors.Is(err, ErrStranger) && !errors.As(err, &unfit) {
			return nil, nil, err
		}
		reasons = append(reasons, err)
	}
	return nil, nil, errors.Join(reasons...)
}

// clearSignatures reads the signatures below a signed text. Those of an unsupported kind
// are skipped, unless there is no other.
func clearSignatures(body io.Reader) ([]*packet.Signature, error) {
	var out []*packet.Signature
	var unsupported error
	packets := packet.NewReader(body)
	for {
		p, err := packets.NextWithUnsupported()
		switch {
		case err == io.EOF && len(out) > 0:
			return out, nil
		case err == io.EOF && unsupported != nil:
			return nil, &UnfitError{Reason: unsupported.Error()}
		case err == io.EOF:
			return nil, errors.New("it has no signature")
		case err != nil:
			return nil, err
		}
		switch p := p.(type) {
		case *packet.UnsupportedPacket:
			unsupported = p.Error
		case *packet.Signature:
			if out = append(out, p); len(out) > maxPackets {
				return nil, errors.New("it has too many signatures")
			}
		default:
			return nil, errors.New("it contains something other than signatures")
		}
	}
}
