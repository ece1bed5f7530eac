//go:build unix

package prove

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// TestImports: a verification fails if the user's Python does not import the package, or
// imports another one.
func TestImports(t *testing.T) {
	if testing.Short() {
		t.Skip("-short starts no Python")
	}
	exe, err := run.LookPath("python3", os.Environ())
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	env := filepath.Join(dir, "env")
	var r run.Runner
	if err := r.Run(t.Context(), run.Cmd{Argv: []string{exe, "-m", "venv", "--without-pip", env}, Env: os.Environ()}); err != nil {
		t.Skipf("no environment: %v", err)
	}
	found, _ := filepath.Glob(filepath.Join(env, "lib", "python3*", "site-packages"))
	if len(found) != 1 {
		t.Fatal(found)
	}
	site := found[0]
	put := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	server := newServer(t)
	server.account = nil // another account cannot enter the test's directory
	try := func(site string) error {
		return server.imports(t.Context(), options(), Subject{Site: site, Python: &Python{Executable: filepath.Join(env, "bin", "python")}})
	}
	wants := func(err error, words ...string) {
		t.Helper()
		if err == nil || fault.ClassOf(err) != fault.Verify || !strings.Contains(fault.HintOf(err), "-c 'import mod_wsgi'") {
			t.Errorf("%v (%s)", err, fault.HintOf(err))
			return
		}
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%v lacks %q", err, w)
			}
		}
	}
	// A directory that this Python does not import from.
	unused := filepath.Join(env, "lib", "other", "site-packages")
	put(filepath.Join(unused, "mod_wsgi", "__init__.py"), "")
	wants(try(unused), "cannot import mod_wsgi", unused, "No module named")
	put(filepath.Join(site, "mod_wsgi", "__init__.py"), "print('text of the package')\n")
	if err := try(site); err != nil {
		t.Error(err)
	}
	wants(try(unused), "imports mod_wsgi from "+filepath.Join(site, "mod_wsgi"))
	put(filepath.Join(site, "mod_wsgi", "__init__.py"), "raise RuntimeError('it breaks')\n")
	wants(try(site), "it breaks")
	// Another package is found first.
	put(filepath.Join(site, "mod_wsgi", "__init__.py"), "")
	put(filepath.Join(site, "x.pth"), "import sys; sys.path.insert(0, "+pyString(unused)+")\n")
	wants(try(site), "imports mod_wsgi from "+filepath.Join(unused, "mod_wsgi"))
	if err := try(""); err != nil {
		t.Errorf("a stage: %v", err)
	}
	if caches, _ := filepath.Glob(filepath.Join(site, "mod_wsgi", "__pycache__")); len(caches) > 0 {
		t.Error("files were written into the package")
	}
}

func pyString(s string) string { return "'" + s + "'" }
