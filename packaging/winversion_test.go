package packaging

import (
	"bytes"
	"debug/pe"
	"os"
	"path/filepath"
	"testing"
	"time"

	"modwsgi/internal/pe/petest"
)

// TestDescribeProgram: the archive of a release holds the time of each file, and is to be
// the same whenever it is made.
func TestDescribeProgram(t *testing.T) {
	program := filepath.Join(t.TempDir(), "modwsgi.exe")
	before := petest.File{Machine: pe.IMAGE_FILE_MACHINE_AMD64, Imports: []petest.Import{{Library: "KERNEL32.dll", Names: []string{"ExitProcess"}}}}.Bytes()
	commit := time.Date(2026, 9, 21, 14, 13, 20, 0, time.UTC)
	if err := os.WriteFile(program, before, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(program, 0o755); err != nil { // whatever the umask is
		t.Fatal(err)
	}
	if err := os.Chtimes(program, commit, commit); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time, it has a version
		if err := DescribeProgram(program, "1.2.3"); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(program)
		if err != nil {
			t.Fatal(err)
		}
		if !info.ModTime().Equal(commit) {
			t.Errorf("its time is %v", info.ModTime())
		}
		if filepath.Separator == '/' && info.Mode() != 0o755 {
			t.Errorf("its mode is %v", info.Mode())
		}
		if after, err := os.ReadFile(program); err != nil || bytes.Equal(after, before) {
			t.Errorf("unchanged, or %v", err)
		}
	}
}
