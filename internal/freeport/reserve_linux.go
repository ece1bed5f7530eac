package freeport

import (
	"net"
	"strconv"
)

// reserve takes a port for this process by an abstract socket named after it: the
// system drops the name when the process ends, however it ends.
func reserve(port int) (release func(), ok bool) {
	l, err := net.Listen("unix", "@modwsgi-test-port-"+strconv.Itoa(port))
	if err != nil {
		return nil, false
	}
	return func() { _ = l.Close() }, true
}
