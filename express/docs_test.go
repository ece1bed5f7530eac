package express

import (
	"cmp"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"modwsgi/express/config"
	"modwsgi/express/option"
)

var update = flag.Bool("update", false, "write the option table in docs/express.md anew")

const (
	docsPath  = "../docs/express.md"
	docsBegin = "<!-- options: written by go test ./express -update -->\n"
	docsEnd   = "<!-- end of options -->\n"
)

// TestDocsHaveTheOptionTable keeps the page and the table of options together.
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
			t.Errorf("no test uses --%s", o.Name)
		}
	}
	want := before + docsBegin + optionTable(tests) + docsEnd + after
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

// optionTable is one Markdown table for each group of help.
func optionTable(tests map[string][]string) string {
	return config.Table().Markdown(
		[]option.Column{{Name: "mod_wsgi", Text: func(o *option.Option) string { return config.Since(o) }}},
		[]option.Column{{Name: "tests", Text: func(o *option.Option) string { return strings.Join(tests[o.Name], ", ") }}},
	)
}

var (
	testName   = regexp.MustCompile(`^func (Test\w+)\(`)
	optionWord = regexp.MustCompile(`--([a-z][a-z0-9-]+)`)
)

// testsOf returns, by the name of each option, the tests that use it: those that
// observe its effect, without the one that only has httpd read everything,
// unless there is no other.
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
	tests, read, uses := map[string][]string{}, map[string]bool{}, map[string]int{}
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
				line = code // what is only talked about is not used
			}
			for _, m := range optionWord.FindAllStringSubmatch(line, -1) {
				o, abbreviated, _ := config.Table().Lookup(m[1])
				switch {
				case o == nil || abbreviated || current == "" || current == "everyChoice" || slices.Contains(tests[o.Name], current):
				case current == everything:
					read[o.Name] = true
				default:
					tests[o.Name] = append(tests[o.Name], current)
					uses[current]++
				}
			}
		}
	}
	for name := range read {
		if len(tests[name]) == 0 {
			tests[name] = []string{everything}
		}
	}
	for name, list := range tests {
		// The first few will do, those first that are about few options.
		slices.SortStableFunc(list, func(a, b string) int { return cmp.Or(rank(a)-rank(b), uses[a]-uses[b]) })
		tests[name] = list[:min(len(list), 3)]
	}
	return tests
}

// rank puts tests of refusals and of the command line behind those of effects.
func rank(test string) int {
	switch {
	case strings.HasPrefix(test, "TestRefus"), strings.HasPrefix(test, "TestParse"), test == "TestEnableTelemetryNeedsItsPackage":
		return 2
	case slices.Contains([]string{
		"TestGolden", "TestPathsThatCannotBeCarried", "TestCompletionAndManual", "TestDocs", "TestCommandLine", "TestServiceNeedsTheirVersion",
		"TestHTTPDSeesWhatWasMeant", "TestShowConfig", "TestImpliedDebugMode",
	}, test):
		return 1
	}
	return 0
}
