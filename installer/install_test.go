//go:build unix

package installer

import (
	"os"
	"path/filepath"
	"testing"

	"modwsgi/internal/testkit"
)

func TestRootInstallsReadableFiles(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("an ordinary user's umask is respected")
	}
	dir := t.TempDir()
	testkit.Write(t, dir, map[string]string{"sub/data": "", "sub/program": ""})
	for name, mode := range map[string]os.FileMode{"sub/data": 0o600, "sub/program": 0o700, "sub": 0o700} {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/nowhere", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := openUp(dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{"sub/data": 0o644, "sub/program": 0o755, "sub": 0o755} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

// TestLockFileThatCannotBeWritten: it is a warning, because the lock file is optional.
func TestLockFileThatCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	testkit.Write(t, filepath.Dir(file), map[string]string{"file": ""})
	for _, path := range []string{filepath.Join(file, "modwsgi.lock"), "/proc/modwsgi.lock", filepath.Dir(file)} {
		var h testkit.Events
		if writeLock(path, &sources{}, h.Sink); !h.Has("warn the lock file was not written") {
			t.Errorf("%s: %q", path, h.Texts())
		}
	}
}
