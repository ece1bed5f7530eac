//go:build unix

package instance

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
)

// must ends the test at the first error.
func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// at sets what happens at a moment between a check and what it is for.
func at(t *testing.T, name string, f func()) {
	t.Helper()
	before := Moment
	t.Cleanup(func() { Moment = before })
	Moment = func(m string) {
		if m == name {
			f()
		}
	}
}

// tempDir creates a directory that other users can enter, and returns its path without
// links.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err, os.Chmod(dir, 0o755))
	return dir
}

// mkdir creates a directory with a mode, whatever the umask.
func mkdir(t *testing.T, dir string, mode fs.FileMode) string {
	t.Helper()
	must(t, os.MkdirAll(dir, 0o755), os.Chmod(dir, mode))
	return dir
}

// write creates a file with a mode, whatever the umask.
func write(t *testing.T, path, text string, mode fs.FileMode) string {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode))
	return path
}

// opened opens a directory for as long as the test takes.
func opened(t *testing.T, path string) *owned.Dir {
	t.Helper()
	dir, err := owned.OpenDir(path)
	must(t, err)
	t.Cleanup(func() { _ = dir.Close() })
	return dir
}

// plantRoot creates a server root by hand.
func plantRoot(t *testing.T, root, httpd string) *Launch {
	t.Helper()
	l := &Launch{
		HTTPD: httpd, Argv0: "httpd", Args: []string{"-f", filepath.Join(root, ConfFile)}, Dir: "/", Root: root,
		Host: "127.0.0.1", Port: 47313, Pid: filepath.Join(root, "httpd.pid"), Drain: 1,
	}
	mkdir(t, root, 0o755)
	write(t, filepath.Join(root, ConfFile), "", 0o600)
	saveLaunch(t, l)
	return l
}

func saveLaunch(t *testing.T, l *Launch) {
	t.Helper()
	data, err := json.Marshal(l)
	must(t, err)
	write(t, filepath.Join(l.Root, InstanceFile), string(data), 0o600)
}

// wants reports an error that is not of the class, lacks the text or has no hint.
func wants(t *testing.T, what string, err error, class fault.Class, text string) {
	t.Helper()
	switch {
	case err == nil || fault.ClassOf(err) != class || !strings.Contains(err.Error(), text):
		t.Errorf("%s: %v (class %d), want %q (class %d)", what, err, fault.ClassOf(err), text, class)
	case class != fault.Usage && fault.HintOf(err) == "":
		t.Errorf("%s: no hint: %v", what, err)
	}
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	info, err := os.Lstat(path)
	must(t, err)
	return info.Sys().(*syscall.Stat_t).Ino
}
