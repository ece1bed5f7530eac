//go:build acceptance

package sysroot

import (
	"context"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/testkit"

	"modwsgi/internal/debian"
	"modwsgi/internal/fetch"
	"modwsgi/internal/filetree"
	"modwsgi/internal/target"
)

// The tests of this file use the host's real package mirror and real compilers.

// program uses functions whose symbols changed: pow in glibc 2.29, fcntl64 in 2.28, stat in
// 2.33, libpthread and libdl in 2.34, strtol in 2.38.
const program = `
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
static void *work(void *a) { return a; }
int main(int argc, char **argv) {
	pthread_t t;
	void *r;
	struct stat st;
	char b[PATH_MAX];
	if (pthread_create(&t, 0, work, "x") || pthread_join(t, &r) || stat("/", &st)) return 1;
	int fd = open("/dev/null", O_RDONLY);
	if (fcntl(fd, F_GETFL) < 0 || errno) return 2;
	strcpy(b, argc > 1 ? argv[1] : "4");
	printf("%.1f %ld %d\n", pow(argc + 1, 3), strtol("12", 0, 10), dlsym(0, "no such symbol") == 0);
	return 0;
}
`

func realMeans(t *testing.T, cache string) Means {
	t.Helper()
	if _, err := exec.LookPath("apt-config"); err != nil {
		t.Skip("no apt: not a Debian-like host")
	}
	f, err := fetch.New(fetch.Options{Env: os.Environ(), CacheDir: filepath.Join(cache, "downloads")})
	if err != nil {
		t.Fatal(err)
	}
	return Means{Fetcher: f, Work: t.TempDir()}
}

// cacheDir is the cache that acceptance tests share, if they do.
func cacheDir(t *testing.T) string {
	if dir := os.Getenv("MODWSGI_TEST_CACHE"); dir != "" {
		return dir
	}
	return t.TempDir()
}

// unlessAbsent skips the test if no mirror has a suite that it needs.
func unlessAbsent(t *testing.T, m Means, g target.Target) {
	t.Helper()
	a, err := debian.Open(m.Fetcher, m.Fetcher.HostMirrors(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range order(g) {
		if _, err := a.Suite(t.Context(), name, g.DebianArch()); err == nil {
			return
		}
	}
	t.Skip("the mirror has no suite for " + g.String())
}

// compiler returns a compiler for this machine or for arm64; the test is skipped without
// it.
func compiler(t *testing.T, name string) Compiler {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skip("no " + name)
	}
	c := Compiler{Words: []string{name}, Clang: name == "clang"}
	if !c.Clang {
		out, err := exec.Command(name, "-print-libgcc-file-name").Output()
		if err != nil {
			t.Fatal(err)
		}
		c.LibgccDir = filepath.Dir(strings.TrimSpace(string(out)))
	}
	return c
}

func compile(t *testing.T, s *Sysroot, c Compiler, source string, flags ...string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	src, exe := filepath.Join(dir, "p.c"), filepath.Join(dir, "out", "p")
	if err := os.Mkdir(filepath.Dir(exe), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(src, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	cc, err := s.CC(c)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(cc[0], slices.Concat(cc[1:], []string{"-Wall", "-Werror", "-O2", "-D_GNU_SOURCE", "-D_FILE_OFFSET_BITS=64", "-o", exe, src}, flags)...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s: %s", err, strings.Join(cc, " "), out)
	}
	return exe, err
}

func TestSysrootsOfDebian(t *testing.T) {
	testkit.Turn(t, "targets")
	cache := cacheDir(t)
	for _, c := range []struct {
		target, python, compiler string
		pow                      string // version of pow that the program needs
	}{
		{"linux/amd64/glibc2.31", "3.9", "gcc", "GLIBC_2.29"},
		{"linux/amd64/glibc2.28", "3.11", "gcc", "GLIBC_2.2.5"},
		{"linux/amd64/glibc2.17", "3.13", "clang", "GLIBC_2.2.5"},
		{"linux/amd64/glibc2.36", "", "gcc", "GLIBC_2.29"},
		{"linux/arm64/glibc2.36", "3.11", "aarch64-linux-gnu-gcc", "GLIBC_2.29"},
		{"linux/arm64/glibc2.17", "3.11", "aarch64-linux-gnu-gcc", "GLIBC_2.17"},
		{"linux/arm64/glibc2.17", "", "clang", "GLIBC_2.17"},
		{"linux/amd64/musl1.2", "", "gcc", ""},
		{"linux/amd64/musl1.2", "", "clang", ""},
		{"linux/arm64/musl1.2", "", "aarch64-linux-gnu-gcc", ""},
		{"linux/arm64/musl1.2", "", "clang", ""},
		{"linux/arm/v7/glibc2.28", "", "clang", "GLIBC_2.4"},
		{"linux/riscv64/glibc2.36", "", "riscv64-linux-gnu-gcc", "GLIBC_2.27"}, // lld 14 cannot link its objects
	} {
		t.Run(strings.ReplaceAll(c.target, "/", "-")+" "+c.compiler, func(t *testing.T) {
			host, err := target.Host()
			if err != nil {
				t.Fatal(err)
			}
			g, err := target.Parse(c.target, host)
			if err != nil {
				t.Fatal(err)
			}
			cc := compiler(t, c.compiler)
			if g.Arch != runtime.GOARCH && !cc.Clang && !strings.HasPrefix(c.compiler, strings.Split(g.Triple(), "-")[0]) {
				t.Skip("no cross compiler")
			}
			m := realMeans(t, cache)
			unlessAbsent(t, m, g)
			q := Request{Target: g}
			if c.python != "" {
				q.Pythons = []string{c.python}
				q.Interpreters = c.python == "3.13" // of another release, with its C library and that one's headers
			}
			s, err := Make(t.Context(), q, m)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s, libc %s, %d newer symbols, %d packages", s.Source, s.Libc, len(s.Newer()), len(s.Lock.Packages))
			for _, p := range s.Pythons {
				checkPython(t, g, s, cc, &p)
				if file, err := filepath.Rel(p.Root, p.Facts.LibPython); err != nil || ownerOf(t, p.Root, file) != "libpython"+c.python+":"+g.DebianArch() {
					t.Errorf("%s belongs to %q, %v", file, ownerOf(t, p.Root, file), err)
				}
			}
			if g.Libc == target.Glibc {
				checkRecords(t, g, s)
			}
			exe, err := compile(t, s, cc, program, "-lpthread", "-lm", "-ldl")
			if err != nil {
				t.Fatal(err)
			}
			if err := CheckTree(g, filepath.Dir(exe)); err != nil {
				t.Error(err)
			}
			if got := versionOf(t, exe, "pow"); got != c.pow {
				t.Errorf("pow is linked with version %q, want %q", got, c.pow)
			}
			nothingOfThisMachine(t, s, cc)
			tooNewIsNotLinked(t, s, cc)
			runHere(t, s, host, exe)
		})
	}
}

// checkPython compiles and links an extension module with the headers and the library of
// the target's Python.
func checkPython(t *testing.T, g target.Target, s *Sysroot, cc Compiler, p *Python) {
	t.Helper()
	if want := "cpython-" + strings.ReplaceAll(p.Wanted, ".", "") + "-" + g.SOABISuffix(); p.Facts.SOABI != want || p.Facts.Machine != g.Machine() || !p.Facts.LibShared {
		t.Errorf("SOABI %s, want %s: %+v", p.Facts.SOABI, want, p.Facts)
	}
	var flags []string
	for _, dir := range p.IncludeDirs {
		flags = append(flags, "-I"+dir)
	}
	flags = append(flags, "-shared", "-fPIC", p.Facts.LibPython, "-lm")
	module, err := compile(t, s, cc, `#include <Python.h>
#include <math.h>
#include <fcntl.h>
static struct PyModuleDef def = { PyModuleDef_HEAD_INIT, "x", 0, -1, 0 };
PyMODINIT_FUNC PyInit_x(void) { PyObject *m = PyModule_Create(&def); PyModule_AddIntConstant(m, "y", (long)pow(fcntl(0, F_GETFL), strtol("2", 0, 10))); return m; }
`, flags...)
	if err != nil {
		t.Errorf("module for Python %s: %v", p.Wanted, err)
		return
	}
	if err := CheckTree(g, filepath.Dir(module)); err != nil {
		t.Error(err)
	}
}

func versionOf(t *testing.T, file, name string) string {
	t.Helper()
	f, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	symbols, err := f.ImportedSymbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range symbols {
		if s.Name == name {
			return s.Version
		}
	}
	t.Errorf("%s does not import %s", file, name)
	return ""
}

// nothingOfThisMachine checks where a compiler finds headers (-M) and a linker files (-t):
// in the sysroot, or next to the compiler.
func nothingOfThisMachine(t *testing.T, s *Sysroot, c Compiler) {
	t.Helper()
	src := filepath.Join(t.TempDir(), "p.c")
	if err := os.WriteFile(src, []byte(program), 0o644); err != nil {
		t.Fatal(err)
	}
	cc, err := s.CC(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, flags := range [][]string{{"-M"}, {"-Wl,-t", "-lpthread", "-lm", "-ldl", "-o", src + ".out"}} {
		out, err := exec.Command(cc[0], slices.Concat(cc[1:], []string{"-D_GNU_SOURCE", src}, flags)...).CombinedOutput()
		if err != nil {
			t.Errorf("%v: %v: %s", flags, err, out)
		}
		found := 0
		for _, name := range strings.Fields(strings.ReplaceAll(string(out), "\\\n", " ")) {
			if !filepath.IsAbs(name) {
				continue
			}
			name, _, _ = strings.Cut(name, "(") // a member of an archive
			name = filepath.Clean(name)
			found++
			own := c.LibgccDir != "" && strings.HasPrefix(name, c.LibgccDir+"/") || c.Clang && strings.Contains(name, "/clang/")
			if !own && !strings.HasPrefix(name, filepath.Dir(s.Dir)+"/") && !strings.HasPrefix(name, os.TempDir()+"/") {
				t.Errorf("%v: %s is of this machine", flags, name)
			}
		}
		if found < 5 {
			t.Errorf("%v lists %d files: %s", flags, found, out)
		}
	}
}

// tooNewIsNotLinked tries each kind of newer function: a program that calls it must not
// link, as a configure script tries it.
func tooNewIsNotLinked(t *testing.T, s *Sysroot, cc Compiler) {
	t.Helper()
	for _, name := range []string{"arc4random", "statx", "getrandom", "gettid", "qsort_r"} {
		_, err := compile(t, s, cc, "char "+name+"();\nint main(void) { return "+name+"(); }\n", "-fno-builtin", "-Wno-error")
		if slices.Contains(s.Newer(), name) && (err == nil || !strings.Contains(err.Error(), name)) {
			t.Errorf("%s is newer than the target: %v", name, err)
		}
	}
	_, err := compile(t, s, cc, "int main(void) { return 0; }\n", "-lssl")
	if err == nil || !strings.Contains(err.Error(), "-lssl") {
		t.Errorf("-lssl, a library that at most this machine has: %v", err)
	}
}

// runHere runs the program, with an emulator for another processor.
func runHere(t *testing.T, s *Sysroot, host target.Target, exe string) {
	t.Helper()
	argv := []string{exe}
	switch {
	case s.Target.Arch != host.Arch:
		if _, err := exec.LookPath(s.Target.QEMU()); err != nil {
			t.Log("not run: no " + s.Target.QEMU())
			return
		}
		argv = []string{s.Target.QEMU(), "-L", s.Dir, exe}
	case s.Target.Libc != host.Libc:
		argv = []string{filepath.Join(s.Dir, s.Target.Loader()), exe}
	}
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil || string(out) != "8.0 12 1\n" {
		t.Errorf("%v: %q, %v", argv, out, err)
	}
}

// A program that was linked with this machine's libc is refused for an older target, with
// the symbol and the file.
func TestCheckTreeFindsNewSymbols(t *testing.T) {
	host, err := target.Host()
	if err != nil || host.Libc != target.Glibc || host.Arch != "amd64" || target.Compare(host.LibcVersion, "2.34") < 0 {
		t.Skip("needs an amd64 machine with glibc 2.34")
	}
	cc := compiler(t, "gcc")
	dir := t.TempDir()
	src := filepath.Join(dir, "p.c")
	if err := os.WriteFile(src, []byte(program), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(cc.Words[0], "-o", filepath.Join(dir, "p"), src, "-lm").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	host.LibcVersion = "2.17"
	err = CheckTree(host, dir)
	if err == nil {
		t.Fatal("not refused")
	}
	for _, want := range []string{filepath.Join(dir, "p") + " needs pow (GLIBC_2.29 of libm.so.6)", "needs pthread_create (GLIBC_2.34 of libc.so.6)", "needs stat (GLIBC_2.33"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("lacks %q: %v", want, err)
		}
	}
	host.LibcVersion = "2.36"
	if err := CheckTree(host, dir); err != nil {
		t.Error(err)
	}
}

// A Python of arm64 runs under the emulator with everything that it needs.
func TestInterpreterOfAnotherProcessor(t *testing.T) {
	if _, err := exec.LookPath("qemu-aarch64"); err != nil {
		t.Skip("no qemu-aarch64")
	}
	g := target.Target{OS: "linux", Arch: "arm64", Libc: "glibc", LibcVersion: "2.36"}
	m := realMeans(t, cacheDir(t))
	unlessAbsent(t, m, g)
	s, err := Make(context.Background(), Request{Target: g, Pythons: []string{"3.11"}, Interpreters: true}, m)
	if err != nil {
		t.Fatal(err)
	}
	p := s.Pythons[0]
	out, err := exec.Command("qemu-aarch64", "-L", p.Root, p.Facts.Executable, "-c", "import platform, ssl, ctypes, sqlite3; print(platform.machine(), platform.python_version())").CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "aarch64 "+p.Facts.Version {
		t.Errorf("%s, %v; read from files: %s", out, err, p.Facts.Version)
	}
}

// ownerOf returns the package that dpkg's records below a root have for a file.
func ownerOf(t *testing.T, root, file string) string {
	t.Helper()
	real, err := filetree.Resolve(root, file)
	if err != nil {
		t.Error(err)
		return ""
	}
	rel, err := filepath.Rel(root, real)
	if err != nil {
		t.Error(err)
	}
	for _, list := range filetree.Glob(root, "var/lib/dpkg/info/*.list") {
		if strings.Contains(read(t, list), "\n/"+rel+"\n") {
			return strings.TrimSuffix(filepath.Base(list), ".list")
		}
	}
	return ""
}

// checkRecords checks that the records name the packages of the C library, with the symbols
// of that release and their licences.
func checkRecords(t *testing.T, g target.Target, s *Sysroot) {
	t.Helper()
	for file, name := range map[string]string{"libc.so.6": "libc6", "libcrypt.so.1": "libcrypt1"} {
		name += ":" + g.DebianArch()
		if got := ownerOf(t, s.Dir, "usr/lib/"+g.Multiarch()+"/"+file); got != name {
			t.Errorf("%s belongs to %q, want %s", file, got, name)
		}
		symbols := read(t, filepath.Join(s.Dir, "var/lib/dpkg/info", name+".symbols"))
		if !strings.Contains(symbols, file+" "+strings.TrimSuffix(name, ":"+g.DebianArch())+" #MINVER#") {
			t.Errorf("the symbols of %s lack %s", name, file)
		}
		if file == "libc.so.6" && !strings.Contains(symbols, "@GLIBC_2.17 ") {
			t.Errorf("the symbols of %s have no versions", name)
		}
		text := filepath.Join(s.Dir, "usr/share/doc", strings.TrimSuffix(name, ":"+g.DebianArch()), "copyright")
		if data, err := os.ReadFile(text); err != nil || len(data) < 100 {
			t.Errorf("the licence: %v", err)
		}
	}
	if out, err := exec.Command("dpkg-query", "--admindir="+filepath.Join(s.Dir, "var/lib/dpkg"), "-W", "-f", "${Package} ${Version}\n").CombinedOutput(); err != nil {
		t.Logf("NOT TESTED: with dpkg-query: %v, %s", err, out)
	} else if !strings.Contains(string(out), "libc6 "+s.Lock.Packages[0].Version+"\n") {
		t.Errorf("dpkg-query: %s", out)
	}
}
