//go:build unix && !linux

package supervise

import (
	"syscall"
	"time"
)

// childAttributes puts httpd into a group of its own, so that a key on the
// terminal reaches it through us only.
func childAttributes(group bool) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: group}
}

// adopt and endAdopted do nothing: only Linux gives orphans to a process that
// asks for them.
func adopt()                   {}
func endAdopted(time.Duration) {}
