// Package toolchain knows the C compiler of the build machine: which one it is,
// what it compiles for, what it finds, and how a missing piece is installed on
// this distribution. It does not know what is built with it.
package toolchain

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"modwsgi/internal/distro"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
	"modwsgi/internal/shortage"
)

// Toolchain is a C compiler that was shown to work, and what goes with it.
type Toolchain struct {
	CC       []string // the compiler's words, from CC or "cc", "gcc", "clang"
	Compiler string   // first line of its version
	Target   string   // what it compiles for, "x86_64-linux-gnu"
	Libc     string   // "glibc 2.36" or "other"; part of a build's identity
	Family   string   // of the distribution: see internal/distro; "" for one that is not known
	Env      []string // the environment for all build tools
	// Programs has a line "NAME SHA256" for everything that runs when something is
	// compiled and linked, as far as it can be told: see identify. It is part of a
	// build's identity.
	Programs []string
	// Files are the paths of what Programs was read from, sorted.
	Files []string
	// Cross is the machine for configure's --host where the compiler compiles for
	// another one than this, "" where programs that it makes run here.
	Cross string
}

// tryHint says why a compiler could not build a program: mostly because the C
// library's headers are missing.
func (h *Toolchain) tryHint(err error) string {
	text := said(err)
	if len(h.CC) > 1 && !strings.Contains(text, "No such file or directory") {
		return "look at the words of CC: they are separated by blanks, and quotes have no meaning there"
	}
	return h.Install("", distro.LibC, "")
}

// Starved returns what to do where an attempt in scratch failed because the system
// has run out of something: then it says nothing about what was tried. It is "" where
// that is not so.
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

// said is what an error says, with the last lines of the tool that failed.
func said(err error) string {
	text := err.Error()
	var e *run.Error
	if errors.As(err, &e) {
		text += strings.Join(e.Tail, "\n")
	}
	return text
}

// Find finds the compiler (CC of the caller's environment, else cc, gcc, clang
// in its PATH) and has it build a program in scratch, an existing directory.
// Errors are of class Environment and say what to install.
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
		return nil, fault.New(fault.Environment, h.tryHint(err), "the compiler %s cannot build a program: %w", strings.Join(h.CC, " "), WithTail(err))
	}
	return h, nil
}

// environment returns what build tools get to see: where programs are and what
// the user set for compilers. Everything that makes a result depend on the
// caller in another way stays out (LD_LIBRARY_PATH, CONFIG_SITE, MAKEFLAGS …).
// Tools run in directories with strangers' sources, so relative paths, which
// would mean something else there, stay out too.
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

// maxEpoch is the last second of the year 9999, beyond which compilers refuse.
const maxEpoch = 253402300799

// sourceDateEpoch is the date that goes into binaries
// (https://reproducible-builds.org/specs/source-date-epoch/): the caller's, else
// a fixed one, so that two builds are alike. A malformed one is an error, as the
// specification asks.
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
			return fault.New(fault.Environment, "set CC to a compiler that works", "ask the compiler %q what it compiles for: %w", name, WithTail(err))
		}
		if h.CC, h.Target = words, strings.TrimSpace(string(out)); len(strings.Fields(h.Target)) != 1 {
			return fault.New(fault.Environment, "set CC to gcc, clang or a wrapper that prints nothing of its own",
				"the compiler %q does not say what it compiles for: -dumpmachine gives %.80q", name, h.Target)
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
		return fault.New(fault.Environment, "set CC to a compiler and its flags, separated by blanks (quotes have no meaning there), or unset it",
			"CC is %q, but the program %q was not found", cc, strings.Fields(cc)[0])
	}
	return fault.New(fault.Environment, h.Install("", distro.Compiler, "or set CC"),
		"there is no C compiler (looked for %s in PATH)", strings.Join(tried, ", "))
}

// libc asks the preprocessor, which is right for cross compilers too.
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

// Try compiles and links a program, for the sake of whether that works. name is
// a file name in scratch, where the program is left as "probe-" and name; libs
// are -l flags.
func (h *Toolchain) Try(ctx context.Context, r *run.Runner, scratch, name, source string, libs ...string) error {
	src := filepath.Join(scratch, "probe-"+name+".c")
	if err := os.WriteFile(src, []byte(source), 0o600); err != nil {
		return err
	}
	program := strings.TrimSuffix(src, ".c")
	argv := append(slices.Clone(h.CC), "-I/usr/include/libxml2", "-I/usr/local/include/libxml2", "-o", program, src)
	if err := r.Run(ctx, run.Cmd{Argv: append(argv, libs...), Dir: scratch, Env: tempIn(h.Env, scratch)}); err != nil {
		return err
	}
	if _, err := os.Stat(program); err != nil {
		return fmt.Errorf("it ended well, but made nothing: %w", err)
	}
	return nil
}

// tempIn has a tool's temporary files in a directory of this run, with which those of
// a killed compiler go.
func tempIn(env []string, dir string) []string { return append(slices.Clone(env), "TMPDIR="+dir) }

// Tool returns the program of the binary utilities that goes with the compiler:
// "aarch64-linux-gnu-ar" for a cross compiler where there is one, else the plain
// name.
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

// WithTail puts a tool's last line into the message, for tools whose log is not kept.
func WithTail(err error) error {
	var e *run.Error
	if errors.As(err, &e) && len(e.Tail) > 0 {
		return fmt.Errorf("%w (%s)", err, e.Tail[len(e.Tail)-1])
	}
	return err
}

// Install returns the sentence that tells how to install a package here.
func (h *Toolchain) Install(first string, packages distro.Packages, more string) string {
	return packages.Hint(h.Family, first, more)
}
