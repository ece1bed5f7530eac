package instance

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"modwsgi/express/host"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
)

// A pid file is a number that a process is ended by, with root's rights where root
// asks for it. It is believed only where nobody else can write it, and then only if
// the process with that number is the httpd of the instance (process_linux.go): the
// number may be an old one that the system has given to another process since.

// pidDir opens the directory of a pid file. As root it must be one in which nobody
// else can make an entry, not even beside ours as in /tmp: httpd writes the file by
// name.
func pidDir(path string) (*owned.Dir, error) {
	if host.AsRoot() {
		return owned.OpenDir(filepath.Dir(path))
	}
	return owned.OpenTemp(filepath.Dir(path))
}

// CheckPIDFile refuses a pid file that another user could replace, and the name of
// a file that is something else.
func CheckPIDFile(path string) error {
	dir, err := pidDir(path)
	var u *owned.Untrusted
	if errors.As(err, &u) {
		return fault.New(fault.Environment, "leave the option out, or "+refusals[Created].hint, "option --pid-file: httpd would write %s, and another user can replace it (%s: %s)", path, u.At, u.Why)
	}
	if err != nil {
		return fault.New(fault.Usage, "", "option --pid-file: %w", err)
	}
	defer func() { _ = dir.Close() }()
	if good, err := IsPIDFile(dir, filepath.Base(path)); err != nil {
		return fault.New(fault.Environment, "remove it, or choose another name", "option --pid-file: %w", err)
	} else if !good {
		return fault.New(fault.Usage, "httpd would replace it; choose a new name", "option --pid-file: %s is there and is not the pid file of an httpd", path)
	}
	return nil
}

// IsPIDFile reports whether a file may be replaced by a pid file: it holds a
// number or nothing, or is not there. The error is that of a file that another user
// may change.
func IsPIDFile(dir *owned.Dir, name string) (bool, error) {
	data, err := dir.ReadFile(name, 32)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case owned.IsUntrusted(err):
		return false, err
	case err != nil: // not a regular file, or a longer one
		return false, nil
	}
	text := strings.TrimSpace(string(data))
	_, err = strconv.Atoi(text)
	return text == "" || err == nil, nil
}

// highestPID bounds the numbers of processes, on every system (pid_max of Linux is
// 4194304 at most; Windows counts further, in steps of four).
const highestPID = 1<<31 - 1

// ReadPID returns the number in a pid file, 0 if there is no such file.
func ReadPID(dir *owned.Dir, name string) (int, error) {
	data, err := dir.ReadFile(name, 64)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	pid, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 31)
	if err != nil || pid < 2 || pid > highestPID || int(pid) == os.Getpid() {
		return 0, nil //nolint:nilerr // httpd may be writing it, or it is none of an httpd
	}
	return int(pid), nil
}

// WithPIDFile calls f with the directory and the name of the pid file. The server
// root is open already.
func (l *Launch) WithPIDFile(f func(dir *owned.Dir, name string) error) error {
	if l.Pid == "" {
		return nil
	}
	name := filepath.Base(l.Pid)
	if filepath.Dir(l.Pid) == l.Root {
		if l.Handle == nil { // not made yet
			return nil
		}
		return f(l.Handle, name)
	}
	dir, err := pidDir(l.Pid)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	return f(dir, name)
}

// Running returns the httpd of the instance, nil where it does not run. What it
// holds must be released.
func (l *Launch) Running() (*host.Process, error) {
	var found *host.Process
	err := l.WithPIDFile(func(dir *owned.Dir, name string) error {
		pid, err := ReadPID(dir, name)
		if err != nil || pid == 0 {
			return err
		}
		Moment("pid read")
		found, err = host.Identify(pid, &host.HTTPD{Program: l.HTTPD, Args: l.Args, UID: l.UID})
		return err
	})
	if err != nil {
		hint := "end httpd yourself, remove the file and run setup-server again"
		return nil, fault.New(fault.Environment, hint, "the pid file of %s is not believed: %w", l.Root, err)
	}
	if found != nil {
		Moment("process identified")
	}
	return found, nil
}

// RemovePIDFile removes what an earlier httpd that ended badly has left.
func (l *Launch) RemovePIDFile() {
	_ = l.WithPIDFile(func(dir *owned.Dir, name string) error { return dir.Remove(name) })
}
