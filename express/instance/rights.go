package instance

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"modwsgi/express/host"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
)

// CheckLogs refuses, for root, a log file that another user has turned into something
// that root must not write to: httpd opens it by name. If another user could do so
// later, CheckLogs only warns, because many log directories are set up that way.
func CheckLogs(dir string, names []string) (warning string, err error) {
	var u *owned.Untrusted
	theirs := errors.As(owned.Check(dir), &u)
	const hint = "remove it, or choose a directory that only root can write to with --log-directory"
	for _, name := range names {
		path := filepath.Join(dir, name)
		info, err := os.Lstat(path)
		if err != nil {
			continue
		}
		switch {
		case info.Mode()&fs.ModeSymlink != 0 && owned.UID(info) != os.Geteuid():
			return "", fault.New(fault.Environment, hint, "the log file %s is a symbolic link of another user's (%s), and root would write to its target", path, owned.Owner(info))
		case theirs && info.Mode()&fs.ModeSymlink == 0 && !info.Mode().IsRegular():
			return "", fault.New(fault.Environment, hint, "the log file %s is not a regular file, and another user can write to its directory", path)
		case theirs && host.Links(info) > 1:
			return "", fault.New(fault.Environment, hint, "the log file %s has other hard links; another user may have linked a file of root's there", path)
		}
	}
	if theirs {
		warning = "another user can replace the log files in " + dir + ", which root writes to: " + u.At + ": " + u.Why
	}
	return warning, nil
}

// openUp lets the application's account pass through the server root. An existing
// directory keeps its wider rights, except that the application's group may not write to
// it, even if the directory's group (root's, mode 0770) was allowed to.
func openUp(dir *owned.Dir, a *host.Account) error {
	if !a.Other {
		return nil
	}
	info, err := dir.Root().Stat(".")
	if err != nil || info.Mode().Perm()&0o001 != 0 {
		return err
	}
	// The mode first: the new group must not get the old one's rights, not even briefly.
	if err := dir.Root().Chmod(".", info.Mode().Perm()&^0o020|0o710); err != nil {
		return err
	}
	return dir.Root().Chown(".", -1, a.GID)
}

// giveDirectory gives the application an open directory that belongs to us, to write to
// (mine) or to read.
func giveDirectory(dir *os.File, a *host.Account, mine bool) error {
	if mine {
		return dir.Chown(a.UID, a.GID)
	}
	return errors.Join(dir.Chown(-1, a.GID), dir.Chmod(0o750))
}

// giveGroup lets the application read an open file that belongs to us. The mode comes
// first, as in openUp.
func giveGroup(f *os.File, a *host.Account) error {
	return errors.Join(f.Chmod(0o640), f.Chown(-1, a.GID))
}

// CheckSocketPath reports a directory whose path is too long for the sockets in it
// (sockaddr_un holds 108 bytes on Linux, 104 elsewhere, including the final NUL).
func CheckSocketPath(dir string) error {
	name := filepath.Join(dir, fmt.Sprintf("wsgi.%d.u%d.%d.sock", 4194304, os.Geteuid(), 10))
	if limit := len(syscall.RawSockaddrUnix{}.Path) - 1; len(name) > limit {
		return fault.New(fault.Environment, "give a directory with a short path with --socket-prefix, or a shorter --server-root",
			"the path of the sockets in %s would have %d characters, and the system allows %d", dir, len(name), limit)
	}
	return nil
}

// RemoveStaleSockets removes the sockets that daemon processes of an ended httpd left.
func RemoveStaleSockets(dir *owned.Dir) {
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
		if pid, err := strconv.Atoi(number); err == nil && host.HasEnded(pid) {
			_ = dir.Remove(e.Name())
		}
	}
}
