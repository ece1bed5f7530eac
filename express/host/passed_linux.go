package host

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// firstPassed is the number of the first passed descriptor.
const firstPassed = 3

// mostPassed is the number of descriptors that one message can carry (SCM_MAX_FD).
const mostPassed = 253

// PassedSockets returns the sockets that this process was started with. From then on,
// programs that it starts do not inherit them. Anything but a listening TCP socket is
// refused.
func PassedSockets(environ []string) ([]Passed, error) {
	if run.Getenv(environ, "LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, nil // they are another process's
	}
	count := run.Getenv(environ, "LISTEN_FDS")
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > mostPassed {
		return nil, fault.New(fault.Environment, "start it from a systemd unit", "the variable LISTEN_FDS is %q, which is not a number from 0 to %d", count, mostPassed)
	}
	names := strings.Split(run.Getenv(environ, "LISTEN_FDNAMES"), ":")
	for fd := firstPassed; fd < firstPassed+n; fd++ {
		unix.CloseOnExec(fd)
	}
	var sockets []Passed
	for k := range n {
		p := Passed{FD: firstPassed + k}
		if k < len(names) {
			p.Name = names[k]
		}
		if err := p.examine(); err != nil {
			return nil, err
		}
		for _, other := range sockets {
			if other.Address == p.Address {
				return nil, fault.New(fault.Environment, "list the address once in the socket unit, without ReusePort=", "two of the sockets that this program was started with have the address %s", p.Address)
			}
		}
		sockets = append(sockets, p)
	}
	return sockets, nil
}

// ClosePassed closes this process's descriptors of the sockets.
func ClosePassed(sockets []int) { closeAll(sockets) }

// examine finds out the address of a socket, and makes it as systemd passes sockets by
// default: the previous httpd may have left it in another mode.
func (p *Passed) examine() error {
	const unit = "list a TCP port in the socket unit (ListenStream=PORT or ListenStream=ADDRESS:PORT)"
	var stat unix.Stat_t
	if err := unix.Fstat(p.FD, &stat); err != nil {
		return fault.New(fault.Environment, "start it from a systemd unit", "descriptor %d, which LISTEN_FDS promises, is not open: %w", p.FD, err)
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return fault.New(fault.Environment, unit, "%s that this program was started with is not a socket", p.what("the file"))
	}
	kind, err := p.kind()
	if err != nil {
		return err
	}
	if kind != "" {
		return fault.New(fault.Environment, unit, "%s that this program was started with is %s, and httpd listens on TCP sockets", p.what("the socket"), kind)
	}
	listens, err := unix.GetsockoptInt(p.FD, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	if listens == 0 {
		return fault.New(fault.Environment, "remove Accept=yes from the socket unit", "%s that this program was started with does not listen", p.what("the socket "+p.String()))
	}
	return os.NewSyscallError("fcntl", unix.SetNonblock(p.FD, false))
}

// what names the descriptor in a message.
func (p *Passed) what(kind string) string {
	if p.Name != "" {
		return fmt.Sprintf("%s (descriptor %d, %s)", kind, p.FD, p.Name)
	}
	return fmt.Sprintf("%s (descriptor %d)", kind, p.FD)
}

// kind sets the address of a TCP socket. It describes any other socket.
func (p *Passed) kind() (string, error) {
	at, err := unix.Getsockname(p.FD)
	if err != nil {
		return "", os.NewSyscallError("getsockname", err)
	}
	sort, err := unix.GetsockoptInt(p.FD, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return "", os.NewSyscallError("getsockopt", err)
	}
	protocol, err := unix.GetsockoptInt(p.FD, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil {
		return "", os.NewSyscallError("getsockopt", err)
	}
	switch at := at.(type) {
	case *unix.SockaddrUnix:
		return "a UNIX socket at " + strconv.Quote(at.Name), nil
	case *unix.SockaddrInet4:
		p.Address = netip.AddrPortFrom(netip.AddrFrom4(at.Addr), uint16(at.Port))
	case *unix.SockaddrInet6:
		p.Address = netip.AddrPortFrom(netip.AddrFrom16(at.Addr).WithZone(zone(at.ZoneId)), uint16(at.Port))
		only, err := unix.GetsockoptInt(p.FD, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
		if err != nil {
			return "", os.NewSyscallError("getsockopt", err)
		}
		p.Only6 = only != 0
	default:
		return "of a kind that has no address", nil
	}
	switch {
	case sort == unix.SOCK_DGRAM:
		return "a datagram socket at " + p.String(), nil
	case sort != unix.SOCK_STREAM || protocol != unix.IPPROTO_TCP && protocol != unix.IPPROTO_MPTCP:
		return "a socket of another protocol at " + p.String(), nil
	}
	return "", nil
}

// zone returns the name of a network interface.
func zone(index uint32) string {
	if index == 0 {
		return ""
	}
	if i, err := net.InterfaceByIndex(int(index)); err == nil {
		return i.Name
	}
	return strconv.Itoa(int(index))
}
