// Package windows turns upstream's unchanged mod_wsgi source archive into the httpd
// module for one Python and Apache 2.4 on Windows (x64): on other systems with
// mingw-w64 against the Universal C Runtime, on Windows with Microsoft's compiler. It
// knows where headers and import libraries come from, the user's SDK or the pinned
// upstream sources, and how to check the finished file. It does not fetch archives,
// does not package, and never starts what it builds.
package windows

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"modwsgi/internal/archive"
	"modwsgi/internal/atomicfile"
	"modwsgi/internal/digest"
	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/observer"
	"modwsgi/internal/owned"
	"modwsgi/internal/run"
	"modwsgi/internal/steps"
)

// buildVersion changes when the same inputs produce another module.
const buildVersion = "2"

// Target is the only platform that this package builds for, as in --target.
const Target = "windows/amd64"

// Source is a verified archive of upstream's.
type Source struct {
	Version string
	Path    string
	SHA256  string // lowercase hex
}

// Request is what to build. Without an SDK, the headers come from the archives.
type Request struct {
	Module    Source // of mod_wsgi
	Python    string // "3.11"
	HTTPDSDK  string // directory or zip with the layout of Apache Lounge's, or ""
	PythonSDK string // directory, NuGet package or zip, or ""
	HTTPD     Source // the following are needed only without HTTPDSDK
	APR       Source
	APRUtil   Source
	CPython   Source // needed only without PythonSDK

	Jobs   int    // number of concurrent compilers, at least 1
	Work   string // directory for sources and objects; must not exist
	Out    string // directory for the module; created if missing
	Logs   string // directory for one log per step; created if missing
	Env    []string
	Runner *run.Runner
	Events event.Sink
	Store  Store // of finished modules; may be nil
}

// Store keeps finished modules by key, the SHA-256 of inputs (in hexadecimal).
type Store interface {
	// Restore puts the tree of a key at dest, which does not exist, and reports whether
	// there is one.
	Restore(ctx context.Context, key, inputs, dest string) (bool, error)
	// Keep keeps a tree. Failures are only reported.
	Keep(ctx context.Context, key, inputs, tree string)
	// Alone waits for other builds of the key. made reports that another one may have
	// kept it; release is never nil.
	Alone(ctx context.Context, key string) (release func(), made bool, err error)
}

// Result is a built module.
type Result struct {
	File     string // path
	Name     string // "mod_wsgi.cp311-win_amd64.pyd"
	SHA256   string
	Size     int64 // bytes
	Version  string
	Python   string // version of the headers, "3.11.2"
	HTTPD    string // version of the headers, "2.4.68"
	MMN      int    // module magic number of those
	Compiler string // for messages
	Imports  []string
	Key      string // hash of all its inputs
	Restored bool   // from the store, without compiling
	Timings  []steps.Timing
}

var minorVersion = regexp.MustCompile(`^3\.([0-9]{1,2})$`)

// Tag is "cp311" for "3.11".
func Tag(python string) string { return "cp" + strings.ReplaceAll(python, ".", "") }

// FileName is the name of the module for a Python, in the form of an extension module,
// as in community wheels and configuration files.
func FileName(python string) string { return "mod_wsgi." + Tag(python) + "-win_amd64.pyd" }

func dllName(python string) string { return "python" + strings.ReplaceAll(python, ".", "") + ".dll" }

// Build makes the module. On an error, Out is unchanged, including a module of an
// earlier build.
func Build(ctx context.Context, q Request) (*Result, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	tools, err := findTools(ctx, &q)
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{q.Out, filepath.Join(q.Work, "tmp"), filepath.Join(q.Work, "made")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fault.Wrap(fault.Environment, "name writable directories with --out and --cache-dir", fmt.Errorf("create the build directory: %w", err))
		}
	}
	b := &builder{Request: q, tools: tools, name: FileName(q.Python)}
	timings, err := b.obtain(ctx)
	out := filepath.Join(q.Out, b.name)
	if err == nil {
		err = b.place(out)
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		class := fault.Build
		if c := fault.ClassOf(err); c != fault.Internal {
			class = c
		}
		return nil, fault.Wrap(class, b.hint(err), fmt.Errorf("build mod_wsgi %s for Python %s on Windows: %w", q.Module.Version, q.Python, err))
	}
	return b.result(out, timings)
}

// obtain makes the module, or restores it from the store.
func (b *builder) obtain(ctx context.Context) ([]steps.Timing, error) {
	name := "mod_wsgi for Python " + b.Python
	watch := observer.Observer{Events: b.Events}
	timings, err := steps.Run(ctx, b.Logs, watch, []steps.Step{
		{Name: "prepare httpd for " + name, Run: b.prepareHTTPD},
		{Name: "prepare " + name, Run: b.preparePython},
	})
	if err != nil {
		return timings, err
	}
	inputs, err := b.inputs(ctx)
	if err != nil {
		return timings, err
	}
	sum := sha256.Sum256([]byte(inputs))
	b.key = hex.EncodeToString(sum[:])
	if err := b.recall(ctx, inputs); err != nil || b.restored {
		return timings, err
	}
	if b.Store != nil {
		release, made, err := b.Store.Alone(ctx, b.key)
		if err != nil {
			return timings, err
		}
		defer release()
		if made {
			if err := b.recall(ctx, inputs); err != nil || b.restored {
				return timings, err
			}
		}
	}
	more, err := steps.Run(ctx, b.Logs, watch, []steps.Step{
		{Name: "unpack " + name, Run: b.unpack},
		{Name: "make import libraries for " + name, Run: b.importLibraries},
		{Name: "compile " + name, Needs: []string{"unpack " + name}, Run: b.compile},
		{Name: "link " + name, Needs: []string{"compile " + name, "make import libraries for " + name}, Run: b.link},
		{Name: "check " + name, Needs: []string{"link " + name}, Run: b.check},
	})
	if err == nil && b.Store != nil {
		b.Store.Keep(ctx, b.key, inputs, b.dir("made"))
	}
	return append(timings, more...), err
}

// recall restores the module from the store. One that fails its check is built again.
func (b *builder) recall(ctx context.Context, inputs string) error {
	if b.Store == nil {
		return nil
	}
	if err := owned.RemoveAll(b.dir("made")); err != nil {
		return err
	}
	found, err := b.Store.Restore(ctx, b.key, inputs, b.dir("made"))
	if err != nil {
		return err
	}
	if !found {
		return os.Mkdir(b.dir("made"), 0o755)
	}
	if b.imports, err = Check(b.made(), Expect{Python: b.Python, Runtime: b.tools.runtime()}); err != nil {
		b.Events.Note("the module in the build cache is not used: " + err.Error())
		return errors.Join(owned.RemoveAll(b.dir("made")), os.Mkdir(b.dir("made"), 0o755))
	}
	b.restored = true
	b.sum, err = digest.File(b.made())
	return err
}

// made is the module before it is checked. The file already has its final name, which
// is part of its bytes.
func (b *builder) made() string { return b.dir("made", b.name) }

// place copies the checked module to its destination, atomically.
func (b *builder) place(out string) error {
	from, err := os.Open(b.made())
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	if err := atomicfile.Copy(out, from, 0o755); err != nil {
		return fault.Wrap(fault.Environment, "check that the directory is writable and its file system has free space", fmt.Errorf("write the module: %w", err))
	}
	return nil
}

func (b *builder) result(out string, timings []steps.Timing) (*Result, error) {
	info, err := os.Stat(out)
	if err != nil {
		return nil, err
	}
	return &Result{
		File: out, Name: b.name, SHA256: b.sum, Size: info.Size(), Version: b.Module.Version,
		Python: b.python.version, HTTPD: b.httpd.version, MMN: b.httpd.mmn, Compiler: b.tools.describe(), Imports: b.imports,
		Key: b.key, Restored: b.restored, Timings: timings,
	}, nil
}

// inputs names everything that the module depends on: sources, headers and libraries by
// content, the compiler, and its command lines without paths of this run.
func (b *builder) inputs(ctx context.Context) (string, error) {
	compiler, err := b.tools.identity(ctx, b)
	if err != nil {
		return "", fmt.Errorf("identify the compiler: %w", err)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "modulebuild/windows %s\nmod_wsgi %s %s\npython %s %s %s\nheaders of httpd %s %d %s\ncompiler %s %s\n", buildVersion, b.Module.Version, b.Module.SHA256,
		b.Python, b.python.version, b.python.identity, b.httpd.version, b.httpd.mmn, b.httpd.identity, b.tools.describe(), compiler)
	var pairs []string
	for i, dir := range b.includes() {
		pairs = append(pairs, dir, fmt.Sprintf("/include/%d", i))
	}
	anywhere := strings.NewReplacer(append(pairs, b.Work, "/work")...)
	for _, argv := range [][]string{b.tools.compile(b, "x.c"), b.tools.link(b, b.name, nil, nil)} {
		argv[0] = filepath.Base(argv[0]) // its content counts
		fmt.Fprintf(&text, "run %q\n", anywhere.Replace(strings.Join(argv, " ")))
	}
	return text.String(), nil
}

func (q *Request) check() error {
	if q.Jobs < 1 {
		return fmt.Errorf("build mod_wsgi: %d jobs", q.Jobs)
	}
	m := minorVersion.FindStringSubmatch(q.Python)
	if m == nil {
		return fault.New(fault.Usage, "name a minor version, as in --python 3.11", "%q is not a version of Python", q.Python)
	}
	for _, path := range []string{q.Out, q.Work, q.Logs} {
		if !filepath.IsAbs(path) {
			return fmt.Errorf("build mod_wsgi: %q is not an absolute path", path)
		}
	}
	need := map[string]Source{"mod_wsgi": q.Module}
	if q.HTTPDSDK == "" {
		need["httpd"], need["apr"], need["apr-util"] = q.HTTPD, q.APR, q.APRUtil
	}
	if q.PythonSDK == "" {
		need["cpython"] = q.CPython
	}
	for name, s := range need {
		if s.Path == "" || s.Version == "" || !digest.Valid(s.SHA256) {
			return fmt.Errorf("build mod_wsgi: the archive of %s is missing", name)
		}
	}
	return nil
}

type builder struct {
	Request
	tools   tools
	name    string
	sources []string // relative to Work/mod_wsgi
	httpd   *sdk
	python  *sdk
	sum     string
	imports []string

	key      string
	restored bool
}

// dir is a directory of the build.
func (b *builder) dir(name ...string) string {
	return filepath.Join(append([]string{b.Work}, name...)...)
}

const wrongArchive = "get upstream's source archive of that version, from the package index or from its releases"

var versionString = regexp.MustCompile(`(?m)^#define\s+MOD_WSGI_VERSION_STRING\s+"([^"]+)"`)

// unpack extracts the C files of the module's archive, and compares their version with
// the requested one.
func (b *builder) unpack(ctx context.Context, _ *steps.Log) error {
	_, err := archive.Extract(ctx, b.Module.Path, b.dir("mod_wsgi"), archive.Options{
		Strip: 1, Limits: archive.DefaultLimits(), SHA256: b.Module.SHA256,
		Keep: func(name string) bool { return strings.HasPrefix(name, "src/server/") || name == "LICENSE" },
	})
	if err != nil {
		return err
	}
	b.sources, err = fs.Glob(os.DirFS(b.dir("mod_wsgi")), "src/server/*.c")
	if err == nil && len(b.sources) == 0 {
		err = errors.New("the archive has no C files in src/server")
	}
	if err != nil {
		return fault.Wrap(fault.Source, wrongArchive, err)
	}
	slices.Sort(b.sources)
	data, err := os.ReadFile(b.dir("mod_wsgi", "src/server/wsgi_version.h"))
	if err != nil {
		return fault.New(fault.Source, wrongArchive, "the archive has no src/server/wsgi_version.h")
	}
	m := versionString.FindSubmatch(data)
	if m == nil || string(m[1]) != b.Module.Version {
		return fault.New(fault.Source, wrongArchive, "the archive contains mod_wsgi %q, not %s", m, b.Module.Version)
	}
	return nil
}

// check checks that httpd on Windows will load the file.
func (b *builder) check(_ context.Context, log *steps.Log) error {
	name := b.made()
	facts, err := Check(name, Expect{Python: b.Python, Resolve: b.resolve, Paths: b.paths(), Runtime: b.tools.runtime()})
	if err != nil {
		return err
	}
	b.imports = facts
	if b.sum, err = digest.File(name); err != nil {
		return err
	}
	_, err = fmt.Fprintf(log, "%s needs %v\n", b.name, facts)
	return err
}

// paths are paths of the build machine, which must not be in the module.
func (b *builder) paths() []string {
	out := []string{b.Work, b.Out}
	for _, s := range []*sdk{b.httpd, b.python} {
		out = append(out, s.include...)
	}
	return out
}

// resolve reports whether a library of the SDKs has a name; known is false for a
// library in neither SDK.
func (b *builder) resolve(library, name string) (has, known bool) {
	for _, s := range []*sdk{b.httpd, b.python} {
		if l := s.library(library); l != nil {
			return l.has(name), true
		}
	}
	return false, false
}

func (b *builder) tool(ctx context.Context, log *steps.Log, dir string, argv []string) error {
	words := make([]string, len(argv))
	for i, a := range argv {
		words[i] = run.Quote(a)
	}
	if _, err := fmt.Fprintf(log, "+ %s\n", strings.Join(words, " ")); err != nil {
		return err
	}
	return b.Runner.Run(ctx, run.Cmd{Argv: argv, Dir: dir, Env: b.tools.environ(), Log: log, LogPath: log.Path})
}
