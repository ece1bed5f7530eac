package detect

import (
	"fmt"
	"path/filepath"
	"strings"

	"modwsgi/internal/fault"
)

// osRelease is the file that names the distribution (os-release(5)).
var osRelease = "/etc/os-release"

// Need is something that a distribution's package provides.
type Need string

// The needs that a hint can name a package for.
const (
	PythonHeaders Need = "python"
	HTTPDHeaders  Need = "httpd"
)

// InstallCommand returns the command that gives this host what is needed, for
// a Python of the version "3.11" where the package's name has one. It is ""
// for a system that we do not know.
func InstallCommand(need Need, pythonVersion string) string {
	return ThisDisk().installCommand(need, pythonVersion)
}

func (d *Disk) installCommand(need Need, pythonVersion string) string {
	release := d.readConfig(osRelease)
	ids := strings.Fields(unquote(release["id"]) + " " + unquote(release["id_like"]))
	for _, id := range ids {
		if c := installCommand(id, need, pythonVersion); c != "" {
			return c
		}
	}
	return ""
}

func installCommand(id string, need Need, v string) string {
	command, python, httpd := "", "", ""
	switch id {
	case "debian", "ubuntu":
		command, python, httpd = "apt-get install", "python"+v+"-dev", "apache2-dev"
	case "fedora":
		command, python, httpd = "dnf install", "python3-devel", "httpd-devel"
	case "rhel", "centos":
		command, python, httpd = "dnf install", "python"+v+"-devel", "httpd-devel"
	case "alpine":
		command, python, httpd = "apk add", "python3-dev", "apache2-dev"
	case "suse", "opensuse":
		command, python, httpd = "zypper install", "python"+strings.ReplaceAll(v, ".", "")+"-devel", "apache2-devel"
	case "arch":
		command, python, httpd = "pacman -S", "python", "apache"
	default:
		return ""
	}
	if need == HTTPDHeaders {
		return command + " " + httpd
	}
	return command + " " + python
}

func unquote(s string) string { return strings.Trim(s, `"'`) }

// CanBuild says whether a module can be compiled and linked for this Python:
// nil, or an error of class fault.Environment whose hint is the cure for this
// host and this kind of Python.
func (p *Python) CanBuild() error { return p.canBuild(ThisDisk()) }

func (p *Python) canBuild(d *Disk) error {
	version := fmt.Sprintf("%d.%d", p.Major, p.Minor)
	switch {
	case p.Include == "":
		return fault.New(fault.Environment, p.cure(d, version, "Python built from source, which brings its headers"),
			"Python.h of Python %s (%s) is missing", p.Version, p.BasePrefix)
	case p.LibPython == "":
		return fault.New(fault.Environment, p.cure(d, version, "a Python built with --enable-shared"),
			"libpython of Python %s (%s) is missing: %s", p.Version, p.BasePrefix, p.whyNoLibrary())
	case filepath.Ext(p.LibPython) == ".dll" && p.ImportLibrary == "":
		return fault.New(fault.Environment, "run the installer of Python again, choose Modify, and add its development headers and libraries (Include_dev=1)",
			"the import library of Python %s (%s) is missing: there is no .lib for %s in libs", p.Version, p.BasePrefix, filepath.Base(p.LibPython))
	case !p.LibPIC:
		return fault.New(fault.Environment, p.cure(d, version, "a Python built with --enable-shared (pyenv: PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install "+p.Version+")"),
			"Python %s has only a static library that is not position independent (%s): an Apache module cannot be linked with it", p.Version, p.LibPython)
	}
	return nil
}

// cure is the package of the distribution for its own Python, else otherwise.
func (p *Python) cure(d *Disk, version, otherwise string) string {
	if p.BasePrefix == "/usr" {
		if c := d.installCommand(PythonHeaders, version); c != "" {
			return c
		}
	}
	return "use " + otherwise
}

// whyNoLibrary names the first library that was found and refused: often it belongs
// to another Python.
func (p *Python) whyNoLibrary() string {
	for _, e := range p.Evidence {
		if why, refused := strings.CutPrefix(e.Value, "refused: "); refused && e.Fact == "libpython" {
			return e.Source + " was found, but " + why
		}
	}
	return "neither a shared nor a static one was found"
}
