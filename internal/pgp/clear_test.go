package pgp

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

const text = "Suite: stable\n- dashes\nSHA256:\n abc\n"

func clearsigned(t *testing.T, at time.Time, keys ...*openpgp.Entity) []byte {
	t.Helper()
	var b bytes.Buffer
	var private []*packet.PrivateKey
	for _, e := range keys {
		private = append(private, e.PrivateKey)
	}
	w, err := clearsign.EncodeMulti(&b, private, &packet.Config{Time: func() time.Time { return at }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return append(b.Bytes(), '\n')
}

func TestCheckClear(t *testing.T) {
	now := time.Now()
	born := now.Add(-1000 * time.Hour)
	one, two := newKey(t, born, 0), newKey(t, born, 0)
	data := clearsigned(t, born.Add(time.Hour), two, one)
	for name, ring := range map[string]openpgp.EntityList{"the first": {two}, "the second": {one}} {
		s, got, err := CheckClear(ring, data, now)
		if err != nil || string(got) != strings.TrimSuffix(text, "\n") && string(got) != text || s.Signer != Fingerprint(ring[0]) {
			t.Errorf("%s key: %+v, %q, %v", name, s, got, err)
		}
	}
	if _, _, err := CheckClear(openpgp.EntityList{newKey(t, born, 0)}, data, now); !errors.Is(err, ErrStranger) {
		t.Errorf("by a stranger: %v", err)
	}
	ring := openpgp.EntityList{one}
	for name, bad := range map[string][]byte{
		"changed":         bytes.Replace(data, []byte("stable"), []byte("sta8le"), 1),
		"a line more":     bytes.Replace(data, []byte(" abc\n"), []byte(" abc\n def\n"), 1),
		"text before":     append([]byte("Suite: other\n"), data...),
		"text after":      append(bytes.Clone(data), "SHA256:\n evil\n"...),
		"unsigned":        []byte(text),
		"nothing":         nil,
		"half":            data[:len(data)/2],
		"another message": append(bytes.Clone(data), data...),
	} {
		if s, got, err := CheckClear(ring, bad, now); err == nil {
			t.Errorf("%s: accepted %q by %+v", name, got, s)
		}
	}
	if _, _, err := CheckClear(ring, clearsigned(t, now.Add(3*Clock), one), now); err == nil || !strings.Contains(err.Error(), "future") {
		t.Errorf("from the future: %v", err)
	}
	old := newKey(t, born, 3600*100)
	s, _, err := CheckClear(openpgp.EntityList{old}, clearsigned(t, born.Add(time.Hour), old), now)
	if err != nil || s.Expired.IsZero() {
		t.Errorf("by an expired key: %+v, %v", s, err)
	}
	if err := one.Revoke(packet.KeyCompromised, "", nil); err != nil {
		t.Fatal(err)
	}
	var unfit *UnfitError
	if _, _, err := CheckClear(openpgp.EntityList{one}, data, now); !errors.As(err, &unfit) {
		t.Errorf("by a revoked key: %v", err)
	}
}
