package installer

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sort"

	"modwsgi/detect"
	"modwsgi/internal/cachedir"
	"modwsgi/internal/fault"
	"modwsgi/internal/fetch"
	"modwsgi/internal/prove"
	"modwsgi/internal/receipt"
	"modwsgi/internal/run"
	"modwsgi/internal/sysroot"
)

// Staged is a finished build outside every environment: exactly the files that Install
// would place, tried with a real request, and their description. Close removes it.
type Staged struct {
	Site    string          // stands for site-packages
	Bin     string          // stands for the directory of programs
	Receipt receipt.Receipt // of the module; also a file below Site
	Python  *detect.Python
	HTTPD   *StagedHTTPD // nil if the module is for an httpd of the host
	Module  []Source     // the archive that the module was built from
	Proof   *prove.Proof // nil if it could not be tried, which a warning reports
	// ProvenBy is what ran a build for another system, for people.
	ProvenBy string
	// Unproven is why a build for another system could not be tried; "" if it was tried.
	Unproven string
	// Target describes the system that it is for, and what it was built with there; nil
	// for this machine.
	Target map[string]string
	// Compiled reports that something was compiled for it, rather than restored from a
	// cache.
	Compiled bool

	close func()
}

// StagedHTTPD is a bundled httpd in a stage.
type StagedHTTPD struct {
	Version  string
	Features []string
	Key      string // hash of all its build inputs
	Compiler string
	Libc     string
	Flags    []string // of the compiler: those against exploitation, and the caller's own
	Sources  []Source
	Cached   bool // restored from the build cache
}

// Source is a verified archive used in a build.
type Source struct {
	Component string
	Version   string
	File      string // its name
	SHA256    string
	Trust     string
	URL       string // where upstream publishes it; "" if unknown
}

// Close removes the staged files.
func (s *Staged) Close() {
	if s != nil && s.close != nil {
		s.close()
	}
}

// Stage builds for a Python and places nothing. The environment and its packages are
// ignored, so that the same inputs always give the same stage. The module gets no run
// path: the packager decides how libpython is found. plan is a [Wish.StagePlan].
func Stage(ctx context.Context, m Means, plan Planner) (*Staged, error) {
	m, err := m.complete(ctx)
	if err != nil {
		return nil, err
	}
	p, err := plan(ctx, m)
	if err != nil {
		return nil, err
	}
	cache := m.cache()
	cache.Events = nil // planning already reported the directory
	if m.CacheDir, err = cachedir.Find(cache); err != nil {
		return nil, err
	}
	j, err := newJob(p, m)
	if err != nil {
		return nil, err
	}
	j.host.remember(ctx)
	s, err := j.staged(ctx)
	if err != nil {
		j.space.Close()
		return nil, err
	}
	return s, nil
}

// staged builds, stages and tries.
func (j *job) staged(ctx context.Context) (*Staged, error) {
	j.warn()
	src, err := j.fetch(ctx)
	if err != nil {
		return nil, err
	}
	made, err := j.build(ctx, src)
	if err != nil {
		return nil, err
	}
	laid, err := j.stage(made)
	if err != nil {
		return nil, err
	}
	if j.cross != nil {
		if err := sysroot.CheckTree(j.cross.Target(), laid.site); err != nil {
			return nil, err
		}
	}
	py := j.plan.Python
	subject := stagedSubject(py, laid, made)
	if py.LibShared {
		subject.LibPython = py.LibPython
	}
	name := fmt.Sprintf("verify stage for Python %d.%d", py.Major, py.Minor)
	out := &Staged{Site: laid.site, Bin: laid.bin, Receipt: laid.receipt, Python: py, Compiled: made.compiled, close: j.space.Close}
	if j.cross != nil {
		out.Target = j.cross.describe(j.plan.Wish.Python)
		out.Proof, out.ProvenBy, out.Unproven, err = j.cross.prove(ctx, j.proving(), name, j.plan.Wish.Python, subject)
	} else {
		out.Proof, err = prove.Step(ctx, j.proving(), name, subject)
		_, err = tolerate(j.events, err)
	}
	if err != nil {
		return nil, err
	}
	for name, f := range src.files {
		if name == "mod_wsgi" {
			out.Module = append(out.Module, sourceOf(name, f))
		}
	}
	if made.tree != "" {
		r := made.record
		out.HTTPD = &StagedHTTPD{Version: r.Version, Features: r.Features, Key: r.Key, Compiler: r.Compiler, Libc: r.Libc, Flags: r.Flags, Cached: made.cached}
		for name, f := range src.files {
			if name != "mod_wsgi" {
				out.HTTPD.Sources = append(out.HTTPD.Sources, sourceOf(name, f))
			}
		}
		sort.SliceStable(out.HTTPD.Sources, func(i, j int) bool { return out.HTTPD.Sources[i].Component < out.HTTPD.Sources[j].Component })
	}
	return out, nil
}

func sourceOf(name string, f *fetch.File) Source {
	s := Source{Component: name, Version: f.Archive.Version, File: f.Archive.File, SHA256: f.Archive.SHA256, Trust: string(f.Trust)}
	if len(f.Archive.URLs) > 0 {
		s.URL = f.Archive.URLs[0]
	}
	return s
}

// StageInstalled uses what Install placed in an environment as a stage. Nothing is built
// or copied, and Close does nothing.
func StageInstalled(ctx context.Context, python string, at Setting) (*Staged, error) {
	if err := at.System.CanBuild("package an installed mod_wsgi"); err != nil {
		return nil, err
	}
	py, err := environment(ctx, python, at)
	if err != nil {
		return nil, err
	}
	s, err := readState(py.Platlib)
	if err != nil {
		return nil, err
	}
	if s.receipt == nil || !ours(s.module) {
		return nil, fault.New(fault.Environment, "run modwsgi install --python "+run.Quote(py.Prefix)+", or omit --from-env",
			"no mod_wsgi installed by modwsgi in %s", py.Prefix)
	}
	out := &Staged{Site: py.Platlib, Bin: py.Scripts, Receipt: *s.receipt, Python: py}
	for _, d := range []struct {
		name string
		is   bool
	}{{ModuleDist, true}, {HTTPDDist, s.tree != nil}} {
		dist := s.module
		if d.name == HTTPDDist {
			dist = s.httpd
		}
		if !d.is {
			continue
		}
		if problems := dist.Check(); len(problems) > 0 {
			return nil, fault.New(fault.Environment, "run modwsgi install --python "+run.Quote(py.Prefix)+" to repair it", "%s differs from what was installed: %s", d.name, problems[0])
		}
	}
	out.Module = []Source{{Component: "mod_wsgi", Version: s.receipt.Module.Version}}
	if s.tree != nil {
		t := s.tree
		out.HTTPD = &StagedHTTPD{Version: t.Version, Features: t.Features, Key: t.Key, Compiler: t.Compiler, Libc: t.Libc, Flags: t.Flags}
		for _, c := range t.Components {
			out.HTTPD.Sources = append(out.HTTPD.Sources, Source{Component: c.Name, Version: c.Version, SHA256: c.SHA256, Trust: c.Trust})
		}
	}
	if _, err := os.Stat(filepath.Join(py.Scripts, "mod_wsgi-express")); err != nil {
		return nil, fault.New(fault.Environment, "run modwsgi install --python "+run.Quote(py.Prefix)+" to repair it", "the launcher is missing: %w", err)
	}
	return out, nil
}
