//go:build unix

package host

import (
	"os"

	"golang.org/x/sys/unix"
)

// Signals lists what the launcher has to be told about from its first moment on.
func Signals() []os.Signal {
	return []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGWINCH}
}

// SignalKind is what httpd is asked to do
// (https://httpd.apache.org/docs/2.4/stopping.html).
type SignalKind = unix.Signal

const (
	Graceful  = unix.SIGUSR1
	Restart   = unix.SIGHUP
	Drain     = unix.SIGWINCH
	Terminate = unix.SIGTERM
	Kill      = unix.SIGKILL
)
