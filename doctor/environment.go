package doctor

import (
	"context"
	"errors"

	"modwsgi/detect"
	"modwsgi/internal/receipt"
	"modwsgi/internal/scratch"
	"modwsgi/internal/toolchain"
)

func (e *exam) detection() detect.Request {
	return detect.Request{Python: e.Python, HTTPD: e.HTTPD, Env: e.Env, Dir: e.Dir}
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
	if e.py == nil {
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
	if e.py == nil {
		return
	}
	temp, err := scratch.Make(e.tempDir(), scratch.Doctor)
	if err != nil {
		return // the check of that directory reports it
	}
	defer func() { _ = temp.Discard() }()
	tools, err := toolchain.Find(ctx, e.Runner, e.Env, temp.Path())
	if err != nil {
		e.failed(e.ifBuilding(), err)
		return
	}
	e.find(OK, "", "the compiler works").because("compiler", tools.CC[0], tools.Compiler).because("target", tools.CC[0], tools.Target)
}
