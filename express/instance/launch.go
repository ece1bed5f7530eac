// Package instance manages the server root of one instance: its contents, how its httpd
// is started, and who may access it. As root it trusts no file that another user could
// change, and no PID file whose process is not the instance's httpd.
//
// It does not know how an instance is configured or when it is signalled.
package instance

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"modwsgi/express/acme"
	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/internal/owned"
)

// Names in a server root.
const (
	ConfFile     = "httpd.conf"
	InstanceFile = "instance.json"
)

// Launch is what apachectl needs to start the httpd of a server root.
type Launch struct {
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
	Drain int      `json:"drain"` // seconds for running requests when it stops
	// Startup is the seconds for loading the application, 0 for no limit; Reports is
	// whether its processes report the end of that.
	Startup   int    `json:"startup,omitempty"`
	Reports   bool   `json:"reports,omitempty"`
	KeepAlive int    `json:"keep_alive,omitempty"` // seconds that connections stay idle
	Handover  string `json:"handover,omitempty"`   // the file of mod_handover; "" if it does not exist
	ErrorLog  string `json:"error_log,omitempty"`  // for messages
	Direct    bool   `json:"direct_log,omitempty"` // httpd itself writes it, into a file
	Health    string `json:"health_path,omitempty"`
	Patience  int    `json:"header_limit,omitempty"`   // seconds for the head of a request; 0 for no limit
	Metrics   string `json:"metrics_listen,omitempty"` // address and port
	Dashboard string `json:"dashboard,omitempty"`      // address and port
	// Certificates are the files with the certificates that httpd serves HTTPS with.
	Certificates []string `json:"certificates,omitempty"`

	Sockets   string   `json:"socket_directory,omitempty"` // of the daemon processes
	Ports     []int    `json:"ports,omitempty"`            // that httpd listens on
	Group     string   `json:"process_group,omitempty"`    // of the daemon processes
	Processes int      `json:"processes,omitempty"`        // daemon processes; 0 in embedded mode
	Threads   int      `json:"threads,omitempty"`          // of each daemon process, or of all httpd's in embedded mode
	Clients   int      `json:"connections,omitempty"`      // open connections, at most
	Open      int      `json:"open_files,omitempty"`       // open files of one process, for its connections
	GDB       string   `json:"gdb,omitempty"`              // run httpd under this gdb
	UID       int      `json:"uid,omitempty"`              // the application's account, if it is another one
	Files     []Relied `json:"files,omitempty"`
	// ACME is what --https-auto wants; nil without it.
	ACME    *acme.Settings `json:"acme,omitempty"`
	JSONLog bool           `json:"json_log,omitempty"` // the error log has one JSON object per line
	// Includes are the paths and patterns of --include-file.
	Includes []string `json:"includes,omitempty"`

	// Once are variables of the processes of one start, which are not written.
	Once []string `json:"-"`

	Handle *owned.Dir `json:"-"` // the server root; nil until it is made
}

// UnderGDB returns the command line that runs httpd in gdb. No shell is between them,
// and gdb's own prompts go to the terminal.
func (l *Launch) UnderGDB(argv []string) []string {
	// httpd wakes its own threads with SIGUSR1.
	return append([]string{
		l.GDB, "-q", "-iex", "set startup-with-shell off", "-ex", "handle SIGUSR1 SIGPIPE nostop noprint pass", "-ex", "run", "--args",
	}, argv...)
}

// Environ returns the complete environment of httpd. Only the launcher sets the
// variables that describe the server to an application: a caller's would describe
// another server. Variables that would lead Python away from its environment are left
// out, whoever set them.
func (l *Launch) Environ(caller []string) []string {
	own := map[string]string{}
	for _, kv := range slices.Concat(l.Env, l.Once) {
		name, _, _ := strings.Cut(kv, "=")
		if !IsKeptAway(name) {
			own[name] = kv // the last one wins
		}
	}
	// No duplicates: the C library uses the first one.
	env := slices.DeleteFunc(slices.Clone(caller), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return strings.HasPrefix(kv, "MOD_WSGI_") || own[name] != "" || name == "NOTIFY_SOCKET" || host.DescribesPassed(name) || IsKeptAway(name)
	})
	return append(env, slices.Sorted(maps.Values(own))...)
}

// programs returns the programs that are run for a server root. A server root written
// by an older version does not list them.
func (l *Launch) programs() []Relied {
	files := slices.DeleteFunc(slices.Clone(l.Files), func(f Relied) bool { return f.Path != l.HTTPD && f.Path != l.GDB })
	for _, path := range []string{l.HTTPD, l.GDB} {
		if path != "" && !slices.ContainsFunc(files, func(f Relied) bool { return f.Path == path }) {
			files = append(files, Relied{"the server root " + l.Root, path, Executed})
		}
	}
	return files
}

// IncludedPaths returns the files of --include-file, as httpd reads them.
func (l *Launch) IncludedPaths() (paths []string) {
	for _, name := range l.Includes {
		paths = append(paths, config.Included(name)...)
	}
	return paths
}

// WriteHosts writes the file of the virtual hosts, and returns a function that restores
// the previous one.
func WriteHosts(dir *owned.Dir, root string, paths []string) (undo func(), err error) {
	text, _ := config.HostLines(root, paths)
	before, err := dir.ReadFile(config.HostsFile, 1<<24)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	undo = func() {
		if before == nil {
			_ = dir.Remove(config.HostsFile)
		} else {
			_ = dir.WriteFile(config.HostsFile, before, 0o600)
		}
	}
	text = "# Copied from the files of --include-file; changes are lost at the next start.\n" + text
	return undo, dir.WriteFile(config.HostsFile, host.TextFile([]byte(text)), 0o600)
}
