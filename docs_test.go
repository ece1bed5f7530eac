package modwsgi_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSecurityPageNamesTests: each boundary of docs/security.md is shown by tests
// that exist, and each row of its tables names one.
func TestSecurityPageNamesTests(t *testing.T) { namesTests(t, "docs/security.md", "| boundary ", 50) }

// TestReliabilityPageNamesTests: so is each promise of docs/reliability.md.
func TestReliabilityPageNamesTests(t *testing.T) {
	namesTests(t, "docs/reliability.md", "| promise ", 15)
}

func namesTests(t *testing.T, name, head string, least int) {
	t.Helper()
	page, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	there := testNames(t)
	named := regexp.MustCompile(`\bTest[A-Z]\w*`)
	if found := named.FindAllString(string(page), -1); len(found) < least {
		t.Errorf("only %d tests are named", len(found))
	}
	boundaries := false // in a table of boundaries
	for line := range strings.Lines(string(page)) {
		names := named.FindAllString(line, -1)
		for _, name := range names {
			if !there[name] {
				t.Errorf("the page names %s, which does not exist", name)
			}
		}
		switch {
		case strings.HasPrefix(line, head):
			boundaries = true
		case !strings.HasPrefix(line, "|"):
			boundaries = false
		case boundaries && !strings.HasPrefix(line, "| ---") && len(names) == 0:
			t.Errorf("no test is named in the row: %s", line)
		}
	}
}

func testNames(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() || !strings.HasSuffix(name, "_test.go") {
			return nil
		}
		data, err := os.ReadFile(name)
		for _, m := range declared.FindAllStringSubmatch(string(data), -1) {
			out[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
