package express

import (
	"context"
	"os"
	"path/filepath"

	"modwsgi/express/config"
	"modwsgi/express/console"
	"modwsgi/express/host"
	"modwsgi/express/instance"
	"modwsgi/express/option"
	"modwsgi/express/site"
	"modwsgi/internal/platform"
	"modwsgi/internal/run"
)

// Invocation is how the launcher was called: everything it gets from its caller except
// the streams. Tests supply their own.
type Invocation struct {
	Args       []string         // without the program's name
	Env        []string         // the process environment
	Executable string           // path of the launcher, as os.Executable returns it
	Name       string           // the name it was called by: a path, or a word that the shell looked up
	Dir        string           // working directory, absolute
	NoDir      error            // why the working directory is unknown; only commands that do not need it work then
	Version    string           // of the launcher
	Signals    <-chan os.Signal // those of Signals, from the start on
	System     platform.System  // of this machine; "" is the one that the program runs on

	// Machine is what this machine allows a server; nil to look.
	Machine *config.Machine

	// Become replaces this process with another program; nil means host.Become.
	Become func(host.Command) (int, error)
}

// Types of other packages that every command uses.
type (
	Console    = console.Console
	Server     = config.Server
	UsageError = option.UsageError
)

// exitUsage is the exit code for an invalid command line, the same as upstream's.
const exitUsage = 2

// command is one of the launcher's commands.
type command struct {
	option.Command

	run func(context.Context, *Console, *Invocation, *Server) (int, error)
	raw bool // its arguments are not options of the launcher

	anywhere bool // it needs neither a module nor an httpd
}

// abs makes a path of the command line absolute; "" stays "".
func (inv *Invocation) abs(path string) string { return absolute(inv.Dir, path) }

func absolute(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// needDirectory refuses a relative path if the working directory is unknown.
func (inv *Invocation) needDirectory(path string) error {
	if inv.NoDir == nil || path == "" || filepath.IsAbs(path) {
		return nil
	}
	return run.NoDirectory(inv.Env, inv.NoDir)
}

// python finds the Python environment that the launcher belongs to.
func (inv *Invocation) python() (*site.Environment, error) {
	paths := []string{inv.Executable}
	if filepath.Base(inv.Name) != inv.Name {
		paths = []string{inv.abs(inv.Name), inv.Executable}
	}
	return site.Find(inv.Env, paths...)
}

// trust decides which files root may rely on.
func (inv *Invocation) trust(c *Console) *instance.Trust {
	return &instance.Trust{Launcher: inv.Executable, Warn: c.Warn}
}
