//go:build linux

package linkage

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
	"modwsgi/packaging"
)

func TestNewerGlibc(t *testing.T) {
	for version, want := range map[string]bool{
		"GLIBC_2.28": false, "GLIBC_2.29": true, "GLIBC_2.3.4": false, "GLIBC_2.2.5": false, "GLIBC_ABI_DT_RELR": true, "GLIBC_PRIVATE": false, "GLIBCXX_3.4.29": false, "OPENSSL_3.0.0": false,
	} {
		if got := newerGlibc(version, "2.28"); got != want {
			t.Errorf("%s: %v", version, got)
		}
	}
	if newerGlibc("GLIBC_ABI_DT_RELR", "2.36") {
		t.Error("glibc 2.36 has packed relocations")
	}
}

// compiled compiles a shared library into a tree.
func compiled(t *testing.T, name, source string, flags ...string) *packaging.Tree {
	t.Helper()
	if testing.Short() {
		t.Skip("-short starts no compiler")
	}
	if _, err := run.LookPath("cc", os.Environ()); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	src := filepath.Join(t.TempDir(), "x.c")
	if err := os.WriteFile(src, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	argv := append([]string{"cc", "-shared", "-fPIC", "-o", filepath.Join(dir, name), src}, flags...)
	if err := (&run.Runner{}).Run(t.Context(), run.Cmd{Argv: argv, Env: os.Environ()}); err != nil {
		t.Fatal(err)
	}
	tree, err := packaging.Scan(dir)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func TestLimit(t *testing.T) {
	// getrandom came with glibc 2.25, and strlen is older than every target.
	const source = "#include <string.h>\nlong getrandom(void *, unsigned long, unsigned);\nlong f(char *s) { return getrandom(s, strlen(s), 0); }\n"
	tree := compiled(t, "mod_x.so", source)
	libc := func(limit string) Options {
		return Options{Libc: limit, Limit: limit, LibDir: "lib", Targets: []string{"manylinux_2_28_test"}}
	}
	_, err := Apply(tree, libc("glibc 2.24"))
	if err == nil || fault.ClassOf(err) != fault.Environment {
		t.Fatalf("a newer symbol is accepted: %v", err)
	}
	for _, want := range []string{"mod_x.so requires getrandom@GLIBC_2.25", "which glibc 2.24 does not have"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not contain %q", err, want)
		}
	}
	r, err := Apply(tree, libc("glibc 2.28"))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(r.Tags, "manylinux_2_28_test") || !slices.ContainsFunc(r.Tags, func(tag string) bool { return strings.HasPrefix(tag, "manylinux_2_26_") }) {
		t.Errorf("tags %q: want that of the target and that of the symbols", r.Tags)
	}
	o := libc("glibc 2.25") // the next published policy is newer than the target
	o.Targets = []string{"manylinux_2_25_test"}
	if r, err = Apply(tree, o); err != nil || !slices.Equal(r.Tags, o.Targets) {
		t.Errorf("tags %q, %v: want only that of the target", r.Tags, err)
	}
	if _, err := Apply(tree, libc("musl 1.2")); err == nil || !strings.Contains(err.Error(), "mod_x.so needs libc.so.6, the GNU C library, not musl") {
		t.Errorf("glibc's library for musl: %v", err)
	}
	if r, err = Apply(tree, Options{Libc: "glibc 2.36", LibDir: "lib"}); err != nil || slices.Contains(r.Tags, "manylinux_2_28_test") {
		t.Errorf("without a limit: %+v, %v", r, err)
	}
}

// Each file is named, with its own symbols, and old ones are not.
func TestLimitNamesEveryFile(t *testing.T) {
	tree := compiled(t, "mod_a.so", "long getrandom(void *, unsigned long, unsigned);\nlong f(void) { return getrandom(0, 0, 0); }\n")
	second := compiled(t, "mod_b.so", "int memfd_create(const char *, unsigned);\nint g(void) { return memfd_create(\"\", 0); }\n")
	data, err := os.ReadFile(filepath.Join(second.Root, "mod_b.so"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree.Root, "mod_b.so"), data, 0o755); err != nil {
		t.Fatal(err)
	}
	if tree, err = packaging.Scan(tree.Root); err != nil {
		t.Fatal(err)
	}
	_, err = Apply(tree, Options{Libc: "glibc 2.17", Limit: "glibc 2.17", LibDir: "lib"})
	if err == nil || !strings.Contains(err.Error(), "mod_a.so requires getrandom@GLIBC_2.25") || !strings.Contains(err.Error(), "mod_b.so requires memfd_create@GLIBC_2.27") {
		t.Errorf("%v on %s", err, runtime.GOARCH)
	}
}
