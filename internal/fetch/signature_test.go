package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"modwsgi/internal/fault"
	"modwsgi/internal/recipe"
)

func newKey(t *testing.T, name string, config *packet.Config) *openpgp.Entity {
	t.Helper()
	if config == nil {
		config = &packet.Config{}
	}
	config.Algorithm = packet.PubKeyAlgoEdDSA
	e, err := openpgp.NewEntity(name, "", name+"@example.org", config)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func keyring(keys ...*openpgp.Entity) func(string) (openpgp.EntityList, error) {
	return func(string) (openpgp.EntityList, error) { return keys, nil }
}

func fingerprint(e *openpgp.Entity) string { return fmt.Sprintf("%X", e.PrimaryKey.Fingerprint) }

func sign(t *testing.T, e *openpgp.Entity, data []byte, at time.Time) []byte {
	t.Helper()
	var b bytes.Buffer
	config := &packet.Config{}
	if !at.IsZero() {
		config.Time = func() time.Time { return at }
	}
	if err := openpgp.ArmoredDetachSign(&b, []*openpgp.Entity{e}, bytes.NewReader(data), &openpgp.SignParams{Config: config}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestEmbeddedKeysHoldTheRecordedSigners(t *testing.T) {
	set := recipe.Catalogue()
	for _, component := range set.Components() {
		for _, a := range set.Of(component) {
			if a.SignedBy == "" {
				continue
			}
			ring, err := releaseKeys(signersOf(component))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(ring, func(e *openpgp.Entity) bool { return fingerprint(e) == a.SignedBy }) {
				t.Errorf("%s: key %s is not embedded for it", a, a.SignedBy)
			}
		}
	}
}

func TestSignatureFromTheServerDecides(t *testing.T) {
	data := content(40, 20_000)
	key, stranger, second := newKey(t, "release", nil), newKey(t, "stranger", nil), newKey(t, "second", nil)
	goodSig := sign(t, key, data, time.Time{})
	for _, tt := range []struct {
		name      string
		signature []byte // nil: no signature
		signedBy  string
		signer    string
		want      string // of the error; "" for none
	}{
		{name: "good", signature: goodSig, signer: fingerprint(key)},
		{name: "good, as recorded", signature: goodSig, signedBy: fingerprint(key), signer: fingerprint(key)},
		{name: "none"},
		{name: "an error page", signature: []byte("<html>404 not found</html>")},
		{name: "empty", signature: []byte{}},
		{name: "of other content", signature: sign(t, key, []byte("other"), time.Time{}), want: "signature"},
		{name: "by a stranger, nobody recorded", signature: sign(t, stranger, data, time.Time{})},
		{name: "by a stranger, another one recorded", signature: sign(t, stranger, data, time.Time{}), signedBy: fingerprint(key), want: "not among the embedded"},
		{name: "by another release key than recorded", signature: goodSig, signedBy: fingerprint(second), want: "expected " + fingerprint(second)},
		{name: "damaged", signature: bytes.Replace(goodSig, []byte("\n\n"), []byte("\n\nAAAA"), 1), want: "signature"},
		{name: "cut off", signature: goodSig[:len(goodSig)/2], want: "signature"},
		{name: "dated in the future", signature: sign(t, key, data, time.Now().Add(100*time.Hour)), want: "future"},
		{name: "too large", signature: append(bytes.Clone(goodSig), bytes.Repeat([]byte("x"), maxSignature)...)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			serve := good(data)
			s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, ".asc") && tt.signature != nil {
					_, _ = w.Write(tt.signature)
					return
				}
				serve(w, r)
			})
			f := newFetcher(t, s, Options{})
			f.keys = keyring(key, second)
			a := archiveOf(data, s.URL)
			a.Component, a.SignedBy = "httpd", tt.signedBy
			file, err := f.Fetch(context.Background(), a)
			if tt.want == "" {
				mustBe(t, file, err, data)
				if file.Signer != tt.signer || file.Trust != recipe.Pinned {
					t.Errorf("signer %q, trust %q", file.Signer, file.Trust)
				}
				again, err := f.Fetch(context.Background(), a)
				mustBe(t, again, err, data)
				if again.Provider != Cache || again.Signer != tt.signer {
					t.Errorf("from the cache: %+v", again)
				}
				return
			}
			var bad *BadSignature
			if !errors.As(err, &bad) || !strings.Contains(err.Error(), tt.want) || fault.ClassOf(err) != fault.Source || fault.HintOf(err) == "" {
				t.Errorf("Fetch = %v, want %q", err, tt.want)
			}
			nothingUsable(t, f, a, false)
		})
	}
}

func TestSignatureInASourceDirDecides(t *testing.T) {
	data := content(41, 1000)
	key := newKey(t, "release", nil)
	a := archiveOf(data, "")
	a.Component = "apr"
	for _, tt := range []struct {
		signature []byte
		ok        bool
	}{{sign(t, key, data, time.Time{}), true}, {sign(t, key, []byte("other"), time.Time{}), false}} {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, a.File), data)
		writeFile(t, filepath.Join(dir, a.File+".asc"), tt.signature)
		f := newFetcher(t, nil, Options{SourceDirs: []string{dir}})
		f.keys = keyring(key)
		file, err := f.Fetch(context.Background(), a)
		if tt.ok {
			mustBe(t, file, err, data)
			if file.Signer != fingerprint(key) {
				t.Errorf("signer %q", file.Signer)
			}
		} else if err == nil {
			t.Error("a bad signature was accepted")
		}
	}
}

// joinSignatures puts the packets of several armored signatures into one block.
func joinSignatures(t *testing.T, armored ...[]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := armor.Encode(&out, openpgp.SignatureType, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range armored {
		block, err := armor.Decode(bytes.NewReader(a))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, block.Body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestOneGoodSignatureOfSeveralIsEnough(t *testing.T) {
	data := content(43, 1000)
	key, stranger := newKey(t, "release", nil), newKey(t, "stranger", nil)
	f := newFetcher(t, nil, Options{})
	f.keys = keyring(key)
	joined := joinSignatures(t, sign(t, stranger, data, time.Time{}), sign(t, key, data, time.Time{}))
	ring, _ := f.keys("httpd")
	if good, _, err := f.verifySignature(ring, bytes.NewReader(data), joined, "", ""); err != nil || good.Signer != fingerprint(key) {
		t.Errorf("verifySignature = %+v, %v", good, err)
	}
	if _, _, err := f.verifySignature(ring, bytes.NewReader(data[1:]), joined, "", ""); err == nil {
		t.Error("other content was accepted")
	}
}
