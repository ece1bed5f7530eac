package produce

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"modwsgi/detect"
	"modwsgi/installer"
	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/packaging"
	"modwsgi/packaging/authenticode"
	"modwsgi/packaging/matrix"
)

// Release is a request for everything that a release.toml describes.
type Release struct {
	Settings
	File      string // path of the release.toml, absolute
	Name      string // path as given, for messages
	KeepGoing bool   // publish the successful artifacts even if others failed
	// Shard is the part of the release to make, and Only are conditions of what to make
	// ("python=3.12,platform=linux/arm64", one of which must hold); at most one is given.
	Shard matrix.Shard
	Only  []string

	m      *matrix.Matrix
	all    []matrix.Cell // of the file
	chosen []matrix.Cell // of this machine
	cells  []matrix.Cell // of those, what can be made
	// elsewhere holds the artifacts that are the same for every Python of one httpd, and
	// that another machine makes: by sharedKey.
	elsewhere map[string]bool
	digest    string // of the file: SHA-256
	pythons   map[string]*detect.Python
	values    map[string]Values // by format
	// versions are those of httpd and mod_wsgi that each build begins with, by treeKey.
	versions map[string][2]string

	building bool       // the checks are over
	mu       sync.Mutex // failures
	failures []Failure
	builds   map[string]*build           // by httpd and Python
	windows  map[string]*Tree            // by version of httpd, and Python
	crosses  map[string]*installer.Cross // by platform
	launcher string
	sign     *authenticode.Signer // nil for unsigned
}

// Read reads the file and lists its cells. It changes nothing and must be called
// before Plan or Run. Its errors are of class Usage.
func (o *Release) Read() error {
	data, err := owned.ReadInput(o.File, 16<<20)
	if err != nil {
		return fault.New(fault.Usage, "name a release.toml (docs/reference/matrix.md)", "read --matrix: %w", err)
	}
	known := Known(o.Build.System)
	if o.m, err = matrix.Parse(o.Name, data, known); err != nil {
		return err
	}
	if o.cells, err = o.m.Cells(hostOn(o.Build.System), known); err != nil {
		return err
	}
	o.dropRepeated()
	o.all, o.digest = slices.Clone(o.cells), digest.Bytes(data)
	if err := o.choose(); err != nil {
		return err
	}
	o.pythons, o.builds, o.windows, o.values = map[string]*detect.Python{}, map[string]*build{}, map[string]*Tree{}, map[string]Values{}
	for _, c := range o.cells {
		o.values[c.Format] = Find(c.Format).complete(o.m.Options[c.Format], o.path)
	}
	return nil
}

// Run makes the release.
func (o *Release) Run(ctx context.Context) (*Result, error) {
	return carryOut(ctx, &o.Settings, &matrixOrder{Release: o})
}

// path resolves a path from the file.
func (o *Release) path(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(o.File), name)
}

var minorVersion = regexp.MustCompile(`^3\.[0-9]+t?$`)

// python converts a name in the file to a value for --python.
func (o *Release) python(name string) string {
	switch {
	case minorVersion.MatchString(name):
		return "python" + name
	case strings.ContainsRune(name, '/') || strings.HasPrefix(name, "."):
		return o.path(name)
	}
	return name
}

// findPythons finds all Pythons before anything is built.
func (o *Release) findPythons(ctx context.Context) error {
	for _, name := range o.m.Pythons {
		ours := func(c matrix.Cell) bool { return c.Python == name && here(c) }
		if !slices.ContainsFunc(o.cells, ours) {
			continue
		}
		py, err := detect.FindPython(ctx, o.Build.Runner, detect.Request{Python: o.python(name), HTTPD: "bundled", Env: o.Build.Env, Dir: o.Build.Dir})
		if err != nil {
			if err := o.fail(ctx, "Python "+name, err); err != nil {
				return err
			}
			o.cells = slices.DeleteFunc(o.cells, ours)
			continue
		}
		o.pythons[name] = py
		if err := o.checkPython(ctx, name, py); err != nil {
			return err
		}
	}
	return nil
}

// checkPython refuses the cells whose format cannot be made from a Python of this machine.
func (o *Release) checkPython(ctx context.Context, name string, py *detect.Python) error {
	refused := map[string]bool{} // formats
	for _, c := range o.cells {
		f := Find(c.Format)
		if _, known := refused[c.Format]; known || c.Python != name || !here(c) || f.Here == nil {
			continue
		}
		err := f.Here(&o.Settings, py, o.values[c.Format])
		if refused[c.Format] = err != nil; err != nil {
			if err := o.fail(ctx, c.Format+" of Python "+name, err); err != nil {
				return err
			}
		}
	}
	o.cells = slices.DeleteFunc(o.cells, func(c matrix.Cell) bool { return c.Python == name && here(c) && refused[c.Format] })
	return nil
}

// fail records a failure. Without KeepGoing it returns it, which ends the run.
func (o *Release) fail(ctx context.Context, part string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	hint := keysFor(fault.HintOf(err), part)
	if !o.KeepGoing && o.building && len(o.cells) > 1 {
		hint = strings.TrimPrefix(hint+"; what was built is in the cache, and --keep-going publishes what could be made", "; ")
	}
	err = fault.Wrap(fault.ClassOf(err), hint, fmt.Errorf("%s: %w", part, err))
	if !o.KeepGoing {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failures = append(o.failures, Failure{part, err.Error(), err})
	o.events().Warn(err.Error())
	return nil
}

// matrixOrder implements order for a release.
type matrixOrder struct{ *Release }

func (o *matrixOrder) ready(ctx context.Context, l *line) error {
	l.shard = o.shardRecord()
	if err := o.checkWindows(); err != nil {
		return err
	}
	if err := o.checkCross(); err != nil {
		return err
	}
	if err := o.findPythons(ctx); err != nil {
		return err
	}
	if err := o.planBuilds(ctx); err != nil {
		return err
	}
	return o.makeCrosses(ctx)
}

// stage builds for Linux systems, then for Windows.
func (o *matrixOrder) stage(ctx context.Context, l *line) error {
	o.building = true
	// One after the other: both use all processors, and Windows takes the versions that the
	// lock file has then.
	if err := o.buildHost(ctx, l); err != nil {
		return err
	}
	return o.buildWindows(ctx, l)
}

func treeKey(c matrix.Cell) string { return c.HTTPD.Name + "\x00" + c.Platform + "\x00" + c.Python }

// buildHost builds each combination of httpd, Linux system and Python once.
func (o *matrixOrder) buildHost(ctx context.Context, l *line) error {
	for k := range o.m.HTTPDs {
		h := &o.m.HTTPDs[k]
		var platforms []string
		groups := map[string][]*build{}
		for _, c := range o.cells {
			key := treeKey(c)
			if c.HTTPD != h || matrix.IsWindows(c.Platform) || o.builds[key] != nil {
				continue
			}
			b := o.crossBuildOf(c)
			o.builds[key] = b
			if groups[c.Platform] == nil {
				platforms = append(platforms, c.Platform)
			}
			groups[c.Platform] = append(groups[c.Platform], b)
		}
		for _, platform := range platforms {
			if err := buildAll(ctx, l, groups[platform], o.fail); err != nil {
				return err
			}
		}
	}
	return nil
}

// buildOf describes the build of a cell.
func (o *Release) buildOf(c matrix.Cell) *build {
	h := c.HTTPD
	b := &build{part: fmt.Sprintf("build for Python %s and httpd %s", c.Python, h.Name), request: o.Build}
	q := &b.request
	q.Python, q.HTTPDVersion, q.ModWSGIVersion, q.With, q.Without = o.python(c.Python), h.Version, o.m.ModWSGI.Version, h.With, h.Without
	q.Libraries, q.Hardening = h.Libraries, h.Hardening
	return b
}

// crossBuildOf describes the build of a cell, which may be for another system.
func (o *matrixOrder) crossBuildOf(c matrix.Cell) *build {
	b := o.buildOf(c)
	if !here(c) {
		b.part += " on " + c.Platform
		b.request.Python, b.request.Cross = c.Python, o.crosses[c.Platform]
		b.request.Events = numbered(o.Build.Events, " on "+c.Platform)
	}
	return b
}

func (o *matrixOrder) staged() []staged {
	var all []staged
	for _, key := range sortedNames(o.builds) {
		if b := o.builds[key]; b.tree != nil {
			all = append(all, staged{tree: b.tree, name: b.part, fix: "omit the affected feature, or ", drop: func() {
				b.tree.close()
				b.tree = nil
			}})
		}
	}
	return all
}

// jobs lists what to make from the trees that were built.
func (o *matrixOrder) jobs(l *line) ([]job, error) {
	var jobs []job
	shared := map[string]bool{}
	add := func(part string, c matrix.Cell, t *Tree, write func(context.Context, *Work) ([]string, error)) {
		label := ""
		if o.m.Several() && !t.Cross {
			label = c.HTTPD.Name
		}
		jobs = append(jobs, job{part: part, step: "package " + part, compiled: t.Compiled, trees: []*Tree{t}, write: func(ctx context.Context, d *packaging.Dist) ([]string, error) {
			return write(ctx, &Work{
				Settings: l.Settings, Dist: d, Time: l.at, Target: c.Platform, Trees: []*Tree{t}, Values: o.values[c.Format], Label: label, Base: o.path,
				Twin: o.twin(c),
			})
		}})
	}
	for _, c := range o.cells {
		f, t := Find(c.Format), o.tree(c)
		if t == nil {
			continue
		}
		if key := sharedKey(c); f.WriteHTTPD != nil && !t.Cross && !shared[key] && !o.elsewhere[key] {
			shared[key] = true
			add(sharedPart(c), c, t, f.WriteHTTPD)
		}
		add(c.String(), c, t, f.Write)
	}
	if l.shard != nil {
		l.shard.Failed = append(l.shard.Failed, o.notShared(shared)...)
	}
	return jobs, nil
}

// sharedPart names the artifact that is the same for every Python of one httpd.
func sharedPart(c matrix.Cell) string {
	part := fmt.Sprintf("%s of httpd %s", c.Format, c.HTTPD.Name)
	if !here(c) {
		part += ", " + c.Platform
	}
	return part
}

// notShared lists what this machine was to make for all others and could not, because no
// build with that httpd succeeded here. made is by sharedKey.
func (o *Release) notShared(made map[string]bool) []string {
	var all []string
	for _, c := range o.chosen {
		key := sharedKey(c)
		if Find(c.Format).WriteHTTPD != nil && !matrix.IsWindows(c.Platform) && !o.elsewhere[key] && !made[key] {
			all = append(all, sharedPart(c))
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(all)))
}

// sharedKey identifies the artifact that is the same for every Python of one httpd.
func sharedKey(c matrix.Cell) string { return c.Format + "\x00" + c.HTTPD.Name + "\x00" + c.Platform }

// tree is the tree that a cell is made from, nil if it could not be built.
func (o *matrixOrder) tree(c matrix.Cell) *Tree {
	if matrix.IsWindows(c.Platform) {
		return o.windows[windowsKey(c)]
	}
	if b := o.builds[treeKey(c)]; b != nil {
		return b.tree
	}
	return nil
}

func (o *matrixOrder) step() string { return "" }

func (o *matrixOrder) failed() []Failure { return o.failures }

func (o *matrixOrder) parameters(l *line) map[string]string { return environment(nil, l.at) }

func sortedNames[V any](m map[string]V) []string {
	all := make([]string, 0, len(m))
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

func (o *matrixOrder) complete(*Result) {}

func (o *matrixOrder) close() {
	for _, c := range o.crosses {
		defer c.Close()
	}
	for _, b := range o.builds {
		b.tree.close()
	}
}
