package supervise

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"

	"modwsgi/express/host"
	"modwsgi/internal/run"
)

// readiness makes the pipe on which the launcher's Python part reports that the
// application is loaded. Both ends are nil if nothing waits for that.
func (s *Server) readiness() (<-chan string, *os.File, error) {
	if !host.DaemonMode || !s.WaitReady || s.Launch.GDB != "" {
		return nil, nil, nil
	}
	message := make(chan string, 1)
	if s.Lazy {
		s.Console.Warn("--wait-ready does not wait for the application: with this --application-group it is loaded by the first request")
		message <- "ready"
		return message, nil, nil
	}
	from, to, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	go func() {
		line, err := bufio.NewReader(from).ReadString('\n')
		_ = from.Close()
		if err == nil { // otherwise httpd has ended
			message <- strings.TrimSpace(line)
		}
	}()
	return message, to, nil
}

// isReady announces the application, or why it did not load, and reports whether it
// loaded.
func (s *Server) isReady(message string) bool {
	if reason, bad := strings.CutPrefix(message, "failed "); bad {
		s.Console.Fail(fmt.Errorf("the application does not load: %s\nthe complete error is in %s", reason, s.ErrorLog))
		return false
	}
	s.Announce()
	notify(run.Getenv(s.Checks.Environ, "NOTIFY_SOCKET"))
	return true
}

// notify reports to systemd that the service is ready (sd_notify(3)).
func notify(socket string) {
	if socket == "" {
		return
	}
	if strings.HasPrefix(socket, "@") {
		socket = "\x00" + socket[1:]
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = conn.Write([]byte("READY=1"))
}
