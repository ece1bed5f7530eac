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

// The manual says what holds. Which tests show it concerns those who work on the
// program, and is in testdata/evidence.txt: a part for each page that has tables
// of this kind, and in it, in the order of the page, the first cell of each row
// with the tests below it. An entry that begins with # is a heading of the page.
const evidenceFile = "testdata/evidence.txt"

var updateEvidence = flag.Bool("update", false, "write the rows of the manual that were reworded into "+evidenceFile)

// evidenceHeads has, by page, how its tables begin, and the least number of tests
// that show them.
var evidenceHeads = map[string]struct {
	heads []string
	least int
}{
	"security.md":    {[]string{"| boundary "}, 50},
	"reliability.md": {[]string{"| promise "}, 15},
	"reports.md":     {[]string{"| report "}, 100},
	"detection.md":   {[]string{"| Python | recognised by ", "| httpd | recognised by "}, 30},
}

// untested stands where no test can show a row, which then has the reason.
const untested = "not tested"

// entry is what a row of the manual says, and the tests that show it.
type entry struct{ row, tests string }

// TestManualIsShownByTests: each row of these tables is shown by tests that exist.
func TestManualIsShownByTests(t *testing.T) {
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
				t.Errorf("%s and %s differ (go test . -run TestManual -update takes over what was reworded):\n%s\n%s", page, evidenceFile, cells[0], e.row)
				break
			}
			reason := strings.HasPrefix(cells[len(cells)-1], untested+": ")
			if reason != strings.HasPrefix(e.tests, untested) || !reason && len(names) == 0 {
				t.Errorf("%s: neither a test nor the reason for none is named in: %s", page, e.row)
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

// TestReportsArePublic: each row of the page of reports has them by repository and
// number, and few are untested.
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

// TestManualNamesNoTests: tests are named where they are looked for, which is not
// in the manual. Pages for those who work on the program may.
func TestManualNamesNoTests(t *testing.T) {
	there, word := testNames(t), regexp.MustCompile(`\bTest[A-Z]\w*`)
	for _, name := range append(pages(t), "README.md", "SECURITY.md") {
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

// pages are the files of the manual.
func pages(t *testing.T) []string {
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

// readPage reads a page of the manual by its name, wherever it is below docs.
func readPage(t *testing.T, name string) string {
	t.Helper()
	for _, page := range pages(t) {
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
