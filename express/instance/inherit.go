package instance

import (
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/express/host"
	"modwsgi/internal/elf"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// httpd gets the caller's environment, as with upstream's launcher: applications look
// for their settings there. Some variables decide which Python runs and which libraries
// are loaded.
//
// Variables that can only lead the interpreter away from its environment are not passed
// to httpd (python(1), "ENVIRONMENT VARIABLES"): WSGIPythonHome names the environment,
// but a Python that starts in it takes its standard library from PYTHONHOME and its
// prefix from PYTHONEXECUTABLE. Variables with legitimate uses are passed on and
// reported: Oracle's client needs LD_LIBRARY_PATH, and allocators are loaded with
// LD_PRELOAD. LD_LIBRARY_PATH cannot replace Python, because httpd loads it by path
// (loadModule). A libpython in LD_PRELOAD would take precedence over that path, and is
// refused.

// keptAway are the variables that are not passed to httpd.
var keptAway = []string{"PYTHONHOME", "PYTHONPLATLIBDIR", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__"}

// preloading are the variables that load libraries before all others.
var preloading = []string{"LD_PRELOAD", "LD_AUDIT", "DYLD_INSERT_LIBRARIES"}

// passedOn are the variables that httpd gets and that the launcher reports: what they
// point to runs inside httpd.
var passedOn = append([]string{
	"LD_LIBRARY_PATH", "LD_LIBMAP", "DYLD_LIBRARY_PATH", "DYLD_FRAMEWORK_PATH", "DYLD_FALLBACK_LIBRARY_PATH",
	"PYTHONPATH", "PYTHONUSERBASE",
}, preloading...)

func IsKeptAway(name string) bool {
	if host.FoldsNames {
		name = strings.ToUpper(name)
	}
	return slices.Contains(keptAway, name)
}

// Inherited returns the named variables of an environment as NAME=VALUE.
func Inherited(env []string) []string {
	var out []string
	for _, name := range passedOn {
		if v := run.Getenv(env, name); v != "" {
			out = append(out, name+"="+v)
		}
	}
	return out
}

// CheckInherited refuses an environment in which httpd would run a Python other than
// the module's.
func CheckInherited(env []string) error {
	for _, name := range preloading {
		for _, lib := range strings.FieldsFunc(run.Getenv(env, name), func(r rune) bool { return r == ' ' || r == ':' }) {
			if holdsPython(lib) {
				return fault.New(fault.Environment, "start without it: unset "+name,
					"%s loads %s, and httpd would run that Python instead of the environment's", name, lib)
			}
		}
	}
	return nil
}

// holdsPython reports whether a library is a libpython, by its name or by what it
// exports.
func holdsPython(path string) bool {
	if strings.HasPrefix(filepath.Base(path), "libpython3.") {
		return true
	}
	f, err := elf.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	return f.Exports("Py_InitializeEx")
}
