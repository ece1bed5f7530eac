package modwsgi_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strings"
	"testing"
)

// readsToolOutput are the files that recognize an error by its text: that of compilers
// and other tools, which pass nothing else on.
var readsToolOutput = []string{
	"httpdbuild/hints.go", "internal/shortage/shortage.go", "internal/toolchain/toolchain.go", "modulebuild/hints.go", "modulebuild/windows/hints.go",
}

// TestErrorsAreRecognizedByTheirKind: facts are fields. Only the above parse a message to
// learn what happened; others use errors.Is and errors.As.
func TestErrorsAreRecognizedByTheirKind(t *testing.T) {
	files, calls := parseTree(t), 0
	for _, name := range readsToolOutput {
		if _, ok := files[name]; !ok {
			t.Errorf("%s does not exist", name)
		}
	}
	for name := range files {
		if strings.HasSuffix(path.Dir(name), "test") || slices.Contains(readsToolOutput, name) {
			continue
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		found, n := parsedTexts(f)
		calls += n
		for _, call := range found {
			t.Errorf("%s: parses the message of an error, or the name of a step; use a field, errors.Is or errors.As", fset.Position(call.Pos()))
		}
	}
	if calls < 200 {
		t.Errorf("only %d calls inspected", calls)
	}
}

// parsedTexts returns the calls that parse the message of an error or the name of a
// step, and how many calls that parse something there are.
func parsedTexts(f *ast.File) (found []*ast.CallExpr, calls int) {
	parses := []string{"Contains", "HasPrefix", "HasSuffix", "Cut", "CutPrefix", "CutSuffix", "Index", "EqualFold", "Fields", "Split", "TrimPrefix", "MatchString", "FindString", "FindStringSubmatch"}
	messages := map[string]bool{} // variables with the message of an error
	fact := func(e ast.Expr) bool {
		switch e := e.(type) {
		case *ast.Ident:
			return messages[e.Name]
		case *ast.CallExpr:
			of, ok := e.Fun.(*ast.SelectorExpr)
			return ok && of.Sel.Name == "Error" && len(e.Args) == 0
		case *ast.SelectorExpr:
			return e.Sel.Name == "Step"
		}
		return false
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			messages = map[string]bool{}
		case *ast.AssignStmt:
			for i, left := range n.Lhs {
				if name, ok := left.(*ast.Ident); ok && i < len(n.Rhs) && fact(n.Rhs[i]) {
					messages[name.Name] = true
				}
			}
		case *ast.CallExpr:
			if called, ok := n.Fun.(*ast.SelectorExpr); ok && slices.Contains(parses, called.Sel.Name) && len(n.Args) > 0 {
				if calls++; fact(n.Args[0]) {
					found = append(found, n)
				}
			}
		}
		return true
	})
	return found, calls
}

func TestParsedTextsAreFound(t *testing.T) {
	const text = `package p
func f(err error, e event) {
	_ = strings.Contains(err.Error(), "full")
	said := err.Error()
	if pattern.MatchString(said) { return }
	_, _ = strings.CutPrefix(e.Step, "compile ")
}
func g(said string) bool { return strings.Contains(said, "x") }`
	f, err := parser.ParseFile(token.NewFileSet(), "p.go", text, 0)
	if err != nil {
		t.Fatal(err)
	}
	if found, calls := parsedTexts(f); len(found) != 3 || calls != 4 {
		t.Errorf("%d of %d calls", len(found), calls)
	}
}
