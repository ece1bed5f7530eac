package supervise

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"modwsgi/express/instance"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// Checks are the conditions for httpd to read a configuration written earlier: files
// may have changed since. An httpd that is asked to reread a broken configuration ends.
type Checks struct {
	Launch  *instance.Launch
	Environ []string // the caller's
	Trust   *instance.Trust
	Fits    func() error // whether the module fits the Python of today
}

// Start checks whether httpd would run the environment's Python.
func (c *Checks) Start() error {
	if err := c.Fits(); err != nil {
		return err
	}
	return instance.CheckInherited(c.Launch.Environ(c.Environ))
}

// Files checks the same, and the files that httpd relies on.
func (c *Checks) Files() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Trust.Configuration(c.Launch)
}

// Reload checks the same, and has httpd itself check the configuration, with the
// additional arguments.
func (c *Checks) Reload(ctx context.Context, more ...string) error {
	if err := c.Files(); err != nil {
		return err
	}
	var r run.Runner
	if err := r.Run(ctx, c.configTest(more...)); err != nil {
		return fault.New(fault.Environment, unchanged, "httpd refuses the configuration:%s", run.Tail(err))
	}
	return nil
}

// unchanged is the hint for a reload that did not happen.
const unchanged = "the instance continues as it was"

// configTest is the command by which httpd checks its configuration. What it finds must
// not go to the file of --startup-log.
func (c *Checks) configTest(more ...string) run.Cmd {
	argv := append([]string{c.Launch.HTTPD}, c.Launch.Args...)
	if k := slices.Index(argv, "-E"); k >= 0 {
		argv = slices.Delete(argv, k, k+2)
	}
	argv = append(append(argv, more...), "-t")
	return run.Cmd{Argv: argv, Dir: c.Launch.Dir, Env: c.Launch.Environ(c.Environ)}
}

// recheck does what Reload does while httpd runs in the foreground. It prints why a
// reload is refused, and reports whether httpd may reload.
func (s *Server) recheck(ctx context.Context, asked chan<- error) <-chan bool {
	good := make(chan bool, 1)
	go func() {
		err := s.Checks.reloadable(ctx)
		if err != nil {
			s.Console.Fail(err)
		}
		answer(asked, err)
		good <- err == nil
	}()
	return good
}

// reloadable is Reload for a launcher that waits for all of its children: it may collect
// the exit code of this one first, so only the output counts.
func (c *Checks) reloadable(ctx context.Context) error {
	if err := c.Files(); err != nil {
		return fault.New(fault.Environment, unchanged, "no restart: %w", err)
	}
	var r run.Runner
	var output bytes.Buffer
	cmd := c.configTest()
	cmd.Log = &output
	err := r.Run(ctx, cmd)
	if strings.Contains(output.String(), "Syntax OK") {
		return nil
	}
	reason := strings.TrimSpace(output.String())
	if reason == "" && err != nil {
		reason = err.Error()
	}
	return fault.New(fault.Environment, unchanged, "no restart: httpd refuses the configuration:\n%s", reason)
}
