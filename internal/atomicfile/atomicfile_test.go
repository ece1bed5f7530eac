package atomicfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"
)

func TestWriteReplacesAndSetsMode(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	for _, text := range []string{"one", "two"} {
		if err := Write(name, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		got, _ := os.ReadFile(name)
		if string(got) != text {
			t.Errorf("got %q, want %q", got, text)
		}
	}
	info, _ := os.Stat(name)
	if info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v", info.Mode())
	}
	only(t, dir, "f")
}

func TestFailureLeavesTheOldFileAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	if err := Write(name, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	if err := Copy(name, io.MultiReader(iotest.ErrReader(broken)), 0o600); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	if got, _ := os.ReadFile(name); string(got) != "old" {
		t.Errorf("got %q", got)
	}
	only(t, dir, "f")
	if err := Write(filepath.Join(dir, "no", "f"), nil, 0o600); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing directory: %v", err)
	}
}

// TestOnlyRegularFilesAreReplaced tries a device, directly and through a link, and a
// directory. All of them must stay.
func TestOnlyRegularFilesAreReplaced(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(os.DevNull, link); err != nil {
		t.Skip(err)
	}
	for _, name := range []string{link, dir} {
		before, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := Write(name, []byte("x"), 0o600); err == nil {
			t.Errorf("%s was replaced", name)
		}
		if after, err := os.Stat(name); err != nil || after.Mode() != before.Mode() {
			t.Errorf("%s: %v, %v", name, after, err)
		}
	}
	only(t, dir, "link")
}

func only(t *testing.T, dir, name string) {
	t.Helper()
	entries, _ := os.ReadDir(dir)
	if len(entries) != 1 || entries[0].Name() != name {
		t.Errorf("directory contains %v, want only %s", entries, name)
	}
}
