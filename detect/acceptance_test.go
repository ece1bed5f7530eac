//go:build acceptance && unix

package detect

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/run"
)

// TestEveryPythonHere looks at each real Python of this machine, and at an
// environment made from it.
func TestEveryPythonHere(t *testing.T) {
	pythons, _ := filepath.Glob(filepath.Join(os.Getenv("HOME"), ".pyenv", "versions", "3.*", "bin", "python3"))
	if len(pythons) == 0 {
		t.Skip("no pyenv here")
	}
	for _, exe := range append(pythons, "/usr/bin/python3") {
		t.Run(exe, func(t *testing.T) {
			base, err := find(t, Request{Python: exe})
			if err != nil {
				t.Fatal(err)
			}
			if err := base.CanBuild(); err != nil || !base.LibShared {
				t.Errorf("libpython %q: %v", base.LibPython, err)
			}
			dir := venv(t, exe, filepath.Join(t.TempDir(), "it's an env"))
			env, err := find(t, Request{Python: filepath.Join(dir, "bin", "python"), Env: os.Environ()})
			if err != nil {
				t.Fatal(err)
			}
			if env.Prefix != dir || env.BasePrefix != base.Prefix || env.LibPython != base.LibPython || env.Include != base.Include || env.SOABI != base.SOABI {
				t.Errorf("environment %+v\nof %+v", env, base)
			}
			checkAgainstSite(t, filepath.Join(dir, "bin", "python"), env)
			compareWithFiles(t, exe)
			compareWithFiles(t, filepath.Join(dir, "bin", "python"))
		})
	}
}

// checkAgainstSite compares our reading of pyvenv.cfg with the one of Python's
// own site module, which detection must not run.
func checkAgainstSite(t *testing.T, exe string, p *Python) {
	t.Helper()
	var r run.Runner
	out, err := r.Output(t.Context(), run.Cmd{Argv: []string{
		exe, "-I", "-c",
		"import sys, sysconfig; p = sysconfig.get_paths(); print(sys.prefix, sys.base_prefix, p['purelib'], p['platlib'], p['scripts'], sep='\\n')",
	}, Env: []string{"PATH=/usr/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	got := []string{p.Prefix, p.BasePrefix, p.Purelib, p.Platlib, p.Scripts}
	if want := strings.Split(strings.TrimSpace(string(out)), "\n"); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
