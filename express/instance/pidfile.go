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

// The number in a PID file decides which process is ended, as root with root's rights.
// It is trusted only if no other user can write the file, and only if the process with
// that number is the instance's httpd (process_linux.go): the system may have given an
// old number to another process since.

// pidDir opens the directory of a PID file. As root, no other user may be able to
// create an entry in it, not even beside ours as in /tmp: httpd writes the file by
// name.
func pidDir(path string) (*owned.Dir, error) {
	if host.AsRoot() {
		return owned.OpenDir(filepath.Dir(path))
	}
	return owned.OpenTemp(filepath.Dir(path))
}

// CheckPIDFile refuses a PID file that another user could replace, and the name of a
// file that is not a PID file.
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
		return fault.New(fault.Usage, "httpd would replace it; choose a new name", "option --pid-file: %s exists and is not the PID file of an httpd", path)
	}
	return nil
}

// IsPIDFile reports whether a file may be replaced by a PID file: it contains a number
// or nothing, or does not exist. The error is that of a file that another user may change.
func IsPIDFile(dir *owned.Dir, name string) (bool, error) {
	data, err := dir.ReadFile(name, 32)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case owned.IsUntrusted(err):
		return false, err
	case err != nil: // not a regular file, or too long
		return false, nil
	}
	text := strings.TrimSpace(string(data))
	_, err = strconv.Atoi(text)
	return text == "" || err == nil, nil
}

// highestPID bounds process IDs on every system (pid_max of Linux is at most 4194304;
// Windows counts further, in steps of four).
const highestPID = 1<<31 - 1

// ReadPID returns the number in a PID file, 0 if the file does not exist.
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
		return 0, nil //nolint:nilerr // httpd may be writing it, or the file is not an httpd's
	}
	return int(pid), nil
}

// WithPIDFile calls f with the directory and the name of the PID file. The server root
// is already open.
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

// Running returns the httpd of the instance, nil if it is not running. The caller must
// release it.
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
		return nil, fault.New(fault.Environment, hint, "the PID file of %s is not trusted: %w", l.Root, err)
	}
	if found != nil {
		Moment("process identified")
	}
	return found, nil
}

// RemovePIDFile removes the PID file that an earlier httpd left when it ended
// abnormally.
func (l *Launch) RemovePIDFile() {
	_ = l.WithPIDFile(func(dir *owned.Dir, name string) error { return dir.Remove(name) })
}
