package licence

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestModulesOfPrograms: packages contain the launcher and mod_wsgi-apxs, so the licence
// of each module in them is known, and its text is that of the module.
func TestModulesOfPrograms(t *testing.T) {
	for _, system := range []string{"linux", "windows"} {
		list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}",
			"modwsgi/cmd/mod_wsgi-express", "modwsgi/cmd/mod_wsgi-apxs")
		list.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0")
		out, err := list.Output()
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for line := range strings.Lines(string(out)) {
			path, dir, ok := strings.Cut(strings.TrimSpace(line), " ")
			if !ok || seen[path] {
				continue
			}
			seen[path] = true
			spdx, text, err := OfModule(path)
			if err != nil || spdx == "" {
				t.Errorf("%s: %v", path, err)
				continue
			}
			same := false
			for _, name := range []string{"LICENSE", "COPYING", "LICENSE.txt", "LICENSE.md"} {
				data, err := os.ReadFile(filepath.Join(dir, name))
				same = same || err == nil && bytes.Equal(bytes.TrimSpace(data), bytes.TrimSpace(text))
			}
			if !same {
				t.Errorf("%s: the text is not that of the module in %s", path, dir)
			}
		}
		if !seen["golang.org/x/sys"] {
			t.Errorf("%s: modules: %v", system, seen)
		}
	}
}
