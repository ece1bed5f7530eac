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

// Configurations returns the configuration files of all httpds, of any user, as their
// command lines have them.
func Configurations() (files []string) {
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range names {
		line, err := os.ReadFile(name)
		if file := configuration(strings.Split(string(line), "\x00")); err == nil && filepath.IsAbs(file) && !slices.Contains(files, file) {
			files = append(files, file)
		}
	}
	slices.Sort(files)
	return files
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

// startOf returns the start time of a process, in ticks since boot.
func startOf(pid int) (string, error) {
	fields, err := statFields(strconv.Itoa(pid))
	if err != nil {
		return "", err
	}
	if len(fields) <= statStart || fields[statState] == "Z" || fields[statState] == "X" {
		return "", fs.ErrNotExist
	}
	return fields[statStart], nil
}

// Indexes of fields of statFields.
const (
	statState, statParent       = 0, 1
	statUser, statSystem        = 11, 12 // processor time, in ticks
	statStart, statResidentSize = 19, 21 // in ticks since boot, in pages
)

// statFields reads the file stat of a process (proc(5)). It returns the fields after the
// name, which is in parentheses and may contain anything.
func statFields(pid string) ([]string, error) {
	data, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:])), nil
}

// processIDs returns the numbers of all processes.
func processIDs() (pids []string) {
	names, _ := filepath.Glob("/proc/[0-9]*")
	for _, name := range names {
		pids = append(pids, filepath.Base(name))
	}
	return pids
}

// Birth returns a process ID and, after a space, when that process began.
func Birth(pid int) string {
	started, _ := startOf(pid)
	return strconv.Itoa(pid) + " " + started
}

// Lives reports whether a process with this birth still exists. One that is hidden from this
// process does.
func Lives(pid int, birth string) bool {
	now := Birth(pid)
	if now == birth && !strings.HasSuffix(now, " ") {
		return true
	}
	return strings.HasSuffix(now, " ") && strings.HasSuffix(birth, " ") && !errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}

// IsChild reports whether a process exists and was started by another one, as far as this
// process may see that.
func IsChild(pid, parent int) bool {
	if errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
		return false
	}
	fields, err := statFields(strconv.Itoa(pid))
	if err != nil {
		return !Gone(pid) || isHidden()
	}
	return len(fields) > statParent && fields[statState] != "Z" && fields[statParent] == strconv.Itoa(parent)
}

// isHidden reports whether the file system /proc hides processes of other accounts
// (hidepid, proc(5)).
func isHidden() bool {
	_, err := os.Stat("/proc/1/stat")
	return err != nil
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
