package modwsgi_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const environmentPage = "docs/reference/environment.md"

// TestEnvironmentPage: the page has every variable that the code reads, and every
// variable in the first column of its tables appears in the code.
func TestEnvironmentPage(t *testing.T) {
	page := strings.Join(readLines(t, environmentPage), "\n")
	variable := regexp.MustCompile("`([A-Za-z_][A-Z0-9_]{1,})`")
	documented := map[string]bool{}
	for _, m := range variable.FindAllStringSubmatch(page, -1) {
		documented[m[1]] = true
	}
	read, text := variablesRead(t)
	for name, at := range read {
		if !documented[name] && notDocumented[name] == "" {
			t.Errorf("%s reads %s, which %s lacks", at, name, environmentPage)
		}
	}
	for name := range documented {
		if !named(text, name) {
			t.Errorf("%s has %s, which the code does not contain", environmentPage, name)
		}
	}
}

// notDocumented are variables that users do not set.
var notDocumented = map[string]string{
	"REQUEST_METHOD": "of httpd, in a test application", "PWD": "of the shell", "USERNAME": "of Windows", "TEMP": "of Windows, in place of TMPDIR",
	"ProgramFiles": "of Windows", "ProgramFiles(x86)": "of Windows", "USER": "passed on to the compiler", "SystemRoot": "of Windows",
	"MODWSGI_OTHER_USER": "of tests", "MODWSGI_TEST_TURN": "of tests",
}

// named reports whether a text contains a name, whole or in the parts that the code
// concatenates: MOD_WSGI_ with a word, or a setting of the build backend in capitals.
func named(text, name string) bool {
	if strings.Contains(text, name) {
		return true
	}
	if setting, ok := strings.CutPrefix(name, "MODWSGI_"); ok {
		return strings.Contains(text, strconv.Quote(strings.ToLower(strings.ReplaceAll(setting, "_", "-"))))
	}
	for _, prefix := range []string{"MOD_WSGI_RUN_", "WSGI_RUN_", "MOD_WSGI_"} {
		if word, ok := strings.CutPrefix(name, prefix); ok && strings.Contains(text, strconv.Quote(prefix)) {
			word = strings.TrimSuffix(word, "_ENABLED")
			return strings.Contains(text, strconv.Quote(word)) || strings.Contains(text, strconv.Quote(word+"_ENABLED"))
		}
	}
	return false
}

// variablesRead returns the names that Go code reads from the environment, with their
// positions, and all text that could contain a name.
func variablesRead(t *testing.T) (read map[string]string, all string) {
	t.Helper()
	read = map[string]string{}
	own := regexp.MustCompile(`^MODWSGI_[A-Z0-9_]+[A-Z0-9]$`)
	var b strings.Builder
	for file := range parseTree(t) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(data)
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, file, data, 0)
		if err != nil {
			t.Fatal(err)
		}
		note := func(e ast.Expr) {
			if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.STRING {
				if name, err := strconv.Unquote(l.Value); err == nil && name != "" {
					read[name] = fset.Position(l.Pos()).String()
				}
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if s, ok := n.Fun.(*ast.SelectorExpr); ok && (s.Sel.Name == "Getenv" || s.Sel.Name == "LookupEnv") && len(n.Args) > 0 {
					note(n.Args[len(n.Args)-1])
				}
			case *ast.BasicLit:
				if name, err := strconv.Unquote(n.Value); n.Kind == token.STRING && err == nil && own.MatchString(name) && !strings.HasPrefix(name, "MODWSGI_TEST_") {
					note(n)
				}
			}
			return true
		})
	}
	for _, name := range []string{"scripts/bootstrap.sh", "scripts/finish-dist", "scripts/release-extras", "Makefile", ".goreleaser.yaml", "python/modwsgi/build.py"} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(data)
	}
	return read, b.String()
}
