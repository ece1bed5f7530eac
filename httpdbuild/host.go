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

// needMake checks that make is available, which only one of the drivers needs.
func (h *Host) needMake() error {
	if _, err := run.LookPath("make", h.Env); err != nil {
		return fault.New(fault.Environment, h.Install("", distro.Make, ""), "make, which the build driver make needs, was not found")
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
