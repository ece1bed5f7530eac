package produce

import (
	"context"
	"fmt"

	"modwsgi/installer"
	"modwsgi/internal/fault"
	"modwsgi/packaging"
)

// Single is a request for one format: for some Pythons, or of what is installed in
// some environments.
type Single struct {
	Settings
	Format  Format
	Values  Values   // the given options
	Pythons []string // Pythons to build for; if empty, one is detected
	FromEnv []string // environments whose installed files are packaged instead of building
}

// Check completes the options and refuses those that make no artifact. It changes
// nothing and must be called before Run. Its errors are of class Usage.
func (o *Single) Check() error {
	o.Values = o.Format.complete(o.Values, o.Abs)
	if err := o.Format.check(o.Values); err != nil {
		return err
	}
	if o.Format.Check != nil {
		return o.Format.Check(o)
	}
	return nil
}

// Run makes the artifacts.
func (o *Single) Run(ctx context.Context) (*Result, error) {
	return carryOut(ctx, &o.Settings, &single{Single: o})
}

// single implements order for one format.
type single struct {
	*Single
	trees []*Tree
}

func (o *single) work(l *line, d *packaging.Dist, trees []*Tree) *Work {
	return &Work{
		Settings: l.Settings, Dist: d, Time: l.at, Target: host, Trees: trees, Values: o.Values, Signers: l.signers, Base: o.Abs, facts: l.facts,
	}
}

func (o *single) ready(ctx context.Context, l *line) error {
	if o.Format.Reach == nil {
		return nil
	}
	return o.Format.Reach(ctx, o.work(l, l.dist, nil))
}

// stage builds for each Python, or takes what is installed.
func (o *single) stage(ctx context.Context, l *line) (err error) {
	if o.Format.From == NoTree {
		return nil
	}
	if o.Format.Trees != nil {
		if o.trees, err = o.Format.Trees(o.Single, l.at); err != nil || len(o.trees) > 0 {
			return err
		}
	}
	q := o.Build
	for _, env := range o.FromEnv {
		s, err := installer.StageInstalled(ctx, env, q.Setting)
		if err != nil {
			return err
		}
		o.trees = append(o.trees, treeOf(s, l.at))
	}
	if len(o.FromEnv) > 0 {
		return nil
	}
	pythons := o.Pythons
	if len(pythons) == 0 {
		pythons = []string{""}
	}
	var builds []*build
	for k, python := range pythons {
		b := &build{request: q}
		b.request.Python = python
		if len(pythons) > 1 {
			b.request.Events = numbered(q.Events, fmt.Sprintf(" (%d of %d)", k+1, len(pythons)))
		}
		builds = append(builds, b)
	}
	err = buildAll(ctx, l, builds, o.fail)
	for _, b := range builds {
		if b.tree != nil {
			o.trees = append(o.trees, b.tree)
		}
	}
	return err
}

// jobs lists one job per Python version, and one per httpd, unless one artifact holds
// everything.
func (o *single) jobs(l *line) ([]job, error) {
	f := o.Format
	one := func(part string, trees []*Tree, write func(context.Context, *Work) ([]string, error)) job {
		return job{part: part, write: func(ctx context.Context, d *packaging.Dist) ([]string, error) { return write(ctx, o.work(l, d, trees)) }}
	}
	if f.From != EachTree {
		return []job{one(f.Name, o.trees, f.Write)}, nil
	}
	var jobs []job
	seen, httpds := map[string]bool{}, map[string]string{}
	for _, t := range o.trees {
		if h := t.Stage.HTTPD; h != nil && f.WriteHTTPD != nil {
			if key, there := httpds[h.Version]; there && key != h.Key {
				return nil, fault.New(fault.Usage, "package them into separate directories",
					"the environments have different builds of httpd %s, but only one %s can be made", h.Version, f.Name)
			} else if !there {
				httpds[h.Version] = h.Key
				jobs = append(jobs, one("httpd "+h.Version, []*Tree{t}, f.WriteHTTPD))
			}
		}
		id := t.Stage.Module.Python.ABI
		if seen[id] {
			l.events().Note("several Pythons are for " + id + ": only the first is packaged, because it serves all of them")
			continue
		}
		seen[id] = true
		jobs = append(jobs, one("Python "+id, []*Tree{t}, f.Write))
	}
	return jobs, nil
}

func (o *single) step() string { return "package" }

func (o *single) fail(_ context.Context, _ string, err error) error { return err }

func (o *single) failed() []Failure { return nil }

func (o *single) parameters(l *line) map[string]string { return environment(o.trees, l.at) }

func (o *single) complete(*Result) {}

func (o *single) close() {
	for _, t := range o.trees {
		t.close()
	}
}
