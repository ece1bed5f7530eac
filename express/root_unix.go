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

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// defaultRoot is the server root where none is given: a name that tells the
// instance, in a directory that is ours or, failing that, in the temporary one.
func (p *Program) defaultRoot(host string, port int, a *account) string {
	name := fmt.Sprintf("mod_wsgi-%s:%d:%d", host, port, os.Geteuid())
	if dir := run.Getenv(p.Env, "XDG_RUNTIME_DIR"); !a.other && filepath.IsAbs(dir) {
		if info, err := os.Lstat(dir); err == nil && info.IsDir() && owner(info) == os.Geteuid() && info.Mode().Perm() == 0o700 {
			return filepath.Join(dir, name)
		}
	}
	tmp := run.Getenv(p.Env, "TMPDIR")
	if !filepath.IsAbs(tmp) {
		tmp = "/tmp"
	}
	return filepath.Join(tmp, name)
}

// checkRoot refuses a server root in which somebody else could have put or could
// change something. A missing one is fine.
func checkRoot(dir string, explicit bool) error {
	hint := "choose a directory of your own with --server-root"
	info, err := os.Lstat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fault.Wrap(fault.Environment, hint, err)
	case info.Mode()&fs.ModeSymlink != 0:
		return fault.New(fault.Environment, hint, "the server root %s is a symbolic link", dir)
	case !info.IsDir():
		return fault.New(fault.Environment, hint, "the server root %s is not a directory", dir)
	case owner(info) != os.Geteuid():
		return fault.New(fault.Environment, hint, "the server root %s belongs to another user (%s)", dir, ownerName(info))
	case info.Mode().Perm()&0o022 != 0:
		return fault.New(fault.Environment, "chmod go-w "+run.Quote(dir)+", or "+hint, "the server root %s can be written by others", dir)
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(dir))
	if err != nil {
		return fault.New(fault.Environment, "create it first", "the directory %s, in which the server root is to be made, is not there", filepath.Dir(dir))
	}
	at, err := replaceable(parent)
	if err != nil {
		return fault.Wrap(fault.Environment, hint, err)
	}
	if at != "" && !explicit {
		return fault.New(fault.Environment, hint, "another user can replace the server root %s, for %s is theirs or can be written by them", dir, at)
	}
	return nil
}

// replaceable returns the first directory, from a resolved one upwards, in which
// another user than root and ourselves could rename what is in it; "" for none.
func replaceable(dir string) (string, error) {
	for at := dir; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if err != nil {
			return "", err
		}
		open := info.Mode().Perm()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0
		if foreign := owner(info) != 0 && owner(info) != os.Geteuid(); open || foreign {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", nil
		}
	}
}

// warnReplaceable warns about a server root that was chosen where somebody else
// could replace it: that is theirs to decide, as in an image whose /app belongs
// to the application's account.
func (p *Program) warnReplaceable(dir string) {
	parent, err := filepath.EvalSymlinks(filepath.Dir(dir))
	if err != nil {
		return
	}
	if at, err := replaceable(parent); err == nil && at != "" {
		p.warn("another user can replace the server root " + dir + ", for " + at + " is theirs or can be written by them")
	}
}

// checkLogs refuses, for root, a log file that somebody else has made a symbolic
// link: httpd would write to what it leads to. Where they can do so later, that is
// warned about: it is how many have set up the directory for their logs.
func (p *Program) checkLogs(i *instance) error {
	if !i.account.other || i.LogToTerminal {
		return nil
	}
	names := []string{i.ErrorLogName, i.AccessLogName, i.StartupLogName}
	for _, v := range i.ServiceLogFiles {
		names = append(names, v[1])
	}
	for _, name := range names {
		path := filepath.Join(i.logs, name)
		info, err := os.Lstat(path)
		if err == nil && info.Mode()&fs.ModeSymlink != 0 && owner(info) != os.Geteuid() {
			return fault.New(fault.Environment, "remove it, or choose a directory that only root can write to with --log-directory",
				"the log file %s is a symbolic link of another user's (%s), and root would write to what it leads to", path, ownerName(info))
		}
	}
	dir, err := filepath.EvalSymlinks(i.logs)
	if err != nil || i.LogDirectory == "" {
		return nil
	}
	if at, err := replaceable(dir); err == nil && at != "" {
		p.warn("another user can replace the log files in " + i.logs + ", which root writes to, for " + at + " is theirs or can be written by them")
	}
	return nil
}

// makeRoot makes the server root and gives it the rights that it needs: nobody
// but us, and as root, the group of the application to pass through, for its
// processes reach their sockets and the glue in there.
func makeRoot(dir string, a *account) (created bool, err error) {
	err = os.Mkdir(dir, 0o700)
	switch {
	case err == nil:
		created = true
	case errors.Is(err, fs.ErrExist):
	default:
		return false, fault.New(fault.Environment, "choose another directory with --server-root", "make the server root: %w", err)
	}
	if !a.other {
		return created, nil
	}
	// What already exists keeps its wider rights, if it has some.
	info, err := os.Stat(dir)
	if err != nil {
		return created, err
	}
	if info.Mode().Perm()&0o001 != 0 {
		return created, nil
	}
	if err := os.Chown(dir, -1, a.gid); err != nil {
		return created, err
	}
	return created, os.Chmod(dir, info.Mode().Perm()|0o710)
}

// makeSub makes a directory in the server root; mine says that the application
// writes to it.
func makeSub(dir string, a *account, mine bool) error {
	err := os.Mkdir(dir, 0o700)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err != nil || !a.other {
		return nil
	}
	if mine {
		return os.Lchown(dir, a.uid, a.gid)
	}
	if err := os.Lchown(dir, -1, a.gid); err != nil {
		return err
	}
	return os.Chmod(dir, 0o750)
}

// passOn gives a directory that an earlier run made in the server root to the
// group of the account that the application has now.
func passOn(dir string, a *account) error {
	info, err := os.Lstat(dir)
	if err != nil || !a.other || !info.IsDir() || owner(info) != os.Geteuid() || info.Mode().Perm() != 0o750 {
		return err // somebody has given it other rights
	}
	return os.Lchown(dir, -1, a.gid)
}

// giveGroup lets the application read a file of ours.
func giveGroup(name string, a *account) error {
	if !a.other {
		return nil
	}
	if err := os.Lchown(name, -1, a.gid); err != nil {
		return err
	}
	return os.Chmod(name, 0o640)
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
func removeStaleSockets(dir string) {
	entries, err := os.ReadDir(dir)
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
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

func owner(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}

func ownerName(info fs.FileInfo) string { return "number " + strconv.Itoa(owner(info)) }
