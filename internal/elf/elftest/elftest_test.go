package elftest

import (
	stdelf "debug/elf"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/elf"
)

// TestMadeFilesAreRead: internal/elf reads the facts that a file was created with.
func TestMadeFilesAreRead(t *testing.T) {
	name := filepath.Join(t.TempDir(), "made")
	made := File{
		Machine: stdelf.EM_AARCH64, Soname: "libx.so.1", Needed: []string{"liba.so", "libb.so"}, RunPath: "$ORIGIN/../lib",
		Exports: map[string][]byte{"core_module": Words(20120211, 142), "empty": nil}, Text: "Apache/2.4.68",
	}
	if err := os.WriteFile(name, made.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := elf.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	facts, err := f.Facts()
	if err != nil || facts.Machine != "aarch64" || facts.Kind != "shared" || facts.Soname != "libx.so.1" || !slices.Equal(facts.Needed, made.Needed) || !slices.Equal(facts.RunPath, []string{made.RunPath}) {
		t.Errorf("%+v, %v", facts, err)
	}
	if major, minor, err := f.Uint32Pair("core_module"); err != nil || major != 20120211 || minor != 142 {
		t.Errorf("%d, %d, %v", major, minor, err)
	}
	if !f.Exports("empty") || f.Exports("other") {
		t.Error("the exported names differ")
	}
	if data, err := f.ReadOnlyData(); err != nil || !strings.Contains(string(data), "Apache/2.4.68") {
		t.Errorf("%q, %v", data, err)
	}
}
