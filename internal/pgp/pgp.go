// Package pgp decides which OpenPGP keys and signatures prove anything (RFC 9580).
// It knows algorithms, sizes and times. It does not know whose keys they are, what
// was signed, or what follows from a signature that proves nothing.
//
// The policy:
//
//   - Public keys: RSA of at least 2048 bits, ECDSA on the NIST and Brainpool
//     curves, Ed25519 and Ed448. DSA, ElGamal, shorter RSA and secp256k1 never
//     count, neither as the key that signed nor as the primary key above it.
//   - Hashes: SHA-256, SHA-384, SHA-512 and SHA3. MD5, SHA-1, RIPEMD-160 and
//     SHA-224 never count: not in the signature, not in the self-signatures and
//     bindings that give a key its lifetime and its right to sign.
//   - A key must be allowed to sign by its key flags, and a subkey must have
//     signed its primary key in turn.
//   - A revoked key never counts, for whatever reason and from whatever time on
//     it was revoked.
//   - The time of a signature is only what its maker wrote. So a key counts in
//     full only while it is valid now. Whoever steals an expired key can write any
//     date: its signatures are reported as Expired, and whoever asks must have a
//     better proof than them. One that claims to be older than its key, younger
//     than the key's end, or from the future is wrong.
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

// MinRSA is the least number of bits of an RSA key.
const MinRSA = 2048

// Clock is how far the clock of whoever signed may be ahead.
const Clock = 24 * time.Hour

// maxPackets bounds the signatures in one block: each costs a pass over the file.
const maxPackets = 16

var hashes = []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_512}

var weakHashes = map[crypto.Hash]bool{crypto.MD5: true, crypto.SHA1: true, crypto.RIPEMD160: true, crypto.SHA224: true, crypto.MD5SHA1: true}

var algorithms = map[packet.PublicKeyAlgorithm]string{
	packet.PubKeyAlgoRSA: "RSA", packet.PubKeyAlgoRSASignOnly: "RSA", packet.PubKeyAlgoECDSA: "ECDSA", packet.PubKeyAlgoEdDSA: "EdDSA",
	packet.PubKeyAlgoEd25519: "Ed25519", packet.PubKeyAlgoEd448: "Ed448",
	// These never count, but have a name.
	packet.PubKeyAlgoDSA: "DSA", packet.PubKeyAlgoElGamal: "ElGamal",
}

// Config returns the policy as the library knows it, for a moment; now is also the
// time of signatures that are made with it.
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

// Standing is what a key is good for.
type Standing int

// The standings of a key.
const (
	Unfit   Standing = iota // its signatures prove nothing
	Expired                 // they prove what is known by other means as well
	Valid                   // they prove that its owner signed
)

// Verdict is what the policy says about a key.
type Verdict struct {
	Standing Standing
	Reason   string    // why it is unfit
	Expires  time.Time // when it ends, or ended; zero for never
	Key      string    // fingerprint of the key that signs, upper case hex

	public *packet.PublicKey
	since  time.Time
}

// Judge looks at the key of an entity that has an ID, or for 0 at the one that it
// would sign with, at a moment.
func Judge(e *openpgp.Entity, id uint64, now time.Time) Verdict {
	// The library remembers in an entity what it found out about a signature, at
	// the time that it was asked for then.
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
			if v.Expires.IsZero() || v.Expires.After(now) { // it is not the lifetime that is over
				return Verdict{Reason: "none of its self-signatures is valid now"}
			}
		}
		return v
	}
	return Verdict{Reason: explain(e, id)}
}

// revoked reports whether one of several revocations is right, whatever its time
// and reason.
func revoked(all []*packet.VerifiableSignature, verify func(*packet.Signature) error) bool {
	for _, r := range all {
		if verify(r.Packet) == nil {
			return true
		}
	}
	return false
}

// unfit says why a public key cannot count by itself.
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

// ends is when the first of a key and its primary key ends.
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

// explain says why an entity has no key that may sign.
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

// fresh is a copy of an entity of which nothing was verified yet.
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

// Fingerprint is that of an entity's primary key, in upper case hex.
func Fingerprint(e *openpgp.Entity) string { return fingerprint(e.PrimaryKey) }

// ErrStranger is for a signature by a key that is not in the ring.
var ErrStranger = errors.New("it is by an unknown key")

// UnfitError is a signature that proves nothing, whether it is right or not.
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

// Signature is a right signature by a key in good standing.
type Signature struct {
	Signer  string    // fingerprint of the primary key, upper case hex
	Made    time.Time // as its maker says
	Expired time.Time // when the key ended: then the signature can be newer than it says; zero for a valid key
}

// Read takes the signatures out of an armored block. A block with nothing but
// signatures of an unsupported kind is an *UnfitError.
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
			return nil, errors.New("it holds something other than signatures")
		}
		if out = append(out, sig); len(out) > maxPackets {
			return nil, fmt.Errorf("it holds more than %d signatures", maxPackets)
		}
	}
}

// Check compares one signature of a file with its content. The error is
// ErrStranger, *UnfitError, or says what is wrong; then somebody may have
// tampered with the file.
func Check(ring openpgp.EntityList, signed io.Reader, sig *packet.Signature, now time.Time) (*Signature, error) {
	if sig.SigType != packet.SigTypeBinary {
		return nil, errors.New("it is not a signature over a file")
	}
	if sig.CreationTime.After(now.Add(Clock)) {
		return nil, fmt.Errorf("it is dated in the future (%s)", sig.CreationTime.Format(time.DateOnly))
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
		return nil, errors.New("it claims to be older than the key that made it")
	case !v.Expires.IsZero() && sig.CreationTime.After(v.Expires):
		return nil, fmt.Errorf("it was made on %s, after its key ended on %s", sig.CreationTime.Format(time.DateOnly), v.Expires.Format(time.DateOnly))
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

// weak says why a signature cannot count by itself.
func weak(sig *packet.Signature) string {
	for _, n := range sig.Notations {
		if n.IsCritical {
			return fmt.Sprintf("it has the critical notation %q, which is not known", n.Name)
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

// find returns the entity whose key a signature names, and the key's ID. IDs are
// short enough to be made on purpose, so a fingerprint in the signature decides
// where there is one.
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
