//go:build unix

package host

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"

	"modwsgi/internal/fault"
)

// Errors for addresses that cannot be listened on.
const (
	errInUse    = syscall.EADDRINUSE
	errDenied   = syscall.EACCES
	errNotLocal = syscall.EADDRNOTAVAIL
)

const listAddresses = "ip addr"

// portDenied returns the error for a port that the current user may not listen on.
func portDenied(shown string, option string) error {
	hint := "choose a port above 1023 with " + option + ", or start as root with --user"
	if Systemd {
		hint += ", or have systemd open it (systemd-unit --socket-activation)"
	}
	return fault.New(fault.Environment, hint, "only root can listen on %s", shown)
}

// tryPort binds to an address and releases it. It does not listen: a client that waits
// for the server would be connected for a moment and then disconnected.
func tryPort(address string) error {
	to, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return err
	}
	family, at := socketAddress(to)
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if to.IP == nil && errors.Is(err, unix.EAFNOSUPPORT) { // a kernel without IPv6
		family, at = unix.AF_INET, &unix.SockaddrInet4{Port: to.Port}
		fd, err = unix.Socket(family, unix.SOCK_STREAM, 0)
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	unix.CloseOnExec(fd)
	// As httpd does, so that remains of closed connections do not block the address.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if family == unix.AF_INET6 && to.IP == nil {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0); err != nil {
			return err
		}
	}
	return unix.Bind(fd, at)
}

// socketAddress returns an address in the kernel's form. Without an IP address, it
// means all addresses of both protocols.
func socketAddress(to *net.TCPAddr) (family int, at unix.Sockaddr) {
	if ip := to.IP.To4(); ip != nil {
		return unix.AF_INET, &unix.SockaddrInet4{Port: to.Port, Addr: [4]byte(ip)}
	}
	six := &unix.SockaddrInet6{Port: to.Port}
	copy(six.Addr[:], to.IP)
	if to.Zone != "" {
		if i, err := net.InterfaceByName(to.Zone); err == nil {
			six.ZoneId = uint32(i.Index)
		}
	}
	return unix.AF_INET6, six
}
