// Package freeport gives tests ports for servers that they start. It is imported by
// tests only.
//
// Asking the system for any port and closing it again is not enough: the system gives
// the same port to a connection that another test opens before the server listens.
// The ports of this package are below those that the system gives away, and a port is
// reserved in all processes of the machine for as long as its test runs.
package freeport

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// lowest is above the ports of usual servers.
const lowest = 10240

// Get returns a TCP port of 127.0.0.1 on which nothing listens.
func Get(t testing.TB) int {
	t.Helper()
	above := firstEphemeral()
	begin := int(time.Now().UnixNano() % int64(above-lowest))
	for k := range 1000 {
		port := lowest + (begin+7*k)%(above-lowest)
		release, ok := reserve(port)
		if !ok {
			continue
		}
		if !free(port) {
			release()
			continue
		}
		t.Cleanup(release)
		return port
	}
	t.Fatalf("no free port between %d and %d", lowest, above)
	return 0
}

// free reports whether a server can listen on a port, on all addresses of the
// machine too.
func free(port int) bool {
	for _, address := range []string{"127.0.0.1:", ":"} {
		l, err := net.Listen("tcp", address+strconv.Itoa(port))
		if err != nil {
			return false
		}
		_ = l.Close()
	}
	return true
}

// firstEphemeral is the first port that the system gives to outgoing connections.
func firstEphemeral() int {
	data, _ := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if fields := strings.Fields(string(data)); len(fields) == 2 {
		if n, err := strconv.Atoi(fields[0]); err == nil && n >= lowest+5000 {
			return n
		}
	}
	return 32768
}
