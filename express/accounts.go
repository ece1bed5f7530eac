package express

import (
	"context"
	"os"
	"strings"

	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/express/option"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// findAccount tells as whom the application runs: ourselves, or, as root, whom
// --user and --group name. Names of accounts that /etc/passwd does not have are
// asked of getent.
func (p *Program) findAccount(ctx context.Context, s *Server) (*host.Account, error) {
	if !host.Accounts {
		if config.User.In(s) != "" || config.Group.In(s) != "" {
			p.warn("--user and --group have no effect on Windows")
		}
		return host.Self(), nil
	}
	if os.Geteuid() != 0 {
		a := host.Self()
		p.warnAccount(ctx, s, a)
		return a, nil
	}
	name, byUser := said(p.Env, config.User, config.User.In(s), "USER")
	group, byGroup := said(p.Env, config.Group, config.Group.In(s), "GROUP")
	if name == "" {
		return nil, fault.New(fault.Usage, p.userHint(s, host.ExampleUser()), "option --user is required when started as root: the application must not run as root")
	}
	a := &host.Account{User: name, Other: true}
	entry, err := host.FindUser(ctx, p.Env, name)
	if err != nil {
		return nil, fault.New(fault.Usage, host.AccountHint("user"), "%s: %w", byUser, err)
	}
	a.UID, a.GID = entry.UID, entry.GID
	if entry.Name == "" && group == "" {
		return nil, fault.New(fault.Usage, "", "%s: there is no account with the number %d, so --group is required too", byUser, a.UID)
	}
	if group != "" {
		if a.GID, err = host.FindGroup(ctx, p.Env, group); err != nil {
			return nil, fault.New(fault.Usage, host.AccountHint("group"), "%s: %w", byGroup, err)
		}
	}
	if a.UID == 0 {
		return nil, fault.New(fault.Usage, host.AccountHint("user"), "%s: %s is root; the application must not run as root", byUser, name)
	}
	a.Group = group
	if a.Group == "" {
		a.Group = host.GroupNamed(a.GID)
	}
	a.Groups = host.Supplementary(entry, a.GID)
	return a, nil
}

// said is the value of an option, or, where it was not given, of the variables
// that upstream's launcher reads for it; by tells which of them, for messages.
func said(env []string, option option.Ref, value, variable string) (chosen, by string) {
	if value != "" {
		return value, "option " + option.Flag()
	}
	for _, prefix := range []string{"MOD_WSGI_", "MOD_WSGI_RUN_", "WSGI_RUN_"} {
		if v := run.Getenv(env, prefix+variable); v != "" {
			return v, "the environment variable " + prefix + variable
		}
	}
	return "", "option " + option.Flag()
}

// userHint is the command again, with a user; but values of variables, which may
// be secrets, are not shown.
func (p *Program) userHint(s *Server, example string) string {
	if len(config.Setenv.In(s)) > 0 {
		return "add for example --user " + example
	}
	line := append([]string{"mod_wsgi-express"}, p.Args...)
	for i, w := range line {
		line[i] = run.Quote(w)
	}
	return "for example: " + strings.Join(line, " ") + " --user " + example
}

// warnAccount warns of another account than the one that the launcher has.
func (p *Program) warnAccount(ctx context.Context, s *Server, a *host.Account) {
	if config.User.In(s) != "" {
		if e, err := host.FindUser(ctx, p.Env, config.User.In(s)); err != nil || e.UID != a.UID {
			p.warn("--user has no effect: only root can run the application as another user")
		}
	}
	if config.Group.In(s) != "" {
		if gid, err := host.FindGroup(ctx, p.Env, config.Group.In(s)); err != nil || gid != a.GID {
			p.warn("--group has no effect: only root can run the application with another group")
		}
	}
}

// serviceAccounts checks the accounts of --service-user and --service-group, and
// that these can reach what their services need.
func (p *Program) serviceAccounts(ctx context.Context, i *resolved) error {
	for _, v := range config.ServiceGroup.In(i) {
		if _, err := host.FindGroup(ctx, p.Env, v[1]); err != nil {
			return fault.New(fault.Usage, host.AccountHint("group"), "option --service-group: %w", err)
		}
	}
	for _, v := range config.ServiceUser.In(i) { // httpd looks for the name also where it has no effect
		if _, err := host.FindUser(ctx, p.Env, v[1]); err != nil {
			return fault.New(fault.Usage, host.AccountHint("user"), "option --service-user: %w", err)
		}
	}
	if os.Geteuid() != 0 {
		if len(config.ServiceUser.In(i))+len(config.ServiceGroup.In(i)) > 0 {
			p.warn("--service-user and --service-group have no effect: only root can run a service as somebody else")
		}
		return nil
	}
	for _, s := range config.ServiceScript.In(i) {
		name := config.LastOf(config.ServiceUser.In(i), s[0])
		if name == "" {
			continue
		}
		entry, err := host.FindUser(ctx, p.Env, name)
		if err != nil {
			return fault.New(fault.Usage, host.AccountHint("user"), "option --service-user: %w", err)
		}
		if entry.UID == 0 {
			return fault.New(fault.Usage, "", "option --service-user: %s is root; the module runs no service as root", name)
		}
		a := &host.Account{User: name, UID: entry.UID, GID: entry.GID, Other: true}
		if g := config.LastOf(config.ServiceGroup.In(i), s[0]); g != "" {
			a.GID, _ = host.FindGroup(ctx, p.Env, g)
		} else {
			a.GID = i.account.GID
		}
		a.Groups = host.Supplementary(entry, a.GID)
		if err := host.CheckAccess(a, []host.Need{
			{Path: i.in.Home, What: "the Python environment", Read: false},
			{Path: i.in.Stdlib, What: "Python's standard library", Read: true},
			{Path: i.in.Packages, What: "the installed packages", Read: true},
			{Path: i.Work, What: "the working directory (--working-directory)", Read: false},
			{Path: i.FromLaunch(s[1]), What: "the script of the service " + s[0], Read: true},
		}); err != nil {
			return err
		}
	}
	return nil
}
