// Package express knows mod_wsgi-express: its commands and options, how they
// become a typed configuration and that an httpd.conf, and how the httpd that
// serves it is started, signalled and stopped. It knows its Python environment
// by its own place in it and by the receipt of the installation.
//
// It refuses to know how httpd and the module were built, it never touches the
// network, and it runs no code of the environment to learn a fact.
package express

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/express/option"
	"modwsgi/express/site"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/run"
	"modwsgi/internal/shortage"
	"modwsgi/internal/spelling"
)

// Program is one run of the launcher: everything that it gets from outside.
type Program struct {
	Args       []string         // without the program's name
	Env        []string         // the process environment
	Executable string           // path of the launcher, as os.Executable gives it
	Name       string           // the name by which it was called: a path, or a word that the shell looked up
	Dir        string           // working directory, absolute
	NoDir      error            // why it is not known; only commands that need none work then
	Stdin      *os.File         //
	Stdout     *os.File         //
	Stderr     *os.File         //
	Version    string           // of the launcher
	Signals    <-chan os.Signal // those of Signals, from the start on
}

// exitUsage is the exit code for a command line that makes no sense, the same
// as upstream's.
const exitUsage = 2

// command is one of the launcher's commands.
type command struct {
	option.Command

	run func(context.Context, *Program, *parsed) (int, error)
	raw bool // arguments are not options of ours
}

// parsed is a command line of a command, parsed.
type parsed struct {
	server   *Server
	help     bool
	warnings []string
}

// Server and UsageError are those of the packages below.
type (
	Server     = config.Server
	UsageError = option.UsageError
)

func usage(_, hint, format string, args ...any) *UsageError {
	return option.Usage(hint, format, args...)
}

// Options of commands that have few. Those of install-module and its like have a
// help of their own.
var (
	optTarget = option.Text("modules-directory", "", "DIRECTORY", "Where the module is copied to; by default httpd's own directory of modules.")
	optAsJSON = option.Toggle("json", "Print one JSON object on a line.")
)

func ownOptions(options ...option.Ref) *option.Table {
	return &option.Table{Groups: []*option.Group{option.NewGroup("Options", options...)}, Refused: config.Refused}
}

func commands() []*command {
	asJSON, help := ownOptions(optAsJSON, config.Help), ownOptions(config.Help)
	instance := ownOptions(config.ServerRoot, config.Host, config.Port, config.Help)
	serving := func(name, summary string, run func(context.Context, *Program, *parsed) (int, error)) *command {
		return &command{Command: option.Command{Name: name, Summary: summary, Arguments: 1, Meta: "[APPLICATION]", Table: config.Table()}, run: run}
	}
	plain := func(name, summary string, table *option.Table, run func(context.Context, *Program, *parsed) (int, error)) *command {
		return &command{Command: option.Command{Name: name, Summary: summary, Table: table}, run: run}
	}
	raw := func(name string, run func(context.Context, *Program, *parsed) (int, error)) *command {
		return &command{Command: option.Command{Name: name, Hidden: true, Table: &option.Table{}}, raw: true, run: run}
	}
	return []*command{
		serving("start-server", "serve an application in the foreground", startServer),
		serving("setup-server", "write what is needed to serve an application, with a control script", setupServer),
		plain("module-config", "print the httpd directives that load the module", asJSON, moduleConfig),
		plain("module-location", "print the path of the module", asJSON, moduleLocation),
		plain("install-module", "copy the module into httpd's directory of modules", ownOptions(optTarget, optAsJSON, config.Help), installModule),
		plain("status", "tell whether an instance runs", ownOptions(config.ServerRoot, config.Host, config.Port, config.JSON, config.Help), statusOf),
		plain("reload", "have an instance read its configuration and application anew, gracefully", instance, reload),
		plain("stop", "stop an instance; requests that run are completed", instance, stop),
		serving("show-config", "print the httpd.conf of these options, and which of them each line comes from", showConfig),
		serving("systemd-unit", "print a hardened systemd unit that serves the application", systemdUnit),
		{Command: option.Command{
			Name: "completion", Summary: "print a script that completes command lines in bash, zsh or fish", Arguments: 1, Meta: "SHELL", Words: option.Shells, Table: help,
		}, run: completion},
		plain("man", "print the manual page", help, manPage),
		raw("list-options", listOptions),
		raw("print-environment", printEnvironment),
		raw("copy-log", copyLog),
		raw("apachectl", control),
	}
}

// Run runs the program and returns its exit code. Errors have been shown.
func Run(ctx context.Context, p *Program) int {
	code, err := p.run(ctx)
	if err == nil {
		return code
	}
	var u *UsageError
	if errors.As(err, &u) {
		p.showUsage(u)
		return exitUsage
	}
	p.showError(err)
	if code == 0 {
		code = 1
	}
	return code
}

func (p *Program) run(ctx context.Context) (int, error) {
	if len(p.Args) == 0 {
		return exitUsage, usage("", "", "no command")
	}
	name, args := p.Args[0], p.Args[1:]
	switch name {
	case "--version", "version":
		fmt.Fprintln(p.Stdout, "mod_wsgi-express", p.Version)
		return 0, nil
	case "--help", "-h", "help":
		return 0, p.help(args)
	}
	for _, dir := range owned.Vouch(run.Getenv(p.Env, owned.TrustedVariable)) {
		p.warn(owned.TrustedVariable + ": " + dir + " does not exist or is not an absolute path")
	}
	c, err := findCommand(name)
	if err != nil {
		return exitUsage, err
	}
	if c.raw {
		return c.run(ctx, p, &parsed{server: &Server{Values: option.NewValues(), Positional: args}})
	}
	in, err := parse(c, args)
	if in.help {
		return 0, option.WriteHelp(p.Stdout, programName, &c.Command)
	}
	if err != nil {
		return exitUsage, err
	}
	for _, w := range in.warnings {
		p.warn(w)
	}
	return c.run(ctx, p, in)
}

// programName is what people call the launcher.
const programName = "mod_wsgi-express"

// parse reads the arguments of a command. The line is valid with an error, too.
func parse(c *command, args []string) (*parsed, error) {
	line, err := option.Parse(programName, &c.Command, args)
	return &parsed{server: &Server{Values: line.Values, Positional: line.Positional}, help: line.Help, warnings: line.Warnings}, err
}

func findCommand(name string) (*command, error) {
	var names []string
	for _, c := range commands() {
		if c.Name == name {
			return c, nil
		}
		if !c.Hidden {
			names = append(names, c.Name)
		}
	}
	hint := ""
	if best := spelling.Nearest(name, names, 3); best != "" {
		hint = "did you mean " + best + "?"
	}
	return nil, usage("", hint, "no such command: %s", name)
}

func (p *Program) help(args []string) error {
	if len(args) == 0 {
		return writeCommands(p.Stdout)
	}
	c, err := findCommand(args[0])
	if err != nil {
		return err
	}
	return option.WriteHelp(p.Stdout, programName, &c.Command)
}

func (p *Program) warn(text string) {
	fmt.Fprintf(p.Stderr, "mod_wsgi-express: warning: %s\n", text)
}

func (p *Program) showUsage(u *UsageError) {
	name := ""
	if len(p.Args) > 0 {
		name = p.Args[0]
	}
	if c, err := findCommand(name); err != nil {
		_ = writeCommands(p.Stderr)
	} else {
		fmt.Fprintf(p.Stderr, "%s\n\n", option.UsageLine(programName, &c.Command))
	}
	p.showError(u)
}

func writeCommands(w io.Writer) error {
	var b strings.Builder
	b.WriteString("Usage: mod_wsgi-express COMMAND [OPTIONS] [APPLICATION]\n\nCommands:\n")
	for _, c := range commands() {
		if !c.Hidden {
			fmt.Fprintf(&b, "  %-16s %s\n", c.Name, c.Summary)
		}
	}
	b.WriteString("\nmod_wsgi-express help COMMAND shows the options of a command, --version the version.\n\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// showError prints an error as upstream does (PROG: error: TEXT), and its hint.
// The lines of a text that has several are indented.
func (p *Program) showError(err error) {
	err = shortage.Explain(err, "")
	show(p.Stderr, "error", err.Error())
	if h := fault.HintOf(err); h != "" {
		show(p.Stderr, "hint", h)
	}
}

func show(w io.Writer, kind, message string) {
	message = strings.ReplaceAll(strings.TrimRight(message, "\n"), "\n", "\n    ")
	fmt.Fprintf(w, "mod_wsgi-express: %s: %s\n", kind, message)
}

// Signals lists what the launcher has to be told about from its first moment on.
func Signals() []os.Signal { return host.Signals() }

// install finds the environment of this program.
func (p *Program) install() (*site.Environment, error) {
	paths := []string{p.Executable}
	if filepath.Base(p.Name) != p.Name {
		paths = []string{p.abs(p.Name), p.Executable}
	}
	return site.Find(p.Env, paths...)
}
