package detect

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

var versionedInterpreter = regexp.MustCompile(`^python3(\.[0-9]{1,3}[a-z]{0,2})?(-dbg)?$`)

// pythonPlaces lists the interpreters of a disk by its layouts: environments, Pythons
// of version managers, then the system's. Each is listed once, at the first path where
// it is found.
func (d *Disk) pythonPlaces() []place {
	var out []place
	seen := map[string]bool{}
	add := func(path, source string) {
		key := path
		if !d.inEnvironment(path) { // environments share the binary that they link to
			key = d.resolved(path)
		}
		if d.isFile(path) && !seen[key] {
			seen[key] = true
			out = append(out, place{path, source})
		}
	}
	for _, dir := range d.environments() {
		if exe := d.interpreterBelow(dir); exe != "" {
			add(exe, "environment "+dir)
		}
	}
	for _, dir := range d.managed() {
		if exe := d.interpreterBelow(dir); exe != "" {
			add(exe, "directory "+dir)
		}
	}
	for _, bin := range []string{"/usr/local/bin", "/usr/bin", "/opt/homebrew/bin", "/Library/Developer/CommandLineTools/usr/bin"} {
		for _, name := range d.readDir(bin) {
			if versionedInterpreter.MatchString(name) {
				add(filepath.Join(bin, name), "directory "+bin)
			}
		}
	}
	return out
}

func (d *Disk) inEnvironment(exe string) bool {
	bin := filepath.Dir(exe)
	return d.isFile(filepath.Join(bin, cfgName)) || d.isFile(filepath.Join(filepath.Dir(bin), cfgName))
}

// environmentParents are where people and images keep environments and applications.
// They are searched to a small depth.
var environmentParents = []string{
	"/app", "/code", "/env", "/opt", "/srv", "/usr/src", "/var/www", "/var/lib", "/venv", "/.venv", "/work", "/workspace", "/root", "/home", "/Users",
	"C:/Users", "C:/inetpub", "C:/Apps", "C:/venv", "C:/ProgramData",
}

const (
	maxDepth = 4    // levels below one of environmentParents
	maxDirs  = 5000 // limit of inspected directories
)

// environments lists the directories that contain a pyvenv.cfg or a conda-meta.
func (d *Disk) environments() []string {
	var out []string
	left, seen := maxDirs, map[string]bool{} // links may form a cycle
	var walk func(dir string, depth int)
	walk = func(dir string, depth int) {
		real := d.resolved(dir)
		if left--; left < 0 || seen[real] || !d.isDir(dir) {
			return
		}
		seen[real] = true
		names := d.readDir(dir)
		if slices.Contains(names, cfgName) || slices.Contains(names, condaMetaName) {
			out = append(out, dir)
			dir = filepath.Join(dir, "envs") // conda keeps others below its base
			names = d.readDir(dir)
		}
		if depth == 0 {
			return
		}
		for _, name := range names {
			switch name {
			case "node_modules", ".git", ".cache", "lib", "lib64", "Lib", "share", "bin", "include", "site-packages", "AppData":
			default:
				walk(filepath.Join(dir, name), depth-1)
			}
		}
	}
	for _, dir := range environmentParents {
		if d.isAbs(dir) {
			walk(dir, maxDepth)
		}
	}
	return out
}

// managed lists the directories of Pythons that version managers and installers
// unpack: pyenv, uv (https://docs.astral.sh/uv/concepts/python-versions/), frameworks
// of python.org and Homebrew, the installer for Windows
// (https://docs.python.org/3/using/windows.html).
func (d *Disk) managed() []string {
	var out []string
	below := func(parent, start string) {
		names := d.readDir(parent)
		slices.Reverse(names) // newest first, roughly
		for _, name := range names {
			if strings.HasPrefix(name, start) {
				out = append(out, filepath.Join(parent, name))
			}
		}
	}
	homes := []string{"/root"}
	for _, parent := range []string{"/home", "/Users", "C:/Users"} {
		if d.isAbs(parent) {
			for _, name := range d.readDir(parent) {
				homes = append(homes, filepath.Join(parent, name))
			}
		}
	}
	if d.windows() {
		for _, home := range homes[1:] {
			below(filepath.Join(home, "AppData/Local/Programs/Python"), "Python3")
			below(filepath.Join(home, "AppData/Roaming/uv/python"), "cpython-3")
			below(filepath.Join(home, ".pyenv/pyenv-win/versions"), "3.")
		}
		below("C:/Program Files", "Python3")
		below("C:/", "Python3")
		return out
	}
	for _, home := range homes {
		below(filepath.Join(home, ".pyenv/versions"), "3.")
		below(filepath.Join(home, ".local/share/uv/python"), "cpython-3")
	}
	below("/opt/pyenv/versions", "3.")
	for _, frameworks := range []string{"/Library/Frameworks/Python.framework", "/Library/Developer/CommandLineTools/Library/Frameworks/Python3.framework"} {
		below(frameworks+"/Versions", "3.")
	}
	for _, brew := range []string{"/opt/homebrew/opt", "/usr/local/opt", "/home/linuxbrew/.linuxbrew/opt"} {
		below(brew, "python@3.")
	}
	return out
}

// interpreterBelow returns the interpreter of a directory, "" if it has none: python3,
// python, the highest python3.N, python.exe.
func (d *Disk) interpreterBelow(dir string) string {
	for _, bin := range []string{filepath.Join(dir, binUnix), filepath.Join(dir, binWindows), dir} {
		names := []string{"python3", "python", "python.exe"}
		entries := d.readDir(bin)
		slices.Reverse(entries)
		for _, name := range entries {
			if versionedInterpreter.MatchString(name) {
				names = append(names, name)
			}
		}
		for _, name := range names {
			if exe := filepath.Join(bin, name); d.notBinary(exe) == "" {
				return exe
			}
		}
	}
	return ""
}

// httpdConfigs are the build configurations that distributions install (the layouts of
// httpd's config.layout, with the changes of packagers).
var httpdConfigs = []place{
	{"/usr/share/apache2/build/config_vars.mk", "Debian, Ubuntu, Alpine, SUSE"},
	{"/usr/lib64/httpd/build/config_vars.mk", "RHEL, Fedora"},
	{"/usr/lib/httpd/build/config_vars.mk", "Fedora (32 bit), Arch"},
	{"/usr/lib64/apache2/build/config_vars.mk", "SUSE"},
	{"/usr/share/httpd/build/config_vars.mk", "macOS, Arch"},
	{"/opt/homebrew/opt/httpd/lib/httpd/build/config_vars.mk", "Homebrew (arm64)"},
	{"/usr/local/opt/httpd/lib/httpd/build/config_vars.mk", "Homebrew (x86_64)"},
	{"/home/linuxbrew/.linuxbrew/opt/httpd/lib/httpd/build/config_vars.mk", "Homebrew (Linux)"},
	{"/opt/rh/httpd24/root/usr/lib64/httpd/build/config_vars.mk", "Software Collections"},
}

// httpdTrees are self-contained trees in their usual directories.
var httpdTrees = []place{
	{"/usr/local/apache2", "built from source, or the container image httpd"},
	{"/usr/local/httpd", "built from source"},
	{"/opt/apache2", "built from source"},
	{"/opt/httpd", "built from source"},
	{"/opt/apache", "built from source"},
}

// onDisk looks for httpds on a disk from which nothing can be run.
func (f *finder) onDisk(reg registry) {
	d := f.disk
	if path := f.req.HTTPD; isPath(path) {
		h := f.fromDisk(d.slashes(path))
		h.Provenance = Explicit
		h.note("candidate", "--httpd", path)
		f.add(h)
	}
	f.bundled()
	for _, p := range httpdConfigs {
		if d.isAbs(p.path) && d.isFile(p.path) {
			f.addSystem(f.fromConfig(p.path), p)
		}
	}
	trees := slices.Clone(httpdTrees)
	if d.windows() {
		trees = append(services(reg), d.windowsHTTPDs()...)
	}
	for _, p := range trees {
		if d.isAbs(p.path) && d.isDir(p.path) {
			f.addSystem(fromTree(d, p.path), p)
		}
	}
	for _, exe := range []string{"/usr/sbin/apache2", "/usr/sbin/httpd", "/usr/bin/httpd", "/usr/sbin/httpd-prefork"} {
		if d.isAbs(exe) && d.isProgram(exe) {
			f.addSystem(f.bareProgram(exe), place{exe, "in a directory of programs"})
		}
	}
}

// fromDisk inspects a named path on a disk: a tree, an environment, the directory of a
// configuration, or a program.
func (f *finder) fromDisk(path string) HTTPD {
	d := f.disk
	switch {
	case d.isDir(path):
		if d.isFile(filepath.Join(path, "build", "config_vars.mk")) {
			return fromTree(d, path)
		}
		if tree := d.treeBelow(path); tree != "" {
			return fromTree(d, tree)
		}
		for _, p := range httpdConfigs {
			if strings.HasPrefix(p.path, strings.TrimRight(path, "/")+"/") && d.isFile(p.path) {
				return f.fromConfig(p.path)
			}
		}
		h := fromTree(d, path)
		if h.Executable == "" && h.Refused == "" {
			h.Refused = path + " contains no httpd"
		}
		return h
	case !d.isProgram(path):
		return HTTPD{Root: path, Refused: path + " is neither a directory nor a program"}
	}
	for _, p := range httpdConfigs {
		if d.isFile(p.path) {
			h := f.fromConfig(p.path)
			if d.sameFile(h.Executable, path) || strings.HasPrefix(filepath.Base(path), "apxs") && d.within(path, filepath.Dir(filepath.Dir(h.Executable))) {
				return h
			}
		}
	}
	if h := fromTree(d, filepath.Dir(filepath.Dir(path))); d.sameFile(h.Executable, path) {
		return h
	}
	return f.bareProgram(path)
}

// fromConfig inspects a distribution's httpd by its configuration, whose paths are
// those of the installed system.
func (f *finder) fromConfig(name string) HTTPD {
	vars, err := f.disk.loadVars(name)
	if err != nil {
		return HTTPD{Root: filepath.Dir(name), Refused: err.Error()}
	}
	h := HTTPD{Root: prefixOf(vars)}
	h.read(f.disk, vars, name)
	return h
}

// bareProgram is an httpd of which only the program exists.
func (f *finder) bareProgram(path string) HTTPD {
	h := HTTPD{Root: filepath.Dir(filepath.Dir(path)), Executable: path}
	h.readExecutable(f.disk)
	h.Refused = f.noHeaders(&h)
	if h.Machine != "" && f.disk.goos == "linux" && h.program.mmn == 0 {
		h.Refused = path + " is not an httpd: it has no core_module"
	}
	return h
}
