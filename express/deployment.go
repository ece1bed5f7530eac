package express

import (
	"cmp"
	"context"
	"strings"
	"sync"

	"modwsgi/express/acme"
	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/express/instance"
	"modwsgi/express/logwriter"
	"modwsgi/express/option"
	"modwsgi/express/site"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// deployment is an application about to be served: the configured instance, and what it
// was derived from.
type deployment struct {
	*config.Instance

	python     *site.Environment
	account    *host.Account // the application runs as this account
	trust      *instance.Trust
	executable string   // path of the launcher
	printed    bool     // only a unit is printed, which a user other than root will run
	variables  []string // of --envvars-script
	sockets    []host.Passed
}

// resolve derives a deployment from the command line and the machine. It checks
// everything that can be checked before anything is written.
func resolve(ctx context.Context, c *Console, inv *Invocation, s *Server) (*deployment, error) {
	if inv.NoDir != nil {
		return nil, run.NoDirectory(inv.Env, inv.NoDir)
	}
	python, err := inv.python()
	if err != nil {
		return nil, err
	}
	config.PythonPath.Set(s, append(python.OwnPath(), config.PythonPath.In(s)...))
	d := &deployment{
		python: python, trust: inv.trust(c), executable: inv.Executable, printed: s.ForUnit && host.AsRoot(),
		Instance: &config.Instance{
			Server: s, Warn: c.Warn, Env: inv.Env, LaunchDir: inv.Dir, Launcher: python.Launcher, Load: site.LoadModule(python, python.Module),
			Machine: inv.machine(), LocalFiles: inv.localFiles(), Parks: python.ParksClients(),
		},
	}
	d.BuiltIn = sync.OnceValues(func() (map[string]bool, error) {
		return site.BuiltInModules(ctx, inv.Env, d.HTTPD, python.Home)
	})
	if d.account, err = findAccount(ctx, inv, s, c.Warn); err != nil {
		return nil, err
	}
	d.Account = config.Account{User: d.account.User, Group: d.account.Group}
	s.ModuleVersion, s.FreeThreaded = python.Receipt.Module.Version, python.Receipt.Python.FreeThreaded
	return d, d.derive(ctx)
}

// derive runs the steps of resolve that follow once the account is known, in order.
func (d *deployment) derive(ctx context.Context) error {
	for _, step := range []func() error{
		d.Settle,
		func() error { return d.CanCarry(d.python.Home, "the path of the Python environment", nil) },
		func() error { return d.CanCarry(d.python.SharedPython(), "the path of Python's library", nil) },
		d.python.CheckPython,
		d.findPlaces,
		d.CheckFiles,
		d.checkMonitoring,
		d.checkPIDFile,
		d.Application,
		d.Tools,
		d.checkCollector,
		func() error { return d.checkServiceAccounts(ctx) },
		d.findServer,
		d.FindServed,
		d.CheckCarried,
		func() error { return host.CheckAccess(d.account, needsOf(d.Needs())) },
		d.checkWritable,
		d.checkLogs,
		d.warnUnreachable,
		func() error { return d.readVariables(ctx) },
		d.checkEnvironment,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	d.Size = d.Sizes()
	return nil
}

// checkMonitoring refuses options that need mod_handover if it does not exist.
func (d *deployment) checkMonitoring() error {
	for _, o := range []option.Handle[string]{config.HealthPath, config.MetricsListen, config.Dashboard} {
		switch {
		case !d.Given(o) || d.python.Handover() != "" || config.DebugMode.In(d):
		case !host.HandsOver:
			return fault.New(fault.Environment, "omit it", "option %s needs mod_handover, which exists for Linux only", o.Flag())
		default:
			return fault.New(fault.Environment, "install it: modwsgi install --reinstall", "option %s needs mod_handover, which is not beside the module %s", o.Flag(), d.python.Module)
		}
	}
	if len(config.HTTPSAuto.In(d)) > 0 && d.python.Handover() == "" {
		if !host.HandsOver {
			return fault.New(fault.Environment, "obtain a certificate with another program, and name it with --ssl-certificate-file", "option --https-auto needs mod_handover, which exists for Linux only")
		}
		return fault.New(fault.Environment, "install it: modwsgi install --reinstall", "option --https-auto needs mod_handover, which is not beside the module %s", d.python.Module)
	}
	if a := d.ACME(); a != nil && a.Challenge == acme.TLSALPN01 && d.python.Receipt.HTTPD.Version != "" && !site.AtLeastVersion(d.python.Receipt.HTTPD.Version, "2.4.48") {
		return fault.New(fault.Environment, "use another challenge, or a newer httpd", "option --acme-challenge tls-alpn-01 needs httpd 2.4.48 or newer; this one is %s", d.python.Receipt.HTTPD.Version)
	}
	return nil
}

// abs makes a path of the command line absolute; "" stays "".
func (d *deployment) abs(path string) string { return absolute(d.LaunchDir, path) }

// findPlaces determines where the files of the instance are.
func (d *deployment) findPlaces() error {
	settings := site.Settings(d.python.Home)
	d.Python = config.Python{
		Home: d.python.Home, Site: d.python.Packages, Stdlib: d.python.Stdlib, Library: d.python.SharedPython(),
		SeesSystem: len(settings) == 0 || strings.EqualFold(settings["include-system-site-packages"], "true"),
	}
	if err := d.Places(host.DefaultRoot(d.Env, listenName(d.Server), config.Port.In(d), d.account)); err != nil {
		return err
	}
	if !d.printed {
		warning, err := instance.CheckRoot(d.Root)
		if err != nil {
			return err
		}
		if warning != "" {
			d.Warn(warning)
		}
	}
	d.Locale = d.chooseLocale()
	if !d.Daemon() {
		return nil
	}
	return instance.CheckSocketPath(d.SocketDir)
}

// listenName returns the host name or address that the server listens on, without
// brackets.
func listenName(s *Server) string {
	return cmp.Or(config.Unbracket(config.Host.In(s)), "localhost")
}

// chooseLocale returns the locale of the application. If this machine lacks the locale
// that an option names, the application would run in the C locale, in which text and
// file names are ASCII. Another locale is used then, with a warning.
func (d *deployment) chooseLocale() string {
	locale := host.Locale(d.Env, config.Locale.In(d), config.Lang.In(d))
	option := config.Locale
	if config.Locale.In(d) == "" {
		option = config.Lang
	}
	if (locale == config.Locale.In(d) || locale == config.Lang.In(d)) && !host.HasLocale(locale) {
		d.Warn("option " + option.Flag() + ": this machine has no locale " + run.Quote(locale) + " (see locale -a); C.UTF-8 is used")
		return "C.UTF-8"
	}
	return locale
}

// checkPIDFile refuses a file of --pid-file that another user could replace.
func (d *deployment) checkPIDFile() error {
	if config.PIDFile.In(d) == "" || d.printed {
		return nil
	}
	return instance.CheckPIDFile(d.PIDFile)
}

// checkLogs refuses, for root, log files that another user has replaced.
func (d *deployment) checkLogs() error {
	if err := d.checkWrittenLogs(); err != nil {
		return err
	}
	if !d.account.Other || config.LogToTerminal.In(d) || d.printed {
		return nil
	}
	warning, err := instance.CheckLogs(d.Logs, d.LogNames())
	if warning != "" && config.LogDirectory.In(d) != "" {
		d.Warn(warning)
	}
	return err
}

// checkWrittenLogs refuses log files that the launcher's program cannot write. httpd
// itself refuses to start with those that it cannot.
func (d *deployment) checkWrittenLogs() error {
	if d.printed {
		return nil
	}
	for _, path := range d.WrittenLogs() {
		if err := logwriter.Check(path); err != nil {
			return fault.New(fault.Environment, "choose another directory with --log-directory, or change the rights", "the log %s cannot be written: %w", path, err)
		}
	}
	return nil
}

// checkEnvironment checks the environment of httpd, and warns about variables of a
// script that httpd does not get.
func (d *deployment) checkEnvironment() error {
	for _, kv := range d.variables {
		if name, _, _ := strings.Cut(kv, "="); instance.IsKeptAway(name) {
			d.Warn("option --envvars-script: " + name + " is not passed to httpd, which runs the Python of " + d.python.Home)
		}
	}
	return instance.CheckInherited(d.launch().Environ(d.Env))
}
