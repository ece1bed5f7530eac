package detect

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"modwsgi/internal/elf"
	"modwsgi/internal/libpython"
)

// FromFiles describes the Python of an interpreter on a disk without starting it: from
// pyvenv.cfg, the location of the standard library, _sysconfigdata read as data, and
// the binaries. It finds slightly less than FindPython, which queries the interpreter,
// but never anything different. exe is an absolute path on that disk.
func FromFiles(d *Disk, exe string) (*Python, error) {
	if why := d.notBinary(exe); why != "" {
		return nil, fmt.Errorf("%s is not a Python interpreter: %s", exe, why)
	}
	a, err := d.answerFor(exe)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", exe, err)
	}
	source := a.Cfg
	if source == "" {
		source = a.Paths["stdlib"]
	}
	return assemble(d, exe, a, []Evidence{{"prefix", source, a.Prefix}}, Request{})
}

// Identify identifies the Python of an interpreter on this machine without starting or
// judging it: prefixes, version and ABI, nothing that takes long.
func Identify(exe string) (*Python, error) {
	d := ThisDisk()
	if why := d.notBinary(exe); why != "" {
		return nil, fmt.Errorf("%s is not a Python interpreter: %s", exe, why)
	}
	a, err := d.answerFor(exe)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", exe, err)
	}
	return fromAnswer(d, exe, a), nil
}

// answerFor derives from files what facts.py would report.
func (d *Disk) answerFor(exe string) (*answer, error) {
	a := &answer{Executable: exe, Implementation: "cpython", Vars: map[string]string{}}
	bin := filepath.Dir(exe)
	for _, dir := range []string{bin, filepath.Dir(bin)} {
		if name := filepath.Join(dir, cfgName); d.isFile(name) {
			a.Cfg, a.Prefix = name, filepath.Dir(bin)
			break
		}
	}
	base, err := d.standardLibrary(exe, a)
	if err != nil {
		return nil, err
	}
	a.BasePrefix = base
	if a.Prefix == "" {
		a.Prefix = base
	}
	a.ExecPrefix = a.Prefix
	if err := d.sysconfig(exe, a); err != nil {
		return nil, err
	}
	if d.windows() {
		d.windowsFacts(exe, a)
		return a, nil
	}
	a.Platform = d.platform(exe, a)
	d.posixPaths(a)
	a.Version = d.fullVersion(exe, a)
	return a, nil
}

var stdlibName = regexp.MustCompile(`^python3\.([0-9]{1,3})(t?)$`)

// standardLibrary finds the prefix of an interpreter's standard library, as getpath.py
// does: by the landmark os.py, above the interpreter or above the home directory in
// pyvenv.cfg. It sets the version and Paths.
func (d *Disk) standardLibrary(exe string, a *answer) (string, error) {
	var begin []string
	if home := d.slashes(d.readConfig(a.Cfg)["home"]); a.Cfg != "" && d.isAbs(home) {
		begin = append(begin, home, d.resolved(home))
	}
	begin = append(begin, filepath.Dir(d.resolved(exe)), filepath.Dir(exe))
	wanted := d.minorOf(exe, a)
	for _, dir := range unique(begin...) {
		for range 6 {
			for _, lib := range d.stdlibs(dir) {
				if wanted >= 0 && lib.minor != wanted {
					continue
				}
				a.Major, a.Minor = 3, lib.minor
				a.Paths = map[string]string{"stdlib": lib.dir}
				return dir, nil
			}
			if names := d.readDir(filepath.Join(dir, "lib")); slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "pypy") }) {
				return "", errors.New("it is PyPy, not CPython")
			}
			if names := d.readDir(dir); slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, "._pth") }) {
				return "", errors.New("it is the embeddable package for Windows, which modules cannot be built for: it has no headers and no pip (https://docs.python.org/3/using/windows.html#the-embeddable-package)")
			}
			if dir == filepath.Dir(dir) {
				break
			}
			dir = filepath.Dir(dir)
		}
	}
	return "", errors.New("its standard library was not found (no os.py above it" + ifAny(", nor above the home of ", a.Cfg) + ")")
}

func ifAny(label, s string) string {
	if s == "" {
		return ""
	}
	return label + s
}

type stdlib struct {
	dir   string
	minor int
}

// stdlibs lists the standard libraries in a prefix, newest first.
func (d *Disk) stdlibs(prefix string) []stdlib {
	var out []stdlib
	if d.windows() {
		dir := filepath.Join(prefix, "Lib")
		minor := d.dllMinor(prefix)
		if minor >= 0 && d.isFile(filepath.Join(dir, "os.py")) {
			out = append(out, stdlib{dir, minor})
		}
		return out
	}
	for _, lib := range []string{"lib", "lib64"} {
		for _, name := range d.readDir(filepath.Join(prefix, lib)) {
			m := stdlibName.FindStringSubmatch(name)
			if m == nil || !d.isFile(filepath.Join(prefix, lib, name, "os.py")) {
				continue
			}
			if minor, err := strconv.Atoi(m[1]); err == nil {
				out = append(out, stdlib{filepath.Join(prefix, lib, name), minor})
			}
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[j].minor < out[i].minor })
	return out
}

var (
	interpreterMinor = regexp.MustCompile(`^python3\.([0-9]{1,3})`)
	libraryMinor     = regexp.MustCompile(`^libpython3\.([0-9]{1,3})`)
)

// minorOf returns the minor version of an interpreter from its name, its libpython or
// its binary; -1 if it is unknown.
func (d *Disk) minorOf(exe string, a *answer) int {
	for _, step := range d.links(exe) {
		if m := interpreterMinor.FindStringSubmatch(filepath.Base(step)); m != nil && d.isFile(step) {
			n, _ := strconv.Atoi(m[1])
			return n
		}
	}
	f, err := d.elf(exe)
	if err != nil {
		return -1
	}
	defer func() { _ = f.Close() }()
	if facts, err := f.Facts(); err == nil {
		for _, needed := range facts.Needed {
			if m := libraryMinor.FindStringSubmatch(needed); m != nil {
				n, _ := strconv.Atoi(m[1])
				return n
			}
		}
	}
	if hex, err := f.Uint32("Py_Version"); err == nil {
		return int(hex >> 16 & 0xff)
	}
	cfg := d.readConfig(a.Cfg)
	for _, name := range []string{"version", "version_info"} {
		if parts := strings.Split(cfg[name], "."); len(parts) > 1 {
			if n, err := strconv.Atoi(parts[1]); err == nil {
				return n
			}
		}
	}
	return -1
}

var flagsInName = regexp.MustCompile(`^python3(?:\.[0-9]+)?([a-z]{0,2})(?:-dbg)?$`)

// sysconfig reads the build variables of a Python. If a debug or free-threaded build
// shares the directory, the interpreter's name decides.
func (d *Disk) sysconfig(exe string, a *answer) error {
	flags := ""
	for _, step := range d.links(exe) {
		if m := flagsInName.FindStringSubmatch(filepath.Base(step)); m != nil && m[1] != "" {
			flags = m[1]
		}
	}
	var found []string
	for _, name := range d.readDir(a.Paths["stdlib"]) {
		rest, ok := strings.CutPrefix(name, "_sysconfigdata_")
		if !ok || !strings.HasSuffix(name, ".py") {
			continue
		}
		if own, _, _ := strings.Cut(rest, "_"); own == flags {
			found = append([]string{name}, found...)
		} else {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		return nil // Windows has none; elsewhere Paths alone suffice
	}
	name := filepath.Join(a.Paths["stdlib"], found[0])
	vars, err := buildTimeVars(d.head(name, maxSysconfig+1))
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	a.Vars, a.ABIFlags = vars, vars["ABIFLAGS"]
	return nil
}

// platform is sysconfig.get_platform of the disk's system.
func (d *Disk) platform(exe string, a *answer) string {
	machines := d.machines(exe)
	if len(machines) == 0 {
		return d.goos
	}
	if d.goos == "darwin" {
		cpu := machines[0]
		if len(machines) > 1 {
			cpu = "universal2"
		}
		return "macosx-" + a.Vars["MACOSX_DEPLOYMENT_TARGET"] + "-" + cpu
	}
	return d.goos + "-" + machines[0]
}

// posixPaths are the directories of the scheme posix_prefix, of venv, of Debian's
// posix_local, or of Fedora's, which is below /usr/local as well
// (https://docs.python.org/3/library/sysconfig.html#installation-paths,
// https://wiki.debian.org/Python#Deviations_from_upstream,
// https://fedoraproject.org/wiki/Changes/Making_sudo_pip_safe).
func (d *Disk) posixPaths(a *answer) {
	version := fmt.Sprintf("python%d.%d", a.Major, a.Minor)
	if strings.HasSuffix(filepath.Base(a.Paths["stdlib"]), "t") {
		version += "t"
	}
	platlib := a.Vars["PLATLIBDIR"]
	if platlib == "" || filepath.Base(platlib) != platlib {
		platlib = "lib"
	}
	a.Paths["purelib"] = filepath.Join(a.Prefix, "lib", version, "site-packages")
	a.Paths["platlib"] = filepath.Join(a.Prefix, platlib, version, "site-packages")
	a.Paths["scripts"] = filepath.Join(a.Prefix, binUnix)
	a.Paths["include"] = filepath.Join(a.BasePrefix, "include", fmt.Sprintf("python%d.%d%s", a.Major, a.Minor, a.ABIFlags))
	if a.Cfg != "" || a.BasePrefix != "/usr" {
		return
	}
	switch {
	case d.debian(a):
		local := filepath.Join("/usr/local/lib", version, "dist-packages")
		a.Paths["purelib"], a.Paths["platlib"], a.Paths["scripts"] = local, local, "/usr/local/bin"
	case d.patched(a, "'rpm_prefix'"):
		a.Paths["purelib"] = filepath.Join("/usr/local/lib", version, "site-packages")
		a.Paths["platlib"] = filepath.Join("/usr/local", platlib, version, "site-packages")
		a.Paths["scripts"] = "/usr/local/bin"
	}
}

// debian reports whether a Python has Debian's own scheme: by its package directory,
// which a small image may lack, or by its patched sysconfig.
func (d *Disk) debian(a *answer) bool {
	return d.isDir("/usr/lib/python3/dist-packages") || d.patched(a, "'deb_system'")
}

// patched reports whether a Python's sysconfig has a scheme of a distribution.
func (d *Disk) patched(a *answer, scheme string) bool {
	for _, name := range []string{"sysconfig.py", "sysconfig/__init__.py"} {
		if bytes.Contains(d.head(filepath.Join(a.Paths["stdlib"], filepath.FromSlash(name)), maxHeader), []byte(scheme)) {
			return true
		}
	}
	return false
}

// fullVersion returns "3.11.7", from the binaries or else from the header; "3.11" if
// neither contains it.
func (d *Disk) fullVersion(exe string, a *answer) string {
	short := &Python{Executable: exe, BasePrefix: a.BasePrefix, Major: a.Major, Minor: a.Minor, ABIFlags: a.ABIFlags}
	for _, place := range append([]string{exe}, short.sharedCandidates(d, a, Request{})...) {
		if v := d.versionInBinary(place, short); strings.HasPrefix(v, fmt.Sprintf("%d.%d.", a.Major, a.Minor)) {
			return v
		}
	}
	header := d.head(filepath.Join(a.Paths["include"], "patchlevel.h"), maxHeader)
	if m := regexp.MustCompile(`(?m)^#[ \t]*define[ \t]+PY_VERSION[ \t]+"([0-9a-z.]+)`).FindSubmatch(header); m != nil {
		return string(m[1])
	}
	return fmt.Sprintf("%d.%d", a.Major, a.Minor)
}

func (d *Disk) versionInBinary(path string, p *Python) string {
	if isMachO(d.head(path, 4)) {
		images, _ := d.machO(path)
		for _, m := range images {
			if all := elf.VersionsIn(m.text, "", fmt.Sprintf("%d.%d.", p.Major, p.Minor)); len(all) > 0 {
				return all[0]
			}
		}
		return ""
	}
	f, err := d.elf(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	if !exportsPython(f) {
		return ""
	}
	return libpython.Version(f, fmt.Sprintf("%d.%d", p.Major, p.Minor))
}
