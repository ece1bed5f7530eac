package modwsgi_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// TestSleepsHaveAReason finds time.Sleep in tests. In a loop it is the pause of a poll
// for a condition. Anywhere else it makes the order of events a matter of luck, unless
// the reason is on the same line: the test is about time itself, or checks that
// nothing happens meanwhile, for which there is no condition to wait for.
func TestSleepsHaveAReason(t *testing.T) {
	found := 0
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && name != "." || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(name, "_test.go") {
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		reasons := map[int]bool{}
		for _, c := range f.Comments {
			reasons[fset.Position(c.Pos()).Line] = true
		}
		var outer []ast.Node
		ast.Inspect(f, func(n ast.Node) bool {
			if n == nil {
				outer = outer[:len(outer)-1]
				return true
			}
			outer = append(outer, n)
			call, ok := n.(*ast.CallExpr)
			if !ok || !isSleep(call) {
				return true
			}
			found++
			if line := fset.Position(call.Pos()).Line; !polls(outer) && !reasons[line] {
				t.Errorf("%s:%d: wait for a condition, or state the reason on the line", name, line)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found == 0 {
		t.Error("nothing was found: the test misses its target")
	}
}

func isSleep(call *ast.CallExpr) bool {
	s, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || s.Sel.Name != "Sleep" {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == "time"
}

// polls reports whether the innermost function around a call has it in a loop that can
// end before its last round.
func polls(outer []ast.Node) bool {
	for i := len(outer) - 1; i >= 0; i-- {
		switch n := outer[i].(type) {
		case *ast.FuncLit, *ast.FuncDecl:
			return false
		case *ast.ForStmt:
			return n.Cond != nil || leaves(n.Body)
		case *ast.RangeStmt:
			return leaves(n.Body)
		}
	}
	return false
}

func leaves(body *ast.BlockStmt) bool {
	found := false
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.ReturnStmt:
			found = true
		case *ast.BranchStmt:
			found = found || n.Tok == token.BREAK
		case *ast.CallExpr:
			s, ok := n.Fun.(*ast.SelectorExpr)
			found = found || ok && (s.Sel.Name == "Fatal" || s.Sel.Name == "Fatalf")
		}
		return true
	})
	return found
}
