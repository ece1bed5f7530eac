//go:build unix

package detect

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// cc compiles C with the host's compiler. Without one the test is skipped.
func cc(t *testing.T, output, source string, flags ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short starts no compiler")
	}
	env := []string{"PATH=/usr/local/bin:/usr/bin:/bin", "TMPDIR=" + t.TempDir()}
	if _, err := run.LookPath("cc", env); err != nil || runtime.GOOS != "linux" {
		t.Skip("no C compiler for ELF here")
	}
	if err := os.MkdirAll(filepath.Dir(output), 0o755); err != nil {
		t.Fatal(err)
	}
	in := filepath.Join(t.TempDir(), "in.c")
	write(t, in, source, 0o644)
	var r run.Runner
	if err := r.Run(t.Context(), run.Cmd{Argv: append([]string{"cc", in, "-o", output}, flags...), Env: env}); err != nil {
		t.Fatal(err)
	}
}

// sharedPython makes a shared library that looks like a libpython.
func sharedPython(t *testing.T, path, version string, hex uint32) {
	t.Helper()
	source := fmt.Sprintf("const char *v = %q; void Py_InitializeEx(int i) {}\n", version)
	if hex != 0 {
		source += fmt.Sprintf("const unsigned long Py_Version = %#x;\n", hex)
	}
	cc(t, path, source, "-shared", "-fPIC", "-Wl,-soname,"+filepath.Base(path))
}

// staticPython makes a static library of one member; -DVERSION="3.12.1" among the
// flags gives it a version.
func staticPython(t *testing.T, path string, flags ...string) {
	t.Helper()
	object := filepath.Join(t.TempDir(), "getversion.o")
	cc(t, object, "int data; int *Py_Thing(void) { return &data; }\n#ifdef VERSION\nconst char *Py_GetVersion(void) { return VERSION; }\n#endif\n", append(flags, "-c", "-O1")...)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	var r run.Runner
	if err := r.Run(t.Context(), run.Cmd{Argv: []string{"ar", "rcs", path, object}, Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin"}}); err != nil {
		t.Skip("no ar here")
	}
}

// layout is a Python installation around a fake interpreter that answers like a
// python-build-standalone one: sysconfig names the directory /install, where it was
// built and nothing exists now
// (https://gregoryszorc.com/docs/python-build-standalone/main/quirks.html).
func layout(t *testing.T, prefix string, vars map[string]string) {
	t.Helper()
	all := map[string]string{
		"INSTSONAME": "libpython3.12.so.1.0", "LDLIBRARY": "libpython3.12.so", "LIBDIR": "/install/lib", "LIBRARY": "libpython3.12.a",
		"LIBPL": "/install/lib/python3.12/config-3.12-x86_64-linux-gnu", "INCLUDEPY": "/install/include/python3.12",
		"SOABI": "cpython-312-x86_64-linux-gnu", "Py_ENABLE_SHARED": "1",
	}
	for k, v := range vars {
		all[k] = v
	}
	site := prefix + "/lib/python3.12/site-packages"
	text, err := json.Marshal(map[string]any{
		"implementation": "cpython", "version": "3.12.1", "major": 3, "minor": 12, "prefix": prefix, "base_prefix": prefix, "exec_prefix": prefix,
		"paths": map[string]string{"purelib": site, "platlib": site, "scripts": prefix + "/bin", "include": "/install/include/python3.12", "stdlib": prefix + "/lib/python3.12"},
		"vars":  all,
	})
	if err != nil {
		t.Fatal(err)
	}
	fakeInterpreter(t, prefix+"/bin/python3", reply(string(text)))
}

func headers(t *testing.T, dir string, minor int) {
	t.Helper()
	write(t, dir+"/Python.h", "", 0o644)
	write(t, dir+"/pyconfig.h", "", 0o644)
	write(t, dir+"/patchlevel.h", fmt.Sprintf("#define PY_MAJOR_VERSION        3\n# define PY_MINOR_VERSION %d\n", minor), 0o644)
}

func TestLibraryByExistence(t *testing.T) {
	const name = "libpython3.12.so.1.0"
	for title, tt := range map[string]struct {
		vars map[string]string
		make func(t *testing.T, prefix string)
		want string // below the prefix
		pic  bool
	}{
		"moved": {make: func(t *testing.T, p string) { sharedPython(t, p+"/lib/"+name, "3.12.1", 0x030c01f0) }, want: "lib/" + name, pic: true},
		"lib64": {make: func(t *testing.T, p string) { sharedPython(t, p+"/lib64/"+name, "3.12.1", 0) }, want: "lib64/" + name, pic: true},
		"multiarch": {
			vars: map[string]string{"MULTIARCH": "x86_64-linux-gnu"},
			make: func(t *testing.T, p string) { sharedPython(t, p+"/lib/x86_64-linux-gnu/"+name, "3.12.1", 0x030c01f0) },
			want: "lib/x86_64-linux-gnu/" + name, pic: true,
		},
		"by its short name only": {
			make: func(t *testing.T, p string) {
				sharedPython(t, p+"/lib/deep/"+name, "3.12.1", 0x030c01f0)
				symlink(t, "deep/"+name, p+"/lib/libpython3.12.so")
			}, want: "lib/deep/" + name, pic: true,
		},
		"SONAME is gone": {make: func(t *testing.T, p string) {
			sharedPython(t, p+"/lib/"+name, "3.12.1", 0x030c01f0)
			if err := os.Rename(p+"/lib/"+name, p+"/lib/libpython3.12.so"); err != nil {
				t.Fatal(err)
			}
		}},
		"another patch level":         {make: func(t *testing.T, p string) { sharedPython(t, p+"/lib/"+name, "3.12.9", 0x030c09f0) }},
		"another patch level by text": {make: func(t *testing.T, p string) { sharedPython(t, p+"/lib/"+name, "3.12.9", 0) }},
		"stub of the stable ABI": {make: func(t *testing.T, p string) {
			cc(t, p+"/lib/libpython3.so", "int x;", "-shared", "-fPIC")
		}},
		"not the interpreter": {make: func(t *testing.T, p string) { cc(t, p+"/lib/"+name, "int x;", "-shared", "-fPIC") }},
		"text":                {make: func(t *testing.T, p string) { write(t, p+"/lib/"+name, "INPUT(x)", 0o644) }},
		"static": {
			make: func(t *testing.T, p string) { staticPython(t, p+"/lib/libpython3.12.a", "-fPIC") },
			want: "lib/libpython3.12.a", pic: true,
		},
		"static, not PIC": {
			make: func(t *testing.T, p string) { staticPython(t, p+"/lib/libpython3.12.a", "-fPIE") },
			want: "lib/libpython3.12.a",
		},
		"static, both": {
			make: func(t *testing.T, p string) {
				staticPython(t, p+"/lib/libpython3.12.a", "-fPIE")
				staticPython(t, p+"/lib/python3.12/config-3.12/libpython3.12-pic.a", "-fPIC")
			}, want: "lib/python3.12/config-3.12/libpython3.12-pic.a", pic: true,
		},
		"static, of this patch level": {
			make: func(t *testing.T, p string) {
				staticPython(t, p+"/lib/libpython3.12.a", "-fPIC", "-DVERSION=\"3.12.1\"")
			},
			want: "lib/libpython3.12.a", pic: true,
		},
		"static, of another patch level": {
			make: func(t *testing.T, p string) {
				staticPython(t, p+"/lib/libpython3.12.a", "-fPIC", "-DVERSION=\"3.12.9\"")
			},
		},
		"static, of another patch level and of this one": {
			make: func(t *testing.T, p string) {
				staticPython(t, p+"/lib/libpython3.12-pic.a", "-fPIC", "-DVERSION=\"3.12.9\"")
				staticPython(t, p+"/lib/python3.12/config-3.12/libpython3.12.a", "-fPIC", "-DVERSION=\"3.12.1\"")
			}, want: "lib/python3.12/config-3.12/libpython3.12.a", pic: true,
		},
		"of the directory that sysconfig names, and beside the standard library": {
			vars: map[string]string{"LIBDIR": "LIBDIR"},
			make: func(t *testing.T, p string) {
				sharedPython(t, p+"/other/"+name, "3.12.1", 0x030c01f0)
				sharedPython(t, p+"/lib/"+name, "3.12.1", 0x030c01f0)
			}, want: "lib/" + name, pic: true,
		},
		"only in the directory that sysconfig names": {
			vars: map[string]string{"LIBDIR": "LIBDIR"},
			make: func(t *testing.T, p string) { sharedPython(t, p+"/other/"+name, "3.12.1", 0x030c01f0) },
			want: "other/" + name, pic: true,
		},
		"shared is better": {
			make: func(t *testing.T, p string) {
				staticPython(t, p+"/lib/libpython3.12.a", "-fPIC")
				sharedPython(t, p+"/lib/"+name, "3.12.1", 0x030c01f0)
			}, want: "lib/" + name, pic: true,
		},
		"hostile names": {vars: map[string]string{"INSTSONAME": "../../etc/passwd", "LIBRARY": "/etc/passwd", "LIBDIR": "relative"}, make: func(*testing.T, string) {}},
	} {
		t.Run(title, func(t *testing.T) {
			prefix := filepath.Join(t.TempDir(), "py thon")
			if tt.vars["LIBDIR"] == "LIBDIR" {
				tt.vars["LIBDIR"] = prefix + "/other"
			}
			layout(t, prefix, tt.vars)
			headers(t, prefix+"/include/python3.12", 12)
			tt.make(t, prefix)
			p, err := find(t, Request{Python: prefix})
			if err != nil {
				t.Fatal(err)
			}
			want := ""
			if tt.want != "" {
				want = filepath.Join(prefix, tt.want)
			}
			if p.LibPython != want || p.LibPIC != tt.pic || p.LibShared != strings.Contains(tt.want, ".so") {
				t.Errorf("libpython %q, shared %v, PIC %v, want %q\n%+v", p.LibPython, p.LibShared, p.LibPIC, want, p.Evidence)
			}
			if err := p.CanBuild(); (err == nil) != tt.pic || err != nil && fault.HintOf(err) == "" {
				t.Errorf("CanBuild: %v, hint %q", err, fault.HintOf(err))
			}
		})
	}
}

func TestHeadersAreValidated(t *testing.T) {
	for title, tt := range map[string]struct {
		make            func(t *testing.T, prefix string)
		include, config string
	}{
		"none":    {make: func(*testing.T, string) {}},
		"of 3.11": {make: func(t *testing.T, p string) { headers(t, p+"/include/python3.12", 11) }},
		"of 3.12": {make: func(t *testing.T, p string) { headers(t, p+"/include/python3.12", 12) }, include: "include/python3.12"},
		"no Python.h": {make: func(t *testing.T, p string) {
			headers(t, p+"/include/python3.12", 12)
			remove(t, p+"/include/python3.12/Python.h")
		}},
		"no version": {make: func(t *testing.T, p string) {
			headers(t, p+"/include/python3.12", 12)
			remove(t, p+"/include/python3.12/patchlevel.h")
		}},
		"no pyconfig.h": {make: func(t *testing.T, p string) {
			headers(t, p+"/include/python3.12", 12)
			remove(t, p+"/include/python3.12/pyconfig.h")
		}},
		"multiarch": {make: func(t *testing.T, p string) {
			headers(t, p+"/include/python3.12", 12)
			remove(t, p+"/include/python3.12/pyconfig.h")
			write(t, p+"/include/x86_64-linux-gnu/python3.12/pyconfig.h", "", 0o644)
		}, include: "include/python3.12", config: "include/x86_64-linux-gnu/python3.12"},
	} {
		t.Run(title, func(t *testing.T) {
			prefix := t.TempDir()
			layout(t, prefix, map[string]string{"MULTIARCH": "x86_64-linux-gnu"})
			tt.make(t, prefix)
			p, err := find(t, Request{Python: prefix})
			if err != nil {
				t.Fatal(err)
			}
			below := func(s string) string {
				if s == "" {
					return ""
				}
				return filepath.Join(prefix, s)
			}
			if p.Include != below(tt.include) || p.PlatInclude != below(tt.config) {
				t.Errorf("include %q, pyconfig.h in %q\n%+v", p.Include, p.PlatInclude, p.Evidence)
			}
			if err := p.CanBuild(); tt.include == "" && (err == nil || !strings.Contains(err.Error(), "Python.h of Python 3.12.1")) {
				t.Errorf("CanBuild: %v", err)
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func TestExternallyManagedMarker(t *testing.T) {
	prefix := t.TempDir()
	layout(t, prefix, nil)
	marker := filepath.Join(prefix, "lib", "python3.12", "EXTERNALLY-MANAGED")
	p, err := find(t, Request{Python: prefix})
	if err != nil || p.Externally != "" {
		t.Errorf("without a marker: %+v, %v", p, err)
	}
	write(t, marker, "[externally-managed]\n", 0o644)
	if p, err = find(t, Request{Python: prefix}); err != nil || p.Externally != marker {
		t.Errorf("with one: %+v, %v", p, err)
	}
}

// TestRefusedLibraryIsNamed: the only library has another patch version.
func TestRefusedLibraryIsNamed(t *testing.T) {
	prefix := t.TempDir()
	layout(t, prefix, nil)
	headers(t, prefix+"/include/python3.12", 12)
	staticPython(t, prefix+"/lib/libpython3.12.a", "-fPIC", "-DVERSION=\"3.12.9\"")
	p, err := find(t, Request{Python: prefix})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.CanBuild(); err == nil || !strings.Contains(err.Error(), prefix+"/lib/libpython3.12.a was found, but it is of Python 3.12.9") {
		t.Errorf("%v", err)
	}
}

// TestLibraryFollowsStandardLibrary: the base prefix goes through a link that an
// upgrade moves, whereas the interpreter's own run path names the link's present
// target.
func TestLibraryFollowsStandardLibrary(t *testing.T) {
	top := t.TempDir()
	real, stable := filepath.Join(top, "3.12.1"), filepath.Join(top, "3.12")
	layout(t, real, map[string]string{"LIBDIR": real + "/lib"})
	headers(t, real+"/include/python3.12", 12)
	sharedPython(t, real+"/lib/libpython3.12.so.1.0", "3.12.1", 0x030c01f0)
	symlink(t, "3.12.1", stable)
	behaviour := filepath.Join(real, "bin", "behaviour")
	text, err := os.ReadFile(behaviour)
	if err != nil {
		t.Fatal(err)
	}
	write(t, behaviour, strings.ReplaceAll(string(text), `"base_prefix":"`+real+`"`, `"base_prefix":"`+stable+`"`), 0o644)
	p, err := find(t, Request{Python: real})
	if err != nil {
		t.Fatal(err)
	}
	if want := stable + "/lib/libpython3.12.so.1.0"; p.LibPython != want {
		t.Errorf("libpython %q, want %q\n%+v", p.LibPython, want, p.Evidence)
	}
}

// TestLibraryPathOfTheCaller: a library path may change which Python an interpreter
// is, so it is used only if the interpreter does not start without it.
func TestLibraryPathOfTheCaller(t *testing.T) {
	prefix := t.TempDir()
	layout(t, prefix, nil)
	behaviour := filepath.Join(prefix, "bin", "behaviour")
	text, err := os.ReadFile(behaviour)
	if err != nil {
		t.Fatal(err)
	}
	_, own, _ := strings.Cut(string(text), "\n")
	other := strings.ReplaceAll(own, "3.12.1", "3.12.9")
	for name, c := range map[string]struct{ says, version string }{
		"starts without": {own + "\n---\n" + other, "3.12.1"},
		"needs it":       {"\n---\n" + other, "3.12.9"},
	} {
		write(t, behaviour, "library path\n"+c.says, 0o644)
		p, err := find(t, Request{Python: prefix, Env: []string{"LD_LIBRARY_PATH=/x"}})
		if err != nil || p.Version != c.version {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}
