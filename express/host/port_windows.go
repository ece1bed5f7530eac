package host

import (
	"net"

	"golang.org/x/sys/windows"

	"modwsgi/internal/fault"
)

// What Windows says of an address that cannot be listened on: the numbers of
// Winsock, which are not those that package syscall has under POSIX's names.
const (
	errInUse   = windows.WSAEADDRINUSE
	errDenied  = windows.WSAEACCES
	errNotOurs = windows.WSAEADDRNOTAVAIL
)

const listAddresses = "ipconfig"

// portDenied is the error for a port that another program keeps to itself, or
// that Windows has reserved, as Hyper-V has it do with many.
func portDenied(shown string, option string) error {
	return fault.New(fault.Environment, "choose another port with "+option+"; \"netsh int ipv4 show excludedportrange tcp\" lists the reserved ones",
		"Windows does not let %s be listened on: it is reserved, or another program has it for itself", shown)
}

// tryPort takes an address and gives it back.
func tryPort(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return l.Close()
}
