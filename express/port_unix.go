//go:build !windows

package express

import (
	"syscall"

	"modwsgi/internal/fault"
)

// What the system says of an address that cannot be listened on.
const (
	errInUse   = syscall.EADDRINUSE
	errDenied  = syscall.EACCES
	errNotOurs = syscall.EADDRNOTAVAIL
)

const listAddresses = "ip addr"

// portDenied is the error for a port that this account may not listen on.
func portDenied(shown, option string) error {
	return fault.New(fault.Environment, "choose a port above 1023 with --"+option+", or start as root with --user", "only root can listen on %s", shown)
}
