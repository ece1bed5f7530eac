//go:build acceptance

package httpdbuild

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/elf"
	"modwsgi/internal/filetree"
	"modwsgi/internal/relocate"
	"modwsgi/internal/run"
	"modwsgi/internal/toolchain"
)

// hardened returns the flags of a build with the compiler's protections.
func hardened(t *testing.T, r *run.Runner, tc *toolchain.Toolchain) toolchain.Flags {
	t.Helper()
	if err := tc.Harden(t.Context(), r, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if missing := tc.Protection.Program.Missing(elf.Hardening{RELRO: true, BindNow: true, PIE: true}); missing != nil {
		t.Fatalf("the compiler %q of this machine cannot make a program with %q", tc.CC, missing)
	}
	return tc.Flags(toolchain.HardeningAuto)
}

// checkProtected checks every binary of a tree, and that each of its objects was compiled
// with every flag. logs has the command lines.
func checkProtected(t *testing.T, tree, logs string, flags toolchain.Flags) {
	t.Helper()
	count, fortified := 0, 0
	for _, name := range filetree.Glob(tree, "*/*") {
		if !relocate.IsELF(name) {
			continue
		}
		count++
		got, err := elf.ReadHardening(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if missing := got.Missing(elf.Hardening{RELRO: true, BindNow: true, PIE: true}); missing != nil {
			t.Errorf("%s lacks %q", name, missing)
		}
		if imports(t, name, "__fprintf_chk", "__sprintf_chk", "__snprintf_chk", "__strcpy_chk", "__memcpy_chk", "__vsnprintf_chk", "__printf_chk", "__strcat_chk") {
			fortified++
		}
	}
	if count < 100 || fortified < 5 && strings.Contains(strings.Join(flags.Compile, " "), "FORTIFY") {
		t.Errorf("%d binaries, %d of them with checked functions", count, fortified)
	}
	compiled := 0
	for _, name := range filetree.Glob(logs, "compile-*.log") {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			line := lines.Text()
			if !strings.Contains(line, " -c ") || !strings.HasPrefix(line, "+ cd ") || strings.Contains(line, "CROSS_COMPILE") {
				continue
			}
			compiled++
			for _, flag := range flags.Compile {
				if !strings.Contains(line, " "+flag+" ") {
					t.Errorf("%s: without %s: %s", filepath.Base(name), flag, line)
				}
			}
		}
		_ = f.Close()
	}
	if compiled < 300 && logs != "" {
		t.Errorf("the logs have %d compilations", compiled)
	}
}

// imports reports whether a file needs one of some functions.
func imports(t *testing.T, name string, functions ...string) bool {
	t.Helper()
	f, err := elf.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	all, err := f.Imports()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		for _, function := range functions {
			if i.Name == function {
				return true
			}
		}
	}
	return false
}
