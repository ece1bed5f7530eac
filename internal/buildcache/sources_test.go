package buildcache

import (
	"strings"
	"testing"

	"modwsgi/internal/recipe"
)

// about describes an entry as a build does; its key is the SHA-256 of its inputs.
func about(kind string) (string, About) {
	a := About{Kind: kind, Name: kind + " 1", Inputs: "test " + kind + "\n"}
	for _, name := range needed[kind] {
		sum := KeyOf("archive of " + name)
		a.Parts = append(a.Parts, Part{Name: name, Version: "99.9.9", SHA256: sum})
		a.Inputs += name + " 99.9.9 " + sum + "\n"
	}
	return KeyOf(a.Inputs), a
}

// An entry of the build cache is used only if it shows that it was built from the
// archives that its key names, and that the catalogue agrees.
func TestAnEntryProvesItsSources(t *testing.T) {
	known, ok := recipe.Catalogue().Find("httpd", "2.4.68")
	if !ok {
		t.Fatal("no httpd 2.4.68")
	}
	for _, kind := range []string{"httpd", "module"} {
		_, good := about(kind)
		if why := good.Unproven(); why != "" {
			t.Errorf("%s: %s", kind, why)
		}
		for name, c := range map[string]struct {
			change func(*About)
			want   string
		}{
			"no inputs":             {func(a *About) { a.Inputs = "" }, "does not name what it was built from"},
			"another archive":       {func(a *About) { a.Parts[0].SHA256 = KeyOf("evil") }, "not those of its key"},
			"another version":       {func(a *About) { a.Parts[0].Version = "99.9.8" }, "not those of its key"},
			"one less":              {func(a *About) { a.Parts = a.Parts[1:] }, "not those of its key"},
			"one more":              {func(a *About) { a.Parts = append(a.Parts, Part{Name: "expat"}) }, "not those of its key"},
			"one twice":             {func(a *About) { a.Parts = append(a.Parts, a.Parts[0]) }, "not those of its key"},
			"two in the key":        {func(a *About) { a.Inputs += a.Parts[0].Name + " 99.9.9 " + KeyOf("evil") + "\n" }, "two archives"},
			"another kind":          {func(a *About) { a.Kind = "tree" }, "kind"},
			"nothing that it needs": {func(a *About) { a.Parts, a.Inputs = nil, "test\n" }, "names no archive"},
			"against the catalogue": {func(a *About) {
				a.Inputs = strings.ReplaceAll(a.Inputs, "99.9.9 "+a.Parts[0].SHA256, "99.9.9 "+known.SHA256)
				a.Parts[0].SHA256 = known.SHA256
			}, "httpd 2.4.68"},
		} {
			_, a := about(kind)
			c.change(&a)
			if why := a.Unproven(); !strings.Contains(why, c.want) {
				t.Errorf("%s, %s: %q, want %q", kind, name, why, c.want)
			}
		}
	}
}
