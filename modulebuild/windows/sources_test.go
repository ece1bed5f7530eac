package windows

import (
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/recipe"
)

// TestCandidates: the module is for all Pythons of a run, the lock file decides first, and
// what is not the newest is reported.
func TestCandidates(t *testing.T) {
	set := recipe.Catalogue()
	newest := set.Of("mod_wsgi")[0].Version
	old, err := set.Match("mod_wsgi", "5.0.2")
	if err != nil || len(old) != 1 {
		t.Fatal(old, err)
	}
	locked := func(component, _ string) ([]recipe.Archive, bool, error) {
		return append(slices.Clone(old), set.Of(component)...), true, nil
	}
	only := func(string, string) ([]recipe.Archive, bool, error) { return set.Of("mod_wsgi")[:1], true, nil }
	for name, c := range map[string]struct {
		pythons  []string
		archives func(string, string) ([]recipe.Archive, bool, error)
		want     string // the version, or a part of the error
		notes    string
	}{
		"the newest":           {[]string{"3.11", "3.13"}, nil, newest, ""},
		"an old Python":        {[]string{"3.9", "3.13"}, nil, "5.0.2", "mod_wsgi 5.0.2 is used: " + newest + " needs Python >= 3.10, and not all of 3.9, 3.13 are"},
		"locked":               {[]string{"3.13"}, locked, "5.0.2", "mod_wsgi 5.0.2 is used as locked; the newest known is " + newest},
		"locked to one others": {[]string{"3.9"}, only, "no version of mod_wsgi can be used: " + newest + " needs Python >= 3.10", ""},
	} {
		var notes []string
		w := Wanted{For: c.pythons, Catalogue: set, Archives: c.archives, Events: func(e event.Event) { notes = append(notes, e.Text) }}
		all, err := w.candidates("mod_wsgi", "")
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = all[0].Version
		}
		if !strings.HasPrefix(got, c.want) || strings.Join(notes, "\n") != c.notes || err != nil && fault.ClassOf(err) != fault.Usage {
			t.Errorf("%s: %q, notes %q", name, got, notes)
		}
	}
}
