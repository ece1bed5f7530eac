//go:build unix

package express

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"modwsgi/express/config"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/run"
)

// defaultRoot is the server root where none is given: a name that tells the
// instance, in a directory that is ours or, failing that, in the temporary one.
func (p *Program) defaultRoot(host string, port int, a *account) string {
	name := fmt.Sprintf("mod_wsgi-%s:%d:%d", host, port, os.Geteuid())
	if dir := run.Getenv(p.Env, "XDG_RUNTIME_DIR"); !a.other && filepath.IsAbs(dir) && private(dir) {
		return filepath.Join(dir, name)
	}
	tmp := run.Getenv(p.Env, "TMPDIR")
	if !filepath.IsAbs(tmp) {
		tmp = "/tmp"
	}
	return filepath.Join(tmp, name)
}

// private reports whether a directory is ours and nobody else may enter it.
func private(path string) bool {
	dir, err := owned.OpenDir(path)
	if err != nil {
		return false
	}
	defer func() { _ = dir.Close() }()
	info, err := dir.Root().Stat(".")
	return err == nil && owned.UID(info) == os.Geteuid() && info.Mode().Perm() == 0o700
}

// checkLogs refuses, for root, a log file that somebody else has made something
// that root must not write to: httpd opens it by name. Where they can do so later,
// that is warned about: it is how many have set up the directory for their logs.
func (p *Program) checkLogs(i *instance) error {
	if !i.account.other || config.LogToTerminal.In(i) || i.printed {
		return nil
	}
	var u *owned.Untrusted
	theirs := errors.As(owned.Check(i.Logs), &u)
	names := []string{config.ErrorLogName.In(i), config.AccessLogName.In(i), config.StartupLogName.In(i)}
	for _, v := range config.ServiceLogFile.In(i) {
		names = append(names, v[1])
	}
	const hint = "remove it, or choose a directory that only root can write to with --log-directory"
	for _, name := range names {
		path := filepath.Join(i.Logs, name)
		info, err := os.Lstat(path)
		if err != nil {
			continue
		}
		sys, ok := info.Sys().(*syscall.Stat_t)
		switch {
		case info.Mode()&fs.ModeSymlink != 0 && owned.UID(info) != os.Geteuid():
			return fault.New(fault.Environment, hint, "the log file %s is a symbolic link of another user's (%s), and root would write to what it leads to", path, owned.Owner(info))
		case theirs && info.Mode()&fs.ModeSymlink == 0 && !info.Mode().IsRegular():
			return fault.New(fault.Environment, hint, "the log file %s is not a regular file, and another user can write to its directory", path)
		case theirs && ok && sys.Nlink > 1:
			return fault.New(fault.Environment, hint, "the log file %s has other names, which another user may have given to a file of root's", path)
		}
	}
	if theirs && config.LogDirectory.In(i) != "" {
		p.warn("another user can replace the log files in " + i.Logs + ", which root writes to: " + u.At + ": " + u.Why)
	}
	return nil
}

// openUp lets the application's account pass through the server root. What
// already exists keeps its wider rights, if it has some.
func openUp(dir *owned.Dir, a *account) error {
	if !a.other {
		return nil
	}
	info, err := dir.Root().Stat(".")
	if err != nil || info.Mode().Perm()&0o001 != 0 {
		return err
	}
	if err := dir.Root().Chown(".", -1, a.gid); err != nil {
		return err
	}
	return dir.Root().Chmod(".", info.Mode().Perm()|0o710)
}

// giveDirectory gives an open directory that belongs to us to the application, to write to
// (mine) or to read.
func giveDirectory(dir *os.File, a *account, mine bool) error {
	if mine {
		return dir.Chown(a.uid, a.gid)
	}
	return errors.Join(dir.Chown(-1, a.gid), dir.Chmod(0o750))
}

// giveGroup lets the application read an open file that belongs to us.
func giveGroup(f *os.File, a *account) error {
	return errors.Join(f.Chown(-1, a.gid), f.Chmod(0o640))
}

// number is the application's account where it is another one than ours.
func (a *account) number() int {
	if a.other {
		return a.uid
	}
	return 0
}

// checkSocketPath reports a directory that is too deep for the sockets in it
// (sockaddr_un holds 108 bytes on Linux, 104 elsewhere, with the final NUL).
func checkSocketPath(dir string) error {
	name := filepath.Join(dir, fmt.Sprintf("wsgi.%d.u%d.%d.sock", 4194304, os.Geteuid(), 10))
	if limit := len(syscall.RawSockaddrUnix{}.Path) - 1; len(name) > limit {
		return fault.New(fault.Environment, "give a directory with a short path with --socket-prefix, or a shorter --server-root",
			"the path of the sockets in %s would have %d characters, and the system allows %d", dir, len(name), limit)
	}
	return nil
}

// removeStaleSockets removes what daemon processes of an httpd that no longer
// runs have left.
func removeStaleSockets(dir *owned.Dir) {
	entries, err := dir.Entries()
	if err != nil {
		return
	}
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), "wsgi.")
		if !ok || !strings.HasSuffix(rest, ".sock") || e.Type()&fs.ModeSocket == 0 {
			continue
		}
		number, _, _ := strings.Cut(rest, ".")
		if pid, err := strconv.Atoi(number); err == nil && errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			_ = dir.Remove(e.Name())
		}
	}
}
