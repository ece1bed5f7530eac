// Package httpdbuild turns verified source archives of httpd, APR, APR-util, PCRE2
// and, if the host has none, Expat into a relocatable httpd tree, in named steps. It
// knows how these are configured, compiled and staged. It does not know where archives
// come from, and nothing about Python or a prefix.
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
	"sync"

	"modwsgi/internal/archive"
	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/objgraph"
	"modwsgi/internal/owned"
	"modwsgi/internal/run"
	"modwsgi/internal/steps"
	"modwsgi/internal/timeline"
)

// Placeholder is the prefix that everything is configured for. It never exists: run
// paths that name it become relative, and a file that still needs it fails on every
// machine, including the build machine.
const Placeholder = "/opt/modwsgi/httpd"

// buildVersion changes when the same sources and flags produce another tree.
const buildVersion = "5"

// Component is a verified source archive.
type Component struct {
	Name    string // "httpd", "apr", "apr-util", "pcre2", "expat"
	Version string
	Archive string // path
	SHA256  string // digest of the archive, compared with what is unpacked
}

// Request is what to build.
type Request struct {
	Components []Component // expat only if Host.Expat is false or it was requested
	Features   []string    // from Host.Select
	Host       *Host
	Jobs       int    // number of concurrent processes, at least 1
	Driver     Driver // how to compile and link; "" is Native
	Work       string // directory for sources and objects; created if missing
	Stage      string // path of the finished tree; must not exist
	Logs       string // directory for one log per step; created if missing
	Runner     *run.Runner
	Events     event.Sink
	Timeline   *timeline.Recorder // gets a span for each step and each tool; may be nil
}

// Driver turns configured sources into objects, libraries and programs.
type Driver string

// The drivers. Their trees have the same files, symbols and settings.
const (
	// Native reads the makefiles and runs the compiler itself, once per object, for
	// all parts from one schedule. If it does not understand a makefile or a libtool,
	// the build is repeated with Make, and a note reports it.
	Native Driver = "native"
	// Make runs make, which runs libtool: httpd's own build.
	Make Driver = "make"
)

// ParseDriver parses the name of a driver; "" and "auto" are Native. Its errors are of
// class Usage.
func ParseDriver(name string) (Driver, error) {
	switch name {
	case "", "auto", string(Native):
		return Native, nil
	case string(Make):
		return Make, nil
	}
	return "", fault.New(fault.Usage, "use native or make", "unknown build driver %q", name)
}

// Result is a finished tree.
type Result struct {
	Tree    string   // = Request.Stage
	Driver  Driver   // the driver that built it
	Modules []string // names without ".so", sorted
	// Unpacked is the SHA-256 of exactly the bytes that each component was unpacked
	// from, by name.
	Unpacked map[string]string
	Timings  []steps.Timing
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

// Key identifies the result of Build: the same key means the same tree. It is the
// SHA-256 of Inputs.
func (q *Request) Key() string {
	sum := sha256.Sum256([]byte(q.Inputs()))
	return hex.EncodeToString(sum[:])
}

// Inputs is a text that names everything that the tree depends on. It has a line "NAME
// VERSION SHA256" for each component.
func (q *Request) Inputs() string {
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
	for _, p := range q.Host.Programs {
		fmt.Fprintf(&b, "program %s\n", p)
	}
	return b.String()
}

// Build makes the tree, readable for everyone whatever the umask. On an error, Stage
// does not exist; the caller removes Work and Logs. A failed step is a *steps.Error in
// the error's tree. The error is of class Build if the step's error has no class.
func Build(ctx context.Context, q Request) (*Result, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	for _, dir := range []string{filepath.Join(q.Work, "tmp"), filepath.Dir(q.Stage)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("create build directory: %w", err)
		}
	}
	// The tools determine their own directory, and the paths that they derive from it
	// must be the ones that checkTree looks for in the result.
	work, err := filepath.EvalSymlinks(q.Work)
	if err != nil {
		return nil, fmt.Errorf("inspect the build directory: %w", err)
	}
	q.Work = work
	if err := q.checkWork(); err != nil {
		return nil, err
	}
	b := &builder{Request: q, stage: q.Stage + ".part", pool: objgraph.NewPool(q.Jobs)}
	if b.Driver == "" {
		b.Driver = Native
	}
	timings, err := b.build(ctx)
	if b.Driver == Native && notUnderstood(err) && ctx.Err() == nil {
		b.Events.Note("building with make and libtool, because the native build driver failed: " + err.Error())
		b.Driver = Make
		timings, err = b.again(ctx)
	}
	if err == nil {
		err = os.Rename(b.stage, q.Stage)
	}
	if err != nil {
		_ = owned.RemoveAll(b.stage)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fault.Wrap(classOf(err), b.hint(err), fmt.Errorf("build httpd %s: %w", q.component("httpd").Version, err))
	}
	modules, err := moduleNames(q.Stage)
	r := &Result{Tree: q.Stage, Driver: b.Driver, Modules: modules, Timings: timings, Unpacked: map[string]string{}}
	b.unpacked.Range(func(name, sum any) bool {
		r.Unpacked[name.(string)] = sum.(string)
		return true
	})
	return r, err
}

// build runs all steps with the builder's driver.
func (b *builder) build(ctx context.Context) ([]steps.Timing, error) {
	if err := owned.RemoveAll(b.stage); err != nil {
		return nil, err
	}
	if err := b.checkCross(ctx); err != nil {
		return nil, err
	}
	if b.Driver == Make {
		if err := b.Host.needMake(); err != nil {
			return nil, err
		}
	}
	all := b.steps()
	b.needs = map[string][]string{}
	for _, s := range all {
		b.needs[s.Name] = s.Needs
	}
	return steps.Run(ctx, b.Logs, b.watch(), all)
}

// again repeats the build from the archives: leftovers of the other driver must not
// get into the result.
func (b *builder) again(ctx context.Context) ([]steps.Timing, error) {
	for _, c := range b.Components {
		if err := owned.RemoveAll(b.dir(c.Name)); err != nil {
			return nil, err
		}
	}
	if err := owned.RemoveAll(b.deps()); err != nil {
		return nil, err
	}
	return b.build(ctx)
}

func (q *Request) check() error {
	for _, name := range []string{"httpd", "apr", "apr-util", "pcre2"} {
		if q.component(name) == nil {
			return fmt.Errorf("build httpd: missing source of %s", name)
		}
	}
	for _, c := range q.Components {
		if c.SHA256 == "" {
			return fmt.Errorf("build httpd: the archive of %s has no SHA-256 to compare with", c.Name)
		}
	}
	if q.component("expat") == nil && !q.Host.Expat {
		return fmt.Errorf("build httpd: missing source of expat, and the host has none")
	}
	if q.Jobs < 1 {
		return fmt.Errorf("build httpd: %d jobs", q.Jobs)
	}
	if !filepath.IsAbs(q.Work) || !filepath.IsAbs(q.Stage) {
		return fmt.Errorf("build httpd: %q or %q is not an absolute path", q.Work, q.Stage)
	}
	if _, err := os.Lstat(q.Stage); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("build httpd: %s already exists (%v)", q.Stage, err)
	}
	return q.checkWork()
}

// checkWork refuses a build directory whose path shells, make, sed scripts, libtool
// and linker flags would misinterpret, as not all of them can quote it.
func (q *Request) checkWork() error {
	special := strings.IndexFunc(q.Work, func(r rune) bool {
		return r < 0x80 && !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9') && !strings.ContainsRune("/._-+", r)
	})
	if special < 0 {
		return nil
	}
	return fault.New(fault.Environment, "set XDG_CACHE_HOME or --cache-dir to a directory whose path contains only letters, digits and ._-+",
		"the build directory %q has the character %q in its path, which make cannot handle", q.Work, q.Work[special])
}

// classOf is Build, or the class of the failed step's error about an archive or the
// host.
func classOf(err error) fault.Class {
	if c := fault.ClassOf(err); c != fault.Internal {
		return c
	}
	return fault.Build
}

// builder runs one build.
type builder struct {
	Request
	stage string // the tree in progress
	pool  *objgraph.Pool
	needs map[string][]string // of the steps
	// What the native driver links once the libraries of other parts exist.
	aprUtil, httpd *plan
	answers        answers
	unpacked       sync.Map // component -> SHA-256 of what it was unpacked from
}

// dir is the directory of a component's sources.
func (b *builder) dir(name string) string { return filepath.Join(b.Work, name) }

// deps is the directory of headers and libraries that httpd is built against and that
// are not copied into the tree unchanged.
func (b *builder) deps() string { return filepath.Join(b.Work, "deps") }

// cflags are the flags for all compilers. They keep paths of the build out of the
// result (https://reproducible-builds.org/docs/build-path/).
func cflags(work string) []string {
	return []string{"-O2", "-g0", "-fstack-protector-strong", "-ffile-prefix-map=" + work + "=."}
}

// steps is the whole build. It needs neither the network nor Python.
func (b *builder) steps() []steps.Step {
	all := []steps.Step{
		{Name: "configure pcre2", Needs: []string{"unpack pcre2"}, Run: b.configurePCRE2},
		{Name: "configure apr", Needs: []string{"unpack apr"}, Run: b.configureAPR},
		{Name: "configure apr-util", Needs: []string{"unpack apr-util", "configure apr"}, Run: b.configureAPRUtil},
		{Name: "check httpd", Needs: []string{"stage httpd"}, Run: b.checkTree},
	}
	if b.Driver == Make {
		all = append(all, b.makeSteps()...)
	} else {
		all = append(all, b.nativeSteps()...)
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

// makeSteps compile with make: each part after the parts that it links.
func (b *builder) makeSteps() []steps.Step {
	return []steps.Step{
		{Name: "compile pcre2", Needs: []string{"configure pcre2"}, Run: b.compilePCRE2},
		{Name: "compile apr", Needs: []string{"configure apr"}, Run: b.makeIn("apr")},
		{Name: "compile apr-util", Needs: []string{"configure apr-util", "compile apr"}, Run: b.makeIn("apr-util")},
		{Name: "configure httpd", Needs: []string{"unpack httpd", "compile apr", "configure apr-util", "compile pcre2"}, Run: b.configureHTTPD},
		{Name: "compile httpd", Needs: []string{"configure httpd", "compile apr-util"}, Run: b.makeIn("httpd")},
		{Name: "stage httpd", Needs: []string{"compile httpd"}, Run: b.stageTree},
	}
}

// nativeSteps compile each part as soon as the headers that it includes exist; only
// links wait for libraries.
func (b *builder) nativeSteps() []steps.Step {
	return []steps.Step{
		{Name: "compile pcre2", Needs: []string{"configure pcre2"}, Run: b.nativePCRE2},
		{Name: "compile apr", Needs: []string{"configure apr"}, Run: b.nativeLibrary("apr", "libapr-1.la", aprGenerated)},
		{Name: "compile apr-util", Needs: []string{"configure apr-util"}, Run: b.nativeLibrary("apr-util", "libaprutil-1.la", aprUtilLibraries)},
		{Name: "configure httpd", Needs: []string{"unpack httpd", "configure apr-util", "configure pcre2"}, Run: b.configureHTTPD},
		{Name: "compile httpd", Needs: []string{"configure httpd"}, Run: b.nativeHTTPD},
		{Name: "link apr-util", Needs: []string{"compile apr-util", "compile apr"}, Run: func(ctx context.Context, log *steps.Log) error {
			return b.aprUtil.runRest(ctx, log)
		}},
		{Name: "link httpd", Needs: []string{"compile httpd", "link apr-util", "compile pcre2"}, Run: func(ctx context.Context, log *steps.Log) error {
			return b.httpd.runRest(ctx, log)
		}},
		{Name: "stage httpd", Needs: []string{"link httpd"}, Run: b.stageTree},
	}
}

// unneeded are directories of archives that nothing is built from: half of httpd's
// archive is the manual in nine languages.
var unneeded = map[string][]string{"httpd": {"docs/manual/", "docs/icons/", "docs/docroot/"}, "pcre2": {"testdata/", "doc/"}}

// first gives priority to unpacking and configuring the part on the critical path.
var first = map[string]int64{"apr": 5, "pcre2": 4, "expat": 3, "apr-util": 2, "httpd": 1}

func (b *builder) unpack(c Component) func(context.Context, *steps.Log) error {
	return func(ctx context.Context, log *steps.Log) error {
		o := archive.Options{Strip: 1, Limits: archive.DefaultLimits(), SHA256: c.SHA256}
		o.Keep = func(name string) bool {
			return !slices.ContainsFunc(unneeded[c.Name], func(dir string) bool { return strings.HasPrefix(name, dir) }) || name == "docs/manual/LICENSE"
		}
		release, err := b.pool.Acquire(ctx, objgraph.Heavy+first[c.Name])
		if err != nil {
			return err
		}
		defer release()
		end := b.Timeline.Begin(timeline.Unpack, log.Step, log.Step)
		s, err := archive.Extract(ctx, c.Archive, b.dir(c.Name), o)
		end(func(span *timeline.Span) { span.Failed = err != nil })
		if err != nil {
			return err
		}
		if err := checkRelease(c, b.dir(c.Name)); err != nil {
			return err
		}
		b.unpacked.Store(c.Name, s.SHA256)
		_, err = fmt.Fprintf(log, "%s -> %s: %+v\n", c.Archive, b.dir(c.Name), s)
		return err
	}
}

// makeIn runs make in a component's directory.
func (b *builder) makeIn(name string, targets ...string) func(context.Context, *steps.Log) error {
	return func(ctx context.Context, log *steps.Log) error {
		argv := append([]string{"make", "-j" + strconv.Itoa(b.Jobs)}, targets...)
		return b.toolAs(ctx, log, timeline.Compile, log.Step, nil, b.dir(name), argv...)
	}
}
