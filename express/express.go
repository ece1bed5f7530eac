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
	"strings"

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
	name      string
	help      string
	arguments int // how many it takes
	meta      string
	hidden    bool
	options   []*Option
	run       func(context.Context, *Program, *parsed) (int, error)
	raw       bool // arguments are not options of ours
}

func commands() []*command {
	target := text("modules-directory", "", "DIRECTORY", "Where the module is copied to; by default httpd's own directory of modules.",
		func(s *Server) *string { return &s.ModulesDirectory })
	asJSON := toggle("json", "Print one JSON object on a line.", func(s *Server) *bool { return &s.JSON })
	return []*command{
		{name: "start-server", help: "serve an application in the foreground", arguments: 1, meta: "[APPLICATION]", options: Options(), run: startServer},
		{name: "setup-server", help: "write what is needed to serve an application, with a control script", arguments: 1, meta: "[APPLICATION]", options: Options(), run: setupServer},
		{name: "module-config", help: "print the httpd directives that load the module", options: ownOptions(asJSON, optHelp), run: moduleConfig},
		{name: "module-location", help: "print the path of the module", options: ownOptions(asJSON, optHelp), run: moduleLocation},
		{name: "install-module", help: "copy the module into httpd's directory of modules", options: ownOptions(target, asJSON, optHelp), run: installModule},
		{name: "status", help: "tell whether an instance runs", options: ownOptions(optServerRoot, optHost, optPort, optJSON, optHelp), run: statusOf},
		{name: "reload", help: "have an instance read its configuration and application anew, gracefully", options: ownOptions(optServerRoot, optHost, optPort, optHelp), run: reload},
		{name: "stop", help: "stop an instance; requests that run are completed", options: ownOptions(optServerRoot, optHost, optPort, optHelp), run: stop},
		{name: "show-config", help: "print the httpd.conf of these options, and which of them each line comes from", arguments: 1, meta: "[APPLICATION]", options: Options(), run: showConfig},
		{name: "systemd-unit", help: "print a hardened systemd unit that serves the application", arguments: 1, meta: "[APPLICATION]", options: Options(), run: systemdUnit},
		{name: "completion", help: "print a script that completes command lines in bash, zsh or fish", arguments: 1, meta: "SHELL", options: ownOptions(optHelp), run: completion},
		{name: "man", help: "print the manual page", options: ownOptions(optHelp), run: manPage},
		{name: "list-options", hidden: true, raw: true, run: listOptions},
		{name: "print-environment", hidden: true, raw: true, run: printEnvironment},
		{name: "copy-log", hidden: true, raw: true, run: copyLog},
		{name: "apachectl", hidden: true, raw: true, arguments: 1 << 20, run: control},
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
		return c.run(ctx, p, &parsed{server: &Server{positional: args}})
	}
	in, err := parse(c, args)
	if in != nil && in.help {
		return 0, writeHelp(p.Stdout, c)
	}
	if err != nil {
		return exitUsage, err
	}
	for _, w := range in.warnings {
		p.warn(w)
	}
	return c.run(ctx, p, in)
}

func findCommand(name string) (*command, error) {
	var names []string
	for _, c := range commands() {
		if c.name == name {
			return c, nil
		}
		if !c.hidden {
			names = append(names, c.name)
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
	return writeHelp(p.Stdout, c)
}

func (p *Program) warn(text string) {
	fmt.Fprintf(p.Stderr, "mod_wsgi-express: warning: %s\n", text)
}

func (p *Program) showUsage(u *UsageError) {
	c, err := findCommand(u.Command)
	if u.Command != "" && len(p.Args) > 0 { // setup-server shares the options of start-server
		c, err = findCommand(p.Args[0])
	}
	if err != nil {
		_ = writeCommands(p.Stderr)
	} else {
		fmt.Fprintf(p.Stderr, "%s\n\n", usageLine(c))
	}
	p.showError(u)
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
