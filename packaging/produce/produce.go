// Package produce turns requests into release artifacts. It is one pipeline:
//
//	open    the output directory, with the keys and the date of every artifact
//	stage   build trees outside any environment, or take finished ones
//	admit   refuse trees with a known vulnerability
//	write   let formats write their artifacts, concurrently
//	finish  SBOM, provenance, index, sums and signatures (packaging/release)
//	commit  everything appears in the output directory, or nothing does
//
// A single format ([Single]), a whole release ([Release]) and modules for Windows
// ([Windows]) are its front ends. Each lists the trees and the jobs that it wants, and
// [carryOut] carries them out. The table [Formats] lists what can be packaged. A
// format is an entry in it and a package below packaging that writes one staged tree.
// The package knows the order of the steps and which of them may run concurrently. It
// does not know how to build a tree (installer), the layout of a format, or how
// progress and results are shown (internal/cli).
package produce

import (
	"context"
	"math"
	"runtime"
	"strconv"
	"strings"
	"time"

	"modwsgi/installer"
	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/httpc"
	"modwsgi/internal/run"
	"modwsgi/internal/version"
	"modwsgi/modulebuild/windows"
	"modwsgi/packaging"
	"modwsgi/packaging/release"
	"modwsgi/packaging/sign"
)

// Settings are the settings that every front end takes. Paths are absolute.
type Settings struct {
	Out       string // output directory
	Overwrite bool   // replace existing artifacts whose contents differ
	Keys      sign.Keys
	Builder   string // URI of the builder; "" for release.DefaultBuilder
	// Build describes how to build httpd and the modules: everything but the Python
	// and, in a release, the versions.
	Build installer.Request
	// Targets are settings for builds for other systems.
	Targets Targets
	// LockLimit is how long to wait for another run that writes to Out.
	LockLimit time.Duration
	Pace      httpc.Limits // how slow a registry may be
	Now       func() time.Time
	Abs       func(string) string // resolves paths against the working directory
}

func (s *Settings) events() event.Sink { return s.Build.Events }

// jobs is how many processors a run may use.
func (s *Settings) jobs() int {
	if s.Build.Jobs > 0 {
		return s.Build.Jobs
	}
	return runtime.NumCPU()
}

// Result is the outcome of a run.
type Result struct {
	Dir       string
	Artifacts []Made            // in the order of writing
	Facts     map[string]string // facts that the format reported, by name
	Modules   []*windows.Result // for Windows
	Failed    []Failure         // parts of a release; with --keep-going only
	Elapsed   time.Duration
}

// Made is an artifact and what it was made for.
type Made struct {
	packaging.Artifact
	Cell     string        `json:"cell"`
	Elapsed  time.Duration `json:"elapsed_ns"`
	Compiled bool          `json:"compiled"` // something was compiled for it
}

// Failure is a part of a release that could not be made.
type Failure struct {
	Cell  string `json:"cell"`
	Error string `json:"error"`
	err   error
}

// Err returns the error for the failed parts, nil if none failed.
func (r *Result) Err() error { return failures(r.Failed) }

func failures(all []Failure) error {
	if len(all) == 0 {
		return nil
	}
	first := all[0].err
	if len(all) == 1 {
		return first
	}
	var texts []string
	for _, f := range all {
		texts = append(texts, f.Error)
	}
	return fault.New(fault.ClassOf(first), fault.HintOf(first), "%d parts of the release failed:\n  %s", len(all), strings.Join(texts, "\n  "))
}

// order is what a front end wants made.
type order interface {
	// ready checks what can be checked before anything is built.
	ready(ctx context.Context, l *line) error
	// stage builds the trees, or takes finished ones; close removes them.
	stage(ctx context.Context, l *line) error
	// staged lists the trees that stage built or took.
	staged() []staged
	// jobs lists what to write from the trees.
	jobs(l *line) ([]job, error)
	// step names the step of progress that all jobs share, "" if each job has its own.
	step() string
	// fail records a failed part; an error ends the run.
	fail(ctx context.Context, part string, err error) error
	// failed lists the parts that failed without ending the run.
	failed() []Failure
	// parameters describe the build for the provenance statements.
	parameters(l *line) map[string]string
	// complete adds to the result what only this front end knows.
	complete(r *Result)
	close()
}

// line is a run in progress.
type line struct {
	*Settings
	dist    *packaging.Dist
	at      time.Time
	signers []release.Signer
	made    []Made
	facts   map[string]string
	shard   *shardRecord // nil if the run makes all of what was asked for
}

// carryOut carries out an order. If it returns a result, the artifacts have appeared,
// and Result.Err reports the parts that failed.
func carryOut(ctx context.Context, s *Settings, o order) (*Result, error) {
	began := time.Now()
	s.Build.Probed = &installer.Probed{} // for all builds
	l, err := open(ctx, s)
	if err != nil {
		return nil, err
	}
	defer l.dist.Abort()
	defer o.close()
	if err := o.ready(ctx, l); err != nil {
		return nil, err
	}
	if err := o.stage(ctx, l); err != nil {
		return nil, err
	}
	if err := l.admit(ctx, o); err != nil {
		return nil, err
	}
	if err := l.write(ctx, o); err != nil {
		return nil, err
	}
	if len(l.made) == 0 && (l.shard == nil || len(o.failed()) > 0) {
		return nil, failures(o.failed())
	}
	l.unsupported()
	if err := l.finish(ctx, o); err != nil {
		return nil, err
	}
	r := &Result{Dir: l.dist.Dir(), Artifacts: l.made, Facts: l.facts, Failed: o.failed(), Elapsed: time.Since(began)}
	o.complete(r)
	return r, nil
}

// open reads the date and the keys, and opens the output directory.
func open(ctx context.Context, s *Settings) (*line, error) {
	l := &line{Settings: s, facts: map[string]string{}}
	var err error
	if l.at, err = sourceDate(s.Build.Env); err != nil {
		return nil, err
	}
	if l.signers, err = s.Keys.Signers(s.Now); err != nil {
		return nil, err
	}
	l.dist, err = packaging.OpenWaiting(ctx, s.Out, s.Overwrite, s.LockLimit, s.events().Note)
	return l, err
}

// finish describes and signs all artifacts, and makes everything appear.
func (l *line) finish(ctx context.Context, o order) error {
	return l.events().Step("describe and sign", func() error {
		also, err := l.record(o)
		if err != nil {
			return err
		}
		err = release.Finish(ctx, l.dist, release.Options{
			Time: l.at, Tool: version.Release, Builder: l.Builder, Parameters: o.parameters(l), Signers: l.signers, Also: also,
		})
		if err != nil {
			return err
		}
		for k := range l.made { // everything else has been written by now
			for _, a := range l.dist.Added() {
				if a.Name == l.made[k].Name {
					l.made[k].Artifact = a
				}
			}
		}
		return l.dist.Commit()
	})
}

// sourceDate is the timestamp of everything in an artifact
// (https://reproducible-builds.org/specs/source-date-epoch/). The default is the
// earliest that archives can store.
func sourceDate(env []string) (time.Time, error) {
	text := run.Getenv(env, "SOURCE_DATE_EPOCH")
	if text == "" {
		return time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC), nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > math.MaxUint32 {
		return time.Time{}, fault.New(fault.Usage, "set it to seconds since 1970, as in SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)", "SOURCE_DATE_EPOCH is %q", text)
	}
	return time.Unix(n, 0).UTC(), nil
}
