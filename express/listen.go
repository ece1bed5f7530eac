package express

import (
	"fmt"
	"net"
	"strconv"
)

// listenAddress is the argument of httpd's Listen directive.
func listenAddress(host string, port int) string {
	if host == "" {
		return strconv.Itoa(port)
	}
	return net.JoinHostPort(unbracket(host), strconv.Itoa(port))
}

// groupName is HOST:PORT, with localhost for all addresses.
func groupName(host string, port int) string {
	if host == "" {
		host = "localhost"
	}
	return fmt.Sprintf("%s:%d", unbracket(host), port)
}
