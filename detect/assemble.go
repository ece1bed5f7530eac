package detect

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/fault"
)

// assemble builds a description from an interpreter's answer, or from its files
// instead, and from the disk. It starts nothing.
func assemble(d *Disk, exe string, a *answer, evidence []Evidence, req Request) (*Python, error) {
	if _, here := d.fileSystem.(thisMachine); !here {
		a.slashes(d)
	}
	p := fromAnswer(d, exe, a)
	p.Evidence = evidence
	if err := p.checkConfiguration(d, a); err != nil {
		return nil, err
	}
	if !d.isDir(p.Prefix) || !d.isDir(p.BasePrefix) {
		return nil, fault.New(fault.Environment, recreate(filepath.Dir(filepath.Dir(exe)), ""),
			"%s reports the prefix %s (made from %s), which does not exist", exe, p.Prefix, p.BasePrefix)
	}
	p.findMachine(d, a)
	p.findHeaders(d, a)
	p.findLibrary(d, a, req)
	if p.Prefix == p.BasePrefix {
		p.findMarker(d, a)
	}
	return p, nil
}

func fromAnswer(d *Disk, exe string, a *answer) *Python {
	return &Python{
		Executable: exe, Prefix: a.Prefix, BasePrefix: a.BasePrefix, ExecPrefix: a.ExecPrefix,
		Kind:    kindOf(d, a),
		Version: strings.TrimSuffix(a.Version, "+"), Major: a.Major, Minor: a.Minor,
		Implementation: a.Implementation, SOABI: a.Vars["SOABI"], ExtSuffix: a.Vars["EXT_SUFFIX"],
		ABIFlags: a.ABIFlags, Platform: a.Platform,
		Debug: a.Vars["Py_DEBUG"] == "1", FreeThreaded: a.Vars["Py_GIL_DISABLED"] == "1",
		Purelib: a.Paths["purelib"], Platlib: a.Paths["platlib"], Scripts: a.Paths["scripts"],
		SharedBuild: a.Vars["Py_ENABLE_SHARED"] == "1",
		LinkLibs:    strings.Join(strings.Fields(a.Vars["LIBS"]+" "+a.Vars["SYSLIBS"]), " "),
	}
}

func kindOf(d *Disk, a *answer) string {
	switch {
	case a.Cfg != "" && d.readConfig(a.Cfg)["virtualenv"] != "":
		return "virtualenv"
	case a.Cfg != "":
		return "venv"
	case d.exists(filepath.Join(a.Prefix, condaMetaName)):
		return "conda"
	case d.isPyenvVersion(a.Prefix):
		return "pyenv"
	case a.Vars["LIBDIR"] == "/install/lib": // python-build-standalone, which uv and others unpack
		return "standalone"
	case strings.Contains(a.BasePrefix+"/", ".framework/"):
		return "framework"
	case filepath.Base(a.Paths["platlib"]) == "dist-packages":
		return "debian"
	case a.Prefix == "/usr":
		return "system"
	default:
		return "plain"
	}
}

// checkConfiguration compares pyvenv.cfg with the interpreter. An environment whose
// base Python was replaced by another minor version still starts, but its packages are
// in a directory that is no longer used.
func (p *Python) checkConfiguration(d *Disk, a *answer) error {
	if a.Cfg == "" {
		return nil
	}
	cfg := d.readConfig(a.Cfg)
	p.Evidence = append(p.Evidence, Evidence{"kind", a.Cfg, "home = " + cfg["home"]})
	made := cfg["version"]
	if made == "" {
		made = cfg["version_info"]
	}
	parts := strings.Split(made, ".")
	if len(parts) < 2 {
		return nil
	}
	if now := fmt.Sprintf("%d.%d", p.Major, p.Minor); parts[0]+"."+parts[1] != now {
		return fault.New(fault.Environment, recreate(p.Prefix, made),
			"%s was made for Python %s.%s, but its interpreter is now %s", p.Prefix, parts[0], parts[1], p.Version)
	}
	return nil
}

// findMachine reads the CPU from the interpreter's binary, because sysconfig describes
// the build machine. A universal binary of macOS has several; it runs as the one at
// the end of the platform's name.
func (p *Python) findMachine(d *Disk, a *answer) {
	_, platform, _ := strings.Cut(a.Platform, "-")
	if i := strings.LastIndexByte(platform, '-'); i >= 0 { // macosx-11.0-arm64
		platform = platform[i+1:]
	}
	machines := d.machines(p.Executable)
	switch {
	case len(machines) == 0:
		p.Machine = platform
		return
	case len(machines) > 1 && slices.Contains(machines, platform):
		p.Machine = platform
	default:
		p.Machine = machines[0]
	}
	p.note("machine", p.Executable, strings.Join(machines, ", "))
}

// findMarker looks for the PEP 668 marker, which is in the standard library's
// directory and does not apply in a virtual environment.
func (p *Python) findMarker(d *Disk, a *answer) {
	marker := filepath.Join(a.Paths["stdlib"], "EXTERNALLY-MANAGED")
	if d.isFile(marker) {
		p.Externally = marker
		p.Evidence = append(p.Evidence, Evidence{"externally_managed", marker, "present"})
	}
}
