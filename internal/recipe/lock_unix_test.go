//go:build unix

package recipe

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestLockThatIsAPipe: a pipe in place of the lock file is reported, not waited for.
func TestLockThatIsAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "modwsgi.lock")
	if err := syscall.Mkfifo(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadLock(path); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("read: %v", err)
	}
	if _, err := (&Lock{}).Write(path); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("written: %v", err)
	}
}
