package modwsgi_test

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// phrases read like a translation; each has a native writer's alternative. The manual
// contains none of them. For the packages, testdata/language.txt limits their number,
// which may only decrease.

var phrases = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`(?i)\b(says|tells|say|tell|said) (whether|so)\b`), `"reports whether", or name what is reported`},
	{regexp.MustCompile(`(?i)\band sa(ys|id) so\b`), `"and reports it"`},
	{regexp.MustCompile(`(?i)\b(is|are) told\b`), `"gets", or name who reports it`},
	{regexp.MustCompile(`(?i)\bis said\b`), `"is reported"`},
	{regexp.MustCompile(`(?i)\bthere (is|are) none\b`), `"not found", "no X exists"`},
	{regexp.MustCompile(`(?i)\b(cannot|could not|can not|can) be had\b|\b(is|are) to be had\b|\bobtainable\b`), `"unavailable", "available"`},
	{regexp.MustCompile(`(?i)\b(?:of|by) ours\b|\bof (its|their) own\b(?: kind)?,? and\b`), `name it: "installed by modwsgi"`},
	{regexp.MustCompile(`(?i)\bof somebody( else)?('s)?\b|\bsomebody else'?s?\b`), `"another user's"`},
	{regexp.MustCompile(`(?i)\bmakes? (no )?sense\b|\bno sense\b`), `say what is allowed`},
	{regexp.MustCompile(`(?i)\b(is|was|are) no (address|number|name|file|directory|version|command|option|page|program|regular|valid|known|link|pid)\b`), `"is not a"`},
	{regexp.MustCompile(`(?i)\bthat there (is|are) (not|none)\b`), `"that does not exist"`},
	{regexp.MustCompile(`(?i)\b(the cure|what cures|cures it|whose cure)\b`), `"fix", "hint"`},
	{regexp.MustCompile(`(?i)\b(lies|lie) (in|at|below|beside|there|where|within|under)\b`), `"is in"`},
	{regexp.MustCompile(`(?i)\b(has|have) gone\b`), `"no longer exists"`},
	{regexp.MustCompile(`(?i)\bbreaks? off\b`), `"ends early"`},
	{regexp.MustCompile(`(?i)\bwherever it lies\b`), `"wherever it is"`},
	// Outside express: the habits of scripts, internal and the reference.
	{regexp.MustCompile(`(?i)\b(says|tells) what is missing\b`), `"lists what is missing"`},
	{regexp.MustCompile(`(?i)\bin the manner of\b`), `"similar to"`},
	{regexp.MustCompile(`(?i)\bfor the sake of\b`), `"for"`},
	{regexp.MustCompile(`(?i)\bhas the last word\b`), `"decides"`},
	{regexp.MustCompile(`(?i)\bone a (line|step|context|file)\b`), `"one per line"`},
	{regexp.MustCompile(`(?i)\b(where it lies|lies now)\b`), `"where it is"`},
	{regexp.MustCompile(`(?i)\b(is|are) in the tree of the error\b`), `"is wrapped by the error"`},
}

// found counts the phrases in a text, and shows the first of each.
func found(text string) (n int, first string) {
	text = strings.Join(strings.Fields(text), " ")
	for _, p := range phrases {
		if all := p.pattern.FindAllString(text, -1); len(all) > 0 {
			n += len(all)
			first = cmp.Or(first, fmt.Sprintf("%q: %s", all[0], p.instead))
		}
	}
	return n, first
}

// TestLanguageOfTheManual: no page contains any of the phrases. Generated text counts
// for the package that it comes from.
func TestLanguageOfTheManual(t *testing.T) {
	for _, p := range readPages(t) {
		generated := false
		for i, line := range p.Prose() {
			if strings.HasPrefix(line, "<!-- ") {
				generated = strings.Contains(line, "written by go test")
			}
			if generated {
				continue
			}
			if n, first := found(line); n > 0 {
				t.Errorf("%s:%d: %s", p.Name, i+1, first)
			}
		}
	}
}

const languageFile = "testdata/language.txt"

// TestLanguageOfTheCode counts the phrases in comments and texts of each package.
// -update writes numbers that decreased, and refuses a larger total.
func TestLanguageOfTheCode(t *testing.T) {
	counts, examples := languageOfTheCode(t)
	limits := map[string]int{}
	for _, line := range readLines(t, languageFile) {
		if name, n, ok := strings.Cut(line, "\t"); ok {
			limits[name], _ = strconv.Atoi(n)
		}
	}
	total, allowed := 0, 0
	for _, n := range counts {
		total += n
	}
	for _, n := range limits {
		allowed += n
	}
	if *updateEvidence && (total <= allowed || allowed == 0) {
		var b strings.Builder
		b.WriteString("# Phrases of language_test.go by package: written by go test . -run Language -update, and only ever less.\n")
		for _, dir := range slices.Sorted(maps.Keys(counts)) {
			fmt.Fprintf(&b, "%s\t%d\n", dir, counts[dir])
		}
		if err := os.WriteFile(languageFile, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, dir := range slices.Sorted(maps.Keys(counts)) {
		if counts[dir] > limits[dir] {
			t.Errorf("%s has %d phrases that read like a translation, and may have %d:\n  %s", dir, counts[dir], limits[dir], strings.Join(examples[dir], "\n  "))
		}
	}
	if total > allowed {
		t.Errorf("%d phrases in all, and %d are allowed", total, allowed)
	}
	t.Logf("%d phrases, %d allowed", total, allowed)
}

// languageOfTheCode examines comments and string literals of all Go files, including
// tests.
func languageOfTheCode(t *testing.T) (counts map[string]int, examples map[string][]string) {
	t.Helper()
	counts, examples = map[string]int{}, map[string][]string{}
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == "bin" || d.Name() == "dist" || strings.HasPrefix(d.Name(), ".") && name != ".") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") || name == "language_test.go" {
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		dir := path.Dir(filepath.ToSlash(name))
		count := func(at token.Pos, text string) {
			if n, first := found(text); n > 0 {
				counts[dir] += n
				examples[dir] = append(examples[dir], fmt.Sprintf("%s: %s", fset.Position(at), first))
			}
		}
		for _, group := range f.Comments {
			count(group.Pos(), group.Text())
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				if text, err := strconv.Unquote(l.Value); err == nil {
					count(l.Pos(), text)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return counts, examples
}
