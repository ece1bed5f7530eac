package express

import (
	"errors"
	"fmt"
	"net"
	"strconv"

	"modwsgi/express/option"
	"modwsgi/internal/fault"
)

// checkPort reports that an address cannot be listened on, before anything is
// written or started.
func checkPort(host string, port int, option option.Ref) error {
	address := net.JoinHostPort(unbracket(host), strconv.Itoa(port))
	err := tryPort(address)
	if err == nil {
		return nil
	}
	shown := address
	if host == "" {
		shown = "port " + strconv.Itoa(port)
	}
	switch {
	case errors.Is(err, errInUse):
		by := holder(port)
		if by == "" {
			by = "another program"
		}
		return fault.New(fault.Environment, "stop it, or choose another port with "+option.Flag(), "%s is in use by %s", shown, by)
	case errors.Is(err, errDenied):
		return portDenied(shown, option)
	case errors.Is(err, errNotOurs):
		return fault.New(fault.Environment, "see the addresses of this machine ("+listAddresses+"), or leave --host out", "%s is not an address of this machine", host)
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err // without the address, which is named already
	}
	return fault.New(fault.Environment, "check --host and "+option.Flag(), "listen on %s: %w", shown, err)
}

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
