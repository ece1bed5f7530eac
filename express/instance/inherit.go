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

// httpd gets the caller's environment, as upstream's does: applications look for
// their settings there. Some variables decide which Python runs, and which libraries.
//
// Those that can only lead the interpreter away from its environment are kept away
// from httpd (python(1), "ENVIRONMENT VARIABLES"): WSGIPythonHome names the
// environment, but a Python that starts in it takes its standard library from
// PYTHONHOME, and its prefix from PYTHONEXECUTABLE. Those that people use for good
// reasons are passed on and named: Oracle's client needs LD_LIBRARY_PATH, an allocator
// comes by LD_PRELOAD. LD_LIBRARY_PATH cannot exchange Python, since httpd is told its
// path (loadModule). A libpython in LD_PRELOAD would win over that, and is refused.

// keptAway are the variables that httpd does not get.
var keptAway = []string{"PYTHONHOME", "PYTHONPLATLIBDIR", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__"}

// preloading are the variables by which libraries come before all others.
var preloading = []string{"LD_PRELOAD", "LD_AUDIT", "DYLD_INSERT_LIBRARIES"}

// passedOn are the variables that httpd gets and that the launcher names: what they lead
// to runs inside of it.
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

// Inherited are the named variables in an environment, as NAME=VALUE.
func Inherited(env []string) []string {
	var out []string
	for _, name := range passedOn {
		if v := run.Getenv(env, name); v != "" {
			out = append(out, name+"="+v)
		}
	}
	return out
}

// CheckInherited refuses an environment in which httpd would run another Python than
// that of the module.
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
