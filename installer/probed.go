package installer

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	"modwsgi/httpdbuild"
	"modwsgi/internal/scratch"
	"modwsgi/internal/toolchain"
	"modwsgi/modulebuild"
)

// Probed keeps what was found out about compilers, so that the builds of one run try each
// of them once. A finding counts as long as every program, directory and header that it
// came from is unchanged. The zero value is ready, and safe for concurrent use.
type Probed struct {
	mu  sync.Mutex
	all map[string]*finding // by what finds the compiler
}

// finding is what is known about one compiler.
type finding struct {
	tools   *toolchain.Toolchain
	soft    bool              // its hardening flags are not known yet
	httpd   *httpdbuild.Host  // nil until something asked
	modules map[string]bool   // facts about Pythons and httpds for which a module can be built
	seen    map[string]string // path or program -> its state
}

// probe describes one question about the host.
type probe struct {
	// compiler identifies what find finds, with the environment.
	compiler string
	find     func(dir string) (*toolchain.Toolchain, error)
	python   *modulebuild.Python // nil if no module is built
	httpd    modulebuild.HTTPD
	// withHTTPD asks for what a build of httpd finds.
	withHTTPD bool
}

// probeWith tries what a build needs, as far as the run has not done so.
func probeWith(ctx context.Context, at Setting, q probe) (*Host, error) {
	made, err := scratch.Temp(at.Env, scratch.Probe, false)
	if err != nil {
		return nil, err
	}
	defer func() { _ = made.Discard() }()
	if at.Probed == nil {
		return (&finding{}).ask(ctx, at, q, made.Path())
	}
	k := at.Probed
	k.mu.Lock()
	defer k.mu.Unlock()
	key := fmt.Sprintf("%q %q", q.compiler, at.Env)
	f := k.all[key]
	if f == nil || !f.holds(at) {
		f = &finding{}
	}
	h, err := f.ask(ctx, at, q, made.Path())
	if err != nil {
		return nil, err
	}
	if f.watch(ctx, at, q); len(f.seen) > 0 {
		if k.all == nil {
			k.all = map[string]*finding{}
		}
		k.all[key] = f
	}
	return h, nil
}

// ask returns the host, and tries what is not known yet. dir is for the trials.
func (f *finding) ask(ctx context.Context, at Setting, q probe, dir string) (*Host, error) {
	if f.tools == nil {
		tools, err := q.find(dir)
		if err != nil {
			return nil, err
		}
		if err := tools.Adopt(ctx, at.Runner, at.Env, dir); err != nil {
			return nil, err
		}
		f.tools, f.soft = tools, true
	}
	if err := f.try(ctx, at, q, dir); err != nil {
		return nil, err
	}
	tools := *f.tools
	h := &Host{Tools: &tools}
	if !q.withHTTPD {
		return h, nil
	}
	httpd := *f.httpd
	httpd.Missing = slices.Clone(httpd.Missing)
	h.HTTPD = &httpd
	h.join()
	return h, nil
}

// try makes the trials of a question, which are independent of each other. The error is
// that of the first one in this order.
func (f *finding) try(ctx context.Context, at Setting, q probe, dir string) error {
	var all sync.WaitGroup
	var errs [3]error
	hardened, httpd := *f.tools, f.httpd
	if f.soft {
		all.Go(func() { errs[0] = hardened.Harden(ctx, at.Runner, dir) })
	}
	if q.python != nil && !f.modules[q.module()] {
		all.Go(func() { errs[1] = modulebuild.Probe(ctx, at.Runner, f.tools, *q.python, q.httpd, dir) })
	}
	if q.withHTTPD && httpd == nil {
		all.Go(func() { httpd, errs[2] = httpdbuild.Probe(ctx, at.Runner, f.tools, dir) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	f.tools, f.httpd, f.soft = &hardened, httpd, false
	if q.python != nil {
		if f.modules == nil {
			f.modules = map[string]bool{}
		}
		f.modules[q.module()] = true
	}
	return nil
}

// module identifies a module that can be built.
func (q probe) module() string {
	return fmt.Sprintf("%q %q", fmt.Sprint(*q.python), fmt.Sprint(q.httpd))
}

// watch records the state of everything that the finding came from; nothing if that
// cannot be determined.
func (f *finding) watch(ctx context.Context, at Setting, q probe) {
	var all []string
	if f.seen == nil {
		all = sightings(ctx, at.Runner, f.tools)
		if f.seen = map[string]string{}; len(all) == 0 {
			return
		}
	}
	if q.python != nil {
		all = append(all, moduleSightings(*q.python, q.httpd)...)
	}
	for _, what := range all {
		if _, known := f.seen[what]; !known {
			f.seen[what] = observe(at.Env, what)
		}
	}
}

// moduleSightings lists the files that decide whether a module can be built.
func moduleSightings(py modulebuild.Python, httpd modulebuild.HTTPD) []string {
	var all []string
	for _, dir := range py.IncludeDirs {
		all = append(all, filepath.Join(dir, "Python.h"), filepath.Join(dir, "pyconfig.h"))
	}
	for _, dir := range httpd.IncludeDirs {
		all = append(all, filepath.Join(dir, "httpd.h"))
	}
	if py.LibPython != "" {
		all = append(all, py.LibPython)
	}
	return all
}

// holds reports whether nothing has changed since.
func (f *finding) holds(at Setting) bool {
	for what, state := range f.seen {
		if observe(at.Env, what) != state {
			return false
		}
	}
	return true
}
