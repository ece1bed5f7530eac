package modwsgi_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const walkthrough = "docs/how-it-works.md"

// TestWalkthroughNamesWhatExists: each link of the page that names a declaration, as in
// [`job.fetch`](../installer/job.go), leads to the file that declares it. Methods are
// written with the name of their type.
func TestWalkthroughNamesWhatExists(t *testing.T) {
	link := regexp.MustCompile("\\[`([\\w.]+)`\\]\\((\\.\\./[\\w./-]+\\.(?:go|py))\\)")
	declared := map[string][]string{}
	all := link.FindAllStringSubmatch(strings.Join(readLines(t, walkthrough), "\n"), -1)
	for _, m := range all {
		name, file := m[1], path.Join(path.Dir(walkthrough), m[2])
		if declared[file] == nil {
			declared[file] = declaredIn(t, file)
		}
		if !slices.Contains(declared[file], name) {
			t.Errorf("%s: %s does not declare %s; it has %s", walkthrough, file, name, strings.Join(declared[file], " "))
		}
	}
	if len(all) < 60 || len(declared) < 30 {
		t.Errorf("only %d links to %d files were found", len(all), len(declared))
	}
}

// declaredIn lists the functions, methods (TYPE.METHOD), types, variables and constants
// of a file in Go or Python.
func declaredIn(t *testing.T, name string) (names []string) {
	t.Helper()
	if strings.HasSuffix(name, ".py") {
		return declaredInPython(t, name)
	}
	f, err := parser.ParseFile(token.NewFileSet(), filepath.FromSlash(name), nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			names = append(names, receiver(d)+d.Name.Name)
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					names = append(names, s.Name.Name)
				case *ast.ValueSpec:
					for _, n := range s.Names {
						names = append(names, n.Name)
					}
				}
			}
		}
	}
	return names
}

// receiver is the type of a method and a dot, "" for a function.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	of := d.Recv.List[0].Type
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	if generic, ok := of.(*ast.IndexExpr); ok {
		of = generic.X
	}
	return of.(*ast.Ident).Name + "."
}

func declaredInPython(t *testing.T, name string) (names []string) {
	t.Helper()
	class, declaration := "", regexp.MustCompile(`^( {4})?(class|def) (\w+)`)
	for _, line := range readLines(t, name) {
		m := declaration.FindStringSubmatch(line)
		switch {
		case m == nil:
		case m[2] == "class":
			class = m[3] + "."
			names = append(names, m[3])
		case m[1] != "":
			names = append(names, class+m[3])
		default:
			names = append(names, m[3])
		}
	}
	return names
}

// TestContributingNamesFilesThatExist: the files and directories that CONTRIBUTING.md
// tells to edit are there. Names with a part in capitals stand for new ones.
func TestContributingNamesFilesThatExist(t *testing.T) {
	page := strings.Join(readLines(t, "CONTRIBUTING.md"), "\n")
	named := regexp.MustCompile("`((?:acceptance|cmd|detect|docs|doctor|express|httpdbuild|installer|internal|modulebuild|packaging|scripts|testdata)/[\\w./-]+)`")
	capitals := regexp.MustCompile(`\b[A-Z]{4,}\b`)
	found := 0
	for _, m := range named.FindAllStringSubmatch(page, -1) {
		if capitals.MatchString(m[1]) {
			continue
		}
		found++
		if _, err := os.Stat(filepath.FromSlash(m[1])); err != nil {
			t.Errorf("CONTRIBUTING.md names %s: %v", m[1], err)
		}
	}
	if found < 40 {
		t.Errorf("only %d names were found", found)
	}
}

// TestMapOfPackagesIsComplete: the page's map has every package of layers once, and
// nothing else.
func TestMapOfPackagesIsComplete(t *testing.T) {
	text := strings.Join(readLines(t, walkthrough), "\n")
	_, text, found := strings.Cut(text, "\n## The packages and their imports\n")
	_, text, fenced := strings.Cut(text, "\n```\n")
	text, _, closed := strings.Cut(text, "\n```\n")
	if !found || !fenced || !closed {
		t.Fatalf("%s has no map of packages", walkthrough)
	}
	mapped := map[string]bool{}
	for line := range strings.Lines(text) {
		dirs, _, _ := strings.Cut(strings.TrimSpace(line), "/ ")
		if dirs == "" {
			continue
		}
		before, rest, _ := strings.Cut(dirs, "{")
		rest, _, _ = strings.Cut(rest, "}")
		for _, part := range strings.Split(rest, ",") {
			name := before + part
			if mapped[name] {
				t.Errorf("%s has %s twice in the map of packages", walkthrough, name)
			}
			mapped[name] = true
			if info, err := os.Stat(name); err != nil || !info.IsDir() {
				t.Errorf("the map of packages has %s, which is not a directory", name)
			}
		}
	}
	for _, l := range layers {
		if !mapped[l.pkg] {
			t.Errorf("the map of packages in %s lacks %s: %s", walkthrough, l.pkg, l.reason)
		}
		delete(mapped, l.pkg)
	}
	for name := range mapped {
		t.Errorf("the map of packages in %s has %s, which imports_test.go does not list", walkthrough, name)
	}
}
