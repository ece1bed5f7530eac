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

// Host is what the build machine offers for a build of httpd.
type Host struct {
	*toolchain.Toolchain
	Expat bool            // headers and library of expat are there
	Has   map[string]bool // feature name -> can be built
	// Linked has for each of them, and for "expat", the libraries that a program
	// gets at run time ("libssl.so.3"). They are part of a build's identity: after
	// an upgrade of the host to another soname an old build does not start.
	Linked map[string][]string
}

// Probe looks at the build machine: which features are possible is tried, not
// guessed. scratch is an existing directory for the attempts. Errors are of
// class Environment and name the package to install.
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
	var force []string // to link what the program does not call
	if strings.Contains(h.Target, "linux") {
		force = []string{"-Wl,--no-as-needed"}
	}
	for _, f := range features {
		try(f.Name, includes(f.Headers), slices.Concat(force, f.Libs))
	}
	try("expat", "#include <expat.h>\nint main(void) { XML_ParserFree(XML_ParserCreate(0)); return 0; }\n", []string{"-lexpat"})
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if starved != nil { // a feature must not get lost by that
		hint := toolchain.Starved(starved, scratch)
		return nil, fault.New(fault.Environment, hint, "try the compiler: %w", shortage.WithHint(toolchain.WithTail(starved), hint))
	}
	h.Expat = h.Has["expat"]
	delete(h.Has, "expat") // it is no feature
	return h, nil
}

// needMake makes sure that there is a make, which only one of the drivers needs.
func (h *Host) needMake() error {
	if _, err := run.LookPath("make", h.Env); err != nil {
		return fault.New(fault.Environment, h.Install("", distro.Make, ""), "there is no make, which the build driver make needs")
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
