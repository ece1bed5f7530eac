// Package express is the launcher, mod_wsgi-express: one function per command. Each
// command reads its options, gets what it needs from the packages below, and prints.
//
// It does not know how httpd and the module were built, never accesses the network, and
// never runs code of the environment to learn a fact.
package express

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"modwsgi/express/config"
	"modwsgi/express/console"
	"modwsgi/express/host"
	"modwsgi/express/option"
	"modwsgi/express/sources"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/run"
	"modwsgi/internal/spelling"
)

// Signals returns the signals that the launcher must receive from the start.
func Signals() []os.Signal { return host.Signals() }

// Run executes a command and returns the exit code. It prints errors itself.
func Run(ctx context.Context, c *Console, inv *Invocation) int {
	code, err := dispatch(ctx, c, inv)
	if err == nil {
		return code
	}
	var u *UsageError
	if errors.As(err, &u) {
		showUsage(c, inv.Args)
		c.Fail(u)
		code = exitUsage
	} else {
		c.Fail(err)
	}
	var placed *placedError
	if errors.As(err, &placed) {
		for _, note := range placed.notes {
			c.Note(note)
		}
	}
	if code == 0 {
		code = 1
	}
	return code
}

func dispatch(ctx context.Context, c *Console, inv *Invocation) (int, error) {
	if len(inv.Args) == 0 {
		return exitUsage, option.Usage("", "no command")
	}
	name, args := inv.Args[0], inv.Args[1:]
	switch name {
	case "--version", "version":
		c.Printf("%s %s\n", console.Program, inv.Version)
		return 0, nil
	case "--help", "-h", "help":
		return 0, help(c, args)
	}
	for _, dir := range owned.Vouch(run.Getenv(inv.Env, owned.TrustedVariable)) {
		c.Warn(owned.TrustedVariable + ": " + dir + " does not exist or is not an absolute path")
	}
	cmd, err := findCommand(name)
	if err != nil {
		return exitUsage, err
	}
	var refused error
	if !cmd.anywhere {
		if refused = inv.System.CanServe(); refused == nil {
			refused = run.CheckProc()
		}
	}
	if cmd.raw {
		if refused != nil {
			return 1, refused
		}
		return cmd.run(ctx, c, inv, &Server{Values: option.NewValues(), Positional: args})
	}
	line, err := option.Parse(console.Program, &cmd.Command, args)
	if line.Help {
		return 0, option.WriteHelp(c.Stdout, console.Program, &cmd.Command)
	}
	if err != nil {
		return exitUsage, err
	}
	if refused != nil {
		return 1, refused
	}
	for _, w := range line.Warnings {
		c.Warn(w)
	}
	s := &Server{Values: line.Values}
	if cmd.Table.Has(config.Port) && (cmd.Arguments > 0 || !line.Given(config.ServerRoot)) { // not for a server that is named
		file, err := inv.fill(c, cmd, line)
		if err != nil {
			return exitUsage, err
		}
		s.ConfigFile, s.ConfigNone, s.Credentials = file.Path, file.None, file.Credentials
	}
	s.Positional = line.Positional
	code, err := cmd.run(ctx, c, inv, s)
	if err != nil {
		err = &placedError{err, origins(line, err)}
	}
	return code, err
}

// placedError is an error about options, with notes on where these come from.
type placedError struct {
	error

	notes []string
}

func (e *placedError) Unwrap() error { return e.error }

// fill sets the options that are not on the command line.
func (inv *Invocation) fill(c *Console, cmd *command, line *option.Line) (*sources.File, error) {
	r := &sources.Reader{
		Dir: inv.Dir, Env: inv.Env, All: config.Table(), Command: cmd.Table, Warn: c.Warn,
		Unread: !slices.Contains([]string{"start-server", "setup-server", serveCommand}, cmd.Name), Unit: cmd.Name == unitCommand,
		Trusted: inv.trust(c).Settings,
	}
	if inv.NoDir != nil {
		r.Dir = ""
	}
	if cmd.Name == serveCommand && inv.NoDir == nil {
		// The file of the project counts, and a directory is not the application.
		if dir := inv.projectDirectory(line.Positional); dir != "" {
			r.Dir = dir
			defer func(words []string) { line.Positional = words }(line.Positional)
			line.Positional = nil
		}
	}
	// Port and address on the command line name a server, whatever the file is about.
	r.Named = cmd.Arguments == 0 && (line.Given(config.Port) || line.Given(config.Host))
	file, err := r.Fill(line)
	if err != nil && cmd.Arguments == 0 {
		err = fault.Wrap(fault.Usage, "correct it, or name the server with --server-root", err)
	}
	return file, err
}

var anOption = regexp.MustCompile(`--[a-z][a-z0-9-]+`)

// origins returns where the options that an error names come from, if not from the
// command line.
func origins(line *option.Line, err error) (notes []string) {
	for _, flag := range anOption.FindAllString(err.Error(), -1) {
		o := config.Table().Named(flag[2:])
		if o == nil || line.Origin(o) == "" {
			continue
		}
		if note := flag + " comes from " + line.Origin(o); !slices.Contains(notes, note) {
			notes = append(notes, note)
		}
	}
	return notes
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
	return nil, option.Usage(hint, "no such command: %s", name)
}

func help(c *Console, args []string) error {
	if len(args) == 0 {
		return writeCommands(c.Stdout)
	}
	cmd, err := findCommand(args[0])
	if err != nil {
		return err
	}
	return option.WriteHelp(c.Stdout, console.Program, &cmd.Command)
}

// showUsage prints the usage of the command whose command line is invalid.
func showUsage(c *Console, args []string) {
	name := ""
	if len(args) > 0 {
		name = args[0]
	}
	if cmd, err := findCommand(name); err != nil {
		_ = writeCommands(c.Stderr)
	} else {
		fmt.Fprintf(c.Stderr, "%s\n\n", option.UsageLine(console.Program, &cmd.Command))
	}
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
