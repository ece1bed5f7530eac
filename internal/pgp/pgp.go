// Package pgp is the policy for OpenPGP keys and signatures (RFC 9580): which of them are
// accepted as proof. It knows algorithms, sizes and times. It does not know the owners of
// keys, what was signed, or the consequences of a signature that is not accepted.
//
// The policy:
//
//   - Public keys: RSA with at least 2048 bits, ECDSA on the NIST and Brainpool curves, Ed25519 and Ed448. DSA, ElGamal, shorter RSA and secp256k1 are never accepted, neither for the signing key nor for its primary key.
//   - Hashes: SHA-256, SHA-384, SHA-512 and SHA3. MD5, SHA-1, RIPEMD-160 and SHA-224 are never accepted, neither in the signature nor in the self-signatures and bindings that give a key its lifetime and its permission to sign.
//   - The key flags must permit signing, and a signing subkey must also have signed its primary key.
//   - A revoked key is never accepted, regardless of the reason and the time of the revocation.
//   - The time of a signature is whatever its maker wrote, so a key is fully trusted only while it is valid. Someone who steals an expired key can write any date, so its signatures are reported as Expired, and callers need a better proof. A signature is invalid if its time is before the key was created, after the key expired, or in the future.
package pgp

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// MinRSA is the minimum size of an RSA key in bits.
const MinRSA = 2048

// Clock is the tolerance for a signer's clock that is ahead.
const Clock = 24 * time.Hour

// maxPackets is the maximum number of signatures in one block, because each needs a pass
// over the file.
const maxPackets = 16

var hashes = []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_512}

var weakHashes = map[crypto.Hash]bool{crypto.MD5: true, crypto.SHA1: true, crypto.RIPEMD160: true, crypto.SHA224: true, crypto.MD5SHA1: true}

var algorithms = map[packet.PublicKeyAlgorithm]string{
	packet.PubKeyAlgoRSA: "RSA", packet.PubKeyAlgoRSASignOnly: "RSA", packet.PubKeyAlgoECDSA: "ECDSA", packet.PubKeyAlgoEdDSA: "EdDSA",
	packet.PubKeyAlgoEd25519: "Ed25519", packet.PubKeyAlgoEd448: "Ed448",
	// Never accepted, but named in messages.
	packet.PubKeyAlgoDSA: "DSA", packet.PubKeyAlgoElGamal: "ElGamal",
}

// Config returns the library's configuration for this policy at a time, which is also the
// time of signatures made with it.
func Config(now func() time.Time) *packet.Config {
	return &packet.Config{
		Time: now, MinRSABits: MinRSA,
		RejectPublicKeyAlgorithms: map[packet.PublicKeyAlgorithm]bool{
			packet.PubKeyAlgoDSA: true, packet.PubKeyAlgoElGamal: true, packet.PubKeyAlgoRSAEncryptOnly: true,
		},
		RejectHashAlgorithms: weakHashes, RejectMessageHashAlgorithms: weakHashes,
		RejectCurves: map[packet.Curve]bool{packet.CurveSecP256k1: true},
	}
}

// Standing is the standing of a key.
type Standing int

// The standings of a key.
const (
	Unfit   Standing = iota // its signatures are not accepted
	Expired                 // its signatures count only together with another proof
	Valid                   // its signatures are accepted
)

// Verdict is the policy's verdict on a key.
type Verdict struct {
	Standing Standing
	Reason   string    // why it is unfit
	Expires  time.Time // when it expires or expired; zero for never
	Key      string    // fingerprint of the signing key, upper case hex

	public *packet.PublicKey
	since  time.Time
}

// Judge returns the verdict on the key with an ID in an entity at a time. For the ID 0,
// it is the key that the entity would sign with.
func Judge(e *openpgp.Entity, id uint64, now time.Time) Verdict {
	// The library caches the results of signature checks in an entity, for the time of
	// the first check.
	e = fresh(e)
	config := Config(func() time.Time { return now })
	if e.Revoked(now) || revoked(e.Revocations, e.PrimaryKey.VerifyRevocationSignature) {
		return Verdict{Reason: "it is revoked"}
	}
	if why := unfit(e.PrimaryKey); why != "" {
		return Verdict{Reason: why}
	}
	for _, at := range []time.Time{now, {}} {
		key, ok := e.SigningKeyById(at, id, config)
		if !ok {
			continue
		}
		if why := unfit(key.PublicKey); why != "" {
			return Verdict{Reason: why}
		}
		if back := key.SelfSignature.EmbeddedSignature; !key.IsPrimary() && (back == nil || weakHashes[back.Hash]) {
			return Verdict{Reason: "the subkey does not vouch for its primary key with a strong hash"}
		}
		v := Verdict{Standing: Valid, Expires: ends(&key), Key: fingerprint(key.PublicKey), public: key.PublicKey, since: key.PublicKey.CreationTime}
		if at.IsZero() {
			v.Standing = Expired
			if v.Expires.IsZero() || v.Expires.After(now) { // the reason is not an expired lifetime
				return Verdict{Reason: "none of its self-signatures is valid now"}
			}
		}
		return v
	}
	return Verdict{Reason: explain(e, id)}
}

// revoked reports whether one of several revocations is valid, regardless of its time and
// reason.
func revoked(all []*packet.VerifiableSignature, verify func(*packet.Signature) error) bool {
	for _, r := range all {
		if verify(r.Packet) == nil {
			return true
		}
	}
	return false
}

// unfit returns why a public key is never accepted, or "".
func unfit(k *packet.PublicKey) string {
	name, known := algorithms[k.PubKeyAlgo]
	bits, err := k.BitLength()
	config := Config(nil)
	switch {
	case !known:
		return fmt.Sprintf("its algorithm is number %d", k.PubKeyAlgo)
	case config.RejectPublicKeyAlgorithm(k.PubKeyAlgo):
		return fmt.Sprintf("its algorithm is %s-%d", name, bits)
	case name == "RSA" && (err != nil || bits < MinRSA):
		return fmt.Sprintf("it is RSA-%d, which is too short", bits)
	case name == "ECDSA" || name == "EdDSA":
		if curve, err := k.Curve(); err != nil || config.RejectCurve(curve) {
			return fmt.Sprintf("its curve is %s", curve)
		}
	}
	return ""
}

// ends returns when a key or its primary key expires, whichever is earlier.
func ends(key *openpgp.Key) (first time.Time) {
	consider := func(k *packet.PublicKey, s *packet.Signature) {
		if s == nil {
			return
		}
		var at time.Time
		if s.KeyLifetimeSecs != nil && *s.KeyLifetimeSecs > 0 {
			at = k.CreationTime.Add(time.Duration(*s.KeyLifetimeSecs) * time.Second)
		}
		if s.SigLifetimeSecs != nil && *s.SigLifetimeSecs > 0 {
			if end := s.CreationTime.Add(time.Duration(*s.SigLifetimeSecs) * time.Second); at.IsZero() || end.Before(at) {
				at = end
			}
		}
		if !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	consider(key.Entity.PrimaryKey, key.PrimarySelfSignature)
	if direct, err := key.Entity.LatestValidDirectSignature(time.Time{}, Config(nil)); err == nil {
		consider(key.Entity.PrimaryKey, direct)
	}
	if !key.IsPrimary() {
		consider(key.PublicKey, key.SelfSignature)
	}
	return first
}

// explain returns why an entity has no key that may sign.
func explain(e *openpgp.Entity, id uint64) string {
	if _, err := e.PrimarySelfSignature(time.Time{}, Config(nil)); err != nil {
		return "it has no self-signature with a strong hash"
	}
	for i := range e.Subkeys {
		s := &e.Subkeys[i]
		if s.PublicKey.KeyId != id {
			continue
		}
		if revoked(s.Revocations, func(p *packet.Signature) error {
			return e.PrimaryKey.VerifySubkeyRevocationSignature(p, s.PublicKey)
		}) {
			return "the subkey is revoked"
		}
		if why := unfit(s.PublicKey); why != "" {
			return why
		}
	}
	return "it is not meant for signing"
}

// fresh returns a copy of an entity without cached results.
func fresh(e *openpgp.Entity) *openpgp.Entity {
	again := func(all []*packet.VerifiableSignature) (out []*packet.VerifiableSignature) {
		for _, s := range all {
			out = append(out, packet.NewVerifiableSig(s.Packet))
		}
		return out
	}
	c := &openpgp.Entity{PrimaryKey: e.PrimaryKey, PrivateKey: e.PrivateKey, Identities: map[string]*openpgp.Identity{}}
	c.Revocations, c.DirectSignatures = again(e.Revocations), again(e.DirectSignatures)
	for name, i := range e.Identities {
		c.Identities[name] = &openpgp.Identity{
			Primary: c, Name: i.Name, UserId: i.UserId, SelfCertifications: again(i.SelfCertifications), Revocations: again(i.Revocations),
		}
	}
	for _, s := range e.Subkeys {
		c.Subkeys = append(c.Subkeys, openpgp.Subkey{
			Primary: c, PublicKey: s.PublicKey, PrivateKey: s.PrivateKey, Bindings: again(s.Bindings), Revocations: again(s.Revocations),
		})
	}
	return c
}

func fingerprint(k *packet.PublicKey) string { return fmt.Sprintf("%X", k.Fingerprint) }

// Fingerprint returns the fingerprint of an entity's primary key, in upper case hex.
func Fingerprint(e *openpgp.Entity) string { return fingerprint(e.PrimaryKey) }

// ErrStranger is the error for a signature by a key that is not in the ring.
var ErrStranger = errors.New("it is by an unknown key")

// UnfitError is the error for a signature that is not accepted, whether or not it is valid.
type UnfitError struct {
	Signer string // fingerprint of the primary key
	Reason string
}

func (u *UnfitError) Error() string {
	if u.Signer == "" {
		return "it proves nothing: " + u.Reason
	}
	return fmt.Sprintf("it is by key %s, which proves nothing: %s", u.Signer, u.Reason)
}

// Signature is a valid signature by an accepted key.
type Signature struct {
	Signer  string    // fingerprint of the primary key, upper case hex
	Made    time.Time // as claimed by its maker
	Expired time.Time // when the key expired, in which case the signature may be backdated; zero for a valid key
}

// Read returns the signatures in an armored block. The error is an *UnfitError if all
// signatures in the block are of an unsupported kind.
func Read(armored []byte) ([]*packet.Signature, error) {
	block, err := armor.Decode(bytes.NewReader(armored))
	if err != nil {
		return nil, err
	}
	if block.Type != openpgp.SignatureType {
		return nil, fmt.Errorf("it is a %s", block.Type)
	}
	var out []*packet.Signature
	var unsupported error
	packets := packet.NewReader(block.Body)
	for {
		p, err := packets.NextWithUnsupported()
		switch {
		case err == io.EOF && len(out) > 0:
			return out, nil
		case err == io.EOF && unsupported != nil:
			return nil, &UnfitError{Reason: unsupported.Error()}
		case err != nil:
			return nil, err
		}
		if u, ok := p.(*packet.UnsupportedPacket); ok {
			unsupported = u.Error
			continue
		}
		sig, ok := p.(*packet.Signature)
		if !ok {
			return nil, errors.New("it contains something other than signatures")
		}
		if out = append(out, sig); len(out) > maxPackets {
			return nil, fmt.Errorf("it contains more than %d signatures", maxPackets)
		}
	}
}

// Check verifies a signature over a file's content. The error is ErrStranger, an
// *UnfitError, or one that describes what is wrong; in that case the file may have been
// tampered with.
func Check(ring openpgp.EntityList, signed io.Reader, sig *packet.Signature, now time.Time) (*Signature, error) {
	if sig.SigType != packet.SigTypeBinary {
		return nil, errors.New("it is not a signature over a file")
	}
	return check(ring, signed, sig, now)
}

func check(ring openpgp.EntityList, signed io.Reader, sig *packet.Signature, now time.Time) (*Signature, error) {
	if sig.CreationTime.After(now.Add(Clock)) {
		return nil, fmt.Errorf("it is dated in the future (%s), or this machine's clock is wrong (%s)", sig.CreationTime.Format(time.DateOnly), now.Format(time.DateOnly))
	}
	if why := weak(sig); why != "" {
		return nil, &UnfitError{Reason: why}
	}
	e, id := find(ring, sig)
	if e == nil {
		return nil, ErrStranger
	}
	v := Judge(e, id, now)
	if v.Standing == Unfit {
		return nil, &UnfitError{Signer: Fingerprint(e), Reason: v.Reason}
	}
	switch {
	case sig.SigExpired(now) && !sig.CreationTime.After(now):
		return nil, &UnfitError{Signer: Fingerprint(e), Reason: "the signature has expired"}
	case sig.CreationTime.Before(v.since.Truncate(time.Second)):
		return nil, errors.New("it claims to be older than its key")
	case !v.Expires.IsZero() && sig.CreationTime.After(v.Expires):
		return nil, fmt.Errorf("it was made on %s, after its key expired on %s", sig.CreationTime.Format(time.DateOnly), v.Expires.Format(time.DateOnly))
	}
	h, err := sig.PrepareVerify()
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(h, signed); err != nil {
		return nil, err
	}
	if err := v.public.VerifySignature(h, sig); err != nil {
		return nil, err
	}
	out := &Signature{Signer: Fingerprint(e), Made: sig.CreationTime}
	if v.Standing == Expired {
		out.Expired = v.Expires
	}
	return out, nil
}

// weak returns why a signature is never accepted, or "".
func weak(sig *packet.Signature) string {
	for _, n := range sig.Notations {
		if n.IsCritical {
			return fmt.Sprintf("it has the unknown critical notation %q", n.Name)
		}
	}
	if sig.IssuerKeyId == nil && len(sig.IssuerFingerprint) == 0 {
		return "it does not name its key"
	}
	if _, known := algorithms[sig.PubKeyAlgo]; !known || Config(nil).RejectPublicKeyAlgorithm(sig.PubKeyAlgo) {
		return fmt.Sprintf("its algorithm is %s", orNumber(algorithms[sig.PubKeyAlgo], int(sig.PubKeyAlgo)))
	}
	for _, h := range hashes {
		if sig.Hash == h {
			return ""
		}
	}
	return fmt.Sprintf("its hash is %s", sig.Hash)
}

func orNumber(name string, number int) string {
	if name == "" {
		return fmt.Sprintf("number %d", number)
	}
	return name
}

// find returns the entity whose key a signature names, and the key's ID. IDs are short
// enough to be forged, so a fingerprint in the signature takes precedence.
func find(ring openpgp.EntityList, sig *packet.Signature) (*openpgp.Entity, uint64) {
	for _, e := range ring {
		keys := []*packet.PublicKey{e.PrimaryKey}
		for _, s := range e.Subkeys {
			keys = append(keys, s.PublicKey)
		}
		for _, k := range keys {
			if sig.CheckKeyIdOrFingerprint(k) {
				return e, k.KeyId
			}
		}
	}
	return nil, 0
}
