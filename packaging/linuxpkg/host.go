package linuxpkg

import (
	"os"
	"path/filepath"
	"strings"

	"modwsgi/internal/elf"
	"modwsgi/internal/fault"
	"modwsgi/internal/filetree"
)

// Host is the machine on which the tree was built.
type Host struct {
	Root string // "/" except in tests
}

// Find returns the path of a library for a CPU, with links resolved, or "" if it is
// not found. It searches the directories that ld.so.conf names, then the loader's
// default ones (ld.so(8)).
func (h Host) Find(soname, machine string, class int) string {
	if strings.Contains(soname, "/") {
		return ""
	}
	var dirs []string
	confs := filetree.Glob(h.Root, "etc/ld.so.conf.d/*.conf")
	for _, conf := range append(confs, filepath.Join(h.Root, "etc/ld.so.conf")) {
		data, _ := os.ReadFile(conf)
		for line := range strings.Lines(string(data)) {
			if line = strings.TrimSpace(line); filepath.IsAbs(line) {
				dirs = append(dirs, line)
			}
		}
	}
	dirs = append(dirs, "/lib/"+machine+"-linux-gnu", "/usr/lib/"+machine+"-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib")
	for _, dir := range dirs {
		name := filepath.Join(h.Root, dir, soname)
		facts, err := elf.Read(name)
		if err != nil || facts.Machine != machine || facts.Class != class || facts.Kind != "shared" {
			continue
		}
		real, err := filepath.EvalSymlinks(name)
		if err != nil {
			continue
		}
		if rel, err := filepath.Rel(h.Root, real); err == nil {
			return "/" + filepath.ToSlash(rel)
		}
	}
	return ""
}

// askSoname returns the name of the libpython that the module requires, "" if the
// interpreter is linked into the module.
func (w *work) askSoname() (string, error) {
	facts, err := elf.Read(filepath.Join(w.stage.Site, filepath.FromSlash(w.stage.Module.File)))
	if err != nil {
		return "", fault.New(fault.Environment, "build it again", "inspect the module: %w", err)
	}
	for _, needed := range facts.Needed {
		if strings.HasPrefix(needed, "libpython") {
			return needed, nil
		}
	}
	return "", nil
}

// libPython is the library that the module was built with, if it exists.
func (w *work) libPython() string {
	real, err := filepath.EvalSymlinks(w.receipt.Python.LibPython)
	if err != nil {
		return ""
	}
	return real
}

// unpackagedPython handles a Python that no package contains. The target must have
// one at the same path, and no dependency can express that, unless the user names its
// package.
func (w *work) unpackagedPython() error {
	bySoname, more, err := w.options.given()
	if err != nil {
		return err
	}
	py := w.python()
	if len(more) > 0 || w.soname != "" && bySoname[w.soname] != "" {
		w.warnings = append(w.warnings, "the Python below "+py.BasePrefix+" belongs to no package of this system: modwsgi assumes that a package of --depends contains it at the same path")
		return nil
	}
	return fault.New(fault.Environment, "use a Python of the distribution, or name the package of this one with --depends PACKAGE",
		"the Python %s below %s belongs to no package of this system: no dependency could install it on another machine", py.Version, py.BasePrefix)
}
