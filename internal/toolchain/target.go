package toolchain

import (
	"context"
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
	"modwsgi/internal/target"
)

// For is the system to compile for, if that is not the build machine.
type For struct {
	Target target.Target
	// Root is the directory of the target's headers and libraries, and Digest the hash of
	// their contents. Roots are further directories of the target that the compiler's
	// command names.
	Root   string
	Roots  []string
	Digest string
	Made   bool // the directory is made of Debian's packages in each run
	// Command adds to a compiler's command what makes it use only these headers and
	// libraries. clang reports that it is clang, and libgcc is the directory of the
	// compiler's own library for the target.
	Command func(words []string, clang bool, libgcc string) ([]string, error)
}

// FindFor finds a compiler for another system, and builds a program with it in scratch, an
// existing directory: CC of the caller's environment, otherwise the compiler of this machine
// if it has the target's CPU, the cross compiler that is named after the target, or clang.
// Errors are of class Environment and name the package to install.
func FindFor(ctx context.Context, r *run.Runner, caller []string, scratch string, f For) (*Toolchain, error) {
	epoch, err := sourceDateEpoch(caller)
	if err != nil {
		return nil, err
	}
	h := &Toolchain{Env: environment(caller, epoch), Family: distro.Family(), Root: f.Root, roots: f.Roots, Sysroot: f.Digest, Made: f.Made}
	if err := h.findCross(ctx, r, caller, f); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	err = h.Try(ctx, r, scratch, "compiler", "#include <stdio.h>\nint main(void) { return puts(\"ok\") < 0; }\n")
	switch {
	case err == nil:
		return h, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	if hint := Starved(err, scratch); hint != "" {
		return nil, fault.New(fault.Environment, hint, "try the compiler %s: %w", strings.Join(h.CC, " "), shortage.WithHint(WithTail(err), hint))
	}
	return nil, fault.New(fault.Environment, "check that "+f.Root+" has the C library, its headers and those of the kernel for "+f.Target.String(),
		"the compiler %s cannot build a program for %s: %w", strings.Join(h.CC, " "), f.Target, WithTail(err))
}

// LookFor is the part of FindFor that needs no sysroot: it returns the error of a compiler
// that is not there, or that is for another CPU.
func LookFor(ctx context.Context, r *run.Runner, caller []string, t target.Target) error {
	h := &Toolchain{Env: environment(caller, "0"), Family: distro.Family()}
	return h.findCross(ctx, r, caller, For{Target: t, Command: func(words []string, _ bool, _ string) ([]string, error) { return words, nil }})
}

// compiler is a candidate for a target: the words of its command.
type compiler struct {
	words []string
	given bool // by the user
}

// candidates lists the compilers to look for, likeliest first. The same CPU needs no cross
// compiler: the headers and libraries are what differs.
func candidates(caller []string, t target.Target) []compiler {
	if cc := strings.Fields(run.Getenv(caller, "CC")); len(cc) > 0 {
		return []compiler{{cc, true}}
	}
	gnu := t
	gnu.Libc = target.Glibc
	var out []compiler
	if t.Arch == runtime.GOARCH {
		out = append(out, compiler{words: []string{"cc"}}, compiler{words: []string{"gcc"}})
	}
	for _, name := range []string{t.Triple(), gnu.Triple()} {
		out = append(out, compiler{words: []string{name + "-gcc"}})
	}
	return append(out, compiler{words: []string{"clang"}})
}

// findCross fills in the command and what identifies it.
func (h *Toolchain) findCross(ctx context.Context, r *run.Runner, caller []string, f For) error {
	t := f.Target
	var last error
	for _, c := range candidates(caller, t) {
		if _, err := run.LookPath(c.words[0], h.Env); err != nil {
			continue
		}
		words, clang, err := h.aim(ctx, r, c.words, t)
		if err != nil {
			if last = err; c.given {
				return err
			}
			continue
		}
		libgcc, err := h.libgcc(ctx, r, words, clang, t)
		if err != nil {
			if last = err; c.given {
				return err
			}
			continue
		}
		version, err := r.Output(ctx, run.Cmd{Argv: append(slices.Clone(words), "--version"), Env: h.Env})
		if err != nil {
			return fault.New(fault.Environment, "set CC to a compiler that works", "ask the compiler %q for its version: %w", strings.Join(words, " "), WithTail(err))
		}
		h.Compiler, _, _ = strings.Cut(string(version), "\n")
		h.CC = words // files of the sysroot count by its hash
		h.identify(ctx, r)
		if h.CC, err = f.Command(words, clang, libgcc); err != nil {
			return err
		}
		h.Target, h.Cross, h.Libc = t.Triple(), t.Triple(), t.Libc+" "+t.LibcVersion
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return h.noCross(caller, t, last)
}

// noCross is the error if no compiler was found, or if those that were found cannot be used.
func (h *Toolchain) noCross(caller []string, t target.Target, last error) error {
	if last != nil {
		return last
	}
	if cc := run.Getenv(caller, "CC"); strings.TrimSpace(cc) != "" {
		return fault.New(fault.Environment, "set CC to a compiler and its flags, separated by blanks (quotes are not interpreted), or unset it",
			"CC is %q, but the program %q was not found", cc, strings.Fields(cc)[0])
	}
	packages := distro.CrossCompiler(t.Machine())
	if t.Arch == runtime.GOARCH {
		packages = distro.Compiler
	}
	var tried []string
	for _, c := range candidates(caller, t) {
		if !slices.Contains(tried, c.words[0]) {
			tried = append(tried, c.words[0])
		}
	}
	return distro.Needing(fault.New(fault.Environment, packages.Hint(h.Family, "", "or clang, or set CC"),
		"no C compiler for %s was found (searched PATH for %s)", t, strings.Join(tried, ", ")), packages)
}

// aim makes a compiler generate code for the target's CPU, and reports whether it is clang.
func (h *Toolchain) aim(ctx context.Context, r *run.Runner, words []string, t target.Target) ([]string, bool, error) {
	ask := func(argv []string, args ...string) (string, error) {
		out, err := r.Output(ctx, run.Cmd{Argv: append(slices.Clone(argv), args...), Env: h.Env})
		return strings.TrimSpace(string(out)), err
	}
	name := strings.Join(words, " ")
	macros, err := r.Output(ctx, run.Cmd{Argv: append(slices.Clone(words), "-E", "-dM", "-x", "c", "-"), Env: h.Env, Stdin: strings.NewReader("")})
	if err != nil {
		return nil, false, fault.New(fault.Environment, "set CC to a compiler that works", "try the compiler %q: %w", name, WithTail(err))
	}
	clang := strings.Contains(string(macros), "#define __clang__ ")
	words = slices.Clone(words)
	if clang && !slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(w, "--target=") || w == "-target" }) {
		words = append(words, "--target="+t.Triple())
		gnu := t
		gnu.Libc = target.Glibc
		if _, err := run.LookPath(gnu.Triple()+"-ld", h.Env); err != nil && t.Arch != runtime.GOARCH {
			words = append(words, "-fuse-ld=lld") // this machine's ld may know only its own CPU
		}
	}
	found, err := ask(words, "-dumpmachine")
	if err != nil || len(strings.Fields(found)) != 1 {
		return nil, false, fault.New(fault.Environment, "set CC to gcc, clang or a wrapper that prints nothing itself", "the compiler %q does not report its target: it prints %.80q", name, found)
	}
	if arch := archOf(found); arch != t.Arch {
		return nil, false, fault.New(fault.Environment, distro.CrossCompiler(t.Machine()).Hint(h.Family, "", "or set CC to another compiler, or unset it"),
			"the compiler %q generates code for %s, not for %s", name, found, t)
	}
	return words, clang, nil
}

// archOf returns Go's name of the CPU of a compiler's target.
func archOf(triple string) string {
	machine, _, _ := strings.Cut(triple, "-")
	arch := machines[machine]
	if strings.HasPrefix(machine, "arm") && arch == "" {
		return "arm"
	}
	return arch
}

// libgcc returns the directory of the compiler's own library for the target. clang has none,
// and uses that of a gcc for the same CPU.
func (h *Toolchain) libgcc(ctx context.Context, r *run.Runner, words []string, clang bool, t target.Target) (string, error) {
	out, err := r.Output(ctx, run.Cmd{Argv: append(slices.Clone(words), "-print-libgcc-file-name"), Env: h.Env})
	if name := strings.TrimSpace(string(out)); err == nil && filepath.IsAbs(name) && filepath.Base(name) == "libgcc.a" {
		if _, err := os.Stat(name); err == nil {
			return filepath.Dir(name), nil
		}
	}
	gnu := t
	gnu.Libc = target.Glibc
	for _, parent := range []string{"/usr/lib/gcc", "/usr/lib/gcc-cross"} {
		if dir := newest(filepath.Join(parent, gnu.Triple())); dir != "" {
			return dir, nil
		}
	}
	if !clang {
		return "", fault.New(fault.Environment, "reinstall it, or set CC to another one", "the compiler %s has no libgcc", strings.Join(words, " "))
	}
	packages := distro.CrossCompiler(t.Machine())
	return "", distro.Needing(fault.New(fault.Environment, packages.Hint(h.Family, "clang uses the library of gcc;", ""),
		"no libgcc for %s was found, which %s links", t, strings.Join(words, " ")), packages)
}

var gccVersion = regexp.MustCompile(`^[0-9]+(\.[0-9.]+)?$`)

// newest returns the directory of the newest gcc below dir that has a libgcc.a, or "".
func newest(dir string) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	best, number := "", -1
	for _, e := range entries {
		if !gccVersion.MatchString(e.Name()) {
			continue
		}
		major, _, _ := strings.Cut(e.Name(), ".")
		n, _ := strconv.Atoi(major)
		path := filepath.Join(dir, e.Name())
		if _, err := os.Stat(filepath.Join(path, "libgcc.a")); err == nil && n > number {
			best, number = path, n
		}
	}
	return best
}

// Portable replaces the directories of a target's headers and libraries in a text that
// identifies a build: their contents count, by the hash in Sysroot, and not their paths.
func (h *Toolchain) Portable(text string) string {
	for _, dir := range append(slices.Clone(h.roots), h.Root) {
		if dir != "" {
			text = strings.ReplaceAll(text, dir, "SYSROOT")
		}
	}
	return text
}
