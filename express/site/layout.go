package site

import (
	"encoding/json"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"modwsgi/express/host"
	"modwsgi/internal/fault"
	"modwsgi/internal/receipt"
	"modwsgi/internal/run"
)

// InstallHint returns what to do about a prefix without a working mod_wsgi.
func InstallHint(prefix string) string {
	if !host.Builds {
		return "install the wheel with pip and start the launcher of that Python, or unpack the zip, whole, over the directory that holds Apache24"
	}
	return "run modwsgi install --python " + run.Quote(prefix)
}

// zipRecord is the record beside the launcher in a zip, which is unpacked over
// the directory that holds Apache24.
const zipRecord = "mod_wsgi-express.json"

// besideApache recognises that layout; nil if the launcher is not in it.
func besideApache(launcher string) (*Environment, error) {
	if !host.OneLayout {
		return nil, nil
	}
	dir := filepath.Dir(launcher)
	data, err := os.ReadFile(filepath.Join(dir, zipRecord))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.Wrap(fault.Environment, "", err)
	}
	var r receipt.Receipt
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fault.New(fault.Environment, "unpack the zip again", "read %s: it is damaged: %w", zipRecord, err)
	}
	in := &Environment{Launcher: launcher, prefix: dir, Receipt: &r, wheel: true}
	in.Module = filepath.Join(dir, "Apache24", "modules", "mod_wsgi.so")
	if _, err := os.Stat(in.Module); err != nil {
		return nil, fault.New(fault.Environment, "unpack the zip again, whole", "the module %s does not exist", in.Module)
	}
	return in, nil
}

// settleHere finds, on Windows, the Python and the httpd of a module from a wheel or a
// zip. done is false if there is nothing to find, because the module was built for what
// its record names.
func (in *Environment) settleHere(env []string) (done bool, err error) {
	r := in.Receipt
	if host.BoundPython || r.Python.Prefix != "" {
		return false, nil
	}
	in.wheel = true
	minor := minorVersion(r.Python.Version)
	if in.Home == "" || !isEnvironment(in.Home) {
		in.apart = in.Packages != ""
		in.Home = ""
		for _, dir := range host.RegisteredPythons(minor) {
			if in.Home == "" && isRegular(filepath.Join(dir, "python.exe")) {
				in.Home = dir
			}
		}
	}
	if in.Home == "" {
		return true, fault.New(fault.Environment, "install Python "+minor+" (64-bit, for all users), or the wheel into an environment of it",
			"the module is for Python %s, and none is registered on this machine", minor)
	}
	r.Python.Prefix, r.Python.BasePrefix = in.Home, in.Home
	if home := Settings(in.Home)["home"]; home != "" {
		r.Python.BasePrefix = filepath.Clean(home)
	}
	for _, dir := range []string{r.Python.BasePrefix, in.Home} {
		if path := filepath.Join(dir, r.Python.Soname); isRegular(path) {
			r.Python.LibPython = path
			break
		}
	}
	if r.Python.LibPython == "" {
		return true, fault.New(fault.Environment, "install Python "+minor+" there, or the wheel into an environment of it",
			"the Python in %s has no %s, which the module needs: it is a different version", r.Python.BasePrefix, r.Python.Soname)
	}
	in.findApache(env)
	return true, nil
}

func isRegular(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// findApache looks for an httpd in the directory that the environment names (the
// variable that upstream's build uses), beside the launcher, and where the
// distributions for Windows unpack themselves.
func (in *Environment) findApache(env []string) {
	h := &in.Receipt.HTTPD
	if h.Executable != "" {
		return
	}
	for dir := range in.apacheDirs(env) {
		exe := filepath.Join(dir, "bin", "httpd.exe")
		if dir == "" || !filepath.IsAbs(dir) || !isRegular(exe) {
			continue
		}
		h.Executable, h.ModulesDir = exe, filepath.Join(dir, "modules")
		if rotate := filepath.Join(dir, "bin", "rotatelogs.exe"); isRegular(rotate) {
			h.Rotatelogs = rotate
		}
		return
	}
	// Commands that need an httpd report that it is missing; the name shows where it was
	// looked for.
	h.Executable, h.ModulesDir = `C:\Apache24\bin\httpd.exe`, `C:\Apache24\modules`
}

// apacheDirs yields the server roots to search, in that order.
func (in *Environment) apacheDirs(env []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, dir := range []string{
			run.Getenv(env, "MOD_WSGI_APACHE_ROOTDIR"), filepath.Join(filepath.Dir(in.Launcher), "Apache24"),
			`C:\Apache24`, filepath.Join(run.Getenv(env, "ProgramFiles"), "Apache24"),
		} {
			if !yield(dir) {
				return
			}
		}
		for _, dir := range append(host.HTTPDServices(), `C:\xampp\apache`) {
			if !yield(dir) {
				return
			}
		}
	}
}

// ModulesOf returns the modules directory meant by a given directory: on Windows people
// also give the server root, as in C:\Apache24.
func ModulesOf(dir string) string {
	modules := filepath.Join(dir, "modules")
	if info, err := os.Stat(modules); host.OneLayout && err == nil && info.IsDir() && isRegular(filepath.Join(dir, "bin", "httpd.exe")) {
		return modules
	}
	return dir
}

// ModulesBeside returns the modules directory of a given httpd, "" if its location does
// not reveal it.
func ModulesBeside(httpd string) string {
	if !host.OneLayout {
		return ""
	}
	return filepath.Join(filepath.Dir(filepath.Dir(httpd)), "modules")
}
