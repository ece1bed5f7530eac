package httpdbuild

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"modwsgi/internal/observer"
	"modwsgi/internal/run"
	"modwsgi/internal/steps"
	"modwsgi/internal/timeline"
)

// env is the environment of the tools. Their temporary files are in a private
// directory, because config.guess fails if TMPDIR is not a directory, and so that
// leftovers of a killed compiler are removed with the rest. ccache gets the directory
// that differs in each build, so that it finds what it compiled before
// (https://ccache.dev/manual/latest.html#config_base_dir).
func (b *builder) env() []string {
	env := append(slices.Clone(b.Host.Env), "TMPDIR="+filepath.Join(b.Work, "tmp"), "CCACHE_BASEDIR="+b.Work, "CCACHE_NOHASHDIR=1")
	if b.component("openssl") != nil {
		env = append(env, "PERL5LIB="+b.perlDir())
	}
	for _, l := range b.bundled() {
		if len(l.shared) > 0 && b.Host.Cross == "" { // programs of configure scripts load it
			return append(env, "LD_LIBRARY_PATH="+filepath.Join(b.deps(), "lib"))
		}
	}
	return env
}

// compilerFlags are the flags for every object. Headers that are made in this build come
// before those in the caller's directories.
func (b *builder) compilerFlags() []string {
	flags := b.cflags(b.Work)
	if slices.ContainsFunc(b.Flags.Given.Compile, func(w string) bool { return strings.HasPrefix(w, "-I") || w == "-isystem" }) {
		flags = append([]string{"-I" + filepath.Join(b.deps(), "include")}, flags...)
	}
	return flags
}

// toolAs runs a build tool with its output in the step's log, and enters it into the
// timeline as name, after the spans in needs; nil means those that the step waited
// for. The caller holds a slot of the pool.
func (b *builder) toolAs(ctx context.Context, log *steps.Log, kind timeline.Kind, name string, needs []string, dir string, argv ...string) error {
	if err := logCommand(log, dir, argv, ""); err != nil {
		return err
	}
	release, err := b.Farm.Here(ctx)
	if err != nil {
		return err
	}
	defer release()
	out := &progress{log: log, events: b.Events, step: log.Step}
	return b.traced(ctx, kind, log.Step, name, needs, run.Cmd{Argv: argv, Dir: dir, Env: b.env(), Log: out, LogPath: log.Path})
}

// compile is toolAs for the compilation of an object, which a compile farm may take.
func (b *builder) compile(ctx context.Context, log *steps.Log, name string, needs []string, dir, object string, argv ...string) error {
	if err := logCommand(log, dir, argv, ""); err != nil {
		return err
	}
	c := run.Cmd{Argv: argv, Dir: dir, Env: b.env(), Log: &progress{log: log, events: b.Events, step: log.Step}, LogPath: log.Path}
	return b.Farm.Compile(ctx, c, object, func(c run.Cmd) error {
		return b.traced(ctx, timeline.Compile, log.Step, name, needs, c)
	})
}

// traced runs a command as a span.
func (b *builder) traced(ctx context.Context, kind timeline.Kind, step, name string, needs []string, c run.Cmd) error {
	if needs == nil {
		needs = b.needs[step]
	}
	return b.watch().Tool(ctx, b.Runner, kind, step, name, needs, c)
}

func (b *builder) watch() observer.Observer {
	return observer.Observer{Events: b.Events, Timeline: b.Timeline}
}

// toolInto runs a tool with its standard output in a file. An existing file is
// complete.
func (b *builder) toolInto(ctx context.Context, log *steps.Log, file, dir string, argv ...string) error {
	if err := logCommand(log, dir, argv, file); err != nil {
		return err
	}
	end := b.Timeline.Begin(timeline.Tool, log.Step, filepath.Base(file), b.needs[log.Step]...)
	data, err := b.Runner.Output(ctx, run.Cmd{Argv: argv, Dir: dir, Env: b.env(), Log: log, LogPath: log.Path})
	if err == nil {
		err = writeFile(file, data, 0o644)
	}
	end(func(s *timeline.Span) { s.Failed = err != nil })
	return err
}

func logCommand(log io.Writer, dir string, argv []string, into string) error {
	words := make([]string, len(argv))
	for i, a := range argv {
		words[i] = run.Quote(a)
	}
	line := "+ cd " + run.Quote(dir) + " && " + strings.Join(words, " ")
	if into != "" {
		line += " > " + run.Quote(into)
	}
	_, err := fmt.Fprintln(log, line)
	return err
}

// makeIn runs make in a component's directory.
func (b *builder) makeIn(name string, targets ...string) func(context.Context, *steps.Log) error {
	return func(ctx context.Context, log *steps.Log) error {
		argv := append([]string{"make", "-j" + strconv.Itoa(b.Farm.Local(b.Jobs))}, targets...)
		return b.toolAs(ctx, log, timeline.Compile, log.Step, nil, b.dir(name), argv...)
	}
}
