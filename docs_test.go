package modwsgi_test

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The manual states what holds. The tests that show it matter to developers of the
// program and are in testdata/evidence.txt. It has a part for each page with such
// tables, and in it, in the order of the page, the first cell of each row followed by
// its tests. An entry that begins with # is a heading of the page.
const evidenceFile = "testdata/evidence.txt"

var updateEvidence = flag.Bool("update", false, "write the reworded rows of the manual into "+evidenceFile)

// evidenceHeads has, by page, the beginnings of its tables, and the minimum number of
// tests that show them.
var evidenceHeads = map[string]struct {
	heads []string
	least int
}{
	"security.md":    {[]string{"| boundary "}, 50},
	"catalogue.md":   {[]string{"| a newer catalogue "}, 15},
	"reliability.md": {[]string{"| promise "}, 15},
	"reports.md":     {[]string{"| report "}, 100},
	"detection.md":   {[]string{"| Python | recognised by ", "| httpd | recognised by "}, 30},
}

// untested replaces the tests of a row that no test can show, and is followed by the
// reason.
const untested = "not tested"

// entry is a row of the manual, and the tests that show it.
type entry struct{ row, tests string }

// TestManualHasEvidence: existing tests show each row of these tables.
func TestManualHasEvidence(t *testing.T) {
	evidence := readEvidence(t)
	there, named := testNames(t), regexp.MustCompile(`\bTest[A-Z]\w*`)
	for page, rule := range evidenceHeads {
		text := readPage(t, page)
		rows := tableRows(text, rule.heads)
		total, at := 0, 0
		for i, e := range evidence[page] {
			names := named.FindAllString(e.tests, -1)
			for _, name := range names {
				if !there[name] {
					t.Errorf("%s: %s: %s does not exist", evidenceFile, page, name)
				}
			}
			total += len(names)
			if strings.HasPrefix(e.row, "#") {
				if !slices.Contains(strings.Split(text, "\n"), e.row) {
					t.Errorf("%s: %s has no heading %q", evidenceFile, page, e.row)
				}
				continue
			}
			if at >= len(rows) {
				t.Errorf("%s: %s has no such row: %s", evidenceFile, page, e.row)
				break
			}
			cells := rows[at]
			at++
			if *updateEvidence {
				evidence[page][i].row = cells[0]
			} else if cells[0] != e.row {
				t.Errorf("%s and %s differ (go test . -run TestManual -update copies reworded rows):\n%s\n%s", page, evidenceFile, cells[0], e.row)
				break
			}
			reason := strings.HasPrefix(cells[len(cells)-1], untested+": ")
			if reason != strings.HasPrefix(e.tests, untested) || !reason && len(names) == 0 {
				t.Errorf("%s: no test, and no reason for it, is named in: %s", page, e.row)
			}
		}
		if at < len(rows) && !t.Failed() {
			t.Errorf("%s: no test is named for this row of %s: %s", evidenceFile, page, rows[at][0])
		}
		if total < rule.least {
			t.Errorf("%s: only %d tests are named for %s", evidenceFile, total, page)
		}
	}
	if *updateEvidence && !t.Failed() {
		writeEvidence(t, evidence)
	}
}

// TestReportsArePublic: each row of the reports page names them by repository and
// number, and few rows are untested.
func TestReportsArePublic(t *testing.T) {
	report := regexp.MustCompile(`[\w.-]+/[\w.-]+#\d+`)
	reports, without := map[string]bool{}, 0
	for _, e := range readEvidence(t)["reports.md"] {
		found := report.FindAllString(e.row, -1)
		for _, r := range found {
			reports[r] = true
		}
		if len(found) != len(strings.Split(e.row, ",")) {
			t.Errorf("not all reports have a repository and a number in the row: %s", e.row)
		}
		if strings.HasPrefix(e.tests, untested) {
			without++
		}
	}
	if len(reports) < 100 || without > 3 {
		t.Errorf("%d reports, %d rows without a test", len(reports), without)
	}
}

// TestManualNamesNoTests: users do not look for tests in the manual. Pages for
// developers may name them.
func TestManualNamesNoTests(t *testing.T) {
	there, word := testNames(t), regexp.MustCompile(`\bTest[A-Z]\w*`)
	for _, name := range append(manualPages(t), "README.md", "SECURITY.md") {
		if slices.ContainsFunc([]string{"decisions", "contributing", "how-it-works.md"}, func(part string) bool { return strings.Contains(name, part) }) {
			continue
		}
		for _, line := range readLines(t, name) {
			test := word.FindString(line)
			if there[test] && !strings.HasPrefix(line, "<!--") {
				t.Errorf("%s names %s, which belongs in %s", name, test, evidenceFile)
			}
		}
	}
}

// tableRows returns the cells of the tables that begin with one of heads.
func tableRows(text string, heads []string) [][]string {
	var rows [][]string
	inside := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case slices.ContainsFunc(heads, func(head string) bool { return strings.HasPrefix(line, head) }):
			inside = true
		case !strings.HasPrefix(line, "|"):
			inside = false
		case inside && !strings.HasPrefix(line, "| ---"):
			cells := strings.Split(strings.Trim(line, "|"), " | ")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			rows = append(rows, cells)
		}
	}
	return rows
}

// manualPages are the files of the manual.
func manualPages(t *testing.T) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir("docs", func(name string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(name, ".md") {
			out = append(out, filepath.ToSlash(name))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// readPage reads a page of the manual by name, from any directory below docs.
func readPage(t *testing.T, name string) string {
	t.Helper()
	for _, page := range manualPages(t) {
		if filepath.Base(page) == name {
			return strings.Join(readLines(t, page), "\n")
		}
	}
	t.Fatalf("no page of docs has the name %s", name)
	return ""
}

func readLines(t *testing.T, name string) []string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

func readEvidence(t *testing.T) map[string][]entry {
	t.Helper()
	out, page := map[string][]entry{}, ""
	for _, line := range readLines(t, evidenceFile) {
		if name, ok := strings.CutPrefix(line, "== "); ok {
			page = strings.TrimSuffix(name, " ==")
			if _, known := evidenceHeads[page]; !known {
				t.Errorf("%s is about an unknown page, %s", evidenceFile, page)
			}
			continue
		}
		list := out[page]
		if tests, ok := strings.CutPrefix(line, "\t"); ok && len(list) > 0 {
			list[len(list)-1].tests = tests
		} else if line != "" {
			out[page] = append(list, entry{row: line})
		}
	}
	return out
}

// writeEvidence keeps the order of the pages in the file.
func writeEvidence(t *testing.T, evidence map[string][]entry) {
	t.Helper()
	var b strings.Builder
	for _, line := range readLines(t, evidenceFile) {
		name, ok := strings.CutPrefix(line, "== ")
		if !ok {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("\n")
		}
		b.WriteString(line + "\n")
		for _, e := range evidence[strings.TrimSuffix(name, " ==")] {
			b.WriteString(e.row + "\n\t" + e.tests + "\n")
		}
	}
	if err := os.WriteFile(evidenceFile, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
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
