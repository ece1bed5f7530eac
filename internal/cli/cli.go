// Package cli is the face of the program modwsgi: flags and help, how progress,
// results, errors and hints are shown, and the table of exit codes. It decides
// nothing about what is installed or how.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
	"modwsgi/internal/version"
)

// Process is what the operating system gave us.
type Process struct {
	Args       []string
	Env        []string
	Dir        string // working directory, absolute
	Executable string // our own path
	Stdout     io.Writer
	Stderr     io.Writer
}

// exitCodes is the only place that knows them; docs/exit-codes.md explains them.
var exitCodes = map[fault.Class]int{
	fault.Internal:    1,
	fault.Usage:       2,
	fault.Environment: 3,
	fault.Source:      4,
	fault.Build:       5,
	fault.Place:       6,
	fault.Verify:      7,
	fault.Busy:        8,
	fault.Interrupted: 130,
}

// app is one run of the program.
type app struct {
	Process
	flags globalFlags
	view  *view
}

// globalFlags are understood by every command.
type globalFlags struct {
	json    bool
	verbose bool
	echo    bool
	color   string
}

// Main runs the program and returns its exit code.
func Main(ctx context.Context, p Process) int {
	a := &app{Process: p}
	root := a.root()
	root.SetArgs(p.Args)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	err := root.ExecuteContext(ctx)
	if a.view != nil {
		a.view.close()
	}
	if err == nil {
		return 0
	}
	if ctx.Err() != nil {
		err = fault.New(fault.Interrupted, "run the same command again: what was fetched and built is kept", "interrupted")
	}
	return a.fail(err)
}

// usageError is an error of the command line itself.
func usageError(err error) error {
	if err == nil {
		return nil
	}
	return fault.Wrap(fault.Usage, "modwsgi --help shows what there is", err)
}

func (a *app) root() *cobra.Command {
	c := &cobra.Command{
		Use:   "modwsgi",
		Short: "Put Python web applications on Apache httpd",
		Long: "modwsgi builds Apache httpd and the mod_wsgi module into a Python environment, without root and\n" +
			"without an Apache package, and proves with a real request that they work.\n\n" +
			"  python3 -m venv .venv\n" +
			"  modwsgi install --python .venv\n" +
			"  .venv/bin/mod_wsgi-express start-server hello.wsgi --port 8080",
		SilenceErrors: true, SilenceUsage: true, Version: version.String(),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError(fmt.Errorf("there is no command %q", args[0]))
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.SetVersionTemplate("modwsgi {{.Version}}\n")
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fault.Wrap(fault.Usage, c.CommandPath()+" --help lists the flags", err)
	})
	f := c.PersistentFlags()
	f.BoolVar(&a.flags.json, "json", false, "print JSON: events as lines, then the result")
	f.BoolVarP(&a.flags.verbose, "verbose", "v", false, "show where steps log to, and more of what failed")
	f.BoolVarP(&a.flags.echo, "echo", "x", false, "echo every external command")
	f.StringVar(&a.flags.color, "progress", "auto", "how progress is shown: auto, terminal, plain, github")
	c.AddCommand(a.install(), a.uninstall(), a.list(), a.verify(), a.version())
	return c
}

// noArgs refuses positional arguments by name.
func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fault.New(fault.Usage, "everything is given by flags; --help lists them", "unexpected argument %q", args[0])
	}
	return nil
}

// runner makes the starter of tools.
func (a *app) runner() *run.Runner {
	r := &run.Runner{}
	if a.flags.echo {
		r.Echo = a.view.interruption()
	}
	return r
}

// start opens the view; every command that works calls it first.
func (a *app) start() error {
	v, err := newView(a)
	a.view = v
	return err
}

// fail shows an error, with its hint and the end of the log of the tool that
// failed, and returns the exit code.
func (a *app) fail(err error) int {
	code := exitCodes[fault.ClassOf(err)]
	hint := fault.HintOf(err)
	var tool *run.Error
	hasTool := errors.As(err, &tool)
	if a.flags.json {
		record := errorRecord{Event: "error", Message: err.Error(), Hint: hint, ExitCode: code}
		if hasTool {
			record.Log, record.Tail = tool.LogPath, tool.Tail
		}
		writeJSON(a.Stdout, record)
	}
	var b strings.Builder
	if hasTool && len(tool.Tail) > 0 {
		lines := tool.Tail
		if !a.flags.verbose {
			lines = lines[max(0, len(lines)-12):]
		}
		fmt.Fprintf(&b, "\nlast lines of %s:\n", filepath.Base(tool.Argv[0]))
		for _, line := range lines {
			fmt.Fprintf(&b, "  %s\n", printable(line))
		}
		if tool.LogPath != "" {
			fmt.Fprintf(&b, "the whole log: %s\n", tool.LogPath)
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "modwsgi: error: %s\n", printable(err.Error()))
	if hint != "" {
		fmt.Fprintf(&b, "modwsgi: hint: %s\n", printable(hint))
	}
	if run.Getenv(a.Env, "GITHUB_ACTIONS") == "true" && !a.flags.json {
		fmt.Fprintf(&b, "::error title=modwsgi::%s\n", githubEscape(err.Error()))
	}
	_, _ = io.WriteString(a.Stderr, b.String())
	return code
}

// printable takes control characters out of what tools and servers said, so that
// it cannot play with a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0) {
			return -1
		}
		return r
	}, s)
}
