// Package httpdbuild turns verified source archives of httpd, APR, APR-util, PCRE2 and
// the libraries that the host lacks into a relocatable httpd tree, in named steps. It
// knows how these are configured, compiled and staged. It does not know where archives
// come from, and nothing about Python or a prefix.
package httpdbuild

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"modwsgi/internal/archive"
	"modwsgi/internal/fault"
	"modwsgi/internal/objgraph"
	"modwsgi/internal/owned"
	"modwsgi/internal/steps"
	"modwsgi/internal/timeline"
)

// Build makes the tree, readable for everyone whatever the umask. On an error, Stage
// does not exist; the caller removes Work and Logs. A failed step is a *steps.Error in
// the error's tree. The error is of class Build if the step's error has no class.
func Build(ctx context.Context, q Request) (*Result, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	for _, dir := range []string{filepath.Join(q.Work, "tmp"), filepath.Dir(q.Stage)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("create build directory: %w", err)
		}
	}
	// The tools determine their own directory, and the paths that they derive from it
	// must be the ones that checkTree looks for in the result.
	work, err := filepath.EvalSymlinks(q.Work)
	if err != nil {
		return nil, fmt.Errorf("inspect the build directory: %w", err)
	}
	q.Work = work
	if err := q.checkWork(); err != nil {
		return nil, err
	}
	b := &builder{Request: q, stage: q.Stage + ".part", pool: objgraph.NewPool(q.Jobs)}
	if b.Driver == "" {
		b.Driver = Native
	}
	timings, err := b.build(ctx)
	if b.Driver == Native && notUnderstood(err) && ctx.Err() == nil {
		if b.Host.Cross != "" { // make would run programs for that machine on this one
			err = fault.New(fault.Environment, "set CC to another compiler for "+b.Host.Cross+", or build on such a machine",
				"the native build driver failed (%w), and make cannot replace it in a build for another system", err)
		} else if missing := b.Host.needMake(); missing != nil { // nothing else can build it
			err = fault.New(fault.Environment, fault.HintOf(missing), "the native build driver failed (%w), and make, which could replace it, was not found", err)
		} else {
			b.Events.Note("building with make and libtool, because the native build driver failed: " + err.Error())
			b.Driver = Make
			timings, err = b.again(ctx)
		}
	}
	if err == nil {
		err = os.Rename(b.stage, q.Stage)
	}
	if err != nil {
		_ = owned.RemoveAll(b.stage)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fault.Wrap(classOf(err), b.hint(err), fmt.Errorf("build httpd %s: %w", q.component("httpd").Version, err))
	}
	modules, err := moduleNames(q.Stage)
	r := &Result{Tree: q.Stage, Driver: b.Driver, Modules: modules, Timings: timings, Unpacked: map[string]string{}}
	b.unpacked.Range(func(name, sum any) bool {
		r.Unpacked[name.(string)] = sum.(string)
		return true
	})
	return r, err
}

// build runs all steps with the builder's driver.
func (b *builder) build(ctx context.Context) ([]steps.Timing, error) {
	if err := owned.RemoveAll(b.stage); err != nil {
		return nil, err
	}
	if err := b.checkCross(ctx); err != nil {
		return nil, err
	}
	if b.Driver == Make {
		if err := b.Host.needMake(); err != nil {
			return nil, err
		}
		if kind := b.Farm.Kind(); kind != "" {
			b.Events.Note(kind + " is not used with make: httpd is compiled on this machine")
		}
	}
	all := b.steps()
	b.needs = map[string][]string{}
	for _, s := range all {
		b.needs[s.Name] = s.Needs
	}
	if b.Beside == nil || b.Driver == Make {
		return steps.Run(ctx, b.Logs, b.watch(), all)
	}
	return b.runBeside(ctx, all)
}

// runBeside runs the steps and, once the headers are staged, what others compile with
// them.
func (b *builder) runBeside(ctx context.Context, all []steps.Step) (timings []steps.Timing, err error) {
	beside, cancel := context.WithCancel(ctx)
	defer cancel()
	b.headers = make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-b.headers:
			b.Beside(beside, b.stage, b.pool)
		case <-beside.Done():
		}
	})
	if timings, err = steps.Run(ctx, b.Logs, b.watch(), all); err != nil {
		cancel()
	}
	wg.Wait()
	return timings, err
}

// again repeats the build from the archives: leftovers of the other driver must not
// get into the result.
func (b *builder) again(ctx context.Context) ([]steps.Timing, error) {
	for _, c := range b.Components {
		if err := owned.RemoveAll(b.dir(c.Name)); err != nil {
			return nil, err
		}
	}
	if err := owned.RemoveAll(b.deps()); err != nil {
		return nil, err
	}
	return b.build(ctx)
}

// classOf is Build, or the class of the failed step's error about an archive or the
// host.
func classOf(err error) fault.Class {
	if c := fault.ClassOf(err); c != fault.Internal {
		return c
	}
	return fault.Build
}

// steps is the whole build. It needs neither the network nor Python.
func (b *builder) steps() []steps.Step {
	all := []steps.Step{
		{Name: "configure pcre2", Needs: []string{"unpack pcre2"}, Run: b.configurePCRE2},
		{Name: "configure apr", Needs: []string{"unpack apr"}, Run: b.configureAPR},
		{Name: "configure apr-util", Needs: []string{"unpack apr-util", "configure apr"}, Run: b.configureAPRUtil},
		{Name: "check httpd", Needs: []string{"stage httpd"}, Run: b.checkTree},
	}
	if b.Driver == Make {
		all = append(all, b.makeSteps()...)
	} else {
		all = append(all, b.nativeSteps()...)
	}
	for _, c := range b.Components {
		all = append(all, steps.Step{Name: "unpack " + c.Name, Run: b.unpack(c)})
	}
	if b.Driver != Make {
		waits(all, "configure pcre2", askStep)
		waits(all, "configure apr", askStep)
	}
	return b.librarySteps(all)
}

// makeSteps compile with make: each part after the parts that it links.
func (b *builder) makeSteps() []steps.Step {
	return []steps.Step{
		{Name: "compile pcre2", Needs: []string{"configure pcre2"}, Run: b.compilePCRE2},
		{Name: "compile apr", Needs: []string{"configure apr"}, Run: b.makeIn("apr")},
		{Name: "compile apr-util", Needs: []string{"configure apr-util", "compile apr"}, Run: b.makeIn("apr-util")},
		{Name: "configure httpd", Needs: []string{"unpack httpd", "compile apr", "configure apr-util", "compile pcre2"}, Run: b.configureHTTPD},
		{Name: "compile httpd", Needs: []string{"configure httpd", "compile apr-util"}, Run: b.makeIn("httpd")},
		{Name: "stage httpd", Needs: []string{"compile httpd"}, Run: b.stageTree},
	}
}

// nativeSteps compile each part as soon as the headers that it includes exist; only
// links wait for libraries.
func (b *builder) nativeSteps() []steps.Step {
	var unpacked []string
	for _, name := range configured {
		unpacked = append(unpacked, "unpack "+name)
	}
	return []steps.Step{
		{Name: askStep, Needs: unpacked, Run: b.ask},
		{Name: "compile pcre2", Needs: []string{"configure pcre2"}, Run: b.nativePCRE2},
		{Name: "compile apr", Needs: []string{"configure apr"}, Run: b.nativeLibrary("apr", "libapr-1.la", aprGenerated)},
		{Name: "compile apr-util", Needs: []string{"configure apr-util"}, Run: b.nativeLibrary("apr-util", "libaprutil-1.la", aprUtilLibraries)},
		{Name: "configure httpd", Needs: []string{"unpack httpd", "configure apr-util", "configure pcre2"}, Run: b.configureHTTPD},
		{Name: "compile httpd", Needs: []string{"configure httpd"}, Run: b.nativeHTTPD},
		{Name: "link apr-util", Needs: []string{"compile apr-util", "compile apr"}, Run: func(ctx context.Context, log *steps.Log) error {
			return b.aprUtil.runRest(ctx, log)
		}},
		{Name: "link httpd", Needs: []string{"compile httpd", "link apr-util", "compile pcre2"}, Run: func(ctx context.Context, log *steps.Log) error {
			return b.httpd.runRest(ctx, log)
		}},
		{Name: "stage headers", Needs: []string{"configure httpd"}, Run: b.stageAhead},
		{Name: "stage httpd", Needs: []string{"link httpd", "stage headers"}, Run: b.stageTree},
	}
}

// askStep precedes the configure scripts.
const askStep = "ask the compiler"

// waits makes a step wait for another one.
func waits(all []steps.Step, step, need string) {
	for i := range all {
		if all[i].Name == step {
			all[i].Needs = append(all[i].Needs, need)
		}
	}
}

// unneeded are directories of archives that nothing is built from: half of httpd's
// archive is the manual in nine languages.
var unneeded = map[string][]string{
	"httpd": {"docs/manual/", "docs/icons/", "docs/docroot/"}, "pcre2": {"testdata/", "doc/"},
	"openssl": {"test/", "fuzz/corpora/", "demos/"}, "nghttp2": {"doc/", "tests/", "third-party/", "src/", "bpf/", "integration-tests/"},
	"libxml2": {"doc/", "fuzz/", "python/", "test/", "result/"}, "brotli": {"tests/", "java/", "go/", "js/", "csharp/", "python/"}, crypt: {"test/"},
}

func (b *builder) unpack(c Component) func(context.Context, *steps.Log) error {
	return func(ctx context.Context, log *steps.Log) error {
		o := archive.Options{Strip: 1, Limits: archive.DefaultLimits(), SHA256: c.SHA256}
		o.Keep = func(name string) bool {
			return !slices.ContainsFunc(unneeded[c.Name], func(dir string) bool { return strings.HasPrefix(name, dir) }) || name == "docs/manual/LICENSE"
		}
		release, err := b.pool.Acquire(ctx, objgraph.Heavy+first[c.Name])
		if err != nil {
			return err
		}
		defer release()
		end := b.Timeline.Begin(timeline.Unpack, log.Step, log.Step)
		s, err := archive.Extract(ctx, c.Archive, b.dir(c.Name), o)
		end(func(span *timeline.Span) { span.Failed = err != nil })
		if err != nil {
			return err
		}
		if err := checkRelease(c, b.dir(c.Name)); err != nil {
			return err
		}
		b.unpacked.Store(c.Name, s.SHA256)
		_, err = fmt.Fprintf(log, "%s -> %s: %+v\n", c.Archive, b.dir(c.Name), s)
		return err
	}
}
