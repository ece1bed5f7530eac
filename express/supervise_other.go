//go:build unix && !linux

package express

import "syscall"

// childAttributes puts httpd into a group of its own, so that a key on the
// terminal reaches it through us only.
func childAttributes(group bool) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: group}
}
