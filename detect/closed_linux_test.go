package detect

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"modwsgi/internal/fault"
)

// TestPythonBehindAClosedDirectory: if this account cannot reach an environment's
// Python, the Python still exists, and creating the environment again would not help.
func TestPythonBehindAClosedDirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become another user")
	}
	dir, err := os.MkdirTemp("", "modwsgi-closed-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(dir, "closed", "bin", "python3")
	write(t, base, "\x7fELF", 0o755)
	symlink(t, base, filepath.Join(dir, "env", "bin", "python3"))
	write(t, filepath.Join(dir, "env", "pyvenv.cfg"), "home = "+filepath.Dir(base)+"\n", 0o644)
	for _, name := range []string{"env", "env/bin"} {
		_ = os.Chmod(filepath.Join(dir, name), 0o755)
	}
	if err := os.Chmod(filepath.Join(dir, "closed"), 0o700); err != nil {
		t.Fatal(err)
	}
	// The file system identity belongs to a thread, which ends with the test.
	runtime.LockOSThread()
	if err := syscall.Setfsuid(65534); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Setfsuid(0) }()
	_, _, err = ThisDisk().locateRequested(Request{Python: filepath.Join(dir, "env")})
	if !errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), base) {
		t.Errorf("%v", err)
	}
	if hint := fault.HintOf(err); strings.Contains(hint, "--clear") || !strings.Contains(hint, "directories") {
		t.Errorf("hint %q", hint)
	}
}
