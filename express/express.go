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
	"strings"

	"modwsgi/express/console"
	"modwsgi/express/host"
	"modwsgi/express/option"
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
		return exitUsage
	}
	c.Fail(err)
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
	return cmd.run(ctx, c, inv, &Server{Values: line.Values, Positional: line.Positional})
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
