//go:build unix

package toolchain

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/elf"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// realCompiler finds a compiler of this machine, and skips the test without it.
func realCompiler(t *testing.T, cc string, more ...string) *Toolchain {
	t.Helper()
	if testing.Short() || runtime.GOOS != "linux" {
		t.Skip("starts compilers of Linux")
	}
	env := append([]string{"PATH=/usr/local/bin:/usr/bin:/bin", "CC=" + cc}, more...)
	word, _, _ := strings.Cut(cc, " ")
	if _, err := run.LookPath(word, env); err != nil {
		t.Skip(err)
	}
	h, err := find(t, env...)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestHarden(t *testing.T) {
	for cc, wanted := range map[string]string{
		"gcc":                   "-fstack-protector-strong -fstack-clash-protection -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=",
		"clang":                 "-fstack-protector-strong -fstack-clash-protection -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=",
		"musl-gcc":              "-fstack-protector-strong -fstack-clash-protection",
		"aarch64-linux-gnu-gcc": "-mbranch-protection=standard",
		// What the compiler defines itself must not become a redefinition, as on Ubuntu.
		"gcc -D_FORTIFY_SOURCE=2": "-D_FORTIFY_SOURCE=",
		// Not position-independent by default.
		"gcc -fno-pie -no-pie": "-fstack-protector-strong",
	} {
		t.Run(cc, func(t *testing.T) {
			h := realCompiler(t, cc)
			if err := h.Harden(t.Context(), &run.Runner{}, t.TempDir()); err != nil {
				t.Fatal(err)
			}
			p := h.Protection
			if got := strings.Join(p.Compile, " "); !strings.Contains(got, wanted) {
				t.Errorf("got %q", got)
			}
			if missing := p.Program.Missing(elf.Hardening{RELRO: true, BindNow: true, PIE: true}); missing != nil || !p.PIE {
				t.Errorf("the program lacks %q; %+v", missing, p)
			}
			for flag, on := range map[string]string{"-fcf-protection": "x86_64", "-mbranch-protection=standard": "aarch64"} {
				if slices.Contains(p.Compile, flag) != strings.HasPrefix(h.Target, on) {
					t.Errorf("%s for %s: %q", flag, h.Target, p.Compile)
				}
			}
		})
	}
}

// refusing is a compiler that refuses some words, as an old one does.
func refusing(t *testing.T, words, rest string) string {
	t.Helper()
	return program(t, t.TempDir(), "oldcc", `for w; do case "$w" in `+words+`) echo "oldcc: error: unrecognized command line option '$w'" >&2; bad=1;; esac; done
[ -z "$bad" ] || exit 1
`+rest+`exec gcc "$@"
`)
}

func TestHardenWithLess(t *testing.T) {
	for name, c := range map[string]struct {
		cc            string
		has, has2, no string
		pie           bool
		count         int // runs for the trial at most
	}{
		"gcc of 2013": {refusing(t, "-fstack-protector-strong|-fstack-clash-protection|-fcf-protection", ""), "-D_FORTIFY_SOURCE=", "-Wl,-z,now", "-fstack", true, 2},
		"fortification of 2020": {
			refusing(t, "none", `case "$*" in *-D_FORTIFY_SOURCE=3*) echo "features.h:1: error: #warning _FORTIFY_SOURCE > 2 is treated like 2 on this platform" >&2; exit 1;; esac
`), "-D_FORTIFY_SOURCE=2", "-fstack-clash-protection", "=3", true, 2,
		},
		"no reason given": {
			refusing(t, "none", `case "$*" in *-z,now*) exit 1;; esac
`), "-fstack-protector-strong", "-Wl,-z,relro", "now", true, 20,
		},
		"no position-independent programs": {
			refusing(t, "none", `case "$*" in *-pie*) echo cannot find Scrt1.o >&2; exit 1;; esac
`), "-fstack-protector-strong", "-Wl,-z,relro", "-pie", false, 20,
		},
		"warns about everything": {
			refusing(t, "-Werror|-Wl,--fatal-warnings", ""), "-fstack-protector-strong", "-Wl,-z,now", "-Werror", true, 20,
		},
	} {
		t.Run(name, func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "log")
			text, err := os.ReadFile(c.cc)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(c.cc, []byte(strings.Replace(string(text), "\n", "\necho run >>"+log+"\n", 1)), 0o755); err != nil {
				t.Fatal(err)
			}
			h := realCompiler(t, c.cc)
			_ = os.Remove(log)
			if err := h.Harden(t.Context(), &run.Runner{}, t.TempDir()); err != nil {
				t.Fatal(err)
			}
			f := h.Flags(HardeningAuto)
			got := strings.Join(f.Words(), " ")
			if !strings.Contains(got, c.has) || !strings.Contains(got, c.has2) || strings.Contains(got, c.no) || f.PIE != c.pie {
				t.Errorf("got %q, PIE %v", got, f.PIE)
			}
			runs, _ := os.ReadFile(log)
			if n := strings.Count(string(runs), "run"); n > c.count {
				t.Errorf("%d runs of the compiler, at most %d expected", n, c.count)
			}
		})
	}
}

func TestHardenCanceled(t *testing.T) {
	h := realCompiler(t, "gcc")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.Harden(ctx, &run.Runner{}, t.TempDir()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestParseHardening(t *testing.T) {
	for name, want := range map[string]Hardening{"": HardeningAuto, "auto": HardeningAuto, "none": HardeningNone} {
		if got, err := ParseHardening(name); got != want || err != nil {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
	if _, err := ParseHardening("full"); fault.ClassOf(err) != fault.Usage {
		t.Errorf("got %v", err)
	}
}

// protected is a toolchain that can do everything.
func protected() *Toolchain {
	return &Toolchain{Protection: Protection{
		Compile: append([]string{"-fstack-protector-strong", "-fcf-protection"}, fortify("3")...), Link: []string{"-Wl,-z,relro", "-Wl,-z,now"}, PIE: true,
		Program: elf.Hardening{RELRO: true, BindNow: true, PIE: true, IBT: true, SHSTK: true},
	}}
}

func TestFlags(t *testing.T) {
	all := protected().Flags(HardeningAuto)
	if !all.PIE || !all.Want.BindNow || !all.Want.IBT || !strings.Contains(all.String(), "-D_FORTIFY_SOURCE=3") {
		t.Errorf("got %s", all)
	}
	none := protected().Flags(HardeningNone)
	if len(none.Words()) > 0 || len((elf.Hardening{ExecStack: true, TextRel: true}).Missing(none.Want)) > 0 || none.String() == all.String() {
		t.Errorf("got %s, %+v", none, none.Want)
	}
	for given, check := range map[string]func(Flags) bool{
		"CPPFLAGS=-D_FORTIFY_SOURCE=2":       func(f Flags) bool { return !mentions(f.Compile, "FORTIFY") && mentions(f.Words(), "FORTIFY_SOURCE=2") },
		"CFLAGS=-O0":                         func(f Flags) bool { return !mentions(f.Compile, "FORTIFY") },
		"CFLAGS=-O0 -O1":                     func(f Flags) bool { return mentions(f.Compile, "FORTIFY") },
		"CFLAGS=-fno-pie":                    func(f Flags) bool { return !f.PIE && !f.Want.PIE },
		"LDFLAGS=-no-pie":                    func(f Flags) bool { return !f.PIE && !f.Want.PIE },
		"LDFLAGS=-Wl,-z,norelro":             func(f Flags) bool { return !f.Want.RELRO && f.Want.BindNow },
		"LDFLAGS=-Wl,-z,lazy":                func(f Flags) bool { return f.Want.RELRO && !f.Want.BindNow },
		"LDFLAGS=-Wl,-z,execstack":           func(f Flags) bool { return f.Want.ExecStack },
		"CFLAGS=-fcf-protection=none":        func(f Flags) bool { return !f.Want.IBT && !f.Want.SHSTK },
		"CFLAGS=-mbranch-protection=none":    func(f Flags) bool { return !f.Want.BTI && !f.Want.PAC },
		"CFLAGS=-ffile-prefix-map=/build/x=": func(f Flags) bool { return len(f.Given.Compile) == 0 },
		"CFLAGS=-g -O3":                      func(f Flags) bool { return slices.Equal(f.Words()[len(f.Words())-2:], []string{"-g", "-O3"}) },
	} {
		h := protected()
		if err := h.adopt([]string{given}); err != nil {
			t.Errorf("%s: %v", given, err)
		} else if f := h.Flags(HardeningAuto); !check(f) {
			t.Errorf("%s: %s, want %+v", given, f, f.Want)
		}
	}
}

// What dpkg-buildflags and rpm print has the same identity in every directory.
func TestFlagsDoNotDependOnTheDirectory(t *testing.T) {
	identity := func(dir string) string {
		h := protected()
		if err := h.adopt([]string{"CFLAGS=-g -O2 -ffile-prefix-map=" + dir + "=. -fdebug-prefix-map=" + dir + "=/usr/src -fstack-protector-strong", "LDFLAGS=-Wl,-z,relro"}); err != nil {
			t.Fatal(err)
		}
		return h.Flags(HardeningAuto).String()
	}
	if a, b := identity("/build/a"), identity("/build/b"); a != b {
		t.Errorf("%s\n%s", a, b)
	}
}

// A file that a flag names counts by its content.
func TestFilesOfFlags(t *testing.T) {
	file := filepath.Join(t.TempDir(), "extra.specs")
	identity := func(text string) string {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		h := protected()
		if err := h.adopt([]string{"CFLAGS=-specs=" + file}); err != nil {
			t.Fatal(err)
		}
		return h.Flags(HardeningAuto).String()
	}
	if identity("*cc1:\n") == identity("*link:\n") {
		t.Error("its content does not count")
	}
}

func TestAdoptRefuses(t *testing.T) {
	specs := "/usr/lib/rpm/redhat/redhat-hardened-cc1-none"
	for given, want := range map[string][]string{
		"CFLAGS=-specs=" + specs:     {"CFLAGS has -specs=" + specs, "redhat-rpm-config"},
		"LDFLAGS=-specs=" + specs:    {"LDFLAGS has", "not readable"},
		"CFLAGS=-DNAME=\"a b\"":      {"quotes are not interpreted"},
		"CFLAGS=-fplugin=/none/x.so": {"/none/x.so"},
	} {
		h := protected()
		err := h.adopt([]string{given})
		if fault.ClassOf(err) != fault.Environment {
			t.Errorf("%s: got %v", given, err)
			continue
		}
		for _, text := range want {
			if !strings.Contains(err.Error()+fault.HintOf(err), text) {
				t.Errorf("%s: %v lacks %q", given, err, text)
			}
		}
	}
}

func TestAdoptTriesTheFlags(t *testing.T) {
	h := realCompiler(t, "gcc")
	if err := h.Adopt(t.Context(), &run.Runner{}, []string{"CFLAGS=-O3 -g", "LDFLAGS=-Wl,--as-needed"}, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(h.Given.Compile, []string{"-O3", "-g"}) || !slices.Equal(h.Given.Link, []string{"-Wl,--as-needed"}) {
		t.Errorf("got %+v", h.Given)
	}
	err := h.Adopt(t.Context(), &run.Runner{}, []string{"CFLAGS=-fno-such-flag"}, t.TempDir())
	if fault.ClassOf(err) != fault.Environment || !strings.Contains(err.Error(), "flags in CFLAGS") || !strings.Contains(err.Error(), "fno-such-flag") {
		t.Errorf("got %v", err)
	}
}

func TestCheck(t *testing.T) {
	h := realCompiler(t, "gcc")
	if err := h.Harden(t.Context(), &run.Runner{}, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	build := func(name string, flags ...string) string {
		file := filepath.Join(dir, name)
		source := program(t, dir, name+".c", "")
		if err := os.WriteFile(source, []byte("int main(void) { return 0; }\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		var r run.Runner
		if err := r.Run(t.Context(), run.Cmd{Argv: slices.Concat(h.CC, flags, []string{"-o", file, source}), Env: h.Env}); err != nil {
			t.Fatal(err)
		}
		return file
	}
	f := h.Flags(HardeningAuto)
	good := build("good", append(f.Words(), "-O2")...)
	bad := build("bad", "-Wl,-z,norelro", "-Wl,-z,lazy", "-fno-pie", "-no-pie", "-Wl,-z,execstack")
	var log strings.Builder
	if err := f.Check(&log, dir, []string{good, bad + ".c"}); err != nil {
		t.Error(err)
	}
	err := f.Check(&log, dir, []string{good, bad})
	if fault.ClassOf(err) != fault.Build || !strings.Contains(err.Error(), "bad lacks RELRO, immediate binding, position independence, a stack without execution") || strings.Contains(err.Error(), "good") {
		t.Errorf("got %v", err)
	}
	if err := h.Flags(HardeningNone).Check(&log, dir, []string{bad}); err != nil {
		t.Errorf("--hardening none: %v", err)
	}
}
