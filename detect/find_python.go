package detect

import (
	"context"
	"path/filepath"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// FindPython finds the requested Python environment and gathers its facts. It starts
// the interpreter once. Missing headers and a missing libpython are not errors here:
// see Python.CanBuild. Its errors are of class fault.Environment, with a hint;
// fs.ErrNotExist is in the tree for a path that does not exist.
func FindPython(ctx context.Context, r *run.Runner, req Request) (*Python, error) {
	d := ThisDisk()
	exe, evidence, err := d.locateRequested(req)
	if err != nil {
		return nil, err
	}
	if why := d.notBinary(exe); why != "" {
		return nil, fault.New(fault.Environment, hintGivePath, "%s is not a Python interpreter: %s", exe, why)
	}
	if !d.mayBePython(exe) {
		return nil, fault.New(fault.Environment, hintGivePath,
			"%s is not a Python interpreter: it neither contains one nor is linked with a libpython", exe)
	}
	a, err := d.ask(ctx, r, exe, req)
	if err != nil {
		return nil, err
	}
	if a.Implementation != "cpython" {
		return nil, fault.New(fault.Environment, "use CPython: mod_wsgi embeds its C library",
			"%s is %s %s, not CPython", exe, a.Implementation, a.Version)
	}
	evidence = append(evidence, Evidence{"prefix", "interpreter", a.Prefix})
	return assemble(d, d.insideEnvironment(exe, a.Prefix), a, evidence, req)
}

// insideEnvironment returns the path of the interpreter in the prefix's bin directory
// if the given one is a link to it from elsewhere.
func (d *Disk) insideEnvironment(exe, prefix string) string {
	for _, step := range d.links(exe) {
		dir := filepath.Dir(step)
		if d.sameFile(dir, filepath.Join(prefix, binUnix)) || d.sameFile(dir, filepath.Join(prefix, binWindows)) {
			if filepath.Dir(dir) == prefix {
				return step
			}
			return filepath.Join(prefix, filepath.Base(dir), filepath.Base(step))
		}
	}
	return exe
}
