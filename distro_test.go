package modwsgi_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"testing"
)

// installing matches a command that installs a package of a distribution.
var installing = regexp.MustCompile(`\b(apt(-get)? install|dnf install|yum install|apk add|zypper install|pacman -S|brew install) [a-z]`)

// TestOneTableOfDistributions finds commands that install a package outside
// internal/distro: with two tables, one missing header could get two package names.
func TestOneTableOfDistributions(t *testing.T) {
	elsewhere := map[string]string{
		"modulebuild/hints.go": "a package that only Fedora and its derivatives have",
	}
	found := 0
	for file := range parseTree(t) {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			text, ok := n.(*ast.BasicLit)
			if !ok || text.Kind != token.STRING || !installing.MatchString(text.Value) {
				return true
			}
			if elsewhere[file] == "" {
				t.Errorf("%s: %s: use internal/distro", file, text.Value)
			}
			found++
			return true
		})
	}
	if found != len(elsewhere) {
		t.Errorf("%d commands were found, %d are known", found, len(elsewhere))
	}
}
