package installer

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"modwsgi/detect"
	"modwsgi/httpdbuild"
	"modwsgi/internal/cachedir"
	"modwsgi/internal/digest"
	"modwsgi/internal/distro"
	"modwsgi/internal/owned"
	"modwsgi/internal/receipt"
	"modwsgi/internal/recipe"
	"modwsgi/internal/run"
)

// A plan is made in three steps: examine the environment (this file), let rules decide
// what must be done (rules.go), list the acceptable versions (choose.go). The compiler is
// tried in a temporary directory, or recalled from an earlier run (host.go).
//
// The plan holds every decision and nothing that runs, so it can be written out, read
// back and carried out as if it were new. Two things in it show whether it is still
// valid: the footprint of what is installed, and the recorded host, which is probed again
// before anything is built.

// First is the [Planner] that returns this plan, and makes a new one only if it is no
// longer valid.
func (p *Plan) First() Planner {
	given := p
	return func(ctx context.Context, m Means) (*Plan, error) {
		if first := given; first != nil {
			given = nil
			return first, nil
		}
		return MakePlan(ctx, Request{p.Wish, m})
	}
}

// MakePlan examines the environment and decides what to do. It changes nothing: the
// compiler is tried in a temporary directory, which is removed.
func MakePlan(ctx context.Context, q Request) (*Plan, error) {
	if err := q.System.CanBuild("build httpd and mod_wsgi"); err != nil {
		return nil, err
	}
	if err := run.CheckProc(); err != nil {
		return nil, err
	}
	w, err := q.Wish.complete(q.Dir)
	if err != nil {
		return nil, err
	}
	m, err := q.Means.complete(ctx)
	if err != nil {
		return nil, err
	}
	if !w.Portable {
		if err := httpdbuild.CheckNames(w.With, w.Without); err != nil {
			return nil, err
		}
		if _, _, err := m.shared(); err != nil {
			return nil, err
		}
	}
	if m.Cross != nil && (!w.Portable || w.HTTPD != "bundled") {
		return nil, fmt.Errorf("build for %s: only a packaged build with a bundled httpd can be for another system", m.Cross.Target())
	}
	py, err := m.findPython(ctx, w)
	if err != nil {
		return nil, err
	}
	p := &Plan{Python: py, Site: py.Platlib, Wish: w}
	s := &state{}
	if !w.Portable {
		if err := checkPrefix(py, w.BreakSystemPackages); err != nil {
			return nil, err
		}
		p.Footprint = footprintOf(py)
		p.Former = findFormer(py, m.Events)
		if s, err = readState(p.Site); err != nil {
			return nil, err
		}
	}
	lock, err := readLock(w.LockFile, w.Locked)
	if err != nil {
		return nil, err
	}
	if err := planHTTPD(ctx, p, s, m.Setting, lock); err != nil {
		return nil, alsoMissing(ctx, p, m, err)
	}
	if err := planModule(p, s, m.programs(), lock); err != nil {
		return nil, err
	}
	if !p.builds() {
		p.Former = oursOf(p.Former)
	}
	for _, f := range p.Former {
		p.Reasons = append(p.Reasons, fmt.Sprintf("remove %s, which this environment had before (%s)", f, f.Site))
	}
	if p.Nothing = !p.builds() && len(p.Former) == 0; !p.builds() {
		return p, nil
	}
	return p, planBuild(ctx, p, m, lock)
}

// planHTTPD decides where the httpd comes from: the one the user named, else the
// environment's own, else the system's, else a new one.
func planHTTPD(ctx context.Context, p *Plan, s *state, at Setting, lock *recipe.Lock) error {
	w := p.Wish
	if w.Portable && w.HTTPD == "bundled" {
		p.HTTPD.Action = BuildHTTPD
		return nil
	}
	ask := at.question(w.Python, w.HTTPD)
	candidates, err := detect.FindHTTPDs(ctx, at.Runner, p.Python, ask)
	if err != nil {
		return err
	}
	for _, c := range candidates {
		if c.Refused != "" {
			p.HTTPD.Refused = append(p.HTTPD.Refused, c)
		}
	}
	var chosen *detect.HTTPD
	if before := namedBefore(w, s, candidates); before != "" {
		var why string
		if chosen, why, err = findNamed(ctx, at.Runner, p.Python, ask, before); err != nil {
			return err
		}
		if why != "" {
			p.Reasons = append(p.Reasons, why)
		}
	}
	if chosen == nil {
		chosen, err = detect.Choose(candidates, ask)
	}
	if err != nil && (!errors.Is(err, detect.ErrNoHTTPD) || w.HTTPD != "auto" && w.HTTPD != "bundled") {
		return err
	}
	d, err := decideHTTPD(w, chosen, p.HTTPD.Refused, lookAtTree(w, s, chosen), lock)
	if err != nil {
		return err
	}
	p.Reasons = append(p.Reasons, d.reasons...)
	p.HTTPD.Action, p.HTTPD.Use = d.action, d.use
	p.replacesOnlyOlder("httpd", d.older)
	if d.action == KeepHTTPD {
		p.HTTPD.Record = s.tree
	}
	return nil
}

// findNamed finds the httpd at a path that was named before. It returns nil and why if
// that httpd cannot be used any more.
func findNamed(ctx context.Context, r *run.Runner, py *detect.Python, ask detect.Request, path string) (_ *detect.HTTPD, why string, _ error) {
	// Its programs are run, and the record may be another user's.
	if err := owned.Check(path); owned.IsUntrusted(err) {
		return nil, "another httpd: " + path + ", which was named before, is not used again unless it is named (" + err.Error() + ")", nil
	}
	ask.HTTPD = path
	found, err := detect.FindHTTPDs(ctx, r, py, ask)
	if err != nil {
		return nil, "", err
	}
	for i := range found {
		if h := &found[i]; h.Provenance == detect.Explicit {
			if h.Refused == "" {
				return h, "", nil
			}
			why = "another httpd: " + path + ", which was named before, can no longer be used (" + h.Refused + ")"
		}
	}
	return nil, why, nil
}

// lookAtTree examines the environment's own httpd, if that is chosen.
func lookAtTree(w Wish, s *state, chosen *detect.HTTPD) presentHTTPD {
	present := presentHTTPD{record: s.tree}
	if s.httpd != nil && chosen != nil && chosen.Provenance == detect.Bundled && !w.Reinstall {
		if damage := s.httpd.Check(); len(damage) > 0 {
			present.damaged = damage[0].Path
		}
	}
	return present
}

// planModule decides whether the present module can stay.
func planModule(p *Plan, s *state, toolsDir string, lock *recipe.Lock) error {
	choices, skipped, err := moduleChoices(p.Wish, p.Python.Version, lock)
	if err != nil && (s.module == nil || p.Wish.Upgrade) {
		return err
	}
	noChoices := err
	present := lookAtModule(p, s)
	launcher := func() (bool, error) { return launcherChanged(toolsDir, p.Python.Scripts) }
	why, older, err := whyModule(p.Wish, present, p.HTTPD.Action == BuildHTTPD, choices, lock, launcher)
	if err != nil {
		return err
	}
	p.replacesOnlyOlder("mod_wsgi", older)
	if why == "" {
		p.Module.Action = keepModule
		return nil
	}
	if other := s.module; other != nil && !ours(other) {
		p.Replaces = fmt.Sprintf("%s %s, which %s installed, is replaced", other.Name, other.Version, orSomebody(other.Installer))
	}
	p.Reasons = append(p.Reasons, "build mod_wsgi: "+why)
	p.Module.Action, p.Module.Versions, p.Module.Refused = buildModule, choices, skipped
	return noChoices
}

// lookAtModule collects what the rules need to know about the present module.
func lookAtModule(p *Plan, s *state) presentModule {
	present := presentModule{there: s.module != nil, ours: ours(s.module) && s.receipt != nil, receipt: s.receipt}
	if !present.ours || p.Wish.Reinstall {
		return present
	}
	if damage := s.module.Check(); len(damage) > 0 {
		present.damaged = damage[0].Path
	}
	if p.HTTPD.Use != nil {
		present.today = receipt.Look(s.receipt, p.Python.Recorded())
		present.today.HTTPD = p.HTTPD.Use.Recorded()
	}
	return present
}

// launcherChanged compares the installed launcher with the one beside this program.
func launcherChanged(toolsDir, scripts string) (bool, error) {
	program, err := tool(toolsDir, "mod_wsgi-express")
	if err != nil {
		return false, err
	}
	here, err := digest.File(program)
	if err != nil {
		return false, err
	}
	placed, err := digest.File(filepath.Join(scripts, filepath.Base(program)))
	return err != nil || here != placed, nil
}

// planBuild probes the compiler, or recalls it, and decides about features and versions.
func planBuild(ctx context.Context, p *Plan, m Means, lock *recipe.Lock) (err error) {
	python := p.Python.CanBuild()
	if python != nil && len(distro.Fixing(python)) == 0 {
		return python // before the host is probed
	}
	withHTTPD := p.HTTPD.Action == BuildHTTPD
	if withHTTPD { // before the host is probed
		if p.HTTPD.Versions, err = httpdChoices(p.Wish, p.Wish.With, lock); err != nil {
			return err
		}
	}
	if err := findHost(ctx, p, m, python, withHTTPD); err != nil {
		return err
	}
	if withHTTPD {
		driver, err := httpdbuild.ParseDriver(p.Wish.BuildDriver)
		if err != nil {
			return err
		}
		if err := p.Host.HTTPD.CheckDriver(driver); err != nil {
			return err
		}
		from, err := httpdbuild.ParseLibraries(p.Wish.Libraries)
		if err != nil {
			return err
		}
		selected, err := p.Host.HTTPD.Select(p.Wish.With, p.Wish.Without, from)
		if err := missing(python, p.Host.HTTPD.CheckNeeds(from), err); err != nil {
			return err
		}
		p.HTTPD.Features, p.HTTPD.Libraries, p.HTTPD.Notes = selected.Features, selected.Libraries, selected.Notes
	}
	if python != nil {
		return python
	}
	if withHTTPD {
		if p.HTTPD.Versions, err = httpdChoices(p.Wish, p.HTTPD.Features, lock); err != nil {
			return err
		}
		if p.HTTPD.Parts, err = partChoices(p.Wish, p.HTTPD.Libraries, lock); err != nil {
			return err
		}
	}
	p.Warnings = unvouchedIn(p)
	return nil
}

// findHost probes the compiler, or recalls it.
func findHost(ctx context.Context, p *Plan, m Means, python error, withHTTPD bool) (err error) {
	if m.Cross != nil {
		if python != nil {
			return python
		}
		p.Host, err = m.Cross.probe(ctx, m.Setting, p.Wish.Python, p.Python, withHTTPD)
		return err
	}
	cache, err := cachedir.Find(m.cache())
	if err != nil {
		cache = "" // a plan needs none
	}
	memory := memoryFor(p, cache, m.Env)
	if p.Host, p.Recalled = memory.recall(withHTTPD); p.Recalled {
		return nil
	}
	if p.Host, err = probeHost(ctx, m.Setting, buildable(p.Python), p.HTTPD.Use, withHTTPD); err == nil || ctx.Err() != nil {
		return err
	}
	errs := []error{python, err}
	if withHTTPD && p.Wish.Libraries == string(httpdbuild.FromHost) {
		errs = append(errs, httpdbuild.Absent(p.Wish.With))
	}
	return missing(errs...)
}

// Planner makes a plan. It is called again if the environment or the machine has changed
// since.
type Planner func(ctx context.Context, m Means) (*Plan, error)

// Plan is the [Planner] of an install.
func (w Wish) Plan(ctx context.Context, m Means) (*Plan, error) {
	return MakePlan(ctx, Request{w, m})
}

// StagePlan is the [Planner] of a packaged build: with a bundled httpd, unless another
// one is named.
func (w Wish) StagePlan(ctx context.Context, m Means) (*Plan, error) {
	if w.Portable = true; w.HTTPD == "" || w.HTTPD == "auto" {
		w.HTTPD = "bundled"
	}
	return MakePlan(ctx, Request{w, m})
}
