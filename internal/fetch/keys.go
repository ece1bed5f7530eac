package fetch

import (
	"embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"modwsgi/internal/pgp"
)

//go:embed keys/*.asc
var keyFiles embed.FS

// keysOf maps each folder of Apache's dist area, and OpenSSL, to its file of keys: a
// release manager of APR does not sign httpd.
var keysOf = map[string]string{"httpd": "keys/httpd-KEYS.asc", "apr": "keys/apr-KEYS.asc", "openssl": "keys/openssl-KEYS.asc"}

// signersOf returns the name in keysOf whose keys sign a component, or "".
func signersOf(component string) string {
	if component == "openssl" {
		return component
	}
	return apacheFolder(component)
}

// releaseKeys returns the keys of a name in keysOf.
func releaseKeys(folder string) (openpgp.EntityList, error) {
	rings, err := allKeys()
	if err != nil {
		return nil, err
	}
	return rings[folder], nil
}

// allKeys reads the release keys of all projects. The files of the Apache projects contain the keys of
// thirty years. Unreadable blocks (PGP 2 keys, foreign packets) are skipped, since they
// could not verify anything either. Which of the others still prove something is decided
// when a signature is checked (internal/pgp). A key revoked in one file is revoked in
// all.
var allKeys = sync.OnceValues(func() (map[string]openpgp.EntityList, error) {
	rings := map[string]openpgp.EntityList{}
	for folder, name := range keysOf {
		data, err := keyFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if rings[folder], _ = readKeys(data); len(rings[folder]) == 0 {
			return nil, fmt.Errorf("read the embedded release keys of %s: none is readable", folder)
		}
	}
	shareRevocations(rings)
	return rings, nil
})

func shareRevocations(rings map[string]openpgp.EntityList) {
	known := map[string]*openpgp.Entity{}
	for _, ring := range rings {
		for _, e := range ring {
			if e.Revocations != nil {
				known[pgp.Fingerprint(e)] = e
			}
		}
	}
	for _, ring := range rings {
		for _, e := range ring {
			if r := known[pgp.Fingerprint(e)]; r != nil && r != e {
				e.Revocations = slices.Concat(e.Revocations, r.Revocations)
			}
		}
	}
}

// readKeys reads every armored block of a KEYS file, tolerantly, and counts those that it
// skips. Of several copies of a key it keeps the one with the most recent self-signature,
// with the revocations of all.
func readKeys(data []byte) (ring openpgp.EntityList, unreadable int) {
	const begin = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
	for _, text := range strings.Split(string(data), begin)[1:] {
		block, err := armor.Decode(strings.NewReader(begin + text))
		if err != nil {
			unreadable++
			continue
		}
		keys, err := openpgp.ReadKeyRing(block.Body)
		if err != nil {
			unreadable++
		}
		for _, e := range keys {
			i := slices.IndexFunc(ring, func(o *openpgp.Entity) bool { return pgp.Fingerprint(o) == pgp.Fingerprint(e) })
			if i < 0 {
				ring = append(ring, e)
				continue
			}
			revocations := slices.Concat(ring[i].Revocations, e.Revocations)
			if selfSigned(e) > selfSigned(ring[i]) {
				ring[i] = e
			}
			ring[i].Revocations = revocations
		}
	}
	return ring, unreadable
}

// selfSigned returns when a key was last signed by its owner, in seconds since 1970.
func selfSigned(e *openpgp.Entity) (last int64) {
	for _, i := range e.Identities {
		for _, s := range i.SelfCertifications {
			last = max(last, s.Packet.CreationTime.Unix())
		}
	}
	return last
}

// errNotASignature is for contents that are not an armored signature, such as an error
// page. They count as no signature.
var errNotASignature = errors.New("not an OpenPGP signature")

// errStranger is for a signature by a key that is not embedded for the project and so
// proves nothing.
var errStranger = errors.New("it is by a key that is not among the embedded release keys")
