// Package modwsgi_test holds the tests that are about the whole tree.
package modwsgi_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// edges says which packages of ours each part may import, by path below the
// module; a path ending in "/" stands for everything below it. What is not
// listed is forbidden: imports point downward only (docs/how-it-works.md).
var edges = []struct {
	part string
	may  []string
}{
	{"cmd/modwsgi", []string{"internal/cli", "internal/run"}},
	{"cmd/mod_wsgi-express", []string{"express", "internal/version"}},
	{"cmd/mod_wsgi-apxs", []string{"internal/apxs", "internal/run", "internal/version"}},
	{"cmd/modwsgi-release", []string{"packaging/toolrelease", "packaging/sign", "internal/owned"}},
	{"internal/cli", []string{"doctor", "installer", "modulebuild/", "packaging", "packaging/", "express/runtime", "detect", "httpdbuild", "internal/"}},
	{"installer", []string{"installer/", "httpdbuild", "modulebuild", "detect", "express/runtime", "internal/"}},
	{"installer/place", []string{"internal/run", "internal/fault", "internal/atomicfile", "internal/flock", "internal/owned"}},
	{"httpdbuild", []string{"internal/"}},
	{"modulebuild", []string{"internal/"}},
	{"detect", []string{"internal/run", "internal/elf", "internal/libpython", "internal/pe", "internal/apxs", "internal/receipt", "internal/fault", "internal/owned", "internal/distro", "internal/filetree"}},
	{"doctor", []string{"detect", "internal/"}},
	{"packaging", []string{"python", "internal/"}},
	{"python", nil},
	{"express", []string{"express/", "detect", "internal/run", "internal/owned", "internal/atomicfile", "internal/flock", "internal/receipt", "internal/fault", "internal/shortage", "internal/version", "internal/event", "internal/elf", "internal/distro", "internal/filetree", "internal/spelling"}},
	{"express/runtime", nil},
	{"internal/", []string{"internal/"}},
	{"internal/owned", []string{"internal/quote"}}, // everybody may ask it, it asks nobody
	{"internal/quote", nil},
	{"internal/otheruser", []string{"internal/filetree"}},
	{"internal/filetree", nil},
	{"internal/freeport", nil},
}

// outside says who alone may import certain packages that are not ours.
var outside = map[string][]string{
	"os/exec":                         {"internal/run", "express", "internal/otheruser"}, // the launcher lends its terminal to httpd; the last is for tests
	"net/http":                        {"internal/fetch", "internal/pace", "installer", "internal/buildcache", "packaging"},
	"github.com/mholt/archiver/v3":    {"internal/archive"},
	"github.com/spf13/cobra":          {"internal/cli"},
	"github.com/hashicorp/go-version": {"internal/recipe"},
}

func TestImportsPointDownward(t *testing.T) {
	for file, imports := range parseTree(t) {
		dir := path.Dir(file)
		for _, imp := range imports {
			if rest, ours := strings.CutPrefix(imp, "modwsgi/"); ours {
				if !allowed(dir, rest) {
					t.Errorf("%s imports %s", file, imp)
				}
				continue
			}
			if who, restricted := outside[imp]; restricted && !slices.ContainsFunc(who, func(w string) bool { return below(dir, w) }) {
				t.Errorf("%s imports %s, which only %s may", file, imp, strings.Join(who, ", "))
			}
		}
	}
}

// allowed looks for the most exact part that dir belongs to.
func allowed(dir, imp string) bool {
	best, may := "", []string(nil)
	for _, e := range edges {
		if below(dir, strings.TrimSuffix(e.part, "/")) && len(e.part) > len(best) {
			best, may = e.part, e.may
		}
	}
	if strings.HasPrefix(imp, "internal/cli") {
		return dir == "cmd/modwsgi"
	}
	if best != "" && strings.HasPrefix(best, "internal/") == false && below(imp, best) && below(dir, best) {
		return true // inside one part
	}
	return slices.ContainsFunc(may, func(m string) bool {
		if prefix, all := strings.CutSuffix(m, "/"); all {
			return below(imp, prefix)
		}
		return imp == m
	})
}

func below(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// parseTree returns the imports of every file that is not a test.
func parseTree(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && name != "." || d.Name() == "testdata" || d.Name() == "acceptance" || filepath.ToSlash(name) == "scripts/torture") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range f.Imports {
			imp, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			out[filepath.ToSlash(name)] = append(out[filepath.ToSlash(name)], imp)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 20 {
		t.Fatalf("only %d files were found", len(out))
	}
	return out
}

func TestTheRulesForbidSomething(t *testing.T) {
	for _, wrong := range [][2]string{
		{"packaging/wheel", "installer"},
		{"doctor", "installer"},
		{"detect", "internal/atomicfile"},
		{"internal/fetch", "detect"},
		{"internal/run", "internal/cli"},
		{"express", "internal/fetch"},
		{"httpdbuild", "modulebuild"},
		{"installer", "internal/cli"},
		{"cmd/modwsgi", "installer"},
	} {
		if allowed(wrong[0], wrong[1]) {
			t.Errorf("%s may import %s", wrong[0], wrong[1])
		}
	}
}
