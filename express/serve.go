package express

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"modwsgi/express/config"
	"modwsgi/express/console"
	"modwsgi/express/discover"
	"modwsgi/express/instance"
	"modwsgi/express/option"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// The command serve is start-server with other defaults: it finds the application of a
// project (package discover), and shows what happens in a terminal.

// Exit codes of serve.
const (
	exitSeveral = 3 // there are several applications
	exitNothing = 4 // no application was found
)

// serve is the command serve.
func serve(ctx context.Context, c *Console, inv *Invocation, s *Server) (int, error) {
	if inv.NoDir != nil {
		return 1, run.NoDirectory(inv.Env, inv.NoDir)
	}
	explain := optExplain.In(s)
	found, err := inv.find(ctx, c, s)
	if err != nil {
		return 1, err
	}
	if n := len(found.Applications); n != 1 {
		code := exitSeveral
		if n == 0 {
			code = exitNothing
		}
		if explain && config.JSON.In(s) {
			return code, explainJSON(c.Stdout, found, nil, nil)
		}
		if n == 0 {
			return code, nothing(found, inv.called())
		}
		return code, several(found, inv.called())
	}
	p := &served{c: c, inv: inv, s: s, found: found, app: found.Applications[0]}
	p.choose()
	if err := p.defaults(); err != nil {
		return 1, err
	}
	if explain {
		if config.JSON.In(s) {
			return 0, explainJSON(c.Stdout, found, p.app, p.command())
		}
		_, err := c.Stdout.WriteString(p.explanation())
		return 0, err
	}
	if found.Untrusted != nil {
		c.Warn(found.Untrusted.Error())
	}
	if err := p.secure(); err != nil {
		return 1, err
	}
	p.look()
	return runServer(ctx, c, inv, s, p)
}

// projectDirectory returns the directory that the arguments of serve are about, or "" if
// they name an application.
func (inv *Invocation) projectDirectory(words []string) string {
	if len(words) == 0 {
		return inv.Dir
	}
	path := filepath.Clean(inv.abs(words[0]))
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return path
	}
	return ""
}

// called returns the name by which the launcher was called, for commands in messages.
func (inv *Invocation) called() string { return cmp.Or(inv.Name, console.Program) }

// find returns the applications that the options or else the files of the project
// determine.
func (inv *Invocation) find(ctx context.Context, c *Console, s *Server) (*discover.Found, error) {
	dir := inv.projectDirectory(s.Positional)
	entry, by := "", ""
	switch {
	case s.Given(config.EntryPoint):
		entry, by = config.EntryPoint.In(s), s.Origin(config.EntryPoint)
		if by == "" {
			by = config.EntryPoint.Flag()
		}
	case dir == "":
		entry = s.Positional[0]
	}
	if s.Given(config.ApplicationType) {
		return inv.told(s, entry, dir), nil
	}
	f := &discover.Finder{Dir: inv.Dir, Env: inv.Env, Trusted: inv.trust(c).Settings, Python: inv.sources(c)}
	if dir != "" && by != "" {
		f.Dir = dir
		if rel, err := filepath.Rel(dir, entry); err == nil && filepath.IsLocal(rel) {
			entry = rel
		}
	}
	if entry == "" {
		return f.Directory(ctx, dir)
	}
	if name := config.CallableObject; s.Given(name) && !strings.HasSuffix(entry, ".ini") {
		entry += ":" + name.In(s)
	}
	found, err := f.Argument(ctx, entry)
	if err != nil {
		return nil, err
	}
	for _, a := range found.Applications {
		if by != "" {
			a.Why = append([]string{by + " names " + entry}, a.Why[1:]...)
		}
	}
	return found, nil
}

// told returns the application of options that say everything, as to start-server.
func (inv *Invocation) told(s *Server, entry, dir string) *discover.Found {
	if dir == "" {
		dir = inv.Dir
	}
	kind := config.ApplicationType.In(s)
	a := &discover.Application{
		Kind: discover.Callable, Name: strings.TrimSpace(kind + " application " + entry), Type: kind, Entry: entry, Directory: dir,
		Why: []string{"option " + config.ApplicationType.Flag() + " determines how it is loaded"},
	}
	if kind == "static" {
		a.Name = "files"
		if len(s.Positional) > 0 {
			a.Entry = s.Positional[0]
		}
	}
	return &discover.Found{Directory: dir, Applications: []*discover.Application{a}}
}

// readTime limits the time for reading the sources of a project.
const readTime = 2 * time.Minute

// sources returns how the sources of a project are read: by the environment's own Python,
// without its packages and without the caller's variables.
func (inv *Invocation) sources(c *Console) func(context.Context, string, []byte) ([]byte, error) {
	return func(ctx context.Context, program string, input []byte) ([]byte, error) {
		python, err := inv.python()
		if err != nil {
			return nil, err
		}
		exe := python.Interpreter()
		if exe == "" {
			return nil, fault.New(fault.Environment, "name the application: see start-server", "the environment %s has no Python interpreter", python.Home)
		}
		if err := inv.trust(c).Files([]instance.Relied{{By: "the environment's Python", Path: exe, Role: instance.Executed}}); err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, readTime)
		defer cancel()
		var r run.Runner
		return r.Output(ctx, run.Cmd{Argv: []string{exe, "-I", "-S", "-c", program}, Dir: python.Home, Env: few(inv.Env), Stdin: bytes.NewReader(input)})
	}
}

// few returns the variables that a Python may need to start.
func few(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return !slices.Contains([]string{"PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SystemRoot", "TEMP", "TMP"}, name)
	})
}

// nothing is the error for a project without an application.
func nothing(found *discover.Found, program string) error {
	if found.Untrusted != nil {
		return found.Untrusted
	}
	text := fmt.Sprintf("no WSGI application was found in %s\n", found.Directory)
	text += "looked for: manage.py of Django; FLASK_APP and .flaskenv; in modules (" + fmt.Sprint(found.Searched) + " were read) a callable named application or app, " +
		"or a factory such as create_app; [app:main] in .ini files; the same in directories below"
	for _, p := range found.Passed {
		text += "\npassed over: " + p.File + ": " + p.Why
	}
	return fault.New(fault.Usage, "name it: "+run.Quote(program)+" serve MODULE:NAME; or write a file wsgi.py with the line: from YOUR_MODULE import YOUR_APP as application", "%s", text)
}

// several is the error for a project with more than one application.
func several(found *discover.Found, program string) error {
	text := fmt.Sprintf("%s has %d applications; choose one:", found.Directory, len(found.Applications))
	for _, a := range found.Applications {
		text += "\n" + a.Name + "\n    " + run.Quote(program) + " serve " + run.Quote(a.Argument)
	}
	return fault.New(fault.Usage, "to choose for good, write application = \"FILE\" in mod_wsgi-express.toml", "%s", text)
}

// choose sets the options that the application determines.
func (p *served) choose() {
	s, a := p.s, p.app
	config.ApplicationType.Give(s, a.Type)
	s.Positional = nil
	if a.Entry != "" {
		s.Positional = []string{a.Entry}
		if s.Given(config.EntryPoint) {
			config.EntryPoint.Set(s, a.Entry)
		}
	}
	if a.Callable != "" {
		config.CallableObject.Give(s, a.Callable)
	}
	if !s.Given(config.WorkingDirectory) {
		config.WorkingDirectory.Give(s, a.Directory)
	}
	if len(a.PythonPath) > 0 {
		config.PythonPath.Give(s, append(slices.Clone(config.PythonPath.In(s)), a.PythonPath...))
	}
	for _, alias := range a.Static {
		if !slices.ContainsFunc(config.URLAlias.In(s), func(given [2]string) bool { return given[0] == alias[0] }) {
			config.URLAlias.Give(s, append(slices.Clone(config.URLAlias.In(s)), alias))
		}
	}
	for name, value := range a.Environment {
		p.inv.Env = append(slices.DeleteFunc(slices.Clone(p.inv.Env), func(kv string) bool { return strings.HasPrefix(kv, name+"=") }), name+"="+value)
	}
}

// giveOnce sets an option unless a source of options decides about it.
func giveOnce[T any](s *Server, o option.Handle[T], value T) {
	if !s.Given(o) {
		o.Give(s, value)
	}
}
