//go:build unix

package site

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/fault"
	"modwsgi/internal/receipt"
)

// wheelWorld is a base Python, and the files of a wheel below site.
func wheelWorld(t *testing.T, site, soname string) (top string) {
	t.Helper()
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := receipt.Receipt{
		Module: receipt.Module{File: "m.so", Version: "5.0.2"}, Python: receipt.Python{Version: "3.11.2", Soname: soname},
		HTTPD: receipt.HTTPD{Executable: "mod_wsgi_packages/httpd/bin/httpd", ModulesDir: "mod_wsgi_packages/httpd/modules"},
	}
	for name, text := range map[string]string{
		"base/bin/python3.11": "", "base/bin/python3": "", "base/lib/python3.11/os.py": "",
		site + "/" + receipt.Path: string(r.Encode()), site + "/mod_wsgi/server/m.so": "",
	} {
		path := filepath.Join(top, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return top
}

func plantFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestWheelFindsItsPython(t *testing.T) {
	const lib = "libpython3.11.so.1.0"
	venv := func(top string) string { return "home = " + top + "/base/bin\nversion = 3.11.7\n" }
	for name, c := range map[string]struct {
		site, launcher string
		library        string // path of libpython
		venv           bool
		path           string // PATH, below top
		home           string // Python's home then
		apart          bool
	}{
		"environment":       {"env/lib/python3.11/site-packages", "env/bin", "base/lib", true, "", "env", false},
		"multiarch":         {"env/lib/python3.11/site-packages", "env/bin", "base/lib/x86_64-linux-gnu", true, "", "env", false},
		"lib64":             {"env/lib/python3.11/site-packages", "env/bin", "base/lib64", true, "", "env", false},
		"the Python itself": {"base/lib/python3.11/site-packages", "base/bin", "base/lib", false, "", "base", false},
		"target":            {"target", "target/bin", "base/lib", false, "base/bin", "base", true},
		"user":              {"home/.local/lib/python3.11/site-packages", "home/.local/bin", "base/lib", false, "base/bin", "base", true},
	} {
		t.Run(name, func(t *testing.T) {
			top := wheelWorld(t, c.site, lib)
			plantFile(t, filepath.Join(top, c.library, lib), "")
			if c.venv {
				plantFile(t, filepath.Join(top, "env/pyvenv.cfg"), venv(top))
			}
			in, err := Discover(filepath.Join(top, c.launcher, "mod_wsgi-express"))
			if err != nil {
				t.Fatal(err)
			}
			if err := in.settle([]string{"PATH=relative:" + filepath.Join(top, c.path)}); err != nil {
				t.Fatal(err)
			}
			if in.Home != filepath.Join(top, c.home) || in.apart != c.apart || in.SharedPython() != filepath.Join(top, c.library, lib) {
				t.Errorf("home %s, apart %v, library %s", in.Home, in.apart, in.SharedPython())
			}
			if err := in.CheckPython(); err != nil {
				t.Error(err)
			}
			if got := LoadModule(in, "m.so"); len(got) != 3 || !strings.HasPrefix(got[0].Line(), "LoadFile ") {
				t.Errorf("directives %v", got)
			}
			if paths := in.OwnPath(); (len(paths) == 1) != c.apart {
				t.Errorf("own path %v", paths)
			}
		})
	}
}

func TestWheelWithoutItsPython(t *testing.T) {
	top := wheelWorld(t, "env/lib/python3.11/site-packages", "libpython3.11.so.1.0")
	plantFile(t, filepath.Join(top, "env/pyvenv.cfg"), "home = "+top+"/base/bin\n")
	in, err := Discover(filepath.Join(top, "env/bin/mod_wsgi-express"))
	if err != nil {
		t.Fatal(err)
	}
	err = in.settle(nil)
	if fault.ClassOf(err) != fault.Environment || !strings.Contains(err.Error(), "has no libpython3.11.so.1.0") || !strings.Contains(fault.HintOf(err), "libpython3.11") {
		t.Errorf("no library: %v", err)
	}
	top = wheelWorld(t, "target", "")
	in, err = Discover(filepath.Join(top, "target/bin/mod_wsgi-express"))
	if err != nil {
		t.Fatal(err)
	}
	in.Receipt.Python.Version = "3.99.1" // a version that does not exist
	if err := in.settle([]string{"PATH=" + top + "/base/bin"}); fault.ClassOf(err) != fault.Environment || !strings.Contains(err.Error(), "for Python 3.99") {
		t.Errorf("no Python: %v", err)
	}
	// The interpreter is inside the module: nothing to load.
	top = wheelWorld(t, "base/lib/python3.11/site-packages", "")
	in, err = Discover(filepath.Join(top, "base/bin/mod_wsgi-express"))
	if err != nil {
		t.Fatal(err)
	}
	if err := in.settle(nil); err != nil || in.SharedPython() != "" || len(LoadModule(in, "m.so")) != 2 {
		t.Errorf("static: %v, %q", err, in.SharedPython())
	}
}
