package host

import (
	"errors"
	"net"
	"strconv"
	"strings"

	"modwsgi/internal/fault"
)

// CheckPort returns an error if it is impossible to listen on an address. It is called
// before anything is written or started. An IPv6 address may be in brackets. option is
// the flag that sets the port, for messages.
func CheckPort(host string, port int, option string) error {
	address := net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(port))
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
		return fault.New(fault.Environment, "stop it, or choose another port with "+option, "%s is in use by %s", shown, by)
	case errors.Is(err, errDenied):
		return portDenied(shown, option)
	case errors.Is(err, errNotLocal):
		return fault.New(fault.Environment, "list the addresses of this machine ("+listAddresses+"), or omit --host", "%s is not an address of this machine", host)
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err // without the address, which the message contains already
	}
	return fault.New(fault.Environment, "check --host and "+option, "listen on %s: %w", shown, err)
}
