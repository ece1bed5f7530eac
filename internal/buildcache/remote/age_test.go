package remote

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/buildcache"
)

// aged opens a cache at a given time.
func aged(t *testing.T, address string, s *Signer, trust *Trust, age Age) *Cache {
	t.Helper()
	c, err := Open(address, Options{Signer: s, Trust: trust, Stall: 2 * time.Second, Dir: "/nowhere", Age: age})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func in(d time.Duration) func() time.Time { return func() time.Time { return time.Now().Add(d) } }

// A hostile registry keeps a signed entry and serves it again. That works for a while,
// but not for ever, not after its signer was removed from the trusted keys, not before a
// given date, and never as another key's entry.
func TestAnOldEntryIsNotServedForEver(t *testing.T) {
	const day = 24 * time.Hour
	s, trust := pair(t)
	_, others := pair(t)
	both := &Trust{keys: maps.Clone(trust.keys)}
	maps.Copy(both.keys, others.keys)
	for where, address := range stores {
		t.Run(where, func(t *testing.T) {
			at := address(t)
			if pushed, err := aged(t, at, s, trust, Age{}).Push(t.Context(), key, entry(t)); !pushed || err != nil {
				t.Fatal(pushed, err)
			}
			for name, c := range map[string]struct {
				trust *Trust
				age   Age
				want  string // "" for a hit
			}{
				"at once":               {trust, Age{}, ""},
				"one of several keys":   {both, Age{}, ""},
				"after 29 days":         {trust, Age{Now: in(29 * day)}, ""},
				"after 31 days":         {trust, Age{Now: in(31 * day)}, "longer ago than 30 days"},
				"after ten years":       {trust, Age{Now: in(3650 * day)}, "longer ago"},
				"a shorter limit":       {trust, Age{Max: time.Hour, Now: in(2 * time.Hour)}, "longer ago than 1h0m0s"},
				"a longer limit":        {trust, Age{Max: 90 * day, Now: in(80 * day)}, ""},
				"no limit":              {trust, Age{Max: -1, Now: in(3650 * day)}, ""},
				"from before a date":    {trust, Age{NotBefore: time.Now().Add(time.Minute)}, "--cache-not-before"},
				"from after a date":     {trust, Age{NotBefore: time.Now().Add(-time.Minute)}, ""},
				"from the future":       {trust, Age{Now: in(-2 * time.Hour)}, "in the future"},
				"a clock behind":        {trust, Age{Now: in(-30 * time.Minute)}, ""},
				"its signer taken away": {others, Age{}, "not trusted"},
			} {
				into := empty(t)
				hit, err := aged(t, at, nil, c.trust, c.age).Pull(t.Context(), key, into, nil)
				if c.want == "" {
					if !hit || err != nil {
						t.Errorf("%s: %v, %v", name, hit, err)
					}
					continue
				}
				var r *Refused
				if hit || !errors.As(err, &r) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: %v, %v, want %q", name, hit, err, c.want)
				}
				nothing(t, into)
			}
		})
	}
}

// The time, the format and the tool are signed: a registry that changes one of them
// serves nothing.
func TestTheTimeIsSigned(t *testing.T) {
	s, trust := pair(t)
	dir := filepath.Join(t.TempDir(), "shared")
	at := "oci-layout:" + dir
	if _, err := aged(t, at, s, trust, Age{}).Push(t.Context(), key, entry(t)); err != nil {
		t.Fatal(err)
	}
	raw, err := (&layout{dir: dir}).manifest(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	var a artifact
	if err := json.Unmarshal(raw, &a); err != nil {
		t.Fatal(err)
	}
	if a.Annotations[builtNote] == "" || a.Annotations[toolNote] == "" || a.Annotations[formatNote] != envelope {
		t.Fatalf("%v", a.Annotations)
	}
	for name, change := range map[string]func(map[string]string){
		"younger":      func(n map[string]string) { n[builtNote] = time.Now().Add(time.Minute).UTC().Format(time.RFC3339) },
		"without":      func(n map[string]string) { delete(n, builtNote) },
		"another form": func(n map[string]string) { n[builtNote] = strings.TrimSuffix(n[builtNote], "Z") + "+00:00" },
		"another tool": func(n map[string]string) { n[toolNote] = "999" },
		"no format":    func(n map[string]string) { delete(n, formatNote) },
		"old format":   func(n map[string]string) { n[formatNote] = "1.2" },
	} {
		changed := a
		changed.Annotations = maps.Clone(a.Annotations)
		change(changed.Annotations)
		data, err := json.Marshal(changed)
		if err != nil {
			t.Fatal(err)
		}
		setRaw(t, dir, key, data)
		into := empty(t)
		if hit, err := aged(t, at, nil, trust, Age{}).Pull(t.Context(), key, into, nil); hit || strings.Contains(name, "format") != (err == nil) {
			t.Errorf("%s: %v, %v", name, hit, err)
		}
		nothing(t, into)
	}
	// A signer that writes another form of time is refused, too.
	for _, built := range []string{"", "yesterday", "2026-11-28", "2026-11-28T16:00:00+01:00"} {
		n := maps.Clone(a.Annotations)
		n[builtNote] = built
		if at := (&artifact{Annotations: n}).built(); !at.IsZero() {
			t.Errorf("%q is %v", built, at)
		}
	}
}

// An entry from before entries had a time is of another version: it counts as missing, is
// not reported, and is replaced.
func TestEntriesWithoutATimeAreIgnored(t *testing.T) {
	s, trust := pair(t)
	dir := filepath.Join(t.TempDir(), "shared")
	shared := aged(t, "oci-layout:"+dir, s, trust, Age{})
	if _, err := shared.Push(t.Context(), key, entry(t)); err != nil {
		t.Fatal(err)
	}
	raw, err := (&layout{dir: dir}).manifest(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	var a artifact
	if err := json.Unmarshal(raw, &a); err != nil {
		t.Fatal(err)
	}
	for _, note := range []string{builtNote, toolNote, formatNote, signatureNote} {
		delete(a.Annotations, note)
	}
	text, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	old := append([]byte("modwsgi build cache entry, version 1\n"+key+"\n"), text...) // the text signed then
	a.Annotations[signatureNote] = base64.StdEncoding.EncodeToString(ed25519.Sign(s.key, old))
	if raw, err = json.Marshal(a); err != nil {
		t.Fatal(err)
	}
	setRaw(t, dir, key, raw)
	into := empty(t)
	if hit, err := shared.Pull(t.Context(), key, into, nil); hit || err != nil {
		t.Errorf("%v, %v", hit, err)
	}
	nothing(t, into)
	if pushed, err := shared.Push(t.Context(), key, entry(t)); !pushed || err != nil {
		t.Errorf("%v, %v", pushed, err)
	}
	if hit, err := shared.Pull(t.Context(), key, into, nil); !hit || err != nil {
		t.Errorf("%v, %v", hit, err)
	}
}

// An entry from a shared cache keeps its origin: nobody signs it again as their own, or
// as younger. It is dropped when its signer is no longer trusted, or when it is too old.
func TestPulledEntriesKeepTheirOrigin(t *testing.T) {
	const day = 24 * time.Hour
	s, trust := pair(t)
	mine, others := pair(t)
	first, second := "oci-layout:"+filepath.Join(t.TempDir(), "first"), "oci-layout:"+filepath.Join(t.TempDir(), "second")
	if _, err := aged(t, first, s, trust, Age{}).Push(t.Context(), key, entry(t)); err != nil {
		t.Fatal(err)
	}
	into := empty(t)
	if hit, err := aged(t, first, nil, trust, Age{}).Pull(t.Context(), key, into, nil); !hit || err != nil {
		t.Fatal(hit, err)
	}
	e, err := into.Info(key)
	if err != nil || e.Origin.Signer != s.Fingerprint() || e.Origin.Here() || e.Origin.From != first || time.Since(e.Origin.Built) > time.Minute {
		t.Fatalf("%+v, %v", e, err)
	}
	if pushed, err := aged(t, second, mine, others, Age{}).Push(t.Context(), key, into); pushed || err != nil {
		t.Errorf("another user's build was signed: %v, %v", pushed, err)
	}
	for name, c := range map[string]struct {
		cache  *Cache
		origin buildcache.Origin
		want   string
	}{
		"now":                  {aged(t, first, nil, trust, Age{}), e.Origin, ""},
		"another signer":       {aged(t, first, nil, others, Age{}), e.Origin, "no longer trusted"},
		"too old":              {aged(t, first, nil, trust, Age{Now: in(31 * day)}), e.Origin, "longer ago"},
		"before a date":        {aged(t, first, nil, trust, Age{NotBefore: time.Now().Add(time.Hour)}), e.Origin, "before"},
		"built here":           {aged(t, first, nil, others, Age{Now: in(3650 * day)}), buildcache.Origin{Built: time.Now()}, ""},
		"a forgotten origin":   {aged(t, first, nil, others, Age{}), buildcache.Origin{}, ""},
		"without its own time": {aged(t, first, nil, trust, Age{}), buildcache.Origin{Signer: s.Fingerprint()}, "does not say when"},
	} {
		if got := c.cache.Accepts(c.origin); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	// An old build does not become young by being signed now.
	own := entry(t)
	if pushed, err := aged(t, second, mine, others, Age{Now: in(31 * day)}).Push(t.Context(), key, own); pushed || err != nil {
		t.Errorf("an old build was signed: %v, %v", pushed, err)
	}
}

// The puller defines what the entry must have been built from.
func TestAnEntryMadeOfSomethingElseIsRefused(t *testing.T) {
	s, trust := pair(t)
	at := "oci-layout:" + filepath.Join(t.TempDir(), "shared")
	if _, err := aged(t, at, s, trust, Age{}).Push(t.Context(), key, entry(t)); err != nil {
		t.Fatal(err)
	}
	into := empty(t)
	hit, err := aged(t, at, nil, trust, Age{}).Pull(t.Context(), key, into, func(buildcache.About) error { return errors.New("made of something else") })
	refused(t, hit, err, "made of something else")
	nothing(t, into)
}
