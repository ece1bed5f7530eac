// Package cli implements the command line of modwsgi: its flags and help, how it shows
// progress, results, errors and hints, and the table of exit codes. It decides nothing
// about what is installed or how.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"modwsgi/internal/cachedir"
	"modwsgi/internal/catalogue"
	"modwsgi/internal/fault"
	"modwsgi/internal/flock"
	"modwsgi/internal/httpc"
	"modwsgi/internal/owned"
	"modwsgi/internal/platform"
	"modwsgi/internal/run"
	"modwsgi/internal/scratch"
	"modwsgi/internal/shortage"
	"modwsgi/internal/version"
)

// Process is what the operating system passed to the program.
type Process struct {
	Args       []string
	Env        []string
	Dir        string // working directory, absolute
	NoDir      error  // why Dir is unknown; every command that needs it fails then
	Executable string // path of the running program
	Stdout     io.Writer
	Stderr     io.Writer
	// Now is the clock for timestamps and durations; nil is time.Now.
	Now func() time.Time
	// System is this machine's; "" is the one that the program runs on.
	System platform.System
}

// exitCodes is the only definition of the exit codes; docs/reference/exit-codes.md
// explains them.
var exitCodes = map[fault.Class]int{
	fault.Internal:    1,
	fault.Usage:       2,
	fault.Environment: 3,
	fault.Source:      4,
	fault.Build:       5,
	fault.Place:       6,
	fault.Verify:      7,
	fault.Busy:        8,
	fault.Outdated:    9,
	fault.Interrupted: 130,
}

// unread is the exit code after the reader of standard output closed it ("modwsgi list
// | head"), as of a program killed by SIGPIPE. Nothing is printed then.
const unread = 128 + 13

// app is one run of the program.
type app struct {
	Process
	flags   globalFlags
	view    *view
	ignored map[string]error // directories of PATH, with the reasons
	// cacheDir is the command's --cache-dir, "" for the default.
	cacheDir string
	// catalogue is the one of this run, set by start.
	catalogue *catalogue.Status
}

// globalFlags are accepted by every command.
type globalFlags struct {
	json    bool
	verbose bool
	echo    bool
	color   string
	locks   string
	minRate string
	timeout string
}

// Main runs the program and returns its exit code.
func Main(ctx context.Context, p Process) int {
	a := &app{Process: p}
	// When the reader closes standard output, the work is canceled cleanly.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := &output{to: p.Stdout, failed: cancel}
	a.Stdout, p.Stdout = out, out
	for _, dir := range owned.Vouch(run.Getenv(p.Env, owned.TrustedVariable)) {
		_, _ = fmt.Fprintf(p.Stderr, "modwsgi: %s: %s does not exist or is not an absolute path\n", owned.TrustedVariable, dir)
	}
	a.ignored = run.UntrustedPath(p.Env)
	a.Env = run.TrustedPath(p.Env)
	root := a.root()
	root.SetArgs(p.Args)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	err := root.ExecuteContext(ctx)
	if a.view != nil {
		a.view.close()
	}
	if werr := out.problem(); readerLeft(werr) {
		return unread
	} else if werr != nil {
		return a.fail(fault.New(fault.Environment, "", "write the result: %w", werr))
	}
	if err == nil {
		return 0
	}
	if ctx.Err() != nil {
		err = fault.New(fault.Interrupted, "run the same command again; what was fetched and built so far is kept", "interrupted")
	}
	return a.fail(err)
}

// unknownCommand is the error for an unknown command, with the nearest name as a hint.
func unknownCommand(root *cobra.Command, name string) error {
	hint := root.CommandPath() + " --help lists the commands"
	var names []string
	for _, c := range root.Commands() {
		names = append(names, c.Name())
	}
	if near := nearest(name, names); near != "" {
		hint = "did you mean " + root.CommandPath() + " " + near + "? " + hint
	}
	return fault.New(fault.Usage, hint, "unknown command %q", name)
}

// flagError describes a wrong flag in the project's own words.
func flagError(c *cobra.Command, err error) error {
	hint := c.CommandPath() + " --help lists the flags"
	var value *pflag.InvalidValueError
	var unknown *pflag.NotExistError
	switch {
	case errors.As(err, &value):
		return fault.New(fault.Usage, hint, "invalid value %q for --%s (expected: %s)", value.GetValue(), value.GetFlag().Name, value.GetFlag().Value.Type())
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "":
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near := nearest(unknown.GetSpecifiedName(), names); near != "" {
			hint = "did you mean --" + near + "? " + hint
		}
		return fault.New(fault.Usage, hint, "unknown flag --%s", unknown.GetSpecifiedName())
	}
	return fault.Wrap(fault.Usage, hint, err)
}

// helpCommand is "modwsgi help COMMAND". Cobra's own accepts unknown commands.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [command]", Short: "Show the help of a command",
		RunE: func(c *cobra.Command, args []string) error {
			about, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(c.Root(), strings.Join(args, " "))
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
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
		Args: onlyCommands,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			if f := c.Flags().Lookup("python"); f != nil && f.Changed && f.Value.Type() == "string" && f.Value.String() == "" {
				return fault.New(fault.Usage, "leave it out to detect the Python, or check the variable that you passed", "--python is empty")
			}
			if f := c.Flags().Lookup("cache-dir"); f != nil {
				a.cacheDir = f.Value.String()
			}
			if _, err := flock.Limit(a.flags.locks, run.Getenv(a.Env, flock.Variable)); err != nil {
				return err
			}
			if err := a.setPace(); err != nil {
				return err
			}
			return checkProgress(a.flags.color)
		},
	}
	c.SetVersionTemplate("modwsgi {{.Version}}\n")
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		// Flags after the wrong one were not parsed, and errors are JSON where --json
		// is given.
		words, _, _ := strings.Cut(strings.Join(a.Args, "\x00"), "\x00--\x00")
		a.flags.json = a.flags.json || slices.Contains(strings.Split(words, "\x00"), "--json")
		return flagError(c, err)
	})
	c.SetHelpCommand(helpCommand())
	f := c.PersistentFlags()
	f.BoolVar(&a.flags.json, "json", false, "print JSON lines: events, then the result")
	f.BoolVarP(&a.flags.verbose, "verbose", "v", false, "show the log file of each step and more about failures")
	f.BoolVarP(&a.flags.echo, "echo", "x", false, "print every external command")
	f.StringVar(&a.flags.color, "progress", "auto", "progress display: auto, terminal, plain or github")
	f.StringVar(&a.flags.locks, "lock-timeout", "", "how long to wait for another run, as in 30s or 10m; 0 does not wait (default 10m, for a build 2h; "+flock.Variable+")")
	f.StringVar(&a.flags.timeout, "download-timeout", "", "time limit per download, over all servers, as in 90s or 1h (default 30m; "+httpc.TimeoutVariable+")")
	f.StringVar(&a.flags.minRate, "download-min-rate", "", "try the next server below this many bytes per second, as in 500 or 64K; 0 never does (default 8K; "+httpc.RateVariable+")")
	c.AddCommand(a.install(), a.uninstall(), a.list(), a.outdated(), a.verify(), a.detect(), a.doctor(), a.module(), a.pack(), a.cache(), a.catalogueCommand(), a.man(), a.version())
	strictCompletion(c)
	return c
}

// onlyCommands is the argument check of a command group: any argument that is not one
// of its commands is an error.
func onlyCommands(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return unknownCommand(c, args[0])
	}
	return nil
}

// strictCompletion replaces cobra's own completion command, which for an unknown shell
// shows its help and exits with success.
func strictCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		c.Args, c.RunE = onlyCommands, func(c *cobra.Command, _ []string) error { return c.Help() }
		for _, shell := range c.Commands() {
			shell.Args = noArgs
		}
	}
}

// noArgs refuses positional arguments and names the first one.
func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fault.New(fault.Usage, "this command takes only flags; --help lists them", "unexpected argument %q", args[0])
	}
	return nil
}

// runner returns the runner of external tools.
func (a *app) runner() *run.Runner {
	r := &run.Runner{}
	if a.flags.echo {
		r.Echo = a.view.interruption()
	}
	return r
}

// lockLimit is how long to wait for another run. Invalid values were refused before
// the command began.
func (a *app) lockLimit() time.Duration {
	limit, err := flock.Limit(a.flags.locks, run.Getenv(a.Env, flock.Variable))
	if err != nil {
		return flock.DefaultLimit
	}
	return limit
}

// setPace passes the options about slow servers to everything that talks to one, and
// refuses invalid values.
func (a *app) setPace() error {
	for _, v := range [][2]string{{httpc.TimeoutVariable, a.flags.timeout}, {httpc.RateVariable, a.flags.minRate}} {
		if v[1] != "" {
			a.Env = append(slices.DeleteFunc(slices.Clone(a.Env), func(e string) bool { return strings.HasPrefix(e, v[0]+"=") }), v[0]+"="+v[1])
		}
	}
	_, err := httpc.ReadLimits(a.Env)
	return err
}

// pace is how slow a server may be.
func (a *app) pace() httpc.Limits {
	limits, _ := httpc.ReadLimits(a.Env) // setPace has already refused invalid values
	return limits
}

// start opens the view and removes leftovers of killed runs; every command that does
// any work calls it first.
func (a *app) start() error {
	v, err := newView(a)
	a.view = v
	if err != nil {
		return err
	}
	if a.NoDir != nil {
		return run.NoDirectory(a.Env, a.NoDir)
	}
	for _, dir := range slices.Sorted(maps.Keys(a.ignored)) {
		v.sink().Warn(fmt.Sprintf("programs in %s, which is in PATH, are ignored because another user could replace them: %v", dir, a.ignored[dir]))
	}
	a.ignored = nil // once
	if text := shortage.Early(); text != "" {
		v.sink().Warn(text)
	}
	if cache := a.cacheAt(); cache != "" {
		scratch.Fallback(filepath.Join(cache, cachedir.Work))
	}
	a.catalogue = a.useCatalogue()
	for _, text := range a.catalogue.Warnings() {
		v.sink().Warn(text)
	}
	cachedir.Sweep(cachedir.Options{Path: a.cacheDir, Dir: a.Dir, Env: a.Env})
	return nil
}

// cacheAt is the cache directory, "" where it is unknown.
func (a *app) cacheAt() string {
	path, err := cachedir.Find(cachedir.Options{Path: a.cacheDir, Dir: a.Dir, Env: a.Env})
	if err != nil {
		return ""
	}
	return path
}

// fail shows an error with its hint and the end of the failed tool's log, and returns
// the exit code.
func (a *app) fail(err error) int {
	err = shortage.Explain(err, a.cacheAt())
	code := exitCodes[fault.ClassOf(err)]
	hint := fault.HintOf(err)
	github := run.Getenv(a.Env, "GITHUB_ACTIONS") == "true" && !a.flags.json
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
			fmt.Fprintf(&b, "full log: %s\n", printable(tool.LogPath))
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "modwsgi: error: %s\n", printable(err.Error()))
	if hint != "" {
		fmt.Fprintf(&b, "modwsgi: hint: %s\n", printable(hint))
	}
	text := b.String()
	if github {
		text = defuse(text) + "::error title=modwsgi::" + githubEscape(printable(err.Error())) + "\n"
	}
	_, _ = io.WriteString(a.Stderr, text)
	return code
}
