package oci

import (
	"bytes"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"modwsgi/internal/elf"
	"modwsgi/internal/fault"
	"modwsgi/internal/target"
)

// maxLibrary is the maximum size in bytes of a C library to inspect.
const maxLibrary = 64 << 20

// libraryDirs are the usual library directories of a base: the loader's defaults,
// Debian's, and those that ld.so.conf of common distributions names.
func libraryDirs(machine string) []string {
	debian := target.MultiarchOf(machine)
	return []string{
		"/lib/" + debian, "/usr/lib/" + debian, "/lib64", "/usr/lib64", "/lib", "/usr/lib",
		"/usr/local/lib/" + debian, "/usr/local/lib", "/usr/local/lib64",
	}
}

// library finds a library in a base.
func (b *base) library(soname, machine string) (string, bool) {
	for _, dir := range libraryDirs(machine) {
		if at, ok := b.root.has(path.Join(dir, soname)); ok {
			return at, true
		}
	}
	return "", false
}

// versionText matches the name and the versions in a GNU C library.
var versionText = regexp.MustCompile(`\x00GLIBC_(2\.[0-9]+)\x00`)

// checkLibc refuses a base whose C library is another one, or older than the binaries
// require.
func (m *maker) checkLibc(i *image) error {
	need := i.linkage.Versions["GLIBC"]
	musl := i.isMusl()
	name := "libc.so.6"
	if musl {
		name = target.MuslNameOf(i.machine)
	}
	at, ok := i.base.library(name, i.machine)
	if !ok {
		other := ""
		if _, there := i.base.root.has(target.MuslLoaderOf(i.machine)); there && !musl {
			other = ": it has musl, but the build needs the GNU C library"
		}
		return fault.New(fault.Usage, "name a base of a distribution with that C library, or use --base scratch, which includes this machine's",
			"the base %s lacks %s%s", i.base.name, name, other)
	}
	if musl {
		return nil
	}
	data, err := i.base.root.read(m.ctx, at, maxLibrary)
	if err != nil {
		return m.baseProblem(fmt.Errorf("inspect %s: %w", at, err))
	}
	has := ""
	// The strings of its version table end and begin with a zero, which adjacent ones
	// share.
	for _, v := range versionText.FindAllSubmatch(bytes.ReplaceAll(data, []byte{0}, []byte{0, 0}), -1) {
		if s := string(v[1]); has == "" || elf.CompareVersions(s, has) > 0 {
			has = s
		}
	}
	if has == "" {
		return fault.New(fault.Usage, "name another base", "cannot determine the version of the C library %s of the base %s", at, i.base.name)
	}
	i.base.glibc = has
	if need != "" && elf.CompareVersions(need, has) > 0 {
		return fault.New(fault.Usage, "name a base of a newer distribution, build on an older one (in the base itself, for instance), or use --base scratch",
			"the base %s has glibc %s, but the build requires %s", i.base.name, has, need)
	}
	return nil
}

func (i *image) isMusl() bool {
	return slices.ContainsFunc(i.linkage.System, func(n string) bool { return strings.HasPrefix(n, "libc.musl-") || n == "libc.so" })
}

// findPython determines the Python that the environment in the image belongs to.
func (m *maker) findPython(i *image) error {
	soname, err := i.soname()
	if err != nil {
		return err
	}
	i.python.system = m.o.Base != Scratch || m.o.LayerOnly
	switch {
	case m.o.LayerOnly:
		i.python.executable = orElse(m.o.BasePython, "/usr/local/bin/"+i.libName())
		i.python.prefix = path.Dir(path.Dir(i.python.executable))
		if soname != "" {
			i.python.lib = path.Join(i.python.prefix, "lib", soname)
		}
		return nil
	case m.o.Base == Scratch:
		i.python.executable, i.python.prefix = path.Join(PythonHome, "bin", i.libName()), PythonHome
		if soname != "" {
			i.python.lib = path.Join(PythonHome, "lib", soname)
		}
		return nil
	}
	return m.pythonOfBase(i, soname)
}

// checkPython refuses an image without a base whose Python is unavailable.
func (m *maker) checkPython(in Input) error {
	if m.o.Base != Scratch || m.o.LayerOnly || in.Python != nil {
		return nil
	}
	return fault.New(fault.Usage, "name a base that has Python "+in.Stage.Module.Python.MinorVersion()+" with --base, or build the image with --target instead of --stage",
		"an image without a base contains the Python of the environment, which this machine does not have: %s", orElse(in.noPython, "it is unknown"))
}

// soname is the name of the libpython that the module requires, "" if Python is linked
// into it.
func (i *image) soname() (string, error) {
	facts, err := elf.Read(path.Join(i.in.Stage.Site, i.in.Stage.Module.File))
	if err != nil {
		return "", fault.New(fault.Environment, "build it again", "inspect the module: %w", err)
	}
	return facts.Needs("libpython"), nil
}

// pythonOfBase looks for the Python in a base, and for its library.
func (m *maker) pythonOfBase(i *image, soname string) error {
	py, root := i.in.Stage.Module.Python, i.base.root
	if _, there := root.has(path.Join(Prefix, "pyvenv.cfg")); there {
		return fault.New(fault.Usage, "name the image that this one is based on", "the base %s was made by modwsgi package oci itself: two installations in the same directory would mix", i.base.name)
	}
	var candidates []string
	if m.o.BasePython != "" {
		candidates = []string{m.o.BasePython}
	} else {
		for _, dir := range []string{"/usr/local", "/usr", "/opt/python", "/opt/python" + py.MinorVersion(), "/opt/conda"} {
			candidates = append(candidates, path.Join(dir, "bin", i.libName()))
		}
	}
	stdlib := func(prefix string) bool {
		_, ok := root.has(path.Join(prefix, "lib", i.libName(), "os.py"))
		if !ok {
			_, ok = root.has(path.Join(prefix, "lib64", i.libName(), "os.py"))
		}
		return ok
	}
	for _, c := range candidates {
		if _, ok := root.has(c); !ok || !stdlib(path.Dir(path.Dir(c))) {
			continue
		}
		i.python.executable, i.python.prefix = c, path.Dir(path.Dir(c))
		if soname == "" {
			return nil
		}
		for _, at := range append([]string{path.Join(i.python.prefix, "lib", soname), path.Join(i.python.prefix, "lib64", soname)}, m.inLibraryDirs(i, soname)...) {
			if real, ok := root.has(at); ok {
				i.python.lib = real
				return nil
			}
		}
		return fault.New(fault.Usage, "name a base whose Python has a shared library (the official python images; libpython"+py.MinorVersion()+" of Debian), or build with a Python that was configured without --enable-shared",
			"the base %s has Python %s at %s but lacks %s, which the module needs", i.base.name, py.MinorVersion(), c, soname)
	}
	if m.o.BasePython != "" {
		return fault.New(fault.Usage, "name the path of a Python "+py.MinorVersion()+" in the base with --base-python", "the base %s has no %s with a standard library of Python %s", i.base.name, m.o.BasePython, py.MinorVersion())
	}
	var others []string
	for file := range root.nodes {
		if minorProgram.MatchString(file) {
			others = append(others, "/"+file)
		}
	}
	slices.Sort(others)
	has := "it has no Python"
	if len(others) > 0 {
		has = "it has " + strings.Join(others[:min(3, len(others))], ", ")
	}
	return fault.New(fault.Usage, "name a base with Python "+py.MinorVersion()+", name its path with --base-python, build for the base's Python with --python, or use --base scratch",
		"the base %s has no Python %s: %s", i.base.name, py.MinorVersion(), has)
}

var minorProgram = regexp.MustCompile(`(^|/)bin/python3\.[0-9]+t?$`)

func (m *maker) inLibraryDirs(i *image, soname string) []string {
	var all []string
	for _, dir := range libraryDirs(i.machine) {
		all = append(all, path.Join(dir, soname))
	}
	return all
}
