//go:build unix && !linux

package express

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// process is a running httpd that was found to be the instance's.
type process struct{ pid int }

// identify returns the process with a number if it is the httpd of the instance.
func (l *launch) identify(pid int) (*process, error) {
	if errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
		return nil, nil
	}
	f, err := factsOf(pid)
	if err != nil || !l.isHTTPD(f) {
		return nil, err
	}
	return &process{pid}, nil
}

// ended reports whether the process has ended.
func (p *process) ended() bool { return errors.Is(unix.Kill(p.pid, 0), unix.ESRCH) }

// wait returns when the process has ended.
func (p *process) wait() {
	for !p.ended() {
		time.Sleep(time.Second)
	}
}

// signal asks the process for something; one that has ended is os.ErrProcessDone.
func (p *process) signal(k signalKind) error {
	err := unix.Kill(p.pid, k)
	if errors.Is(err, unix.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

func (p *process) release() {}
