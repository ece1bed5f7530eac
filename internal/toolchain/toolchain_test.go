//go:build unix

package toolchain

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// good is a compiler that passes Find's tests; "$0" stands for it.
const good = `
case "$*" in
*-dumpmachine) echo x86_64-test-linux ;;
*--version) echo "test compiler 1.0"; echo "Copyright" ;;
*-E*) cat >/dev/null; echo glibc 2 36 ;;
*) while [ $# -gt 1 ]; do [ "$1" = -o ] && : >"$2"; shift; done ;;
esac
`

// program writes a shell script to dir.
func program(t *testing.T, dir, name, body string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// path is a PATH with the tools that scripts need, but without a compiler.
func path(t *testing.T, dirs ...string) string {
	t.Helper()
	dir := t.TempDir()
	cat, err := run.LookPath("cat", []string{"PATH=/usr/bin:/bin"})
	if err != nil {
		t.Skip(err)
	}
	if err := os.Symlink(cat, filepath.Join(dir, "cat")); err != nil {
		t.Fatal(err)
	}
	return "PATH=" + strings.Join(append(dirs, dir), ":")
}

func find(t *testing.T, env ...string) (*Toolchain, error) {
	t.Helper()
	return Find(t.Context(), &run.Runner{}, env, t.TempDir())
}

func TestFind(t *testing.T) {
	bin := t.TempDir()
	program(t, bin, "gcc", good)
	program(t, bin, "mycc", good)
	program(t, bin, "ccache", `exec "$@"`+"\n")
	for name, c := range map[string]struct {
		env  []string
		want []string
	}{
		"first in the list": {nil, []string{"gcc"}},
		"CC":                {[]string{"CC=mycc"}, []string{"mycc"}},
		"CC with flags":     {[]string{"CC=mycc  -m64\t-pipe "}, []string{"mycc", "-m64", "-pipe"}},
		"ccache":            {[]string{"CC=ccache gcc"}, []string{"ccache", "gcc"}},
		"path":              {[]string{"CC=" + bin + "/mycc"}, []string{bin + "/mycc"}},
		"empty CC":          {[]string{"CC="}, []string{"gcc"}},
		"blank CC":          {[]string{"CC=  "}, []string{"gcc"}},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := find(t, append(c.env, path(t, bin))...)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(h.CC, c.want) || h.Target != "x86_64-test-linux" || h.Compiler != "test compiler 1.0" || h.Libc != "glibc 2.36" {
				t.Errorf("got %+v", h)
			}
		})
	}
}

func TestFindRealCompiler(t *testing.T) {
	if testing.Short() {
		t.Skip("-short starts no compiler")
	}
	if _, err := run.LookPath("cc", os.Environ()); err != nil {
		t.Skip(err)
	}
	h, err := find(t, "PATH="+os.Getenv("PATH"), "TMPDIR=/no/such", "SOURCE_DATE_EPOCH=0")
	if err != nil {
		t.Fatal(err)
	}
	scratch := t.TempDir()
	if err := h.Try(t.Context(), &run.Runner{}, scratch, "none", "#include <no/such.h>\n"); err == nil {
		t.Error("a missing header was found")
	}
	if err := h.Try(t.Context(), &run.Runner{}, scratch, "m", "int main(void) { return 0; }\n", "-lm"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(scratch, "probe-m")); err != nil {
		t.Error(err)
	}
}

func TestFindRefuses(t *testing.T) {
	bin := t.TempDir()
	program(t, bin, "silent", "exit 0\n")
	program(t, bin, "chatty", "echo wrapper says hello; echo x86_64-linux\n")
	program(t, bin, "broken", "echo 'broken: cannot do that' >&2; exit 1\n")
	program(t, bin, "nolibc", strings.Replace(good, "*) while", "*) echo 'stdio.h: No such file' >&2; exit 1; while", 1))
	program(t, bin, "noversion", strings.Replace(good, "echo \"test compiler 1.0\"", "exit 3", 1))
	program(t, bin, "lazy", strings.Replace(good, "*) while", "*) exit 0; while", 1))
	program(t, bin, "picky", strings.Replace(good, "*) while", "*) echo 'picky: what is b?' >&2; exit 1; while", 1))
	program(t, bin, "gcc", good)
	for name, c := range map[string]struct {
		env  []string
		says []string
		hint string
	}{
		"nothing there":      {[]string{path(t)}, []string{"no C compiler", "cc, gcc, clang"}, "CC"},
		"no PATH":            {nil, []string{"no C compiler"}, "CC"},
		"CC not there":       {[]string{"CC=nocc -m64", path(t, bin)}, []string{`CC is "nocc -m64"`, `program "nocc" was not found`}, "unset it"},
		"CC with quotes":     {[]string{`CC="/a b/gcc" -m64`, path(t, bin)}, []string{`program "\"/a"`}, "quotes are not interpreted"},
		"CC broken":          {[]string{"CC=broken", path(t, bin)}, []string{`"broken"`, "broken: cannot do that"}, "set CC"},
		"CC says nothing":    {[]string{"CC=silent", path(t, bin)}, []string{"does not report its target"}, "set CC"},
		"wrapper that talks": {[]string{"CC=chatty", path(t, bin)}, []string{"does not report its target", "hello"}, "prints nothing"},
		"no version":         {[]string{"CC=noversion", path(t, bin)}, []string{"for its version"}, "set CC"},
		"no libc headers":    {[]string{"CC=nolibc", path(t, bin)}, []string{"cannot build a program", "stdio.h"}, "install"},
		"makes nothing":      {[]string{"CC=lazy", path(t, bin)}, []string{"cannot build a program", "wrote no output"}, "install"},
		"refuses its flags":  {[]string{`CC=picky '-DX=a b'`, path(t, bin)}, []string{"cannot build a program"}, "quotes are not interpreted"},
		"a directory":        {[]string{"CC=" + bin, path(t, bin)}, []string{"permission denied"}, "set CC"},
		"bad date":           {[]string{"SOURCE_DATE_EPOCH=yesterday", path(t, bin)}, []string{`SOURCE_DATE_EPOCH is "yesterday"`}, "date +%s"},
		"negative date":      {[]string{"SOURCE_DATE_EPOCH=-1", path(t, bin)}, []string{`"-1"`}, "date +%s"},
		"date out of range":  {[]string{"SOURCE_DATE_EPOCH=253402300800", path(t, bin)}, []string{"253402300800"}, "date +%s"},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := find(t, c.env...)
			if err == nil {
				t.Fatalf("found %+v", h)
			}
			for _, s := range c.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q does not say %q", err, s)
				}
			}
			if fault.ClassOf(err) != fault.Environment || !strings.Contains(fault.HintOf(err), c.hint) {
				t.Errorf("class %v, hint %q", fault.ClassOf(err), fault.HintOf(err))
			}
		})
	}
}

func TestFindCancelled(t *testing.T) {
	bin := t.TempDir()
	program(t, bin, "cc", good)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	cancel(stop)
	if _, err := Find(ctx, &run.Runner{}, []string{path(t, bin)}, t.TempDir()); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}

// The environment omits variables that make a build depend on its caller, and relative paths.
func TestEnvironment(t *testing.T) {
	got := environment([]string{
		"PATH=.:/usr/bin::bin:/bin:../x", "HOME=/home/me", "TMPDIR=tmp", "CCACHE_DIR=/cc", "MAKEFLAGS=-n", "CFLAGS=-x", "LDFLAGS=-x",
		"LD_LIBRARY_PATH=/x", "LD_PRELOAD=/x", "CONFIG_SITE=/x", "CDPATH=/", "GREP_OPTIONS=-v", "BASH_ENV=/x", "ENV=/x", "LANG=de_DE.UTF-8",
		"LC_ALL=tr_TR.UTF-8", "CPATH=/x", "C_INCLUDE_PATH=/x", "LIBRARY_PATH=/x", "GCC_EXEC_PREFIX=/x", "DESTDIR=/x", "PKG_CONFIG_PATH=/x", "IFS=/",
		"SOURCE_DATE_EPOCH=7", "TZ=Asia/Tokyo", "POSIXLY_CORRECT=1", "TOKEN=secret",
	}, "7")
	slices.Sort(got)
	want := []string{
		"CCACHE_DIR=/cc", "CONFIG_SITE=/dev/null", "HOME=/home/me", "LANG=C", "LC_ALL=C", "PATH=/usr/bin:/bin", "SOURCE_DATE_EPOCH=7", "TZ=UTC",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestFullDiskIsNotAMissingPackage(t *testing.T) {
	h := &Toolchain{Family: "debian"}
	full := &run.Error{Argv: []string{"cc"}, Tail: []string{"/tmp/x.s: No space left on device"}, Err: errors.New("exit status 1")}
	if hint := Starved(full, "/scratch/dir"); !strings.Contains(hint, "space") || strings.Contains(hint, "apt-get") || !strings.Contains(hint, "TMPDIR") {
		t.Errorf("hint %q", hint)
	}
	other := &run.Error{Argv: []string{"cc"}, Tail: []string{"stdio.h: No such file"}, Err: errors.New("exit status 1")}
	files := &run.Error{Argv: []string{"cc"}, Tail: []string{"cc1: fatal error: x.c: Too many open files"}, Err: errors.New("exit status 1")}
	if hint := Starved(files, "/scratch/dir"); !strings.Contains(hint, "ulimit -n") || strings.Contains(hint, "TMPDIR") || Starved(other, "/scratch/dir") != "" {
		t.Errorf("hint %q", hint)
	}
	if hint := h.tryHint(other); !strings.Contains(hint, "libc6-dev") {
		t.Errorf("hint %q", hint)
	}
}
