package config

import (
	"os"
	"path/filepath"

	"modwsgi/express/conf"
	"modwsgi/express/host"
)

// Instance is a server with everything derived from the command line and the machine:
// where its files are, as whom it runs, which httpd and which of its modules it uses.
// Paths are absolute.
type Instance struct {
	*Server

	Warn      func(text string)
	Env       []string // of the launcher
	LaunchDir string   // working directory of the launcher
	Launcher  string   // path of the launcher
	Account   Account
	Python    Python

	Root, Docs, Logs, Work, Eggs  string
	SocketDir, PIDFile            string
	Entry                         string // path or module name; "" is the welcome page
	Mount, Group, Locale          string // Group is that of the processes
	HTTPD, ModulesDir, Rotatelogs string
	HTTPDBy                       string // what names the httpd, "" for the environment
	MIME                          string
	MPM                           string
	MPMBuiltIn                    bool
	ErrorLog, AccessLog, StartLog string // as people find them

	CoverageDir, ProfilerDir, RecorderDir string // "" where off
	GDB                                   string // "" where off

	Load    []*conf.Directive               // what loads mod_wsgi
	BuiltIn func() (map[string]bool, error) // the modules that httpd has built in

	Size   Sizes
	served []*servedDir
}

// Account is as whom the application runs, as httpd's directives take it.
type Account struct{ User, Group string }

// Python is the environment of the application.
type Python struct {
	Home       string
	Site       string // its directory of packages
	Stdlib     string
	Library    string // shared libpython; "" where Python is inside the module
	SeesSystem bool   // packages of the system are visible in it
}

// Need is a path that the application's account must be able to use.
type Need struct {
	Path string
	What string // for messages: "the entry point (--entry-point)"
	Read bool   // read the file, list the directory; else reach it
}

// Daemon reports whether the application runs in processes of its own.
func (i *Instance) Daemon() bool { return i.Server.Daemon() }

// Daemon reports whether the application runs in processes of its own.
func (s *Server) Daemon() bool {
	return !EmbeddedMode.In(s) && !DebugMode.In(s) && host.DaemonMode
}

// abs makes a path of the command line absolute; "" stays "".
func (i *Instance) abs(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(i.LaunchDir, path)
}

// moduleFile is the file of one of httpd's modules, if it has one.
func (i *Instance) moduleFile(name string) string {
	return filepath.Join(i.ModulesDir, "mod_"+name+".so")
}

// Settle checks the command line by itself, with the version of the module: it refuses
// options that exclude each other, warns of those that have no effect, and sets what
// options imply.
func (i *Instance) Settle() error {
	if err := checkVersions(i.Server, i.ModuleVersion); err != nil {
		return err
	}
	for _, f := range features {
		if f.imply != nil {
			f.imply(i.Server)
		}
	}
	for _, w := range ineffective(i.Server) {
		i.Warn(w)
	}
	for _, f := range features {
		if f.conflicts == nil {
			continue
		}
		if err := f.conflicts(i.Server); err != nil {
			return err
		}
	}
	return hostConflicts(i.Server)
}

// CheckFiles checks what options name on this machine, before httpd or the account that
// serves finds out.
func (i *Instance) CheckFiles() error {
	if err := i.namedFiles(); err != nil {
		return err
	}
	for _, f := range features {
		if f.check == nil {
			continue
		}
		if err := f.check(i); err != nil {
			return err
		}
	}
	return nil
}

// Needs returns what the application's account must reach.
func (i *Instance) Needs() []Need {
	needs := []Need{
		{i.Python.Home, "the Python environment", false},
		{i.Python.Stdlib, "Python's standard library", true},
		{i.Python.Site, "the installed packages", true},
		{i.Work, "the working directory (--working-directory)", false},
		{filepath.Dir(i.Root), "the server root (--server-root)", false},
		{i.Python.Library, "Python's library", true},
	}
	var named []Need
	for _, n := range append(needs, all(i, func(f *feature) func(*Instance) []Need { return f.reads })...) {
		if n.Path != "" {
			named = append(named, n)
		}
	}
	return named
}

// Wants returns what the application's account can perhaps do without.
func (i *Instance) Wants() []Need {
	var wants []Need
	for _, a := range URLAlias.In(i) {
		wants = append(wants, Need{i.fromLaunch(a[1]), "--url-alias " + a[0], false})
	}
	for _, d := range PythonPath.In(i) {
		wants = append(wants, Need{i.fromLaunch(d), "--python-path", false})
	}
	if i.Given(PythonEggs) {
		wants = append(wants, Need{i.Eggs, "--python-eggs", false})
	}
	return wants
}

func isDirectory(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
