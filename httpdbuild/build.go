// Package httpdbuild turns verified source archives of httpd, APR, APR-util,
// PCRE2 and, where the host has none, Expat into a relocatable httpd tree, by
// named steps. It knows how these are configured, compiled and staged. It does
// not know where archives come from, and nothing about Python or a prefix.
package httpdbuild

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"modwsgi/internal/archive"
	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
	"modwsgi/internal/steps"
)

// Placeholder is the prefix that everything is configured for. It never exists:
// run paths that name it become relative, and a file that still needs it would
// fail on every machine and not only on other people's.
const Placeholder = "/opt/modwsgi/httpd"

// buildVersion changes when the same sources and flags give another tree.
const buildVersion = "3"

// Component is one source archive that was verified.
type Component struct {
	Name    string // "httpd", "apr", "apr-util", "pcre2", "expat"
	Version string
	Archive string // path
	SHA256  string
}

// Request says what to build.
type Request struct {
	Components []Component // expat only where Host.Expat is false or it was asked for
	Features   []string    // from Host.Select
	Host       *Host
	Jobs       int    // processes at a time, at least 1
	Work       string // directory for sources and objects; it is made
	Stage      string // where the finished tree goes; must not exist
	Logs       string // directory for one log a step; it is made
	Runner     *run.Runner
	Events     event.Sink
}

// Result is a finished tree.
type Result struct {
	Tree    string   // = Request.Stage
	Modules []string // names without ".so", sorted
	Timings []steps.Timing
}

// component returns the archive of that name, or nil.
func (q *Request) component(name string) *Component {
	for i := range q.Components {
		if q.Components[i].Name == name {
			return &q.Components[i]
		}
	}
	return nil
}

// Key is the identity of what Build would make: the same key, the same tree.
func (q *Request) Key() string {
	var b strings.Builder
	fmt.Fprintf(&b, "httpdbuild %s\n", buildVersion)
	parts := slices.Clone(q.Components)
	slices.SortFunc(parts, func(a, b Component) int { return strings.Compare(a.Name, b.Name) })
	for _, c := range parts {
		fmt.Fprintf(&b, "%s %s %s\n", c.Name, c.Version, c.SHA256)
	}
	chosen := slices.Clone(q.Features)
	slices.Sort(chosen)
	for _, f := range append(chosen, "expat") {
		fmt.Fprintf(&b, "feature %s %s\n", f, strings.Join(q.Host.Linked[f], " "))
	}
	fmt.Fprintf(&b, "cc %q\ncflags %s\n%s\ncompiler %s\ntarget %s\nlibc %s\nepoch %s\n", q.Host.CC, strings.Join(cflags(""), " "), ldflags(),
		q.Host.Compiler, q.Host.Target, q.Host.Libc, run.Getenv(q.Host.Env, "SOURCE_DATE_EPOCH"))
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:])
}

// Build makes the tree, readable for everybody whatever the umask is. On an
// error nothing is left at Stage; Work and Logs are the caller's to remove. A
// failed step is a *steps.Error in the error's tree; the error's class is Build
// where the step has none of its own.
func Build(ctx context.Context, q Request) (*Result, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	for _, dir := range []string{filepath.Join(q.Work, "tmp"), filepath.Dir(q.Stage)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("make build directory: %w", err)
		}
	}
	// The tools find out for themselves where they are, and a path that they get
	// from there must be the one that we look for in the result.
	work, err := filepath.EvalSymlinks(q.Work)
	if err != nil {
		return nil, fmt.Errorf("look at the build directory: %w", err)
	}
	q.Work = work
	if err := q.checkWork(); err != nil {
		return nil, err
	}
	b := &builder{Request: q, stage: q.Stage + ".part"}
	if err := os.RemoveAll(b.stage); err != nil {
		return nil, err
	}
	timings, err := steps.Run(ctx, q.Logs, q.Events, b.steps())
	if err == nil {
		err = os.Rename(b.stage, q.Stage)
	}
	if err != nil {
		_ = os.RemoveAll(b.stage)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fault.Wrap(classOf(err), b.hint(err), fmt.Errorf("build httpd %s: %w", q.component("httpd").Version, err))
	}
	modules, err := moduleNames(q.Stage)
	return &Result{Tree: q.Stage, Modules: modules, Timings: timings}, err
}

func (q *Request) check() error {
	for _, name := range []string{"httpd", "apr", "apr-util", "pcre2"} {
		if q.component(name) == nil {
			return fmt.Errorf("build httpd: there is no source of %s", name)
		}
	}
	if q.component("expat") == nil && !q.Host.Expat {
		return fmt.Errorf("build httpd: there is no source of expat and the host has none")
	}
	if q.Jobs < 1 {
		return fmt.Errorf("build httpd: %d jobs", q.Jobs)
	}
	if !filepath.IsAbs(q.Work) || !filepath.IsAbs(q.Stage) {
		return fmt.Errorf("build httpd: %q or %q is not an absolute path", q.Work, q.Stage)
	}
	if _, err := os.Lstat(q.Stage); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("build httpd: %s is there already (%v)", q.Stage, err)
	}
	return q.checkWork()
}

// checkWork refuses a build directory whose path shells, make, sed scripts,
// libtool and linker flags would take for something else; none of them can be
// made to quote it everywhere.
func (q *Request) checkWork() error {
	special := strings.IndexFunc(q.Work, func(r rune) bool {
		return r < 0x80 && !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9') && !strings.ContainsRune("/._-+", r)
	})
	if special < 0 {
		return nil
	}
	return fault.New(fault.Environment, "set XDG_CACHE_HOME or --cache-dir to a directory whose path has letters, digits and ._-+ only",
		"the build directory %q has the character %q in its path, which make cannot handle", q.Work, q.Work[special])
}

// classOf is Build, or what the failed step found out about an archive or the host.
func classOf(err error) fault.Class {
	if c := fault.ClassOf(err); c != fault.Internal {
		return c
	}
	return fault.Build
}

// builder runs one build.
type builder struct {
	Request
	stage string // the tree under way
}

// dir is where a component's sources lie.
func (b *builder) dir(name string) string { return filepath.Join(b.Work, name) }

// deps is where headers and libraries lie that httpd is built against and that
// do not go into the tree as they are.
func (b *builder) deps() string { return filepath.Join(b.Work, "deps") }

// cflags are the flags for all compilers. Paths of the build do not get into
// the result (https://reproducible-builds.org/docs/build-path/).
func cflags(work string) []string {
	return []string{"-O2", "-g0", "-fstack-protector-strong", "-ffile-prefix-map=" + work + "=."}
}

// steps is the whole build. What needs the network or Python is not here.
func (b *builder) steps() []steps.Step {
	all := []steps.Step{
		{Name: "configure pcre2", Needs: []string{"unpack pcre2"}, Run: b.configurePCRE2},
		{Name: "compile pcre2", Needs: []string{"configure pcre2"}, Run: b.compilePCRE2},
		{Name: "configure apr", Needs: []string{"unpack apr"}, Run: b.configureAPR},
		{Name: "compile apr", Needs: []string{"configure apr"}, Run: b.makeIn("apr")},
		{Name: "configure apr-util", Needs: []string{"unpack apr-util", "configure apr"}, Run: b.configureAPRUtil},
		{Name: "compile apr-util", Needs: []string{"configure apr-util", "compile apr"}, Run: b.makeIn("apr-util")},
		{Name: "configure httpd", Needs: []string{"unpack httpd", "compile apr", "configure apr-util", "compile pcre2"}, Run: b.configureHTTPD},
		{Name: "compile httpd", Needs: []string{"configure httpd", "compile apr-util"}, Run: b.makeIn("httpd")},
		{Name: "stage httpd", Needs: []string{"compile httpd"}, Run: b.stageTree},
		{Name: "check httpd", Needs: []string{"stage httpd"}, Run: b.checkTree},
	}
	for _, c := range b.Components {
		all = append(all, steps.Step{Name: "unpack " + c.Name, Run: b.unpack(c)})
	}
	if b.component("expat") != nil {
		all = append(all, steps.Step{Name: "compile expat", Needs: []string{"unpack expat"}, Run: b.compileExpat})
		for i := range all {
			if all[i].Name == "configure apr-util" {
				all[i].Needs = append(all[i].Needs, "compile expat")
			}
		}
	}
	return all
}

func (b *builder) unpack(c Component) func(context.Context, *steps.Log) error {
	return func(ctx context.Context, log *steps.Log) error {
		o := archive.Options{Strip: 1, Limits: archive.DefaultLimits()}
		if c.Name == "httpd" {
			// Half of the archive is the manual in nine languages.
			o.Keep = func(name string) bool {
				return !strings.HasPrefix(name, "docs/manual/") || name == "docs/manual/LICENSE"
			}
		}
		s, err := archive.Extract(ctx, c.Archive, b.dir(c.Name), o)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(log, "%s -> %s: %+v\n", c.Archive, b.dir(c.Name), s)
		return err
	}
}

// env is the environment of the tools. Their temporary files are in our own
// directory: config.guess fails where TMPDIR is not a directory, and what a
// killed compiler leaves goes away with the rest.
func (b *builder) env() []string {
	return append(slices.Clone(b.Host.Env), "TMPDIR="+filepath.Join(b.Work, "tmp"))
}

// tool runs a build tool with its output in the step's log.
func (b *builder) tool(ctx context.Context, log *steps.Log, dir string, argv ...string) error {
	words := make([]string, len(argv))
	for i, a := range argv {
		words[i] = run.Quote(a)
	}
	if _, err := fmt.Fprintf(log, "+ cd %s && %s\n", run.Quote(dir), strings.Join(words, " ")); err != nil {
		return err
	}
	out := &progress{log: log, events: b.Events, step: log.Step}
	return b.Runner.Run(ctx, run.Cmd{Argv: argv, Dir: dir, Env: b.env(), Log: out, LogPath: log.Path})
}

// makeIn runs make in a component's directory.
func (b *builder) makeIn(name string, targets ...string) func(context.Context, *steps.Log) error {
	return func(ctx context.Context, log *steps.Log) error {
		argv := append([]string{"make", "-j" + strconv.Itoa(b.Jobs)}, targets...)
		return b.tool(ctx, log, b.dir(name), argv...)
	}
}
