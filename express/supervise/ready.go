package supervise

import (
	"fmt"
	"net"
	"os"
	"strings"

	"modwsgi/express/host"
	"modwsgi/internal/run"
)

// waits reports whether something waits until the application is loaded.
func (s *Server) waits() bool { return host.DaemonMode && s.WaitReady && s.Launch.GDB == "" }

// readiness makes the pipe on which the launcher's Python part reports that the
// application is loaded. Both ends are nil if nothing waits for that, and if the connection
// with mod_handover has one.
func (s *Server) readiness() (<-chan string, *os.File, error) {
	if !s.waits() {
		return nil, nil, nil
	}
	if s.Lazy {
		s.Console.Warn("--wait-ready does not wait for the application: with this --application-group it is loaded by the first request")
		message := make(chan string, 1)
		message <- "ready"
		return message, nil, nil
	}
	if hands(s.Launch) {
		return nil, nil, nil
	}
	return reports(s.Loads != nil)
}

// loads passes a report on to Loads.
func (s *Server) loads(message string) {
	reason, _ := strings.CutPrefix(message, "failed ")
	if reason == message {
		reason = ""
	}
	s.Loads(reason)
	if reason == "" {
		notify(run.Getenv(s.Checks.Environ, "NOTIFY_SOCKET"))
	}
}

// isReady announces the application, or why it did not load, and reports whether it
// loaded.
func (s *Server) isReady(message string) bool {
	if reason, bad := strings.CutPrefix(message, "failed "); bad {
		s.Console.Fail(fmt.Errorf("the application does not load: %s\nthe complete error is in %s", reason, s.Launch.ErrorLog))
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
