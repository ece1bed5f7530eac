package modwsgi_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// command matches the text of a command to copy, up to a value.
var command = regexp.MustCompile(`(?:\b(?:modwsgi|mod_wsgi-express|pip|venv|python3? -m)\b.*?(?:--[a-z][a-z-]*[ =]|-m venv |venv --clear |server-root |apachectl )|\b(?:chmod|chown|chattr|setfacl|restorecon|useradd|groupadd|mkdir|rm|cd|install -d|umount|mount)\b(?: -\S+)*(?: [ugoa]*[-+=][rwxts]+| [0-7]{3,4}| --\S+)* )$`)

// placeholder matches a word in capitals in place of a known value.
var placeholder = regexp.MustCompile(`(?:--python|--clear|venv|restorecon -R) (?:PATH|PREFIX|ENV|DIR|PYTHON)`)

// harmless are values that need no quotes, because they are names from a table.
var harmless = map[string]string{
	"express/config/modules.go: feature": "a feature of httpd",
}

// TestCommandsInHintsAreQuoted checks every text that is assembled from a command and
// a value: the value must come from run.Quote (internal/quote), so that the command
// also works in a directory with a blank. It covers concatenations and formats.
func TestCommandsInHintsAreQuoted(t *testing.T) {
	quoted, used := 0, map[string]bool{}
	for file := range parseTree(t) {
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		check := func(before string, value ast.Expr) {
			if !command.MatchString(before) {
				return
			}
			name := nameOf(value)
			switch {
			case strings.HasSuffix(name, "uote") || strings.HasSuffix(name, "quote.Shell"):
				quoted++
			case harmless[file+": "+name] != "":
				used[file+": "+name] = true
			default:
				t.Errorf("%s: %q and then %s, which is not quoted for a shell", fset.Position(value.Pos()), before, name)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BinaryExpr:
				if parts := concatenation(n); n.Op == token.ADD {
					for i := 1; i < len(parts); i++ {
						if before, ok := literal(parts[i-1]); ok {
							if _, fixed := literal(parts[i]); !fixed {
								check(before, parts[i])
							}
						}
					}
				}
			case *ast.CallExpr:
				formats(n, check)
			case *ast.BasicLit:
				if text, ok := literal(n); ok && placeholder.MatchString(text) && !strings.HasPrefix(file, "internal/cli") {
					t.Errorf("%s: %q has a placeholder where the value is known", fset.Position(n.Pos()), text)
				}
			}
			return true
		})
	}
	for key := range harmless {
		if !used[key] {
			t.Errorf("the exception %q is not needed", key)
		}
	}
	if quoted < 30 {
		t.Errorf("only %d quoted values were found: the test misses its target", quoted)
	}
}

// formats checks the values of a call with a format.
func formats(call *ast.CallExpr, check func(string, ast.Expr)) {
	for i, arg := range call.Args {
		format, ok := literal(arg)
		if !ok || !strings.Contains(format, "%") {
			continue
		}
		pieces := regexp.MustCompile(`%[-+# 0-9.]*[a-zA-Z]`).FindAllStringIndex(strings.ReplaceAll(format, "%%", "  "), -1)
		for k, at := range pieces {
			if verb := format[at[1]-1]; verb == 's' && i+1+k < len(call.Args) {
				check(format[:at[0]], call.Args[i+1+k])
			}
		}
	}
}

// concatenation returns the operands of a chain of additions.
func concatenation(e ast.Expr) []ast.Expr {
	if b, ok := e.(*ast.BinaryExpr); ok && b.Op == token.ADD {
		return append(concatenation(b.X), concatenation(b.Y)...)
	}
	return []ast.Expr{e}
}

func literal(e ast.Expr) (string, bool) {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(l.Value)
	return text, err == nil
}

// nameOf is the source text of a value.
func nameOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return nameOf(e.X) + "." + e.Sel.Name
	case *ast.CallExpr:
		return nameOf(e.Fun)
	case *ast.IndexExpr:
		return nameOf(e.X)
	}
	return "something"
}
