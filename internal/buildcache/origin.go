package buildcache

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"modwsgi/internal/owned"
)

const (
	originName = "origin.json"
	maxOrigin  = 64 << 10
)

// Origin records where an entry came from. It is stored beside the manifest, because it
// differs between caches.
type Origin struct {
	Built  time.Time `json:"built"`            // when it was built; from the signature if there is one
	Signer string    `json:"signer,omitempty"` // fingerprint of the key that signed it; "" if built here
	From   string    `json:"from,omitempty"`   // address of the shared cache, without credentials
}

// Here reports whether an entry was built on this machine, for this cache.
func (o Origin) Here() bool { return o.Signer == "" && !o.Built.IsZero() }

func writeOrigin(dir *owned.Dir, o Origin) error {
	if o.Built.IsZero() {
		o.Built = time.Now()
	}
	o.Built = o.Built.UTC().Truncate(time.Second)
	data, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return writeNew(dir, originName, data)
}

// readOrigin returns the zero value if it cannot be read.
func readOrigin(dir *owned.Dir) (o Origin) {
	data, err := dir.ReadFile(originName, maxOrigin)
	if err != nil || json.Unmarshal(data, &o) != nil {
		return Origin{}
	}
	return o
}

// KeyOf returns the key for inputs.
func KeyOf(inputs string) string {
	sum := sha256.Sum256([]byte(inputs))
	return hex.EncodeToString(sum[:])
}
