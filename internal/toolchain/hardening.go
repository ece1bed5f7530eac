package toolchain

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"modwsgi/internal/elf"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// Distributions compile their packages with flags against exploitation. Which of them
// exist depends on the compiler, its target, the linker and the C library, so a small
// program is built with all of them at once. Only if that fails are the flags that the
// error names left out, or, if it names none of them, every flag is tried alone.
// Warnings count as errors: a flag that is ignored must not be recorded. What the program
// got is recorded too. A mark for the CPU (IBT, BTI) is missing in every result if the
// start files of the C library lack it, and then it cannot be demanded of a build.

// Hardening selects whether to add these flags.
type Hardening string

// The values of --hardening.
const (
	// HardeningAuto adds every flag that the compiler accepts for the target.
	HardeningAuto Hardening = "auto"
	// HardeningNone adds none, and leaves what the compiler does by default.
	HardeningNone Hardening = "none"
)

// ParseHardening parses the value of --hardening; "" is HardeningAuto. Its errors are of
// class Usage.
func ParseHardening(name string) (Hardening, error) {
	switch h := Hardening(name); h {
	case "":
		return HardeningAuto, nil
	case HardeningAuto, HardeningNone:
		return h, nil
	}
	return "", fault.New(fault.Usage, "use auto or none", "unknown value %q of --hardening", name)
}

// Protection is what a toolchain can do against exploitation.
type Protection struct {
	Compile []string `json:",omitempty"` // for every object
	Link    []string `json:",omitempty"` // for every library and program
	PIE     bool     `json:",omitempty"` // programs can be position-independent: -fPIE and -pie
	// Program is what a program has that is built with these flags.
	Program elf.Hardening
}

// The flags for position-independent programs.
const (
	CompilePIE = "-fPIE"
	LinkPIE    = "-pie"
)

// protections lists the candidates for a compiler's target. One element of compile may be
// several words.
func protections(triple string) (compile [][]string, link []string) {
	compile = [][]string{{"-fstack-protector-strong"}, {"-fstack-clash-protection"}, fortify("3")}
	cpu, _, _ := strings.Cut(triple, "-")
	switch machines[cpu] {
	case "amd64":
		compile = append(compile, []string{"-fcf-protection"})
	case "arm64":
		compile = append(compile, []string{"-mbranch-protection=standard"})
	}
	return compile, []string{"-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack"}
}

// fortify sets the level of _FORTIFY_SOURCE. Some compilers define it themselves, which
// would be a redefinition.
func fortify(level string) []string {
	return []string{"-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=" + level}
}

// lesser returns what to try instead of a flag that failed, or nil. Compilers or C
// libraries before 2021 know only level 2.
func lesser(flag []string) []string {
	if slices.Equal(flag, fortify("3")) {
		return fortify("2")
	}
	return nil
}

// trialProgram copies a text of unknown length, so that all flags have something to do.
const trialProgram = `#include <stdio.h>
#include <string.h>
int main(int argc, char **argv) { char copy[64]; strcpy(copy, argv[argc - 1]); return puts(copy) < 0; }
`

// trial builds the program with some flags.
type trial struct {
	tools   *Toolchain
	runner  *run.Runner
	scratch string
	strict  []string // flags that make warnings errors
}

// file is where the program of a trial is.
func (t *trial) file(name string) string { return filepath.Join(t.scratch, "hardening-"+name) }

// build reports whether the compiler and the linker accept the flags, and what they
// printed.
func (t *trial) build(ctx context.Context, name string, compile [][]string, link []string, pie bool) (bool, string) {
	source := t.file(name) + ".c"
	if err := os.WriteFile(source, []byte(trialProgram), 0o600); err != nil {
		return false, ""
	}
	argv := slices.Concat(t.tools.CC, []string{"-O2"}, t.strict, slices.Concat(compile...))
	if pie {
		argv = append(argv, CompilePIE, LinkPIE)
	}
	argv = append(slices.Concat(argv, link), "-o", t.file(name), source)
	var said bytes.Buffer
	err := t.runner.Run(ctx, run.Cmd{Argv: argv, Dir: t.scratch, Env: tempIn(t.tools.Env, t.scratch), Log: &said})
	return err == nil, said.String()
}

// Harden determines which flags against exploitation the compiler accepts. scratch is an
// existing directory. A compiler that accepts none is not an error.
func (h *Toolchain) Harden(ctx context.Context, r *run.Runner, scratch string) error {
	h.Protection = Protection{}
	compile, link := protections(h.Target)
	t := &trial{tools: h, runner: r, scratch: scratch, strict: []string{"-Werror", "-Wl,--fatal-warnings"}}
	pie, built := true, false
	for range 3 { // mostly once; each further round leaves something out
		ok, said := t.build(ctx, "all", compile, link, pie)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if built = ok; ok {
			break
		}
		named := false
		if compile, link, named = withoutNamed(said, compile, link); !named {
			break
		}
	}
	if !built {
		compile, link, pie = t.each(ctx, compile, link)
		built, _ = t.build(ctx, "all", compile, link, pie)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	if !built {
		return nil
	}
	found, err := elf.ReadHardening(t.file("all"))
	switch {
	case errors.Is(err, elf.ErrNotELF): // another system, whose programs cannot be inspected
		found, pie = elf.Hardening{ExecStack: true, TextRel: true}, false
	case err != nil:
		return fault.New(fault.Environment, "set CC to another compiler, or use --hardening none", "inspect a program of the compiler %s: %w", strings.Join(h.CC, " "), err)
	}
	h.Protection = Protection{Compile: slices.Concat(compile...), Link: link, PIE: pie && found.PIE, Program: found}
	return nil
}

// withoutNamed leaves out the flags that an error of the compiler or linker names, and
// reports whether there were any.
func withoutNamed(said string, compile [][]string, link []string) (keptCompile [][]string, keptLink []string, named bool) {
	for _, flag := range compile {
		name := flag[len(flag)-1]
		if strings.HasPrefix(name, "-D") {
			name = "_FORTIFY_SOURCE"
		}
		if name, _, _ = strings.Cut(name, "="); !strings.Contains(said, strings.TrimLeft(name, "-")) {
			keptCompile = append(keptCompile, flag)
			continue
		}
		named = true
		if instead := lesser(flag); instead != nil {
			keptCompile = append(keptCompile, instead)
		}
	}
	for _, flag := range link {
		if _, keyword, _ := strings.Cut(flag, "-z,"); strings.Contains(said, "-z "+keyword) || strings.Contains(said, "-z, "+keyword) {
			named = true
			continue
		}
		keptLink = append(keptLink, flag)
	}
	return keptCompile, keptLink, named
}

// each tries every flag alone.
func (t *trial) each(ctx context.Context, compile [][]string, link []string) (keptCompile [][]string, keptLink []string, pie bool) {
	if ok, _ := t.build(ctx, "plain", nil, nil, false); !ok {
		t.strict = nil // it warns about every program
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.NumCPU())
	try := func(result *bool, name string, compile [][]string, link []string, pie bool) {
		wg.Go(func() {
			slots <- struct{}{}
			*result, _ = t.build(ctx, name, compile, link, pie)
			<-slots
		})
	}
	goodCompile, goodLink := make([]bool, len(compile)), make([]bool, len(link))
	for i, flag := range compile {
		try(&goodCompile[i], "c"+string(rune('a'+i)), [][]string{flag}, nil, false)
	}
	for i, flag := range link {
		try(&goodLink[i], "l"+string(rune('a'+i)), nil, []string{flag}, false)
	}
	try(&pie, "pie", nil, nil, true)
	wg.Wait()
	for i, flag := range compile {
		if instead := lesser(flag); !goodCompile[i] && instead != nil {
			flag = instead
			goodCompile[i], _ = t.build(ctx, "less", [][]string{flag}, nil, false)
		}
		if goodCompile[i] {
			keptCompile = append(keptCompile, flag)
		}
	}
	for i, flag := range link {
		if goodLink[i] {
			keptLink = append(keptLink, flag)
		}
	}
	return keptCompile, keptLink, pie
}
