package windows

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"modwsgi/internal/digest"
	"modwsgi/internal/distro"
	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
	"modwsgi/internal/steps"
)

// tools is a compiler for Windows x64. Its command lines are relative to the directory
// of the module's sources, except for importLibrary.
type tools interface {
	describe() string // for messages, and part of a build's identity
	// identity is a hash of the tools and of their libraries.
	identity(ctx context.Context, b *builder) (string, error)
	environ() []string
	runtime() []string // the compiler's runtime libraries that a module may need
	object(source string) string
	compile(b *builder, source string) []string
	link(b *builder, out string, objects, libs []string) []string
	importLibrary(def, dll, out string) []string
	prepare(ctx context.Context, b *builder, log *steps.Log) error
}

// findTools finds mingw-w64, and on Windows Microsoft's compiler.
func findTools(ctx context.Context, q *Request) (tools, error) {
	if runtime.GOOS == "windows" {
		return findMSVC(ctx, q)
	}
	return findMinGW(ctx, q)
}

// Compiler names the compiler that Build would use. If it is not found, the error is
// of class Environment: callers check before they download.
func Compiler(ctx context.Context, env []string, r *run.Runner) (string, error) {
	t, err := findTools(ctx, &Request{Env: env, Runner: r})
	if err != nil {
		return "", err
	}
	return t.describe(), nil
}

// mingw is gcc with binutils for x86_64-w64-mingw32.
type mingw struct {
	gcc, dlltool string
	version      string
	env          []string
	specs        string // path, set by prepare
}

// triples are the names of the compiler in distributions. The second one uses UCRT by
// default (Fedora).
var triples = []string{"x86_64-w64-mingw32", "x86_64-w64-mingw32ucrt"}

func findMinGW(ctx context.Context, q *Request) (tools, error) {
	hint := distro.MinGW.Hint(distro.Family(), "", "")
	for _, triple := range triples {
		gcc, err := run.LookPath(triple+"-gcc", q.Env)
		if err != nil {
			continue
		}
		dlltool, err := run.LookPath(triple+"-dlltool", q.Env)
		if err != nil {
			return nil, fault.New(fault.Environment, hint, "%s-dlltool is missing next to %s", triple, gcc)
		}
		m := &mingw{gcc: gcc, dlltool: dlltool, env: toolEnv(q.Env, q.Work)}
		out, err := q.Runner.Output(ctx, run.Cmd{Argv: []string{gcc, "--version"}, Env: m.env})
		if err != nil {
			return nil, fault.Wrap(fault.Environment, hint, fmt.Errorf("get the version of %s: %w", gcc, err))
		}
		m.version, _, _ = strings.Cut(string(out), "\n")
		return m, nil
	}
	return nil, fault.New(fault.Environment, hint, "no compiler for Windows: %s-gcc is not in PATH", triples[0])
}

// toolEnv is the environment of the tools: the path to find one another, English
// output, and nothing that changes what they do.
func toolEnv(env []string, work string) []string {
	return []string{"PATH=" + run.Getenv(env, "PATH"), "LC_ALL=C", "TMPDIR=" + filepath.Join(work, "tmp"), "SOURCE_DATE_EPOCH=0"}
}

func (m *mingw) describe() string  { return strings.TrimSpace(m.version) + ", UCRT" }
func (m *mingw) environ() []string { return m.env }

// linkedParts are the files of gcc and mingw-w64 that are linked into a module, or that it
// is linked against.
var linkedParts = []string{
	"dllcrt2.o", "crtbegin.o", "crtend.o", "libgcc.a", "libgcc_eh.a", "libmingw32.a", "libmoldname.a", "libmingwex.a", "libucrt.a",
	"libkernel32.a", "libadvapi32.a", "libshell32.a", "libuser32.a", "libpsapi.a",
}

// systemHeaders are those of mingw-w64 that the headers of httpd and Python and the sources
// of mod_wsgi include. They include some 250 more.
var systemHeaders = []string{
	"winsock2.h", "windows.h", "ws2tcpip.h", "mstcpip.h", "psapi.h", "shellapi.h", "imm.h", "mmsystem.h", "assert.h", "ctype.h", "direct.h", "errno.h",
	"fcntl.h", "inttypes.h", "io.h", "limits.h", "malloc.h", "math.h", "process.h", "signal.h", "stdarg.h", "stddef.h", "stdint.h", "stdio.h",
	"stdlib.h", "string.h", "sys/stat.h", "sys/timeb.h", "sys/types.h", "time.h", "wchar.h",
}

// identity asks gcc for the programs that it starts, the libraries that it links and the
// headers that it finds.
func (m *mingw) identity(ctx context.Context, b *builder) (string, error) {
	files := []string{m.gcc, m.dlltool}
	ask := []string{"-print-prog-name=cc1", "-print-prog-name=collect2", "-print-prog-name=as", "-print-prog-name=ld"}
	for _, name := range linkedParts {
		ask = append(ask, "-print-file-name="+name)
	}
	for _, question := range ask {
		out, err := b.Runner.Output(ctx, run.Cmd{Argv: []string{m.gcc, question}, Env: m.env})
		if err != nil {
			return "", err
		}
		name := strings.TrimSpace(string(out))
		if filepath.IsAbs(name) { // else it is one that this gcc does not have
			files = append(files, name)
		}
	}
	headers, err := m.headers(ctx, b)
	if err != nil {
		return "", err
	}
	return identityOf(append(files, headers))
}

// headers writes what the preprocessor makes of the system headers, with their macros and
// without their paths, to a file, and returns its path.
func (m *mingw) headers(ctx context.Context, b *builder) (string, error) {
	source, out := b.dir("headers.c"), b.dir("headers.i")
	if err := os.WriteFile(source, []byte("#include <"+strings.Join(systemHeaders, ">\n#include <")+">\n"), 0o644); err != nil {
		return "", err
	}
	_, err := b.Runner.Output(ctx, run.Cmd{Argv: []string{m.gcc, "-E", "-P", "-dD", "-D_UCRT", "-DMS_WIN64", "-o", out, source}, Env: m.env})
	return out, err
}

// identityOf hashes files by their names and contents.
func identityOf(files []string) (string, error) {
	h := sha256.New()
	for _, file := range files {
		sum, err := digest.File(file)
		if err != nil {
			return "", err
		}
		_, _ = fmt.Fprintf(h, "%s %s\n", filepath.Base(file), sum)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (m *mingw) runtime() []string { return nil }

func (m *mingw) object(source string) string { return strings.TrimSuffix(source, ".c") + ".o" }

// prepare writes gcc's own specs with the old C runtime replaced by the Universal C
// Runtime, which CPython uses.
func (m *mingw) prepare(ctx context.Context, b *builder, _ *steps.Log) error {
	out, err := b.Runner.Output(ctx, run.Cmd{Argv: []string{m.gcc, "-dumpspecs"}, Env: m.env})
	if err != nil {
		return fmt.Errorf("get the specs of gcc: %w", err)
	}
	m.specs = b.dir("ucrt.specs")
	return os.WriteFile(m.specs, []byte(strings.ReplaceAll(string(out), "-lmsvcrt", "-lucrt")), 0o644)
}

// compile: MS_WIN64 is what CPython's pyconfig.h defines only for Microsoft's
// compiler.
func (m *mingw) compile(b *builder, source string) []string {
	argv := []string{m.gcc, "-specs=" + m.specs, "-O2", "-g0", "-fwrapv", "-DNDEBUG", "-DMS_WIN64", "-D_UCRT", "-w"}
	for i, dir := range b.includes() {
		argv = append(argv, "-I"+dir, fmt.Sprintf("-ffile-prefix-map=%s=/include/%d", dir, i))
	}
	return append(argv, "-ffile-prefix-map="+b.Work+"=.", "-c", "-o", m.object(source), source)
}

// link: without a base address ld derives one from the path of the output, which would
// end up in the bytes. 0x180000000 is the default of Microsoft's linker for a library.
func (m *mingw) link(_ *builder, out string, objects, libs []string) []string {
	argv := append([]string{
		m.gcc, "-specs=" + m.specs, "-shared", "-static-libgcc", "-s", "-Wl,--no-insert-timestamp", "-Wl,--image-base,0x180000000", "-Wl,--exclude-all-symbols",
		"-Wl,--nxcompat", "-Wl,--dynamicbase", "-Wl,--high-entropy-va", "-o", out,
	}, objects...)
	return append(append(argv, "module.def"), append(slices.Clone(libs), "-lpsapi")...)
}

func (m *mingw) importLibrary(def, dll, out string) []string {
	return []string{m.dlltool, "-m", "i386:x86-64", "-d", def, "-D", dll, "-l", out, "-t", "modwsgi_" + strings.NewReplacer(".", "_", "-", "_").Replace(dll)}
}

// includes are the header directories of the build, httpd's first.
func (b *builder) includes() []string { return slices.Concat(b.httpd.include, b.python.include) }

// compile runs one compiler per file, with up to Jobs at a time. File names are
// relative, so that __FILE__ in the module does not depend on the directory.
func (b *builder) compile(ctx context.Context, log *steps.Log) error {
	if err := b.tools.prepare(ctx, b, log); err != nil {
		return err
	}
	var compiled atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(b.Jobs)
	for _, source := range b.sources {
		group.Go(func() error {
			if err := b.tool(ctx, log, b.dir("mod_wsgi"), b.tools.compile(b, source)); err != nil {
				return err
			}
			b.Events.Send(event.Event{
				Kind: event.Progress, Step: log.Step,
				Text: fmt.Sprintf("%s (%d of %d)", filepath.Base(source), compiled.Add(1), len(b.sources)),
			})
			return nil
		})
	}
	return group.Wait()
}

// exported are the only names that the module exports: for httpd, and for Python.
var exported = []string{"PyInit_mod_wsgi", "wsgi_module"}

func (b *builder) link(ctx context.Context, log *steps.Log) error {
	dir := b.dir("mod_wsgi")
	def := "LIBRARY " + b.name + "\nEXPORTS\n    PyInit_mod_wsgi\n    wsgi_module DATA\n"
	if err := os.WriteFile(filepath.Join(dir, "module.def"), []byte(def), 0o644); err != nil {
		return err
	}
	var objects, libs []string
	for _, source := range b.sources {
		objects = append(objects, b.tools.object(source))
	}
	for _, s := range []*sdk{b.httpd, b.python} {
		for _, l := range s.libs {
			libs = append(libs, l.lib)
		}
	}
	if err := b.tool(ctx, log, dir, b.tools.link(b, b.made(), objects, libs)); err != nil {
		return err
	}
	return b.describe()
}
