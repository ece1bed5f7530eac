package detect

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

// findHeaders looks for Python.h of this minor version, and for pyconfig.h, which some
// builds have in another directory.
func (p *Python) findHeaders(d *Disk, a *answer) {
	name := fmt.Sprintf("python%d.%d%s", p.Major, p.Minor, p.ABIFlags)
	candidates := []string{
		a.Paths["include"], a.Paths["platinclude"], a.Vars["INCLUDEPY"],
		filepath.Join(p.BasePrefix, "include", name),
		filepath.Join(p.BasePrefix, "include", fmt.Sprintf("python%d.%d", p.Major, p.Minor)),
		filepath.Join(p.BasePrefix, "include"), // Windows
	}
	for _, dir := range unique(candidates...) {
		if !d.isAbs(dir) || !d.isFile(filepath.Join(dir, "Python.h")) {
			continue
		}
		patchlevel := filepath.Join(dir, "patchlevel.h")
		major, minor := d.define(patchlevel, "PY_MAJOR_VERSION"), d.define(patchlevel, "PY_MINOR_VERSION")
		found := fmt.Sprintf("%d.%d", major, minor)
		if major != p.Major || minor != p.Minor {
			p.note("include", dir, "refused: its headers are of Python "+found)
			continue
		}
		config := p.findPyconfig(d, a, dir)
		if config == "" {
			p.note("include", dir, "refused: pyconfig.h is missing")
			continue
		}
		p.Include = dir
		if config != dir {
			p.PlatInclude = config
		}
		p.note("include", patchlevel, found)
		return
	}
}

func (p *Python) findPyconfig(d *Disk, a *answer, include string) string {
	candidates := []string{include, a.Paths["platinclude"], a.Vars["CONFINCLUDEPY"]}
	if multiarch := a.Vars["MULTIARCH"]; multiarch != "" {
		candidates = append(candidates, filepath.Join(filepath.Dir(include), multiarch, filepath.Base(include)))
	}
	i := slices.IndexFunc(candidates, func(dir string) bool {
		return d.isAbs(dir) && d.isFile(filepath.Join(dir, "pyconfig.h"))
	})
	if i < 0 {
		return ""
	}
	return candidates[i]
}

func (p *Python) note(fact, source, value string) {
	p.Evidence = append(p.Evidence, Evidence{fact, source, value})
}

const maxHeader = 1 << 20

// define returns the integer value of a macro in a C header, -1 if it is not defined.
func (d *Disk) define(path, name string) int {
	m := regexp.MustCompile(`(?m)^[ \t]*#[ \t]*define[ \t]+` + name + `[ \t]+([0-9]+)`).FindSubmatch(d.head(path, maxHeader))
	if m == nil {
		return -1
	}
	n, err := strconv.Atoi(string(m[1]))
	if err != nil {
		return -1
	}
	return n
}
