//go:build unix

package relocate

import (
	"bytes"
	"debug/elf"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/run"
)

const (
	prefix = "/opt/some/where/httpd"
	origin = "$ORIGIN/../lib"
)

func ours(element string) bool { return element == prefix+"/lib" }

// compile creates an ELF file, or skips the test if the compiler cannot.
func compile(t testing.TB, name, source string, flags ...string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("-short starts no compiler")
	}
	dir := t.TempDir()
	src, out := filepath.Join(dir, "x.c"), filepath.Join(dir, name)
	if err := os.WriteFile(src, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	var r run.Runner
	err := r.Run(t.Context(), run.Cmd{Argv: append([]string{"gcc", "-o", out, src}, flags...), Env: []string{"PATH=/usr/bin:/bin"}})
	if err != nil {
		t.Skipf("gcc %v: %v", flags, err)
	}
	return out
}

func library(t testing.TB, flags ...string) string {
	t.Helper()
	return compile(t, "libx.so", "int x(void) { return 1; }\n", append([]string{"-shared", "-fPIC"}, flags...)...)
}

// values returns the run paths of the file.
func values(t *testing.T, name string, tag elf.DynTag) []string {
	t.Helper()
	f, err := elf.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	got, err := f.DynString(tag)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func content(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestRunPathIsRewritten(t *testing.T) {
	for name, c := range map[string]struct {
		flags []string
		tag   elf.DynTag
	}{
		"RUNPATH":   {[]string{"-Wl,--enable-new-dtags"}, elf.DT_RUNPATH},
		"RPATH":     {[]string{"-Wl,--disable-new-dtags"}, elf.DT_RPATH},
		"32 bit":    {[]string{"-m32", "-nostdlib"}, elf.DT_RUNPATH},
		"no sysv":   {[]string{"-Wl,--hash-style=gnu"}, elf.DT_RUNPATH},
		"with libc": {[]string{"-lc", "-Wl,--no-as-needed", "-lm"}, elf.DT_RUNPATH},
	} {
		t.Run(name, func(t *testing.T) {
			lib := library(t, append(c.flags, "-Wl,-rpath,"+prefix+"/lib")...)
			for range 2 { // the second time, it is already correct
				if had, err := RunPath(lib, origin, ours); !had || err != nil {
					t.Fatalf("got %v, %v", had, err)
				}
			}
			if got := values(t, lib, c.tag); !slices.Equal(got, []string{origin}) {
				t.Errorf("the run path is %q", got)
			}
			if bytes.Contains(content(t, lib), []byte(prefix)) {
				t.Error("the old path is still in the file")
			}
		})
	}
}

// The loader must still accept a file whose run path was rewritten.
func TestRewrittenProgramFindsItsLibrary(t *testing.T) {
	lib := library(t, "-Wl,-soname,libx.so")
	tree := t.TempDir()
	for _, dir := range []string{"bin", "lib"} {
		if err := os.Mkdir(filepath.Join(tree, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program := compile(t, "main", "int x(void); int main(void) { return x() - 1; }\n", lib, "-Wl,-rpath,"+prefix+"/lib")
	if err := os.Rename(program, filepath.Join(tree, "bin/main")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(lib, filepath.Join(tree, "lib/libx.so")); err != nil {
		t.Fatal(err)
	}
	var r run.Runner
	start := run.Cmd{Argv: []string{filepath.Join(tree, "bin/main")}}
	if err := r.Run(t.Context(), start); err == nil {
		t.Fatal("the program runs with the wrong run path: this test proves nothing")
	}
	if n, err := Tree(tree, origin, ours); n != 1 || err != nil {
		t.Fatalf("Tree: %d, %v", n, err)
	}
	if err := r.Run(t.Context(), start); err != nil {
		t.Error(err)
	}
}

func TestNothingToRewrite(t *testing.T) {
	for name, file := range map[string]func(t *testing.T) string{
		"no run path": func(t *testing.T) string { return library(t) },
		"static": func(t *testing.T) string {
			return compile(t, "static", "int main(void) { return 0; }\n", "-static")
		},
		"object": func(t *testing.T) string { return compile(t, "x.o", "int x;\n", "-c") },
	} {
		t.Run(name, func(t *testing.T) {
			path := file(t)
			before := content(t, path)
			if had, err := RunPath(path, origin, ours); had || err != nil {
				t.Errorf("got %v, %v", had, err)
			}
			if !bytes.Equal(before, content(t, path)) {
				t.Error("the file was changed")
			}
		})
	}
}

func TestRunPathRefusals(t *testing.T) {
	rpath := "-Wl,-rpath," + prefix + "/lib"
	for name, c := range map[string]struct {
		file func(t *testing.T) string
		new  string
		says string
	}{
		"foreign":       {func(t *testing.T) string { return library(t, "-Wl,-rpath,/home/me/lib") }, origin, `"/home/me/lib"`},
		"one foreign":   {func(t *testing.T) string { return library(t, rpath+":/home/me/lib") }, origin, `"/home/me/lib"`},
		"empty element": {func(t *testing.T) string { return library(t, rpath+"::"+prefix+"/lib") }, origin, `has ""`},
		"too long":      {func(t *testing.T) string { return library(t, rpath) }, strings.Repeat("x", 100), "is longer than"},
		"tail is a soname": {
			func(t *testing.T) string { return library(t, rpath, "-Wl,-soname,httpd/lib") }, origin, "shared with the name of a library",
		},
		"all of it is a soname": {
			func(t *testing.T) string { return library(t, rpath, "-Wl,-soname,"+prefix+"/lib") }, origin, "shared with the name of a library",
		},
		"end of a longer string": {
			func(t *testing.T) string { return library(t, rpath, "-Wl,-soname,/before"+prefix+"/lib") }, origin, "the end of another",
		},
		"tail is a filter": {func(t *testing.T) string { return library(t, rpath, "-Wl,-f,/lib") }, origin, "shared with the name of a library"},
		"tail is a symbol": {
			func(t *testing.T) string {
				return compile(t, "libx.so", "int ib(void) { return 1; }\n", "-shared", "-fPIC", rpath)
			}, origin, "shared with a symbol",
		},
		"tail is a version": {
			func(t *testing.T) string {
				script := filepath.Join(t.TempDir(), "map")
				if err := os.WriteFile(script, []byte("lib { global: x; };\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				return library(t, rpath, "-Wl,--version-script,"+script)
			}, origin, "symbol version lib",
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := c.file(t)
			before := content(t, path)
			had, err := RunPath(path, c.new, ours)
			if err == nil || had || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, %v; want an error with %q", had, err, c.says)
			}
			if !bytes.Equal(before, content(t, path)) {
				t.Error("the file was changed")
			}
		})
	}
}

func TestReadOnlyFileStaysReadOnly(t *testing.T) {
	lib := library(t, "-Wl,-rpath,"+prefix+"/lib")
	if err := os.Chmod(lib, 0o555); err != nil {
		t.Fatal(err)
	}
	if had, err := RunPath(lib, origin, ours); !had || err != nil {
		t.Fatalf("got %v, %v", had, err)
	}
	info, err := os.Stat(lib)
	if err != nil || info.Mode().Perm() != 0o555 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if got := values(t, lib, elf.DT_RUNPATH); !slices.Equal(got, []string{origin}) {
		t.Errorf("the run path is %q", got)
	}
}

// The loader still uses the run path of a file without a section table, so the file must
// not count as one without a run path.
func TestMissingSectionTable(t *testing.T) {
	lib := library(t, "-Wl,-rpath,"+prefix+"/lib")
	data := content(t, lib)
	clear(data[40:48]) // e_shoff
	clear(data[58:64]) // e_shentsize, e_shnum, e_shstrndx
	if err := os.WriteFile(lib, data, 0o755); err != nil {
		t.Fatal(err)
	}
	if had, err := RunPath(lib, origin, ours); had || err == nil {
		t.Errorf("got %v, %v", had, err)
	}
}

func TestTruncatedFiles(t *testing.T) {
	data := content(t, library(t, "-Wl,-rpath,"+prefix+"/lib"))
	name := filepath.Join(t.TempDir(), "cut.so")
	for _, n := range []int{4, 16, 63, 64, 200, len(data) / 2, len(data) - 1} {
		if err := os.WriteFile(name, data[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		if had, err := RunPath(name, origin, ours); err == nil || had {
			t.Errorf("%d bytes: got %v, %v", n, had, err)
		}
		if now := content(t, name); !bytes.Equal(now, data[:n]) {
			t.Errorf("%d bytes: the file was changed", n)
		}
	}
}

// Whatever a file contains, only the run path is overwritten, and the length does not
// change.
func FuzzRunPath(f *testing.F) {
	if data, err := os.ReadFile(library(f, "-Wl,-rpath,"+prefix+"/lib", "-nostdlib", "-s")); err == nil {
		f.Add(data)
		for _, at := range []int{16, 40, 58, 60, 62, len(data) - 40, len(data) - 100, len(data) - 200} {
			hostile := bytes.Clone(data)
			hostile[at] ^= 0xff
			f.Add(hostile)
		}
	}
	f.Add([]byte(elf.ELFMAG))
	f.Fuzz(func(t *testing.T, data []byte) {
		name := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		had, err := RunPath(name, origin, ours)
		now := content(t, name)
		if (err != nil || !had) && !bytes.Equal(now, data) {
			t.Error("changed without success")
		}
		if len(now) != len(data) {
			t.Errorf("%d bytes became %d", len(data), len(now))
		}
	})
}

func TestTreeAndIsELF(t *testing.T) {
	dir := t.TempDir()
	lib := library(t, "-Wl,-rpath,"+prefix+"/lib")
	if err := os.Symlink(lib, filepath.Join(dir, "link.so")); err != nil { // outside, so it stays unchanged
		t.Fatal(err)
	}
	for name, text := range map[string]string{"empty": "", "short": "\x7fE", "script": "#!/bin/sh\n", "damaged": elf.ELFMAG + "xyz"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if is := IsELF(filepath.Join(dir, name)); is != (name == "damaged") {
			t.Errorf("IsELF(%s) = %v", name, is)
		}
	}
	if IsELF(filepath.Join(dir, "none")) || !IsELF(lib) {
		t.Error("IsELF is wrong about a missing file or a library")
	}
	if _, err := Tree(dir, origin, ours); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged file: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "damaged")); err != nil {
		t.Fatal(err)
	}
	if n, err := Tree(dir, origin, ours); n != 0 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	if got := values(t, lib, elf.DT_RUNPATH); !slices.Equal(got, []string{prefix + "/lib"}) {
		t.Errorf("the run path of the link's target is %q", got)
	}
	if _, err := Tree(filepath.Join(dir, "none"), origin, ours); err == nil {
		t.Error("a missing tree")
	}
}

func TestTreeReportsUnreadableFiles(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root reads everything")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Tree(dir, origin, ours); err == nil {
		t.Error("an unreadable file was skipped")
	}
}

func TestLeaks(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a": "x /build/dir y", "b": "/build", "c.log": "/build/dir", "sub.d": "\x00/build/dir\x00"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/build/dir/x", filepath.Join(dir, "l")); err != nil {
		t.Fatal(err)
	}
	got, err := Leaks(dir, "/build/dir", ".log")
	var names []string
	for _, g := range got {
		names = append(names, filepath.Base(g))
	}
	if want := []string{"a", "l", "sub.d"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("got %v, %v, want %v", names, err, want)
	}
	if _, err := Leaks(filepath.Join(dir, "none"), "x"); err == nil {
		t.Error("a missing tree")
	}
}
