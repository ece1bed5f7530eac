package express

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/express/instance"
	"modwsgi/express/option"
	"modwsgi/express/site"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// resolved is a configured server in the environment that it belongs to.
type resolved struct {
	*config.Instance

	in        *site.Environment
	account   *host.Account
	release   func()          // unmarks the server root; nil where nothing is started
	printed   bool            // another user than root, who only prints its unit, will run it
	builtIn   map[string]bool // modules of httpd; nil: not asked for
	variables []string        // of --envvars-script
}

// needDirectory refuses a relative path where there is no directory that it could be
// relative to.
func (p *Program) needDirectory(path string) error {
	if p.NoDir == nil || path == "" || filepath.IsAbs(path) {
		return nil
	}
	return run.NoDirectory(p.Env, p.NoDir)
}

// abs makes a path of the command line absolute.
func (p *Program) abs(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(p.Dir, path)
}

// resolve derives an instance from the command line and the environment, and
// checks all that can be checked before anything is written.
func (p *Program) resolve(ctx context.Context, s *Server) (*resolved, error) {
	if p.NoDir != nil {
		return nil, run.NoDirectory(p.Env, p.NoDir)
	}
	in, err := p.install()
	if err != nil {
		return nil, err
	}
	config.PythonPath.Set(s, append(in.OwnPath(), config.PythonPath.In(s)...))
	i := &resolved{in: in, printed: s.ForUnit && host.AsRoot(), Instance: &config.Instance{
		Server: s, Warn: p.warn, Env: p.Env, LaunchDir: p.Dir, Launcher: in.Launcher, Load: site.LoadModule(in, in.Module),
	}}
	i.BuiltIn = func() (map[string]bool, error) {
		err := p.askBuiltIn(ctx, i)
		return i.builtIn, err
	}
	if i.account, err = p.findAccount(ctx, s); err != nil {
		return nil, err
	}
	i.Account = config.Account{User: i.account.User, Group: i.account.Group}
	s.ModuleVersion, s.FreeThreaded = in.Receipt.Module.Version, in.Receipt.Python.FreeThreaded
	for _, step := range []func() error{
		i.Settle,
		func() error { return i.CanCarry(in.Home, "the path of the Python environment", nil) },
		func() error { return i.CanCarry(in.SharedPython(), "the path of Python's library", nil) },
		in.CheckPython,
		func() error { return p.places(i) },
		i.CheckFiles,
		i.checkPIDFile,
		i.Application,
		i.Tools,
		func() error { return p.collector(i) },
		func() error { return p.serviceAccounts(ctx, i) },
		func() error { return p.server(ctx, i) },
		i.FindServed,
		i.CheckCarried,
		func() error { return host.CheckAccess(i.account, needsOf(i.Needs())) },
		i.checkWritable,
		func() error { return p.checkLogs(i) },
		i.warnUnreachable,
		func() error { return p.envVars(ctx, i) },
		func() error { return p.checkEnvironment(i) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	i.Size = i.Sizes()
	return i, nil
}

// places determines where the files of the instance are.
func (p *Program) places(i *resolved) error {
	settings := site.Settings(i.in.Home)
	i.Python = config.Python{
		Home: i.in.Home, Site: i.in.Packages, Stdlib: i.in.Stdlib, Library: i.in.SharedPython(),
		SeesSystem: len(settings) == 0 || strings.EqualFold(settings["include-system-site-packages"], "true"),
	}
	name := config.Unbracket(config.Host.In(i))
	if name == "" {
		name = "localhost"
	}
	if err := i.Places(host.DefaultRoot(p.Env, name, config.Port.In(i), i.account)); err != nil {
		return err
	}
	if !i.printed {
		if err := p.checkRoot(i.Root); err != nil {
			return err
		}
	}
	i.Locale = p.chooseLocale(i.Server)
	if !i.Daemon() {
		return nil
	}
	return instance.CheckSocketPath(i.SocketDir)
}

// checkPIDFile refuses the file of --pid-file where another user could replace it.
func (i *resolved) checkPIDFile() error {
	if config.PIDFile.In(i) == "" || i.printed {
		return nil
	}
	return instance.CheckPIDFile(i.PIDFile)
}

// needsOf is what the application's account must be able to do, for checkAccess.
func needsOf(list []config.Need) (needs []host.Need) {
	for _, n := range list {
		needs = append(needs, host.Need{Path: n.Path, What: n.What, Read: n.Read})
	}
	return needs
}

// checkRoot refuses a server root in which, or in whose place, another user could
// have put something; a missing one is fine. It refuses one with a configuration of
// somebody else's, too, and warns of one in which other things lie. Ours and
// upstream's hold the glue.
func (p *Program) checkRoot(root string) error {
	dir, err := instance.OpenRoot(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	has := func(name string) bool { _, err := dir.Lstat(name); return err == nil }
	entries, err := dir.Entries()
	if err != nil || len(entries) == 0 || has(config.HandlerFile) {
		return nil //nolint:nilerr // it may be used without being listed
	}
	if has(instance.ConfFile) {
		return fault.New(fault.Environment, "choose another directory with --server-root, or move the file away",
			"the server root %s holds an httpd.conf that mod_wsgi-express has not written", root)
	}
	p.warn("the server root " + root + " holds other files (" + entries[0].Name() + "); those of mod_wsgi-express are put among them")
	return nil
}

// checkWritable reports a directory of the caller's in which the application
// could not write: with the recorder every request would fail, and of the other
// tools nothing would be left in the end.
func (i *resolved) checkWritable() error {
	type named struct {
		option option.Ref
		path   string
	}
	dirs := []named{{config.CoverageDirectory, i.CoverageDir}, {config.ProfilerDirectory, i.ProfilerDir}, {config.RecorderDirectory, i.RecorderDir}}
	there := map[string]bool{} // with our own rights: a server root may be closed until setup opens it
	for _, d := range dirs {
		there[d.path] = d.path != "" && config.Exists(d.path)
	}
	return host.As(i.account, func() error {
		for _, d := range dirs {
			if there[d.path] && !host.Writable(d.path) {
				return fault.New(fault.Environment, "give it to that account (chown "+run.Quote(i.account.User)+" "+run.Quote(d.path)+"), or name one that is not there yet: it will be made",
					"option %s: the user %s cannot write in %s", d.option, i.account.User, d.path)
			}
		}
		return nil
	})
}

// warnUnreachable warns about what the application's account cannot reach, but
// perhaps need not.
func (i *resolved) warnUnreachable() error {
	for _, n := range needsOf(i.Wants()) {
		if !config.Exists(n.Path) {
			continue
		}
		if err := host.CheckAccess(i.account, []host.Need{n}); err != nil {
			i.Warn(err.Error())
		}
	}
	return nil
}

// checkLogs refuses, for root, log files that another user has made something else.
func (p *Program) checkLogs(i *resolved) error {
	if !i.account.Other || config.LogToTerminal.In(i) || i.printed {
		return nil
	}
	warning, err := instance.CheckLogs(i.Logs, i.LogNames())
	if warning != "" && config.LogDirectory.In(i) != "" {
		p.warn(warning)
	}
	return err
}

// trust decides about the files that root relies on.
func (p *Program) trust() *instance.Trust {
	return &instance.Trust{Launcher: p.Executable, Warn: p.warn}
}
