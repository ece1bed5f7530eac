// Package toolchain finds and examines the C compiler of the build machine: which one it
// is, its target, which headers and libraries it finds, and how to install missing parts
// on this distribution. It does not know what is built with it.
package toolchain

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"modwsgi/internal/distro"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
	"modwsgi/internal/shortage"
)

// Toolchain is a C compiler that was tested, and the tools that belong to it.
type Toolchain struct {
	CC       []string // the words of the compiler's command: CC, or "cc", "gcc", "clang"
	Compiler string   // first line of its version
	Target   string   // its target, "x86_64-linux-gnu"
	Libc     string   // "glibc 2.36" or "other"; part of a build's identity
	Family   string   // of the distribution, see internal/distro; "" if unknown
	Env      []string // the environment for all build tools
	// Programs has a line "NAME SHA256" for every program that runs during compiling and
	// linking, as far as they can be determined; see identify. It is part of a build's
	// identity.
	Programs []string
	// Files are the paths of the files in Programs, sorted.
	Files []string
	// Cross is the machine for configure's --host if the compiler targets another
	// machine; "" if its programs run here.
	Cross string
	// Root is the directory of the target's headers and libraries, and Sysroot the hash of
	// what is in it; "" for this machine's.
	Root    string `json:",omitempty"`
	Sysroot string `json:",omitempty"`
	// Made reports that it is made of Debian's packages in each run.
	Made bool `json:",omitempty"`
	// Protection and Given are known after Harden and Adopt.
	Protection Protection
	Given      Given

	roots []string // further directories of the target
}

// tryHint returns a hint for a compiler that cannot build a program, usually because the
// C library's headers are missing.
func (h *Toolchain) tryHint(err error) string {
	text := said(err)
	if len(h.CC) > 1 && !strings.Contains(text, "No such file or directory") {
		return "check the words of CC: they are separated by blanks, and quotes are not interpreted"
	}
	switch m := noPart.FindStringSubmatch(text); {
	case m == nil:
		return h.Install("", distro.LibC, "")
	case m[1] == "cc1":
		return h.InstallHere("", distro.Compiler, "")
	}
	return h.InstallHere("", distro.Binutils, "")
}

// noPart matches a compiler's error about a program that it runs.
var noPart = regexp.MustCompile("cannot (?:execute|find|exec) ['‘`]?(as|ld|cc1)\\b")

// Starved returns a hint if an attempt in scratch failed because the system has run out
// of something, so that the failure says nothing about the compiler. Otherwise it returns
// "".
func Starved(err error, scratch string) string {
	s, ok := shortage.Of(err)
	switch {
	case !ok:
		return ""
	case s.Kind == shortage.Space || s.Kind == shortage.Inodes || s.Kind == shortage.Quota:
		return s.Hint("") + "; or set TMPDIR to another directory than " + filepath.Dir(scratch)
	}
	return s.Hint("")
}

// said returns the text of an error, with the last lines of the failed tool.
func said(err error) string {
	text := err.Error()
	var e *run.Error
	if errors.As(err, &e) {
		text += strings.Join(e.Tail, "\n")
	}
	return text
}

// Find finds the compiler (CC of the caller's environment, otherwise cc, gcc or clang in
// its PATH) and builds a program with it in scratch, an existing directory. Errors are of
// class Environment, with a hint about what to install.
func Find(ctx context.Context, r *run.Runner, caller []string, scratch string) (*Toolchain, error) {
	epoch, err := sourceDateEpoch(caller)
	if err != nil {
		return nil, err
	}
	h := &Toolchain{Env: environment(caller, epoch), Family: distro.Family()}
	if err := h.findCompiler(ctx, r, caller); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	if err := h.Try(ctx, r, scratch, "compiler", "#include <stdio.h>\nint main(void) { return puts(\"ok\") < 0; }\n"); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if hint := Starved(err, scratch); hint != "" {
			return nil, fault.New(fault.Environment, hint, "try the compiler %s: %w", strings.Join(h.CC, " "), shortage.WithHint(WithTail(err), hint))
		}
		failed := fault.New(fault.Environment, h.tryHint(err), "the compiler %s cannot build a program: %w", strings.Join(h.CC, " "), WithTail(err))
		if len(h.CC) > 1 && failed.Advice != h.Install("", distro.LibC, "") {
			return nil, failed
		}
		return nil, distro.Needing(failed, distro.LibC)
	}
	return h, nil
}

// environment returns the environment of build tools: PATH, and the user's settings for
// compilers. It omits everything else that would make a result depend on the caller
// (LD_LIBRARY_PATH, CONFIG_SITE, MAKEFLAGS …). Tools run in directories with foreign
// sources, where relative paths would have another meaning, so it omits these as well.
func environment(caller []string, epoch string) []string {
	env := []string{"LANG=C", "LC_ALL=C", "TZ=UTC", "CONFIG_SITE=/dev/null", "SOURCE_DATE_EPOCH=" + epoch}
	dirs := slices.DeleteFunc(filepath.SplitList(run.Getenv(caller, "PATH")), func(dir string) bool { return !filepath.IsAbs(dir) })
	if len(dirs) > 0 {
		env = append(env, "PATH="+strings.Join(dirs, string(filepath.ListSeparator)))
	}
	for _, name := range []string{"HOME", "TMPDIR", "CCACHE_DIR", "SDKROOT"} {
		if v := run.Getenv(caller, name); filepath.IsAbs(v) {
			env = append(env, name+"="+v)
		}
	}
	for _, name := range []string{"USER", "DISTCC_HOSTS", "MACOSX_DEPLOYMENT_TARGET"} {
		if v := run.Getenv(caller, name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// maxEpoch is the last second of the year 9999, the maximum that compilers accept.
const maxEpoch = 253402300799

// sourceDateEpoch returns the date for binaries
// (https://reproducible-builds.org/specs/source-date-epoch/): the caller's, or a fixed
// one, so that builds are reproducible. A malformed one is an error, as the specification
// requires.
func sourceDateEpoch(caller []string) (string, error) {
	v := run.Getenv(caller, "SOURCE_DATE_EPOCH")
	if v == "" {
		return "1735689600", nil // 2025-01-01
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil || n > maxEpoch {
		return "", fault.New(fault.Environment, "unset it, or set it to what date +%s prints",
			"SOURCE_DATE_EPOCH is %q, which is not a number of seconds since 1970", v)
	}
	return strconv.FormatUint(n, 10), nil
}

func (h *Toolchain) findCompiler(ctx context.Context, r *run.Runner, caller []string) error {
	var tried []string
	names := []string{"cc", "gcc", "clang"}
	cc := strings.TrimSpace(run.Getenv(caller, "CC"))
	if cc != "" {
		names = []string{cc}
	}
	for _, name := range names {
		words := strings.Fields(name)
		tried = append(tried, name)
		if _, err := run.LookPath(words[0], h.Env); err != nil {
			continue
		}
		out, err := r.Output(ctx, run.Cmd{Argv: append(slices.Clone(words), "-dumpmachine"), Env: h.Env})
		if errors.Is(err, fs.ErrNotExist) { // a path to nothing
			continue
		}
		if err != nil {
			return fault.New(fault.Environment, "set CC to a compiler that works", "ask the compiler %q for its target: %w", name, WithTail(err))
		}
		if h.CC, h.Target = words, strings.TrimSpace(string(out)); len(strings.Fields(h.Target)) != 1 {
			return fault.New(fault.Environment, "set CC to gcc, clang or a wrapper that prints nothing itself",
				"the compiler %q does not report its target: -dumpmachine prints %.80q", name, h.Target)
		}
		version, err := r.Output(ctx, run.Cmd{Argv: append(slices.Clone(words), "--version"), Env: h.Env})
		if err != nil {
			return fault.New(fault.Environment, "set CC to a compiler that works", "ask the compiler %q for its version: %w", name, WithTail(err))
		}
		h.Compiler, _, _ = strings.Cut(string(version), "\n")
		if h.Native() {
			h.Compiler += " for processor " + processor()
		}
		h.Libc, h.Cross = libc(ctx, r, h), crossTarget(h.Target, runtime.GOARCH)
		h.identify(ctx, r)
		return nil
	}
	if cc != "" {
		return fault.New(fault.Environment, "set CC to a compiler and its flags, separated by blanks (quotes are not interpreted), or unset it",
			"CC is %q, but the program %q was not found", cc, strings.Fields(cc)[0])
	}
	return distro.Needing(fault.New(fault.Environment, h.InstallHere("", distro.Compiler, "or set CC"),
		"no C compiler was found (searched PATH for %s)", strings.Join(tried, ", ")), distro.Compiler)
}

// libc uses the preprocessor, which also works for cross compilers.
func libc(ctx context.Context, r *run.Runner, h *Toolchain) string {
	out, err := r.Output(ctx, run.Cmd{
		Argv:  append(slices.Clone(h.CC), "-E", "-P", "-x", "c", "-"),
		Env:   h.Env,
		Stdin: strings.NewReader("#include <limits.h>\n#ifdef __GLIBC__\nglibc __GLIBC__ __GLIBC_MINOR__\n#else\nother\n#endif\n"),
	})
	fields := strings.Fields(string(out))
	if n := len(fields); err == nil && n >= 3 && fields[n-3] == "glibc" {
		return "glibc " + fields[n-2] + "." + fields[n-1]
	}
	return "other"
}

// Try reports whether a program can be compiled and linked. name is a file name in
// scratch, where the program is left as "probe-" and name; libs are -l flags.
func (h *Toolchain) Try(ctx context.Context, r *run.Runner, scratch, name, source string, libs ...string) error {
	src := filepath.Join(scratch, "probe-"+name+".c")
	if err := os.WriteFile(src, []byte(source), 0o600); err != nil {
		return err
	}
	program := strings.TrimSuffix(src, ".c")
	argv := slices.Clone(h.CC)
	for _, dir := range []string{"/usr/include/libxml2", "/usr/local/include/libxml2"} {
		argv = append(argv, "-I"+h.Root+dir)
	}
	argv = append(append(argv, h.Given.Compile...), "-o", program, src)
	if err := r.Run(ctx, run.Cmd{Argv: slices.Concat(argv, libs, h.Given.Link), Dir: scratch, Env: tempIn(h.Env, scratch)}); err != nil {
		return err
	}
	if _, err := os.Stat(program); err != nil {
		return fmt.Errorf("it succeeded, but wrote no output: %w", err)
	}
	return nil
}

// tempIn moves a tool's temporary files to a directory of this run, so that those of a
// killed compiler are removed with it.
func tempIn(env []string, dir string) []string { return append(slices.Clone(env), "TMPDIR="+dir) }

// Tool returns the binary utility that belongs to the compiler: "aarch64-linux-gnu-ar"
// for a cross compiler, if it exists, otherwise the plain name.
func (h *Toolchain) Tool(name string) string {
	if len(h.CC) > 0 {
		for _, word := range h.CC {
			if prefix, ok := strings.CutSuffix(filepath.Base(word), "gcc"); ok && strings.HasSuffix(prefix, "-") {
				if _, err := run.LookPath(prefix+name, h.Env); err == nil {
					return prefix + name
				}
			}
		}
	}
	return name
}

// WithTail adds a tool's last line to the message, for tools whose log is not kept.
func WithTail(err error) error {
	var e *run.Error
	if errors.As(err, &e) && len(e.Tail) > 0 {
		return fmt.Errorf("%w (%s)", err, e.Tail[len(e.Tail)-1])
	}
	return err
}

// Install returns a sentence about how to get the headers and libraries of a package for the
// system that is built for.
func (h *Toolchain) Install(first string, packages distro.Packages, more string) string {
	if h.Root != "" { // packages of this machine do not help
		if more != "" {
			more = ", " + more
		}
		if h.Made {
			return strings.TrimSpace(first + " add it to the sysroot: --sysroot-package " + strings.ReplaceAll(packages["debian"], " ", ",") + more)
		}
		return strings.TrimSpace(first + " add it to the sysroot " + h.Root + " (Debian's package: " + packages["debian"] + ")" + more)
	}
	return h.InstallHere(first, packages, more)
}

// Needing is [distro.Needing] for headers and libraries. No command on this machine
// installs those of another system.
func (h *Toolchain) Needing(err error, packages ...distro.Packages) error {
	if h.Root != "" {
		return err
	}
	return distro.Needing(err, packages...)
}

// InstallHere is Install for programs, which run on this machine whatever they are for.
func (h *Toolchain) InstallHere(first string, packages distro.Packages, more string) string {
	return packages.Hint(h.Family, first, more)
}
