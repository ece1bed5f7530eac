package express

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"modwsgi/express/config"
	"modwsgi/express/site"
	"modwsgi/internal/elf/elftest"
	"modwsgi/internal/fault"
	"modwsgi/internal/freeport"
	"modwsgi/internal/receipt"
)

// pythonFile writes what stands for a libpython or an interpreter of 3.MINOR.PATCH.
func pythonFile(t *testing.T, path string, minor, patch int) {
	t.Helper()
	_ = os.Remove(path)
	plantText(t, path, string(elftest.File{Exports: map[string][]byte{
		"Py_InitializeEx": nil, "Py_Version": elftest.Words(uint32(0x030000f0|minor<<16|patch<<8), 0),
	}}.Bytes()))
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

// pythonWorld is an environment with a module for a shared libpython, and the Python
// 3.11.2 below it.
func pythonWorld(t *testing.T, edit func(dir string, r *receipt.Receipt)) (dir, exe string) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	exe, _ = fakeInstall(t, dir, func(r *receipt.Receipt) {
		r.Python.Prefix, r.Python.LibPython = dir, filepath.Join(dir, "base", "lib", "libpython3.11.so.1.0")
		if edit != nil {
			edit(dir, r)
		}
	})
	pythonFile(t, filepath.Join(dir, "base/bin/python3.11"), 11, 2)
	pythonFile(t, filepath.Join(dir, "base/lib/libpython3.11.so.1.0"), 11, 2)
	if err := os.Symlink(filepath.Join(dir, "base/bin/python3.11"), filepath.Join(dir, "bin/python3")); err != nil {
		t.Fatal(err)
	}
	return dir, exe
}

// TestModuleFitsThePythonOfToday: what may change below an environment, and what the
// launcher refuses before it announces anything.
func TestModuleFitsThePythonOfToday(t *testing.T) {
	static := func(dir string, r *receipt.Receipt) { r.Python.LibPython = filepath.Join(dir, "libpython3.11.a") }
	for name, c := range map[string]struct {
		was    func(dir string, r *receipt.Receipt)
		change func(t *testing.T, dir string)
		want   string // "" for a module that fits
	}{
		"nothing":    {},
		"everything": {change: func(t *testing.T, dir string) { upgradeTo(t, dir, "bin/python3.11", "lib/libpython3.11.so.1.0") }},
		"the Python without the library": {
			change: func(t *testing.T, dir string) { upgradeTo(t, dir, "bin/python3.11") },
			want:   "loads the libpython of Python 3.11.2",
		},
		"the library without the Python": {
			change: func(t *testing.T, dir string) { upgradeTo(t, dir, "lib/libpython3.11.so.1.0") },
			want:   "loads the libpython of Python 3.11.9",
		},
		"the library no longer exists": {
			change: func(t *testing.T, dir string) { _ = os.Remove(filepath.Join(dir, "base/lib/libpython3.11.so.1.0")) },
			want:   "no longer exists",
		},
		"static":           {was: static},
		"static, upgraded": {was: static, change: func(t *testing.T, dir string) { upgradeTo(t, dir, "bin/python3.11") }, want: "contains the interpreter of Python 3.11.2"},
		"recreated with another version": {
			change: func(t *testing.T, dir string) {
				pythonFile(t, filepath.Join(dir, "base/bin/python3.12"), 12, 1)
				plantText(t, filepath.Join(dir, "base/lib/python3.12/os.py"), "")
				plantText(t, filepath.Join(dir, "pyvenv.cfg"), "home = "+dir+"/base/bin\nversion = 3.12.1\n")
				_ = os.Remove(filepath.Join(dir, "bin/python3"))
				if err := os.Symlink(filepath.Join(dir, "base/bin/python3.12"), filepath.Join(dir, "bin/python3")); err != nil {
					t.Fatal(err)
				}
			},
			want: "built for Python 3.11.2, the environment's is 3.12.1",
		},
		"an interpreter of unknown version": {change: func(t *testing.T, dir string) {
			_ = os.Remove(filepath.Join(dir, "base/bin/python3.11"))
			plantText(t, filepath.Join(dir, "base/bin/python3.11"), "#!/bin/sh\n")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, exe := pythonWorld(t, c.was)
			if c.change != nil {
				c.change(t, dir)
			}
			in, err := site.Discover(exe)
			if err != nil {
				t.Fatal(err)
			}
			err = in.CheckPython()
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(fault.HintOf(err), "modwsgi install --python "+dir) {
				t.Errorf("%v, hint %q", err, fault.HintOf(err))
			}
			app := filepath.Join(dir, "app.wsgi")
			plantText(t, app, "")
			start := []string{"start-server", app, "--server-root", filepath.Join(dir, "r"), "--port", strconv.Itoa(freeport.Get(t))}
			if os.Geteuid() == 0 {
				start = append(start, "--user", "nobody")
			}
			for _, args := range [][]string{start, {"module-config"}} {
				code, stdout, stderr := runProgram(t, &Invocation{Executable: exe, Dir: dir, Env: []string{"LANG=C.UTF-8"}}, args...)
				if code != 1 || stdout != "" || !strings.Contains(stderr, c.want) {
					t.Errorf("%q: %d, %q, %q", args, code, stdout, stderr)
				}
			}
			if config.Exists(filepath.Join(dir, "r")) {
				t.Error("a server root was created")
			}
		})
	}
}

// upgradeTo replaces files of the base Python with those of 3.11.9.
func upgradeTo(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		pythonFile(t, filepath.Join(dir, "base", name), 11, 9)
	}
}
