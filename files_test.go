package modwsgi_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
)

// Files of other users are the business of internal/owned (see its package
// comment). Two rules keep it that way: some calls by path are forbidden
// everywhere else, and in the files that handle what other users could have
// planted, all of them are.

// byPath are the calls that act on whatever a name leads to at that moment.
var byPath = map[string][]string{
	"os": {
		"Chmod", "Chown", "Chtimes", "Create", "CreateTemp", "DirFS", "Lchown", "Link", "Lstat", "Mkdir", "MkdirAll", "MkdirTemp", "Open",
		"OpenFile", "OpenRoot", "ReadDir", "ReadFile", "Readlink", "Remove", "RemoveAll", "Rename", "Stat", "Symlink", "Truncate", "WriteFile",
	},
	"path/filepath":               {"EvalSymlinks", "Glob", "Walk", "WalkDir"},
	"syscall":                     {"Chmod", "Chown", "Lchown", "Open", "Rename", "Unlink", "Mkdir", "Rmdir", "Stat", "Lstat"},
	"golang.org/x/sys/unix":       {"Chmod", "Chown", "Lchown", "Open", "Rename", "Unlink", "Mkdir", "Rmdir", "Stat", "Lstat"},
	"modwsgi/internal/atomicfile": {"Write", "Copy", "Create"},
}

// neverByPath are forbidden in every package: they remove, give away or open up
// what a name leads to, or make something whose directory nobody looked at.
var neverByPath = map[string][]string{
	"os": {"Chmod", "Chown", "CreateTemp", "Lchown", "MkdirTemp", "RemoveAll"},
}

// mechanism is where files of other users are decided about.
const mechanism = "internal/owned"

// testHelper is imported by tests only, and makes what other users would plant.
const testHelper = "internal/otheruser"

// guarded are the files in which every call by path is forbidden: what they read,
// write and remove is opened through internal/owned. exceptions has the rest.
var guarded = []string{
	"installer/place/copy.go", "installer/place/journal.go", "installer/place/lock.go", "installer/place/move.go", "installer/place/place.go",
	"installer/place/plan.go", "installer/place/recover.go", "installer/place/rename.go", "installer/place/rename_linux.go", "installer/place/rename_unix.go",
	"installer/place/scope.go", "internal/flock/flock.go", "internal/flock/flock_unix.go",
}

const (
	stage    = "the stage is a scratch directory of this user's own; what is written goes through open directories"
	spelling = "it only finds the canonical spelling of a path, which is then reached from an open root, without links"
	callers  = "a directory that the caller has chosen; what is in it is reached through the open directory"
)

// exceptions are calls by path with the reason why they are right there. The key is
// FILE:PACKAGE.FUNCTION; in every file of a package it is DIRECTORY/*.go.
var exceptions = map[string]string{
	"installer/place/copy.go:os.Lstat":                    stage,
	"installer/place/copy.go:os.Open":                     stage,
	"installer/place/copy.go:os.ReadDir":                  stage,
	"installer/place/copy.go:os.Readlink":                 stage,
	"installer/place/plan.go:os.Lstat":                    stage,
	"installer/place/plan.go:os.ReadDir":                  stage,
	"installer/place/scope.go:os.Lstat":                   spelling,
	"installer/place/scope.go:os.Stat":                    spelling,
	"installer/place/scope.go:filepath.EvalSymlinks":      spelling,
	"internal/flock/flock_unix.go:os.OpenFile":            callers,
	"internal/flock/flock_unix.go:os.OpenRoot":            callers,
	"internal/flock/flock_unix.go:os.Stat":                callers,
	"doctor/environment.go:os.MkdirTemp":                  "not moved yet",
	"doctor/environment.go:os.RemoveAll":                  "not moved yet",
	"doctor/host.go:os.CreateTemp":                        "not moved yet",
	"express/root_unix.go:os.Chmod":                       "not moved yet",
	"express/root_unix.go:os.Chown":                       "not moved yet",
	"express/root_unix.go:os.Lchown":                      "not moved yet",
	"express/setup.go:os.RemoveAll":                       "not moved yet",
	"httpdbuild/build.go:os.RemoveAll":                    "not moved yet",
	"httpdbuild/stage.go:os.Chmod":                        "not moved yet",
	"installer/account_unix.go:os.Chmod":                  "not moved yet",
	"installer/request.go:os.MkdirTemp":                   "not moved yet",
	"installer/verify.go:os.Lchown":                       "not moved yet",
	"installer/workspace.go:os.Chmod":                     "not moved yet",
	"installer/workspace.go:os.MkdirTemp":                 "not moved yet",
	"installer/workspace.go:os.RemoveAll":                 "not moved yet",
	"internal/archive/archive.go:os.MkdirTemp":            "not moved yet",
	"internal/archive/archive.go:os.RemoveAll":            "not moved yet",
	"internal/buildcache/buildcache.go:os.Chmod":          "not moved yet",
	"internal/buildcache/buildcache.go:os.MkdirTemp":      "not moved yet",
	"internal/buildcache/buildcache.go:os.RemoveAll":      "not moved yet",
	"internal/buildcache/copy.go:os.Chmod":                "not moved yet",
	"internal/buildcache/remote/tree.go:os.CreateTemp":    "not moved yet",
	"internal/cli/backend.go:os.MkdirTemp":                "not moved yet",
	"internal/cli/backend.go:os.RemoveAll":                "not moved yet",
	"internal/cli/module.go:os.MkdirTemp":                 "not moved yet",
	"internal/cli/module.go:os.RemoveAll":                 "not moved yet",
	"internal/cli/timings.go:os.CreateTemp":               "not moved yet",
	"internal/fetch/aptindex.go:os.RemoveAll":             "not moved yet",
	"internal/fetch/debian.go:os.RemoveAll":               "not moved yet",
	"internal/fetch/fetch.go:os.RemoveAll":                "not moved yet",
	"internal/relocate/relocate.go:os.Chmod":              "not moved yet",
	"internal/relocate/rewrite.go:os.CreateTemp":          "not moved yet",
	"modulebuild/modulebuild.go:os.Chmod":                 "not moved yet",
	"packaging/authenticode/authenticode.go:os.Chmod":     "not moved yet",
	"packaging/authenticode/authenticode.go:os.MkdirTemp": "not moved yet",
	"packaging/authenticode/authenticode.go:os.RemoveAll": "not moved yet",
	"packaging/dist.go:os.MkdirTemp":                      "not moved yet",
	"packaging/dist.go:os.RemoveAll":                      "not moved yet",
	"packaging/linuxpkg/docs.go:os.Chmod":                 "not moved yet",
	"packaging/linuxpkg/linuxpkg.go:os.RemoveAll":         "not moved yet",
	"packaging/oci/python.go:os.MkdirTemp":                "not moved yet",
	"packaging/oci/runtime.go:os.MkdirTemp":               "not moved yet",
	"packaging/oci/store.go:os.Chmod":                     "not moved yet",
	"packaging/oci/store.go:os.MkdirTemp":                 "not moved yet",
	"packaging/oci/store.go:os.RemoveAll":                 "not moved yet",
	"packaging/toolrelease/provenance.go:os.RemoveAll":    "not moved yet",
	"packaging/toolwheel/local.go:os.MkdirTemp":           "not moved yet",
	"packaging/toolwheel/local.go:os.RemoveAll":           "not moved yet",
	"packaging/toolwheel/package.go:os.RemoveAll":         "not moved yet",
	"packaging/toolwheel/toolwheel.go:os.Chmod":           "not moved yet",
	"packaging/toolwheel/toolwheel.go:os.MkdirTemp":       "not moved yet",
	"packaging/toolwheel/toolwheel.go:os.RemoveAll":       "not moved yet",
	"packaging/wheel/wheel.go:os.RemoveAll":               "not moved yet",
	"packaging/winzip/winzip.go:os.RemoveAll":             "not moved yet",
}

func TestFilesOfOthersAreOpenedInOnePlace(t *testing.T) {
	used := map[string]bool{}
	for file, calls := range callsByPath(t) {
		if below(path.Dir(file), mechanism) || below(path.Dir(file), testHelper) {
			continue
		}
		for _, call := range calls {
			if !slices.Contains(guarded, file) && !call.never {
				continue
			}
			exact, all := file+":"+call.name, path.Dir(file)+"/*.go:"+call.name
			switch {
			case exceptions[exact] != "":
				used[exact] = true
			case exceptions[all] != "":
				used[all] = true
			default:
				t.Errorf("%s:%d calls %s by path: use %s, or give the reason in exceptions", file, call.line, call.name, mechanism)
			}
		}
	}
	for key := range maps.Keys(exceptions) {
		if !used[key] {
			t.Errorf("the exception %s is not needed", key)
		}
	}
}

type pathCall struct {
	name  string // "os.RemoveAll"
	line  int
	never bool
}

// callsByPath returns the calls by path of every file that is not a test.
func callsByPath(t *testing.T) map[string][]pathCall {
	t.Helper()
	out := map[string][]pathCall{}
	for file := range parseTree(t) {
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		out[file] = callsIn(fset, f)
	}
	for _, file := range guarded {
		if _, there := out[file]; !there {
			t.Errorf("the guarded file %s does not exist", file)
		}
	}
	return out
}

func callsIn(fset *token.FileSet, f *ast.File) []pathCall {
	names := map[string]string{} // local name of an import -> its path
	for _, i := range f.Imports {
		imp := strings.Trim(i.Path.Value, `"`)
		name := path.Base(imp)
		if i.Name != nil {
			name = i.Name.Name
		}
		names[name] = imp
	}
	var calls []pathCall
	ast.Inspect(f, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		x, ok := s.X.(*ast.Ident)
		if !ok || !slices.Contains(byPath[names[x.Name]], s.Sel.Name) {
			return true
		}
		calls = append(calls, pathCall{
			name: fmt.Sprintf("%s.%s", x.Name, s.Sel.Name), line: fset.Position(s.Pos()).Line,
			never: slices.Contains(neverByPath[names[x.Name]], s.Sel.Name),
		})
		return true
	})
	return calls
}

func TestCallsByPathAreSeen(t *testing.T) {
	const text = `package p
import ("os"; fp "path/filepath")
var remove = os.RemoveAll
func f() { os.Open("x"); fp.WalkDir("x", nil); os.Getpid() }`
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "p.go", text, 0)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(callsIn(fset, f))
	if want := "[{os.RemoveAll 3 true} {os.Open 4 false} {fp.WalkDir 4 false}]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
