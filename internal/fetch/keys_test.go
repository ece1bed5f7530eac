package fetch

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"modwsgi/internal/event"
	"modwsgi/internal/pgp"
	"modwsgi/internal/recipe"
)

var update = flag.Bool("update", false, "write the table of docs/reference/keys.md")

const (
	keysPage   = "../../docs/reference/keys.md"
	tableBegin = "<!-- begin: written by go test ./internal/fetch -run TestKeysPage -update -->\n"
	tableEnd   = "<!-- end -->\n"
)

// keysTable lists the embedded keys. It does not depend on the day: it shows when a key
// expires, not whether it has.
func keysTable(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, folder := range []string{"httpd", "apr"} {
		data, err := keyFiles.ReadFile(keysOf[folder])
		if err != nil {
			t.Fatal(err)
		}
		_, unreadable := readKeys(data)
		ring, err := releaseKeys(folder)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "\n### %s\n\n| Key | Owner | Algorithm | May sign |\n| --- | --- | --- | --- |\n", map[string]string{"httpd": "httpd", "apr": "APR and APR-util"}[folder])
		var lines []string
		for _, e := range ring {
			lines = append(lines, fmt.Sprintf("| `%s` | %s | %s | %s |\n", pgp.Fingerprint(e), owner(e), algorithm(t, e.PrimaryKey), maySign(pgp.Judge(e, 0, time.Now()))))
		}
		slices.Sort(lines)
		b.WriteString(strings.Join(lines, ""))
		if unreadable == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n%d more blocks of the file are in formats that cannot be read (PGP 2). They sign nothing.\n", unreadable)
	}
	return b.String() + "\n"
}

// algorithm names a key's algorithm and size: "RSA-4096".
func algorithm(t *testing.T, k *packet.PublicKey) string {
	t.Helper()
	name := map[packet.PublicKeyAlgorithm]string{packet.PubKeyAlgoRSA: "RSA", packet.PubKeyAlgoDSA: "DSA"}[k.PubKeyAlgo]
	bits, err := k.BitLength()
	if name == "" || err != nil {
		t.Fatalf("this test has no name for the algorithm of key %X: number %d, %v", k.Fingerprint, k.PubKeyAlgo, err)
	}
	return fmt.Sprintf("%s-%d", name, bits)
}

func maySign(v pgp.Verdict) string {
	switch {
	case v.Standing == pgp.Unfit:
		return "nothing: " + v.Reason
	case v.Expires.IsZero():
		return "any release"
	}
	return "any release until " + v.Expires.UTC().Format(time.DateOnly) + ", then only what is pinned as well"
}

// owner returns the name without address and comment; the first of several.
func owner(e *openpgp.Entity) string {
	var names []string
	for name := range e.Identities {
		name, _, _ = strings.Cut(name, "<")
		name, _, _ = strings.Cut(name, "(")
		if name = strings.Trim(name, " \""); name != "" {
			names = append(names, strings.ReplaceAll(name, "|", ""))
		}
	}
	if len(names) == 0 {
		return ""
	}
	return slices.Min(names)
}

// The table in the documentation matches the keys in the program.
func TestKeysPage(t *testing.T) {
	data, err := os.ReadFile(keysPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no table", keysPage)
	}
	want := before + tableBegin + keysTable(t) + tableEnd + after
	if want == string(data) {
		return
	}
	if !*update {
		t.Fatalf("%s is not the list of the embedded keys: go test ./internal/fetch -run TestKeysPage -update", keysPage)
	}
	if err := os.WriteFile(keysPage, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The policy must allow every signer in the catalogue to sign today. Some embedded keys
// cannot prove anything, so that the policy matters.
func TestPolicyAndEmbeddedKeys(t *testing.T) {
	set := recipe.Catalogue()
	counts := map[pgp.Standing]int{}
	for folder := range keysOf {
		ring, err := releaseKeys(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range ring {
			counts[pgp.Judge(e, 0, time.Now()).Standing]++
		}
	}
	if counts[pgp.Valid] == 0 || counts[pgp.Unfit] == 0 {
		t.Errorf("standings: %v", counts)
	}
	for _, component := range set.Components() {
		for _, a := range set.Of(component) {
			if a.SignedBy == "" {
				continue
			}
			ring, err := releaseKeys(signersOf(component))
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range ring {
				if v := pgp.Judge(e, 0, time.Now()); pgp.Fingerprint(e) == a.SignedBy && v.Standing == pgp.Unfit {
					t.Errorf("%s: %+v", a, v)
				}
			}
		}
	}
}

// The keys of one project must not sign for another.
func TestKeysBelongToAProject(t *testing.T) {
	httpd, err := releaseKeys("httpd")
	if err != nil {
		t.Fatal(err)
	}
	apr, err := releaseKeys("apr")
	if err != nil {
		t.Fatal(err)
	}
	only := func(a, b openpgp.EntityList) (n int) {
		for _, e := range a {
			if !slices.ContainsFunc(b, func(o *openpgp.Entity) bool { return pgp.Fingerprint(o) == pgp.Fingerprint(e) }) {
				n++
			}
		}
		return n
	}
	if only(httpd, apr) == 0 || only(apr, httpd) == 0 {
		t.Error("the two rings are the same, or one contains the other")
	}
	if none, err := releaseKeys(""); err != nil || len(none) > 0 {
		t.Errorf("%d keys for what is not Apache's, %v", len(none), err)
	}
}

// A key revoked in one file, or in one copy of it, is revoked everywhere.
func TestRevocationsAreShared(t *testing.T) {
	good, bad := newKey(t, "good", nil), newKey(t, "bad", nil)
	var clean, revoked bytes.Buffer
	if err := bad.Serialize(&clean); err != nil {
		t.Fatal(err)
	}
	if err := bad.Revoke(packet.KeyRetired, "", nil); err != nil {
		t.Fatal(err)
	}
	if err := bad.Serialize(&revoked); err != nil {
		t.Fatal(err)
	}
	read := func(b bytes.Buffer) *openpgp.Entity {
		all, err := openpgp.ReadKeyRing(&b)
		if err != nil {
			t.Fatal(err)
		}
		return all[0]
	}
	rings := map[string]openpgp.EntityList{"httpd": {read(clean), good}, "apr": {read(revoked)}}
	shareRevocations(rings)
	if v := pgp.Judge(rings["httpd"][0], 0, time.Now()); v.Standing != pgp.Unfit || !strings.Contains(v.Reason, "revoked") {
		t.Errorf("in the other file: %+v", v)
	}
	if v := pgp.Judge(rings["httpd"][1], 0, time.Now()); v.Standing != pgp.Valid {
		t.Errorf("another key: %+v", v)
	}
}

// fetchSigned fetches an archive of httpd from a server that has its signature beside it.
func fetchSigned(t *testing.T, data, signature []byte, trust recipe.Trust, keys ...*openpgp.Entity) (*File, []string, error) {
	t.Helper()
	serve := good(data)
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".asc") {
			_, _ = w.Write(signature)
			return
		}
		serve(w, r)
	})
	var notes []string
	f := newFetcher(t, s, Options{Events: func(e event.Event) {
		if e.Kind == event.Note || e.Kind == event.Warn {
			notes = append(notes, e.Text)
		}
	}})
	f.keys = keyring(keys...)
	a := archiveOf(data, s.URL)
	a.Component, a.Trust = "httpd", trust
	file, err := f.Fetch(context.Background(), a)
	return file, notes, err
}

// A stolen key that has expired can write any date. It raises no trust, and a better
// proof stays as it is.
func TestAnExpiredKeyRaisesNoTrust(t *testing.T) {
	data := content(60, 5000)
	born := time.Now().Add(-1000 * time.Hour)
	expired := newKey(t, "old", &packet.Config{Time: func() time.Time { return born }, KeyLifetimeSecs: 3600})
	valid := newKey(t, "new", &packet.Config{Time: func() time.Time { return born }})
	for _, c := range []struct {
		key    *openpgp.Entity
		before recipe.Trust
		after  recipe.Trust
		signer bool
	}{
		{expired, recipe.Pinned, recipe.Pinned, true},
		{expired, recipe.Published, recipe.Published, false},
		{expired, recipe.FromLock, recipe.FromLock, false},
		{valid, recipe.Pinned, recipe.Pinned, true},
		{valid, recipe.Published, recipe.Signed, true},
		{valid, recipe.FromLock, recipe.Signed, true},
	} {
		backdated := sign(t, c.key, data, born.Add(time.Minute))
		file, notes, err := fetchSigned(t, data, backdated, c.before, c.key)
		if err != nil {
			t.Fatal(err)
		}
		if file.Trust != c.after || (file.Signer != "") != c.signer {
			t.Errorf("%s by %s: trust %q, signer %q", c.before, owner(c.key), file.Trust, file.Signer)
		}
		if told := strings.Contains(strings.Join(notes, "\n"), "expired on"); told != (c.key == expired && c.before != recipe.Pinned) {
			t.Errorf("%s by %s: reported %q", c.before, owner(c.key), notes)
		}
	}
}

// A signature that proves nothing counts as none and is reported.
func TestAWeakSignatureRaisesNoTrust(t *testing.T) {
	data := []byte("release\n")
	for _, name := range []string{"good", "sha1", "sha224", "ripemd160", "dsa", "dsa3072", "short", "shortsub", "koblitz", "weakself"} {
		key := name
		if slices.Contains([]string{"sha1", "sha224", "ripemd160"}, name) {
			key = "good"
		}
		block, err := os.ReadFile(filepath.Join("../pgp/testdata", key+".key.asc"))
		if err != nil {
			t.Fatal(err)
		}
		signature, err := os.ReadFile(filepath.Join("../pgp/testdata", name+".sig.asc"))
		if err != nil {
			t.Fatal(err)
		}
		keys, unreadable := readKeys(block)
		if unreadable > 0 {
			t.Fatalf("%s is not readable", key)
		}
		file, notes, err := fetchSigned(t, data, signature, recipe.Published, keys...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if want := map[bool]recipe.Trust{true: recipe.Signed, false: recipe.Published}[name == "good"]; file.Trust != want {
			t.Errorf("%s: trust %q, %q", name, file.Trust, notes)
		}
		if ignored := strings.Contains(strings.Join(notes, "\n"), "is ignored"); ignored != (name != "good") {
			t.Errorf("%s: reported %q", name, notes)
		}
	}
}

// A signature over bytes other than the hashed ones is noticed, although it is valid by
// itself.
func TestTheSignatureIsOverTheHashedBytes(t *testing.T) {
	data, other := content(61, 3000), content(62, 3000)
	key := newKey(t, "release", nil)
	name := filepath.Join(t.TempDir(), "httpd-1.0.tar.gz")
	writeFile(t, name, other) // written after data was hashed
	f := newFetcher(t, nil, Options{})
	f.keys = keyring(key)
	a := archiveOf(data, "")
	a.Component = "httpd"
	signer, _, err := f.checkSignature(a, name, name+".asc", sign(t, key, other, time.Time{}))
	if err == nil || !strings.Contains(err.Error(), "changed after it was verified") || signer != "" {
		t.Errorf("%q, %v", signer, err)
	}
	var bad *BadSignature
	if errors.As(err, &bad) {
		t.Error("the signature itself is right")
	}
}
