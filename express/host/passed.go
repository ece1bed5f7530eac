package host

import (
	"net/netip"
	"slices"
	"strings"
)

// Passed is a listening TCP socket that the launcher was started with (systemd's socket
// activation, sd_listen_fds(3)).
type Passed struct {
	FD      int
	Name    string // FileDescriptorName= of the socket unit
	Address netip.AddrPort
	Only6   bool // an IPv6 socket that takes no connections from IPv4
}

// String returns the address.
func (p Passed) String() string { return p.Address.String() }

// All reports whether a socket takes connections to every address of both protocols.
func (p Passed) All() bool { return p.Address.Addr() == netip.IPv6Unspecified() && !p.Only6 }

// passedVariables describe passed sockets to the process that they were passed to.
var passedVariables = []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"}

// DescribesPassed reports whether a variable describes passed sockets. No other process
// may get it.
func DescribesPassed(name string) bool { return slices.Contains(passedVariables, name) }

// WithoutPassed returns an environment without those variables.
func WithoutPassed(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return DescribesPassed(name)
	})
}
