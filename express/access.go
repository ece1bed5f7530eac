package express

import (
	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/express/option"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// needsOf converts what the application's account needs, for [host.CheckAccess].
func needsOf(list []config.Need) (needs []host.Need) {
	for _, n := range list {
		needs = append(needs, host.Need{Path: n.Path, What: n.What, Read: n.Read})
	}
	return needs
}

// checkWritable refuses a directory named by an option if the application cannot write
// to it. With the recorder every request would fail; the other tools would lose their
// results.
func (d *deployment) checkWritable() error {
	type named struct {
		option option.Ref
		path   string
	}
	dirs := []named{{config.CoverageDirectory, d.CoverageDir}, {config.ProfilerDirectory, d.ProfilerDir}, {config.RecorderDirectory, d.RecorderDir}}
	there := map[string]bool{} // checked as the launcher: the account may be unable to enter the server root until it is set up
	for _, n := range dirs {
		there[n.path] = n.path != "" && config.Exists(n.path)
	}
	return host.As(d.account, func() error {
		for _, n := range dirs {
			if there[n.path] && !host.Writable(n.path) {
				return fault.New(fault.Environment, "give it to that account (chown "+run.Quote(d.account.User)+" "+run.Quote(n.path)+"), or name a directory that does not exist yet",
					"option %s: the user %s cannot write in %s", n.option, d.account.User, n.path)
			}
		}
		return nil
	})
}

// warnUnreachable warns about paths that the application's account cannot reach but may
// not need.
func (d *deployment) warnUnreachable() error {
	for _, n := range needsOf(d.Wants()) {
		if !config.Exists(n.Path) {
			continue
		}
		if err := host.CheckAccess(d.account, []host.Need{n}); err != nil {
			d.Warn(err.Error())
		}
	}
	return nil
}
