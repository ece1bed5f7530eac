package detect

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var dllName = regexp.MustCompile(`(?i)^python3([0-9]{1,3})(t?)(_d)?\.dll$`)

// dllMinor returns the minor version of the python3XX.dll in a directory, -1 if it has
// none. python3.dll, the stable ABI, is ignored.
func (d *Disk) dllMinor(dir string) int {
	for _, name := range d.readDir(dir) {
		if m := dllName.FindStringSubmatch(name); m != nil {
			n, _ := strconv.Atoi(m[1])
			return n
		}
	}
	return -1
}

// dllName is the file name of a Python's library on Windows, where ABI flags are not
// in sys.abiflags.
func (p *Python) dllName() string {
	name := fmt.Sprintf("python%d%d", p.Major, p.Minor)
	if p.FreeThreaded {
		name += "t"
	}
	if strings.HasPrefix(p.ExtSuffix, "_d.") {
		name += "_d"
	}
	return name + ".dll"
}

// slashes converts the paths in the answer of a Windows interpreter to the notation of
// a disk on another machine.
func (a *answer) slashes(d *Disk) {
	for _, s := range []*string{&a.Executable, &a.Prefix, &a.BasePrefix, &a.ExecPrefix, &a.Cfg} {
		*s = d.slashes(*s)
	}
	for _, m := range []map[string]string{a.Paths, a.Vars} {
		for k, v := range m {
			m[k] = d.slashes(v)
		}
	}
}

// windowsFacts are the directories of the scheme nt, and the facts that sysconfig
// computes there (https://docs.python.org/3/library/sysconfig.html#nt).
func (d *Disk) windowsFacts(exe string, a *answer) {
	a.Paths["purelib"] = filepath.Join(a.Prefix, "Lib", "site-packages")
	a.Paths["platlib"] = a.Paths["purelib"]
	a.Paths["scripts"] = filepath.Join(a.Prefix, binWindows)
	a.Paths["include"] = filepath.Join(a.BasePrefix, "include")
	platform := "win-unknown"
	if machines := d.machines(exe); len(machines) > 0 {
		platform = "win-" + machines[0]
	}
	a.Platform = strings.Replace(platform, "win-win32", "win32", 1)
	for _, name := range d.readDir(a.BasePrefix) {
		m := dllName.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		tag := strings.ReplaceAll(a.Platform, "-", "_")
		a.Vars["LDLIBRARY"] = name
		a.Vars["SOABI"] = fmt.Sprintf("cp3%s%s-%s", m[1], m[2], tag)
		a.Vars["EXT_SUFFIX"] = fmt.Sprintf("%s.%s.pyd", m[3], a.Vars["SOABI"])
		if m[2] == "t" {
			a.Vars["Py_GIL_DISABLED"] = "1"
		}
		if facts, err := d.pe(filepath.Join(a.BasePrefix, name)); err == nil && facts.Version[0] != 0 {
			a.Version = fmt.Sprintf("%d.%d.%d", facts.Version[0], facts.Version[1], facts.Version[2]/1000)
		}
	}
	if a.Version == "" {
		a.Version = fmt.Sprintf("%d.%d", a.Major, a.Minor)
	}
}

// registry reads the Windows registry. A path begins with its root key ("HKLM" or
// "HKCU") and has backslashes. Missing keys and values read as empty.
type registry interface {
	keys(path string) []string
	value(path, name string) string // name "" is the key's default value
}

// place is the path of a possible candidate, and its source.
type place struct{ path, source string }

// registered lists the interpreters registered under PEP 514, the user's first. The
// tag PyLauncher is the launcher itself.
func registered(r registry) []place {
	var out []place
	for _, root := range []string{`HKCU\Software\Python`, `HKLM\Software\Python`, `HKLM\Software\Wow6432Node\Python`} {
		for _, company := range r.keys(root) {
			if company == "PyLauncher" {
				continue
			}
			for _, tag := range r.keys(root + `\` + company) {
				key := root + `\` + company + `\` + tag + `\InstallPath`
				exe := r.value(key, "ExecutablePath")
				if dir := r.value(key, ""); exe == "" && dir != "" && company == "PythonCore" {
					exe = strings.TrimRight(dir, `\/`) + `\python.exe` // PEP 514: only PythonCore may leave it out
				}
				if exe != "" {
					out = append(out, place{strings.ReplaceAll(exe, `\`, "/"), key})
				}
			}
		}
	}
	return out
}

// services lists the httpd trees of Windows services whose image is …\bin\httpd.exe.
func services(r registry) []place {
	var out []place
	const root = `HKLM\SYSTEM\CurrentControlSet\Services`
	for _, name := range r.keys(root) {
		image := r.value(root+`\`+name, "ImagePath")
		if rest, quoted := strings.CutPrefix(image, `"`); quoted {
			image, _, _ = strings.Cut(rest, `"`)
		} else if i := strings.Index(strings.ToLower(image), ".exe "); i >= 0 {
			image = image[:i+4]
		}
		exe := strings.ReplaceAll(image, `\`, "/")
		if strings.EqualFold(filepath.Base(exe), "httpd.exe") && strings.EqualFold(filepath.Base(filepath.Dir(exe)), binUnix) {
			out = append(out, place{filepath.Dir(filepath.Dir(exe)), root + `\` + name})
		}
	}
	return out
}

// windowsHTTPDs are the default directories of distributions for Windows: Apache
// Lounge (https://www.apachelounge.com/download/, C:\Apache24), XAMPP, WampServer (one
// directory per version), MS4W (https://ms4w.com/documentation/).
func (d *Disk) windowsHTTPDs() []place {
	out := []place{
		{"C:/Apache24", "Apache Lounge"},
		{"C:/Program Files/Apache24", "Apache Lounge"},
		{"C:/xampp/apache", "XAMPP"},
		{"C:/ms4w/Apache", "MS4W"},
	}
	for _, wamp := range []string{"C:/wamp64/bin/apache", "C:/wamp/bin/apache"} {
		names := d.readDir(wamp)
		slices.Reverse(names)
		for _, name := range names {
			if strings.HasPrefix(name, "apache2.") {
				out = append(out, place{wamp + "/" + name, "WampServer"})
			}
		}
	}
	return out
}

// windowsTrees adds the httpds of this machine's services and distributions.
func (f *finder) windowsTrees(reg registry) {
	for _, p := range append(services(reg), f.disk.windowsHTTPDs()...) {
		if f.disk.isDir(p.path) {
			f.addSystem(fromTree(f.disk, p.path), p)
		}
	}
}
