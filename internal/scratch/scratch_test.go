//go:build unix

package scratch

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"modwsgi/internal/flock"
	"modwsgi/internal/owned"
)

var kinds = []Kind{Doctor, Lock, Package, Probe, Push, Sign, Verify, Wheel, Work}

func entries(t *testing.T, dir string) (names []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

// TestEveryKindIsSwept: directories of killed runs are removed, whatever their kind and
// age; those that a run holds stay, however old.
func TestEveryKindIsSwept(t *testing.T) {
	base := t.TempDir()
	var held []string
	for _, k := range kinds {
		d, err := Make(base, k)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = d.Discard() }()
		if err := d.WriteFile("secret", []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(-48 * time.Hour)
		if err := os.Chtimes(d.Path(), old, old); err != nil {
			t.Fatal(err)
		}
		held = append(held, filepath.Base(d.Path()))
		if err := os.MkdirAll(filepath.Join(base, k.Prefix()+"abcdefghijk2", "deep"), 0o700); err != nil { // a killed run's
			t.Fatal(err)
		}
	}
	others := []string{"modwsgi-kept-abcdefghijk2", "modwsgi-logs-abcdefghijk2", "modwsgi-verify-mine", "other"}
	for _, name := range others {
		if err := os.Mkdir(filepath.Join(base, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	SweepTemp(base)
	want := append(held, others...)
	slices.Sort(want)
	if got := entries(t, base); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestClaimBesideSweeps creates directories while others sweep without a pause.
func TestClaimBesideSweeps(t *testing.T) {
	base := t.TempDir()
	parent, err := owned.OpenTemp(base)
	if err != nil {
		t.Fatal(err)
	}
	defer parent.Close()
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
				Sweep(parent)
			}
		}
	}()
	for range 200 {
		d, err := Make(base, Probe)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.WriteFile("x", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := d.Discard(); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	<-ended
	if got := entries(t, base); len(got) > 0 {
		t.Errorf("left: %v", got)
	}
}

// TestRemove: before is called before the removal, and locked directories stay.
func TestRemove(t *testing.T) {
	base := t.TempDir()
	parent, err := owned.OpenTemp(base)
	if err != nil {
		t.Fatal(err)
	}
	defer parent.Close()
	if err := os.Mkdir(filepath.Join(base, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	release, ok, err := flock.Try(filepath.Join(base, "x"))
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	asked := 0
	if Remove(parent, "x", func() { asked++ }) || asked != 0 {
		t.Error("it was held")
	}
	release()
	if !Remove(parent, "x", func() { asked++ }) || asked != 1 || Remove(parent, "x", nil) {
		t.Errorf("it was not held; asked %d times", asked)
	}
}

// TestAllNamesAreKnown: a name that Sweep does not know would stay forever. Earlier
// versions used other letters.
func TestAllNamesAreKnown(t *testing.T) {
	for range 500 {
		for _, k := range kinds {
			if name := k.Prefix() + owned.RandomName(); !names.MatchString(name) {
				t.Fatalf("%s is not swept", name)
			}
		}
	}
	for _, name := range []string{"modwsgi-verify-9gngskj8vak3", "modwsgi-work-abcdefghijk2"} {
		if !names.MatchString(name) {
			t.Errorf("%s is not swept", name)
		}
	}
}
