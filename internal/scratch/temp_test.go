//go:build unix

package scratch

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
)

func makeDirs(t *testing.T, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func TestTemp(t *testing.T) {
	dir := t.TempDir()
	long := filepath.Join(dir, strings.Repeat("x", 100))
	makeDirs(t, long)
	for _, tt := range []struct {
		tmp   string
		short bool
		below string
	}{
		{dir, false, dir},
		{long, false, long},
		{long, true, "/tmp"},
		{"relative", false, "/tmp"},
		{"", true, "/tmp"},
	} {
		got, err := Temp([]string{"TMPDIR=" + tt.tmp}, "test", tt.short)
		if err != nil {
			t.Fatalf("%q: %v", tt.tmp, err)
		}
		if filepath.Dir(got.Path()) != tt.below {
			t.Errorf("%q: %q", tt.tmp, got.Path())
		}
		_ = got.Discard()
	}
	_, err := Temp([]string{"TMPDIR=" + filepath.Join(dir, "none")}, "test", false)
	if text := fmt.Sprint(err, fault.HintOf(err)); fault.ClassOf(err) != fault.Environment || !strings.Contains(text, "TMPDIR") || !strings.Contains(text, filepath.Join(dir, "none")) {
		t.Errorf("%v: %s", fault.ClassOf(err), text)
	}
}

// TestOldScratchIsSwept leaves what a killed run would have left.
func TestOldScratchIsSwept(t *testing.T) {
	base := t.TempDir()
	old := time.Now().Add(-time.Hour)
	for _, name := range []string{"modwsgi-verify-abcdefghijkl", "modwsgi-probe-222222222222", "modwsgi-mine", "other-123456"} {
		makeDirs(t, filepath.Join(base, name, "x", "y"))
		if err := os.Chtimes(filepath.Join(base, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(base, filepath.Join(base, "modwsgi-work-zyxwvutsrqpo")); err != nil {
		t.Fatal(err)
	}
	made, err := Temp([]string{"TMPDIR=" + base}, Probe, false)
	if err != nil {
		t.Fatal(err)
	}
	dir := made.Path()
	if err := os.Chtimes(dir, old, old); err != nil {
		t.Fatal(err)
	}
	temp, err := owned.OpenTemp(base)
	if err != nil {
		t.Fatal(err)
	}
	defer temp.Close()
	Sweep(temp) // ours is in use
	names := entries(t, base)
	want := []string{filepath.Base(dir), "modwsgi-mine", "modwsgi-work-zyxwvutsrqpo", "other-123456"}
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
	if err := made.Discard(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("it was not removed")
	}
}

// TestTempThatOthersCannotEnter: root's own TMPDIR is unsuitable for a server that runs
// as another user.
func TestTempThatOthersCannotEnter(t *testing.T) {
	closed := t.TempDir()
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	dir, err := Temp([]string{"TMPDIR=" + closed}, "test", true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dir.Discard() }()
	if own := filepath.Dir(dir.Path()) == closed; own == (os.Geteuid() == 0) {
		t.Errorf("it is %s", dir.Path())
	}
}
