// Package site finds the Python environment that the launcher belongs to, from the
// launcher's own path and the receipt of the installation: the module, the current
// Python, and how the module is loaded into an httpd.
//
// It does not know about options, and never runs code of the environment to learn a
// fact.
package site

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/express/host"
	"modwsgi/internal/fault"
	"modwsgi/internal/receipt"
)

// Environment is the Python environment that the launcher belongs to.
type Environment struct {
	Launcher string // the launcher's path in it
	prefix   string // the directory above the launcher's
	Packages string // site-packages, where the receipt is
	Receipt  *receipt.Receipt
	Module   string // the mod_wsgi module
	Home     string // what Python takes as its home
	wheel    bool   // it came with a wheel, for a Python that is looked up at each start
	apart    bool   // it is outside of every environment (pip install --user, --target)
	Stdlib   string // directory of os.py; "" if unknown
}

// Find finds the environment as Discover does, and the Python of a module from a wheel.
func Find(env []string, paths ...string) (*Environment, error) {
	in, err := Discover(paths...)
	if err != nil {
		return nil, err
	}
	return in, in.settle(env)
}

// Discover finds the environment from the paths under which the launcher was started:
// the called path, those it links to, and the file itself. The caller's PATH and
// VIRTUAL_ENV play no part.
func Discover(paths ...string) (*Environment, error) {
	var tried []string
	for _, start := range paths {
		for _, exe := range linkChain(start) {
			prefix := filepath.Dir(filepath.Dir(exe))
			if slices.Contains(tried, prefix) {
				continue
			}
			tried = append(tried, prefix)
			site, err := findSite(prefix)
			if err != nil {
				return nil, err
			}
			if site != "" {
				return open(exe, prefix, site)
			}
		}
	}
	for _, start := range paths {
		if in, err := besideApache(start); in != nil || err != nil {
			return in, err
		}
	}
	if len(tried) == 0 {
		return nil, fault.New(fault.Internal, "", "find the launcher's own path")
	}
	return nil, fault.New(fault.Environment, InstallHint(tried[0]), "no mod_wsgi is installed in %s (there is no %s in its site-packages)", tried[0], receipt.Path)
}

// linkChain returns a path, its link target, and so on.
func linkChain(path string) []string {
	var chain []string
	for range 40 {
		if path == "" {
			return chain
		}
		chain = append(chain, path)
		// A directory in the path may be a link too. An environment reached through a link is
		// complete, so only the last component matters, and the whole path at the end.
		target, err := os.Readlink(path)
		if err != nil {
			if full, err := filepath.EvalSymlinks(path); err == nil && full != path {
				chain = append(chain, full)
			}
			return chain
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	return chain
}

// findSite returns the site-packages directory with a receipt, "" if none has one. If
// several Pythons share a prefix, the one of pyvenv.cfg comes first.
func findSite(prefix string) (string, error) {
	var found []string
	for _, pattern := range append(host.SitePackages(), ".") { // the last one: pip install --target
		// Glob would interpret a bracket in the prefix.
		names, err := fs.Glob(os.DirFS(prefix), path.Join(filepath.ToSlash(pattern), receipt.Path))
		if err != nil {
			return "", err
		}
		for _, n := range names {
			found = append(found, filepath.Join(prefix, filepath.FromSlash(strings.TrimSuffix(n, receipt.Path))))
		}
	}
	if len(found) == 0 {
		return "", nil
	}
	version := Settings(prefix)["version_info"]
	if version == "" {
		version = Settings(prefix)["version"]
	}
	if parts := strings.SplitN(version, ".", 3); len(parts) > 1 {
		want := string(filepath.Separator) + "python" + parts[0] + "." + parts[1] + string(filepath.Separator)
		for _, s := range found {
			if strings.Contains(s[len(prefix):], want) {
				return s, nil
			}
		}
	}
	return found[len(found)-1], nil
}

// Settings returns the settings of prefix/pyvenv.cfg, none if the file does not exist
// (the format: PEP 405).
func Settings(prefix string) map[string]string {
	data, err := os.ReadFile(filepath.Join(prefix, "pyvenv.cfg"))
	if err != nil {
		return nil
	}
	settings := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if k, v, ok := strings.Cut(line, "="); ok {
			settings[strings.ToLower(strings.TrimSpace(k))] = strings.TrimSpace(v)
		}
	}
	return settings
}

func open(exe, prefix, site string) (*Environment, error) {
	r, err := receipt.Read(site)
	if err != nil {
		return nil, fault.Wrap(fault.Environment, InstallHint(prefix), err)
	}
	in := &Environment{Launcher: exe, prefix: prefix, Packages: site, Receipt: r, Home: prefix}
	in.Module = filepath.Join(site, "mod_wsgi", "server", filepath.Base(r.Module.File))
	if !isEnvironment(prefix) {
		in.Home = r.Python.Prefix
	}
	if _, err := os.Stat(in.Module); err != nil {
		return nil, fault.New(fault.Environment, InstallHint(prefix), "the module %s does not exist", in.Module)
	}
	return in, nil
}

// isEnvironment distinguishes a Python prefix from a directory that only has a bin.
func isEnvironment(prefix string) bool {
	for _, mark := range []string{"pyvenv.cfg", "conda-meta", "bin/python3", "bin/python", "python.exe", `Scripts\python.exe`} {
		if _, err := os.Stat(filepath.Join(prefix, filepath.FromSlash(mark))); err == nil {
			return true
		}
	}
	return false
}

// CheckPython reports why this Python cannot run inside httpd: the base Python may have
// been upgraded, replaced or removed since the installation.
func (in *Environment) CheckPython() error {
	r := in.Receipt.Python
	hint := "the Python below this environment was moved, upgraded or removed: install that Python again, or recreate the environment and run modwsgi install"
	base := in.Home
	if home := Settings(in.Home)["home"]; home != "" {
		if _, err := os.Stat(home); errors.Is(err, fs.ErrNotExist) {
			return fault.New(fault.Environment, hint, "the directory %s, which pyvenv.cfg names as the base Python's, does not exist", home)
		}
		base = filepath.Dir(home)
	}
	if err := in.Fits(); err != nil {
		return err
	}
	in.Stdlib = findStdlib(r.Version, base, r.BasePrefix)
	if in.Stdlib == "" && host.BoundPython {
		return fault.New(fault.Environment, hint, "the standard library of Python %s is neither below %s nor below %s", r.Version, base, r.BasePrefix)
	}
	return nil
}

// SharedPython returns the shared library of Python that the module needs at run time,
// "" if Python is inside the module.
func (in *Environment) SharedPython() string {
	lib := in.Receipt.Python.Loads(in.Home)
	if !filepath.IsAbs(lib) {
		return ""
	}
	return lib
}

// Interpreter returns the environment's Python, "" if it does not have one.
func (in *Environment) Interpreter() string {
	for _, name := range []string{"bin/python3", "bin/python", `Scripts\python.exe`, "python.exe"} {
		if path := filepath.Join(in.Home, filepath.FromSlash(name)); isRegular(path) {
			return path
		}
	}
	return ""
}

// Handover returns the file of mod_handover, which was built for the same httpd as the
// module; "" if it does not exist.
func (in *Environment) Handover() string {
	file := filepath.Join(filepath.Dir(in.Module), receipt.Handover)
	if !host.HandsOver || !isRegular(file) {
		return ""
	}
	return file
}

// ParksClients reports whether httpd and mod_handover wait for the heads of requests
// without a thread when many threads are busy (CONN_STATE_ASYNC_WAITIO, since 2.4.63).
func (in *Environment) ParksClients() bool {
	return in.Handover() != "" && AtLeastVersion(in.Receipt.HTTPD.Version, "2.4.63")
}

func findStdlib(version string, prefixes ...string) string {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return ""
	}
	for _, prefix := range prefixes {
		for _, lib := range []string{"lib", "lib64"} {
			for _, suffix := range []string{"", "t"} { // free-threaded builds
				dir := filepath.Join(prefix, lib, "python"+parts[0]+"."+parts[1]+suffix)
				for _, name := range []string{"os.py", "os.pyc"} {
					if _, err := os.Stat(filepath.Join(dir, name)); err == nil || errors.Is(err, fs.ErrPermission) {
						return dir
					}
				}
			}
		}
	}
	return ""
}
