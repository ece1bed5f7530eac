package host

import (
	"net"

	"golang.org/x/sys/windows"

	"modwsgi/internal/fault"
)

// Errors of Winsock for addresses that cannot be listened on. Their numbers differ from
// the POSIX names in package syscall.
const (
	errInUse    = windows.WSAEADDRINUSE
	errDenied   = windows.WSAEACCES
	errNotLocal = windows.WSAEADDRNOTAVAIL
)

const listAddresses = "ipconfig"

// portDenied returns the error for a port that another program uses exclusively, or
// that Windows has reserved, for example for Hyper-V.
func portDenied(shown string, option string) error {
	return fault.New(fault.Environment, "choose another port with "+option+"; \"netsh int ipv4 show excludedportrange tcp\" lists reserved ports",
		"Windows does not allow listening on %s: it is reserved, or another program uses it exclusively", shown)
}

// tryPort listens on an address and releases it.
func tryPort(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return l.Close()
}
