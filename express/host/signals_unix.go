//go:build unix

package host

import (
	"os"

	"golang.org/x/sys/unix"
)

// Signals returns the signals that the launcher must handle from the start.
func Signals() []os.Signal {
	return []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGWINCH}
}

// SignalKind is a signal to httpd (https://httpd.apache.org/docs/2.4/stopping.html).
type SignalKind = unix.Signal

const (
	Graceful  = unix.SIGUSR1
	Restart   = unix.SIGHUP
	Drain     = unix.SIGWINCH
	Terminate = unix.SIGTERM
	Kill      = unix.SIGKILL
)
