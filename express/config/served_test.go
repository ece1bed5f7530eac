package config

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestBelow(t *testing.T) {
	base := t.TempDir()
	real, link := filepath.Join(base, "releases", "42"), filepath.Join(base, "current")
	if err := errors.Join(os.MkdirAll(filepath.Join(real, "app"), 0o755), os.Symlink(real, link), os.WriteFile(filepath.Join(real, "app", "x"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ dir, path, want string }{
		{real, filepath.Join(real, "app", "x"), "app/x"},
		{link, filepath.Join(real, "app", "x"), "app/x"},
		{real, filepath.Join(link, "app", "x"), "app/x"},
		{real, filepath.Join(link, "not", "there"), "not/there"},
		{real, link, "."},
		{real, base, ""},
		{filepath.Join(real, "app"), filepath.Join(real, "application"), ""},
		{filepath.Join(base, "new"), filepath.Join(base, "new", "x"), "x"},
	} {
		if got, _ := inside(c.dir, c.path); got != c.want {
			t.Errorf("%s below %s: %q, want %q", c.path, c.dir, got, c.want)
		}
	}
}
