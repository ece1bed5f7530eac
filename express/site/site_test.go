//go:build unix

package site

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/detect"
	"modwsgi/internal/elf/elftest"
	"modwsgi/internal/fault"
	"modwsgi/internal/receipt"
)

const moduleFile = "mod_wsgi-py311.so"

// install creates a virtual environment with a module, and the Python below it in
// dir/base.
func install(t *testing.T, dir string, edit func(*receipt.Receipt)) (exe, packages string) {
	t.Helper()
	packages, exe = filepath.Join(dir, "lib", "python3.11", "site-packages"), filepath.Join(dir, "bin", "mod_wsgi-express")
	r := receipt.Receipt{
		Module: receipt.Module{File: moduleFile, Version: "5.0.2"},
		Python: receipt.Python{Version: "3.11.2", Prefix: "/where/it/was", BasePrefix: filepath.Join(dir, "base")},
		HTTPD:  receipt.HTTPD{Executable: "mod_wsgi_packages/httpd/bin/httpd", ModulesDir: "mod_wsgi_packages/httpd/modules"},
	}
	if edit != nil {
		edit(&r)
	}
	for name, text := range map[string]string{
		exe: "#!", filepath.Join(packages, receipt.Path): string(r.Encode()), filepath.Join(packages, "mod_wsgi/server", moduleFile): "",
		filepath.Join(dir, "pyvenv.cfg"):                "home = " + filepath.Join(dir, "base", "bin") + "\nversion = 3.11.2\n",
		filepath.Join(dir, "base/lib/python3.11/os.py"): "", filepath.Join(dir, "base/bin/python"): "",
	} {
		program(t, name, text)
	}
	return exe, packages
}

// receiptIn writes a receipt and its module below a site-packages directory.
func receiptIn(t *testing.T, packages, version string) {
	t.Helper()
	r := receipt.Receipt{Module: receipt.Module{File: "m.so", Version: version}, Python: receipt.Python{Version: "3.11.2", Prefix: "/where/it/was"}}
	plantFile(t, filepath.Join(packages, receipt.Path), string(r.Encode()))
	plantFile(t, filepath.Join(packages, "mod_wsgi/server/m.so"), "")
}

func TestDiscover(t *testing.T) {
	base := realTemp(t)
	dir := filepath.Join(base, "an [odd] env's dir*")
	exe, packages := install(t, dir, nil)
	link, second, whole := filepath.Join(base, "links", "serve"), filepath.Join(base, "second"), filepath.Join(base, "whole")
	if err := errors.Join(os.Mkdir(filepath.Dir(link), 0o755), os.Symlink(exe, link), os.Symlink("links/serve", second), os.Symlink(dir, whole), os.Symlink("loop", filepath.Join(base, "loop"))); err != nil {
		t.Fatal(err)
	}
	for what, paths := range map[string][]string{
		"its path": {exe}, "a link": {link}, "a link to a link": {second}, "the second path": {filepath.Join(base, "none", "x"), exe},
		"an empty path first": {"", exe}, "a loop first": {filepath.Join(base, "loop"), exe},
	} {
		in, err := Discover(paths...)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if in.Packages != packages || in.Home != dir || in.Launcher != exe || in.Module != filepath.Join(packages, "mod_wsgi/server", moduleFile) ||
			in.Receipt.HTTPD.Executable != filepath.Join(packages, "mod_wsgi_packages/httpd/bin/httpd") {
			t.Errorf("%s: %+v", what, in)
		}
		if err := in.CheckPython(); err != nil || in.Stdlib != filepath.Join(dir, "base/lib/python3.11") {
			t.Errorf("%s: %v, standard library %s", what, err, in.Stdlib)
		}
	}
	if in, err := Discover(filepath.Join(whole, "bin", "mod_wsgi-express")); err != nil || in.Home != whole {
		t.Errorf("through a link to the environment: %+v %v", in, err)
	}
}

// TestFindFails has a row for each reason why there is no environment to serve with.
func TestFindFails(t *testing.T) {
	for _, c := range []struct {
		what  string
		spoil func(dir, packages string) error
		want  string
		hint  string
	}{
		{"not installed", func(_, packages string) error { return os.RemoveAll(packages) }, "no mod_wsgi is installed in DIR (there is no mod_wsgi/server/build.json", "modwsgi install --python DIR"},
		{"no module", func(_, packages string) error {
			return os.Remove(filepath.Join(packages, "mod_wsgi/server", moduleFile))
		}, "the module DIR/lib/python3.11/site-packages/mod_wsgi/server/" + moduleFile, "modwsgi install --python DIR"},
		{"an empty receipt", func(_, packages string) error {
			return os.WriteFile(filepath.Join(packages, receipt.Path), nil, 0o644)
		}, "it is damaged", "modwsgi install"},
		{"a receipt that was cut off", func(_, packages string) error {
			return os.Truncate(filepath.Join(packages, receipt.Path), 50)
		}, "it is damaged", "modwsgi install"},
		{"another schema", func(_, packages string) error {
			return os.WriteFile(filepath.Join(packages, receipt.Path), []byte(`{"schema": 99, "tool": "9.9"}`), 0o644)
		}, "modwsgi 9.9 wrote it with schema 99", "modwsgi install"},
		{"a module elsewhere", func(_, packages string) error {
			return os.WriteFile(filepath.Join(packages, receipt.Path), []byte(`{"schema": 1, "module": {"file": "../../../m.so"}}`), 0o644)
		}, "is not the name of a module", "modwsgi install"},
		{"an httpd outside the environment", func(_, packages string) error {
			return os.WriteFile(filepath.Join(packages, receipt.Path), []byte(`{"schema": 1, "httpd": {"executable": "../../httpd"}}`), 0o644)
		}, "leads out of the environment", "modwsgi install"},
		{"a receipt that is a directory", func(_, packages string) error {
			name := filepath.Join(packages, receipt.Path)
			return errors.Join(os.Remove(name), os.Mkdir(name, 0o755))
		}, "is a directory", "modwsgi install"},
	} {
		dir := filepath.Join(realTemp(t), "env")
		exe, packages := install(t, dir, nil)
		if err := c.spoil(dir, packages); err != nil {
			t.Fatal(err)
		}
		in, err := Find(nil, exe)
		refused(t, c.what, err, fault.Environment, strings.ReplaceAll(c.want, "DIR", dir), strings.ReplaceAll(c.hint, "DIR", dir))
		if in != nil {
			t.Errorf("%s: %+v", c.what, in)
		}
	}
	_, err := Find(nil, filepath.Join(realTemp(t), "bin", "x"))
	refused(t, "no environment", err, fault.Environment, "no mod_wsgi is installed in", "modwsgi install --python")
	if _, err := Find(nil); fault.ClassOf(err) != fault.Internal || err == nil {
		t.Errorf("without a path: %v", err)
	}
}

// TestSitePackagesOfSeveralPythons: the version in pyvenv.cfg decides.
func TestSitePackagesOfSeveralPythons(t *testing.T) {
	for _, c := range []struct{ what, cfg, dirs, want string }{
		{"one", "", "lib/python3.11/site-packages", "lib/python3.11/site-packages"},
		{"lib64", "", "lib64/python3.11/site-packages", "lib64/python3.11/site-packages"},
		{"Debian's", "", "local/lib/python3.11/dist-packages", "local/lib/python3.11/dist-packages"},
		{"pip install --target", "", ".", "."},
		{"free-threaded", "version = 3.13.1", "lib/python3.13t/site-packages", "lib/python3.13t/site-packages"},
		{"version", "version = 3.10.4", "lib/python3.10/site-packages lib/python3.11/site-packages", "lib/python3.10/site-packages"},
		{"virtualenv's version", "version_info = 3.10.4.final.0\nversion = 20.1", "lib/python3.10/site-packages lib/python3.11/site-packages", "lib/python3.10/site-packages"},
		{"a version that begins like another", "version = 3.1.4", "lib/python3.11/site-packages lib64/python3.1/site-packages local/lib/python3.11/dist-packages", "lib64/python3.1/site-packages"},
		{"the version of the prefix's name", "version = 3.10.4", "lib/python3.11/site-packages lib/python3.9/site-packages", "lib/python3.9/site-packages"},
		{"another version", "version = 3.12.0", "lib/python3.10/site-packages lib/python3.11/site-packages", "lib/python3.11/site-packages"},
		{"an incomplete version", "version = 3", "lib/python3.10/site-packages lib/python3.11/site-packages", "lib/python3.11/site-packages"},
	} {
		prefix := filepath.Join(realTemp(t), "python3.10", "env") // its name does not count
		for _, dir := range strings.Fields(c.dirs) {
			receiptIn(t, filepath.Join(prefix, dir), "5.0.2")
		}
		if c.cfg != "" {
			plantFile(t, filepath.Join(prefix, "pyvenv.cfg"), c.cfg)
		}
		in, err := Discover(filepath.Join(prefix, "bin", "mod_wsgi-express"))
		if err != nil || in.Packages != filepath.Join(prefix, c.want) {
			t.Errorf("%s: %+v %v", c.what, in, err)
		}
	}
}

func TestSettings(t *testing.T) {
	for _, c := range []struct {
		text string
		want map[string]string
	}{
		{"", map[string]string{}},
		{"home = /usr/bin\nversion=3.11.2", map[string]string{"home": "/usr/bin", "version": "3.11.2"}},
		{"Home=/usr/bin\r\nVERSION = 3\r\n", map[string]string{"home": "/usr/bin", "version": "3"}},
		{"prompt = a = b\n", map[string]string{"prompt": "a = b"}},
		{"no setting\n\n  home  =  /a b  \n", map[string]string{"home": "/a b"}},
		{"home = /first\nhome = /last\n", map[string]string{"home": "/last"}},
		{"home =\n", map[string]string{"home": ""}},
	} {
		dir := t.TempDir()
		plantFile(t, filepath.Join(dir, "pyvenv.cfg"), c.text)
		if got := Settings(dir); !maps.Equal(got, c.want) {
			t.Errorf("%q: %q", c.text, got)
		}
	}
	if got := Settings(t.TempDir()); got["home"] != "" || len(got) > 0 {
		t.Errorf("without a file: %q", got)
	}
}

// TestMovedEnvironmentKeepsItsOwnHome: the recorded prefix does not count.
func TestMovedEnvironmentKeepsItsOwnHome(t *testing.T) {
	base := realTemp(t)
	before, after := filepath.Join(base, "before"), filepath.Join(base, "after")
	install(t, before, func(r *receipt.Receipt) { r.Python.Prefix = before })
	if err := os.Rename(before, after); err != nil {
		t.Fatal(err)
	}
	in, err := Discover(filepath.Join(after, "bin", "mod_wsgi-express"))
	if err != nil || in.Home != after {
		t.Fatalf("%+v %v", in, err)
	}
}

// TestHomeOutsideAnEnvironment: pip install --target leaves no Python beside the
// launcher, so the recorded prefix counts.
func TestHomeOutsideAnEnvironment(t *testing.T) {
	for mark, is := range map[string]bool{"": false, "pyvenv.cfg": true, "conda-meta/history": true, "bin/python3": true, "bin/python": true, "bin/python3.11": false} {
		prefix := realTemp(t)
		receiptIn(t, filepath.Join(prefix, "lib/python3.11/site-packages"), "5.0.2")
		if mark != "" {
			plantFile(t, filepath.Join(prefix, mark), "")
		}
		want := "/where/it/was"
		if is {
			want = prefix
		}
		if in, err := Discover(filepath.Join(prefix, "bin", "mod_wsgi-express")); err != nil || in.Home != want {
			t.Errorf("with %q: %+v %v, want %s", mark, in, err, want)
		}
	}
}

// TestCheckPythonFails has a row for each part of the base Python that may disappear.
func TestCheckPythonFails(t *testing.T) {
	moved := "the Python below this environment was moved, upgraded or removed"
	for what, c := range map[string]struct {
		edit  func(*receipt.Receipt)
		spoil func(dir string) error
		want  string
		hint  string
	}{
		"the library": {
			edit: func(r *receipt.Receipt) { r.Python.LibPython = "/nonexistent/libpython3.11.so.1.0" },
			want: "/nonexistent/libpython3.11.so.1.0", hint: "modwsgi install --python DIR",
		},
		"the home of pyvenv.cfg": {
			spoil: func(dir string) error { return os.RemoveAll(filepath.Join(dir, "base", "bin")) },
			want:  "the directory DIR/base/bin, which pyvenv.cfg names as the base Python's, does not exist", hint: moved,
		},
		"all of it": {
			spoil: func(dir string) error { return os.RemoveAll(filepath.Join(dir, "base")) },
			want:  "the directory DIR/base/bin, which pyvenv.cfg names", hint: moved,
		},
		"the standard library": {
			spoil: func(dir string) error { return os.RemoveAll(filepath.Join(dir, "base", "lib")) },
			want:  "the standard library of Python 3.11.2 is neither below DIR/base nor below DIR/base", hint: moved,
		},
		"the version": {edit: func(r *receipt.Receipt) { r.Python.Version = "3" }, want: "the standard library of Python 3 is", hint: moved},
	} {
		dir := filepath.Join(realTemp(t), "env")
		exe, _ := install(t, dir, c.edit)
		if c.spoil != nil {
			if err := c.spoil(dir); err != nil {
				t.Fatal(err)
			}
		}
		in, err := Find(nil, exe)
		if err != nil {
			t.Fatal(err)
		}
		refused(t, what, in.CheckPython(), fault.Environment, strings.ReplaceAll(c.want, "DIR", dir), strings.ReplaceAll(c.hint, "DIR", dir))
	}
}

// TestStandardLibrary: where it is found, and in which order.
func TestStandardLibrary(t *testing.T) {
	for _, c := range []struct{ what, version, files, want string }{
		{"lib", "3.11.2", "a/lib/python3.11/os.py", "a/lib/python3.11"},
		{"lib64", "3.11.2", "a/lib64/python3.11/os.py", "a/lib64/python3.11"},
		{"compiled only", "3.11.2", "a/lib/python3.11/os.pyc", "a/lib/python3.11"},
		{"free-threaded", "3.13.0", "a/lib/python3.13t/os.py", "a/lib/python3.13t"},
		{"the second prefix", "3.11.2", "b/lib/python3.11/os.py", "b/lib/python3.11"},
		{"the first prefix", "3.11.2", "a/lib64/python3.11/os.py b/lib/python3.11/os.py", "a/lib64/python3.11"},
		{"another version", "3.1.1", "a/lib/python3.11/os.py", ""},
		{"an incomplete version", "3", "a/lib/python3/os.py", ""},
	} {
		top := realTemp(t)
		for _, name := range strings.Fields(c.files) {
			plantFile(t, filepath.Join(top, name), "")
		}
		want := c.want
		if want != "" {
			want = filepath.Join(top, want)
		}
		if got := findStdlib(c.version, filepath.Join(top, "a"), filepath.Join(top, "b")); got != want {
			t.Errorf("%s: %q, want %q", c.what, got, want)
		}
	}
}

// TestFits: the module is compared with the Python that its environment has today.
func TestFits(t *testing.T) {
	before := IdentifyPython
	t.Cleanup(func() { IdentifyPython = before })
	for _, c := range []struct {
		what   string
		today  string // Python's version; "" if it cannot be identified
		python string // its file in bin; "" for none
		want   string
	}{
		{"the same", "3.11.2", "python3", ""},
		{"upgraded below a static module", "3.11.9", "python3", "contains the interpreter of Python 3.11.2, but the environment's standard library is now 3.11.9"},
		{"another minor version", "3.12.2", "python3", "the module was built for Python 3.11.2, the environment's is 3.12.2"},
		{"by its other name", "3.12.2", "python", "the module was built for Python 3.11.2"},
		{"a Python that cannot be identified", "", "python3", ""},
		{"no Python", "3.12.2", "", ""},
		{"a Python that pyvenv.cfg does not belong to", "3.12.2", "python3.11", ""},
	} {
		dir := filepath.Join(realTemp(t), "env")
		exe, packages := install(t, dir, nil)
		if c.python != "" {
			plantFile(t, filepath.Join(dir, "bin", c.python), "")
		}
		IdentifyPython = func(path string) (*detect.Python, error) {
			if path != filepath.Join(dir, "bin", c.python) {
				t.Errorf("%s: %s is identified", c.what, path)
			}
			if c.today == "" {
				return nil, errors.New("not a Python interpreter")
			}
			return &detect.Python{Version: c.today}, nil
		}
		in, err := Discover(exe)
		if err != nil {
			t.Fatal(err)
		}
		err = in.Fits()
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", c.what, err)
			}
			continue
		}
		refused(t, c.what, err, fault.Environment, "the mod_wsgi in "+packages+" does not fit the Python of "+dir+": ", "build mod_wsgi again: modwsgi install --python "+dir)
		refused(t, c.what, err, fault.Environment, c.want, "")
		in.wheel = true
		refused(t, c.what+", from a wheel", in.Fits(), fault.Environment, c.want, "install the wheel that was made for this Python")
	}
}

// TestMovedWithItsPython: a libpython inside the environment moves with it (conda).
func TestMovedWithItsPython(t *testing.T) {
	base := realTemp(t)
	before, after := filepath.Join(base, "before"), filepath.Join(base, "after")
	const name = "lib/libpython3.11.so.1.0"
	exe, _ := install(t, after, func(r *receipt.Receipt) {
		r.Python.Prefix, r.Python.LibPython = before, filepath.Join(before, name)
	})
	lib := filepath.Join(after, name)
	plantFile(t, lib, string(elftest.File{Exports: map[string][]byte{"Py_InitializeEx": nil, "Py_Version": elftest.Words(0x030b02f0, 0)}}.Bytes()))
	in, err := Discover(exe)
	if err != nil {
		t.Fatal(err)
	}
	if err := in.CheckPython(); err != nil || in.SharedPython() != lib {
		t.Errorf("%v, library %q", err, in.SharedPython())
	}
	if err := os.Remove(lib); err != nil {
		t.Fatal(err)
	}
	refused(t, "without it", in.CheckPython(), fault.Environment, "no longer exists: "+lib, "modwsgi install --python "+after)
}

// TestLoadModule: libpython is loaded by its path, before the module asks for it by name.
func TestLoadModule(t *testing.T) {
	for _, c := range []struct{ library, want string }{
		{"", "LoadModule wsgi_module \"/m/x.so\"|WSGIPythonHome \"/my env\""},
		{"/lib/libpython3.11.so", "LoadFile \"/lib/libpython3.11.so\"|LoadModule wsgi_module \"/m/x.so\"|WSGIPythonHome \"/my env\""},
		{"/lib/libpython3.11.a", "LoadModule wsgi_module \"/m/x.so\"|WSGIPythonHome \"/my env\""},
		{"libpython3.11.so", "LoadModule wsgi_module \"/m/x.so\"|WSGIPythonHome \"/my env\""},
		{"/my env/lib/libpython3.11.so", "LoadFile \"/my env/lib/libpython3.11.so\"|LoadModule wsgi_module \"/m/x.so\"|WSGIPythonHome \"/my env\""},
	} {
		in := &Environment{Home: "/my env", Receipt: &receipt.Receipt{Python: receipt.Python{Prefix: "/my env", LibPython: c.library}}}
		var lines []string
		for _, d := range LoadModule(in, "/m/x.so") {
			lines = append(lines, d.Line())
		}
		if got := strings.Join(lines, "|"); got != c.want {
			t.Errorf("%q: %s, want %s", c.library, got, c.want)
		}
	}
}
