package doctor

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"modwsgi/detect"
	"modwsgi/httpdbuild"
	"modwsgi/internal/farm"
	"modwsgi/internal/receipt"
	"modwsgi/internal/run"
	"modwsgi/internal/toolchain"
	"modwsgi/modulebuild"
)

func (e *exam) detection() detect.Request {
	return detect.Request{Python: e.Python, HTTPD: e.HTTPD, Env: e.Env, Dir: e.Dir}
}

// system checks that modwsgi builds on this system. Where it does not, the checks of
// what a build needs do not apply.
func (e *exam) system(context.Context) {
	if err := run.CheckProc(); err != nil {
		e.failed(Problem, err)
		return
	}
	switch {
	case e.System.Builds():
		e.find(OK, "", "httpd and mod_wsgi can be built and can serve on %s", e.System)
	case e.System.Serves():
		e.find(Note, e.System.Instead(), "modwsgi cannot build httpd and mod_wsgi on %s, which serves with modules that are built elsewhere", e.System)
	default:
		e.find(Problem, e.System.Instead(), "modwsgi cannot build httpd and mod_wsgi on %s, and nothing can serve there", e.System)
	}
}

func (e *exam) python(ctx context.Context) {
	py, err := detect.FindPython(ctx, e.Runner, e.detection())
	if err != nil {
		e.failed(Problem, err)
		return
	}
	e.py = py
	f := e.find(OK, "", "Python %s (%s) in %s", py.Version, py.Kind, py.Prefix)
	f.Evidence = py.Evidence
}

// headers checks what a build needs of Python. A module that is already installed runs
// without it.
func (e *exam) headers(context.Context) {
	if e.py == nil || !e.System.Builds() {
		return
	}
	if err := e.py.CanBuild(); err != nil {
		e.failed(e.ifBuilding(), err)
		return
	}
	e.find(OK, "", "headers and libpython of Python %s were found", e.py.Version).
		because("include", "Python.h", e.py.Include).because("libpython", "file", e.py.LibPython)
}

// ifBuilding is the severity of not being able to build.
func (e *exam) ifBuilding() Severity {
	for _, site := range []string{e.py.Platlib, e.py.Purelib} {
		if _, err := receipt.Read(site); err == nil {
			return Warning
		}
	}
	return Problem
}

func (e *exam) findHTTPD(ctx context.Context) {
	if e.py == nil {
		return
	}
	found, err := detect.FindHTTPDs(ctx, e.Runner, e.py, e.detection())
	if err != nil {
		return // the context's
	}
	e.cands = found
	h, err := detect.Choose(found, e.detection())
	switch {
	case err == nil:
		e.httpd = h
		e.find(OK, "", "httpd %s (%s) at %s", h.Version, h.Provenance, h.Executable).Evidence = h.Evidence
	case errors.Is(err, detect.ErrNoHTTPD) && (e.HTTPD == "" || e.HTTPD == "auto"):
		e.failed(Note, err)
	case errors.Is(err, detect.ErrNoHTTPD) && e.HTTPD == "bundled":
		e.find(Note, e.modwsgi("install")+" --httpd bundled", "the environment has no httpd of its own: it would be built")
	default:
		e.failed(Problem, err)
	}
	for _, c := range found {
		if c.Refused != "" && c.Provenance == detect.Bundled {
			e.find(Problem, e.modwsgi("install --reinstall"), "cannot use the environment's own httpd: %s", c.Refused).Evidence = c.Evidence
		}
	}
}

// compiler has a program built, in a directory that is removed again.
func (e *exam) compiler(ctx context.Context) {
	if e.py == nil || !e.System.Builds() {
		return
	}
	temp, err := e.scratch()
	if err != nil {
		return // the check of that directory reports it
	}
	defer func() { _ = temp.Discard() }()
	env, f := farm.Split(e.Env)
	tools, err := toolchain.Find(ctx, e.Runner, env, temp.Path())
	if err != nil {
		e.failed(e.ifBuilding(), err)
		return
	}
	e.tools = tools
	e.find(OK, "", "the compiler works").because("compiler", tools.CC[0], tools.Compiler).because("target", tools.CC[0], tools.Target)
	if f != nil {
		e.farm(ctx, f, temp.Path())
	}
}

// farm has a sample compiled by each machine of a compile farm.
func (e *exam) farm(ctx context.Context, f *farm.Farm, scratch string) {
	var notes []string
	s := farm.Open(farm.Options{
		Farm: f, CC: e.tools.CC, Env: e.tools.Env, Scratch: filepath.Join(scratch, "farm"), Local: 1, Runner: e.Runner,
		Note: func(text string) { notes = append(notes, text) },
	})
	if s.Check(ctx) && len(notes) == 0 {
		e.find(OK, "", "the compile farm works: %s compiles a sample as this machine does", f.Kind).because("client", f.Client, f.Client)
		return
	}
	for _, text := range notes {
		e.find(Warning, "start its daemons, or remove it from CC, CCACHE_PREFIX and PATH; builds use this machine instead", "%s", text)
	}
}

// build tries everything that a build needs: what the module needs of the Python and of
// an httpd that is already there, and the headers, libraries and programs of httpd if
// that would be built.
func (e *exam) build(ctx context.Context) {
	if e.py == nil || e.tools == nil {
		return
	}
	temp, err := e.scratch()
	if err != nil {
		return // the check of that directory reports it
	}
	defer func() { _ = temp.Discard() }()
	if e.py.CanBuild() == nil && !e.buildModule(ctx, temp.Path()) || e.httpd != nil && e.httpd.Provenance != detect.Bundled {
		return
	}
	severity := Warning // only a new build fails
	if e.httpd == nil {
		severity = e.ifBuilding()
	}
	host, err := httpdbuild.Probe(ctx, e.Runner, e.tools, temp.Path())
	if err == nil {
		err = host.CheckNeeds(httpdbuild.Auto)
	}
	if err != nil {
		if ctx.Err() == nil {
			e.failed(severity, err)
		}
		return
	}
	e.find(OK, "", "httpd can be built here: the headers, libraries and programs that it needs were found")
	e.builtLibraries(host)
}

// builtLibraries reports the libraries that a build of httpd would build as well, because
// the host lacks them.
func (e *exam) builtLibraries(host *httpdbuild.Host) {
	selected, err := host.Select(nil, nil, httpdbuild.Auto)
	if err != nil { // only with TLS: no OpenSSL, and no Perl to build it
		e.failed(Warning, err)
		return
	}
	for _, name := range selected.Libraries {
		switch about, packages := httpdbuild.Replaced(name); {
		case packages == nil: // it is small, and built on most hosts
		case name == "openssl":
			e.find(Note, e.tools.Install("", packages, ""), "%s would be built from source, which takes several times as long as httpd: the host's was not found", about)
		default:
			e.find(Note, e.tools.Install("", packages, ""), "%s would be built from source: the host's was not found", about)
		}
	}
}

// buildModule tries what a module needs, and reports whether it is there.
func (e *exam) buildModule(ctx context.Context, dir string) bool {
	py := modulebuild.Python{
		Version: e.py.Version, IncludeDirs: e.py.IncludeDirs(), LibPython: e.py.LibPython, LibShared: e.py.LibShared, LinkLibs: strings.Fields(e.py.LinkLibs),
	}
	var httpd modulebuild.HTTPD
	target := "Python " + e.py.Version
	if h := e.httpd; h != nil {
		httpd = modulebuild.HTTPD{Version: h.Version, IncludeDirs: h.IncludeDirs, CPPFlags: h.CPPFlags, CFlags: h.CFlags}
		target += " and httpd " + h.Version
	}
	if err := modulebuild.Probe(ctx, e.Runner, e.tools, py, httpd, dir); err != nil {
		if ctx.Err() == nil {
			e.failed(e.ifBuilding(), err)
		}
		return false
	}
	e.find(OK, "", "a module for %s can be built here", target)
	return true
}
