//go:build unix && !linux

package host

import (
	"syscall"
	"time"
)

// childAttributes puts httpd into a process group of its own, so that keys on the
// terminal reach it through the launcher only.
func childAttributes(group, _ bool) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: group}
}

// adopt does nothing: only Linux gives orphans to a process that asks for them.
func adopt() {}

// EndAdopted does nothing, for the same reason.
func EndAdopted(time.Duration) {}
