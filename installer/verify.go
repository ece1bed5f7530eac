package installer

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"modwsgi/detect"
	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/prove"
	"modwsgi/internal/pydist"
	"modwsgi/internal/receipt"
	"modwsgi/internal/run"
	"modwsgi/internal/scratch"
)

// installedSubject returns what the receipt says is in the environment.
func installedSubject(site string, py *detect.Python) (*prove.Subject, error) {
	r, err := receipt.Read(site)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, fault.New(fault.Environment, "build it again with modwsgi install --python "+run.Quote(py.Prefix), "the record of what is installed is damaged: %w", err)
	}
	return &prove.Subject{
		Prefix: py.Prefix, PythonVersion: py.Version,
		Module: filepath.Join(site, "mod_wsgi", "server", r.Module.File), ModuleVersion: r.Module.Version,
		Executable: r.HTTPD.Executable, ModulesDir: r.HTTPD.ModulesDir, LibPython: wheelLibrary(r, py), Site: site, Python: provable(py),
	}, nil
}

// provable is the part of a Python that the throwaway server needs.
func provable(py *detect.Python) *prove.Python {
	return &prove.Python{
		Executable: py.Executable, Prefix: py.Prefix, BasePrefix: py.BasePrefix, ExecPrefix: py.ExecPrefix, Scripts: py.Scripts, Purelib: py.Purelib, Platlib: py.Platlib,
		LibPython: py.LibPython, LibShared: py.LibShared, Major: py.Major, Minor: py.Minor, FreeThreaded: py.FreeThreaded,
	}
}

// stagedSubject is the module in the stage, with the httpd beside it or outside.
func stagedSubject(py *detect.Python, s *staged, made *product) prove.Subject {
	sub := prove.Subject{Prefix: py.Prefix, PythonVersion: py.Version, Executable: made.httpd.Executable, ModulesDir: made.httpd.ModulesDir, Staged: true, Python: provable(py)}
	if made.tree != "" {
		sub.Tree = made.tree
		sub.Executable, sub.ModulesDir = filepath.Join(made.tree, "bin", "httpd"), filepath.Join(made.tree, "modules")
	}
	sub.Module, sub.ModuleVersion = filepath.Join(s.site, "mod_wsgi", "server", s.receipt.Module.File), s.receipt.Module.Version
	return sub
}

// Verify tries what is installed with a real request.
func Verify(ctx context.Context, python string, at Setting) (*prove.Proof, error) {
	if err := at.System.CanBuild("verify an installed mod_wsgi"); err != nil {
		return nil, err
	}
	if err := run.CheckProc(); err != nil {
		return nil, err
	}
	py, err := environment(ctx, python, at)
	if err != nil {
		return nil, err
	}
	warnOfOwner(py, "verify", at.Events)
	sub, err := installedSubject(py.Platlib, py)
	if errors.Is(err, os.ErrNotExist) {
		return nil, notInstalled(py, at.Events)
	}
	if err != nil {
		return nil, err
	}
	for _, name := range []string{ModuleDist, HTTPDDist} {
		d, err := pydist.Find(py.Platlib, name)
		if err != nil {
			return nil, err
		}
		if d == nil {
			continue
		}
		if problems := d.Check(); len(problems) > 0 {
			return nil, fault.New(fault.Verify, "run modwsgi install --python "+run.Quote(py.Prefix)+" to repair it",
				"%s differs from what was installed: %s", name, problems[0])
		}
	}
	proof, err := prove.Step(ctx, prove.Options{Runner: at.Runner, Env: scratch.OwnTemp(at.Env, func(string) {}), Events: at.Events}, "verify", *sub)
	if not := prove.Untried(err); not != nil {
		return nil, not.Fault()
	}
	return proof, blameModule(err, py)
}

// blameModule adds to the error of a verification that the module no longer fits its
// Python, if so: no other hint helps then.
func blameModule(err error, py *detect.Python) error {
	if err == nil || fault.ClassOf(err) != fault.Verify {
		return err
	}
	r, readErr := receipt.Read(py.Platlib)
	if readErr != nil {
		return err
	}
	stale := texts(receipt.Compare(r, receipt.Look(r, py.Recorded())))
	if len(stale) == 0 {
		return err
	}
	return fault.New(fault.Verify, "build the module again: modwsgi install --python "+run.Quote(py.Prefix), "%s\n%w", strings.Join(stale, "; "), err)
}

// notInstalled reports that nothing can be tried, and what is there instead.
func notInstalled(py *detect.Python, events event.Sink) error {
	hint := "run modwsgi install --python " + run.Quote(py.Prefix)
	for _, e := range findFormer(py, events) {
		return fault.New(fault.Environment, hint, "%s is in %s, but the environment was recreated and now has Python %s", e, py.Prefix, py.Version)
	}
	return fault.New(fault.Environment, hint, "no mod_wsgi installed by modwsgi was found in %s", py.Prefix)
}

// tolerate turns an untried verification into a warning: building and placing continue,
// and the report has the reason.
func tolerate(events event.Sink, err error) (why string, _ error) {
	not := prove.Untried(err)
	if not == nil {
		return "", err
	}
	events.Warn("not verified: " + not.Why + "; " + not.Hint)
	return not.Why, nil
}

// wheelLibrary returns the libpython to load before a module that came in a wheel and
// does not know its path; "" for any other module.
func wheelLibrary(r *receipt.Receipt, py *detect.Python) string {
	if r.Python.Soname == "" || !py.LibShared {
		return ""
	}
	return py.LibPython
}
