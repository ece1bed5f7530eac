package linuxpkg

import (
	"os"
	"path"
	"path/filepath"
	"strings"

	"modwsgi/internal/elf"
	"modwsgi/internal/fault"
	"modwsgi/internal/filetree"
	"modwsgi/internal/target"
	"modwsgi/packaging"
	"modwsgi/packaging/linkage"
)

// Host has the libraries that a package does not contain, and dpkg's records of them: this
// machine, or trees with the files of another system.
type Host struct {
	Root string // directory that is "/" there; "/" for this machine
	// Python is such a directory with the Python and its libraries, if that is another one.
	Python string
}

// Target is a system that a package is for, if that is not this machine. The paths in the
// record of its module begin with Host's directory of the Python.
type Target struct {
	System target.Target
	// Launcher is this machine's mod_wsgi-express, for the manual; "" if this machine runs
	// the one in the package.
	Launcher string
}

// CheckTarget refuses a system that has no packages of a format. Its errors are of class
// Usage.
func CheckTarget(f Format, t target.Target) error {
	libc := target.Glibc
	if f == APK {
		libc = target.Musl
	}
	switch {
	case t.OS != target.Linux:
		return fault.New(fault.Usage, "name a Linux system, as in linux/arm64/glibc2.31", "%s packages are not for %s", f, t)
	case t.Libc == libc:
		return nil
	case f == APK:
		return fault.New(fault.Usage, "name a system with musl, as in linux/"+t.Arch+"/musl1.2, or make a deb or rpm package",
			"apk packages are for Alpine, whose C library is musl, not for %s", t)
	}
	return fault.New(fault.Usage, "name a system with glibc, as in linux/"+t.Arch+"/glibc2.31, or make an apk package",
		"distributions with %s packages have glibc, not %s", f, t.Libc)
}

// pythonRoot is the directory that is "/" to the Python.
func (h Host) pythonRoot() string {
	if h.Python != "" {
		return h.Python
	}
	return h.Root
}

// place is a file of a host.
type place struct {
	root string
	path string // below root, beginning with a slash; "" if it is not found
}

// find returns a library for a CPU, with links resolved. Its path is "" if it is not found.
func (h Host) find(soname, machine string, class int) place {
	roots := []string{h.Root, h.Python}
	if strings.HasPrefix(soname, "libpython") {
		roots = []string{h.Python, h.Root}
	}
	for _, root := range roots {
		if root == "" {
			continue
		}
		if at := (linkage.Host{Root: root}).Find(soname, machine, class); at != "" {
			return place{root, below(root, at)}
		}
	}
	return place{}
}

// below returns the path that a file has on a system whose root directory root is.
func below(root, name string) string {
	rel, err := filepath.Rel(root, name)
	if err != nil || !filepath.IsLocal(rel) {
		return ""
	}
	return "/" + filepath.ToSlash(rel)
}

// libPython is the library that the module was built with, if it exists.
func (w *work) libPython() place {
	root := w.options.Host.pythonRoot()
	real, err := filetree.Resolve(root, w.receipt.Python.LibPython)
	if w.receipt.Python.LibPython == "" || err != nil {
		return place{}
	}
	return place{root, below(root, real)}
}

// asOnTarget converts a path of a Python in Host's trees to the one on the target.
func (w *work) asOnTarget(name string) (string, error) {
	if w.options.For == nil || name == "" {
		return name, nil
	}
	if there := below(w.options.Host.pythonRoot(), name); there != "" {
		return there, nil
	}
	return "", fault.New(fault.Internal, "", "the path %s of the Python is not below %s", name, w.options.Host.pythonRoot())
}

// askSoname returns the name of the libpython that the module requires, "" if the
// interpreter is linked into the module.
func (w *work) askSoname() (string, error) {
	facts, err := elf.Read(filepath.Join(w.stage.Site, filepath.FromSlash(w.stage.Module.File)))
	if err != nil {
		return "", fault.New(fault.Environment, "build it again", "inspect the module: %w", err)
	}
	return facts.Needs("libpython"), nil
}

// where names the system that the package is for.
func (w *work) where() string {
	if w.options.For != nil {
		return "the target"
	}
	return "this system"
}

// unpackagedPython handles a Python that no package contains. The target must have
// one at the same path, and no dependency can express that, unless the user names its
// package.
func (w *work) unpackagedPython() error {
	py := w.python()
	named, err := w.options.namesPython(w.soname)
	if err != nil {
		return err
	}
	if named {
		w.warnings = append(w.warnings, "the Python below "+py.BasePrefix+" belongs to no package of "+w.where()+": modwsgi assumes that a package of --depends contains it at the same path")
		return nil
	}
	return unpackaged(py.Version, py.BasePrefix, w.where())
}

// namesPython reports whether --depends may name the package of a Python.
func (o *Options) namesPython(soname string) (bool, error) {
	bySoname, more, err := o.given()
	return len(more) > 0 || soname != "" && bySoname[soname] != "", err
}

func unpackaged(version, prefix, where string) error {
	return fault.New(fault.Environment, "use a Python of the distribution, or name the package of this one with --depends PACKAGE (in a matrix file, depends in [options.deb])",
		"the Python %s below %s belongs to no package of %s: no dependency could install it on another machine", version, prefix, where)
}

// stdlibFile is a file of the standard library whose package contains most of it.
func stdlibFile(prefix string, py packaging.Python) string {
	return path.Join(prefix, "lib", "python"+py.MinorVersion(), "wsgiref", "__init__.py")
}

// CheckPython refuses a Python of this machine, before anything is built for it, that the
// package could not depend on: no package of the system contains it. libpython is "" for
// a Python without a shared one.
func CheckPython(o Options, version, prefix, libpython string) error {
	if o.Format != Deb || o.For != nil {
		return nil // the others depend on the library by its name
	}
	soname := ""
	if libpython != "" {
		soname = filepath.Base(libpython)
		if facts, err := elf.Read(libpython); err == nil && facts.Soname != "" {
			soname = facts.Soname
		}
	}
	named, err := o.namesPython(soname)
	if err != nil || named {
		return err
	}
	stdlib := stdlibFile(prefix, packaging.Python{Version: version})
	if _, err := os.Stat(filepath.Join(o.Host.Root, "var/lib/dpkg/status")); err != nil {
		return nil // the error about the records names more
	}
	hosts, err := recordsOf([]place{{o.Host.Root, stdlib}})
	if err != nil {
		return err
	}
	if hosts[o.Host.Root].owner[stdlib] == "" {
		return unpackaged(version, prefix, "this system")
	}
	return nil
}
