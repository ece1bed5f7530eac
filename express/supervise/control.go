package supervise

import (
	"context"
	"os"
	"slices"
	"strings"

	"modwsgi/express/console"
	"modwsgi/express/host"
	"modwsgi/express/instance"
	"modwsgi/internal/fault"
)

// Control acts on an httpd that runs in the background.
type Control struct {
	Launch     *instance.Launch
	Console    *console.Console
	Checks     *Checks
	Executable string // path of the launcher
	// Become replaces this process by another program.
	Become func(host.Command) (int, error)

	variables []string // for the httpd that this process becomes
}

// Verb carries out a verb of apachectl and returns the exit code. Anything else is an
// argument of httpd.
func (c *Control) Verb(ctx context.Context, words []string) (int, error) {
	verb, rest := parseVerb(words)
	switch verb {
	case "start":
		return c.start(ctx, rest)
	case "stop":
		return exitCode(c.stop(ctx, host.Terminate))
	case "graceful-stop":
		return exitCode(c.stop(ctx, host.Drain))
	case "restart":
		return c.restart(ctx, host.Restart, rest)
	case "graceful":
		return c.restart(ctx, host.Graceful, rest)
	case "status":
		return Status(ctx, c.Launch, c.Console.Stdout)
	case watchVerb:
		return c.watch(ctx, rest)
	}
	argv, err := c.otherVerb(verb, rest)
	if err != nil {
		return 1, err
	}
	return c.replace(argv)
}

func exitCode(err error) (int, error) {
	if err != nil {
		return 1, err
	}
	return 0, nil
}

// parseVerb separates the verb from the arguments of httpd. httpd's own form (-k stop)
// means the same: httpd itself would trust any number in its PID file.
func parseVerb(words []string) (verb string, rest []string) {
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

// otherVerb returns the httpd command line for operations that do not need the PID
// file.
func (c *Control) otherVerb(verb string, rest []string) ([]string, error) {
	l, trust := c.Launch, c.Checks.Trust
	switch verb {
	case "", "help", "--help", "-help": // with the last two, httpd would start
		return []string{l.HTTPD, "-h"}, trust.Launch(l)
	case "version", "--version":
		return []string{l.HTTPD, "-v"}, trust.Launch(l)
	case "configtest":
		verb = "-t"
	}
	argv := append([]string{l.HTTPD}, l.Args...)
	return append(append(argv, verb), rest...), trust.Configuration(l)
}

// start starts httpd in the background: this process becomes the httpd that detaches.
func (c *Control) start(ctx context.Context, rest []string) (int, error) {
	l := c.Launch
	pid, err := processOf(ctx, l)
	if err != nil {
		return 1, err
	}
	if pid != 0 {
		c.Console.Printf("httpd (pid %d) already running\n", pid)
		return 0, nil
	}
	for _, check := range []func() error{
		c.Checks.Start,
		l.CheckPort, // httpd would only log that the port is in use
		func() error { return CheckPages(l.Metrics, l.Dashboard) },
		func() error { return c.Checks.Trust.Configuration(l) },
	} {
		if err := check(); err != nil {
			return 1, err
		}
	}
	for _, kv := range instance.Inherited(l.Environ(c.Checks.Environ)) {
		c.Console.Printf("httpd gets %s\n", kv)
	}
	instance.RemoveStaleSockets(l.Handle)
	// httpd would mistake any process with that number for itself, and in a container one
	// is likely to exist.
	l.RemovePIDFile()
	argv := append(append([]string{l.HTTPD}, l.Args...), "-k", "start")
	if l.GDB != "" {
		argv = l.UnderGDB(argv)
	}
	var link *host.Handover
	if hands(l) {
		if link, err = newLink(l, false); err != nil {
			return 1, err
		}
		if c.variables, err = link.Keep(); err != nil {
			return 1, err
		}
		argv = append(argv, loadHandover(l)...)
	}
	if err := startWatch(l, c.Executable, c.Checks.Environ, link); err != nil {
		c.Console.Warn("if the first process of httpd is killed, its other processes will continue to run: " + err.Error())
	}
	allowFiles(l, c.Console)
	return c.replace(append(argv, rest...))
}

// restart replaces httpd by another one, which reads its configuration again, has it do
// so itself, or starts an httpd that is not running.
func (c *Control) restart(ctx context.Context, kind host.SignalKind, rest []string) (int, error) {
	proc, err := running(ctx, c.Launch)
	if err != nil {
		return 1, err
	}
	if proc == nil {
		c.Console.Printf("httpd not running, trying to start\n")
		return c.start(ctx, rest)
	}
	defer proc.Release()
	if len(rest) == 0 {
		if there, err := ask(ctx, c.Launch); there {
			return exitCode(err)
		}
	}
	if err := c.Checks.Reload(ctx, rest...); err != nil {
		return 1, err
	}
	if err := proc.Signal(kind); err != nil {
		return 1, fault.New(fault.Environment, "", "restart httpd (process %d): %w", proc.Pid, err)
	}
	return 0, nil
}

// Reload replaces a running httpd by one that reads the configuration again, and returns
// when that one serves. Without mod_handover, httpd itself reads it again, gracefully.
func (c *Control) Reload(ctx context.Context) error {
	proc, err := c.mustRun(ctx)
	if err != nil {
		return err
	}
	defer proc.Release()
	if there, err := ask(ctx, c.Launch); there {
		if err == nil {
			c.Console.Printf("httpd of %s has reloaded\n", c.Launch.Root)
		}
		return err
	}
	if err := c.Checks.Reload(ctx); err != nil {
		return err
	}
	if err := proc.Signal(host.Graceful); err != nil {
		return fault.New(fault.Environment, "", "reload httpd (process %d): %w", proc.Pid, err)
	}
	c.Console.Printf("httpd of %s reloads (process %d)\n", c.Launch.Root, proc.Pid)
	return nil
}

// replace makes this process httpd, whose exit code becomes that of apachectl.
func (c *Control) replace(argv []string) (int, error) {
	l := c.Launch
	path := argv[0]
	if path == l.HTTPD {
		argv[0] = l.Argv0
	}
	files := []*os.File{c.Console.Stdin, c.Console.Stdout, c.Console.Stderr}
	env := append(l.Environ(c.Checks.Environ), c.variables...)
	return c.Become(host.Command{Path: path, Argv: argv, Dir: l.Dir, Env: env, Files: files})
}
