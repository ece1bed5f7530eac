// Package modwsgi_test contains the tests of the whole tree.
package modwsgi_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

type layer struct{ pkg, reason, may string }

// layers lists every package from the bottom up, with the reason why it is a separate
// package, and the packages of this module that it may import. Everything else is
// forbidden, and a package may import only packages listed above it: imports point
// downward (docs/how-it-works.md).
//
// A new package is one line, below the packages that it imports. Other packages may
// import it if their lines name it, in alphabetical order.
var layers = []layer{
	// Vocabulary that all share. It imports nothing of this module, or other
	// vocabulary.
	{"internal/version", "which release a binary is", ""},
	{"internal/fault", "errors for people: class, hint", ""},
	{"internal/event", "what is reported during work", ""},
	{"internal/target", "names of target systems", "internal/fault"},
	{"internal/platform", "what works on which operating system", "internal/fault"},
	{"internal/quote", "words as a shell reads them", ""},
	{"internal/digest", "SHA-256 of files and trees", ""},
	{"internal/spelling", "suggestions for misspelled names", ""},
	{"internal/tomlfile", "TOML that people write, with the line of each key", ""},
	{"express/option", "tables of options", "internal/fault internal/quote internal/spelling"},
	{"express/option/markdown", "tables of options as Markdown, for tests of the reference pages", "express/option"},
	{"internal/filetree", "copy, size, glob: never through a link", ""},
	{"internal/freeport", "ports for servers of tests", ""},
	{"internal/buildcache/storetest", "the contract of stores, for tests", ""},
	{"internal/elf/elftest", "small ELF files, for tests", ""},
	{"internal/scripttest", "scripts that drive the programs, for tests", "internal/elf/elftest internal/freeport"},
	{"internal/pages", "pages of the documentation, for tests", ""},
	{"internal/mountinfo", "mounted file systems", ""},
	{"internal/cgroup", "processors, memory and tasks of this process", "internal/mountinfo"},
	{"internal/timeline", "timing of each part of a build", ""},
	{"internal/objgraph", "the scheduler of dependent tasks", ""},
	{"internal/distro", "distributions, packages, install commands", ""},
	{"internal/owned", "which files of other users are trusted: every package may use it, it uses none", "internal/quote"},
	{"internal/otheruser", "a second user, for tests", "internal/filetree"},
	{"internal/testkit", "files, errors and events, for tests", "internal/event internal/fault"},
	{"internal/settingsfile", "where settings of a project are found, and the words for mistakes in them", "internal/fault internal/owned internal/spelling internal/tomlfile"},
	// Formats defined by others.
	{"internal/elf", "ELF files", ""},
	{"internal/libpython", "the Python version in a library", "internal/elf"},
	{"internal/pe", "Windows programs", ""},
	{"internal/pe/petest", "small Windows programs, for tests", ""},
	{"internal/pgp", "valid OpenPGP signatures", ""},
	{"internal/makefile", "makefiles of httpd and its libraries", ""},
	{"internal/libtool", "libtool's command lines", ""},
	{"internal/apxs", "config_vars.mk, and answers from it", ""},
	{"internal/pydist", "installed distributions, wheels, RECORD", "internal/fault internal/owned internal/version"},
	{"internal/receipt", "the record of an install, and its comparison", "internal/fault internal/libpython"},
	{"express/conf", "httpd's configuration language", ""},
	{"express/runtime", "the launcher's Python part", ""},
	{"python", "the Python part of the tool's wheel", ""},
	// Mechanisms.
	{"internal/run", "the only user of os/exec", "internal/fault internal/owned internal/quote"},
	{"internal/httpc", "the HTTP client: proxies, limits, retry, redaction", "internal/fault internal/owned internal/run"},
	{"internal/registry", "the client of OCI registries and its keychain", "internal/httpc internal/owned internal/run"},
	{"express/host", "differences between systems", "internal/fault internal/mountinfo internal/owned internal/run"},
	{"internal/atomicfile", "files that are complete or absent", "internal/owned"},
	{"internal/flock", "locks that wait with a limit", "internal/fault internal/mountinfo internal/owned"},
	{"internal/scratch", "directories of one run", "internal/fault internal/flock internal/owned internal/run"},
	{"internal/shortage", "errors for a lack of space or of a limit", "internal/fault internal/run"},
	{"express/console", "the launcher's streams and messages", "internal/fault internal/shortage"},
	{"internal/observer", "an event and a span from one call", "internal/event internal/run internal/timeline"},
	{"internal/prove", "a throwaway httpd that answers a request", "internal/elf internal/event internal/fault internal/filetree internal/observer internal/owned internal/run internal/scratch internal/timeline"},
	{"internal/farm", "distcc and icecream: objects compiled on other machines", "internal/objgraph internal/owned internal/run"},
	{"internal/steps", "named steps with logs", "internal/objgraph internal/observer internal/timeline"},
	{"internal/configcache", "answers for configure scripts", "internal/run"},
	{"internal/relocate", "run paths relative to the file", "internal/atomicfile internal/owned"},
	{"internal/toolchain", "the C compiler of this machine", "internal/digest internal/distro internal/elf internal/fault internal/run internal/shortage internal/target"},
	{"internal/recipe", "pinned archives, advisories, the lock file", "internal/atomicfile internal/digest internal/fault internal/owned"},
	{"internal/fetch/providertest", "the contract of providers, for tests", "internal/fault internal/recipe"},
	{"internal/archive", "safe extraction", "internal/digest internal/fault internal/owned"},
	{"internal/fetch", "download and verification", "internal/digest internal/distro internal/event internal/fault internal/flock internal/httpc internal/owned internal/pgp internal/recipe internal/run internal/version"},
	{"internal/debian/debiantest", "a small archive of Debian's form, for tests", ""},
	{"internal/debian", "Debian's archive: signed indexes, binary packages", "internal/digest internal/fault internal/fetch internal/httpc internal/pgp internal/recipe"},
	{"internal/catalogue", "a newer catalogue: fetched, verified, kept", "internal/fault internal/flock internal/httpc internal/owned internal/recipe internal/run internal/version"},
	{"internal/catalogue/publish", "makes repositories of catalogues", "internal/atomicfile internal/catalogue internal/fault internal/owned internal/recipe"},
	{"internal/catalogue/refresh", "news from upstream for the maintainer", "internal/atomicfile internal/catalogue/publish internal/debian internal/fault internal/fetch internal/recipe"},
	{"internal/buildcache", "finished trees by hash", "internal/digest internal/filetree internal/flock internal/owned internal/recipe"},
	{"internal/cachedir", "the cache directory: content, owner, use, pruning", "internal/buildcache internal/digest internal/event internal/fault internal/filetree internal/flock internal/owned internal/run internal/scratch internal/shortage"},
	{"internal/buildcache/remote", "the same, shared between machines", "internal/atomicfile internal/buildcache internal/fault internal/flock internal/httpc internal/owned internal/registry internal/run internal/scratch internal/version"},
	{"internal/buildstore", "finished trees, local and shared: lookup, restore, keep", "internal/buildcache internal/buildcache/remote internal/cachedir internal/event internal/fault internal/flock internal/owned internal/run internal/timeline"},
	// How each task is done.
	{"detect", "finds Pythons and httpds; read-only", "internal/apxs internal/distro internal/elf internal/fault internal/libpython internal/owned internal/pe internal/receipt internal/run"},
	{"internal/sysroot", "headers and link libraries of a target", "detect internal/archive internal/debian internal/digest internal/elf internal/event internal/fault internal/fetch internal/owned internal/target"},
	{"express/site", "the launcher's environment and its httpd", "detect express/conf express/host internal/distro internal/fault internal/filetree internal/receipt internal/run"},
	{"express/acme", "certificates from an authority: account, challenges, renewal, the directory", "internal/fault internal/flock internal/owned internal/quote"},
	{"express/logwriter", "the program that httpd pipes logs into: readable text, JSON, rotation", ""},
	{"express/config", "one file per feature: options, checks, directives", "express/acme express/conf express/host express/logwriter express/option express/site internal/fault internal/owned internal/quote internal/run"},
	{"express/sources", "options from configuration files and the environment", "express/config express/option internal/fault internal/owned internal/settingsfile internal/tomlfile"},
	{"express/discover", "the application of a project, and why it is that one", "internal/fault internal/owned internal/run internal/tomlfile"},
	{"express/localca", "a private certificate authority for localhost", "internal/fault internal/owned internal/run"},
	{"express/instance", "a server root", "express/acme express/config express/host internal/elf internal/fault internal/flock internal/owned internal/run"},
	{"express/supervise", "starting, signals, reload, process 1, apachectl", "express/acme express/console express/host express/instance express/logwriter internal/fault internal/owned internal/run"},
	{"express/top", "the state of an instance on a terminal", "express/host express/supervise internal/run"},
	{"httpdbuild", "source archives to an httpd tree", "internal/apxs internal/archive internal/configcache internal/distro internal/elf internal/event internal/farm internal/fault internal/filetree internal/libtool internal/makefile internal/objgraph internal/observer internal/owned internal/relocate internal/run internal/shortage internal/steps internal/timeline internal/toolchain"},
	{"modulebuild", "source archive to the module", "internal/archive internal/digest internal/distro internal/event internal/farm internal/fault internal/objgraph internal/observer internal/owned internal/receipt internal/run internal/shortage internal/steps internal/timeline internal/toolchain"},
	{"modulebuild/windows", "the same for Windows", "internal/archive internal/atomicfile internal/digest internal/distro internal/event internal/fault internal/fetch internal/observer internal/owned internal/pe internal/recipe internal/run internal/steps"},
	{"installer/place", "one transaction over an environment", "internal/fault internal/flock internal/owned internal/run"},
	{"packaging", "the transaction over dist/, what formats share", "internal/digest internal/fault internal/filetree internal/flock internal/owned internal/pe internal/pydist internal/scratch"},
	{"packaging/sign", "detached signatures", "internal/fault internal/owned internal/pgp"},
	{"packaging/licence", "SPDX expressions of packaged components", "internal/fault packaging"},
	{"packaging/debuginfo", "debugging information in separate files", "internal/distro internal/elf internal/fault internal/owned internal/run packaging"},
	{"packaging/linkage", "needed libraries, platform tags", "internal/digest internal/distro internal/elf internal/fault internal/filetree internal/pe internal/recipe internal/relocate internal/run internal/target packaging"},
	{"packaging/sbom", "CycloneDX", "packaging packaging/licence"},
	{"packaging/vex", "OpenVEX", "internal/recipe packaging"},
	{"packaging/index", "a package index", "internal/pydist packaging"},
	{"packaging/release", "what accompanies every artifact", "internal/digest internal/fault internal/pydist packaging packaging/index packaging/sbom packaging/sign packaging/vex"},
	{"packaging/authenticode", "signatures of Windows programs", "internal/distro internal/fault internal/filetree internal/owned internal/pe internal/run internal/scratch"},
	{"packaging/linuxpkg", "deb, rpm, apk", "internal/atomicfile internal/digest internal/elf internal/fault internal/filetree internal/owned internal/pydist internal/receipt internal/run internal/shortage internal/target packaging packaging/licence packaging/linkage packaging/sbom"},
	{"packaging/oci", "container images and layers", "internal/digest internal/elf internal/fault internal/filetree internal/httpc internal/libpython internal/owned internal/pydist internal/receipt internal/registry internal/relocate internal/run internal/target packaging packaging/licence packaging/linkage packaging/release packaging/sbom"},
	{"packaging/wheel", "Python wheels", "internal/digest internal/elf internal/fault internal/owned internal/pydist internal/receipt packaging packaging/licence packaging/linkage packaging/sbom"},
	{"packaging/winzip", "the zip for Windows", "internal/digest internal/fault internal/owned internal/pe internal/pydist internal/receipt packaging packaging/licence packaging/sbom"},
	{"packaging/toolwheel", "the wheel of the tools", "internal/atomicfile internal/digest internal/elf internal/fault internal/owned internal/platform internal/pydist internal/receipt internal/scratch packaging packaging/licence packaging/sbom python"},
	{"packaging/publish", "the verified set, plans, the order of destinations", "internal/fault internal/owned packaging packaging/release packaging/sign"},
	{"packaging/publish/repodir", "a repository directory: locked, files appear complete", "internal/digest internal/fault internal/flock internal/owned packaging packaging/publish"},
	{"packaging/publish/aptrepo", "an apt repository", "internal/digest internal/fault internal/pgp packaging/publish packaging/publish/repodir packaging/sign"},
	{"packaging/publish/dnfrepo", "a dnf repository", "internal/digest internal/fault internal/pgp packaging/publish packaging/publish/repodir packaging/sign"},
	{"packaging/publish/pyindex", "the upload API of package indexes", "internal/fault internal/httpc internal/owned internal/pydist internal/run packaging packaging/publish"},
	{"packaging/publish/ociref", "an image with referrers in a registry", "internal/fault internal/httpc internal/registry internal/run packaging packaging/publish"},
	{"packaging/publish/publishtest", "small artifacts of every kind and an index, for tests", "packaging packaging/release packaging/sign"},
	// Requests of users.
	{"installer", "the environment that serves", "detect express/runtime httpdbuild installer/place internal/buildcache internal/buildcache/remote internal/buildstore internal/cachedir internal/cgroup internal/digest internal/distro internal/elf internal/event internal/farm internal/fault internal/fetch internal/filetree internal/flock internal/objgraph internal/owned internal/platform internal/prove internal/pydist internal/receipt internal/recipe internal/run internal/scratch internal/steps internal/sysroot internal/target internal/timeline internal/toolchain internal/version modulebuild"},
	{"doctor", "checks of an environment and its host", "detect httpdbuild internal/cachedir internal/catalogue internal/digest internal/distro internal/elf internal/farm internal/fault internal/filetree internal/owned internal/platform internal/receipt internal/recipe internal/run internal/scratch internal/toolchain modulebuild"},
	{"express", "the launcher", "express/acme express/conf express/config express/console express/discover express/host express/instance express/localca express/logwriter express/option express/runtime express/site express/sources express/supervise express/top internal/atomicfile internal/cgroup internal/distro internal/fault internal/owned internal/platform internal/quote internal/receipt internal/run internal/spelling"},
	{"packaging/matrix", "the file that describes a release", "internal/fault internal/platform"},
	{"packaging/produce", "the pipeline of single formats and releases", "detect express/runtime httpdbuild installer internal/buildcache internal/buildstore internal/cachedir internal/digest internal/elf internal/event internal/fault internal/fetch internal/filetree internal/httpc internal/owned internal/platform internal/pydist internal/receipt internal/recipe internal/run internal/scratch internal/sysroot internal/target internal/toolchain internal/version modulebuild/windows packaging packaging/authenticode packaging/debuginfo packaging/licence packaging/linkage packaging/linuxpkg packaging/matrix packaging/oci packaging/release packaging/sign packaging/toolwheel packaging/wheel packaging/winzip"},
	{"packaging/toolrelease", "the tools' own release", "internal/atomicfile internal/digest internal/fault internal/filetree internal/owned internal/platform internal/run internal/version packaging packaging/linuxpkg packaging/release packaging/sbom packaging/sign packaging/toolwheel"},
	{"internal/cli", "flags, help, rendering", "detect doctor httpdbuild installer internal/atomicfile internal/buildcache/remote internal/cachedir internal/catalogue internal/cgroup internal/distro internal/event internal/fault internal/filetree internal/flock internal/httpc internal/owned internal/platform internal/recipe internal/run internal/scratch internal/settingsfile internal/shortage internal/spelling internal/target internal/timeline internal/version modulebuild/windows packaging packaging/authenticode packaging/matrix packaging/produce packaging/publish packaging/publish/aptrepo packaging/publish/dnfrepo packaging/publish/ociref packaging/publish/pyindex packaging/publish/repodir packaging/release packaging/sign"},
	// Programs.
	{"cmd/modwsgi", "the tool", "internal/cli internal/run"},
	{"cmd/mod_wsgi-express", "the launcher", "express internal/run internal/version"},
	{"cmd/mod_wsgi-apxs", "apxs of the private httpd", "internal/apxs internal/run internal/version"},
	{"cmd/modwsgi-catalogue", "repositories of catalogues", "internal/cachedir internal/catalogue/publish internal/catalogue/refresh internal/debian internal/fault internal/fetch internal/owned internal/recipe"},
	{"cmd/modwsgi-release", "the tools' own release", "internal/owned packaging packaging/sign packaging/toolrelease"},
}

// outside lists the only packages that may import certain third-party or standard
// packages.
var outside = map[string][]string{
	"os/exec": {"internal/run", "express", "internal/otheruser", "internal/scripttest"}, // the launcher passes its terminal to httpd; the last two are for tests
	"net/http": {
		"internal/httpc", "internal/registry", "internal/fetch", // the clients
		"express/acme",                  // the client of authorities
		"internal/catalogue",            // the client of catalogue repositories
		"internal/debian/debiantest",    // a server for tests
		"packaging/oci",                 // status codes
		"internal/prove",                // queries the httpd that it has just started, on the loopback interface
		"packaging/publish/ociref",      // status codes
		"packaging/publish/pyindex",     // requests through internal/httpc
		"packaging/publish/publishtest", // a server for tests
	},
	"golang.org/x/net/http/httpproxy":                                  {"internal/httpc"},
	"github.com/google/go-containerregistry/pkg/authn":                 {"internal/registry"},
	"github.com/google/go-containerregistry/pkg/v1/remote":             {"internal/registry", "packaging/oci", "packaging/publish/ociref"},
	"github.com/google/go-containerregistry/pkg/v1/remote/transport":   {"internal/registry", "packaging/oci", "packaging/publish/ociref"}, // the latter two read errors
	"github.com/mholt/archiver/v3":                                     {"internal/archive"},
	"github.com/mholt/acmez/v3":                                        {"express/acme"},
	"github.com/mholt/acmez/v3/acme":                                   {"express/acme"},
	"github.com/spf13/cobra":                                           {"internal/cli"},
	"github.com/theupdateframework/go-tuf/v2/metadata":                 {"internal/catalogue"},
	"github.com/theupdateframework/go-tuf/v2/metadata/config":          {"internal/catalogue"},
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata": {"internal/catalogue"},
	"github.com/theupdateframework/go-tuf/v2/metadata/updater":         {"internal/catalogue"},
	"github.com/sigstore/sigstore/pkg/signature":                       {"internal/catalogue/publish"},
	"github.com/hashicorp/go-version":                                  {"internal/recipe"},
}

func TestImportsPointDownward(t *testing.T) {
	found := map[string]map[string]bool{} // package -> its imports from this module
	for file, imports := range parseTree(t) {
		dir := path.Dir(file)
		if below(dir, "scripts") {
			continue // tools for developers
		}
		if found[dir] == nil {
			found[dir] = map[string]bool{}
		}
		for _, imp := range imports {
			if rest, ours := strings.CutPrefix(imp, "modwsgi/"); ours {
				found[dir][rest] = true
				if !allowed(dir, rest) {
					t.Errorf("%s imports %s, which is not listed for %s in layers", file, rest, dir)
				}
			} else if who, restricted := outside[imp]; restricted && !slices.ContainsFunc(who, func(w string) bool { return below(dir, w) }) {
				t.Errorf("%s imports %s, which only %s may", file, imp, strings.Join(who, ", "))
			}
		}
	}
	for dir, imports := range found {
		listed := slices.ContainsFunc(layers, func(l layer) bool { return l.pkg == dir })
		if may := strings.Join(slices.Sorted(maps.Keys(imports)), " "); !listed {
			t.Errorf("the package is not listed in layers: {%q, \"REASON\", %q},", dir, may)
		}
	}
	for _, l := range layers {
		imports, exists := found[l.pkg]
		if !exists {
			t.Errorf("layers lists %s, which does not exist", l.pkg)
			continue
		}
		if may := strings.Join(slices.Sorted(maps.Keys(imports)), " "); may != l.may {
			t.Errorf("%s imports %q, listed is %q", l.pkg, may, l.may)
		}
	}
}

func TestLayersPointDownward(t *testing.T) {
	above := map[string]bool{}
	for _, l := range layers {
		switch {
		case above[l.pkg]:
			t.Errorf("%s is listed twice", l.pkg)
		case l.reason == "":
			t.Errorf("%s has no reason", l.pkg)
		case strings.ContainsAny(l.may, "*") || strings.Contains(l.may+" ", "/ "):
			t.Errorf("%s may import %q: name each package", l.pkg, l.may)
		}
		for _, imp := range strings.Fields(l.may) {
			if !above[imp] {
				t.Errorf("%s may import %s, which is not listed above it", l.pkg, imp)
			}
		}
		above[l.pkg] = true
	}
}

func allowed(dir, imp string) bool {
	return slices.ContainsFunc(layers, func(l layer) bool {
		return l.pkg == dir && slices.Contains(strings.Fields(l.may), imp)
	})
}

func below(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// toolsOfTests start arbitrary programs and write only below a directory that they make.
var toolsOfTests = []string{"scripts/torture", "scripts/bench/serve"}

// parseTree returns the imports of every file except tests.
func parseTree(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && name != "." || d.Name() == "testdata" || d.Name() == "acceptance" || slices.Contains(toolsOfTests, filepath.ToSlash(name))) {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		out[filepath.ToSlash(name)] = nil
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
