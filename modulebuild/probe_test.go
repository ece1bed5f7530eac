//go:build unix

package modulebuild

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
	"modwsgi/internal/toolchain"
)

// What the module needs of a Python is tried before a build.
func TestProbe(t *testing.T) {
	if testing.Short() {
		t.Skip("-short starts no compiler")
	}
	tools, err := toolchain.Find(t.Context(), &run.Runner{}, os.Environ(), t.TempDir())
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "lib.c"), []byte("const char *Py_GetVersion(void) { return \"3\"; }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, argv := range [][]string{{"-c", "-fPIC", "-o", "lib.o", "lib.c"}, {"-shared", "-fPIC", "-o", "libpython.so", "lib.c"}} {
		if err := new(run.Runner).Run(t.Context(), run.Cmd{Argv: append(tools.CC[:len(tools.CC):len(tools.CC)], argv...), Dir: dir, Env: tools.Env}); err != nil {
			t.Fatal(err)
		}
	}
	headers := filepath.Join(dir, "include")
	if err := os.Mkdir(headers, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(headers, "Python.h"), []byte("const char *Py_GetVersion(void);\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bare := filepath.Join(dir, "bare") // Python's headers alone
	if err := os.CopyFS(bare, os.DirFS(headers)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"httpd.h", "http_config.h"} {
		if err := os.WriteFile(filepath.Join(headers, name), []byte("\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tools.Family = "debian"
	shared := Python{LibShared: true, LibPython: "libpython.so", IncludeDirs: []string{headers}}
	for name, c := range map[string]struct {
		py         Python
		httpd      HTTPD
		says, hint string
	}{
		"shared":       {Python{LibShared: true, LibPython: "libpython.so", IncludeDirs: []string{headers}}, HTTPD{}, "", ""},
		"static":       {Python{LibPython: "lib.o", LinkLibs: []string{"-lm"}, IncludeDirs: []string{headers}}, HTTPD{}, "", ""},
		"no headers":   {Python{LibShared: true, LibPython: "libpython.so", IncludeDirs: []string{dir}}, HTTPD{}, "cannot build a module for Python 3.11.2", "apt-get install python3.11-dev"},
		"no library":   {Python{LibPython: "lib.o", LinkLibs: []string{"-lnosuch"}, IncludeDirs: []string{headers}}, HTTPD{}, "cannot build a module", "-lnosuch, which this Python's library needs"},
		"httpd":        {shared, HTTPD{Version: "2.4.1", IncludeDirs: []string{headers}, CPPFlags: []string{"-DNAME=1"}}, "", ""},
		"flags":        {shared, HTTPD{Version: "2.4.1", IncludeDirs: []string{headers}, CFlags: []string{"-O2", "-fno-such-hardening"}}, "Python 3.11.2 and httpd 2.4.1", "contain -fno-such-hardening, which"},
		"no httpd.h":   {Python{LibShared: true, LibPython: "libpython.so", IncludeDirs: []string{bare}}, HTTPD{Version: "2.4.1", IncludeDirs: []string{dir}}, "cannot build a module", "apt-get install apache2-dev"},
		"no libpython": {Python{LibShared: true, LibPython: "none.so", IncludeDirs: []string{headers}}, HTTPD{}, "cannot build a module", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c.py.Version, c.py.LibPython = "3.11.2", filepath.Join(dir, c.py.LibPython)
			err := Probe(t.Context(), &run.Runner{}, tools, c.py, c.httpd, t.TempDir())
			if c.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if fault.ClassOf(err) != fault.Environment || !strings.Contains(err.Error(), c.says) || !strings.Contains(fault.HintOf(err), c.hint) {
				t.Errorf("%v, hint %q", err, fault.HintOf(err))
			}
		})
	}
}
