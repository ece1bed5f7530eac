//go:build unix

package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"modwsgi/internal/owned"
	"modwsgi/internal/run"
)

// DefaultRoot returns the server root to use if none is given. Its name identifies the
// instance. It is in the user's private runtime directory, or else in the directory for
// temporary files.
func DefaultRoot(env []string, host string, port int, a *Account) string {
	name := fmt.Sprintf("mod_wsgi-%s:%d:%d", host, port, os.Geteuid())
	if dir := run.Getenv(env, "XDG_RUNTIME_DIR"); !a.Other && filepath.IsAbs(dir) && private(dir) {
		return filepath.Join(dir, name)
	}
	tmp := run.Getenv(env, "TMPDIR")
	if !filepath.IsAbs(tmp) {
		tmp = "/tmp"
	}
	return filepath.Join(tmp, name)
}

// private reports whether a directory belongs to the current user and no other user may
// enter it.
func private(path string) bool {
	dir, err := owned.OpenDir(path)
	if err != nil {
		return false
	}
	defer func() { _ = dir.Close() }()
	info, err := dir.Root().Stat(".")
	return err == nil && owned.UID(info) == os.Geteuid() && info.Mode().Perm() == 0o700
}

// Links returns the number of hard links to a file, or 0 if it is unknown.
func Links(info fs.FileInfo) uint64 {
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(sys.Nlink)
	}
	return 0
}

// HasEnded reports whether no process with this ID exists.
func HasEnded(pid int) bool { return errors.Is(unix.Kill(pid, 0), unix.ESRCH) }

// LimitUmask ensures that files created by httpd and the application are not writable
// for everyone.
func LimitUmask() { unix.Umask(unix.Umask(0o077) | 0o002) }
