package httpdbuild

import (
	"context"
	"debug/elf"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"modwsgi/internal/distro"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
	"modwsgi/internal/shortage"
	"modwsgi/internal/toolchain"
)

// Host describes what the build machine offers for a build of httpd.
type Host struct {
	*toolchain.Toolchain
	Expat bool            // whether headers and library of expat were found
	Has   map[string]bool // feature name -> whether it can be built
	// Linked maps each of them, and "expat", to the libraries that a program loads at
	// run time ("libssl.so.3"). They are part of a build's identity: after the host
	// upgrades to another soname, an old build does not start.
	Linked map[string][]string
	Perl   string // its version if OpenSSL's build can use it, otherwise ""
	// Missing lists what every build needs and this host lacks, see CheckNeeds.
	Missing []Missing `json:",omitempty"`
}

// Probe inspects the build machine. It tests which features are possible rather than
// guessing. scratch is an existing directory for the tests. Its errors are of class
// Environment and name the package to install.
func Probe(ctx context.Context, r *run.Runner, tc *toolchain.Toolchain, scratch string) (*Host, error) {
	h := &Host{Toolchain: tc, Has: map[string]bool{}, Linked: map[string][]string{}}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var starved error
	try := func(name, source string, libs []string) {
		wg.Go(func() {
			err := h.Try(ctx, r, scratch, name, source, libs...)
			ok := err == nil
			mu.Lock()
			defer mu.Unlock()
			if toolchain.Starved(err, scratch) != "" {
				starved = err
			}
			h.Has[name] = ok
			if ok {
				h.Linked[name] = linked(filepath.Join(scratch, "probe-"+name))
			}
		})
	}
	var force []string // to also link what the program does not call
	if strings.Contains(h.Target, "linux") {
		force = []string{"-Wl,--no-as-needed"}
	}
	for _, f := range features {
		try(f.Name, includes(f.Headers), slices.Concat(force, f.Libs))
	}
	try("expat", "#include <expat.h>\nint main(void) { XML_ParserFree(XML_ParserCreate(0)); return 0; }\n", []string{"-lexpat"})
	wg.Go(func() {
		missing, err := h.lacks(ctx, r, scratch)
		mu.Lock()
		defer mu.Unlock()
		if h.Missing = missing; err != nil {
			starved = err
		}
	})
	wg.Go(func() { h.Perl = perl(ctx, r, h.Toolchain) })
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if starved != nil { // this must not lose a feature
		hint := toolchain.Starved(starved, scratch)
		return nil, fault.New(fault.Environment, hint, "try the compiler: %w", shortage.WithHint(toolchain.WithTail(starved), hint))
	}
	h.Expat = h.Has["expat"]
	delete(h.Has, "expat") // it is not a feature
	return h, nil
}

// perl returns the version of Perl, or "" if it is older than 5.10, which OpenSSL
// needs, or lacks modules that even the smallest packages of distributions have.
func perl(ctx context.Context, r *run.Runner, tools *toolchain.Toolchain) string {
	if _, err := run.LookPath("perl", tools.Env); err != nil {
		return ""
	}
	out, err := r.Output(ctx, run.Cmd{
		Argv: []string{"perl", "-e", "use 5.10.0; use strict; use warnings; use Config; use Cwd; use POSIX; use File::Basename; use File::Path; use File::Spec; use File::Glob; use Exporter; print $^V"},
		Env:  tools.Env,
	})
	if err != nil {
		return ""
	}
	return strings.TrimPrefix(strings.TrimSpace(string(out)), "v")
}

// CheckDriver reports whether the host has what a driver needs: only one of them needs
// make. The error is of class Environment.
func (h *Host) CheckDriver(d Driver) error {
	if d != Make {
		return nil
	}
	return h.needMake()
}

// needMake checks that make is available, which only one of the drivers needs.
func (h *Host) needMake() error {
	if _, err := run.LookPath("make", h.Env); err != nil {
		return fault.New(fault.Environment, h.InstallHere("", distro.Make, ""), "make, which the build driver make needs, was not found")
	}
	return nil
}

// linked returns the names of the libraries that a program needs, sorted.
func linked(program string) []string {
	f, err := elf.Open(program)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	libs, err := f.ImportedLibraries()
	if err != nil {
		return nil
	}
	slices.Sort(libs)
	return libs
}

func includes(headers []string) string {
	var b strings.Builder
	for _, h := range headers {
		// libxml2 keeps its headers one directory deeper than its users name them.
		fmt.Fprintf(&b, "#include <%s>\n", strings.TrimPrefix(h, "libxml2/"))
	}
	return b.String() + "int main(void) { return 0; }\n"
}
