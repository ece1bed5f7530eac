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

// edges lists the packages of the module that each part may import, by path below the
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
	{"internal/cli", []string{"doctor", "installer", "modulebuild/", "packaging", "packaging/", "detect", "httpdbuild", "internal/"}},
	{"installer", []string{"installer/", "httpdbuild", "modulebuild", "detect", "express/runtime", "internal/"}},
	{"installer/place", []string{"internal/run", "internal/fault", "internal/atomicfile", "internal/flock", "internal/owned"}},
	{"httpdbuild", []string{"internal/"}},
	{"modulebuild", []string{"internal/"}},
	{"detect", []string{"internal/run", "internal/elf", "internal/libpython", "internal/pe", "internal/apxs", "internal/receipt", "internal/fault", "internal/owned", "internal/distro", "internal/filetree"}},
	{"doctor", []string{"detect", "internal/"}},
	{"packaging", []string{"internal/"}},
	{"packaging/index", []string{"packaging", "internal/"}},
	{"packaging/licence", []string{"packaging", "internal/"}},
	{"packaging/linkage", []string{"packaging", "internal/"}},
	{"packaging/matrix", []string{"internal/"}},
	{"packaging/sign", []string{"internal/"}},
	{"packaging/authenticode", []string{"internal/"}},
	{"packaging/sbom", []string{"packaging", "packaging/licence", "internal/"}},
	{"packaging/release", []string{"packaging", "packaging/index", "packaging/sbom", "packaging/sign", "internal/"}},
	// Formats know one staged tree, and nothing of each other.
	{"packaging/wheel", []string{"packaging", "packaging/licence", "packaging/linkage", "packaging/sbom", "internal/"}},
	{"packaging/winzip", []string{"packaging", "packaging/licence", "packaging/sbom", "internal/"}},
	{"packaging/linuxpkg", []string{"packaging", "packaging/licence", "packaging/linkage", "packaging/sbom", "internal/"}},
	{"packaging/oci", []string{"packaging", "packaging/licence", "packaging/linkage", "packaging/sbom", "packaging/release", "internal/"}},
	{"packaging/toolwheel", []string{"packaging", "packaging/licence", "packaging/sbom", "python", "internal/"}},
	{"packaging/toolrelease", []string{"packaging", "packaging/release", "packaging/sbom", "packaging/sign", "packaging/toolwheel", "internal/"}},
	{"packaging/produce", []string{"installer", "modulebuild/windows", "express/runtime", "detect", "packaging", "packaging/", "internal/"}}, // what a user asks for
	{"python", nil},
	{"express", []string{"express/", "detect", "internal/run", "internal/owned", "internal/atomicfile", "internal/flock", "internal/receipt", "internal/fault", "internal/shortage", "internal/version", "internal/event", "internal/elf", "internal/distro", "internal/filetree"}},
	{"express/runtime", nil},
	{"express/option", []string{"internal/fault", "internal/quote"}},
	{"express/host", []string{"internal/fault", "internal/filetree", "internal/run", "internal/owned", "internal/distro"}},
	{"express/conf", nil},
	{"express/site", []string{"express/host", "express/conf", "detect", "internal/run", "internal/receipt", "internal/fault", "internal/distro"}},
	{"express/config", []string{"express/option", "express/host", "express/site", "express/conf", "internal/fault", "internal/owned", "internal/quote", "internal/run"}},
	{"express/instance", []string{"express/config", "express/host", "internal/run", "internal/owned", "internal/fault", "internal/elf"}},
	{"express/supervise", []string{"express/instance", "express/host", "internal/owned", "internal/fault"}},
	{"internal/", []string{"internal/"}},
	{"internal/owned", []string{"internal/quote"}}, // everybody may ask it, it asks nobody
	{"internal/quote", nil},
	{"internal/httpc", []string{"internal/run", "internal/fault"}}, // how a server is asked, not what for
	{"internal/otheruser", []string{"internal/filetree"}},
	{"internal/filetree", nil},
	{"internal/registry", []string{"internal/httpc", "internal/owned", "internal/run"}},
	{"internal/fetch/providertest", []string{"internal/fault", "internal/recipe"}}, // for tests
	{"internal/buildcache/storetest", nil},                                         // for tests
	{"internal/freeport", nil},
	// What an install uses, and knows nothing of installs.
	{"internal/cachedir", []string{"internal/buildcache", "internal/digest", "internal/event", "internal/fault", "internal/filetree", "internal/flock", "internal/owned", "internal/run", "internal/scratch", "internal/shortage"}},
	{"internal/buildstore", []string{"internal/buildcache", "internal/buildcache/remote", "internal/cachedir", "internal/event", "internal/fault", "internal/flock", "internal/owned", "internal/run", "internal/timeline"}},
	{"internal/prove", []string{"internal/elf", "internal/event", "internal/fault", "internal/filetree", "internal/owned", "internal/quote", "internal/run", "internal/scratch", "internal/timeline"}},
	{"internal/pages", nil}, // for tests of the documentation
	{"internal/scripttest", []string{"internal/elf/elftest", "internal/freeport"}},
}

// outside says who alone may import certain packages that are not ours.
var outside = map[string][]string{
	"os/exec": {"internal/run", "express", "internal/otheruser", "internal/scripttest"}, // the launcher lends its terminal to httpd; the last two are for tests
	"net/http": {
		"internal/httpc", "internal/registry", "internal/fetch", // the clients
		"packaging/oci",  // status codes
		"internal/prove", // asks the httpd that it has just started, on the loopback interface
	},
	"golang.org/x/net/http/httpproxy":                                {"internal/httpc"},
	"github.com/google/go-containerregistry/pkg/authn":               {"internal/registry"},
	"github.com/google/go-containerregistry/pkg/v1/remote":           {"internal/registry", "packaging/oci"},
	"github.com/google/go-containerregistry/pkg/v1/remote/transport": {"internal/registry", "packaging/oci"}, // the latter reads errors
	"github.com/mholt/archiver/v3":                                   {"internal/archive"},
	"github.com/spf13/cobra":                                         {"internal/cli"},
	"github.com/hashicorp/go-version":                                {"internal/recipe"},
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
	if best != "" && strings.HasPrefix(best, "internal/") == false && best != "packaging" && below(imp, best) && below(dir, best) {
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
		{"packaging/wheel", "packaging/produce"},
		{"packaging/wheel", "packaging/oci"},
		{"packaging/toolrelease", "packaging/produce"},
		{"packaging", "packaging/sbom"},
		{"doctor", "installer"},
		{"detect", "internal/atomicfile"},
		{"internal/prove", "installer"},
		{"internal/cachedir", "internal/buildstore"},
		{"internal/buildstore", "httpdbuild"},
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
