package detect

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/libpython"
	"modwsgi/internal/pe"
)

// findLibrary looks for the libpython to link with: a shared one, else a static one.
// sysconfig's values are only where it looks first, as a Python that was moved or
// unpacked names the build machine's directories.
func (p *Python) findLibrary(d *Disk, a *answer, req Request) {
	for _, path := range p.sharedCandidates(d, a, req) {
		lib, why := p.checkShared(d, path)
		if why == "" {
			p.note("libpython", path, "shared, of this version and CPU")
			p.LibPython, p.LibShared, p.LibPIC = p.besideLibrary(d, lib, a.Vars["MULTIARCH"]), true, true
			if p.LibPython != lib {
				p.note("libpython", p.LibPython, "the same file, below the prefix of the standard library")
			}
			if filepath.Ext(path) == ".dll" {
				p.ImportLibrary = p.importLibrary(d, path)
			}
			return
		}
		p.refuseLibrary(path, why)
	}
	for _, path := range p.staticCandidates(d, a) {
		archive, err := d.archive(path)
		switch {
		case err != nil:
			p.refuseLibrary(path, err.Error())
		case p.Machine != "" && archive.Machine != p.Machine:
			p.refuseLibrary(path, "it is for "+archive.Machine)
		case !libpython.Same(d.archiveVersion(path, p.Version), p.Version):
			p.refuseLibrary(path, "it is of Python "+d.archiveVersion(path, p.Version))
		case archive.PIC:
			p.LibPython, p.LibPIC = path, true
			p.note("libpython", path, "static, position-independent")
			return
		default:
			if p.LibPython == "" {
				p.LibPython = path
			}
			p.note("libpython", path, "static, not position-independent: "+archive.Culprit)
		}
	}
}

// refuseLibrary records why a library cannot be linked with.
func (p *Python) refuseLibrary(path, why string) {
	p.note("libpython", path, "refused: "+why)
	if p.refused.path == "" {
		p.refused.path, p.refused.why = path, why
	}
}

// besideLibrary returns the path of a shared library below the base prefix, if it is
// the same file there. The interpreter finds its standard library through that prefix,
// which may include a link that an upgrade moves (python3.11 -> 3.11.7). A module that
// finds its libpython through the same path gets the one that matches the standard
// library, before and after an upgrade.
func (p *Python) besideLibrary(d *Disk, lib, multiarch string) string {
	for _, dir := range []string{"lib", "lib64", filepath.Join("lib", multiarch), "."} {
		if beside := filepath.Join(p.BasePrefix, dir, filepath.Base(lib)); beside == lib || d.sameFile(beside, lib) {
			return beside
		}
	}
	return lib
}

// sharedCandidates lists existing files that could be the shared library, likeliest
// first.
func (p *Python) sharedCandidates(d *Disk, a *answer, req Request) []string {
	base := fmt.Sprintf("libpython%d.%d%s", p.Major, p.Minor, p.ABIFlags)
	framework := filepath.Base(a.Vars["INSTSONAME"]) // Python.framework/Versions/3.12/Python
	names := unique(a.Vars["INSTSONAME"], base+".so.1.0", a.Vars["LDLIBRARY"], base+".so", base+".dylib", framework,
		p.dllName())
	names = slices.DeleteFunc(names, func(n string) bool {
		return filepath.Base(n) != n || n == "." || strings.HasSuffix(n, ".a")
	})
	var found []string
	for _, dir := range p.libraryDirs(d, a, req) {
		for _, name := range names {
			if path := filepath.Join(dir, name); d.isFile(path) {
				found = append(found, path)
			}
		}
	}
	return unique(found...)
}

// libraryDirs lists the directories that may contain a libpython: where the
// interpreter itself looks, next to its standard library, and last the value of
// sysconfig, which names another Python's directory if this one was copied or moved.
func (p *Python) libraryDirs(d *Disk, a *answer, req Request) []string {
	dirs := p.runPath(d)
	real := d.resolved(p.Executable)
	for _, prefix := range unique(p.BasePrefix, filepath.Dir(filepath.Dir(real))) {
		dirs = append(dirs, filepath.Join(prefix, "lib"), filepath.Join(prefix, "lib64"), prefix) // itself: Windows, frameworks
		if m := a.Vars["MULTIARCH"]; m != "" {
			dirs = append(dirs, filepath.Join(prefix, "lib", m))
		}
	}
	dirs = append(dirs, a.Vars["LIBDIR"], a.Vars["LIBPL"], filepath.Dir(real))
	dirs = append(dirs, filepath.SplitList(req.env("LD_LIBRARY_PATH"))...)
	return slices.DeleteFunc(unique(dirs...), func(dir string) bool { return !d.isAbs(dir) })
}

// runPath returns where the interpreter itself looks for its libpython; nothing for a
// statically linked one.
func (p *Python) runPath(d *Disk) []string {
	real := d.resolved(p.Executable)
	facts, err := d.elfFacts(real)
	if err != nil || !slices.ContainsFunc(facts.Needed, func(n string) bool { return strings.HasPrefix(n, "libpython") }) {
		return nil
	}
	return expandOrigin(facts.RunPath, filepath.Dir(real))
}

// expandOrigin resolves $ORIGIN in a run path (ld.so(8)).
func expandOrigin(path []string, origin string) []string {
	var dirs []string
	for _, dir := range path {
		if dir != "" {
			dirs = append(dirs, filepath.Clean(strings.NewReplacer("$ORIGIN", origin, "${ORIGIN}", origin).Replace(dir)))
		}
	}
	return dirs
}

// checkShared validates a shared library and returns the path by which to link it and
// to find it again at run time: the one with its SONAME. why is "" if it is valid.
func (p *Python) checkShared(d *Disk, path string) (lib, why string) {
	switch start := d.head(path, 4); {
	case pe.Is(start):
		return p.checkDLL(d, path)
	case isMachO(start):
		return p.checkDylib(d, path)
	}
	f, err := d.elf(path)
	if err != nil {
		return "", err.Error()
	}
	defer func() { _ = f.Close() }()
	facts, err := f.Facts()
	switch {
	case err != nil:
		return "", err.Error()
	case facts.Kind != "shared":
		return "", "it is not a shared library"
	case p.Machine != "" && facts.Machine != p.Machine:
		return "", "it is for " + facts.Machine + ", the interpreter is for " + p.Machine
	case !exportsPython(f):
		return "", "it does not contain the interpreter"
	}
	if v := libpython.Version(f, p.Version); !libpython.Same(v, p.Version) {
		return "", "it is of Python " + v
	}
	if facts.Soname == "" || facts.Soname == filepath.Base(path) {
		return path, ""
	}
	for _, dir := range unique(filepath.Dir(path), filepath.Dir(d.resolved(path))) {
		if named := filepath.Join(dir, facts.Soname); d.sameFile(named, path) {
			return named, ""
		}
	}
	return "", "its SONAME " + facts.Soname + " does not exist"
}

// staticCandidates lists existing static libraries, those made for shared objects
// first (Debian's -pic.a).
func (p *Python) staticCandidates(d *Disk, a *answer) []string {
	base := fmt.Sprintf("libpython%d.%d%s", p.Major, p.Minor, p.ABIFlags)
	dirs := []string{a.Vars["LIBPL"], a.Vars["LIBDIR"], filepath.Join(p.BasePrefix, "lib")}
	stdlib := filepath.Join(p.BasePrefix, "lib", fmt.Sprintf("python%d.%d", p.Major, p.Minor))
	for _, name := range d.readDir(stdlib) {
		if strings.HasPrefix(name, "config") {
			dirs = append(dirs, filepath.Join(stdlib, name))
		}
	}
	var found []string
	for _, name := range unique(base+"-pic.a", a.Vars["LIBRARY"], base+".a") {
		for _, dir := range dirs {
			if path := filepath.Join(dir, name); d.isAbs(dir) && filepath.Base(name) == name && d.isFile(path) {
				found = append(found, path)
			}
		}
	}
	return unique(found...)
}
