package express

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/express/option"
	"modwsgi/express/site"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// instance is a server with everything derived: where its files are, as whom it
// runs, which httpd and which of its modules it takes. Paths are absolute.
type instance struct {
	*Server
	in      *site.Environment
	account *host.Account
	env     []string

	launchDir string // working directory of the launcher
	release   func() // unmarks the server root; nil where nothing is started
	printed   bool   // another user than root, who only prints its unit, will run it

	root, docs, logs, work, eggs  string
	socketDir, pidFile, launcher  string
	entry                         string // path or module name; "" is the welcome page
	mount, group, locale          string
	httpd, modulesDir, rotatelogs string
	httpdBy                       string // what names the httpd, "" for the environment
	mime                          string
	mpm                           string
	mpmBuiltIn                    bool
	builtIn                       map[string]bool // nil: not asked for
	errorLog, accessLog, startLog string          // as people find them

	coverageDir, profilerDir, recorderDir string   // "" where off
	gdb                                   string   // "" where off
	variables                             []string // of --envvars-script
	size                                  sizes
	served                                []*servedDir
}

// daemon tells the normal mode: the application in processes of its own.
func (i *instance) daemon() bool {
	return !config.EmbeddedMode.In(i) && !config.DebugMode.In(i) && host.DaemonMode
}

// abs makes a path of the command line absolute.
// needDirectory refuses a relative path where there is no directory that it could be
// relative to.
func (p *Program) needDirectory(path string) error {
	if p.NoDir == nil || path == "" || filepath.IsAbs(path) {
		return nil
	}
	return run.NoDirectory(p.Env, p.NoDir)
}

func (p *Program) abs(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(p.Dir, path)
}

// resolve derives an instance from the command line and the environment, and
// checks all that can be checked before anything is written.
func (p *Program) resolve(ctx context.Context, s *Server) (*instance, error) {
	if p.NoDir != nil {
		return nil, run.NoDirectory(p.Env, p.NoDir)
	}
	in, err := p.install()
	if err != nil {
		return nil, err
	}
	config.PythonPath.Set(s, append(in.OwnPath(), config.PythonPath.In(s)...))
	i := &instance{Server: s, in: in, env: p.Env, launcher: in.Launcher, launchDir: p.Dir, printed: s.ForUnit && host.AsRoot()}
	if i.account, err = p.findAccount(ctx, s); err != nil {
		return nil, err
	}
	s.ModuleVersion, s.FreeThreaded = in.Receipt.Module.Version, in.Receipt.Python.FreeThreaded
	for _, step := range []func() error{
		func() error { return checkVersions(s, in.Receipt.Module.Version) },
		func() error { return p.conflicts(s) },
		i.checkTLS,
		func() error { return i.canCarry(in.Home, "the path of the Python environment", nil) },
		func() error { return i.canCarry(in.SharedPython(), "the path of Python's library", nil) },
		in.CheckPython,
		func() error { return p.places(i) },
		func() error { return p.namedFiles(i) },
		func() error { return p.application(i) },
		func() error { return p.tools(i) },
		func() error { return p.serviceAccounts(ctx, i) },
		func() error { return p.server(ctx, i) },
		func() error { return p.findServed(i) },
		i.carriedPaths,
		func() error { return host.CheckAccess(i.account, i.needs()) },
		i.checkWritable,
		func() error { return p.checkLogs(i) },
		func() error { return p.warnUnreachable(i) },
		func() error { return p.envVars(ctx, i) },
		func() error { return p.checkEnvironment(i) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	i.size = i.sizes()
	return i, nil
}

// conflicts reports options that make no sense together and warns about those
// that have no effect.
func (p *Program) conflicts(s *Server) error {
	bad := func(format string, args ...any) error { return usage("start-server", "", format, args...) }
	if err := p.toolConflicts(s); err != nil {
		return err
	}
	if config.AuthGroupScript.In(s) != "" && config.AuthUserScript.In(s) == "" {
		return bad("option --auth-group-script needs --auth-user-script")
	}
	for _, w := range ineffective(s, !config.EmbeddedMode.In(s) && !config.DebugMode.In(s) && host.DaemonMode) {
		p.warn(w)
	}
	if config.LogDirectory.In(s) != "" {
		config.LogToTerminal.Set(s, false)
	}
	if config.LogToTerminal.In(s) {
		config.RotateLogs.Set(s, false)
	}
	if config.EmbeddedMode.In(s) && config.DebugMode.In(s) {
		return bad("--embedded-mode and --debug-mode exclude each other")
	}
	for _, check := range []func(*Server) error{hostConflicts, trustConflicts, serviceConflicts, telemetryConflicts, handlerConflicts} {
		if err := check(s); err != nil {
			return err
		}
	}
	if config.FreeThreading.In(s) && !s.FreeThreaded {
		return bad("option --free-threading needs a Python that was built without the GIL")
	}
	for _, e := range config.ErrorDocument.In(s) {
		if n, err := strconv.Atoi(e[0]); err != nil || n < 400 || n > 599 {
			return bad("option --error-document: %q is not the status of an error", e[0])
		}
	}
	for _, kv := range config.Setenv.In(s) {
		if err := variable(kv[0]); err != nil {
			return bad("option --setenv: %w", err)
		}
	}
	return nil
}

// places decides where the files of the instance are.
func (p *Program) places(i *instance) error {
	name := unbracket(config.Host.In(i))
	if name == "" {
		name = "localhost"
	}
	i.root = p.abs(config.ServerRoot.In(i))
	if i.root == "" {
		i.root = host.DefaultRoot(p.Env, name, config.Port.In(i), i.account)
	}
	i.root = filepath.Clean(i.root)
	if !i.printed {
		if err := p.checkRoot(i.root); err != nil {
			return err
		}
	}
	i.group = config.ProcessGroup.In(i)
	if i.group == "" {
		i.group = groupName(config.Host.In(i), config.Port.In(i))
	}
	i.mount = cleanMount(config.MountPoint.In(i))
	i.work = filepath.Clean(p.abs(config.WorkingDirectory.In(i)))
	if config.WorkingDirectory.In(i) == "" {
		i.work = p.Dir
	}
	i.socketDir = i.root
	if config.SocketPrefix.In(i) != "" {
		i.socketDir = filepath.Clean(p.abs(config.SocketPrefix.In(i)))
		if err := wantDirectory(config.SocketPrefix, i.socketDir); err != nil {
			return err
		}
	}
	if i.daemon() {
		if err := checkSocketPath(i.socketDir); err != nil {
			return err
		}
	}
	i.pidFile = orElse(p.abs(config.PIDFile.In(i)), filepath.Join(i.root, "httpd.pid"))
	i.eggs = orElse(p.abs(config.PythonEggs.In(i)), filepath.Join(i.root, "python-eggs"))
	i.logs = orElse(p.abs(config.LogDirectory.In(i)), i.root)
	i.docs = orElse(p.abs(config.DocumentRoot.In(i)), filepath.Join(i.root, "htdocs"))
	i.locale = p.chooseLocale(i.Server)
	if err := wantDirectory(config.WorkingDirectory, i.work); err != nil {
		return err
	}
	for _, d := range []named{{config.LogDirectory, i.logs}, {config.PythonEggs, i.eggs}} {
		if i.Given(d.option) {
			if err := wantDirectory(d.option, filepath.Dir(d.path)); err != nil {
				return err
			}
		}
	}
	i.logPaths()
	return nil
}

// checkRoot refuses a server root in which, or in whose place, another user could
// have put something; a missing one is fine. It refuses one with a configuration of
// somebody else's, too, and warns of one in which other things lie. Ours and
// upstream's hold the glue.
func (p *Program) checkRoot(root string) error {
	dir, err := openRoot(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	has := func(name string) bool { _, err := dir.Lstat(name); return err == nil }
	entries, err := dir.Entries()
	if err != nil || len(entries) == 0 || has(handlerFile) {
		return nil //nolint:nilerr // it may be used without being listed
	}
	if has(confFile) {
		return fault.New(fault.Environment, "choose another directory with --server-root, or move the file away",
			"the server root %s holds an httpd.conf that mod_wsgi-express has not written", root)
	}
	p.warn("the server root " + root + " holds other files (" + entries[0].Name() + "); those of mod_wsgi-express are put among them")
	return nil
}

func wantDirectory(option option.Ref, path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.Usage, "", "option %s: the directory %s is not there", option, path)
	case err != nil:
		return fault.New(fault.Usage, "", "option %s: %w", option, err)
	case !info.IsDir():
		return fault.New(fault.Usage, "", "option %s: %s is not a directory", option, path)
	}
	return nil
}

func orElse(value, other string) string {
	if value != "" {
		return filepath.Clean(value)
	}
	return other
}

// application finds what is to be served.
func (p *Program) application(i *instance) error {
	entry := config.EntryPoint.In(i)
	if entry == "" && len(i.Positional) > 0 {
		entry = i.Positional[0]
	}
	switch config.ApplicationType.In(i) {
	case "static":
		if config.DocumentRoot.In(i) == "" {
			i.docs = filepath.Clean(orElse(p.abs(entry), p.Dir))
		}
	case "module":
		i.entry = entry
		if entry != "" && !moduleName(entry) {
			hint := "for a file leave --application-type out"
			if module, callable, ok := strings.Cut(entry, ":"); ok && moduleName(module) {
				hint = "for example: " + module + " --callable-object " + callable
			}
			return usage("start-server", hint, "%q is not the name of a Python module", entry)
		}
		p.lookForModule(i)
	default:
		if entry == "" {
			break
		}
		i.entry = filepath.Clean(p.abs(entry))
		info, err := os.Stat(i.entry)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			hint := "give the path of the WSGI script"
			if moduleName(entry) && config.ApplicationType.In(i) == "script" {
				hint += ", or --application-type module if it is the name of a module"
			}
			return fault.New(fault.Usage, hint, "the application %s is not there", i.entry)
		case err != nil:
			return fault.New(fault.Usage, "", "the application: %w", err)
		case info.IsDir():
			return fault.New(fault.Usage, "to serve a directory of files use --application-type static", "the application %s is a directory", i.entry)
		}
	}
	if config.DocumentRoot.In(i) != "" || config.ApplicationType.In(i) == "static" {
		return i.checkDocumentRoot()
	}
	return nil
}

func (i *instance) checkDocumentRoot() error {
	info, err := os.Stat(i.docs)
	if errors.Is(err, fs.ErrNotExist) && config.DocumentRoot.In(i) != "" {
		// One level is made, as upstream does; the level above must be there.
		return wantDirectory(config.DocumentRoot, filepath.Dir(i.docs))
	}
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a directory", i.docs)
	}
	if err != nil {
		return fault.New(fault.Usage, "", "the document root: %w", err)
	}
	return nil
}

// checkWritable reports a directory of the caller's in which the application
// could not write: with the recorder every request would fail, and of the other
// tools nothing would be left in the end.
func (i *instance) checkWritable() error {
	there := map[string]bool{} // with our own rights: a server root may be closed until setup opens it
	for _, dir := range []string{i.coverageDir, i.profilerDir, i.recorderDir} {
		there[dir] = dir != "" && exists(dir)
	}
	return host.As(i.account, func() error {
		for _, d := range []named{{config.CoverageDirectory, i.coverageDir}, {config.ProfilerDirectory, i.profilerDir}, {config.RecorderDirectory, i.recorderDir}} {
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
func (p *Program) warnUnreachable(i *instance) error {
	var needs []host.Need
	for _, a := range config.URLAlias.In(i) {
		needs = append(needs, host.Need{Path: i.fromLaunch(a[1]), What: "--url-alias " + a[0], Read: false})
	}
	for _, d := range config.PythonPath.In(i) {
		needs = append(needs, host.Need{Path: i.fromLaunch(d), What: "--python-path", Read: false})
	}
	if i.Given(config.PythonEggs) {
		needs = append(needs, host.Need{Path: i.eggs, What: "--python-eggs", Read: false})
	}
	for _, n := range needs {
		if !exists(n.Path) {
			continue
		}
		if err := host.CheckAccess(i.account, []host.Need{n}); err != nil {
			p.warn(err.Error())
		}
	}
	return nil
}

// moduleName reports whether s can be imported by that name; Python allows more
// letters than ASCII's.
func moduleName(s string) bool {
	for part := range strings.SplitSeq(s, ".") {
		if part == "" || strings.ContainsAny(part, "/\\ \t\r\n'\"-:;,()[]{}") || part[0] >= '0' && part[0] <= '9' {
			return false
		}
	}
	return true
}

// needs lists what the application's account has to reach.
func (i *instance) needs() []host.Need {
	needs := []host.Need{
		{Path: i.in.Home, What: "the Python environment", Read: false},
		{Path: i.in.Stdlib, What: "Python's standard library", Read: true},
		{Path: i.in.Packages, What: "the installed packages", Read: true},
		{Path: i.work, What: "the working directory (--working-directory)", Read: false},
		{Path: filepath.Dir(i.root), What: "the server root (--server-root)", Read: false},
	}
	if lib := i.in.SharedPython(); lib != "" {
		needs = append(needs, host.Need{Path: lib, What: "Python's library", Read: true})
	}
	if i.entry != "" && config.ApplicationType.In(i) != "module" {
		needs = append(needs, host.Need{Path: i.entry, What: "the application", Read: true})
	}
	if _, err := os.Stat(i.docs); err == nil && (config.DocumentRoot.In(i) != "" || config.ApplicationType.In(i) == "static") {
		needs = append(needs, host.Need{Path: i.docs, What: "the document root (--document-root)", Read: false})
	}
	for _, s := range config.ServiceScript.In(i) {
		if lastOf(config.ServiceUser.In(i), s[0]) == "" {
			needs = append(needs, host.Need{Path: i.fromLaunch(s[1]), What: "the script of the service " + s[0], Read: true})
		}
	}
	for _, h := range config.AddHandler.In(i) {
		needs = append(needs, host.Need{Path: i.fromLaunch(h[1]), What: "the handler script for " + h[0], Read: true})
	}
	for _, s := range []string{config.HostAccessScript.In(i), config.AuthUserScript.In(i), config.AuthGroupScript.In(i)} {
		if s != "" {
			needs = append(needs, host.Need{Path: i.fromLaunch(s), What: "the script " + s, Read: true})
		}
	}
	if config.SocketPrefix.In(i) != "" {
		needs = append(needs, host.Need{Path: i.socketDir, What: "the directory for sockets (--socket-prefix)", Read: false})
	}
	return slices.DeleteFunc(needs, func(n host.Need) bool { return n.Path == "" })
}
