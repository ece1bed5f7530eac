package modulebuild

import (
	"context"
	"os"
	"path/filepath"
	"slices"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
	"modwsgi/internal/shortage"
	"modwsgi/internal/toolchain"
)

// Probe tries what a build of the module needs of a Python: its headers, its library,
// and the libraries that a static one requires. An httpd that already exists is tried as
// well: its headers, and the compiler flags that it wants modules to be compiled with. A
// zero HTTPD is one that is still to be built. scratch is an existing directory. The
// error is of class Environment and names the package to install, where it is known.
func Probe(ctx context.Context, r *run.Runner, tools *toolchain.Toolchain, py Python, httpd HTTPD, scratch string) error {
	source, out := filepath.Join(scratch, "probe-python.c"), filepath.Join(scratch, "probe-python.so")
	code, target := "#include <Python.h>\n", "Python "+py.Version
	if len(httpd.IncludeDirs) > 0 {
		code += "#include <httpd.h>\n#include <http_config.h>\n"
		target += " and httpd " + httpd.Version
	}
	if err := os.WriteFile(source, []byte(code+"const char *probe(void) { return Py_GetVersion(); }\n"), 0o600); err != nil {
		return err
	}
	argv := slices.Concat(tools.CC, []string{"-fPIC"}, httpd.CPPFlags, httpd.CFlags, []string{"-shared", "-o", out})
	for _, dir := range slices.Concat(httpd.IncludeDirs, py.IncludeDirs) {
		argv = append(argv, "-I"+dir)
	}
	argv = append(argv, source)
	if py.LibShared {
		argv = append(argv, py.LibPython)
	} else { // the whole archive would take seconds; what it requires is named
		argv = append(append(argv, py.LibPython), py.LinkLibs...)
	}
	err := r.Run(ctx, run.Cmd{Argv: argv, Dir: scratch, Env: append(slices.Clone(tools.Env), "TMPDIR="+scratch)})
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	if hint := toolchain.Starved(err, scratch); hint != "" {
		return fault.New(fault.Environment, hint, "try the compiler: %w", shortage.WithHint(toolchain.WithTail(err), hint))
	}
	b := &builder{Request: Request{Python: py, HTTPD: httpd, Tools: tools}}
	return fault.New(fault.Environment, b.hint(err), "the compiler cannot build a module for %s: %w", target, toolchain.WithTail(err))
}
