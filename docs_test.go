package modwsgi_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSecurityPageNamesTests: each boundary of docs/concepts/security.md is shown by tests
// that exist, and each row of its tables names one.
func TestSecurityPageNamesTests(t *testing.T) { namesTests(t, "docs/concepts/security.md", "| boundary ", 50) }

// TestReliabilityPageNamesTests: so is each promise of docs/concepts/reliability.md.
func TestReliabilityPageNamesTests(t *testing.T) {
	namesTests(t, "docs/concepts/reliability.md", "| promise ", 15)
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

// TestReportsPageNamesTests: each row of docs/troubleshooting/reports.md has a public report by
// repository and number, and is shown by tests that exist, or says why by none.
func TestReportsPageNamesTests(t *testing.T) {
	page, err := os.ReadFile("docs/troubleshooting/reports.md")
	if err != nil {
		t.Fatal(err)
	}
	there := testNames(t)
	named := regexp.MustCompile(`\bTest[A-Z]\w*`)
	report := regexp.MustCompile(`[\w.-]+/[\w.-]+#\d+`)
	reports, untested, table := map[string]bool{}, 0, false
	for line := range strings.Lines(string(page)) {
		line = strings.TrimSpace(line)
		for _, name := range named.FindAllString(line, -1) {
			if !there[name] {
				t.Errorf("docs/troubleshooting/reports.md names %s, which does not exist", name)
			}
		}
		switch {
		case strings.HasPrefix(line, "| report "):
			table = true
			continue
		case !strings.HasPrefix(line, "|"):
			table = false
			continue
		case !table || strings.HasPrefix(line, "| ---"):
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), " | ")
		if len(cells) != 4 {
			t.Errorf("%d cells in the row: %s", len(cells), line)
			continue
		}
		found := report.FindAllString(cells[0], -1)
		for _, r := range found {
			reports[r] = true
		}
		if len(found) != len(strings.Split(cells[0], ",")) {
			t.Errorf("not all reports have a repository and a number in the row: %s", line)
		}
		if shown := strings.TrimSpace(cells[3]); shown == "not tested" && strings.HasPrefix(cells[2], "not tested: ") {
			untested++
		} else if !named.MatchString(shown) {
			t.Errorf("neither a test nor the reason for none is named in the row: %s", line)
		}
	}
	if len(reports) < 100 || untested > 3 {
		t.Errorf("%d reports, %d rows without a test", len(reports), untested)
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
