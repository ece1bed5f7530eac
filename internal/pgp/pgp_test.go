package pgp

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

const signed = "release\n"

func ring(t *testing.T, name string) openpgp.EntityList {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".key.asc"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	keys, err := openpgp.ReadArmoredKeyRing(f)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func signatures(t *testing.T, name string) []*packet.Signature {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".sig.asc"))
	if err != nil {
		t.Fatal(err)
	}
	all, err := Read(data)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// The keys and signatures of testdata are GnuPG's: see testdata/make.
func TestUnacceptableKeysAndSignatures(t *testing.T) {
	now := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct{ key, signature, why string }{ // "" if it is accepted
		{"good", "good", ""},
		{"subkey", "subkey", ""},
		{"good", "sha1", "hash is SHA-1"},
		{"good", "sha224", "hash is SHA-224"},
		{"dsa", "dsa", "algorithm is DSA"},
		{"dsa3072", "dsa3072", "algorithm is DSA"},
		{"short", "short", "RSA-1024"},
		{"shortsub", "shortsub", "RSA-1024"},
		{"koblitz", "koblitz", "curve is SecP256k1"},
		{"weakself", "weakself", "no self-signature with a strong hash"},
	} {
		keys := ring(t, c.key)
		got, err := Check(keys, strings.NewReader(signed), signatures(t, c.signature)[0], now)
		var unfit *UnfitError
		switch {
		case c.why == "":
			if err != nil || got.Signer != Fingerprint(keys[0]) || !got.Expired.IsZero() {
				t.Errorf("%s: %+v, %v", c.signature, got, err)
			}
			if _, err := Check(keys, strings.NewReader("other\n"), signatures(t, c.signature)[0], now); err == nil || errors.As(err, &unfit) {
				t.Errorf("%s over something else: %v", c.signature, err)
			}
		case !errors.As(err, &unfit) || !strings.Contains(err.Error(), c.why):
			t.Errorf("%s: %+v, %v, want %q", c.signature, got, err, c.why)
		}
		v := Judge(keys[0], 0, now)
		if (v.Standing == Valid) != (c.why == "" || c.key == "good") {
			t.Errorf("the key %s is %+v", c.key, v)
		}
	}
}

// Someone who stole an expired key can write any date, so its signatures are always
// Expired.
func TestExpiredKeyIsNoProofByItself(t *testing.T) {
	keys := ring(t, "expired")
	end := time.Date(2020, 12, 31, 0, 0, 0, 0, time.UTC)
	for _, name := range []string{"intime", "backdated"} {
		got, err := Check(keys, strings.NewReader(signed), signatures(t, name)[0], time.Now())
		if err != nil || got.Expired.IsZero() || got.Expired.Before(end) || got.Expired.After(end.AddDate(0, 0, 2)) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		got, err = Check(keys, strings.NewReader(signed), signatures(t, name)[0], end.AddDate(0, 0, -1))
		if err != nil || !got.Expired.IsZero() {
			t.Errorf("%s, before the key ended: %+v, %v", name, got, err)
		}
	}
	if _, err := Check(keys, strings.NewReader(signed), signatures(t, "intime")[0], time.Date(2020, 3, 1, 0, 0, 0, 0, time.UTC)); err == nil || !strings.Contains(err.Error(), "future") || !strings.Contains(err.Error(), "clock is wrong (2020-03-01)") {
		t.Errorf("from the future: %v", err)
	}
}

func newKey(t *testing.T, born time.Time, seconds uint32) *openpgp.Entity {
	t.Helper()
	e, err := openpgp.NewEntity("somebody", "", "somebody@example.org", &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, KeyLifetimeSecs: seconds, Time: func() time.Time { return born },
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func detached(t *testing.T, e *openpgp.Entity, at time.Time) *packet.Signature {
	t.Helper()
	var b bytes.Buffer
	if err := openpgp.ArmoredDetachSign(&b, []*openpgp.Entity{e}, strings.NewReader(signed), &openpgp.SignParams{Config: &packet.Config{Time: func() time.Time { return at }}}); err != nil {
		t.Fatal(err)
	}
	all, err := Read(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return all[0]
}

func TestRevokedKeyIsNeverAccepted(t *testing.T) {
	now := time.Now()
	born := now.Add(-1000 * time.Hour)
	for _, reason := range []packet.ReasonForRevocation{packet.NoReason, packet.KeySuperseded, packet.KeyCompromised, packet.KeyRetired} {
		e := newKey(t, born, 0)
		before := detached(t, e, born.Add(time.Hour))
		if _, err := Check(openpgp.EntityList{e}, strings.NewReader(signed), before, now); err != nil {
			t.Fatal(err)
		}
		if err := e.Revoke(reason, "", nil); err != nil {
			t.Fatal(err)
		}
		var unfit *UnfitError
		if _, err := Check(openpgp.EntityList{e}, strings.NewReader(signed), before, now); !errors.As(err, &unfit) || !strings.Contains(err.Error(), "revoked") {
			t.Errorf("reason %d: %v", reason, err)
		}
		// Nor if the revocation claims to take effect later.
		if _, err := Check(openpgp.EntityList{e}, strings.NewReader(signed), before, born.Add(2*time.Hour)); !errors.As(err, &unfit) {
			t.Errorf("reason %d, before it: %v", reason, err)
		}
	}
}

func TestSubkeys(t *testing.T) {
	now := time.Now()
	born := now.Add(-1000 * time.Hour)
	at := func(when time.Time) *packet.Config {
		return &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return when }}
	}
	var unfit *UnfitError
	e := newKey(t, born, 0)
	if err := e.AddSigningSubkey(at(born)); err != nil {
		t.Fatal(err)
	}
	sig := detached(t, e, born.Add(time.Hour))
	sub := &e.Subkeys[len(e.Subkeys)-1]
	if sig.CheckKeyIdOrFingerprint(e.PrimaryKey) || !sig.CheckKeyIdOrFingerprint(sub.PublicKey) {
		t.Fatal("the subkey did not sign")
	}
	got, err := Check(openpgp.EntityList{e}, strings.NewReader(signed), sig, now)
	if err != nil || got.Signer != Fingerprint(e) {
		t.Errorf("%+v, %v", got, err)
	}
	// The subkey must have signed its primary key, otherwise anybody could claim it.
	back := sub.Bindings[0].Packet.EmbeddedSignature
	sub.Bindings[0].Packet.EmbeddedSignature = nil
	if _, err := Check(openpgp.EntityList{e}, strings.NewReader(signed), sig, now); !errors.As(err, &unfit) {
		t.Errorf("without the signature of the subkey: %v", err)
	}
	sub.Bindings[0].Packet.EmbeddedSignature = back
	if err := sub.Revoke(packet.KeySuperseded, "", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := Check(openpgp.EntityList{e}, strings.NewReader(signed), sig, now); !errors.As(err, &unfit) || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("revoked: %v", err)
	}

	// A key for encryption cannot sign.
	e = newKey(t, born, 0)
	sig = detached(t, e, born.Add(time.Hour))
	for _, i := range e.Identities {
		for _, s := range i.SelfCertifications {
			s.Packet.FlagSign = false
			if err := s.Packet.SignUserId(i.Name, e.PrimaryKey, e.PrivateKey, at(born)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := Check(openpgp.EntityList{e}, strings.NewReader(signed), sig, now); !errors.As(err, &unfit) || !strings.Contains(err.Error(), "not meant for signing") {
		t.Errorf("a key without the flag: %v", err)
	}
}

func TestImpossibleTimes(t *testing.T) {
	now := time.Now()
	born := now.Add(-1000 * time.Hour)
	e := newKey(t, born, 3600*100)
	for name, c := range map[string]struct {
		at, now time.Time
		want    string
	}{
		"in the future":         {now.Add(2 * Clock), now, "future"},
		"after the key's end":   {born.Add(200 * time.Hour), now, "after its key expired"},
		"with a clock ahead":    {born.Add(60 * time.Minute), born.Add(time.Minute), ""},
		"on the day it expires": {born.Add(99 * time.Hour), born.Add(99 * time.Hour), ""},
	} {
		long := newKey(t, born, 0)
		long.PrimaryKey, long.PrivateKey = e.PrimaryKey, e.PrivateKey // signs at any time
		for _, i := range long.Identities {
			for _, s := range i.SelfCertifications {
				if err := s.Packet.SignUserId(i.Name, e.PrimaryKey, e.PrivateKey, &packet.Config{Time: func() time.Time { return born }}); err != nil {
					t.Fatal(err)
				}
			}
		}
		long.Subkeys = nil
		_, err := Check(openpgp.EntityList{e}, strings.NewReader(signed), detached(t, long, c.at), c.now)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestRead(t *testing.T) {
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.SignatureType, nil)
	if err != nil {
		t.Fatal(err)
	}
	one := signatures(t, "good")[0]
	for range maxPackets + 1 {
		if err := one.Serialize(w); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(b.Bytes()); err == nil || !strings.Contains(err.Error(), "more than 16") {
		t.Errorf("too many: %v", err)
	}
	key, err := os.ReadFile("testdata/good.key.asc")
	if err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile("testdata/ripemd160.sig.asc")
	if err != nil {
		t.Fatal(err)
	}
	var unfit *UnfitError
	if _, err := Read(old); !errors.As(err, &unfit) {
		t.Errorf("RIPEMD-160: %v", err)
	}
	for name, data := range map[string][]byte{"a key": key, "nothing": nil, "text": []byte("hello"), "half": b.Bytes()[:300]} {
		if all, err := Read(data); err == nil {
			t.Errorf("%s: %d signatures", name, len(all))
		}
	}
}
