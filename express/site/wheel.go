package site

import (
	"os"
	"path/filepath"
	"strings"

	"modwsgi/internal/distro"
	"modwsgi/internal/fault"
	"modwsgi/internal/filetree"
	"modwsgi/internal/run"
)

// fromWheel reports whether the module came with a wheel. It is then for every Python
// of its version; the Python in use and its library are looked up at each start.
func (in *Environment) fromWheel() bool { return in.wheel }

// OwnPath returns what the module path needs for the packages beside a module that is
// outside of every environment.
func (in *Environment) OwnPath() []string {
	if !in.apart {
		return nil
	}
	return []string{in.Packages}
}

// settle finds the Python of a module from a wheel: the environment that the launcher
// is in, or (pip install --user, --target) a Python of that version on the caller's
// PATH or of the system.
func (in *Environment) settle(env []string) error {
	if done, err := in.settleHere(env); done {
		return err
	}
	r := &in.Receipt.Python
	if r.Prefix != "" {
		return nil
	}
	in.wheel = true
	minor := minorVersion(r.Version)
	if in.apart = !isEnvironment(in.prefix); in.apart {
		in.Home = pythonOnPath(minor, env)
		if in.Home == "" {
			return fault.New(fault.Environment, "install the wheel into an environment of Python "+minor+", or put python"+minor+" on the PATH",
				"the wheel in %s is for Python %s, which is neither in %s nor on the PATH", in.Packages, minor, in.prefix)
		}
	}
	r.Prefix, r.BasePrefix = in.Home, basePrefix(in.Home)
	if r.Soname == "" {
		return nil // Python is inside the module
	}
	r.LibPython = findLibrary(r.Soname, r.Prefix, r.BasePrefix)
	if r.LibPython == "" {
		return fault.New(fault.Environment,
			distro.LibPython.For(minor).Hint(distro.Family(), "", "use a Python that was built with --enable-shared, or build the module here with modwsgi install"),
			"the Python in %s has no %s, which the module in the wheel needs", in.Home, r.Soname)
	}
	return nil
}

// minorVersion cuts "3.11.7" to "3.11".
func minorVersion(version string) string {
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// basePrefix returns the prefix of the Python below a virtual environment, or of the
// Python itself.
func basePrefix(prefix string) string {
	if home := Settings(prefix)["home"]; home != "" {
		return filepath.Dir(home)
	}
	return prefix
}

// pythonOnPath returns the prefix of a Python of that version.
func pythonOnPath(minor string, env []string) string {
	dirs := append(filepath.SplitList(run.Getenv(env, "PATH")), "/usr/local/bin", "/usr/bin")
	for _, dir := range dirs {
		if !filepath.IsAbs(dir) {
			continue
		}
		python := filepath.Join(dir, "python"+minor)
		info, err := os.Stat(python)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		// The prefix of the directory on the PATH may be an environment; a link
		// (/usr/local/bin/python3.11) leads to the Python itself.
		for _, exe := range linkChain(python) {
			prefix := filepath.Dir(filepath.Dir(exe))
			if Settings(prefix)["home"] != "" || findStdlib(minor+".0", prefix) != "" {
				return prefix
			}
		}
	}
	return ""
}

// findLibrary looks for a shared library in the Python's library directories, and then
// in the system's.
func findLibrary(soname string, prefixes ...string) string {
	var dirs []string
	for _, prefix := range prefixes {
		dirs = append(dirs, filepath.Join(prefix, "lib"), filepath.Join(prefix, "lib64"))
		dirs = append(dirs, filetree.Glob(prefix, "lib/*-linux-*")...)
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, soname)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path
		}
	}
	return ""
}
