package produce

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"modwsgi/detect"
	"modwsgi/installer"
	"modwsgi/internal/event"
	"modwsgi/internal/receipt"
	"modwsgi/internal/recipe"
	"modwsgi/internal/version"
	"modwsgi/packaging"
	"modwsgi/packaging/licence"
	"modwsgi/packaging/oci"
)

// Tree is a finished build outside any environment, as formats take it.
type Tree struct {
	Stage    *packaging.Stage
	Python   *detect.Python // nil if it is not on this machine
	Compiled bool           // something was compiled for it rather than taken from the build cache
	Cross    bool           // for an Apache on Windows, not for this machine
	// For is the Linux system that it is for, if that is not this machine; Target names
	// the system, also if that is Windows. Unproven is why it was not tried there.
	For      *installer.Cross
	Target   string
	Unproven string
	wish     *installer.Wish // what was built; nil for what was installed earlier
	proof    string          // how it was tried
	// provenWith completes proof: the Python that was part of it.
	provenWith string
	about      map[string]string // the build environment, for the provenance
	source     string            // the environment that it was taken from; "" for a build
	image      *oci.Input        // of the copy of an environment; nil for a build
	built      *installer.Staged
}

// build is one tree to build: the request names its Python and its httpd.
type build struct {
	part    string // for messages
	request installer.Request
	tree    *Tree // nil until it is built, and if that failed
}

// buildAll builds trees that share an httpd. It builds one at a time until one of them
// has built the httpd, then the others concurrently, which take it from the build
// cache. fail decides what to do about a tree that cannot be built.
func buildAll(ctx context.Context, l *line, all []*build, fail func(ctx context.Context, part string, err error) error) error {
	for len(all) > 0 {
		first := all[0]
		all = all[1:]
		if err := first.run(ctx, l, fail); err != nil {
			return err
		}
		if first.tree != nil {
			break
		}
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(max(1, min(4, l.jobs()))) // the compilers of one module already use every processor
	for _, b := range all {
		group.Go(func() error { return b.run(gctx, l, fail) })
	}
	return group.Wait()
}

func (b *build) run(ctx context.Context, l *line, fail func(ctx context.Context, part string, err error) error) error {
	s, err := installer.Stage(ctx, b.request.Means, b.request.StagePlan)
	if err != nil {
		return fail(ctx, b.part, err)
	}
	b.tree = treeOf(s, l.at)
	b.tree.wish = &b.request.Wish
	if c := b.request.Cross; c != nil {
		b.tree.aim(c, s)
	}
	if b.request.DebugSymbols {
		if err := b.tree.separate(ctx, b.request.Setting); err != nil {
			b.tree.close()
			b.tree = nil
			return fail(ctx, b.part, err)
		}
	}
	return nil
}

// aim records that a tree is for another system.
func (t *Tree) aim(c *installer.Cross, s *installer.Staged) {
	t.For, t.Target = c, c.Target().String()
	t.about = maps.Clone(s.Target)
	if s.HTTPD != nil {
		t.about["compiler"], t.about["libc"], t.about["compiler_flags"] = s.HTTPD.Compiler, s.HTTPD.Libc, strings.Join(s.HTTPD.Flags, " ")
	}
	if p := s.Proof; p != nil {
		t.proof, t.provenWith = "answered a request under "+s.ProvenBy, ", with Python "+p.PythonVersion
	}
}

// numbered distinguishes the steps of concurrent builds.
func numbered(to event.Sink, suffix string) event.Sink {
	return func(e event.Event) {
		if e.Step != "" {
			e.Step += suffix
		}
		to.Send(e)
	}
}

// close removes the build.
func (t *Tree) close() {
	if t != nil {
		t.built.Close()
	}
}

// treeOf converts what the installer staged to packaging's types.
func treeOf(b *installer.Staged, at time.Time) *Tree {
	py, r := b.Python, b.Receipt
	tag := fmt.Sprintf("cp%d%d", py.Major, py.Minor)
	s := &packaging.Stage{Site: b.Site, Bin: b.Bin, Time: at, Tool: version.Release}
	s.Module = &packaging.Module{
		Package: "mod_wsgi", File: "mod_wsgi/server/" + r.Module.File, Receipt: receipt.Path, Version: r.Module.Version, Key: r.Key,
		HTTPD: r.HTTPD.Version, Bundled: r.HTTPD.Provenance == "bundled", Components: sourceComponents(b.Module),
		Python: packaging.Python{
			Version: py.Version, Tag: tag, ABI: tag + py.ABIFlags, SOABI: py.SOABI, Platform: py.Platform, LibPython: py.LibPython,
			Shared: py.LibShared, FreeThreaded: py.FreeThreaded,
		},
	}
	if h := b.HTTPD; h != nil {
		s.HTTPD = &packaging.HTTPD{
			Dir: "mod_wsgi_packages/httpd", Package: "mod_wsgi_packages", Version: h.Version, Features: h.Features, Key: h.Key,
			Compiler: h.Compiler, Libc: h.Libc, Flags: h.Flags, Components: packaging.WithFeatures(sourceComponents(h.Sources), h.Features),
		}
	}
	return &Tree{Stage: s, Python: py, Compiled: b.Compiled, built: b, Unproven: b.Unproven}
}

// sourceComponents describes the source archives of a build.
func sourceComponents(sources []installer.Source) []packaging.Component {
	var all []packaging.Component
	for _, s := range sources {
		c := packaging.SourceComponent(s.Component, s.Version, licence.OfSource(s.Component), s.SHA256)
		c.Trust, c.URL, c.File = s.Trust, s.URL, s.File
		c.Support = recipe.Catalogue().SupportedUntil(s.Component, s.Version)
		all = append(all, c)
	}
	return all
}

// environment is the part of the build environment that the provenance records of the
// trees of one artifact. That of another system is recorded in describe.
func environment(trees []*Tree, at time.Time) map[string]string {
	all := map[string]string{"source_date_epoch": strconv.FormatInt(at.Unix(), 10)}
	for _, t := range trees {
		if h := t.Stage.HTTPD; h != nil && t.For == nil {
			all["compiler"], all["libc"] = h.Compiler, h.Libc
			if len(h.Flags) > 0 {
				all["compiler_flags"] = strings.Join(h.Flags, " ")
			}
		}
	}
	return all
}
