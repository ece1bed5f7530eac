package express

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/express/instance"
	"modwsgi/express/option"
	"modwsgi/express/supervise"
	"modwsgi/express/top"
	"modwsgi/internal/fault"
)

var (
	optInterval = option.Fraction("interval", "1", "SECONDS", "Time between two states.").Check(option.AtLeastFraction(0.1))
	optCount    = option.Number("count", "", "NUMBER", "End after so many states.").Check(option.AtLeast(1))
	optOnce     = option.Toggle("once", "Show one state and end, as without a terminal.")
)

// topCommand is the command top.
func topCommand(ctx context.Context, c *Console, inv *Invocation, s *Server) (int, error) {
	if !host.Unix {
		return 1, fault.New(fault.Usage, "", "top is not available on Windows")
	}
	root, err := rootOf(inv, s)
	if err != nil {
		return 1, err
	}
	if l, err := instance.ReadLaunch(root); err == nil {
		l.Close()
	} else if others := runningRoots(); !s.Given(config.ServerRoot) && len(others) > 0 {
		return 1, fault.New(fault.Environment, "choose one: "+strings.Join(others, ", "), "%w", err)
	} else {
		return 1, err
	}
	o := &top.Options{
		Root: root, Interval: time.Duration(optInterval.In(s) * float64(time.Second)), Count: optCount.In(s), Env: inv.Env, Signals: inv.Signals,
		Stdin: c.Stdin, Stdout: c.Stdout, Look: func(ctx context.Context) (*supervise.Report, error) {
			l, err := instance.ReadLaunch(root) // setup-server may have written another one
			if err != nil {
				return nil, err
			}
			defer l.Close()
			return supervise.Look(ctx, l)
		},
	}
	if optOnce.In(s) {
		o.Count = 1
	}
	return top.Run(ctx, o)
}

// runningRoots returns the server roots of other instances that run, as far as this user may read them,
// as arguments.
func runningRoots() (list []string) {
	for _, file := range host.Configurations() {
		if filepath.Base(file) != instance.ConfFile {
			continue
		}
		l, err := instance.ReadLaunch(filepath.Dir(file))
		if err != nil {
			continue
		}
		list = append(list, config.ServerRoot.Flag()+" "+host.ShellWord(l.Root))
		l.Close()
	}
	return list
}
