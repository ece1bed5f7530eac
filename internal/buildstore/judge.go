package buildstore

import (
	"fmt"
	"maps"

	"modwsgi/internal/buildcache"
)

// wanted is what an entry must be made of to be used for a plan.
type wanted struct {
	inputs string
	hashes map[string]string // component -> SHA-256
}

// Want sets what the entry of a key must be made of to be used: the inputs that the key
// is the hash of, and the SHA-256 of each component's archive.
func (b *Store) Want(key, inputs string, hashes map[string]string) {
	w := wanted{inputs, maps.Clone(hashes)}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wants == nil {
		b.wants = map[string]wanted{}
	}
	b.wants[key] = w
}

// judge returns why an entry does not match the plan, or "".
func (b *Store) judge(key string, a buildcache.About) string {
	if why := a.Unproven(); why != "" {
		return why
	}
	b.mu.Lock()
	w, known := b.wants[key]
	b.mu.Unlock()
	if !known {
		return "nobody asked for it"
	}
	if a.Inputs != w.inputs {
		return "it was not built from what the plan names"
	}
	for _, p := range a.Parts {
		if w.hashes[p.Name] != p.SHA256 {
			return fmt.Sprintf("it was built from another archive of %s than the plan names", p.Name)
		}
	}
	return ""
}

// counts reports whether the entry of a key may be used from a local cache. It drops an
// entry that does not show what it was built from, and one from a shared cache whose
// signer is no longer trusted or that is too old. A missing or unreadable entry is left
// to Restore to report.
func (b *Store) counts(c buildcache.Cache, key string) bool {
	e, err := c.Info(key)
	if err != nil || e.Format != 0 || e.Damage != "" {
		return true
	}
	why := b.judge(key, e.About)
	if why == "" && b.o.Shared != nil {
		why = b.o.Shared.Accepts(e.Origin)
	}
	if why == "" {
		return true
	}
	if !c.Writable() {
		b.o.Events.Note("an entry of the build cache is not used: " + key[:12] + ", " + why)
		return false
	}
	b.o.Events.Note("an entry of the build cache is dropped: " + key[:12] + ", " + why)
	if err := c.Remove(key); err != nil {
		b.unusable(err)
	}
	return false
}
