package express

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/express/option"
	pyruntime "modwsgi/express/runtime"
	"modwsgi/express/site"
	"modwsgi/internal/fault"
	"modwsgi/internal/flock"
	"modwsgi/internal/owned"
	"modwsgi/internal/run"
)

// Names in a server root.
const (
	confFile     = "httpd.conf"
	settingsFile = "settings.json"
	instanceFile = "instance.json"
)

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

// launch is how httpd is started for a server root: what apachectl needs.
type launch struct {
	HTTPD string   `json:"httpd"`
	Argv0 string   `json:"argv0"`
	Args  []string `json:"args"`
	Env   []string `json:"env"` // in addition to the caller's
	Dir   string   `json:"dir"`
	Root  string   `json:"root"`
	Host  string   `json:"host"`
	Port  int      `json:"port"`
	Pid   string   `json:"pid_file"`
	Stat  bool     `json:"server_status"`
	URL   string   `json:"url"`
	Drain int      `json:"drain"`         // seconds that requests get when it stops
	GDB   string   `json:"gdb,omitempty"` // run httpd under it
	UID   int      `json:"uid,omitempty"` // the application's account, where it is another one
	Files []relied `json:"files,omitempty"`
	// Includes are the paths and patterns of --include-file.
	Includes []string `json:"includes,omitempty"`

	dir *owned.Dir // the server root; nil before it is made
}

// setup writes the server root. Nothing is written before everything that can be
// checked has been; httpd itself checks the configuration before it replaces the
// one that was there.
func (p *Program) setup(ctx context.Context, s *Server, start bool) (*instance, *launch, error) {
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
	if err := p.trustFiles(i.loaded(file)); err != nil {
		return nil, nil, err
	}
	created := false
	if l.dir, created, err = i.makeRoot(start, l); err != nil {
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
			_ = l.dir.Discard()
		}
		return nil, nil, err
	}
	i.removeSockets(l)
	return i, l, nil
}

// makeRoot opens or makes the server root, unless httpd runs with it already.
func (i *instance) makeRoot(start bool, l *launch) (dir *owned.Dir, created bool, err error) {
	if start {
		if l.dir, err = openRoot(i.Root); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, false, err
		}
		defer l.close()
		proc, err := l.running()
		if err != nil {
			return nil, false, err
		}
		if proc != nil {
			defer proc.Release()
			return nil, false, fault.New(fault.Busy, "stop it, or use another --server-root", "an httpd runs with the server root %s already (process %d)", i.Root, proc.Pid)
		}
	}
	return makeRoot(i.Root, i.account)
}

// removeSockets removes sockets that an earlier httpd has left.
func (i *instance) removeSockets(l *launch) {
	if i.SocketDir == i.Root {
		removeStaleSockets(l.dir)
		return
	}
	if dir, err := owned.OpenTemp(i.SocketDir); err == nil {
		removeStaleSockets(dir)
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
func (p *Program) fill(ctx context.Context, i *instance, l *launch, file *conf.File, text string) error {
	if err := i.directories(l.dir); err != nil {
		return fault.Wrap(fault.Environment, "", err)
	}
	undo := func() {}
	if len(l.Includes) > 0 {
		var err error
		if undo, err = writeHosts(l.dir, i.Root, l.includedPaths()); err != nil {
			return fault.Wrap(fault.Environment, "", err)
		}
	}
	if err := p.tryConf(ctx, i, l, file, text); err != nil {
		undo()
		return err
	}
	defer func() { _ = l.dir.Remove(trialFile) }()
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
	files := []rootFile{
		{settingsFile, data, 0o600, true},
		{handlerFile, glue, 0o600, true},
		{instanceFile, state, 0o600, false},
		{host.ControlFile, host.ControlStub(i.Launcher, i.Root), 0o700, false},
	}
	more, err := i.moreFiles()
	if err != nil {
		return err
	}
	for _, f := range append(files, more...) {
		if err := put(l.dir, f, i.account); err != nil {
			return fault.Wrap(fault.Environment, "", err)
		}
	}
	return l.dir.Root().Rename(trialFile, confFile)
}

// rootFile is a file of a server root; a shared one can be read by the
// application's account.
type rootFile struct {
	name   string
	data   []byte
	mode   os.FileMode
	shared bool
}

// moreFiles are those that only some options need.
func (i *instance) moreFiles() ([]rootFile, error) {
	var files []rootFile
	for _, f := range []struct {
		when         bool
		name, source string
	}{
		{len(config.AddHandler.In(i)) > 0, resourceFile, "resource.py"},
		{config.EnableTelemetry.In(i), telemetryFile, "telemetry.py"},
	} {
		if !f.when {
			continue
		}
		data, err := pyruntime.Files.ReadFile("mod_wsgi/express/" + f.source)
		if err != nil {
			return nil, err
		}
		files = append(files, rootFile{f.name, data, 0o600, true})
	}
	if i.Manual() {
		files = append(files, rootFile{filepath.Join(filepath.Base(i.ManualDir()), "index.html"), htmlManual(), 0o600, true})
	}
	return files, nil
}

// trialFile is a configuration that httpd has not checked yet.
const trialFile = ".httpd.conf.new"

// tryConf has httpd check the configuration under another name.
func (p *Program) tryConf(ctx context.Context, i *instance, l *launch, file *conf.File, text string) error {
	trial := filepath.Join(i.Root, trialFile)
	if err := l.dir.WriteFile(trialFile, []byte(text), 0o600); err != nil {
		return fault.Wrap(fault.Environment, "", err)
	}
	var r run.Runner
	var said bytes.Buffer
	err := r.Run(ctx, run.Cmd{Argv: []string{i.HTTPD, "-t", "-f", trial}, Dir: i.Work, Env: l.environ(p.Env), Log: &said})
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
	_ = l.dir.Remove(trialFile)
	return err
}

var atLine = regexp.MustCompile(`line (\d+) of ([^\n]*)`)

// confError turns httpd's complaint about a line into one about the option that
// the line comes from.
func (i *instance) confError(err error, trial, text string, file *conf.File) error {
	target := filepath.Join(i.Root, confFile)
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
func (i *instance) optionOf(text string) option.Ref {
	if config.RewriteRules.In(i) != "" && strings.HasPrefix(text, i.RewriteRules()) {
		return config.RewriteRules
	}
	if strings.HasPrefix(text, filepath.Join(i.Root, hostsFile)) {
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

func (i *instance) settings() settings {
	name := config.ServerName.In(i)
	if name == "" {
		name = unbracket(config.Host.In(i))
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
func (i *instance) launch() *launch {
	listener := unbracket(config.Host.In(i))
	if listener == "" {
		listener = "localhost"
	}
	l := &launch{
		HTTPD: i.HTTPD, Dir: i.Work, Root: i.Root, Host: listener, Port: config.Port.In(i), Pid: i.PIDFile, Stat: config.ServerStatus.In(i), URL: i.url() + strings.TrimSuffix(i.Mount, "/") + "/", GDB: i.GDB,
		Args: []string{"-f", filepath.Join(i.Root, confFile)},
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
	if config.StartupLog.In(i) && (!config.LogToTerminal.In(i) || opens(i.StartLog)) {
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

// underGDB returns the command line that runs httpd in gdb. No shell is between
// them, and gdb's own questions go to the terminal.
func (l *launch) underGDB(argv []string) []string {
	// httpd wakes its own threads with SIGUSR1.
	return append([]string{
		l.GDB, "-q", "-iex", "set startup-with-shell off", "-ex", "handle SIGUSR1 SIGPIPE nostop noprint pass", "-ex", "run", "--args",
	}, argv...)
}

// environ is the complete environment of httpd. What tells an application about
// its server is ours alone; a caller's would be that of another server. What would
// lead Python away from its environment is left out, whoever set it.
func (l *launch) environ(caller []string) []string {
	own := map[string]string{}
	for _, kv := range l.Env {
		name, _, _ := strings.Cut(kv, "=")
		if !isKeptAway(name) {
			own[name] = kv // the last one counts
		}
	}
	// No name twice: of two, the C library takes the first one.
	env := slices.DeleteFunc(slices.Clone(caller), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return strings.HasPrefix(kv, "MOD_WSGI_") || own[name] != "" || name == "NOTIFY_SOCKET" || isKeptAway(name)
	})
	return append(env, slices.Sorted(maps.Values(own))...)
}

// setupServer is the command setup-server.
func setupServer(ctx context.Context, p *Program, c *parsed) (int, error) {
	i, l, err := p.setup(ctx, c.server, false)
	if err != nil {
		return 1, err
	}
	l.close()
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
	defer l.close()
	l.removePIDFile() // of an earlier one that ended badly
	if err := i.banner(p.Stdout, false); err != nil {
		return 1, err
	}
	return p.supervise(ctx, i, l)
}
