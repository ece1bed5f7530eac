package express

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"modwsgi/internal/fault"
)

// control is the hidden command behind the apachectl of a server root:
// apachectl ROOT VERB [ARGUMENTS OF HTTPD].
func control(ctx context.Context, p *Program, c *parsed) (int, error) {
	words := c.server.positional
	if len(words) == 0 {
		return exitUsage, usage("", "", "apachectl needs a server root")
	}
	l, err := readLaunch(words[0])
	if err != nil {
		return 1, err
	}
	verb, rest := "", words[1:]
	if len(rest) > 0 {
		verb, rest = rest[0], rest[1:]
	}
	argv := append([]string{l.HTTPD}, l.Args...)
	switch verb {
	case "start", "stop", "restart", "graceful", "graceful-stop":
		if verb == "start" {
			if err := l.startable(); err != nil {
				return 1, err
			}
			removeStaleSockets(l.Root)
			if l.running() == 0 {
				// httpd would take any process of that number for itself, which
				// in a container is quite likely to be there.
				_ = os.Remove(l.Pid)
			}
		}
		argv = append(argv, "-k", verb)
		if verb == "start" && l.GDB != "" {
			argv = l.underGDB(argv)
		}
	case "configtest":
		argv = append(argv, "-t")
	case "status":
		return l.status(ctx, p.Stdout)
	case "", "help", "--help", "-help": // httpd would start with the last two
		argv, rest = []string{l.HTTPD, "-h"}, nil
	case "version", "--version":
		argv, rest = []string{l.HTTPD, "-v"}, nil
	default:
		argv = append(argv, verb)
	}
	return p.replace(l, append(argv, rest...))
}

// startable reports a port that somebody else holds, which httpd would only
// write to a log; where the instance runs already, httpd says so itself.
func (l *launch) startable() error {
	if l.running() != 0 {
		return nil
	}
	host := l.Host
	if host == "localhost" {
		host = ""
	}
	return checkPort(host, l.Port, "port")
}

// isServer reports whether a process is alive and, where that can be seen, has
// the server root in its command line.
func isServer(pid int, root string) bool {
	if !alive(pid) {
		return false
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err != nil || strings.Contains(string(line), root)
}

// running returns the process of the instance's httpd, 0 where there is none.
func (l *launch) running() int {
	data, err := os.ReadFile(l.Pid)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || pid < 2 || !isServer(pid, l.Root) {
		return 0
	}
	return pid
}

// status prints whether the instance runs, and what /server-status says where
// that is on. The exit code is 0 for a running one and 3 for a stopped one, as
// the Linux Standard Base has it for init scripts.
func (l *launch) status(ctx context.Context, w io.Writer) (int, error) {
	pid := l.running()
	if pid == 0 {
		fmt.Fprintf(w, "httpd of %s is not running\n", l.Root)
		return 3, nil
	}
	fmt.Fprintf(w, "httpd of %s is running (process %d)\n", l.Root, pid)
	if !l.Stat {
		return 0, nil
	}
	// Plain sockets: package net/http would cost every start its time.
	var d net.Dialer
	address := net.JoinHostPort(l.Host, strconv.Itoa(l.Port))
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return 1, fault.New(fault.Environment, "", "ask for the status: %w", err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	// Whatever names the server has, this one is answered to this machine only.
	fmt.Fprintf(conn, "GET /server-status?auto HTTP/1.0\r\nHost: localhost\r\n\r\n")
	answer, err := io.ReadAll(io.LimitReader(conn, 1<<20))
	if err != nil {
		return 1, fault.New(fault.Environment, "", "ask for the status: %w", err)
	}
	head, body, _ := strings.Cut(string(answer), "\r\n\r\n")
	line, _, _ := strings.Cut(head, "\r\n")
	if words := strings.Fields(line); len(words) < 2 || words[1] != "200" {
		return 1, fault.New(fault.Environment, "see its error log", "ask for the status: httpd answers %q", line)
	}
	_, err = io.WriteString(w, body)
	return 0, err
}

// copyLog is the hidden command that httpd pipes a log into where /dev/stderr
// cannot be opened by name: it copies its input to the stream it inherited.
func copyLog(_ context.Context, p *Program, c *parsed) (int, error) {
	var to io.Writer = p.Stderr
	if len(c.server.positional) == 1 && c.server.positional[0] == "stdout" {
		to = p.Stdout
	}
	if _, err := io.Copy(to, p.Stdin); err != nil {
		return 1, fault.New(fault.Environment, "", "copy the log: %w", err)
	}
	return 0, nil
}
