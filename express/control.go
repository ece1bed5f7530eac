package express

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/express/instance"
	"modwsgi/express/supervise"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// control is the hidden command behind the apachectl of a server root:
// apachectl ROOT VERB [ARGUMENTS OF HTTPD].
func control(ctx context.Context, p *Program, c *parsed) (int, error) {
	words := c.server.Positional
	if len(words) == 0 {
		return exitUsage, usage("", "", "apachectl needs a server root")
	}
	if err := p.needDirectory(words[0]); err != nil {
		return 1, err
	}
	l, err := instance.ReadLaunch(filepath.Clean(p.abs(words[0])))
	if err != nil {
		return 1, err
	}
	defer l.Close()
	verb, rest := controlVerb(words[1:])
	switch verb {
	case "start":
		return p.controlStart(l, rest)
	case "stop", "graceful-stop":
		return p.controlStop(ctx, l, verb)
	case "restart", "graceful":
		return p.controlRestart(ctx, l, verb, rest)
	case "status":
		return status(ctx, l, p.Stdout)
	case supervise.WatchVerb:
		return supervise.Watch(l, rest)
	}
	argv, err := p.otherVerb(l, verb, rest)
	if err != nil {
		return 1, err
	}
	return p.replace(l, argv)
}

// controlVerb separates the verb from the arguments of httpd. httpd's own way to
// say it (-k stop) means the same: httpd itself would believe whatever number its
// pid file holds.
func controlVerb(words []string) (verb string, rest []string) {
	for k, w := range words {
		value, ok := strings.CutPrefix(w, "-k")
		if !ok {
			continue
		}
		rest = slices.Clone(words[:k])
		if after := words[k+1:]; value != "" {
			rest = append(rest, after...)
		} else if len(after) > 0 {
			value, rest = after[0], append(rest, after[1:]...)
		}
		if slices.Contains([]string{"start", "stop", "restart", "graceful", "graceful-stop"}, value) {
			return value, rest
		}
		break
	}
	if len(words) == 0 {
		return "", nil
	}
	return words[0], words[1:]
}

// otherVerb is the command line of httpd for what it does without its pid file.
func (p *Program) otherVerb(l *instance.Launch, verb string, rest []string) ([]string, error) {
	switch verb {
	case "", "help", "--help", "-help": // httpd would start with the last two
		return []string{l.HTTPD, "-h"}, p.trust().Launch(l)
	case "version", "--version":
		return []string{l.HTTPD, "-v"}, p.trust().Launch(l)
	case "configtest":
		verb = "-t"
	}
	argv := append([]string{l.HTTPD}, l.Args...)
	return append(append(argv, verb), rest...), p.trust().Configuration(l)
}

func (p *Program) controlStart(l *instance.Launch, rest []string) (int, error) {
	proc, err := l.Running()
	if err != nil {
		return 1, err
	}
	if proc != nil {
		defer proc.Release()
		fmt.Fprintf(p.Stdout, "httpd (pid %d) already running\n", proc.Pid)
		return 0, nil
	}
	if err := p.startAgain(l); err != nil {
		return 1, err
	}
	if err := startable(l); err != nil {
		return 1, err
	}
	if err := p.trust().Configuration(l); err != nil {
		return 1, err
	}
	p.nameInherited(l)
	instance.RemoveStaleSockets(l.Handle)
	// httpd would take any process of that number for itself, which in a container
	// is quite likely to be there.
	l.RemovePIDFile()
	argv := append(append([]string{l.HTTPD}, l.Args...), "-k", "start")
	if l.GDB != "" {
		argv = l.UnderGDB(argv)
	}
	if err := supervise.StartWatch(l, p.Executable, p.Env); err != nil {
		p.warn("when the first process of httpd is killed, its other processes will go on: " + err.Error())
	}
	return p.replace(l, append(argv, rest...))
}

// controlStop asks httpd to end, at once or when the requests that run are
// completed, and does not wait for them. It needs no configuration.
func (p *Program) controlStop(ctx context.Context, l *instance.Launch, verb string) (int, error) {
	proc, err := l.Running()
	if err != nil {
		return 1, err
	}
	if proc == nil { // not an error, as for httpd -k stop
		fmt.Fprintf(p.Stdout, "httpd of %s is not running\n", l.Root)
		return 0, nil
	}
	defer proc.Release()
	kind := host.Terminate
	if verb == "graceful-stop" {
		kind = host.Drain
	}
	// httpd removes its pid file when it begins to drain, or has ended the others.
	heard := func() bool {
		again, err := l.Running()
		if again != nil {
			again.Release()
		}
		return err == nil && again == nil
	}
	ended, err := supervise.End(ctx, proc, kind, 30*time.Second, heard)
	switch {
	case err != nil:
		return 1, err
	case !ended:
		return 1, fault.New(fault.Environment, "see its error log", "httpd of %s (process %d) does not stop", l.Root, proc.Pid)
	}
	return 0, nil
}

// controlRestart has httpd read its configuration again, and starts it where it
// does not run. An httpd that cannot read it would end, so it is checked first.
func (p *Program) controlRestart(ctx context.Context, l *instance.Launch, verb string, rest []string) (int, error) {
	proc, err := l.Running()
	if err != nil {
		return 1, err
	}
	if proc == nil {
		fmt.Fprintln(p.Stdout, "httpd not running, trying to start")
		return p.controlStart(l, rest)
	}
	defer proc.Release()
	if err := p.checkConfiguration(ctx, l, rest...); err != nil {
		return 1, err
	}
	kind := host.Restart
	if verb == "graceful" {
		kind = host.Graceful
	}
	if err := proc.Signal(kind); err != nil {
		return 1, fault.New(fault.Environment, "", "restart httpd (process %d): %w", proc.Pid, err)
	}
	return 0, nil
}

// checkConfiguration has httpd read its configuration and reports what it says
// against it.
func (p *Program) checkConfiguration(ctx context.Context, l *instance.Launch, rest ...string) error {
	if err := p.startAgain(l); err != nil {
		return err
	}
	if err := p.trust().Configuration(l); err != nil {
		return err
	}
	var r run.Runner
	argv := append(append(append([]string{l.HTTPD}, l.Args...), rest...), "-t")
	if err := r.Run(ctx, run.Cmd{Argv: argv, Dir: l.Dir, Env: l.Environ(p.Env)}); err != nil {
		return fault.New(fault.Environment, "the instance goes on as it was", "httpd refuses the configuration:%s", run.Tail(err))
	}
	return nil
}

// startable reports a port that somebody else holds, which httpd would only
// write to a log.
func startable(l *instance.Launch) error {
	name := l.Host
	if name == "localhost" {
		name = ""
	}
	return host.CheckPort(name, l.Port, config.Port.Flag())
}

// status prints whether the instance runs, and what /server-status says where
// that is on. The exit code is 0 for a running one and 3 for a stopped one, as
// the Linux Standard Base has it for init scripts.
func status(ctx context.Context, l *instance.Launch, w io.Writer) (int, error) {
	proc, err := l.Running()
	if err != nil {
		return 1, err
	}
	if proc == nil {
		fmt.Fprintf(w, "httpd of %s is not running\n", l.Root)
		return 3, nil
	}
	defer proc.Release()
	fmt.Fprintf(w, "httpd of %s is running (process %d)\n", l.Root, proc.Pid)
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
	if len(c.server.Positional) == 1 && c.server.Positional[0] == "stdout" {
		to = p.Stdout
	}
	if _, err := io.Copy(to, p.Stdin); err != nil {
		return 1, fault.New(fault.Environment, "", "copy the log: %w", err)
	}
	return 0, nil
}

// exchange is exchanged by tests, which would not survive it.
var exchange = host.Become

// replace makes this process httpd: its exit code is that of apachectl.
func (p *Program) replace(l *instance.Launch, argv []string) (int, error) {
	path := argv[0]
	if path == l.HTTPD {
		argv[0] = l.Argv0
	}
	return exchange(host.Command{Path: path, Argv: argv, Dir: l.Dir, Env: l.Environ(p.Env), Files: []*os.File{p.Stdin, p.Stdout, p.Stderr}})
}
