package express

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"modwsgi/express/config"
	"modwsgi/express/option"
	"modwsgi/express/option/markdown"
)

var update = flag.Bool("update", false, "rewrite the option table in docs/reference/mod_wsgi-express.md")

const (
	docsPath  = "../docs/reference/mod_wsgi-express.md"
	docsBegin = "<!-- options: written by go test ./express -update -->\n"
	docsEnd   = "<!-- end of options -->\n"
)

// TestDocsHaveTheOptionTable keeps the page in step with the table of options.
func TestDocsHaveTheOptionTable(t *testing.T) {
	data, err := os.ReadFile(docsPath)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), docsBegin)
	_, after, ok2 := strings.Cut(rest, docsEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", docsPath)
	}
	tests := testsOf(t)
	for _, o := range config.Table().Options() {
		if len(tests[o.Name]) == 0 && !o.Hidden {
			t.Errorf("no test uses --%s: add it at least to TestLinesComeFromTheOption (handles_test.go)", o.Name)
		}
		t.Logf("--%s: %s", o.Name, strings.Join(tests[o.Name], ", "))
	}
	want := before + docsBegin + optionTable() + docsEnd + after
	if string(data) == want {
		return
	}
	if !*update {
		t.Fatalf("the options in %s are not those of the table: go test ./express -update", docsPath)
	}
	if err := os.WriteFile(docsPath, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// optionTable returns one Markdown table per help group.
func optionTable() string {
	return markdown.Table(config.Table(), markdown.Column{Name: "mod_wsgi", Text: func(o *option.Option) string { return config.Since(o) }})
}

var (
	testName   = regexp.MustCompile(`^func (Test\w+)\(`)
	optionWord = regexp.MustCompile(`--([a-z][a-z0-9-]+)`)
)

// testsOf returns, by option name, the tests that use an option: those that observe its
// effect. The test that only has httpd read everything counts only if there is no
// other. go test ./express -run TestDocsHaveTheOptionTable -v lists them.
func testsOf(t *testing.T) map[string][]string {
	t.Helper()
	var names []string
	for _, dir := range []string{".", "config"} {
		found, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, found...)
	}
	const everything = "TestEveryOption"
	tests, read := map[string][]string{}, map[string]bool{}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		current := ""
		for line := range strings.Lines(string(data)) {
			if m := testName.FindStringSubmatch(line); m != nil {
				current = m[1]
			} else if strings.HasPrefix(line, "func ") {
				current = ""
			}
			if code, _, comment := strings.Cut(line, "// "); comment {
				line = code // an option that is only mentioned is not used
			}
			for _, m := range optionWord.FindAllStringSubmatch(line, -1) {
				o, abbreviated, _ := config.Table().Lookup(m[1])
				switch {
				case o == nil || abbreviated || current == "" || current == "everyChoice" || slices.Contains(tests[o.Name], current):
				case current == everything:
					read[o.Name] = true
				default:
					tests[o.Name] = append(tests[o.Name], current)
				}
			}
		}
	}
	for name := range read {
		if len(tests[name]) == 0 {
			tests[name] = []string{everything}
		}
	}
	return tests
}
