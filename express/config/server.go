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
	User = option.Text("user", "", "NAME", "User that the application runs as, when started as root.").
		DefaultText("current user").With(unixOnly)
	Group = option.Text("group", "", "NAME", "Group that the application runs as, when started as root.").
		DefaultText("primary group of current user").With(unixOnly)
	Setenv = option.Pairs("setenv", "NAME VALUE", "Add a variable to the WSGI environment of each request.").
		MayBeEmpty()
	Passenv = option.Texts("passenv", "NAME", "Add a variable of the launcher's environment to the WSGI environment of each request.").
		Check(Variable)
	IncludeFile = option.Texts("include-file", "FILE", "Additional httpd configuration, read last.")
	Locale      = option.Text("locale", "", "LOCALE", "Locale of the application.").
			DefaultText("process locale").Check(oneWord)
	Lang = option.Text("lang", "", "LOCALE", "Old name of --locale.").
		Hide().Check(oneWord).With(unixOnly)
	PIDFile = option.Text("pid-file", "", "FILE", "File that httpd writes its process ID to.").
		DefaultText("SERVER_ROOT/httpd.pid")
	ProcessName = option.Text("process-name", "httpd (mod_wsgi-express)", "NAME", "Name of the httpd processes, as shown by ps.").
			With(unixOnly)
	HTTPDExecutable = option.Text("httpd-executable", "", "FILE", "httpd program to run.").
			DefaultText("httpd known at build time")
	ModulesDirectory = option.Text("modules-directory", "", "DIRECTORY", "Directory with httpd's modules.").
				DefaultText("known at build time")
	SocketPrefix = option.Text("socket-prefix", "", "DIRECTORY", "Directory for the sockets of the daemon processes.").
			DefaultText("SERVER_ROOT").With(unixOnly)
	SetupOnly     = option.Toggle("setup-only", "Write the files, but do not start the server.").With(unixOnly)
	EnvvarsScript = option.Text("envvars-script", "", "FILE", "Shell script, run once at setup, whose exported variables are passed to httpd.").
			DefaultText("SERVER_ROOT/envvars").With(unixOnly)
	ShellExecutable = option.Text("shell-executable", "", "FILE", "Shell for --envvars-script; nothing else is run through a shell.").
			DefaultText("bash, else sh, from PATH").With(unixOnly)
	JSON      = option.Toggle("json", "Describe the server that was set up as JSON, one object per line.").With(own)
	WaitReady = option.Toggle("wait-ready", "Report that the server is ready once the application is loaded; fail if it does not load.").
			With(unixOnly).With(own)
	Config = option.Text("config", "", "FILE", "Configuration file; none reads none.").
		DefaultText("mod_wsgi-express.toml, else pyproject.toml, in the current directory").With(own)
	Help = option.HelpFlag("Show this help.")
)

// server is the files, the account and the environment of the instance.
var server = feature{
	options: option.NewGroup("Server",
		ServerRoot, User, Group, Setenv, Passenv, IncludeFile, Locale, Lang, PIDFile, ProcessName, HTTPDExecutable,
		ModulesDirectory, SocketPrefix, SetupOnly, EnvvarsScript, ShellExecutable, JSON, WaitReady, Config, Help,
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
			list = append(list, "--shell-executable has no effect without --envvars-script: nothing else is run through a shell")
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
			{i.ModulesDir, "the directory with httpd's modules", ModulesDirectory},
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

// rotationSince is the first version of mod_wsgi that can keep the names of sockets
// unchanged.
const rotationSince = "4.6.0"

// sockets adds the location of the sockets of daemon processes.
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

// rootOrigins returns the options that determine the server root.
func (i *Instance) rootOrigins() []conf.Origin {
	return i.unless(ServerRoot, Host, Port)
}

// environment adds the variables for the WSGI environment of each request.
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
