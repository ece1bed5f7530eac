package buildstore

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/buildcache/remote"
	"modwsgi/internal/event"
	"modwsgi/internal/flock"
	"modwsgi/internal/run"
)

// A build with objects from a compile farm is used on this machine, and is never put into a
// shared cache: not when it is made, and not when it is found again.
func TestBuildsFromAFarmStayHere(t *testing.T) {
	keys := t.TempDir()
	if _, err := remote.GenerateKey(filepath.Join(keys, "key")); err != nil {
		t.Fatal(err)
	}
	for _, farm := range []string{"", "distcc"} {
		var notes []string
		o := Options{Cache: filepath.Join(t.TempDir(), "cache"), Events: func(e event.Event) { notes = append(notes, e.Text) }}
		shared := filepath.Join(t.TempDir(), "shared")
		var err error
		if o.Shared, err = OpenShared(SharedOptions{Cache: "oci-layout:" + shared, CacheSignKey: filepath.Join(keys, "key")}, []string{"PATH=" + os.Getenv("PATH")}, t.TempDir(), &run.Runner{}, flock.DefaultLimit); err != nil {
			t.Fatal(err)
		}
		b, key, a, tree := cacheOf(t, o, "httpd")
		if farm != "" {
			a.Details = map[string]string{FarmDetail: farm}
		}
		b.Keep(t.Context(), key, tree, a)
		if e, err := b.Restore(t.Context(), key, filepath.Join(t.TempDir(), "dest")); e == nil || err != nil {
			t.Fatalf("%+v, %v", e, err)
		}
		other, _, _, _ := cacheOf(t, Options{Cache: filepath.Join(t.TempDir(), "cache"), Shared: o.Shared}, "httpd")
		has, err := other.Has(t.Context(), key)
		if err != nil || has != (farm == "") {
			t.Errorf("farm %q: the shared cache has it: %v, %v", farm, has, err)
		}
		if said := slices.ContainsFunc(notes, func(n string) bool { return strings.Contains(n, "because distcc compiled") }); said != (farm != "") {
			t.Errorf("farm %q: notes %q", farm, notes)
		}
	}
}
