package express

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"modwsgi/express/conf"
	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/express/instance"
	"modwsgi/express/option"
	pyruntime "modwsgi/express/runtime"
	"modwsgi/express/site"
	"modwsgi/express/supervise"
	"modwsgi/internal/fault"
	"modwsgi/internal/flock"
	"modwsgi/internal/owned"
	"modwsgi/internal/run"
)

// settingsFile is what the glue reads.
const settingsFile = "settings.json"

// settings is what the glue in the application's processes reads; it has no
// secrets, for the application's account can read it.
type settings struct {
	ApplicationType string            `json:"application_type"`
	EntryPoint      string            `json:"entry_point"`
	CallableObject  string            `json:"callable_object"`
	MountPoint      string            `json:"mount_point"`
	Reloading       bool              `json:"reloading"`
	Monitor         bool              `json:"monitor"`
	Environ         map[string]string `json:"environ"`
	Tools           map[string]any    `json:"tools,omitempty"`
	Handlers        map[string]string `json:"handlers,omitempty"`
	Telemetry       *collector        `json:"telemetry,omitempty"`
}

// collector is what the service of --enable-telemetry reads.
type collector struct {
	Listen string `json:"listen"`
	Port   int    `json:"port"`
}

// setup writes the server root. Nothing is written before everything that can be
// checked has been; httpd itself checks the configuration before it replaces the
// one that was there.
func (p *Program) setup(ctx context.Context, s *Server, start bool) (*resolved, *instance.Launch, error) {
	i, err := p.resolve(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	file, text, err := i.Configuration()
	if err != nil {
		return nil, nil, err
	}
	l := i.launch()
	l.Files = append(i.reliedFiles(), i.loaded(file)...)
	for _, name := range config.IncludeFile.In(i) {
		l.Includes = append(l.Includes, i.FromLaunch(name))
	}
	if err := p.trust().Files(i.loaded(file)); err != nil {
		return nil, nil, err
	}
	created := false
	if l.Handle, created, err = i.makeRoot(start, l); err != nil {
		return nil, nil, err
	}
	if start {
		// Between two that start at the same time the pid file does not decide:
		// httpd writes it late. The mark ends with this process.
		if i.release, err = p.lockRoot(ctx, i.Root); err != nil {
			return nil, nil, err
		}
	}
	if err := p.fill(ctx, i, l, file, text); err != nil {
		if i.release != nil {
			i.release()
		}
		if created {
			_ = l.Handle.Discard()
		}
		return nil, nil, err
	}
	i.removeSockets(l)
	return i, l, nil
}

// makeRoot opens or makes the server root, unless httpd runs with it already.
func (i *resolved) makeRoot(start bool, l *instance.Launch) (dir *owned.Dir, created bool, err error) {
	if start {
		if l.Handle, err = instance.OpenRoot(i.Root); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, false, err
		}
		defer l.Close()
		proc, err := l.Running()
		if err != nil {
			return nil, false, err
		}
		if proc != nil {
			defer proc.Release()
			return nil, false, fault.New(fault.Busy, "stop it, or use another --server-root", "an httpd runs with the server root %s already (process %d)", i.Root, proc.Pid)
		}
	}
	return instance.MakeRoot(i.Root, i.account)
}

// removeSockets removes sockets that an earlier httpd has left.
func (i *resolved) removeSockets(l *instance.Launch) {
	if i.SocketDir == i.Root {
		instance.RemoveStaleSockets(l.Handle)
		return
	}
	if dir, err := owned.OpenTemp(i.SocketDir); err == nil {
		instance.RemoveStaleSockets(dir)
		_ = dir.Close()
	}
}

// lockRoot keeps other launchers away from a server root. A server is there for
// days, so that it is waited for only where somebody asks for it.
func (p *Program) lockRoot(ctx context.Context, root string) (release func(), err error) {
	limit, err := flock.Limit(run.Getenv(p.Env, flock.Variable), "0")
	if err != nil {
		return nil, err
	}
	lock, err := flock.Wait(ctx, flock.Options{
		Dir: root, Limit: limit, Busy: "serves with that server root already", Waiting: p.warn,
		Hint: "stop it, or use another --server-root; " + flock.Variable + " sets how long is waited for its end",
	})
	if fault.ClassOf(err) == fault.Internal && err != nil {
		err = fault.New(fault.Environment, "", "mark the server root %s as in use: %w", root, err)
	}
	if err != nil {
		return nil, err
	}
	return func() { _ = lock.Release() }, nil
}

// fill writes the files of a server root, httpd.conf last.
func (p *Program) fill(ctx context.Context, i *resolved, l *instance.Launch, file *conf.File, text string) error {
	if err := instance.MakeDirectories(l.Handle, i.Root, i.account, i.directories()); err != nil {
		return fault.Wrap(fault.Environment, "", err)
	}
	undo := func() {}
	if len(l.Includes) > 0 {
		var err error
		if undo, err = instance.WriteHosts(l.Handle, i.Root, l.IncludedPaths()); err != nil {
			return fault.Wrap(fault.Environment, "", err)
		}
	}
	if err := p.tryConf(ctx, i, l, file, text); err != nil {
		undo()
		return err
	}
	defer func() { _ = l.Handle.Remove(trialFile) }()
	glue, err := pyruntime.Files.ReadFile("mod_wsgi/express/glue.py")
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(i.settings(), "", "  ")
	if err != nil {
		return err
	}
	state, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	files := []instance.RootFile{
		{Name: settingsFile, Data: data, Mode: 0o600, Shared: true},
		{Name: config.HandlerFile, Data: glue, Mode: 0o600, Shared: true},
		{Name: instance.InstanceFile, Data: state, Mode: 0o600, Shared: false},
		{Name: host.ControlFile, Data: host.ControlStub(i.Launcher, i.Root), Mode: 0o700, Shared: false},
	}
	more, err := i.moreFiles()
	if err != nil {
		return err
	}
	for _, f := range append(files, more...) {
		if err := instance.Put(l.Handle, f, i.account); err != nil {
			return fault.Wrap(fault.Environment, "", err)
		}
	}
	return l.Handle.Root().Rename(trialFile, instance.ConfFile)
}

// moreFiles are those that only some options need.
func (i *resolved) moreFiles() ([]instance.RootFile, error) {
	var files []instance.RootFile
	for _, f := range []struct {
		when         bool
		name, source string
	}{
		{len(config.AddHandler.In(i)) > 0, config.ResourceFile, "resource.py"},
		{config.EnableTelemetry.In(i), config.TelemetryFile, "telemetry.py"},
	} {
		if !f.when {
			continue
		}
		data, err := pyruntime.Files.ReadFile("mod_wsgi/express/" + f.source)
		if err != nil {
			return nil, err
		}
		files = append(files, instance.RootFile{Name: f.name, Data: data, Mode: 0o600, Shared: true})
	}
	if i.Manual() {
		files = append(files, instance.RootFile{Name: filepath.Join(filepath.Base(i.ManualDir()), "index.html"), Data: htmlManual(), Mode: 0o600, Shared: true})
	}
	return files, nil
}

// trialFile is a configuration that httpd has not checked yet.
const trialFile = ".httpd.conf.new"

// tryConf has httpd check the configuration under another name.
func (p *Program) tryConf(ctx context.Context, i *resolved, l *instance.Launch, file *conf.File, text string) error {
	trial := filepath.Join(i.Root, trialFile)
	if err := l.Handle.WriteFile(trialFile, []byte(text), 0o600); err != nil {
		return fault.Wrap(fault.Environment, "", err)
	}
	var r run.Runner
	var said bytes.Buffer
	err := r.Run(ctx, run.Cmd{Argv: []string{i.HTTPD, "-t", "-f", trial}, Dir: i.Work, Env: l.Environ(p.Env), Log: &said})
	switch {
	case err != nil && run.Tail(err) == "" && config.HTTPDExecutable.In(i) != "":
		err = fault.New(fault.Usage, "name the httpd that the module was built for, or leave the option out", "option --httpd-executable: %w", err)
	case err != nil:
		err = i.confError(err, trial, text, file)
	case !strings.Contains(said.String(), "Syntax OK"):
		err = fault.New(fault.Environment, "see --httpd-executable", "%s is not an httpd: it does not check a configuration (-t)", i.HTTPD)
	default:
		return nil
	}
	_ = l.Handle.Remove(trialFile)
	return err
}

var atLine = regexp.MustCompile(`line (\d+) of ([^\n]*)`)

// confError turns httpd's complaint about a line into one about the option that
// the line comes from.
func (i *resolved) confError(err error, trial, text string, file *conf.File) error {
	target := filepath.Join(i.Root, instance.ConfFile)
	tail := run.Tail(err)
	if tail == "" {
		return fault.New(fault.Environment, site.InstallHint(i.in.Home), "check the configuration: %w", err)
	}
	what := "httpd refuses the configuration"
	if m := atLine.FindStringSubmatch(tail); m != nil && !strings.HasPrefix(m[2], trial) {
		if option := i.optionOf(m[2]); option != nil {
			what = "httpd refuses a file of option " + option.Flag()
		}
	} else if m != nil {
		n, _ := strconv.Atoi(m[1])
		if options := i.Flags(file.Origins(n)); len(options) > 0 {
			what = "httpd refuses what option " + strings.Join(options, " or ") + " says"
		}
		if lines := strings.Split(text, "\n"); n > 0 && n <= len(lines) && !strings.Contains(lines[n-1], "SetEnv") {
			tail += "\nthe line is: " + strings.TrimSpace(lines[n-1])
		}
	}
	return fault.New(fault.Environment, "", "%s:%s", what, strings.ReplaceAll(tail, trial, target))
}

// optionOf returns the option that names a file of httpd's language; what follows
// the path in the text is httpd's.
func (i *resolved) optionOf(text string) option.Ref {
	if config.RewriteRules.In(i) != "" && strings.HasPrefix(text, i.RewriteRules()) {
		return config.RewriteRules
	}
	if strings.HasPrefix(text, filepath.Join(i.Root, config.HostsFile)) {
		return config.IncludeFile
	}
	for _, name := range config.IncludeFile.In(i) {
		path, _, _ := strings.Cut(i.FromLaunch(name), "*") // also a directory, or a pattern
		if strings.HasPrefix(text, path) {
			return config.IncludeFile
		}
	}
	return nil
}

func (i *resolved) settings() settings {
	name := config.ServerName.In(i)
	if name == "" {
		name = config.Unbracket(config.Host.In(i))
	}
	if name == "" {
		name = "localhost"
	}
	s := settings{
		ApplicationType: config.ApplicationType.In(i), EntryPoint: i.Entry, CallableObject: config.CallableObject.In(i), MountPoint: i.Mount,
		Reloading: !config.DisableReloading.In(i) && !config.DebugMode.In(i),
		Monitor:   config.ReloadOnChanges.In(i) && !config.DisableReloading.In(i) && i.Daemon(),
		Environ: map[string]string{
			"MOD_WSGI_EXPRESS": "true", "MOD_WSGI_SERVER_NAME": name,
			"MOD_WSGI_SERVER_ALIASES": strings.Join(config.ServerAlias.In(i), " "),
		},
	}
	for name, on := range map[string]bool{
		"RELOADER": config.ReloadOnChanges.In(i), "DEBUGGER": config.EnableDebugger.In(i), "COVERAGE": config.EnableCoverage.In(i),
		"PROFILER": config.EnableProfiler.In(i), "RECORDER": config.EnableRecorder.In(i), "GDB": config.EnableGDB.In(i),
	} {
		if on {
			s.Environ["MOD_WSGI_"+name+"_ENABLED"] = "true"
		}
	}
	if config.DebugMode.In(i) {
		s.Environ["MOD_WSGI_DEBUG_MODE"] = "true"
	}
	s.Tools, s.Handlers = i.ToolSettings(), i.HandlerScripts()
	if config.EnableTelemetry.In(i) {
		s.Telemetry = &collector{i.TelemetryTarget(), config.TelemetryUIPort.In(i)}
	}
	return s
}

// launch tells how httpd is started.
func (i *resolved) launch() *instance.Launch {
	listener := config.Unbracket(config.Host.In(i))
	if listener == "" {
		listener = "localhost"
	}
	l := &instance.Launch{
		HTTPD: i.HTTPD, Dir: i.Work, Root: i.Root, Host: listener, Port: config.Port.In(i), Pid: i.PIDFile, Stat: config.ServerStatus.In(i), URL: i.url() + strings.TrimSuffix(i.Mount, "/") + "/", GDB: i.GDB,
		Args: []string{"-f", filepath.Join(i.Root, instance.ConfFile)},
		Env: []string{
			"MOD_WSGI_SERVER_ROOT=" + i.Root, "MOD_WSGI_WORKING_DIRECTORY=" + i.Work, "MOD_WSGI_LISTENER_HOST=" + listener,
			"MOD_WSGI_HTTP_PORT=" + strconv.Itoa(config.Port.In(i)), "MOD_WSGI_MODULES_DIRECTORY=" + i.ModulesDir,
			"MOD_WSGI_USER=" + i.account.User, "MOD_WSGI_GROUP=" + i.account.Group,
			"LANG=" + i.Locale, "LC_ALL=" + i.Locale,
		},
	}
	l.UID = i.account.Number()
	if i.Daemon() {
		l.Drain = max(config.GracefulTimeout.In(i), 1)
	}
	// All processes get these, those of services too.
	for name, value := range i.settings().Environ {
		l.Env = append(l.Env, name+"="+value)
	}
	for _, s := range i.ServiceScripts() {
		l.Env = append(l.Env, "MOD_WSGI_SERVICE_"+s[0]+"="+i.FromLaunch(s[1]))
	}
	slices.Sort(l.Env)
	l.Env = append(l.Env, i.variables...)
	if i.Given(config.HTTPSPort) {
		l.Env = append(l.Env, "MOD_WSGI_HTTPS_PORT="+strconv.Itoa(config.HTTPSPort.In(i)))
	}
	if config.StartupLog.In(i) && (!config.LogToTerminal.In(i) || config.Opens(i.StartLog)) {
		l.Args = append(l.Args, "-E", i.StartLog)
	}
	if config.DebugMode.In(i) {
		l.Args = append(l.Args, "-DONE_PROCESS")
	}
	// The daemon processes write their title over httpd's arguments, so there
	// has to be room for it.
	longest := len("(wsgi:" + i.Group + ")")
	for _, s := range config.ServiceScript.In(i) {
		longest = max(longest, len("(wsgi:service:"+s[0]+")"))
	}
	l.Argv0 = fmt.Sprintf("%-*s", longest, config.ProcessName.In(i))
	if !host.DaemonMode {
		l.Argv0 = i.HTTPD
	}
	return l
}

// setupServer is the command setup-server.
func setupServer(ctx context.Context, p *Program, c *parsed) (int, error) {
	i, l, err := p.setup(ctx, c.server, false)
	if err != nil {
		return 1, err
	}
	l.Close()
	return 0, i.banner(p.Stdout, true)
}

// startServer is the command start-server.
func startServer(ctx context.Context, p *Program, c *parsed) (int, error) {
	if config.SetupOnly.In(c.server) {
		return setupServer(ctx, p, c)
	}
	if err := host.CheckPort(config.Host.In(c.server), config.Port.In(c.server), config.Port.Flag()); err != nil {
		return 1, err
	}
	if c.server.Given(config.HTTPSPort) {
		if err := host.CheckPort(config.Host.In(c.server), config.HTTPSPort.In(c.server), config.HTTPSPort.Flag()); err != nil {
			return 1, err
		}
	}
	i, l, err := p.setup(ctx, c.server, true)
	if err != nil {
		return 1, err
	}
	defer i.release()
	defer l.Close()
	l.RemovePIDFile() // of an earlier one that ended badly
	if err := i.banner(p.Stdout, false); err != nil {
		return 1, err
	}
	return p.supervise(ctx, i, l)
}

// directories are those that the instance needs.
func (i *resolved) directories() (list []instance.Directory) {
	for _, d := range []struct {
		path string
		mine bool // the application writes to it
		want bool
	}{
		{i.Docs, false, true},
		{i.Eggs, true, true},
		{i.Logs, false, config.LogDirectory.In(i) != ""},
		{i.CoverageDir, true, i.CoverageDir != ""},
		{i.ServicesDir(), true, len(i.ServiceScripts()) > 0},
		{i.TelemetryDir(), true, config.EnableTelemetry.In(i)},
		{i.ProfilerDir, true, i.ProfilerDir != ""},
		{i.RecorderDir, true, i.RecorderDir != ""},
		{i.ManualDir(), false, i.Manual()},
	} {
		if d.want {
			list = append(list, instance.Directory{Path: d.path, Mine: d.mine})
		}
	}
	return list
}

// supervise serves in the foreground until httpd ends.
func (p *Program) supervise(ctx context.Context, i *resolved, l *instance.Launch) (int, error) {
	seconds := func(n int) time.Duration { return time.Duration(n) * time.Second }
	startup := config.StartupTimeout.In(i)
	s := &supervise.Server{
		Launch: l, Environ: p.Env, Stdin: p.Stdin, Stdout: p.Stdout, Stderr: p.Stderr, Signals: p.Signals, Warn: p.warn,
		Debug: config.DebugMode.In(i), Daemon: i.Daemon(),
		Drain: seconds(max(config.GracefulTimeout.In(i), 1)), Shutdown: seconds(config.ShutdownTimeout.In(i)), Startup: seconds(startup),
		Readiness: func() (<-chan string, *os.File, error) { return p.readiness(i) },
		Ready:     func(message string) bool { return p.isReady(i, message) },
		Check:     func() <-chan bool { return p.checkAgain(ctx, l) },
		Late: func() {
			p.showError(fault.New(fault.Environment, "see "+i.ErrorLog+", or give it more time with --startup-timeout",
				"the application does not load within %d seconds", startup))
		},
	}
	return s.Run()
}
