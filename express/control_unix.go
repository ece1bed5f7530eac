//go:build unix

package express

import (
	"os"

	"golang.org/x/sys/unix"

	"modwsgi/internal/fault"
)

// execve is exchanged by tests, which would not survive it.
var execve = unix.Exec

// replace makes this process httpd: its exit code is that of apachectl.
func (p *Program) replace(l *launch, argv []string) (int, error) {
	path := argv[0]
	if path == l.HTTPD {
		argv[0] = l.Argv0
	}
	if err := unix.Chdir(l.Dir); err != nil {
		return 1, fault.New(fault.Environment, "run setup-server again", "go to the working directory %s: %w", l.Dir, err)
	}
	limitUmask()
	err := execve(path, argv, l.environ(p.Env))
	return 1, fault.New(fault.Environment, "run modwsgi install and setup-server again", "start %s: %w", path, err)
}

// signalKind is what httpd is asked to do
// (https://httpd.apache.org/docs/2.4/stopping.html).
type signalKind = unix.Signal

const (
	graceful  = unix.SIGUSR1
	restart   = unix.SIGHUP
	drain     = unix.SIGWINCH
	terminate = unix.SIGTERM
)

// caller is the account by which the default server root was chosen.
func caller() *account { return &account{other: os.Geteuid() == 0} }
