package installer

import (
	"os"
	"path/filepath"
	"testing"

	"modwsgi/modulebuild"
)

// What was compiled beside httpd is linked only if it is what is to be built; otherwise it
// is not in the way.
func TestUseAhead(t *testing.T) {
	for name, c := range map[string]struct {
		objects      *modulebuild.Objects
		inputs, made string
		used         bool
	}{
		"the same":     {&modulebuild.Objects{}, "a", "a", true},
		"others":       {&modulebuild.Objects{}, "a", "b", false},
		"not compiled": {nil, "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			b := modulebuild.Request{Work: filepath.Join(t.TempDir(), "mod_wsgi")}
			if err := os.MkdirAll(filepath.Join(b.Work, "src"), 0o755); err != nil {
				t.Fatal(err)
			}
			made := &product{inputs: c.made, ahead: ahead{c.objects, c.inputs}}
			if err := (&job{}).useAhead(&b, made); err != nil {
				t.Fatal(err)
			}
			_, err := os.Stat(b.Work)
			if there := err == nil; there != c.used || (b.Objects != nil) != c.used {
				t.Errorf("used %v, objects there %v", b.Objects != nil, there)
			}
		})
	}
}
