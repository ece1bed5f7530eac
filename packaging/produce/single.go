package produce

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"modwsgi/detect"
	"modwsgi/installer"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
	"modwsgi/internal/target"
	"modwsgi/modulebuild/windows"
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
	For     []string // systems to build for, as target.Parse reads them; none for this machine

	targets []target.Target // of For; an empty one is this machine
	crosses map[target.Target]*installer.Cross
}

// Check completes the options and refuses those that make no artifact. It changes
// nothing and must be called before Run. Its errors are of class Usage, or of class
// Environment on a system where nothing can be built.
func (o *Single) Check() error {
	o.Values = o.Format.complete(o.Values, o.Abs)
	if err := o.Format.check(o.Values); err != nil {
		return err
	}
	if err := o.checkTargets(); err != nil {
		return err
	}
	if o.builds() {
		if err := o.Build.System.CanBuild("make a package (" + o.Format.Name + ")"); err != nil {
			return err
		}
	}
	if o.Format.Check != nil {
		return o.Format.Check(o)
	}
	return nil
}

// builds reports whether the artifacts contain what is built on this machine, now or
// by an earlier install.
func (o *Single) builds() bool {
	return o.Format.From != NoTree && (o.Format.Finished == nil || !o.Format.Finished(o.Values))
}

// checkTargets refuses systems that the format cannot be made for.
func (o *Single) checkTargets() (err error) {
	if o.targets, err = parseTargets(o.For); err != nil {
		return err
	}
	for k, t := range o.targets {
		switch name := o.For[k]; {
		case len(o.FromEnv) > 0:
			return fault.New(fault.Usage, "leave one of them out", "--target is about building, whereas --from-env packages an existing build")
		case t == target.Target{}:
		default:
			if err := o.checkTarget(t); err != nil {
				return fault.Wrap(fault.Usage, fault.HintOf(err), fmt.Errorf("--target %s: %w", name, err))
			}
			if err := checkCrossPythons(o.Pythons, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkTarget refuses another system that the format cannot be made for.
func (o *Single) checkTarget(t target.Target) error {
	switch f := o.Format; {
	case t.OS == target.Windows && !slices.Contains(f.Targets, windows.Target):
		return fault.New(fault.Usage, "modwsgi package wheel --target windows/amd64 makes wheels for it, and modwsgi package windows a zip", "%s is not made for Windows", f.Name)
	case t.OS == target.Windows && o.Build.DebugSymbols:
		return fault.New(fault.Usage, "leave --debug-symbols out", "debugging information is separated from binaries for Linux only, not for Windows")
	case t.OS == target.Windows:
		return nil
	case f.Foreign == nil:
		return fault.New(fault.Usage, "leave --target out", "%s is not made for other systems", f.Name)
	}
	return o.Format.Foreign(t)
}

// elsewhere reports whether anything is built for another system.
func (o *Single) elsewhere() bool {
	return slices.ContainsFunc(o.targets, func(t target.Target) bool { return t != target.Target{} })
}

// twin reports whether the run has another system with the CPU of one.
func (o *Single) twin(t target.Target) bool {
	return slices.ContainsFunc(o.targets, func(other target.Target) bool { return other != t && cpuOf(other) == cpuOf(t) })
}

// cpuOf is a target without its C library. The empty one is this machine.
func cpuOf(t target.Target) target.Target {
	if t == (target.Target{}) {
		t.OS, t.Arch = runtime.GOOS, runtime.GOARCH
	}
	t.Libc, t.LibcVersion = "", ""
	return t
}

// libcOf is the C library of a target, as in its name. The empty one is this machine.
func libcOf(t target.Target) string {
	if t == (target.Target{}) {
		t, _ = target.Host() // which parsing the targets has read
	}
	return t.Libc + t.LibcVersion
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
	w := &Work{
		Settings: l.Settings, Dist: d, Time: l.at, Target: host, Trees: trees, Values: o.Values, Signers: l.signers, Base: o.Abs, facts: l.facts,
	}
	if len(trees) == 1 {
		system := target.Target{}
		if c := trees[0].For; c != nil {
			w.Target, system = trees[0].Target, c.Target()
		}
		if o.twin(system) {
			w.Twin = libcOf(system)
		}
	}
	return w
}

func (o *single) ready(ctx context.Context, l *line) error {
	o.crosses = map[target.Target]*installer.Cross{}
	if err := o.checkPythons(ctx); err != nil {
		return err
	}
	for _, t := range o.targets {
		if t.OS == target.Linux {
			if err := o.crossable(ctx, t); err != nil {
				return err
			}
		}
	}
	for _, t := range o.targets {
		if t.OS != target.Linux {
			continue
		}
		c, err := o.crossFor(ctx, t, o.Pythons, []part{{o.Format, o.Values}})
		if err != nil {
			return err
		}
		o.crosses[t] = c
	}
	if o.Format.Reach == nil {
		return nil
	}
	return o.Format.Reach(ctx, o.work(l, l.dist, nil))
}

// checkPythons refuses Pythons of this machine that the format cannot be made from, before
// anything is built.
func (o *single) checkPythons(ctx context.Context) error {
	if o.Format.Here == nil || len(o.FromEnv) > 0 || len(o.targets) > 0 && !slices.Contains(o.targets, target.Target{}) {
		return nil
	}
	for _, name := range o.pythonsHere() {
		py, err := detect.FindPython(ctx, o.Build.Runner, detect.Request{Python: name, HTTPD: "bundled", Env: o.Build.Env, Dir: o.Build.Dir})
		if err != nil {
			return err
		}
		if err := o.Format.Here(&o.Settings, py, o.Values); err != nil {
			return err
		}
	}
	return nil
}

// pythonsHere are the Pythons of this machine, as detection names them.
func (o *single) pythonsHere() []string {
	if len(o.Pythons) == 0 {
		return []string{""}
	}
	names := slices.Clone(o.Pythons)
	for k, name := range names {
		if minorVersion.MatchString(name) && len(o.targets) > 0 {
			names[k] = "python" + name
		}
	}
	return names
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
	for _, env := range o.FromEnv {
		s, err := installer.StageInstalled(ctx, env, o.Build.Setting)
		if err != nil {
			return err
		}
		t := treeOf(s, l.at)
		t.source = s.Python.Prefix
		o.trees = append(o.trees, t)
	}
	if len(o.FromEnv) > 0 {
		return nil
	}
	targets := o.targets
	if len(targets) == 0 {
		targets = []target.Target{{}}
	}
	for _, t := range targets {
		if t.OS == target.Windows {
			err = o.stageWindows(ctx, l)
		} else {
			err = o.build(ctx, l, t)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// stageWindows builds the modules for Windows.
func (o *single) stageWindows(ctx context.Context, l *line) error {
	q := o.Build
	b := WindowsBuild{Pythons: slices.Clone(o.Pythons), SDKs: o.Targets.SDKs, ModWSGI: q.ModWSGIVersion, HTTPD: orText(q.HTTPDVersion, "2.4"), Base: q, LockLimit: o.LockLimit}
	if err := b.Complete(); err != nil {
		return err
	}
	launcher, err := windowsLauncher("", q.ToolsDir)
	if err != nil {
		return err
	}
	_, trees, err := stageWindows(ctx, l, b, launcher, nil)
	o.trees = append(o.trees, trees...)
	return err
}

// build builds for each Python of one system.
func (o *single) build(ctx context.Context, l *line, t target.Target) error {
	pythons := o.Pythons
	if o.crosses[t] == nil {
		pythons = o.pythonsHere()
	}
	var builds []*build
	for k, python := range pythons {
		b := &build{request: o.Build}
		b.request.Python, b.request.Cross = python, o.crosses[t]
		suffix := ""
		if len(o.targets) > 1 {
			suffix = " for " + o.For[slices.Index(o.targets, t)]
		}
		if len(pythons) > 1 {
			suffix += fmt.Sprintf(" (%d of %d)", k+1, len(pythons))
		}
		if suffix != "" {
			b.request.Events = numbered(o.Build.Events, suffix)
		}
		builds = append(builds, b)
	}
	err := buildAll(ctx, l, builds, o.fail)
	for _, b := range builds {
		if b.tree != nil {
			o.trees = append(o.trees, b.tree)
		}
	}
	return err
}

func (o *single) staged() []staged {
	var all []staged
	for _, t := range o.trees {
		s := staged{tree: t, source: t.source, fix: "omit the affected feature, or "}
		switch {
		case t.image != nil:
			s.fix = "run modwsgi install --upgrade in the environment and copy it again, or "
		case t.source != "":
			s.fix = "run modwsgi install --upgrade --python " + run.Quote(t.source) + ", or "
		}
		all = append(all, s)
	}
	return all
}

// jobs lists one job per Python version, and one per httpd, unless one artifact holds
// everything.
func (o *single) jobs(l *line) ([]job, error) {
	f := o.Format
	one := func(part string, trees []*Tree, write func(context.Context, *Work) ([]string, error)) job {
		return job{part: part, trees: trees, write: func(ctx context.Context, d *packaging.Dist) ([]string, error) { return write(ctx, o.work(l, d, trees)) }}
	}
	if f.From != EachTree {
		return []job{one(f.Name, o.trees, f.Write)}, nil
	}
	var jobs []job
	seen, httpds := map[string]bool{}, map[string]string{}
	for _, t := range o.trees {
		if h := t.Stage.HTTPD; h != nil && f.WriteHTTPD != nil {
			id := h.Version + " " + t.Target
			if key, there := httpds[id]; there && key != h.Key {
				return nil, fault.New(fault.Usage, "package them into separate directories",
					"the environments have different builds of httpd %s, but only one %s can be made", h.Version, f.Name)
			} else if !there {
				httpds[id] = h.Key
				jobs = append(jobs, one(strings.TrimSpace("httpd "+h.Version+" "+t.Target), []*Tree{t}, f.WriteHTTPD))
			}
		}
		id := strings.TrimSpace(t.Stage.Module.Python.ABI + " " + t.Target)
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

func (o *single) parameters(l *line) map[string]string { return environment(nil, l.at) }

func (o *single) complete(*Result) {}

func (o *single) close() {
	for _, c := range o.crosses {
		defer c.Close()
	}
	for _, t := range o.trees {
		t.close()
	}
}
