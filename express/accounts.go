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

// findAccount returns the account that the application runs as: the launcher's own, or,
// as root, that of --user and --group. Accounts not in /etc/passwd are looked up with
// getent.
func findAccount(ctx context.Context, inv *Invocation, s *Server, warn func(string)) (*host.Account, error) {
	if !host.Accounts {
		if config.User.In(s) != "" || config.Group.In(s) != "" {
			warn("--user and --group have no effect on Windows")
		}
		return host.Self(), nil
	}
	if os.Geteuid() != 0 {
		a := host.Self()
		warnAccount(ctx, inv.Env, s, a, warn)
		return a, nil
	}
	name, byUser := givenOrSet(inv.Env, config.User, config.User.In(s), "USER")
	group, byGroup := givenOrSet(inv.Env, config.Group, config.Group.In(s), "GROUP")
	if name == "" {
		return nil, fault.New(fault.Usage, userHint(inv.Args, s, host.ExampleUser()), "option --user is required when started as root: the application must not run as root")
	}
	a := &host.Account{User: name, Other: true}
	entry, err := host.FindUser(ctx, inv.Env, name)
	if err != nil {
		return nil, fault.New(fault.Usage, host.AccountHint("user"), "%s: %w", byUser, err)
	}
	a.UID, a.GID = entry.UID, entry.GID
	if entry.Name == "" && group == "" {
		return nil, fault.New(fault.Usage, "", "%s: no account has the user ID %d, so --group is required too", byUser, a.UID)
	}
	if group != "" {
		if a.GID, err = host.FindGroup(ctx, inv.Env, group); err != nil {
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

// givenOrSet returns the value of an option or, if it was not given, of the
// corresponding variable of upstream's launcher. by names the source, for messages.
func givenOrSet(env []string, option option.Ref, value, variable string) (chosen, by string) {
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

// userHint returns the command with a user added. It does not show values of --setenv,
// which may be secrets.
func userHint(args []string, s *Server, example string) string {
	if len(config.Setenv.In(s)) > 0 {
		return "add for example --user " + example
	}
	line := append([]string{"mod_wsgi-express"}, args...)
	for i, w := range line {
		line[i] = run.Quote(w)
	}
	return "for example: " + strings.Join(line, " ") + " --user " + example
}

// warnAccount warns if options name an account other than the launcher's.
func warnAccount(ctx context.Context, env []string, s *Server, a *host.Account, warn func(string)) {
	if config.User.In(s) != "" {
		if e, err := host.FindUser(ctx, env, config.User.In(s)); err != nil || e.UID != a.UID {
			warn("--user has no effect: only root can run the application as another user")
		}
	}
	if config.Group.In(s) != "" {
		if gid, err := host.FindGroup(ctx, env, config.Group.In(s)); err != nil || gid != a.GID {
			warn("--group has no effect: only root can run the application with another group")
		}
	}
}

// checkServiceAccounts checks the accounts of --service-user and --service-group, and
// whether they can reach what their services need.
func (d *deployment) checkServiceAccounts(ctx context.Context) error {
	for _, v := range config.ServiceGroup.In(d) {
		if _, err := host.FindGroup(ctx, d.Env, v[1]); err != nil {
			return fault.New(fault.Usage, host.AccountHint("group"), "option --service-group: %w", err)
		}
	}
	for _, v := range config.ServiceUser.In(d) { // httpd looks up the name even where it has no effect
		if _, err := host.FindUser(ctx, d.Env, v[1]); err != nil {
			return fault.New(fault.Usage, host.AccountHint("user"), "option --service-user: %w", err)
		}
	}
	if os.Geteuid() != 0 {
		if len(config.ServiceUser.In(d))+len(config.ServiceGroup.In(d)) > 0 {
			d.Warn("--service-user and --service-group have no effect: only root can run a service as another user")
		}
		return nil
	}
	for _, s := range config.ServiceScript.In(d) {
		if err := d.checkService(ctx, s[0], s[1]); err != nil {
			return err
		}
	}
	return nil
}

// checkService checks whether the account of a service can reach what the service needs.
func (d *deployment) checkService(ctx context.Context, service, script string) error {
	name := config.LastOf(config.ServiceUser.In(d), service)
	if name == "" {
		return nil
	}
	entry, err := host.FindUser(ctx, d.Env, name)
	if err != nil {
		return fault.New(fault.Usage, host.AccountHint("user"), "option --service-user: %w", err)
	}
	if entry.UID == 0 {
		return fault.New(fault.Usage, "", "option --service-user: %s is root; the module never runs a service as root", name)
	}
	a := &host.Account{User: name, UID: entry.UID, GID: d.account.GID, Other: true}
	if group := config.LastOf(config.ServiceGroup.In(d), service); group != "" {
		a.GID, _ = host.FindGroup(ctx, d.Env, group)
	}
	a.Groups = host.Supplementary(entry, a.GID)
	return host.CheckAccess(a, []host.Need{
		{Path: d.python.Home, What: "the Python environment", Read: false},
		{Path: d.python.Stdlib, What: "Python's standard library", Read: true},
		{Path: d.python.Packages, What: "the installed packages", Read: true},
		{Path: d.Work, What: "the working directory (--working-directory)", Read: false},
		{Path: d.FromLaunch(script), What: "the script of the service " + service, Read: true},
	})
}
