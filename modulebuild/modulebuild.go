// Package modulebuild turns upstream's mod_wsgi source archive into the httpd module
// for exactly one Python and one httpd. It knows how the C files are compiled and
// linked. It does not find Pythons or httpds, whose facts it is given, and does not
// install anything.
package modulebuild

import (
	"context"
	"crypto/sha256"
	"debug/elf"
	_ "embed" // of the source of mod_handover
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"

	"modwsgi/internal/archive"
	"modwsgi/internal/digest"
	"modwsgi/internal/event"
	"modwsgi/internal/farm"
	"modwsgi/internal/fault"
	"modwsgi/internal/objgraph"
	"modwsgi/internal/observer"
	"modwsgi/internal/owned"
	"modwsgi/internal/receipt"
	"modwsgi/internal/run"
	"modwsgi/internal/steps"
	"modwsgi/internal/timeline"
	"modwsgi/internal/toolchain"
)

// buildVersion changes when the same inputs produce another module.
const buildVersion = "4"

// handover is the source of mod_handover, which is ours. It is built beside the module,
// with the same compiler and for the same httpd.
//
//go:embed handover/mod_handover.c
var handover []byte

// handoverSource is where it is compiled, relative to Work.
const handoverSource = "handover/mod_handover.c"

// Python has the facts about the interpreter that a build needs. The caller has
// validated them.
type Python struct {
	Version     string   // "3.11.7"
	SOABI       string   // "cpython-311-x86_64-linux-gnu"
	ExtSuffix   string   // ".cpython-311-x86_64-linux-gnu.so"
	IncludeDirs []string // of Python.h and pyconfig.h
	LibPython   string   // library to link
	LibShared   bool     // LibPython is a shared library
	LinkLibs    []string // requirements of a static LibPython, as -l flags
	Digest      string   // hash of what a Python of another system is made of
}

// HTTPD has the facts about the server that a build needs.
type HTTPD struct {
	Version     string
	MMN         int
	IncludeDirs []string // httpd's, APR's and APR-util's headers
	CPPFlags    []string // flags that every module is compiled with
	CFlags      []string
}

// Request is what to build.
type Request struct {
	Version string // of mod_wsgi
	Archive string // verified source archive
	SHA256  string // digest of the archive, compared with what is unpacked
	Python  Python
	HTTPD   HTTPD
	RunPath string // run path to LibPython; "" if the loader finds it by itself
	Tools   *toolchain.Toolchain
	Flags   toolchain.Flags // hardening, and the caller's own flags
	Farm    *farm.Session   // compiles objects elsewhere; nil compiles them here
	Jobs    int             // number of concurrent compilers, at least 1
	// Slots are shared with other builds; nil has Jobs of them.
	Slots *objgraph.Pool
	// Objects were compiled from an equal request; nil compiles them.
	Objects *Objects
	Work    string // directory for sources and objects; must not exist
	Out     string // directory for the module; created if missing
	Logs    string // directory for one log per step; created if missing
	Runner  *run.Runner
	Events  event.Sink
	// Timeline gets a span for each step and each tool; it may be nil.
	Timeline *timeline.Recorder
}

// Result is a built module.
type Result struct {
	File   string // path
	Name   string // "mod_wsgi-py311.cpython-311-x86_64-linux-gnu.so"
	SHA256 string
	// Handover is the path of mod_handover, which belongs beside the module.
	Handover string
	Timings  []steps.Timing
	// Unpacked is the SHA-256 of exactly the bytes that the sources were unpacked
	// from.
	Unpacked string
}

// FileName is the name of the module for a Python: "mod_wsgi-pyXY" and the
// interpreter's own extension suffix, which is where upstream's launcher and other
// software look for it.
func FileName(version, extSuffix string) string {
	return "mod_wsgi-py" + strings.ReplaceAll(majorMinor(version), ".", "") + extSuffix
}

// majorMinor cuts a version after its second number.
func majorMinor(version string) string {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	return strings.TrimSuffix(major+"."+minor, ".")
}

// Inputs is a text that names everything that the module depends on. It has a
// line "mod_wsgi VERSION SHA256".
func (q *Request) Inputs() string {
	var b strings.Builder
	fmt.Fprintf(&b, "modulebuild %s\nmod_wsgi %s %s\npython %s %s %s %v %s\nhttpd %s %d\nrunpath %s\n", buildVersion, q.Version, q.SHA256,
		q.Python.Version, q.Python.SOABI, q.Python.LibPython, q.Python.LibShared, q.Python.LinkLibs, q.HTTPD.Version, q.HTTPD.MMN, q.RunPath)
	fmt.Fprintf(&b, "handover %x\n", sha256.Sum256(handover))
	fmt.Fprintf(&b, "include %q %q\n", q.Python.IncludeDirs, q.HTTPD.IncludeDirs)
	fmt.Fprintf(&b, "%s\nflags %q %q\ncc %q\ncompiler %s\ntarget %s\nlibc %s\n", q.Flags, q.HTTPD.CPPFlags, q.HTTPD.CFlags, q.Tools.CC, q.Tools.Compiler, q.Tools.Target, q.Tools.Libc)
	for _, p := range q.Tools.Programs {
		fmt.Fprintf(&b, "program %s\n", p)
	}
	if q.Tools.Sysroot != "" {
		fmt.Fprintf(&b, "sysroot %s %s\n", q.Tools.Sysroot, q.Python.Digest)
	}
	return q.Tools.Portable(b.String())
}

// Objects are a compiled module that is not linked yet, or the error of its compilation.
// They are in the Work directory of their request.
type Objects struct {
	sources  []string
	unpacked string
	timings  []steps.Timing
	err      error
}

// Compile does the first part of Build, which needs nothing of the httpd but its headers.
// Build reports its error.
func Compile(ctx context.Context, q Request) *Objects {
	if err := q.check(); err != nil {
		return &Objects{err: err}
	}
	if err := os.MkdirAll(filepath.Dir(q.Work), 0o755); err != nil {
		return &Objects{err: fmt.Errorf("create build directory: %w", err)}
	}
	b := &builder{Request: q}
	if b.Slots == nil {
		b.Slots = objgraph.NewPool(q.Jobs)
	}
	timings, err := steps.Run(ctx, q.Logs, b.watch(), []steps.Step{
		{Name: "unpack mod_wsgi", Run: b.unpack},
		{Name: "compile mod_wsgi", Needs: []string{"unpack mod_wsgi"}, Run: b.compile},
	})
	return &Objects{sources: b.sources, unpacked: b.unpacked, timings: timings, err: err}
}

// Build makes the module. On an error, nothing is left in Out.
func Build(ctx context.Context, q Request) (*Result, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(q.Out, 0o755); err != nil {
		return nil, fmt.Errorf("create build directory: %w", err)
	}
	o := q.Objects
	if o == nil {
		o = Compile(ctx, q)
	}
	b := &builder{Request: q, name: FileName(q.Python.Version, q.Python.ExtSuffix), sources: o.sources, unpacked: o.unpacked}
	timings, err := o.timings, o.err
	if err == nil {
		var more []steps.Timing
		more, err = steps.Run(ctx, q.Logs, b.watch(), []steps.Step{
			{Name: "link mod_wsgi", Run: b.link},
			{Name: "check mod_wsgi", Needs: []string{"link mod_wsgi"}, Run: b.check},
		})
		timings = append(slices.Clone(timings), more...)
	}
	out := filepath.Join(q.Out, b.name)
	if err != nil {
		_ = os.Remove(out)
		_ = os.Remove(filepath.Join(q.Out, receipt.Handover))
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		class := fault.Build
		if c := fault.ClassOf(err); c != fault.Internal {
			class = c // the step's error about the archive or the host
		}
		return nil, fault.Wrap(class, b.hint(err), fmt.Errorf("build mod_wsgi %s for Python %s and httpd %s: %w",
			q.Version, q.Python.Version, q.HTTPD.Version, err))
	}
	return &Result{File: out, Name: b.name, SHA256: b.sum, Handover: filepath.Join(q.Out, receipt.Handover), Timings: timings, Unpacked: b.unpacked}, nil
}

func (q *Request) check() error {
	if q.Jobs < 1 {
		return fmt.Errorf("build mod_wsgi: %d jobs", q.Jobs)
	}
	if !digest.Valid(q.SHA256) {
		return fmt.Errorf("build mod_wsgi: its archive %s has no SHA-256 to compare with", q.Archive)
	}
	if len(q.Python.IncludeDirs) == 0 || q.Python.LibPython == "" || q.Python.ExtSuffix == "" {
		return errors.New("build mod_wsgi: the facts of the Python are incomplete")
	}
	if !pythonVersion.MatchString(q.Python.Version) || strings.ContainsAny(q.Python.ExtSuffix, `/\`) {
		return fmt.Errorf("build mod_wsgi: Python %q with extension suffix %q", q.Python.Version, q.Python.ExtSuffix)
	}
	if !filepath.IsAbs(q.Out) || !filepath.IsAbs(q.Work) || !filepath.IsAbs(q.Python.LibPython) {
		return fmt.Errorf("build mod_wsgi: %q, %q or %q is not an absolute path", q.Out, q.Work, q.Python.LibPython)
	}
	if len(q.HTTPD.IncludeDirs) == 0 {
		return errors.New("build mod_wsgi: the facts of the httpd are incomplete")
	}
	return nil
}

var pythonVersion = regexp.MustCompile(`^\d+\.\d+`)

type builder struct {
	Request
	name    string
	sources []string // relative to Work
	sum     string

	unpacked string // SHA-256 of the archive, as it was unpacked
}

func (b *builder) unpack(ctx context.Context, _ *steps.Log) error {
	stats, err := archive.Extract(ctx, b.Archive, b.Work, archive.Options{
		Strip: 1, Limits: archive.DefaultLimits(), SHA256: b.SHA256,
		Keep: func(name string) bool {
			return strings.HasPrefix(name, "src/") || name == "LICENSE"
		},
	})
	if err != nil {
		return err
	}
	b.unpacked = stats.SHA256
	if err := os.Mkdir(filepath.Join(b.Work, "tmp"), 0o700); err != nil {
		return err
	}
	// Glob would also interpret brackets in the working directory's path.
	b.sources, err = fs.Glob(os.DirFS(b.Work), "src/server/*.c")
	if err == nil && len(b.sources) == 0 {
		err = fault.New(fault.Source, wrongArchive, "the archive has no C files in src/server")
	}
	if err != nil {
		return err
	}
	name := filepath.Join(b.Work, handoverSource)
	if err := errors.Join(os.Mkdir(filepath.Dir(name), 0o755), os.WriteFile(name, handover, 0o644)); err != nil {
		return err
	}
	return b.checkVersion()
}

const wrongArchive = "get upstream's source archive of that version, from the package index or from its releases"

var versionString = regexp.MustCompile(`(?m)^#define\s+MOD_WSGI_VERSION_STRING\s+"([^"]+)"`)

// checkVersion compares the version in the sources with the requested one. Otherwise
// an archive of another version under the right name would be recorded wrongly.
func (b *builder) checkVersion() error {
	data, err := os.ReadFile(filepath.Join(b.Work, "src/server/wsgi_version.h"))
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Source, wrongArchive, "the archive has no src/server/wsgi_version.h")
	}
	if err != nil {
		return err
	}
	m := versionString.FindSubmatch(data)
	if m == nil {
		return fault.New(fault.Source, wrongArchive, "the archive does not contain its version of mod_wsgi")
	}
	if string(m[1]) != b.Version {
		return fault.New(fault.Source, wrongArchive, "the archive contains mod_wsgi %s, not %s", m[1], b.Version)
	}
	return nil
}

// compile runs one compiler per file, each in a slot. File names are
// relative, so that __FILE__ in the module does not depend on the directory.
func (b *builder) compile(ctx context.Context, log *steps.Log) error {
	base := slices.Concat(b.Tools.CC, []string{"-O2", "-g0", "-fPIC", "-fwrapv", "-DNDEBUG"},
		b.HTTPD.CPPFlags, b.HTTPD.CFlags, b.Flags.Compile, b.Flags.Given.Compile, []string{"-fdebug-prefix-map=" + b.Work + "=."})
	for _, dir := range slices.Concat(b.HTTPD.IncludeDirs, b.Python.IncludeDirs) {
		base = append(base, "-I"+dir)
	}
	var compiled atomic.Int64
	var tasks []objgraph.Task
	all := append(slices.Clone(b.sources), handoverSource)
	for _, source := range all {
		info, err := os.Stat(filepath.Join(b.Work, source))
		if err != nil {
			return err
		}
		// The largest file takes as long as all others together, so it comes first.
		tasks = append(tasks, objgraph.Task{Name: source, Weight: info.Size(), Run: func(ctx context.Context) error {
			argv := append(slices.Clone(base), "-c", "-o", object(source), source)
			if err := b.compileFile(ctx, log, source, argv); err != nil {
				return err
			}
			b.Events.Send(event.Event{
				Kind: event.Progress, Step: "compile mod_wsgi",
				Text: fmt.Sprintf("%s (%d of %d)", filepath.Base(source), compiled.Add(1), len(all)),
			})
			return nil
		}})
	}
	return objgraph.Run(ctx, b.Slots, tasks)
}

// compileFile runs a compiler, here or on a compile farm.
func (b *builder) compileFile(ctx context.Context, log *steps.Log, source string, argv []string) error {
	c, err := b.command(log, argv)
	if err != nil {
		return err
	}
	return b.Farm.Compile(ctx, c, filepath.Join(b.Work, object(source)), func(c run.Cmd) error {
		return b.watch().Tool(ctx, b.Runner, timeline.Compile, log.Step, "mod_wsgi/"+source, nil, c)
	})
}

func object(source string) string { return strings.TrimSuffix(source, ".c") + ".o" }

func (b *builder) link(ctx context.Context, log *steps.Log) error {
	argv := b.linker(b.name)
	for _, source := range b.sources {
		argv = append(argv, object(source))
	}
	argv = append(argv, b.Python.link(b.RunPath)...)
	if err := b.tool(ctx, log, timeline.Link, b.name, argv); err != nil {
		return err
	}
	return b.tool(ctx, log, timeline.Link, receipt.Handover, append(b.linker(receipt.Handover), object(handoverSource)))
}

// linker returns the beginning of the command that links a file in Out.
func (b *builder) linker(name string) []string {
	return slices.Concat(b.Tools.CC, []string{"-shared", "-Wl,--build-id=none"}, b.Flags.Compile, b.Flags.Link, b.Flags.Given.Compile, b.Flags.Given.Link,
		[]string{"-o", filepath.Join(b.Out, name)})
}

// link returns the linker's arguments for the library of the interpreter.
func (p Python) link(runPath string) []string {
	if p.LibShared {
		argv := []string{p.LibPython}
		if runPath != "" {
			argv = append(argv, "-Xlinker", "-rpath", "-Xlinker", runPath) // may have a comma
		}
		return argv
	}
	// Extension modules find the interpreter's functions in this module, so all of it
	// is linked in and stays visible.
	return slices.Concat([]string{"-Wl,--whole-archive", p.LibPython, "-Wl,--no-whole-archive", "-Wl,--export-dynamic"}, p.LinkLibs)
}

// check checks that httpd will load the files.
func (b *builder) check(_ context.Context, log *steps.Log) error {
	var names []string
	for file, symbol := range map[string]string{b.name: "wsgi_module", receipt.Handover: "handover_module"} {
		names = append(names, filepath.Join(b.Out, file))
		if err := b.checkFile(log, file, symbol); err != nil {
			return err
		}
	}
	sum, err := digest.File(filepath.Join(b.Out, b.name))
	if err != nil {
		return err
	}
	b.sum = sum
	slices.Sort(names)
	return b.Flags.Check(log, b.Out, names)
}

// checkFile checks that a file is a module with that name.
func (b *builder) checkFile(log *steps.Log, file, symbol string) error {
	name := filepath.Join(b.Out, file)
	if err := owned.Chmod(name, 0o755); err != nil { // whatever the umask: httpd may serve as another user
		return err
	}
	f, err := elf.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(symbols, func(s elf.Symbol) bool { return s.Name == symbol && s.Section != elf.SHN_UNDEF }) {
		return fmt.Errorf("%s does not export %s", file, symbol)
	}
	needed, err := f.ImportedLibraries()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(log, "%s needs %v\n", file, needed)
	return err
}

// tool runs a compiler with its output in the step's log, and enters it into the
// timeline as name.
func (b *builder) tool(ctx context.Context, log *steps.Log, kind timeline.Kind, name string, argv []string) error {
	c, err := b.command(log, argv)
	if err != nil {
		return err
	}
	return b.watch().Tool(ctx, b.Runner, kind, log.Step, name, nil, c)
}

// command is a compiler's command, which it writes to the log.
func (b *builder) command(log *steps.Log, argv []string) (run.Cmd, error) {
	words := make([]string, len(argv))
	for i, a := range argv {
		words[i] = run.Quote(a)
	}
	if _, err := fmt.Fprintf(log, "+ cd %s && %s\n", run.Quote(b.Work), strings.Join(words, " ")); err != nil {
		return run.Cmd{}, err
	}
	// Leftovers of a killed compiler are removed with the rest.
	env := append(slices.Clone(b.Tools.Env), "TMPDIR="+filepath.Join(b.Work, "tmp"), "CCACHE_BASEDIR="+filepath.Dir(b.Work), "CCACHE_NOHASHDIR=1")
	return run.Cmd{Argv: argv, Dir: b.Work, Env: env, Log: log, LogPath: log.Path}, nil
}

func (b *builder) watch() observer.Observer {
	return observer.Observer{Events: b.Events, Timeline: b.Timeline}
}
