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

	"modwsgi/express/config"
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
	Drain int      `json:"drain"`         // seconds for running requests when it stops
	GDB   string   `json:"gdb,omitempty"` // run httpd under this gdb
	UID   int      `json:"uid,omitempty"` // the application's account, if it is another one
	Files []Relied `json:"files,omitempty"`
	// Includes are the paths and patterns of --include-file.
	Includes []string `json:"includes,omitempty"`

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
	for _, kv := range l.Env {
		name, _, _ := strings.Cut(kv, "=")
		if !IsKeptAway(name) {
			own[name] = kv // the last one wins
		}
	}
	// No duplicates: the C library uses the first one.
	env := slices.DeleteFunc(slices.Clone(caller), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return strings.HasPrefix(kv, "MOD_WSGI_") || own[name] != "" || name == "NOTIFY_SOCKET" || IsKeptAway(name)
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
	return undo, dir.WriteFile(config.HostsFile, []byte("# Copied from the files of --include-file; changes are lost at the next start.\n"+text), 0o600)
}
