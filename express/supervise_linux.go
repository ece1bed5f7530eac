package express

import "syscall"

// childAttributes puts httpd into a group of its own, so that a key on the
// terminal reaches it through us only, and ends it when we are killed in a way
// that leaves us no time. As a single process (no group) httpd may lose a SIGTERM
// to a thread of the application's, and has no children that need a goodbye.
func childAttributes(group bool) *syscall.SysProcAttr {
	if !group {
		return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	}
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
