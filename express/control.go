package express

import (
	"context"
	"path/filepath"
	"time"

	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/express/instance"
	"modwsgi/express/logwriter"
	"modwsgi/express/option"
	"modwsgi/express/supervise"
	"modwsgi/internal/fault"
)

// Commands for an existing instance, in the foreground or started by its apachectl.

// instanceOf finds the instance that a command refers to, by its server root or by the
// address that the default server root is named after.
func instanceOf(inv *Invocation, s *Server) (*instance.Launch, error) {
	root, err := rootOf(inv, s)
	if err != nil {
		return nil, err
	}
	return instance.ReadLaunch(root)
}

// rootOf returns the server root of that instance.
func rootOf(inv *Invocation, s *Server) (string, error) {
	if err := inv.needDirectory(config.ServerRoot.In(s)); err != nil {
		return "", err
	}
	root := inv.abs(config.ServerRoot.In(s))
	if root == "" {
		root = host.DefaultRoot(inv.Env, listenName(s), config.Port.In(s), host.Caller())
	}
	return filepath.Clean(root), nil
}

// controlOf returns the control of an instance's httpd.
func controlOf(c *Console, inv *Invocation, l *instance.Launch) *supervise.Control {
	become := inv.Become
	if become == nil {
		become = host.Become
	}
	return &supervise.Control{Launch: l, Console: c, Checks: checks(c, inv, l), Executable: inv.Executable, Become: become}
}

// status is the command status.
func status(ctx context.Context, c *Console, inv *Invocation, s *Server) (int, error) {
	l, err := instanceOf(inv, s)
	if err != nil {
		return 1, err
	}
	defer l.Close()
	if config.JSON.In(s) {
		return supervise.StatusJSON(ctx, l, c.Stdout)
	}
	return supervise.Status(ctx, l, c.Stdout)
}

// reload is the command reload.
func reload(ctx context.Context, c *Console, inv *Invocation, s *Server) (int, error) {
	return act(c, inv, s, func(control *supervise.Control) error { return control.Reload(ctx) })
}

// stop is the command stop.
func stop(ctx context.Context, c *Console, inv *Invocation, s *Server) (int, error) {
	return act(c, inv, s, func(control *supervise.Control) error {
		if err := control.Stop(ctx); err != nil {
			return err
		}
		logwriter.WaitForAll(control.Launch.Root, logTime)
		return nil
	})
}

func act(c *Console, inv *Invocation, s *Server, action func(*supervise.Control) error) (int, error) {
	l, err := instanceOf(inv, s)
	if err != nil {
		return 1, err
	}
	defer l.Close()
	if err := action(controlOf(c, inv, l)); err != nil {
		return 1, err
	}
	return 0, nil
}

// control is the hidden command behind the apachectl of a server root:
// apachectl ROOT VERB [ARGUMENTS OF HTTPD].
func control(ctx context.Context, c *Console, inv *Invocation, s *Server) (int, error) {
	words := s.Positional
	if len(words) == 0 {
		return exitUsage, option.Usage("", "apachectl needs a server root")
	}
	if err := inv.needDirectory(words[0]); err != nil {
		return 1, err
	}
	l, err := instance.ReadLaunch(filepath.Clean(inv.abs(words[0])))
	if err != nil {
		return 1, err
	}
	defer l.Close()
	return controlOf(c, inv, l).Verb(ctx, words[1:])
}

// writeLog is the hidden command that httpd pipes a log into.
func writeLog(_ context.Context, c *Console, inv *Invocation, s *Server) (int, error) {
	settings, err := logwriter.Parse(s.Positional)
	if err != nil {
		return exitUsage, option.Usage("", "%s: %w", logwriter.Command, err)
	}
	err = logwriter.Run(settings, logwriter.Streams{Executable: inv.Executable, Env: inv.Env, Stdin: c.Stdin, Stdout: c.Stdout, Stderr: c.Stderr})
	if err != nil {
		return 1, fault.New(fault.Environment, "", "write the log %s: %w", settings.To, err)
	}
	return 0, nil
}

// logTime is how long to wait for the programs of logs, which have little to do once
// httpd has ended.
const logTime = 3 * time.Second
