package config

import (
	"os"
	"path/filepath"

	"modwsgi/express/conf"
	"modwsgi/express/host"
)

// Instance is a server with everything derived from the command line and the machine:
// the location of its files, its account, and the httpd and modules that it uses. Paths
// are absolute.
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
	Entry                         string // path or module name; "" for the welcome page
	Mount, Group, Locale          string // Group is the process group
	HTTPD, ModulesDir, Rotatelogs string
	HTTPDBy                       string // the source of the httpd's path, "" for the environment
	MIME                          string
	MPM                           string
	MPMBuiltIn                    bool
	Parks                         bool                  // httpd waits for the heads of requests without a thread when many threads are busy
	LocalFiles                    func(dir string) bool // whether a directory is on a file system of this machine; nil for never

	ErrorLog, AccessLog, StartLog string // as shown to users

	CoverageDir, ProfilerDir, RecorderDir string // "" where off
	GDB                                   string // "" where off

	Load    []*conf.Directive               // directives that load mod_wsgi
	BuiltIn func() (map[string]bool, error) // the modules built into httpd

	Machine Machine
	Size    Sizes
	served  []*servedDir
}

// Account is the account that the application runs as, in the form of httpd's User and
// Group directives.
type Account struct{ User, Group string }

// Python is the environment of the application.
type Python struct {
	Home       string
	Site       string // its site-packages directory
	Stdlib     string
	Library    string // shared libpython; "" if it is linked into the module
	SeesSystem bool   // the system's packages are visible in it
}

// Need is a path that the application's account must be able to use.
type Need struct {
	Path string
	What string // for messages: "the entry point (--entry-point)"
	Read bool   // must be readable, not just reachable
}

// Daemon reports whether the application runs in separate daemon processes.
func (i *Instance) Daemon() bool { return i.Server.Daemon() }

// Daemon reports whether the application runs in separate daemon processes.
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

// moduleFile returns the path of the file of an httpd module, which may not exist.
func (i *Instance) moduleFile(name string) string {
	return filepath.Join(i.ModulesDir, "mod_"+name+".so")
}

// Settle checks the command line against the version of the module and for
// consistency: it rejects conflicting options, warns about options without effect, and
// sets implied options.
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

// CheckFiles checks the files and other things that options name on this machine,
// before httpd or the application's account fails to use them.
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

// Needs returns the paths that the application's account must reach.
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

// Wants returns the paths that the application's account should reach, but may not
// need.
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
