package modwsgi_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strings"
	"testing"
)

// TestTroubleshootingNamesMessages: each message in a table of our own messages is one
// of the program's: its fixed parts, between "…", are in one text of the code.
func TestTroubleshootingNamesMessages(t *testing.T) {
	texts := textsOfTheCode(t)
	ours, rows := false, 0
	for _, line := range readLines(t, "docs/troubleshooting/README.md") {
		switch {
		case strings.HasPrefix(line, "| message |"):
			ours = true
		case !strings.HasPrefix(line, "|"):
			ours = false
		case ours && !strings.HasPrefix(line, "| ---"):
			rows++
			m := regexp.MustCompile("^\\| `([^`]+)` \\|").FindStringSubmatch(line)
			if m == nil {
				t.Errorf("no message in the row: %s", line)
				continue
			}
			if !inOneText(texts, strings.Split(m[1], "…")) {
				t.Errorf("the program contains no such message: %s", m[1])
			}
		}
	}
	if rows < 25 {
		t.Errorf("only %d messages were found", rows)
	}
}

func inOneText(texts []string, parts []string) bool {
	for _, text := range texts {
		rest, all := text, true
		for _, part := range parts {
			_, after, ok := strings.Cut(rest, strings.TrimSpace(part))
			if !ok {
				all = false
				break
			}
			rest = after
		}
		if all {
			return true
		}
	}
	return false
}

// textsOfTheCode returns the texts in the code, with concatenations joined.
func textsOfTheCode(t *testing.T) []string {
	t.Helper()
	var texts []string
	for file := range parseTree(t) {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BinaryExpr:
				var whole strings.Builder
				for _, part := range concatenation(n) {
					if text, ok := literal(part); ok {
						whole.WriteString(text)
					} else {
						whole.WriteString("%s")
					}
				}
				texts = append(texts, whole.String())
			case *ast.BasicLit:
				if text, ok := literal(n); ok {
					texts = append(texts, text)
				}
			}
			return true
		})
	}
	return texts
}
