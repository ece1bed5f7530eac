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

// Only internal/owned handles files of other users (see its package comment). Two
// rules enforce that: some calls by path are forbidden everywhere else, and all of
// them are forbidden in the files that handle what other users could have planted.

// byPath are the calls that act on whatever a name refers to at that moment.
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

// neverByPath are forbidden in every package: they remove, give away or open up what a
// name refers to, or create something in a directory that was not checked.
var neverByPath = map[string][]string{
	"os": {"Chmod", "Chown", "CreateTemp", "Lchown", "MkdirTemp", "RemoveAll"},
}

// mechanism is the code that decides about files of other users.
const mechanism = "internal/owned"

// testHelpers are imported only by tests: they create what other users would plant,
// and scripts of the command line.
var testHelpers = []string{"internal/otheruser", "internal/scripttest", "internal/testkit"}

// guarded are the files in which every call by path is forbidden: they open whatever
// they read, write and remove through internal/owned. The rest is in exceptions.
var guarded = []string{
	"express/config/included.go", "express/access.go", "express/control.go", "express/deployment.go", "express/host/become_unix.go", "express/host/dirs_unix.go", "express/host/process.go", "express/host/process_linux.go", "express/host/signals_unix.go",
	"express/instance/claim.go", "express/instance/inherit.go", "express/instance/launch.go", "express/instance/pidfile.go", "express/instance/rights.go",
	"express/instance/serverroot.go", "express/instance/trust.go", "express/launch.go", "express/relied.go",
	"express/setup.go", "express/start.go", "express/supervise/checks.go", "express/supervise/control.go", "express/supervise/stop.go",
	"express/supervise/supervise.go", "express/supervise/watch.go", "express/systemd.go", "express/trial.go",
	"doctor/environment.go",
	"internal/buildcache/remote/tree.go",
	"packaging/authenticode/secret.go",
	"packaging/oci/push.go",
	"packaging/release/release.go",
	"packaging/sign/cosign.go", "packaging/sign/keys.go", "packaging/sign/minisign.go", "packaging/sign/sign.go",

	"internal/atomicfile/atomicfile.go",
	"packaging/authenticode/certificate.go", "packaging/dist.go", "packaging/oci/store.go",
	"installer/account_unix.go",
	"installer/broken.go",
	"internal/cachedir/list.go",
	"installer/host.go",
	"internal/buildstore/buildstore.go",
	"internal/cachedir/cachedir.go",
	"internal/buildstore/alone.go", "internal/buildstore/judge.go", "internal/buildstore/shared.go",
	"internal/cachedir/size.go", "internal/cachedir/sweep.go", "internal/cachedir/workspace.go",
	"internal/buildcache/buildcache.go",
	"internal/buildcache/copy.go",
	"internal/buildcache/list.go",
	"internal/buildcache/manifest.go",
	"internal/fetch/aptindex.go",
	"installer/verify.go",
	"internal/prove/ask.go", "internal/prove/log.go", "internal/prove/log_unix.go", "internal/prove/prove.go", "internal/prove/rights.go", "internal/prove/server.go",
	"internal/prove/trust.go", "internal/scratch/temp.go",
	"internal/registry/keychain.go",
	"installer/place/copy.go", "installer/place/errors.go", "installer/place/journal.go", "installer/place/lock.go", "installer/place/move.go",
	"installer/place/obstacle.go", "installer/place/obstacle_linux.go", "installer/place/place.go",
	"installer/place/plan.go", "installer/place/recover.go", "installer/place/request.go", "installer/place/rename.go", "installer/place/rename_linux.go", "installer/place/rename_unix.go",
	"installer/place/scope.go", "installer/place/transaction.go", "internal/flock/flock.go", "internal/flock/flock_unix.go",
}

const (
	stage    = "the stage is a private scratch directory; writes go through open directories"
	spelling = "it only finds the canonical spelling of a path, which is then opened from an open root, without links"
	callers  = "a directory that the caller chose; its contents are accessed through the open directory"
)

// exceptions are calls by path with the reason why they are safe there. The key is
// FILE:PACKAGE.FUNCTION, or DIRECTORY/*.go for every file of a package.
var exceptions = map[string]string{
	// The server root of the launcher. Files of other users are inspected here, but
	// not trusted.
	"express/config/included.go:filepath.WalkDir":       "lists the files of an Include; each path is then judged",
	"express/config/included.go:os.DirFS":               "lists the files of an Include; each path is then judged",
	"express/config/included.go:os.Stat":                "files that --include-file names, or that were already judged",
	"express/config/included.go:os.ReadFile":            "as os.Stat",
	"express/host/process.go:filepath.EvalSymlinks":     "compares the name of a program with that of a process",
	"express/host/process_linux.go:filepath.Glob":       "lists processes (proc)",
	"express/host/process_linux.go:os.ReadFile":         "files of the kernel (proc)",
	"express/host/process_linux.go:os.Readlink":         "a file of the kernel (proc)",
	"express/host/process_linux.go:os.Stat":             "files of the kernel (proc), and the program to compare one of them with",
	"express/instance/rights.go:os.Lstat":               "log files in a directory that may be another user's: refused or warned about, not opened",
	"express/supervise/supervise.go:os.Open":            "the null device",
	"express/supervise/watch.go:os.OpenFile":            "the null device",
	"express/instance/serverroot.go:os.OpenRoot":        "the parent of --log-directory and the like may be another user's: only a directory just created is given away",
	"internal/atomicfile/atomicfile.go:os.Stat":         "decides only on a refusal: the target of a link that is replaced, not followed",
	"packaging/authenticode/certificate.go:os.ReadFile": "a program just signed in the scratch directory",
	"packaging/dist.go:os.Lstat":                        "decides only whether to remove an empty directory at the end, through a handle",
	"packaging/dist.go:os.MkdirAll":                     "in a directory that nobody else can change, which Shared checked before",
	"packaging/dist.go:os.Rename":                       "as os.MkdirAll",
	"packaging/oci/store.go:os.Open":                    "layers in the scratch directory",
	"internal/archive/zip.go:os.CreateTemp":             "a private copy in the caller's build directory, made with O_EXCL",
	"internal/buildcache/buildcache.go:os.Lstat":        "a name for a new tree in the caller's private work directory",
	"internal/fetch/aptindex.go:os.ReadFile":            "/etc/os-release",
	"internal/fetch/aptindex.go:os.Stat":                "apt's helper in /usr/lib",
	"internal/prove/prove.go:os.Stat":                   "compares two prefixes, without showing them",
	"internal/prove/rights.go:filepath.EvalSymlinks":    "for a message",
	"internal/prove/server.go:os.Stat":                  "whether a file exists; what is executed is judged in trust.go",
	"internal/prove/trust.go:filepath.EvalSymlinks":     "a second directory to judge, for $ORIGIN",
	"installer/place/copy.go:os.Lstat":                  stage,
	"installer/place/copy.go:os.Open":                   stage,
	"installer/place/copy.go:os.ReadDir":                stage,
	"installer/place/copy.go:os.Readlink":               stage,
	"installer/place/plan.go:os.Lstat":                  stage,
	"installer/place/plan.go:os.ReadDir":                stage,
	"installer/place/scope.go:os.Lstat":                 spelling,
	"installer/place/scope.go:os.Stat":                  spelling,
	"installer/place/scope.go:filepath.EvalSymlinks":    spelling,
	"internal/flock/flock_unix.go:os.OpenFile":          callers,
	"internal/flock/flock_unix.go:os.OpenRoot":          callers,
	"internal/flock/flock_unix.go:os.Stat":              callers,
}

func TestFilesOfOthersAreOpenedInOnePlace(t *testing.T) {
	used := map[string]bool{}
	for file, calls := range callsByPath(t) {
		if below(path.Dir(file), mechanism) || slices.ContainsFunc(testHelpers, func(dir string) bool { return below(path.Dir(file), dir) }) {
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
				t.Errorf("%s:%d calls %s by path: use %s, or add the reason to exceptions", file, call.line, call.name, mechanism)
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

// callsByPath returns the calls by path of every file except tests.
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
