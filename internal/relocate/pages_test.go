package relocate

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestRewriteKeepsPagesOfOtherSizes: kernels for arm64 may have pages of 64 KiB, so the
// segments of a rewritten file keep that alignment, including the added one.
func TestRewriteKeepsPagesOfOtherSizes(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a compiler")
	}
	gcc, err := exec.LookPath("aarch64-linux-gnu-gcc")
	if err != nil {
		t.Skip("no compiler for arm64: aarch64-linux-gnu-gcc not found")
	}
	dir := t.TempDir()
	source, library := filepath.Join(dir, "one.c"), filepath.Join(dir, "libone.so")
	if err := os.WriteFile(source, []byte("int value = 1;\nint one(void) { return value; }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(gcc, "-shared", "-fPIC", "-nostdlib", "-Wl,-soname,libone.so", "-o", library, source).CombinedOutput(); err != nil {
		t.Skipf("it does not work: %v: %s", err, out)
	}
	before := loads(t, library)
	path := "$ORIGIN/../a/rather/long/directory/that/was/not/there/before"
	if err := Rewrite(library, Edit{RunPath: &path}); err != nil {
		t.Fatal(err)
	}
	after := loads(t, library)
	if len(after) != len(before)+1 {
		t.Fatalf("%d segments, then %d: the file was not extended", len(before), len(after))
	}
	const page = 64 << 10
	for _, p := range append(before, after...) {
		if p.Align < page || p.Align%page != 0 || p.Vaddr%page != p.Off%page {
			t.Errorf("a segment at %#x, %#x in the file, is aligned to %#x", p.Vaddr, p.Off, p.Align)
		}
	}
}

func loads(t *testing.T, name string) (all []elf.ProgHeader) {
	t.Helper()
	f, err := elf.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD {
			all = append(all, p.ProgHeader)
		}
	}
	return all
}
