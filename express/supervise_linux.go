package express

import (
	"syscall"
)

// childAttributes puts httpd into a group of its own, so that a key on the
// terminal reaches it through us only, and ends it when we are killed in a way
// that leaves us no time.
func childAttributes(group bool) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: group, Pdeathsig: syscall.SIGTERM}
}
