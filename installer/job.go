package installer

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	"modwsgi/httpdbuild"
	"modwsgi/installer/place"
	"modwsgi/internal/buildcache"
	"modwsgi/internal/buildstore"
	"modwsgi/internal/cachedir"
	"modwsgi/internal/event"
	"modwsgi/internal/farm"
	"modwsgi/internal/fetch"
	"modwsgi/internal/objgraph"
	"modwsgi/internal/owned"
	"modwsgi/internal/prove"
	"modwsgi/internal/run"
	"modwsgi/internal/timeline"
	"modwsgi/modulebuild"
)

// An install from top to bottom, one method per step: obtain (recall, fetch, build),
// stage, prove, place, prove.

// job is a plan being carried out.
type job struct {
	plan     *Plan
	space    *cachedir.Workspace
	store    *buildstore.Store
	archives *gatherer
	events   event.Sink

	host     *hostNow
	cross    *Cross // nil for this machine
	runner   *run.Runner
	env      []string           // the caller's
	timeline *timeline.Recorder // may be nil
	toolsDir string
	jobs     int
	local    int        // of jobs, those on this machine
	farm     *farm.Farm // nil without one
	farming  *farm.Session
	farmed   sync.Once
	named    bool // the user named where archives come from
	flags    sync.Once
}

// newJob opens the caches and tools that carry out a plan.
func newJob(p *Plan, m Means) (*job, error) {
	shared, limit, err := m.shared()
	if err != nil {
		return nil, err
	}
	space, err := cachedir.OpenWorkspace(cachedir.WorkOptions{Path: m.CacheDir, Env: m.Env, Keep: m.KeepBuild, Events: m.Events})
	if err != nil {
		return nil, err
	}
	memory := memoryFor(p, m.CacheDir, m.Env)
	if m.Cross != nil {
		memory.cache = "" // a compiler for another system is not remembered
	}
	fetcher, err := newFetcher(m, space.Downloads, space.Hold)
	if err != nil {
		space.Close()
		return nil, err
	}
	return &job{
		plan: p, space: space, events: m.Events, runner: m.Runner, env: m.Env, timeline: m.Timeline, toolsDir: m.programs(), jobs: m.Jobs, local: m.localJobs, farm: m.farm, cross: m.Cross,
		store: buildstore.New(buildstore.Options{
			Cache: space.Cache, Work: space.Dir, Shared: shared, Offline: m.Offline, Limit: limit, LockLimit: m.BuildLimit(), Events: m.Events, Timeline: m.Timeline,
		}),
		archives: &gatherer{fetcher: fetcher, offline: m.Offline, lockFile: p.Wish.LockFile, python: p.Python.Version, events: m.Events, timeline: m.Timeline, got: &sources{files: map[string]*fetch.File{}}},
		host:     &hostNow{Host: *p.Host, recalled: p.Recalled, memory: memory, at: m.Setting},
		named:    len(m.SourceDirs)+len(m.Mirrors) > 0,
	}, nil
}

// carryOut executes a plan.
func carryOut(ctx context.Context, p *Plan, m Means, locked *place.Locked) (*Report, error) {
	j, err := newJob(p, m)
	if err != nil {
		return nil, err
	}
	defer j.space.Close()
	j.host.remember(ctx)
	if m.KeepBuild {
		j.events.Note("sources and objects are kept in " + j.space.Kept())
	}
	for _, reason := range p.Reasons {
		j.events.Note(reason)
	}
	j.warn()
	if p.Replaces != "" {
		j.events.Note(p.Replaces)
	}
	src, made, err := j.obtain(ctx)
	if err != nil {
		return nil, err
	}
	if made == nil {
		return onlyRemove(ctx, p, locked, j.events)
	}
	s, err := j.stage(made)
	if err != nil {
		return nil, err
	}
	proof, why, err := j.place(ctx, locked, s, j.proveStage(ctx, s, made), !m.KeepBuild)
	if err != nil {
		return nil, err
	}
	r := newReport(p.Python)
	j.archives.reportSkipped(p.Module)
	r.used(src, made, p.Wish.LockFile)
	r.Removed = namesOf(p.Former)
	r.Proof, r.Untried, r.Logs = proof, why, j.space.Logs
	return r, nil
}

// warn reports the warnings of the plan.
func (j *job) warn() {
	for _, w := range j.plan.Warnings {
		j.events.Warn(w)
	}
	for _, n := range slices.Concat(j.plan.HTTPD.Notes, j.plan.Module.notes()) {
		j.events.Note(n)
	}
}

// obtain builds what the plan needs, or restores it from a cache. It returns nothing if
// --upgrade found nothing newer.
func (j *job) obtain(ctx context.Context) (*sources, *product, error) {
	if err := j.checkRoom(false); err != nil {
		return nil, nil, err
	}
	src, err := j.recall(ctx)
	if err != nil {
		return nil, nil, err
	}
	if src != nil {
		if nothingNewer(j.plan, src.versions()) {
			return nil, nil, nil
		}
		made, err := j.build(ctx, src)
		if err == nil {
			j.record(src)
			return src, made, nil
		}
		if !errors.Is(err, errNeedsSources) {
			return nil, nil, err
		}
	}
	if !j.named { // otherwise the cache is still to be checked
		if err := j.host.again(ctx); err != nil {
			return nil, nil, err
		}
	}
	if src, err = j.fetch(ctx); err != nil {
		return nil, nil, err
	}
	if nothingNewer(j.plan, src.versions()) {
		return nil, nil, nil
	}
	made, err := j.build(ctx, src)
	return src, made, err
}

// errNeedsSources means that something expected in the cache must be built after all.
var errNeedsSources = errors.New("the build cache no longer has it")

// recall returns the preferred archives without fetching them if the httpd built from
// them is in a cache, otherwise nil. Their hashes are enough to find an earlier build, so
// its sources are not needed. If the user named where sources come from, those decide
// which archives are used.
func (j *job) recall(ctx context.Context) (*sources, error) {
	if j.named {
		return nil, nil
	}
	wanted := j.plan.wanted()
	src, ok := unseen(wanted)
	if !ok {
		return nil, nil
	}
	if j.plan.HTTPD.Action == BuildHTTPD {
		b := j.httpdRequest(src)
		j.store.Want(b.Key(), b.Inputs(), src.hashes(b.Components))
		if ok, err := j.store.Has(ctx, b.Key()); !ok || err != nil {
			return nil, err
		}
		src.complete(j.store.Parts(b.Key()))
	}
	j.archives.got = src
	for name, all := range wanted {
		if name != "mod_wsgi" { // that one may still change
			j.archives.reportUnfetched(name, all)
		}
	}
	return src, nil
}

// fetch gets all archives concurrently and records them in the lock file.
func (j *job) fetch(ctx context.Context) (*sources, error) {
	j.archives.got = &sources{files: map[string]*fetch.File{}}
	if err := j.archives.all(ctx, j.plan.wanted()); err != nil {
		return nil, err
	}
	hook("fetched", "")
	j.record(j.archives.got)
	return j.archives.got, nil
}

// record writes the lock file, except with --locked.
func (j *job) record(src *sources) {
	j.plan.Wish.Record(src.files, j.events)
}

// build builds what the plan needs.
func (j *job) build(ctx context.Context, src *sources) (*product, error) {
	defer j.session().Report()
	p := j.plan
	made := &product{httpd: p.HTTPD.Use, file: src.files["mod_wsgi"]}
	if p.HTTPD.Action == BuildHTTPD {
		if err := j.buildHTTPD(ctx, src, made); err != nil {
			return nil, err
		}
	} else if p.HTTPD.Record != nil {
		made.record = *p.HTTPD.Record
	}
	if p.Module.Action != buildModule {
		return made, nil
	}
	made.hardening = string(p.Wish.hardening())
	return made, j.buildModule(ctx, src, made)
}

// session is the compile farm of all builds of the job; nil without one.
func (j *job) session() *farm.Session {
	j.farmed.Do(func() {
		j.farming = farm.Open(farm.Options{
			Farm: j.farm, CC: j.host.Tools.CC, Env: j.host.Tools.Env, Scratch: j.space.Path("farm"), Local: j.local, Runner: j.runner, Note: j.events.Note,
		})
	})
	return j.farming
}

// buildHTTPD puts an httpd tree into the stage, restored from the cache or newly built,
// and describes it.
func (j *job) buildHTTPD(ctx context.Context, src *sources, made *product) error {
	b := j.httpdRequest(src)
	key := b.Key()
	j.store.Want(key, b.Inputs(), src.hashes(b.Components))
	if err := j.restoreOrCompile(ctx, &b, key, src, made); err != nil {
		return err
	}
	made.tree = b.Stage
	made.record = httpdRecord(key, b.Components, src, &j.host.Host, b.Flags)
	h, err := describeTree(ctx, j.runner, j.plan.Python, made.tree, &made.record)
	made.httpd = h
	return err
}

// restoreOrCompile restores httpd from the cache, or compiles it unless another run is
// doing so.
func (j *job) restoreOrCompile(ctx context.Context, b *httpdbuild.Request, key string, src *sources, made *product) error {
	if err := j.restoreHTTPD(ctx, b, key, src, made); err != nil || made.cached {
		return err
	}
	if src.unseen {
		return errNeedsSources
	}
	release, elsewhere, err := j.store.Alone(ctx, key, "httpd")
	if err != nil {
		return err
	}
	defer release()
	if elsewhere {
		if err := j.restoreHTTPD(ctx, b, key, src, made); err != nil || made.cached {
			return err
		}
	}
	if err := j.host.again(ctx); err != nil {
		return err
	}
	if err := j.checkRoom(true); err != nil {
		return err
	}
	j.reportFlags()
	b.Beside = func(ctx context.Context, tree string, slots *objgraph.Pool) {
		j.compileAhead(ctx, src, made, tree, slots)
	}
	built, err := httpdbuild.Build(ctx, *b)
	if err != nil {
		return err
	}
	made.compiled = true
	j.store.Keep(ctx, key, b.Stage, j.noteFarm(httpdAbout(b, src, built.Unpacked)))
	return nil
}

func (j *job) restoreHTTPD(ctx context.Context, b *httpdbuild.Request, key string, src *sources, made *product) error {
	e, err := j.store.Restore(ctx, key, b.Stage)
	if err != nil {
		return err
	}
	if made.cached = e != nil; made.cached {
		j.events.Note("httpd " + src.files["httpd"].Archive.Version + " was built before: restored from " + j.store.From(key))
		return nil
	}
	return owned.RemoveAll(b.Stage)
}

// buildModule builds the module or restores it from the cache. It tries the preferred
// version first, then the available one.
func (j *job) buildModule(ctx context.Context, src *sources, made *product) error {
	for {
		file := src.files["mod_wsgi"]
		b := j.moduleRequest(made.httpd, file)
		made.file = file
		if err := j.restoreModule(ctx, &b, made); err != nil {
			return err
		}
		if made.module != nil {
			if file.Path == "" {
				src.complete(j.store.Parts(made.key))
				j.archives.reportUnfetched("mod_wsgi", j.plan.Module.Versions)
			}
			return nil
		}
		changed, err := j.fetchModule(ctx, src)
		if err != nil {
			return err
		}
		if changed {
			continue
		}
		made.file = src.files["mod_wsgi"]
		b.Archive = made.file.Path
		return j.compileModule(ctx, &b, made)
	}
}

// restoreModule restores the module from the cache, except with --reinstall, which means
// that the existing one may be bad.
func (j *job) restoreModule(ctx context.Context, b *modulebuild.Request, made *product) (err error) {
	if made.inputs, err = moduleInputs(*b); err != nil {
		return err
	}
	made.key = buildcache.KeyOf(made.inputs)
	j.store.Want(made.key, made.inputs, map[string]string{"mod_wsgi": b.SHA256})
	if j.plan.Wish.Reinstall {
		j.store.Forget(made.key)
		return nil
	}
	if made.module, err = restoreModule(ctx, j.store, made.key, b, j.events); err == nil && made.module != nil {
		j.events.Note("mod_wsgi " + b.Version + " was built before for this Python and httpd: restored from " + j.store.From(made.key))
	}
	return err
}

// fetchModule gets the archive of mod_wsgi if it was not needed so far. changed reports
// that it is not the preferred one.
func (j *job) fetchModule(ctx context.Context, src *sources) (changed bool, err error) {
	if src.files["mod_wsgi"].Path != "" {
		return false, nil
	}
	if err := j.host.again(ctx); err != nil {
		return false, err
	}
	before := src.files["mod_wsgi"].Archive.SHA256
	j.archives.got = src
	if err := j.archives.first(ctx, "mod_wsgi", j.plan.Module.Versions); err != nil {
		return false, err
	}
	return src.files["mod_wsgi"].Archive.SHA256 != before, nil
}

// compileModule builds the module unless another run is building it. With --reinstall it
// always builds.
func (j *job) compileModule(ctx context.Context, b *modulebuild.Request, made *product) error {
	if !j.plan.Wish.Reinstall {
		release, elsewhere, err := j.store.Alone(ctx, made.key, "module")
		if err != nil {
			return err
		}
		defer release()
		if elsewhere {
			if err := j.restoreModule(ctx, b, made); err != nil || made.module != nil {
				return err
			}
		}
	}
	if err := j.host.again(ctx); err != nil {
		return err
	}
	j.reportFlags()
	err := j.useAhead(b, made)
	if err != nil {
		return err
	}
	if made.module, err = modulebuild.Build(ctx, *b); err != nil {
		return err
	}
	made.compiled = true
	j.store.Keep(ctx, made.key, b.Out, j.noteFarm(moduleAbout(b, made.inputs, made.file, made.module.Unpacked)))
	return nil
}

// stage lays everything out in a directory outside the environment (stage.go).
func (j *job) stage(made *product) (*staged, error) {
	return lay(filepath.Join(j.space.Dir, "stage"), j.plan, made, j.toolsDir, j.events)
}

// proveStage verifies the stage with a request. Meanwhile the caller copies the files to
// where they will be renamed from: wait returns the error of the trial, and stop ends it.
func (j *job) proveStage(ctx context.Context, s *staged, made *product) (t trial) {
	trying, stop := context.WithCancel(ctx)
	tried := make(chan error, 1)
	go func() {
		_, err := prove.Step(trying, j.proving(), "verify stage", stagedSubject(j.plan.Python, s, made))
		if prove.Untried(err) != nil { // reported once, for the placed files
			err = nil
		}
		tried <- err
	}()
	return trial{wait: func() error { err := <-tried; tried <- err; return err }, stop: stop}
}

// trial is a verification that runs in the background.
type trial struct {
	wait func() error
	stop func()
}

// proving returns the options for a throwaway server.
func (j *job) proving() prove.Options {
	return prove.Options{Runner: j.runner, Env: j.env, Logs: j.space.Logs, Events: j.events, Timeline: j.timeline}
}

// place moves the stage into the environment once it is proven, and tries it again there.
// A change that fails there is rolled back. untried is why it could not be tried.
func (j *job) place(ctx context.Context, locked *place.Locked, s *staged, staged trial, spent bool) (_ *prove.Proof, untried string, err error) {
	defer staged.stop()
	var t *place.Transaction
	err = j.events.Step("place", func() (err error) {
		t, err = locked.Apply(ctx, place.Request{
			Items: s.items, Remove: s.remove, Beside: s.beside, Roots: roots(j.plan.Python), Label: distNames(s.dists), Ready: staged.wait, Spent: spent,
		})
		return err
	})
	if err != nil {
		staged.stop()
		_ = staged.wait()
		return nil, "", err
	}
	proof, err := j.provePlaced(ctx)
	if untried, err = tolerate(j.events, err); err != nil {
		if rerr := t.Rollback(); rerr != nil {
			return nil, "", errors.Join(err, fmt.Errorf("undo: %w", rerr))
		}
		j.events.Note("the environment is as it was before")
		return nil, "", err
	}
	return proof, untried, t.Commit()
}

// provePlaced tries the installed files.
func (j *job) provePlaced(ctx context.Context) (*prove.Proof, error) {
	sub, err := installedSubject(j.plan.Site, j.plan.Python)
	if err != nil {
		return nil, err
	}
	return prove.Step(ctx, j.proving(), "verify", *sub)
}
