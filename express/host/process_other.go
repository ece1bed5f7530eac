//go:build unix && !linux

package host

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a running httpd that was identified as the instance's.
type Process struct{ Pid int }

// Identify returns the process with this ID if it is the httpd of the instance.
func Identify(pid int, h *HTTPD) (*Process, error) {
	if Gone(pid) {
		return nil, nil
	}
	f, err := factsOf(pid)
	if err != nil || !h.isHTTPD(f) {
		return nil, err
	}
	return &Process{pid}, nil
}

// Exists reports whether a process has the instance's configuration in its command line.
// It is not determined on these systems.
func (h *HTTPD) Exists() bool { return true }

// Gone reports whether a process has ended, or does not exist.
func Gone(pid int) bool { return errors.Is(unix.Kill(pid, 0), unix.ESRCH) }

// Ended reports whether the process has ended.
func (p *Process) Ended() bool { return Gone(p.Pid) }

// Wait returns when the process has ended.
func (p *Process) Wait() {
	for !p.Ended() {
		time.Sleep(time.Second)
	}
}

// Signal sends a signal to the process. It returns os.ErrProcessDone if the process has
// ended.
func (p *Process) Signal(k SignalKind) error {
	err := unix.Kill(p.Pid, k)
	if errors.Is(err, unix.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

func (p *Process) Release() {}
