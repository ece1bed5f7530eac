package express

import (
	"errors"
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
