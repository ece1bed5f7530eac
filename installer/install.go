package installer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"modwsgi/detect"
	"modwsgi/installer/place"
	"modwsgi/internal/event"
	"modwsgi/internal/filetree"
	"modwsgi/internal/pydist"
	"modwsgi/internal/receipt"
	"modwsgi/internal/steps"
)

// Report is what an install did.
type Report struct {
	Nothing   bool           `json:"nothing_to_do"`
	Python    *detect.Python `json:"python"`
	Site      string         `json:"site_packages"`
	Installed []Installed    `json:"installed"`
	Removed   []string       `json:"removed,omitempty"` // of the environment's former Pythons
	Sources   []SourceReport `json:"sources,omitempty"`
	Proof     *Proof         `json:"proof,omitempty"`
	Untried   string         `json:"not_verified,omitempty"` // why there is no proof of what was placed
	Timings   []steps.Timing `json:"timings,omitempty"`
	Cached    bool           `json:"httpd_from_build_cache"`
	Launcher  string         `json:"launcher"`
	Instead   []Substitute   `json:"instead,omitempty"` // where not the newest known version was taken
	User      string         `json:"user,omitempty"`    // whom to serve as, where we are root
	Logs      string         `json:"logs,omitempty"`
	Lock      string         `json:"lock_file,omitempty"`
	Elapsed   time.Duration  `json:"elapsed_ns"`
	Warnings  []string       `json:"warnings,omitempty"`
}

// Installed is one distribution that is in the environment.
type Installed struct {
	Name     string   `json:"name"`
	Version  string   `json:"version"`
	Location string   `json:"location"`
	HTTPD    string   `json:"httpd,omitempty"`    // version of the httpd that a module is for
	Server   string   `json:"server,omitempty"`   // its executable
	Features []string `json:"features,omitempty"` // of a bundled httpd
	By       string   `json:"installer"`
	Problems []string `json:"problems,omitempty"`
	Earlier  string   `json:"earlier_python,omitempty"` // "3.11": it is of a Python that the environment had before
}

// SourceReport is one archive that was used.
type SourceReport struct {
	Component string `json:"component"`
	Version   string `json:"version"`
	Provider  string `json:"provider"`
	From      string `json:"from"`
	Trust     string `json:"trust"`
	Signer    string `json:"signer,omitempty"`
}

// Substitute is a version that was taken although a newer one is known.
type Substitute struct {
	Component string `json:"component"`
	Wanted    string `json:"wanted"`
	Used      string `json:"used"`
	Why       string `json:"why"` // one line
}

// recorder keeps what the events of one install say for its report.
type recorder struct {
	mu       sync.Mutex
	began    time.Time
	timings  []steps.Timing
	warnings []string
}

func (r *recorder) sink(next event.Sink) event.Sink {
	return func(e event.Event) {
		r.mu.Lock()
		switch e.Kind {
		case event.Done:
			r.timings = append(r.timings, steps.Timing{Step: e.Step, Began: time.Since(r.began) - e.Elapsed, Elapsed: e.Elapsed})
		case event.Warn:
			r.warnings = append(r.warnings, e.Text)
		}
		r.mu.Unlock()
		next.Send(e)
	}
}

// into completes a report.
func (r *recorder) into(report *Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	report.Timings, report.Warnings, report.Elapsed = r.timings, r.warnings, time.Since(r.began)
}

// Install does what the request asks: it makes the plan, and where something is
// to be done fetches, builds, tries, places and tries again. A failure leaves
// the environment as it was.
func Install(ctx context.Context, q Request) (*Report, error) {
	rec := &recorder{began: time.Now()}
	q.Events = rec.sink(q.Events)
	r, err := install(ctx, q)
	if r != nil {
		rec.into(r)
	}
	return r, err
}

func install(ctx context.Context, q Request) (*Report, error) {
	plan, err := MakePlan(ctx, q)
	if err != nil {
		return nil, err
	}
	q = plan.request
	if plan.Nothing && !leftovers(plan.Site) {
		r := plan.report(nil, nil)
		r.Nothing = true
		return r, nil
	}
	if err := q.findCache(); err != nil {
		return nil, err
	}
	warnOfClosed(plan.Python, q.Events)
	warnOfOwner(plan.Python, "install", q.Events)
	if err := place.Writable(plan.Site, filepath.Join(plan.Python.Scripts, "mod_wsgi-express")); err != nil {
		return nil, err
	}
	locked, err := lockSite(ctx, &q, plan.Site)
	if err != nil {
		return nil, err
	}
	defer func() { _ = locked.Unlock() }()
	believed, err := recoverPrefix(q, locked, plan.Python)
	if err != nil {
		return nil, err
	}
	unlock, err := lockEarlier(ctx, &q, plan.earlier, plan.Python, believed)
	if err != nil {
		return nil, err
	}
	defer unlock()
	for range 3 {
		if footprintOf(plan.Python) != plan.before { // what another run did meanwhile counts
			if plan, err = MakePlan(ctx, q); err != nil {
				return nil, err
			}
		}
		if !plan.builds() {
			return plan.onlyRemove(ctx, locked)
		}
		var r *Report
		if r, err = plan.carryOut(ctx, locked); !errors.Is(err, errHostChanged) {
			return r, err
		}
		q.Events.Note(err.Error() + ": the plan is made again")
		if plan, err = MakePlan(ctx, q); err != nil {
			return nil, err
		}
	}
	return nil, err
}

// footprintOf is footprint with what is left of former Pythons.
func footprintOf(py *detect.Python) string {
	var b strings.Builder
	for _, site := range append([]string{py.Platlib}, py.EarlierSites()...) {
		b.WriteString(footprint(site))
	}
	return b.String()
}

// footprint is a text that changes when anybody changes what of ours lies in an
// environment.
func footprint(site string) string {
	var b strings.Builder
	entries, err := os.ReadDir(site)
	if err != nil {
		return err.Error()
	}
	for _, e := range entries {
		if name := e.Name(); strings.HasPrefix(name, "mod_wsgi") || strings.HasPrefix(name, ".modwsgi-") {
			dir := filepath.Join(site, name)
			fmt.Fprintln(&b, name, stateOf(dir), stateOf(filepath.Join(dir, "RECORD")))
		}
	}
	fmt.Fprintln(&b, stateOf(filepath.Join(site, filepath.FromSlash(receipt.Path))), stateOf(filepath.Join(httpdTree(site), httpdReceiptName)))
	return b.String()
}

// leftovers says whether a killed run left its hidden directory.
func leftovers(site string) bool {
	return len(filetree.Glob(site, ".modwsgi-*")) > 0
}

// roots are the directories in which an install places and removes something.
func roots(py *detect.Python) []string { return []string{py.Scripts, py.Prefix} }

// lockSite keeps other runs away from an environment, and waits for one that works
// on it.
func lockSite(ctx context.Context, q *Request, site string) (*place.Locked, error) {
	return place.Lock(ctx, site, max(0, q.lockLimit()), func(text string) { q.Events.Note(text) })
}

// recoverPrefix finishes what a killed run left. believed is false where something was
// left alone because another user may have made it.
func recoverPrefix(q Request, locked *place.Locked, py *detect.Python) (believed bool, _ error) {
	outcome, err := locked.Recover(roots(py)...)
	if err != nil {
		return false, err
	}
	for _, left := range outcome.Left {
		q.Events.Warn(left.String())
	}
	for _, label := range outcome.Undone {
		q.Events.Note("an earlier run (" + label + ") was killed while it changed the environment: undone")
	}
	for _, label := range outcome.Superseded {
		q.Events.Note("an earlier run (" + label + ") was killed while it changed the environment; what was installed since stays")
	}
	for _, label := range outcome.Completed {
		q.Events.Note("an earlier run (" + label + ") was killed just before its end: completed")
	}
	return len(outcome.Left) == 0, nil
}

// carryOut does the work of a plan.
func (p *Plan) carryOut(ctx context.Context, locked *place.Locked) (*Report, error) {
	q := &p.request
	w, err := newWorkspace(q)
	if err != nil {
		return nil, err
	}
	defer w.close()
	p.rememberHost(ctx)
	if w.keep {
		q.Events.Note("sources and objects are kept in " + w.kept())
	}
	for _, reason := range p.Reasons {
		q.Events.Note(reason)
	}
	p.warnUnvouched()
	if other := p.state.module; other != nil && !ours(other) {
		q.Events.Note(fmt.Sprintf("%s %s, which %s installed, is replaced", other.Name, other.Version, orSomebody(other.Installer)))
	}
	src, made, err := p.obtain(ctx, w)
	if err != nil {
		return nil, err
	}
	if made == nil {
		return p.onlyRemove(ctx, locked)
	}
	s, err := p.stage(w, made)
	if err != nil {
		return nil, err
	}
	q.logs = w.logs
	// While the throwaway server starts, the files are copied to where they will be
	// renamed from.
	trying, stop := context.WithCancel(ctx)
	defer stop()
	tried := make(chan error, 1)
	go func() {
		_, err := verifyStep(trying, q, "verify stage", p.stagedSubject(s, made))
		if untried(err) != nil { // it is said once, of what is placed
			err = nil
		}
		tried <- err
	}()
	proof, why, err := p.place(ctx, locked, s, func() error { err := <-tried; tried <- err; return err })
	if err != nil {
		stop()
		<-tried
		return nil, err
	}
	r := p.report(src, made)
	r.Removed = namesOf(p.earlier)
	r.Proof, r.Untried, r.Logs = proof, why, w.logs
	return r, nil
}

// onlyRemove is what is left to do where everything is installed.
func (p *Plan) onlyRemove(ctx context.Context, locked *place.Locked) (*Report, error) {
	names, err := removeEarlier(ctx, &p.request, locked, p.Python, p.earlier)
	if err != nil {
		return nil, err
	}
	r := p.report(nil, nil)
	r.Removed, r.Nothing = names, len(names) == 0
	return r, nil
}

// obtain builds what the plan needs, or takes it from a cache; nothing is
// returned where --upgrade has found nothing newer.
func (p *Plan) obtain(ctx context.Context, w *workspace) (*sources, *product, error) {
	if err := p.checkRoom(w, false); err != nil {
		return nil, nil, err
	}
	src, err := p.recall(ctx, w)
	if err != nil {
		return nil, nil, err
	}
	if src != nil {
		if p.nothingNewer(src) {
			return nil, nil, nil
		}
		made, err := p.build(ctx, w, src)
		if err == nil {
			return src, made, p.writeLock(p.lock, src)
		}
		if !errors.Is(err, errNeedsSources) {
			return nil, nil, err
		}
	}
	if len(p.request.SourceDirs)+len(p.request.Mirrors) == 0 { // else the cache is still to be looked into
		if err := p.lookAgain(ctx); err != nil {
			return nil, nil, err
		}
	}
	if src, err = p.fetchAll(ctx); err != nil {
		return nil, nil, err
	}
	if p.nothingNewer(src) {
		return nil, nil, nil
	}
	made, err := p.build(ctx, w, src)
	return src, made, err
}

func orSomebody(installer string) string {
	if installer == "" {
		return "somebody"
	}
	return installer
}

// stagedSubject is the module as it lies in the stage, with the httpd that is
// beside it or outside.
func (p *Plan) stagedSubject(s *staged, made *product) Subject {
	sub := Subject{Prefix: p.Python.Prefix, PythonVersion: p.Python.Version, Executable: made.httpd.Executable, ModulesDir: made.httpd.ModulesDir, Staged: true, Python: p.Python}
	if made.tree != "" {
		sub.Tree = made.tree
		sub.Executable, sub.ModulesDir = filepath.Join(made.tree, "bin", "httpd"), filepath.Join(made.tree, "modules")
	}
	sub.Module, sub.ModuleVersion = filepath.Join(s.site, "mod_wsgi", "server", s.receipt.Module.File), s.receipt.Module.Version
	return sub
}

// place moves the stage into the prefix and tries it there; what does not work
// there is taken back. untried is why it could not be tried.
func (p *Plan) place(ctx context.Context, locked *place.Locked, s *staged, ready func() error) (_ *Proof, untried string, _ error) {
	q := &p.request
	var t *place.Transaction
	err := q.Events.Step("place", func() error {
		var err error
		t, err = locked.Apply(ctx, place.Request{
			Items: s.items, Remove: s.remove, Beside: s.beside, Roots: roots(p.Python), Label: distNames(s.dists), Ready: ready, Spent: !q.KeepBuild,
		})
		return err
	})
	if err != nil {
		return nil, "", err
	}
	proof, err := p.verifyPlaced(ctx)
	if untried, err = tolerate(q.Events, err); err != nil {
		if rerr := t.Rollback(); rerr != nil {
			return nil, "", errors.Join(err, fmt.Errorf("undo: %w", rerr))
		}
		q.Events.Note("the environment is as it was before")
		return nil, "", err
	}
	return proof, untried, t.Commit()
}

func distNames(dists []pydist.Dist) string {
	var names []string
	for _, d := range dists {
		names = append(names, d.Name+" "+d.Version)
	}
	return strings.Join(names, ", ")
}

func (p *Plan) verifyPlaced(ctx context.Context) (*Proof, error) {
	sub, err := installedSubject(p.Site, p.Python)
	if err != nil {
		return nil, err
	}
	return verifyStep(ctx, &p.request, "verify", *sub)
}

// report describes the environment after the work.
func (p *Plan) report(src *sources, made *product) *Report {
	r := &Report{Python: p.Python, Site: p.Site, Launcher: filepath.Join(p.Python.Scripts, "mod_wsgi-express")}
	if list, err := listSite(p.Site); err == nil {
		r.Installed = list
	}
	r.User = ServingUser()
	if made != nil {
		r.Cached = made.cached
	}
	if src != nil {
		for name, f := range src.files {
			r.Sources = append(r.Sources, SourceReport{
				Component: name, Version: f.Archive.Version, Provider: f.Provider, From: f.From, Trust: string(f.Trust), Signer: f.Signer,
			})
		}
		slices.SortFunc(r.Sources, func(a, b SourceReport) int { return strings.Compare(a.Component, b.Component) })
		r.Instead = src.instead
		if fileExists(p.request.LockFile) {
			r.Lock = p.request.LockFile
		}
	}
	return r
}
