package host

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a running httpd that was identified as the instance's. A pidfd
// (pidfd_open(2)) ensures that signals do not reach another process that reuses its ID.
// On systems without pidfds, the start time of the process is compared.
type Process struct {
	Pid     int
	fd      int // -1 for none
	started string
}

// Identify returns the process with this ID if it is the httpd of the instance.
func Identify(pid int, h *HTTPD) (*Process, error) {
	proc := &Process{Pid: pid, fd: -1}
	fd, err := unix.PidfdOpen(pid, 0)
	switch {
	case err == nil:
		proc.fd = fd
	case !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM):
		return nil, nil // no process has this ID (EINVAL: it is a thread)
	}
	f, started, err := h.look(pid)
	// If the process still exists, all facts belong to it.
	proc.started = started
	if err != nil || !h.isHTTPD(f) || proc.Ended() {
		proc.Release()
		return nil, err
	}
	return proc, nil
}

// Exists reports whether a process of any user has the instance's configuration in its
// command line: httpd, or a worker that it has left.
func (h *HTTPD) Exists() bool {
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	return slices.ContainsFunc(names, func(name string) bool {
		line, err := os.ReadFile(name)
		found := configuration(strings.Split(string(line), "\x00"))
		return err == nil && found != "" && found == configuration(append([]string{""}, h.Args...))
	})
}

// Gone reports whether a process has ended, or does not exist.
func Gone(pid int) bool {
	_, err := startOf(pid)
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH)
}

// look reads information about a process from proc(5).
func (h *HTTPD) look(pid int) (f facts, started string, err error) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	started, err = startOf(pid)
	if err != nil {
		if _, err := os.Stat("/proc/self/stat"); err != nil {
			return f, "", fmt.Errorf("process %d cannot be identified without the file system /proc", pid)
		}
		return f, "", nil // the process has ended
	}
	status, err1 := os.ReadFile(dir + "status")
	line, err2 := os.ReadFile(dir + "cmdline")
	if errors.Join(err1, err2) != nil {
		return facts{}, "", nil
	}
	for text := range bytes.Lines(status) {
		if words := strings.Fields(string(text)); len(words) > 1 && words[0] == "Uid:" {
			for _, w := range words[1:] {
				uid, err := strconv.Atoi(w)
				if err != nil {
					uid = -1
				}
				f.uids = append(f.uids, uid)
			}
		}
	}
	f.args = strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
	// The program of a process with higher privileges is hidden (ptrace(2)).
	f.exe, err = os.Readlink(dir + "exe")
	if errors.Is(err, fs.ErrPermission) {
		return f, started, nil
	}
	if err != nil {
		return facts{}, "", nil
	}
	is, err1 := os.Stat(dir + "exe")
	want, err2 := os.Stat(h.Program)
	f.same = err1 == nil && err2 == nil && os.SameFile(is, want)
	return f, started, nil
}

// startOf returns the start time of a process, in ticks since boot (proc(5): the 22nd
// field; the second field, a name in parentheses, may contain spaces).
func startOf(pid int) (string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	text := string(data)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	const start, state = 19, 0 // indexes of the fields after the name
	if len(fields) <= start || fields[state] == "Z" || fields[state] == "X" {
		return "", fs.ErrNotExist
	}
	return fields[start], nil
}

// Ended reports whether the process has ended.
func (p *Process) Ended() bool {
	if p.fd >= 0 {
		fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		return err == nil && n > 0
	}
	started, err := startOf(p.Pid)
	return err != nil || started != p.started
}

// Wait returns when the process has ended.
func (p *Process) Wait() {
	for !p.Ended() {
		if p.fd < 0 {
			time.Sleep(time.Second)
			continue
		}
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}, -1)
	}
}

// Signal sends a signal to the process. It returns os.ErrProcessDone if the process has
// ended.
func (p *Process) Signal(k SignalKind) error {
	err := error(unix.ENOSYS)
	if p.fd >= 0 {
		err = unix.PidfdSendSignal(p.fd, k, nil, 0)
	}
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) { // a container's filter may allow only one of the calls
		if p.Ended() {
			return os.ErrProcessDone
		}
		err = unix.Kill(p.Pid, k)
	}
	if errors.Is(err, unix.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// Release closes the pidfd. It may be called on nil.
func (p *Process) Release() {
	if p != nil && p.fd >= 0 {
		_ = unix.Close(p.fd)
		p.fd = -1
	}
}
