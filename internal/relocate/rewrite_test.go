//go:build linux

package relocate

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/run"
)

// world is a directory with libraries and programs that belong together.
type world struct {
	t   *testing.T
	dir string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("-short starts no compiler")
	}
	if _, err := run.LookPath("gcc", []string{"PATH=/usr/bin:/bin"}); err != nil {
		t.Skip("gcc not found")
	}
	return &world{t, t.TempDir()}
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// cc compiles a file.
func (w *world) cc(name, source string, flags ...string) string {
	w.t.Helper()
	src := w.path(strings.ReplaceAll(name, "/", "_") + ".c")
	if err := os.WriteFile(src, []byte(source), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(w.path(name)), 0o755); err != nil {
		w.t.Fatal(err)
	}
	var r run.Runner
	err := r.Run(w.t.Context(), run.Cmd{Argv: append([]string{"gcc", "-o", w.path(name), src}, flags...), Dir: w.dir, Env: []string{"PATH=/usr/bin:/bin"}})
	if err != nil {
		var e *run.Error
		if errors.As(err, &e) {
			err = fmt.Errorf("%w\n%s", err, strings.Join(e.Tail, "\n"))
		}
		w.t.Fatalf("gcc %v: %v", flags, err)
	}
	return w.path(name)
}

func (w *world) edit(name string, e Edit) {
	w.t.Helper()
	if err := Rewrite(w.path(name), e); err != nil {
		w.t.Fatal(err)
	}
}

// output runs a program of the world and returns its output.
func (w *world) output(name string, args ...string) string {
	w.t.Helper()
	var r run.Runner
	out, err := r.Output(w.t.Context(), run.Cmd{Argv: append([]string{w.path(name)}, args...), Dir: w.dir})
	if err != nil {
		w.t.Fatalf("%s: %v", name, err)
	}
	return string(out)
}

const (
	libraryA = `int shared_variable = WHO; int plain(void) { return WHO; } int versioned(void) { return WHO; }
extern int plain(void); int through(void) { return plain(); }`
	versions = "A_1.0 { global: versioned; }; A_2.0 { global: plain; through; shared_variable; } A_1.0;\n"
	libraryB = `extern int plain(void), versioned(void), through(void); int sum(void) { return plain() + 10 * versioned() + 100 * through(); }`
	mainC    = `#include <dlfcn.h>
#include <stdio.h>
extern int sum(void), versioned(void); extern int shared_variable;
int main(int argc, char **argv) {
	int (*theirs)(void) = 0;
	if (argc > 1) {
		void *h = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
		if (!h) { puts(dlerror()); return 1; }
		theirs = (int (*)(void))dlsym(h, "theirs");
	}
	printf("%d %d %d %d\n", sum(), versioned(), shared_variable, theirs ? theirs() : 0);
	return 0;
}`
	plugin = `extern int plain(void), versioned(void); int theirs(void) { return 10 * plain() + versioned(); }`
)

// TestRewrittenLibrariesKeepApart runs a program with a renamed copy of a library and a
// plugin that uses another version of that library under its usual name, in one process.
// Each must call its own.
func TestRewrittenLibrariesKeepApart(t *testing.T) {
	for name, flags := range map[string]struct {
		library []string
		program []string
	}{
		"versions":      {[]string{"-Wl,--version-script=v.map"}, nil},
		"no versions":   {nil, nil},
		"gnu hash":      {[]string{"-Wl,--hash-style=gnu"}, []string{"-Wl,--hash-style=gnu"}},
		"sysv hash":     {[]string{"-Wl,--hash-style=sysv"}, []string{"-Wl,--hash-style=sysv"}},
		"fixed address": {nil, []string{"-no-pie", "-fno-pic"}},
		"lazy":          {[]string{"-Wl,-z,lazy"}, []string{"-Wl,-z,lazy"}},
		"one segment":   {[]string{"-Wl,-z,noseparate-code"}, []string{"-Wl,-z,noseparate-code"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if err := os.WriteFile(w.path("v.map"), []byte(versions), 0o600); err != nil {
				t.Fatal(err)
			}
			shared := append([]string{"-shared", "-fPIC"}, flags.library...)
			w.cc("lib/liba.so.1", libraryA, append(shared, "-DWHO=1", "-Wl,-soname,liba.so.1")...)
			w.cc("system/liba.so.1", libraryA, append(shared, "-DWHO=2", "-Wl,-soname,liba.so.1")...)
			w.cc("lib/libb.so", libraryB, append([]string{"-shared", "-fPIC", "-Wl,-soname,libb.so", "-Wl,--enable-new-dtags,-rpath,/nowhere"}, "lib/liba.so.1")...)
			w.cc("bin/main", mainC, append([]string{"-Wl,-rpath,/nowhere/else", "-Wl,-rpath-link,lib"}, append(flags.program, "lib/libb.so", "lib/liba.so.1", "-ldl")...)...)
			w.cc("plugin.so", plugin, "-shared", "-fPIC", "-Wl,-rpath,$ORIGIN/system", "system/liba.so.1")

			origin, toLib := "$ORIGIN", "$ORIGIN/../lib"
			names := map[string]bool{"plain": true, "versioned": true, "through": true, "shared_variable": true}
			needed := map[string]string{"liba.so.1": "liba-0123.so.1"}
			w.edit("lib/liba.so.1", Edit{Soname: "liba-0123.so.1", Symbols: names, Prefix: "our_"})
			if err := os.Rename(w.path("lib/liba.so.1"), w.path("lib/liba-0123.so.1")); err != nil {
				t.Fatal(err)
			}
			w.edit("lib/libb.so", Edit{RunPath: &origin, Needed: needed, Symbols: names, Prefix: "our_"})
			w.edit("bin/main", Edit{RunPath: &toLib, Needed: needed, Symbols: names, Prefix: "our_"})

			if got := w.output("bin/main"); got != "111 1 1 0\n" {
				t.Errorf("alone: %q", got)
			}
			if got := w.output("bin/main", w.path("plugin.so")); got != "111 1 1 22\n" {
				t.Errorf("with another copy of the library: %q", got)
			}
			for _, f := range []string{"lib/liba-0123.so.1", "lib/libb.so", "bin/main"} {
				if bytes.Contains(content(t, w.path(f)), []byte("/nowhere")) {
					t.Errorf("%s still contains the old run path", f)
				}
				lint(t, w.path(f))
			}
		})
	}
}

// lint checks a file with elfutils, if installed.
func lint(t *testing.T, name string) {
	t.Helper()
	var r run.Runner
	env := []string{"PATH=/usr/bin:/bin"}
	if _, err := run.LookPath("eu-elflint", env); err != nil {
		return
	}
	if out, err := r.Output(t.Context(), run.Cmd{Argv: []string{"eu-elflint", "--gnu-ld", "--quiet", name}, Env: env}); err != nil {
		t.Errorf("eu-elflint %s: %s %v", name, out, err)
	}
}

func TestRewriteAddsAndRemovesARunPath(t *testing.T) {
	w := newWorld(t)
	w.cc("libx.so", "int x(void) { return 7; }", "-shared", "-fPIC")
	long := "$ORIGIN/" + strings.Repeat("very/", 100) + "deep"
	w.edit("libx.so", Edit{RunPath: &long})
	if got := values(t, w.path("libx.so"), elf.DT_RUNPATH); !slices.Equal(got, []string{long}) {
		t.Errorf("got %q", got)
	}
	none := ""
	w.edit("libx.so", Edit{RunPath: &none})
	if got := values(t, w.path("libx.so"), elf.DT_RUNPATH); len(got) != 0 {
		t.Errorf("still there: %q", got)
	}
	w.cc("main", "extern int x(void); int main(void) { return x() - 7; }", "-Wl,-rpath,$ORIGIN", "libx.so", "-L.")
	w.output("main")
	info, err := os.Stat(w.path("libx.so"))
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// TestRewriteDropsALibrary: the file no longer names it, and works if it is loaded before.
func TestRewriteDropsALibrary(t *testing.T) {
	w := newWorld(t)
	w.cc("libx.so", "int x(void) { return 7; }", "-shared", "-fPIC")
	w.cc("liby.so", "extern int x(void); int y(void) { return x(); }", "-shared", "-fPIC", "libx.so", "-L.")
	w.edit("liby.so", Edit{Drop: "libx.so"})
	if got := values(t, w.path("liby.so"), elf.DT_NEEDED); slices.Contains(got, "libx.so") {
		t.Errorf("still needs %q", got)
	}
	w.cc("main", `#include <dlfcn.h>
#include <stdio.h>
int main(void) {
	if (dlopen("./liby.so", RTLD_NOW)) return 1;
	if (!dlopen("./libx.so", RTLD_NOW | RTLD_GLOBAL)) { puts(dlerror()); return 2; }
	void *y = dlopen("./liby.so", RTLD_NOW | RTLD_GLOBAL);
	if (!y) { puts(dlerror()); return 3; }
	return ((int (*)(void))dlsym(y, "y"))() - 7;
}`, "-ldl")
	w.output("main")
}

// TestRewriteGivesEqualBytes: the result does not depend on the order of maps.
func TestRewriteGivesEqualBytes(t *testing.T) {
	w := newWorld(t)
	name := w.cc("libx.so", "int a(void){return 1;} int b(void){return 2;} int c(void){return 3;}", "-shared", "-fPIC", "-Wl,--no-as-needed", "-lm", "-ldl")
	data, path := content(t, name), "$ORIGIN"
	e := Edit{
		RunPath: &path, Soname: "liby.so", Prefix: "p_", Symbols: map[string]bool{"a": true, "b": true, "c": true},
		Needed: map[string]string{"libm.so.6": "libm-1.so.6", "libc.so.6": "libc-1.so.6"},
	}
	first, err := rewrite(data, e)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if again, err := rewrite(data, e); err != nil || !bytes.Equal(first, again) {
			t.Fatalf("another result: %v", err)
		}
	}
}

func TestRewriteRefuses(t *testing.T) {
	w := newWorld(t)
	good := content(t, w.cc("libx.so", "int x(void) { return 7; }", "-shared", "-fPIC"))
	object := content(t, w.cc("x.o", "int x(void) { return 7; }", "-c"))
	path := "$ORIGIN"
	for name, c := range map[string]struct {
		data []byte
		edit Edit
		says string
	}{
		"text":        {[]byte(strings.Repeat("no binary", 20)), Edit{RunPath: &path}, "magic"},
		"empty":       {nil, Edit{RunPath: &path}, "EOF"},
		"cut":         {good[:len(good)/3], Edit{RunPath: &path}, ""},
		"object":      {object, Edit{RunPath: &path}, "neither a library nor a program"},
		"zero byte":   {good, Edit{Soname: "a\x00b"}, "zero byte"},
		"zero in map": {good, Edit{Needed: map[string]string{"a": "\x00"}}, "zero byte"},
	} {
		file := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(file, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		err := Rewrite(file, c.edit)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if now := content(t, file); !bytes.Equal(now, c.data) {
			t.Errorf("%s: the file was changed", name)
		}
		if all, _ := os.ReadDir(filepath.Dir(file)); len(all) != 1 {
			t.Errorf("%s: left %v", name, all)
		}
	}
}

// TestRewriteSurvivesDamage changes random bytes. Rewrite must return an error or a
// result, never crash, and never return a huge result.
func TestRewriteSurvivesDamage(t *testing.T) {
	w := newWorld(t)
	good := content(t, w.cc("libx.so", libraryA, "-DWHO=1", "-shared", "-fPIC"))
	path := "$ORIGIN/../lib"
	e := Edit{RunPath: &path, Soname: "liby.so", Prefix: "p_", Symbols: map[string]bool{"plain": true}, Needed: map[string]string{"libc.so.6": "libd.so.6"}}
	random := rand.New(rand.NewPCG(1, 2))
	for range 1500 {
		data := bytes.Clone(good)
		for range 1 + random.IntN(4) {
			at := random.IntN(len(data))
			if random.IntN(2) == 0 {
				at = random.IntN(1024) // the headers
			}
			data[at] = byte(random.Uint32())
		}
		if out, err := rewrite(data, e); err == nil && uint64(len(out)) > 1<<31 {
			t.Fatalf("%d bytes", len(out))
		}
	}
}
