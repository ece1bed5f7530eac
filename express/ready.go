package express

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"

	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/internal/run"
)

// readiness makes the pipe on which the glue says that the application is loaded.
// Both ends are nil where nobody waits, and where nothing is loaded before the
// first request.
func (p *Program) readiness(i *resolved) (<-chan string, *os.File, error) {
	if !host.DaemonMode || !config.WaitReady.In(i) || i.GDB != "" {
		return nil, nil, nil
	}
	if config.Dynamic(config.ApplicationGroup.In(i)) {
		p.warn("--wait-ready does not wait for the application: with this --application-group it is loaded by the first request")
		now := make(chan string, 1)
		now <- "ready"
		return now, nil, nil
	}
	from, to, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	message := make(chan string, 1)
	go func() {
		line, err := bufio.NewReader(from).ReadString('\n')
		_ = from.Close()
		if err == nil { // else httpd has ended
			message <- strings.TrimSpace(line)
		}
	}()
	return message, to, nil
}

// isReady tells the world what the glue said, and returns whether it was good.
func (p *Program) isReady(i *resolved, message string) bool {
	if reason, bad := strings.CutPrefix(message, "failed "); bad {
		p.showError(fmt.Errorf("the application does not load: %s\nthe whole of it is in %s", reason, i.ErrorLog))
		return false
	}
	if config.JSON.In(i) {
		_ = i.jsonReady(p.Stdout)
	} else {
		fmt.Fprintf(p.Stdout, "%-19s: %s\n", "Ready", i.url()+strings.TrimSuffix(i.Mount, "/")+"/")
	}
	notify(run.Getenv(p.Env, "NOTIFY_SOCKET"))
	return true
}

// notify tells systemd that we are ready (sd_notify(3)).
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
