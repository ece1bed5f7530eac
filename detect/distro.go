package detect

import (
	"fmt"
	"path/filepath"

	"modwsgi/internal/distro"
	"modwsgi/internal/fault"
)

// installCommand returns the command that installs a package on a disk's system, ""
// for an unknown system.
func (d *Disk) installCommand(p distro.Packages) string {
	for _, name := range distro.Files {
		if data := d.head(name, 64<<10); data != nil {
			return p.Command(distro.ParseRelease(string(data)).Family())
		}
	}
	return ""
}

// installHint is installCommand in parentheses.
func (d *Disk) installHint(p distro.Packages) string {
	if c := d.installCommand(p); c != "" {
		return " (" + c + ")"
	}
	return ""
}

// CanBuild returns nil if a module can be compiled and linked for this Python, else an
// error of class fault.Environment whose hint is the fix for this host and this kind of
// Python.
func (p *Python) CanBuild() error { return p.canBuild(ThisDisk()) }

func (p *Python) canBuild(d *Disk) error {
	version := fmt.Sprintf("%d.%d", p.Major, p.Minor)
	err := p.whyNotBuild(d, version)
	if err != nil && p.packaged(d, version) != "" {
		return distro.Needing(err, distro.PythonHeaders.For(version))
	}
	return err
}

func (p *Python) whyNotBuild(d *Disk, version string) error {
	switch {
	case p.Include == "" && p.LibPython == "":
		return fault.New(fault.Environment, p.packageOr(d, version, "a Python built from source with --enable-shared, which includes its headers"),
			"Python.h of Python %s (%s) is missing, and so is its libpython (%s)", p.Version, p.BasePrefix, p.whyNoLibrary())
	case p.Include == "":
		return fault.New(fault.Environment, p.packageOr(d, version, "a Python built from source, which includes its headers"),
			"Python.h of Python %s (%s) is missing", p.Version, p.BasePrefix)
	case p.LibPython == "":
		return fault.New(fault.Environment, p.packageOr(d, version, "a Python built with --enable-shared"),
			"libpython of Python %s (%s) is missing: %s", p.Version, p.BasePrefix, p.whyNoLibrary())
	case filepath.Ext(p.LibPython) == ".dll" && p.ImportLibrary == "":
		return fault.New(fault.Environment, "run the installer of Python again, choose Modify, and add its development headers and libraries (Include_dev=1)",
			"the import library of Python %s (%s) is missing: libs has no .lib for %s", p.Version, p.BasePrefix, filepath.Base(p.LibPython))
	case !p.LibPIC:
		return fault.New(fault.Environment, p.packageOr(d, version, "a Python built with --enable-shared (pyenv: PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install "+p.Version+")"),
			"Python %s has only a static library that is not position-independent (%s): an Apache module cannot be linked with it", p.Version, p.LibPython)
	}
	return nil
}

// packageOr returns the distribution's package for its own Python, else the
// alternative.
func (p *Python) packageOr(d *Disk, version, otherwise string) string {
	if c := p.packaged(d, version); c != "" {
		return c
	}
	return "use " + otherwise
}

// packaged returns the command that installs the headers of the distribution's own
// Python, "" for another Python.
func (p *Python) packaged(d *Disk, version string) string {
	if p.BasePrefix != "/usr" {
		return ""
	}
	return d.installCommand(distro.PythonHeaders.For(version))
}

// whyNoLibrary names the first library that was found and refused, which often belongs
// to another Python.
func (p *Python) whyNoLibrary() string {
	if p.refused.path != "" {
		return p.refused.path + " was found, but " + p.refused.why
	}
	return "neither a shared nor a static one was found"
}
