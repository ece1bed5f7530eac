package express

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/windows/registry"

	"modwsgi/internal/fault"
	"modwsgi/internal/receipt"
	"modwsgi/internal/run"
)

// installHint is what to do about a prefix in which there is no mod_wsgi, or none that
// works.
func installHint(string) string {
	return "install the wheel with pip and start the launcher of that Python, or unpack the zip, whole, over the directory that holds Apache24"
}

// zipRecord is the record beside the launcher in a zip, which is unpacked over
// the directory that holds Apache24.
const zipRecord = "mod_wsgi-express.json"

// besideApache recognises that layout; nil where a launcher is not in it.
func besideApache(launcher string) (*install, error) {
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
	in := &install{launcher: launcher, prefix: dir, receipt: &r, wheel: true}
	in.module = filepath.Join(dir, "Apache24", "modules", "mod_wsgi.so")
	if _, err := os.Stat(in.module); err != nil {
		return nil, fault.New(fault.Environment, "unpack the zip again, whole", "the module %s is not there", in.module)
	}
	return in, nil
}

// settleHere finds the Python and the httpd of a module that came with a wheel
// or a zip; done is false where there is nothing to find, because the module was
// built for what its record names.
func (in *install) settleHere(env []string) (done bool, err error) {
	r := in.receipt
	if r.Python.Prefix != "" {
		return false, nil
	}
	in.wheel = true
	minor := minorVersion(r.Python.Version)
	if in.home == "" || !isEnvironment(in.home) {
		in.apart = in.site != ""
		in.home = registeredPython(minor)
	}
	if in.home == "" {
		return true, fault.New(fault.Environment, "install Python "+minor+" (64-bit, for all users), or the wheel into an environment of it",
			"the module is for Python %s, and none is registered on this machine", minor)
	}
	r.Python.Prefix, r.Python.BasePrefix = in.home, in.home
	if home := pyvenv(in.home)["home"]; home != "" {
		r.Python.BasePrefix = filepath.Clean(home)
	}
	for _, dir := range []string{r.Python.BasePrefix, in.home} {
		if path := filepath.Join(dir, r.Python.Soname); isRegular(path) {
			r.Python.LibPython = path
			break
		}
	}
	if r.Python.LibPython == "" {
		return true, fault.New(fault.Environment, "install Python "+minor+" there, or the wheel into an environment of it",
			"the Python in %s has no %s, which the module needs: it is of another version", r.Python.BasePrefix, r.Python.Soname)
	}
	in.findApache(env)
	return true, nil
}

func isRegular(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// registeredPython is the directory of a Python that its installer registered
// (PEP 514), the user's own first.
func registeredPython(minor string) string {
	for _, root := range []registry.Key{registry.CURRENT_USER, registry.LOCAL_MACHINE} {
		k, err := registry.OpenKey(root, `Software\Python\PythonCore\`+minor+`\InstallPath`, registry.QUERY_VALUE|registry.WOW64_64KEY)
		if err != nil {
			continue
		}
		dir, _, err := k.GetStringValue("")
		_ = k.Close()
		if dir = strings.TrimRight(dir, `\/`); err == nil && isRegular(filepath.Join(dir, "python.exe")) {
			return dir
		}
	}
	return ""
}

// findApache looks for an httpd: where the environment says (the variable that
// upstream's build takes), beside the launcher, and where the distributions for
// Windows unpack themselves.
func (in *install) findApache(env []string) {
	h := &in.receipt.HTTPD
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
	// Whoever needs one says so; the name tells where it was looked for.
	h.Executable, h.ModulesDir = `C:\Apache24\bin\httpd.exe`, `C:\Apache24\modules`
}

// apacheDirs yields the server roots that are looked at, in that order.
func (in *install) apacheDirs(env []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, dir := range []string{
			run.Getenv(env, "MOD_WSGI_APACHE_ROOTDIR"), filepath.Join(filepath.Dir(in.launcher), "Apache24"),
			`C:\Apache24`, filepath.Join(run.Getenv(env, "ProgramFiles"), "Apache24"),
		} {
			if !yield(dir) {
				return
			}
		}
		for _, dir := range append(serviceDirs(), `C:\xampp\apache`) {
			if !yield(dir) {
				return
			}
		}
	}
}

// serviceDirs are the server roots whose httpd.exe a service runs, wherever its
// distribution was unpacked to.
func serviceDirs() []string {
	const services = `SYSTEM\CurrentControlSet\Services`
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, services, registry.ENUMERATE_SUB_KEYS)
	if err != nil {
		return nil
	}
	names, _ := k.ReadSubKeyNames(-1)
	_ = k.Close()
	var dirs []string
	for _, name := range names {
		k, err := registry.OpenKey(registry.LOCAL_MACHINE, services+`\`+name, registry.QUERY_VALUE)
		if err != nil {
			continue
		}
		image, _, err := k.GetStringValue("ImagePath")
		_ = k.Close()
		if dir := serviceDir(image); err == nil && dir != "" {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// serviceDir takes the server root out of a service's command line, which may be
// quoted; "" for another program's.
func serviceDir(image string) string {
	exe, _, quoted := strings.Cut(strings.TrimPrefix(image, `"`), `"`)
	if at := strings.Index(strings.ToLower(exe), ".exe "); !quoted && at >= 0 {
		exe = exe[:at+len(".exe")]
	}
	bin := filepath.Dir(exe)
	if !strings.EqualFold(filepath.Base(exe), "httpd.exe") || !strings.EqualFold(filepath.Base(bin), "bin") {
		return ""
	}
	return filepath.Dir(bin)
}

// noHTTPD is the error for an httpd that is not there.
func noHTTPD(httpd, _ string) error {
	return fault.New(fault.Environment, `name one with --httpd-executable, or set MOD_WSGI_APACHE_ROOTDIR to its directory (as C:\Apache24); Apache for Windows: https://www.apachelounge.com/download/`,
		"there is no httpd: %s is not there", httpd)
}

// modulesOf is the directory of modules that is meant by one that was named:
// people name the server root, as C:\Apache24, too.
func modulesOf(dir string) string {
	modules := filepath.Join(dir, "modules")
	if info, err := os.Stat(modules); err == nil && info.IsDir() && isRegular(filepath.Join(dir, "bin", "httpd.exe")) {
		return modules
	}
	return dir
}

// modulesBeside is where the modules of an httpd lie that was named: all
// distributions for Windows have one layout.
func modulesBeside(httpd string) string {
	return filepath.Join(filepath.Dir(filepath.Dir(httpd)), "modules")
}

// slashed writes a path as httpd wants it in its configuration.
func slashed(s string) string {
	if filepath.VolumeName(s) != "" && !strings.ContainsAny(s, "\r\n") {
		return filepath.ToSlash(s)
	}
	return s
}

const controlFile = "apachectl.cmd"

// shellWord writes a path as one word of the shell that people type into.
func shellWord(s string) string { return `"` + s + `"` }

// controlStub is the script of a server root that controls its httpd.
func controlStub(launcher, root string) []byte {
	quote := func(s string) string { return `"` + strings.ReplaceAll(s, "%", "%%") + `"` }
	// UTF-8, and said so: the paths may be in any script.
	return fmt.Appendf(nil, "@echo off\r\nchcp 65001 >nul\r\n%s apachectl %s %%*\r\n", quote(launcher), quote(root))
}
