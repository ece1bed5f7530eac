package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/windows"
)

// On Windows, httpd is stopped and restarted with events whose names contain its process
// ID (https://httpd.apache.org/docs/2.4/platform/windows.html#wincons).
const (
	shutdownEvent = "ap%d_shutdown"
	restartEvent  = "ap%d_restart"
)

// alive reports whether a process is running. A process that has ended can still be
// opened while another process holds a handle to it.
func alive(pid int) bool {
	h, err := windows.OpenProcess(windows.SYNCHRONIZE, false, uint32(pid))
	if err != nil {
		return errors.Is(err, windows.ERROR_ACCESS_DENIED)
	}
	defer func() { _ = windows.CloseHandle(h) }()
	event, err := windows.WaitForSingleObject(h, 0)
	return err == nil && event == uint32(windows.WAIT_TIMEOUT)
}

// SignalProcess sets an event of httpd. The event exists only in the session of that
// httpd. A service is controlled by the service manager instead.
func SignalProcess(pid int, kind SignalKind) error {
	format := shutdownEvent
	if kind == Graceful || kind == Restart {
		format = restartEvent
	}
	name, err := windows.UTF16PtrFromString(fmt.Sprintf(format, pid))
	if err != nil {
		return err
	}
	h, err := windows.OpenEvent(windows.EVENT_MODIFY_STATE, false, name)
	if err != nil {
		return fmt.Errorf("open the event of httpd: %w", err)
	}
	defer func() { _ = windows.CloseHandle(h) }()
	return windows.SetEvent(h)
}

// Process is a running httpd that was identified as the instance's.
type Process struct{ Pid int }

// Identify returns the process with this ID if it runs the instance's httpd. Processes
// of other users cannot be opened and are never the instance's.
func Identify(pid int, h *HTTPD) (*Process, error) {
	handle, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, uint32(pid))
	if err != nil {
		return nil, nil //nolint:nilerr // no process has this ID, or it belongs to another user
	}
	defer func() { _ = windows.CloseHandle(handle) }()
	name := make([]uint16, windows.MAX_LONG_PATH)
	size := uint32(len(name))
	if err := windows.QueryFullProcessImageName(handle, 0, &name[0], &size); err != nil {
		return nil, fmt.Errorf("find the program of process %d: %w", pid, err)
	}
	if !strings.EqualFold(filepath.Base(windows.UTF16ToString(name[:size])), filepath.Base(h.Program)) || !alive(pid) {
		return nil, nil
	}
	return &Process{pid}, nil
}

// Ended reports whether the process has ended.
func (p *Process) Ended() bool { return !alive(p.Pid) }

// Signal sets an event of the process. It returns os.ErrProcessDone if the process has
// ended.
func (p *Process) Signal(kind SignalKind) error {
	err := SignalProcess(p.Pid, kind)
	if err != nil && p.Ended() {
		return os.ErrProcessDone
	}
	return err
}

func (p *Process) Release() {}

// Wait returns when the process has ended.
func (p *Process) Wait() {
	for !p.Ended() {
		time.Sleep(time.Second)
	}
}

// Exists reports whether a process has the instance's configuration in its command line.
// It is not determined on Windows.
func (h *HTTPD) Exists() bool { return true }

// Gone reports whether a process has ended, or does not exist.
func Gone(pid int) bool { return !alive(pid) }
