package toolchain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/digest"
	"modwsgi/internal/elf"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// Given are the caller's own flags: CFLAGS, CPPFLAGS and LDFLAGS of the environment, as
// dpkg-buildflags and rpm export them. They come after those of the build, and win.
type Given struct {
	Compile []string `json:",omitempty"` // CPPFLAGS and CFLAGS
	Link    []string `json:",omitempty"` // LDFLAGS
	Names   []string `json:",omitempty"` // the variables that are set
	Files   []string `json:",omitempty"` // a line "NAME SHA256" for every file that a flag names
}

// Flags are what a build adds to the compiler's command.
type Flags struct {
	Hardening Hardening
	Compile   []string // for every object
	Link      []string // for every library and program
	PIE       bool     // programs are position-independent
	// Given are the caller's own flags, which come last.
	Given Given
	// Want is what every program must have when it is finished, and every library as well.
	Want elf.Hardening
}

// String returns the flags in a form that identifies them.
func (f Flags) String() string {
	pie := ""
	if f.PIE {
		pie = " " + CompilePIE + " " + LinkPIE
	}
	return fmt.Sprintf("hardening %q link %q%s\ngiven %q link %q files %q", f.Compile, f.Link, pie, f.Given.Compile, f.Given.Link, f.Given.Files)
}

// WithDebugSymbols returns the same flags, with debugging information and an identifier in
// every file by which it is found.
func (f Flags) WithDebugSymbols() Flags {
	f.Compile = append(slices.Clone(f.Compile), "-g")
	f.Link = append(slices.Clone(f.Link), "-Wl,--build-id=sha1")
	return f
}

// Words lists all flags, for records.
func (f Flags) Words() []string {
	words := slices.Concat(f.Compile, f.Link)
	if f.PIE {
		words = append(words, CompilePIE, LinkPIE)
	}
	return slices.Concat(words, f.Given.Compile, f.Given.Link)
}

// Flags returns the flags for a build. A flag of the caller about the same subject
// replaces that of the build where the order alone would not decide.
func (h *Toolchain) Flags(mode Hardening) Flags {
	f := Flags{Hardening: mode, Given: h.Given, Want: elf.Hardening{ExecStack: true, TextRel: true}}
	if mode == HardeningNone {
		return f
	}
	f.Compile, f.Link, f.PIE, f.Want = slices.Clone(h.Protection.Compile), slices.Clone(h.Protection.Link), h.Protection.PIE, h.Protection.Program
	if !f.PIE {
		f.Want.PIE = false
	}
	given := h.Given.Compile
	if mentions(given, "_FORTIFY_SOURCE") || unoptimized(given) {
		f.Compile = slices.DeleteFunc(f.Compile, func(w string) bool { return strings.Contains(w, "_FORTIFY_SOURCE") })
	}
	if mentions(given, "-fno-pie") || mentions(given, "-fno-PIE") || mentions(h.Given.Link, "-no-pie") || mentions(given, "-no-pie") {
		f.PIE, f.Want.PIE = false, false
	}
	link := append(slices.Clone(h.Given.Link), given...)
	if mentions(link, "norelro") {
		f.Want.RELRO = false
	}
	if mentions(link, "lazy") {
		f.Want.BindNow = false
	}
	if mentions(link, "execstack") && !mentions(link, "noexecstack") {
		f.Want.ExecStack = true
	}
	if mentions(link, "notext") {
		f.Want.TextRel = true
	}
	if mentions(given, "-fcf-protection") {
		f.Want.IBT, f.Want.SHSTK = false, false
	}
	if mentions(given, "-mbranch-protection") {
		f.Want.BTI, f.Want.PAC = false, false
	}
	return f
}

func mentions(flags []string, text string) bool {
	return slices.ContainsFunc(flags, func(w string) bool { return strings.Contains(w, text) })
}

// unoptimized reports whether the last -O switches optimization off, which
// _FORTIFY_SOURCE needs.
func unoptimized(flags []string) bool {
	last := ""
	for _, w := range flags {
		if strings.HasPrefix(w, "-O") {
			last = w
		}
	}
	return last == "-O0"
}

// adopt reads the caller's flags. Maps of directories are left out: they are about the
// caller's own sources, whereas those of a build are in a directory of the run, which has
// its own map. Without them the result does not depend on the caller's directory.
func (h *Toolchain) adopt(caller []string) error {
	h.Given = Given{}
	words := map[string][]string{}
	for _, name := range []string{"CPPFLAGS", "CFLAGS", "LDFLAGS"} {
		value := run.Getenv(caller, name)
		if strings.ContainsAny(value, "\"'\\`$") {
			return fault.New(fault.Environment, "write them without quotes, or unset "+name, "%s is %q: flags are separated by blanks, and quotes are not interpreted", name, value)
		}
		for _, w := range strings.Fields(value) {
			if !prefixMap(w) {
				words[name] = append(words[name], w)
			}
		}
		if len(words[name]) > 0 {
			h.Given.Names = append(h.Given.Names, name)
		}
	}
	h.Given.Compile, h.Given.Link = slices.Concat(words["CPPFLAGS"], words["CFLAGS"]), words["LDFLAGS"]
	for _, name := range h.Given.Names {
		for _, w := range words[name] {
			file := flagFile(w)
			if file == "" {
				continue
			}
			sum, err := digest.File(file)
			if err != nil {
				return fault.New(fault.Environment, "install the package that has the file (Fedora: redhat-rpm-config, annobin-plugin-gcc), or remove the flag from "+name,
					"%s has %s, but that file is not readable: %w", name, w, err)
			}
			h.Given.Files = append(h.Given.Files, filepath.Base(file)+" "+sum)
		}
	}
	return nil
}

// prefixMap reports whether a flag maps directories of sources.
func prefixMap(word string) bool {
	for _, kind := range []string{"file", "debug", "macro", "profile", "coverage"} {
		if strings.HasPrefix(word, "-f"+kind+"-prefix-map=") {
			return true
		}
	}
	return false
}

// flagFile is the file that a flag names with an absolute path, or "".
func flagFile(word string) string {
	for _, option := range []string{"-specs=", "--specs=", "-fplugin=", "--config="} {
		if file, ok := strings.CutPrefix(word, option); ok && filepath.IsAbs(file) {
			return file
		}
	}
	if file, ok := strings.CutPrefix(word, "@"); ok && filepath.IsAbs(file) {
		return file
	}
	return ""
}

// Adopt reads the caller's flags, and builds a program with them in scratch if there are
// any. Errors are of class Environment and name the variables.
func (h *Toolchain) Adopt(ctx context.Context, r *run.Runner, caller []string, scratch string) error {
	if err := h.adopt(caller); err != nil || len(h.Given.Names) == 0 {
		return err
	}
	err := h.Try(ctx, r, scratch, "flags", trialProgram)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	names := strings.Join(h.Given.Names, ", ")
	if hint := Starved(err, scratch); hint != "" {
		return fault.New(fault.Environment, hint, "try the compiler: %w", WithTail(err))
	}
	return fault.New(fault.Environment, "correct "+names+" in the environment, or unset them",
		"the compiler %s cannot build a program with the flags in %s: %w", strings.Join(h.CC, " "), names, WithTail(err))
}

// Check compares finished files below root with what they must have. A mark for the CPU
// that is missing goes into the log only: an object of the compiler's own library or an
// assembler source without the mark removes it.
func (f Flags) Check(log io.Writer, root string, files []string) error {
	var bad []string
	for _, name := range files {
		got, err := elf.ReadHardening(name)
		if errors.Is(err, elf.ErrNotELF) {
			continue
		}
		if err != nil {
			return err
		}
		label := name
		if rel, err := filepath.Rel(root, name); err == nil {
			label = rel
		}
		if missing := got.Missing(f.Want.Unmarked()); len(missing) > 0 {
			bad = append(bad, label+" lacks "+strings.Join(missing, ", "))
			continue
		}
		if missing := got.Missing(f.Want); len(missing) > 0 {
			if _, err := fmt.Fprintf(log, "%s lacks the mark %s\n", label, strings.Join(missing, ", ")); err != nil {
				return err
			}
		}
	}
	if len(bad) == 0 {
		return nil
	}
	return fault.New(fault.Build, "report this; --hardening none builds without these flags", "the build lost protections that the compiler offers: %s", strings.Join(bad, "; "))
}
