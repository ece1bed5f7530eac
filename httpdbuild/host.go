package httpdbuild

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
	"modwsgi/internal/toolchain"
)

// Host is what the build machine offers for a build of httpd.
type Host struct {
	*toolchain.Toolchain
	Expat bool            // headers and library of expat are there
	Has   map[string]bool // feature name -> can be built
}

// Probe looks at the build machine: which features are possible is tried, not
// guessed. scratch is an existing directory for the attempts. Errors are of
// class Environment and name the package to install.
func Probe(ctx context.Context, r *run.Runner, tc *toolchain.Toolchain, scratch string) (*Host, error) {
	h := &Host{Toolchain: tc, Has: map[string]bool{}}
	if _, err := run.LookPath("make", h.Env); err != nil {
		return nil, fault.New(fault.Environment, h.Install("", toolchain.Packages{
			"debian": "make", "rhel": "make", "alpine": "make", "arch": "make", "suse": "make",
		}, ""), "there is no make, which the build of httpd needs")
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, f := range features {
		wg.Go(func() {
			ok := h.Try(ctx, r, scratch, f.Name, includes(f.Headers), f.Libs...) == nil
			mu.Lock()
			defer mu.Unlock()
			h.Has[f.Name] = ok
		})
	}
	wg.Go(func() {
		h.Expat = h.Try(ctx, r, scratch, "expat",
			"#include <expat.h>\nint main(void) { XML_ParserFree(XML_ParserCreate(0)); return 0; }\n", "-lexpat") == nil
	})
	wg.Wait()
	return h, context.Cause(ctx)
}

func includes(headers []string) string {
	var b strings.Builder
	for _, h := range headers {
		// libxml2 keeps its headers one directory deeper than its users name them.
		fmt.Fprintf(&b, "#include <%s>\n", strings.TrimPrefix(h, "libxml2/"))
	}
	return b.String() + "int main(void) { return 0; }\n"
}
