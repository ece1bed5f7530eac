package doctor

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// TestPageHasEveryCheck: the manual has a row for each check, in the order in which
// they run.
func TestPageHasEveryCheck(t *testing.T) {
	names := func(file, pattern string) (names []string) {
		data, err := os.ReadFile(filepath.FromSlash(file))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(data), -1) {
			names = append(names, m[1])
		}
		return names
	}
	checks := names("doctor.go", `(?m)^\t\t\{"(\w+)", e\.\w+\},$`)
	rows := names("../docs/reference/doctor.md", "(?m)^\\| `(\\w+)` \\| [^|]+ \\| (?:error|warning|note)[^|]* \\|$")
	if len(checks) < 17 || !slices.Equal(checks, rows) {
		t.Errorf("the checks are %q, docs/reference/doctor.md has %q", checks, rows)
	}
}
