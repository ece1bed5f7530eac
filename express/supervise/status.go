package supervise

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"modwsgi/express/host"
	"modwsgi/express/instance"
	"modwsgi/internal/fault"
)

// exitStopped is the exit code for an instance that is not running, as the Linux Standard
// Base defines it for init scripts.
const exitStopped = 3

// Status prints whether the instance is running, and httpd's own report if the instance
// has one. The exit code is 0 if it is running.
func Status(ctx context.Context, l *instance.Launch, w io.Writer) (int, error) {
	r, err := reportOf(ctx, l)
	switch {
	case err != nil:
		return 1, err
	case !r.Running:
		fmt.Fprintf(w, "httpd of %s is not running\n", l.Root)
		return exitStopped, nil
	}
	fmt.Fprintf(w, "httpd of %s is running (process %d)\n", l.Root, r.PID)
	if host.HandsOver {
		r.write(w, time.Now())
	}
	if !l.Stat {
		return 0, nil
	}
	report, err := serverStatus(ctx, l)
	if err != nil {
		return 1, err
	}
	_, err = io.WriteString(w, report)
	return 0, err
}

// StatusJSON prints the same as one JSON object, without httpd's report.
func StatusJSON(ctx context.Context, l *instance.Launch, w io.Writer) (int, error) {
	r, err := reportOf(ctx, l)
	if err != nil {
		return 1, err
	}
	err = json.NewEncoder(w).Encode(r)
	if !r.Running {
		return exitStopped, err
	}
	return 0, err
}

// processOf returns the process ID of the instance's httpd, 0 if it is not running.
func processOf(ctx context.Context, l *instance.Launch) (int, error) {
	proc, err := running(ctx, l)
	if err != nil || proc == nil {
		return 0, err
	}
	defer proc.Release()
	return proc.Pid, nil
}

// changing is the time in which a supervising process writes the PID file again that an
// httpd has removed which it has replaced.
const changing = 2 * time.Second

// running returns the httpd of an instance, nil for none.
func running(ctx context.Context, l *instance.Launch) (*host.Process, error) {
	for last := time.Now().Add(changing); ; time.Sleep(20 * time.Millisecond) {
		proc, err := l.Running()
		if err != nil || proc != nil || time.Now().After(last) || !isSupervised(ctx, l) {
			return proc, err
		}
	}
}

// serverStatus asks httpd for /server-status. It uses a plain socket: package net/http
// would slow down every start.
func serverStatus(ctx context.Context, l *instance.Launch) (string, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(l.Host, strconv.Itoa(l.Port)))
	if err != nil {
		return "", fault.New(fault.Environment, "", "ask for the status: %w", err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	// httpd answers this for any of its names, but only to this machine.
	fmt.Fprintf(conn, "GET /server-status?auto HTTP/1.0\r\nHost: localhost\r\n\r\n")
	answer, err := io.ReadAll(io.LimitReader(conn, 1<<20))
	if err != nil {
		return "", fault.New(fault.Environment, "", "ask for the status: %w", err)
	}
	head, body, _ := strings.Cut(string(answer), "\r\n\r\n")
	line, _, _ := strings.Cut(head, "\r\n")
	if words := strings.Fields(line); len(words) < 2 || words[1] != "200" {
		return "", fault.New(fault.Environment, "see its error log", "ask for the status: httpd answers %q", line)
	}
	return body, nil
}
