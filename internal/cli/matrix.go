package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"modwsgi/detect"
	"modwsgi/installer"
	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/packaging"
	"modwsgi/packaging/matrix"
)

// matrixRun is one run of modwsgi package --matrix.
type matrixRun struct {
	a         *app
	o         *packOptions
	m         *matrix.Matrix
	dir       string // of the file, which relative paths in it start from
	formats   []matrixFormat
	cells     []matrix.Cell
	pythons   map[string]*detect.Python
	keepGoing bool

	p             *packing
	mu            sync.Mutex
	stages        map[string]*matrixStage // by httpd and Python
	windows       *windowsRelease         // nil where nothing is for Windows
	windowsStages map[string]*packaging.Stage
	failed        []matrixFailure
	made          []matrixMade
}

// matrixStage is what was built for one Python and httpd.
type matrixStage struct {
	build    *installer.Staged
	stage    *packaging.Stage
	compiled bool // something was compiled for it, rather than taken out of the build cache
}

type matrixFailure struct {
	Cell  string `json:"cell"`
	Error string `json:"error"`
	err   error
}

// matrixMade is an artifact and what it was made for.
type matrixMade struct {
	packaging.Artifact
	Cell     string        `json:"cell"`
	Elapsed  time.Duration `json:"elapsed_ns"`
	Compiled bool          `json:"compiled"`
}

// packMatrix gives the group package its flags for a whole release.
func (a *app) packMatrix(group *cobra.Command) {
	var o packOptions
	var file string
	var dryRun, keepGoing bool
	f := group.Flags()
	f.StringVar(&file, "matrix", "", "file that describes a release: Pythons, httpds, platforms and formats (docs/matrix.md)")
	f.BoolVar(&dryRun, "dry-run", false, "with --matrix: print what would be made, and make nothing")
	f.BoolVar(&keepGoing, "keep-going", false, "with --matrix: publish what could be made where something failed")
	o.flags(f)
	group.Example = "  modwsgi package wheel --python .venv\n  modwsgi package deb --python /usr/bin/python3\n  modwsgi package --matrix release.toml\n  modwsgi package --matrix release.toml --dry-run"
	// The file has what these flags say for a single format.
	for _, name := range []string{"python", "from-env", "bundle", "allow-foreign", "httpd-version", "mod-wsgi-version", "with", "without"} {
		_ = f.MarkHidden(name)
	}
	group.RunE = func(c *cobra.Command, _ []string) error {
		if file == "" {
			if c.Flags().NFlag() > 0 && !c.Flags().Changed("help") {
				return fault.New(fault.Usage, "name a format, as in modwsgi package wheel, or a description of a release with --matrix", "it is not said what to package")
			}
			return c.Help()
		}
		for _, name := range []string{"python", "from-env", "bundle", "allow-foreign", "httpd-version", "mod-wsgi-version", "with", "without"} {
			if c.Flags().Changed(name) {
				return fault.New(fault.Usage, "write it into "+file+" (docs/matrix.md)", "--matrix and --%s exclude each other", name)
			}
		}
		r := &matrixRun{a: a, o: &o, keepGoing: keepGoing, stages: map[string]*matrixStage{}, windowsStages: map[string]*packaging.Stage{}, pythons: map[string]*detect.Python{}}
		return r.run(c.Context(), file, dryRun)
	}
}

// run reads the file, and makes what it says.
func (r *matrixRun) run(ctx context.Context, file string, dryRun bool) error {
	began := time.Now()
	data, err := owned.ReadInput(r.a.abs(file), 16<<20)
	if err != nil {
		return fault.New(fault.Usage, "name a release.toml (docs/matrix.md)", "read --matrix: %w", err)
	}
	r.dir, r.formats = filepath.Dir(r.a.abs(file)), r.a.matrixFormats()
	var known []matrix.Format
	for _, f := range r.formats {
		known = append(known, f.Format)
	}
	if r.m, err = matrix.Parse(file, data, known); err != nil {
		return err
	}
	if r.cells, err = r.m.Cells(runtime.GOOS+"/"+runtime.GOARCH, known); err != nil {
		return err
	}
	r.dropRepeated()
	if dryRun {
		if err := r.a.start(); err != nil {
			return err
		}
		for _, step := range []func(context.Context) error{r.checkWindows, r.findPythons} {
			if err := step(ctx); err != nil {
				return err
			}
		}
		r.a.view.close()
		return r.showPlan()
	}
	if r.p, err = r.a.openPacking(ctx, r.o); err != nil {
		return err
	}
	defer r.p.Abort()
	defer r.close()
	for _, step := range []func(context.Context) error{r.checkWindows, r.findPythons, r.build, r.packageAll} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if len(r.made) == 0 {
		return r.failure()
	}
	var stages []*packaging.Stage
	for _, key := range sortedNames(r.stages) {
		stages = append(stages, r.stages[key].stage)
	}
	if err := r.p.finish(ctx, stages); err != nil {
		return err
	}
	r.a.view.close()
	if err := r.show(time.Since(began)); err != nil {
		return err
	}
	return r.failure()
}

func sortedNames[V any](m map[string]V) []string {
	all := make([]string, 0, len(m))
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

func (r *matrixRun) close() {
	for _, s := range r.stages {
		s.build.Close()
	}
}

// failure is the error for what failed, nil where nothing did.
func (r *matrixRun) failure() error {
	if len(r.failed) == 0 {
		return nil
	}
	first := r.failed[0].err
	if len(r.failed) == 1 {
		return first
	}
	var texts []string
	for _, f := range r.failed {
		texts = append(texts, f.Error)
	}
	return fault.New(fault.ClassOf(first), fault.HintOf(first), "%d parts of the release failed:\n  %s", len(r.failed), strings.Join(texts, "\n  "))
}

// fail notes a failure; without --keep-going it is returned, which ends the run.
func (r *matrixRun) fail(ctx context.Context, cell string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	err = fault.Wrap(fault.ClassOf(err), fault.HintOf(err), fmt.Errorf("%s: %w", cell, err))
	if !r.keepGoing {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = append(r.failed, matrixFailure{cell, err.Error(), err})
	r.a.view.sink().Warn(err.Error())
	return nil
}

var minorVersion = regexp.MustCompile(`^3\.[0-9]+t?$`)

// python turns a name in the file into what --python takes.
func (r *matrixRun) python(name string) string {
	switch {
	case minorVersion.MatchString(name):
		return "python" + name
	case strings.ContainsRune(name, '/') || strings.HasPrefix(name, "."):
		if !filepath.IsAbs(name) {
			return filepath.Join(r.dir, name)
		}
	}
	return name
}

// findPythons looks for all Pythons before anything is built.
func (r *matrixRun) findPythons(ctx context.Context) error {
	q := r.a.request()
	for _, name := range r.m.Pythons {
		if !slices.ContainsFunc(r.cells, func(c matrix.Cell) bool { return c.Python == name && r.staged(c) }) {
			continue
		}
		py, err := detect.FindPython(ctx, q.Runner, detect.Request{Python: r.python(name), HTTPD: "bundled", Env: q.Env, Dir: q.Dir})
		if err != nil {
			if err := r.fail(ctx, "Python "+name, err); err != nil {
				return err
			}
			r.cells = slices.DeleteFunc(r.cells, func(c matrix.Cell) bool { return c.Python == name && r.staged(c) })
			continue
		}
		r.pythons[name] = py
	}
	return nil
}

func (r *matrixRun) format(name string) matrixFormat {
	i := slices.IndexFunc(r.formats, func(f matrixFormat) bool { return f.Name == name })
	return r.formats[i]
}

// staged says whether a cell is made of what is built for this machine.
func (r *matrixRun) staged(c matrix.Cell) bool { return !matrix.IsWindows(c.Platform) }

func stageKey(h *matrix.HTTPD, python string) string { return h.Name + "\x00" + python }

// build builds for this machine and for others at the same time.
func (r *matrixRun) build(ctx context.Context) error {
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error { return r.buildWindows(gctx) })
	group.Go(func() error { return r.buildHost(gctx) })
	return group.Wait()
}

// buildHost builds each pair once: an httpd with the first Python that works, the
// modules for the others side by side.
func (r *matrixRun) buildHost(ctx context.Context) error {
	for k := range r.m.HTTPDs {
		h := &r.m.HTTPDs[k]
		var pythons []string
		for _, c := range r.cells {
			if c.HTTPD == h && r.staged(c) && !slices.Contains(pythons, c.Python) {
				pythons = append(pythons, c.Python)
			}
		}
		for len(pythons) > 0 && r.stages[stageKey(h, pythons[0])] == nil {
			first := pythons[0]
			if err := r.buildOne(ctx, h, first); err != nil {
				return err
			}
			pythons = pythons[1:]
			if r.stages[stageKey(h, first)] != nil {
				break
			}
		}
		group, gctx := errgroup.WithContext(ctx)
		group.SetLimit(max(1, min(4, r.jobs())))
		for _, python := range pythons {
			group.Go(func() error { return r.buildOne(gctx, h, python) })
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return nil
}

func (r *matrixRun) jobs() int {
	if r.o.request.Jobs > 0 {
		return r.o.request.Jobs
	}
	return runtime.NumCPU()
}

// buildOne builds the stage of one pair.
func (r *matrixRun) buildOne(ctx context.Context, h *matrix.HTTPD, python string) error {
	q, base := r.o.request, r.a.request()
	q.Dir, q.Env, q.ToolsDir, q.Runner = base.Dir, base.Env, base.ToolsDir, base.Runner
	q.LockTimeout = base.LockTimeout
	q.Python, q.HTTPDVersion, q.ModWSGIVersion, q.With, q.Without = r.python(python), h.Version, r.m.ModWSGI.Version, h.With, h.Without
	compiled, mu := false, sync.Mutex{}
	q.Events = func(e event.Event) {
		if e.Kind == event.Start && strings.HasPrefix(e.Step, "compile ") {
			mu.Lock()
			compiled = true
			mu.Unlock()
		}
		base.Events.Send(e)
	}
	s, err := installer.Stage(ctx, q.Means, q.StagePlan)
	if err != nil {
		return r.fail(ctx, fmt.Sprintf("build for Python %s and httpd %s", python, h.Name), err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stages[stageKey(h, python)] = &matrixStage{s, stageOf(s, r.p.at), compiled}
	return nil
}

// packageAll makes the artifacts of all cells side by side, each in an output
// directory of its own, and takes over those that were made completely.
func (r *matrixRun) packageAll(ctx context.Context) error {
	scratch, err := r.p.Scratch()
	if err != nil {
		return err
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(max(1, min(8, r.jobs())))
	jobs := r.work()
	done := make([]*packaging.Dist, len(jobs))
	defer func() {
		for _, d := range done {
			if d != nil {
				d.Abort()
			}
		}
	}()
	for k, j := range jobs {
		group.Go(func() error {
			if err := gctx.Err(); err != nil { // another one failed
				return err
			}
			d, err := packaging.Open(filepath.Join(scratch, fmt.Sprint(k)), false)
			if err == nil {
				done[k] = d
				err = r.a.view.sink().Step("package "+j.name, func() error {
					warnings, err := j.write(gctx, d)
					for _, w := range warnings {
						r.a.view.sink().Warn(w)
					}
					return err
				})
			}
			if err == nil {
				return nil
			}
			if d != nil {
				done[k] = nil
				d.Abort()
			}
			return r.fail(gctx, j.name, err)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for k, j := range jobs {
		if done[k] != nil {
			if err := r.take(ctx, j, done[k]); err != nil {
				return err
			}
		}
	}
	return nil
}

// matrixJob makes the artifacts of a cell.
type matrixJob struct {
	name     string
	compiled bool
	write    func(context.Context, *packaging.Dist) ([]string, error)
}

// work lists what is to be made of the stages that there are.
func (r *matrixRun) work() []matrixJob {
	var jobs []matrixJob
	once := map[string]bool{}
	for _, c := range r.cells {
		if matrix.IsWindows(c.Platform) {
			if s := r.windowsStages[windowsKey(c)]; s != nil {
				jobs = append(jobs, matrixJob{c.String(), true, func(ctx context.Context, d *packaging.Dist) ([]string, error) {
					return nil, writeWindowsCell(ctx, c, d, s)
				}})
			}
			continue
		}
		f, s := r.format(c.Format), r.stages[stageKey(c.HTTPD, c.Python)]
		if s == nil {
			continue
		}
		if key := c.Format + "\x00" + c.HTTPD.Name; f.writeHTTPD != nil && !once[key] {
			once[key] = true
			jobs = append(jobs, matrixJob{fmt.Sprintf("%s of httpd %s", c.Format, c.HTTPD.Name), s.compiled, func(ctx context.Context, d *packaging.Dist) ([]string, error) {
				return f.writeHTTPD(ctx, r, c, d, s)
			}})
		}
		jobs = append(jobs, matrixJob{c.String(), s.compiled, func(ctx context.Context, d *packaging.Dist) ([]string, error) { return f.write(ctx, r, c, d, s) }})
	}
	return jobs
}

// take moves what a cell has made into the release.
func (r *matrixRun) take(ctx context.Context, j matrixJob, from *packaging.Dist) error {
	for _, art := range from.Added() {
		if other := slices.IndexFunc(r.made, func(m matrixMade) bool { return m.Name == art.Name }); other >= 0 {
			if r.made[other].SHA256 == art.SHA256 {
				continue
			}
			err := fault.New(fault.Usage, "give the httpds names, leave one out with [[exclude]], or make two releases",
				"%s is made twice, with different contents: %s, and %s", art.Name, r.made[other].Cell, j.name)
			if err := r.fail(ctx, j.name, err); err != nil {
				return err
			}
			continue
		}
		if err := r.p.Take(from, art.Name); err != nil {
			return err
		}
		took := art.Took
		if err := r.p.Add(&art); err != nil {
			return err
		}
		r.made = append(r.made, matrixMade{art, j.name, took, j.compiled})
	}
	for _, name := range from.Metas() {
		if slices.Contains(r.p.Metas(), name) {
			continue
		}
		data, err := readFrom(from, name)
		if err == nil {
			err = r.p.Meta(name, data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func readFrom(d *packaging.Dist, name string) ([]byte, error) {
	f, err := d.Open(name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(f)
	return data, errors.Join(err, f.Close())
}
