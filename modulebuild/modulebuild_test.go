//go:build unix

package modulebuild

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"debug/elf"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/internal/objgraph"
	"modwsgi/internal/run"
	"modwsgi/internal/steps"
	"modwsgi/internal/toolchain"
)

// sources is a tiny mod_wsgi.
func sources() map[string]string {
	return map[string]string{
		"src/server/wsgi_version.h": "#define MOD_WSGI_VERSION_STRING \"5.0.2\"\n",
		"src/server/mod_wsgi.c":     "#include \"wsgi_version.h\"\n#include <Python.h>\n#include <httpd.h>\nint wsgi_module = HTTPD; int use(void) { return python(); }\n",
		"src/server/wsgi_other.c":   "const char *wsgi_file(void) { return __FILE__; }\n",
		"src/server/extra.py":       "not compiled\n", "tests/broken.c": "not C\n", "LICENSE": "x\n",
	}
}

func pack(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		h := &tar.Header{Name: "mod_wsgi-5.0.2/" + name, Mode: 0o644, Size: int64(len(files[name])), Typeflag: tar.TypeReg}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(files[name])); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "mod_wsgi-5.0.2.tar.gz")
	write(t, name, b.String(), 0o600)
	return name
}

func write(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// request describes a module in a directory with an odd name; cc is a shell script in
// place of the compiler, "" for the real one.
func request(t *testing.T, files map[string]string, cc string) Request {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "a 'b' [c]=d,e")
	write(t, filepath.Join(dir, "py/Python.h"), "int python(void);\n", 0o644)
	write(t, filepath.Join(dir, "ap/httpd.h"), "#define HTTPD 24\n", 0o644)
	tools := &toolchain.Toolchain{CC: []string{"gcc"}, Compiler: "gcc 1", Target: "x86_64-linux", Libc: "glibc 2", Family: "debian", Env: []string{"PATH=/usr/bin:/bin"}}
	if cc != "" {
		write(t, filepath.Join(dir, "cc"), "#!/bin/sh\n"+cc, 0o755)
		tools.CC = []string{filepath.Join(dir, "cc")}
	}
	archive := pack(t, dir, files)
	sum, err := digest.File(archive)
	if err != nil {
		t.Fatal(err)
	}
	return Request{
		Version: "5.0.2", Archive: archive, SHA256: sum,
		Python: Python{
			Version: "3.11.2", SOABI: "cpython-311", ExtSuffix: ".cpython-311.so", IncludeDirs: []string{filepath.Join(dir, "py")},
			LibPython: filepath.Join(dir, "py/libpython3.11.so"), LibShared: true,
		},
		HTTPD: HTTPD{Version: "2.4.71", MMN: 1, IncludeDirs: []string{filepath.Join(dir, "ap")}, CPPFlags: []string{"-DLINUX"}},
		Tools: tools, Jobs: 2, Work: filepath.Join(dir, "work"), Out: filepath.Join(dir, "out"), Logs: filepath.Join(dir, "logs"), Runner: &run.Runner{},
	}
}

// real makes the request use the real compiler, with a libpython.
func real(t *testing.T, q *Request) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short starts no compiler")
	}
	// No headers of an httpd are here; every real build compiles the real one.
	ours := handover
	t.Cleanup(func() { handover = ours })
	handover = []byte("int handover_module;\n")
	src := filepath.Join(filepath.Dir(q.Work), "lib.c")
	write(t, src, "int python(void) { return 1; }\n", 0o600)
	err := q.Runner.Run(t.Context(), run.Cmd{
		Argv: []string{"gcc", "-shared", "-fPIC", "-Wl,-soname,libpython3.11.so", "-o", q.Python.LibPython, src}, Env: q.Tools.Env,
	})
	if err != nil {
		t.Skipf("gcc: %v", err)
	}
}

func nothingLeft(t *testing.T, q Request) {
	t.Helper()
	if entries, err := os.ReadDir(q.Out); err != nil && !os.IsNotExist(err) || len(entries) > 0 {
		t.Errorf("left in Out: %v, %v", entries, err)
	}
}

func TestFileName(t *testing.T) {
	for _, c := range [][3]string{
		{"3.11.2", ".cpython-311-x86_64-linux-gnu.so", "mod_wsgi-py311.cpython-311-x86_64-linux-gnu.so"},
		{"3.8.0", ".so", "mod_wsgi-py38.so"},
		{"3.13.0rc1", ".cpython-313t.so", "mod_wsgi-py313.cpython-313t.so"},
		{"3.14", ".so", "mod_wsgi-py314.so"},
		{"3", ".so", "mod_wsgi-py3.so"}, // no panic
	} {
		if got := FileName(c[0], c[1]); got != c[2] {
			t.Errorf("FileName(%q, %q) = %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

func TestInputs(t *testing.T) {
	base := func() *Request {
		return &Request{
			Version: "5.0.2", SHA256: "s", RunPath: "/x", Jobs: 1,
			Python: Python{Version: "3.11.2", SOABI: "a", ExtSuffix: ".so", IncludeDirs: []string{"/i"}, LibPython: "/l", LibShared: true, LinkLibs: []string{"-lm"}},
			HTTPD:  HTTPD{Version: "2.4.71", MMN: 1, IncludeDirs: []string{"/h"}, CPPFlags: []string{"-DX"}, CFlags: []string{"-O1"}},
			Tools:  &toolchain.Toolchain{CC: []string{"cc"}, Compiler: "c", Target: "t", Libc: "l"},
		}
	}
	keys := map[string]string{base().Inputs(): "nothing"}
	for name, change := range map[string]func(*Request){
		"version": func(q *Request) { q.Version = "5.0.3" }, "hash": func(q *Request) { q.SHA256 = "x" }, "run path": func(q *Request) { q.RunPath = "" },
		"python": func(q *Request) { q.Python.Version = "3.11.3" }, "abi": func(q *Request) { q.Python.SOABI = "b" },
		"includes": func(q *Request) { q.Python.IncludeDirs = []string{"/j"} }, "lib": func(q *Request) { q.Python.LibPython = "/m" },
		"static": func(q *Request) { q.Python.LibShared = false }, "libs": func(q *Request) { q.Python.LinkLibs = nil },
		"httpd": func(q *Request) { q.HTTPD.Version = "2.4.68" }, "mmn": func(q *Request) { q.HTTPD.MMN = 2 },
		"its includes": func(q *Request) { q.HTTPD.IncludeDirs = []string{"/k"} },
		"cppflags":     func(q *Request) { q.HTTPD.CPPFlags = nil }, "cflags": func(q *Request) { q.HTTPD.CFlags = nil },
		"cc": func(q *Request) { q.Tools.CC = []string{"cc", "-m32"} }, "compiler": func(q *Request) { q.Tools.Compiler = "d" },
		"target": func(q *Request) { q.Tools.Target = "u" }, "libc": func(q *Request) { q.Tools.Libc = "m" },
	} {
		q := base()
		change(q)
		if other, twice := keys[q.Inputs()]; twice {
			t.Errorf("%s and %s have the same inputs", name, other)
		}
		keys[q.Inputs()] = name
	}
	ours := handover
	handover = []byte("int other;\n")
	if _, twice := keys[base().Inputs()]; twice {
		t.Error("the source of mod_handover is not among the inputs")
	}
	handover = ours
	q := base()
	q.Jobs, q.Work, q.Out, q.Archive = 7, "/w", "/o", "/a"
	if keys[q.Inputs()] != "nothing" {
		t.Error("an input that does not affect the module is among the inputs")
	}
}

func TestBuildWithTheRealCompiler(t *testing.T) {
	var first string
	for _, name := range []string{"shared", "again", "ahead", "run path"} {
		t.Run(name, func(t *testing.T) {
			q := request(t, sources(), "")
			real(t, &q)
			if name == "run path" {
				q.RunPath = "/opt/a,b/$lib:c"
			}
			defer syscall.Umask(syscall.Umask(0o077))
			if name == "ahead" { // with headers in another directory
				early := q
				early.Slots, early.HTTPD.IncludeDirs = objgraph.NewPool(1), []string{q.HTTPD.IncludeDirs[0] + ".part"}
				if err := os.Symlink(q.HTTPD.IncludeDirs[0], early.HTTPD.IncludeDirs[0]); err != nil {
					t.Fatal(err)
				}
				q.Objects = Compile(t.Context(), early)
			}
			res, err := Build(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if len(res.Timings) != 4 || res.Unpacked != q.SHA256 {
				t.Errorf("steps %v, unpacked %s", res.Timings, res.Unpacked)
			}
			info, err := os.Stat(res.File)
			if err != nil || res.Name != "mod_wsgi-py311.cpython-311.so" || info.Mode().Perm() != 0o755 {
				t.Errorf("%+v, %v, %v", res, info, err)
			}
			beside, err := os.Stat(res.Handover)
			if err != nil || filepath.Dir(res.Handover) != filepath.Dir(res.File) || beside.Mode().Perm() != 0o755 {
				t.Errorf("mod_handover: %q, %v, %v", res.Handover, beside, err)
			}
			data, err := os.ReadFile(res.File)
			if err != nil || bytes.Contains(data, []byte(q.Work)) {
				t.Errorf("the module names the work directory, %v", err)
			}
			f, err := elf.Open(res.File)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = f.Close() }()
			libs, _ := f.ImportedLibraries()
			paths, _ := f.DynString(elf.DT_RUNPATH)
			if q.RunPath != "" {
				if !slices.Equal(paths, []string{q.RunPath}) {
					t.Errorf("run path %q", paths)
				}
				return
			}
			if !slices.Contains(libs, "libpython3.11.so") || len(paths) > 0 {
				t.Errorf("needs %v, run path %q", libs, paths)
			}
			if first == "" {
				first = res.SHA256
			}
			if res.SHA256 != first { // in another directory
				t.Error("the same sources gave another module")
			}
		})
	}
}

func TestWrongArchives(t *testing.T) {
	for name, c := range map[string]struct {
		change func(map[string]string)
		says   string
	}{
		"another version": {func(f map[string]string) {
			f["src/server/wsgi_version.h"] = "#define MOD_WSGI_VERSION_STRING \"4.9.4\"\n"
		}, "contains mod_wsgi 4.9.4, not 5.0.2"},
		"no version":      {func(f map[string]string) { f["src/server/wsgi_version.h"] = "\n" }, "does not contain its version"},
		"no version file": {func(f map[string]string) { delete(f, "src/server/wsgi_version.h") }, "has no src/server/wsgi_version.h"},
		"no C files": {func(f map[string]string) {
			delete(f, "src/server/mod_wsgi.c")
			delete(f, "src/server/wsgi_other.c")
		}, "no C files in src/server"},
	} {
		t.Run(name, func(t *testing.T) {
			files := sources()
			c.change(files)
			q := request(t, files, "echo compiled >\"$PWD/compiled\"\n")
			_, err := Build(t.Context(), q)
			if err == nil || !strings.Contains(err.Error(), c.says) || fault.ClassOf(err) != fault.Source || !strings.Contains(fault.HintOf(err), "source archive") {
				t.Errorf("got %v, class %v, hint %q", err, fault.ClassOf(err), fault.HintOf(err))
			}
			if _, err := os.Stat(filepath.Join(q.Work, "compiled")); err == nil {
				t.Error("something was compiled")
			}
			nothingLeft(t, q)
		})
	}
}

// An archive that was replaced after its verification, or never verified, is not
// compiled.
func TestReplacedArchiveIsNotCompiled(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "ran")
	q := request(t, sources(), "touch "+mark+"\n")
	files := sources()
	files["src/server/evil.c"] = "int evil;\n"
	evil := pack(t, t.TempDir(), files)
	if err := os.Rename(evil, q.Archive); err != nil {
		t.Fatal(err)
	}
	_, err := Build(t.Context(), q)
	var changed *digest.Changed
	if !errors.As(err, &changed) || changed.Want != q.SHA256 || fault.ClassOf(err) != fault.Source || fault.HintOf(err) == "" {
		t.Errorf("%v, class %v", err, fault.ClassOf(err))
	}
	q.SHA256 = ""
	if _, err := Build(t.Context(), q); err == nil {
		t.Error("an archive without a hash was built")
	}
	for _, name := range []string{mark, filepath.Join(q.Work, "src")} {
		if _, err := os.Lstat(name); err == nil {
			t.Errorf("%s exists", name)
		}
	}
	nothingLeft(t, q)
}

func TestFailingCompiler(t *testing.T) {
	for name, c := range map[string]struct{ cc, step, says, hint string }{
		"no Python.h":  {"echo \"x.c:1:1: fatal error: Python.h: No such file or directory\" >&2; exit 1\n", "compile mod_wsgi", "exit status 1", "apt-get install python3.11-dev"},
		"multiarch":    {"echo \"fatal error: x86_64-linux-gnu/python3.11/pyconfig.h: No such file or directory\" >&2; exit 1\n", "compile mod_wsgi", "", "python3.11-dev"},
		"clang":        {"echo \"x.c:1:1: fatal error: 'Python.h' file not found\" >&2; exit 1\n", "compile mod_wsgi", "", "python3.11-dev"},
		"no apr.h":     {"echo \"fatal error: apr.h: No such file or directory\" >&2; exit 1\n", "compile mod_wsgi", "", "apache2-dev, or use --httpd bundled"},
		"no specs":     {"exec cc -specs=/usr/lib/rpm/redhat/redhat-hardened-cc1 -c x.c\n", "compile mod_wsgi", "", "dnf install redhat-rpm-config"},
		"unknown":      {"echo \"x.c:1: error: no\" >&2; exit 1\n", "compile mod_wsgi", "", "in its log"},
		"disk full":    {"echo \"fatal error: x.s: No space left on device\" >&2; exit 1\n", "compile mod_wsgi", "", "free some space"},
		"memory":       {"echo \"gcc: fatal error: Killed signal terminated program cc1\" >&2; exit 1\n", "compile mod_wsgi", "", "--jobs 1"},
		"no PIC":       {"case \" $* \" in *' -shared '*) echo 'ld: libpython.a: recompile with -fPIC' >&2; exit 1 ;; esac\n", "link mod_wsgi", "", "--enable-shared"},
		"LTO":          {"case \" $* \" in *' -shared '*) echo \"lto1: fatal error: bytecode stream in file 'x.o' generated with LTO version 11.3 instead of 12.0\"; exit 1 ;; esac\n", "link mod_wsgi", "", "link-time"},
		"no library":   {"case \" $* \" in *' -shared '*) echo 'ld: cannot find -lexpat: No such file' >&2; exit 1 ;; esac\n", "link mod_wsgi", "", "-lexpat"},
		"no output":    {"exit 0\n", "check mod_wsgi", "no such file", ""},
		"half of one":  {"while [ $# -gt 1 ]; do [ \"$1\" = -o ] && printf '\\177ELF' >\"$2\"; shift; done\n", "check mod_wsgi", "", ""},
		"half, killed": {"while [ $# -gt 1 ]; do [ \"$1\" = -o ] && printf '\\177ELF' >\"$2\"; shift; done; kill -9 $$\n", "compile mod_wsgi", "killed", "in its log"},
		"half, link":   {"k=; case \" $* \" in *' -shared '*) k=1;; esac; while [ $# -gt 1 ]; do [ \"$1\" = -o ] && echo x >\"$2\"; shift; done; [ -z \"$k\" ]\n", "link mod_wsgi", "", "in its log"},
	} {
		t.Run(name, func(t *testing.T) {
			q := request(t, sources(), c.cc)
			if strings.HasPrefix(name, "no") { // Build reports it either way
				q.Objects = Compile(t.Context(), q)
			}
			_, err := Build(t.Context(), q)
			var step *steps.Error
			if !errors.As(err, &step) || step.Step != c.step || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %v", err)
			}
			if fault.ClassOf(err) != fault.Build || !strings.Contains(fault.HintOf(err), c.hint) {
				t.Errorf("class %v, hint %q", fault.ClassOf(err), fault.HintOf(err))
			}
			var tool *run.Error
			if errors.As(err, &tool) {
				if log, err := os.ReadFile(tool.LogPath); err != nil || !strings.Contains(string(log), "+ ") {
					t.Errorf("log %q: %s, %v", tool.LogPath, log, err)
				}
			}
			nothingLeft(t, q)
		})
	}
}

func TestModuleWithoutItsSymbol(t *testing.T) {
	files := sources()
	files["src/server/mod_wsgi.c"] = "int other;\n"
	q := request(t, files, "")
	real(t, &q)
	_, err := Build(t.Context(), q)
	if err == nil || !strings.Contains(err.Error(), "does not export wsgi_module") {
		t.Errorf("got %v", err)
	}
	nothingLeft(t, q)
	q = request(t, sources(), "")
	real(t, &q)
	handover = []byte("int other;\n")
	_, err = Build(t.Context(), q)
	if err == nil || !strings.Contains(err.Error(), "does not export handover_module") {
		t.Errorf("got %v", err)
	}
	nothingLeft(t, q)
}

func TestCancelledBuild(t *testing.T) {
	q := request(t, sources(), ": >started; exec sleep 300\n")
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(filepath.Join(q.Work, "started")); err == nil {
				cancel(stop)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	if _, err := Build(ctx, q); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	nothingLeft(t, q)
}

func TestCheckRefuses(t *testing.T) {
	for says, change := range map[string]func(*Request){
		"0 jobs":                      func(q *Request) { q.Jobs = 0 },
		"facts of the Python":         func(q *Request) { q.Python.IncludeDirs = nil },
		"facts of the httpd":          func(q *Request) { q.HTTPD.IncludeDirs = nil },
		`Python "3"`:                  func(q *Request) { q.Python.Version = "3" },
		`extension suffix "/../x.so"`: func(q *Request) { q.Python.ExtSuffix = "/../x.so" },
		"is not an absolute path":     func(q *Request) { q.Out = "out" },
		`"work"`:                      func(q *Request) { q.Work = "work" },
		`"libpython.so"`:              func(q *Request) { q.Python.LibPython = "libpython.so" },
	} {
		q := request(t, sources(), "exit 1\n")
		change(&q)
		if _, err := Build(t.Context(), q); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
		if _, err := os.Stat(q.Logs); err == nil {
			t.Errorf("%s: something was begun", says)
		}
	}
}
