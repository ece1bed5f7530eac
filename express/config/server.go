package config

import (
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/host"
	"modwsgi/express/option"
	"modwsgi/express/site"
)

var (
	ServerRoot = option.Text("server-root", "", "DIRECTORY", "Directory for the files of this instance.").
			DefaultText("see notes")
	User = option.Text("user", "", "NAME", "Account of the application, when started as root.").
		DefaultText("current user").With(unixOnly)
	Group = option.Text("group", "", "NAME", "Group of the application, when started as root.").
		DefaultText("primary group of current user").With(unixOnly)
	Setenv = option.Pairs("setenv", "NAME VALUE", "Put a variable into the WSGI environment of each request.").
		MayBeEmpty()
	Passenv = option.Texts("passenv", "NAME", "Put a variable of our own environment into that of each request.").
		Check(Variable)
	IncludeFile = option.Texts("include-file", "FILE", "Further httpd configuration, read at the end.")
	Locale      = option.Text("locale", "", "LOCALE", "Locale of the application.").
			DefaultText("process locale").Check(oneWord)
	Lang = option.Text("lang", "", "LOCALE", "Old spelling of --locale.").
		Hide().Check(oneWord).With(unixOnly)
	PIDFile = option.Text("pid-file", "", "FILE", "Where httpd writes its process identifier.").
		DefaultText("SERVER_ROOT/httpd.pid")
	ProcessName = option.Text("process-name", "httpd (mod_wsgi-express)", "NAME", "Name of the httpd processes in ps.").
			With(unixOnly)
	HTTPDExecutable = option.Text("httpd-executable", "", "FILE", "The httpd to run.").
			DefaultText("httpd known at build time")
	ModulesDirectory = option.Text("modules-directory", "", "DIRECTORY", "Where httpd's modules are.").
				DefaultText("known at build time")
	SocketPrefix = option.Text("socket-prefix", "", "DIRECTORY", "Directory for the sockets of the daemon processes.").
			DefaultText("SERVER_ROOT").With(unixOnly)
	SetupOnly     = option.Toggle("setup-only", "Write the files, start nothing.").With(unixOnly)
	EnvvarsScript = option.Text("envvars-script", "", "FILE", "Shell script, run once at setup, whose exported variables httpd gets.").
			DefaultText("SERVER_ROOT/envvars").With(unixOnly)
	ShellExecutable = option.Text("shell-executable", "", "FILE", "Shell for --envvars-script; nothing else here runs through a shell.").
			DefaultText("bash, else sh, from PATH").With(unixOnly)
	JSON      = option.Toggle("json", "Tell what was set up as JSON, one object on a line.").With(own)
	WaitReady = option.Toggle("wait-ready", "Tell so, and write the line last, only once the application is loaded; fail if it does not load.").
			With(unixOnly).With(own)
	Help = option.HelpFlag("Show this help.")
)

// server is the instance itself: its files, its account and its environment.
var server = feature{
	options: option.NewGroup("Server",
		ServerRoot, User, Group, Setenv, Passenv, IncludeFile, Locale, Lang, PIDFile, ProcessName, HTTPDExecutable,
		ModulesDirectory, SocketPrefix, SetupOnly, EnvvarsScript, ShellExecutable, JSON, WaitReady, Help,
	),
	conflicts: func(s *Server) error {
		for _, kv := range Setenv.In(s) {
			if err := Variable(kv[0]); err != nil {
				return option.Usage("", "option --setenv: %w", err)
			}
		}
		return nil
	},
	useless: func(s *Server) []useless {
		return []useless{{Locale.In(s) != "", "with --locale", by(Lang)}}
	},
	warnings: func(s *Server) (list []string) {
		if ShellExecutable.In(s) != "" && EnvvarsScript.In(s) == "" {
			list = append(list, "--shell-executable has no effect without --envvars-script: nothing else here runs through a shell")
		}
		return list
	},
	files: func(i *Instance) []named {
		list := []named{{EnvvarsScript, EnvvarsScript.In(i)}}
		for _, v := range IncludeFile.In(i) {
			if !strings.ContainsAny(v, "*?[") || Exists(i.fromLaunch(v)) {
				list = append(list, named{IncludeFile, v})
			}
		}
		return list
	},
	check: func(i *Instance) error {
		if PIDFile.In(i) == "" {
			return nil
		}
		return WantDirectory(PIDFile, filepath.Dir(i.PIDFile))
	},
	reads: func(i *Instance) []Need {
		if SocketPrefix.In(i) == "" {
			return nil
		}
		return []Need{{i.SocketDir, "the directory for sockets (--socket-prefix)", false}}
	},
	private: func(i *Instance) []privateFile {
		list := []privateFile{
			{what: "the server root", path: i.Root, dir: true},
			{what: "the Python environment", path: i.Python.Home, dir: true},
			{what: "the pid file", path: i.PIDFile},
		}
		for _, v := range IncludeFile.In(i) {
			found, _ := filepath.Glob(i.fromLaunch(v))
			for _, path := range append(found, i.fromLaunch(v)) {
				list = append(list, privateFile{what: "the file of --include-file", path: path, dir: isDirectory(path)})
			}
		}
		return append(list, i.filesOf(EnvvarsScript)...)
	},
	carries: func(i *Instance) []carriedValue {
		return []carriedValue{
			{i.Launcher, "the path of the launcher", nil},
			{i.Root, "the server root", ServerRoot},
			{i.HTTPD, "the path of httpd", HTTPDExecutable},
			{i.ModulesDir, "the directory of httpd's modules", ModulesDirectory},
			{i.PIDFile, "the pid file", PIDFile},
			{ProcessName.In(i), "the name of the process", ProcessName},
		}
	},
	defines: func(i *Instance) []define {
		return []define{{SocketPrefix.In(i) != "", "MOD_WSGI_WITH_SOCKET_PREFIX"}}
	},
	modules: map[load]func(*Instance) []module{
		loadAlways:   alwaysLoaded,
		loadIncluded: (*Instance).includedModules,
	},
	writes: map[slot]func(*writer){
		slotDefines:   writeDefines,
		slotSockets:   (*writer).sockets,
		slotVariables: (*writer).environment,
		slotIncludes:  (*writer).includes,
	},
}

// rotationSince is the first mod_wsgi that can leave the names of sockets alone.
const rotationSince = "4.6.0"

// sockets adds where those of daemon processes are.
func (w *writer) sockets() {
	i := w.i
	if !host.DaemonMode {
		return
	}
	w.add(conf.D("WSGISocketPrefix", word(filepath.Join(i.SocketDir, "wsgi"))).From(i.unless(SocketPrefix, i.rootOrigins()...)...))
	if site.AtLeastVersion(i.ModuleVersion, rotationSince) {
		w.add(conf.D("WSGISocketRotation", conf.Key("Off")))
	}
}

// rootOrigins are the options that the server root comes from.
func (i *Instance) rootOrigins() []conf.Origin {
	return i.unless(ServerRoot, Host, Port)
}

// environment passes variables to the application, request by request.
func (w *writer) environment() {
	for _, kv := range Setenv.In(w.i) {
		w.add(conf.D("SetEnv", conf.Word(kv[0]), conf.Word(kv[1])).From(Setenv))
	}
	for _, name := range Passenv.In(w.i) {
		if !hasVariable(w.i.Env, name) {
			continue // httpd would warn at each start
		}
		w.add(conf.D("PassEnv", word(name)).From(Passenv))
	}
}

func hasVariable(env []string, name string) bool {
	return slices.ContainsFunc(env, func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
}
