package host

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"modwsgi/internal/fault"
)

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	err = CheckPort("127.0.0.1", port, "--https-port")
	if err == nil || !strings.Contains(err.Error(), "is in use by") || !strings.HasSuffix(fault.HintOf(err), "with --https-port") {
		t.Errorf("%v (%s)", err, fault.HintOf(err))
	}
	if err != nil && holder(port) != "" && !strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getpid())) {
		t.Errorf("%v does not name this process, %d", err, os.Getpid())
	}
	for _, all := range []string{"", "0.0.0.0"} {
		if err := CheckPort(all, port, "--port"); err == nil || !strings.Contains(err.Error(), "is in use by") {
			t.Errorf("%q: %v", all, err)
		}
	}
	l.Close()
	// While an address is being probed, no connection is accepted, because it would be
	// reset. The port is outside the range of ephemeral ports: a client could connect to
	// itself there.
	for port = 21000 + os.Getpid()%9000; CheckPort("", port, "--port") != nil; port++ {
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		for range 300 {
			for _, host := range []string{"127.0.0.1", "localhost", "", "0.0.0.0"} {
				if err := CheckPort(host, port, "--port"); err != nil {
					t.Errorf("%q: %v", host, err)
				}
			}
		}
	}()
	for waiting := true; waiting; {
		select {
		case <-over:
			waiting = false
		default:
			if c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port)); err == nil {
				c.Close()
				t.Error("a connection was accepted while the port was probed")
			}
		}
	}
	for host, want := range map[string]string{"192.0.2.1": "not an address of this machine", "no-such-host.invalid": "no-such-host.invalid"} {
		if err := CheckPort(host, port, "--port"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", host, err)
		}
	}
}
