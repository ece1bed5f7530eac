package installer

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"modwsgi/detect"
	"modwsgi/internal/distro"
	"modwsgi/internal/elf"
	"modwsgi/internal/fault"
	"modwsgi/internal/filetree"
	"modwsgi/internal/prove"
	"modwsgi/internal/run"
	"modwsgi/internal/sysroot"
	"modwsgi/internal/target"
	"modwsgi/internal/toolchain"
	"modwsgi/modulebuild"
)

// A build for another system differs from one for this machine in four places. The facts
// about the Python come from files of the sysroot, and its interpreter is not started. The
// compiler is one for the target, with the sysroot's headers and libraries. The programs of
// modwsgi that become part of the result are those for the target. And the result is tried
// with the target's own Python, under an emulator if its CPU is another one, or not at all. Then it is called
// unproven everywhere: a tag that was never tried must not look like one that was.

// Cross is a system that a build is for, if that is not this machine.
type Cross struct {
	Sysroot  *sysroot.Sysroot
	Work     string // directory of this run that has the sysroot
	Programs string // directory of mod_wsgi-express and mod_wsgi-apxs for the target
	Done     func() // removes Work
}

// Close removes the sysroot.
func (c *Cross) Close() {
	if c != nil && c.Done != nil {
		c.Done()
	}
}

// Target returns the system.
func (c *Cross) Target() target.Target { return c.Sysroot.Target }

// FindPrograms returns the directory with the programs of modwsgi for a target's CPU:
// programs if it is not "", otherwise one beside the programs of this machine in tools.
func FindPrograms(t target.Target, programs, tools string) (string, error) {
	for _, dir := range programDirs(programs, tools, t) {
		err := checkPrograms(dir, t)
		if err == nil {
			return dir, nil
		}
		if programs != "" {
			return "", err
		}
	}
	return "", fault.New(fault.Environment,
		"name their directory with --programs: they are in the archive of modwsgi for that system, or build them from a checkout: GOOS=linux GOARCH="+t.Arch+" go build -o DIR/ ./cmd/mod_wsgi-express ./cmd/mod_wsgi-apxs",
		"mod_wsgi-express and mod_wsgi-apxs for %s/%s, which become part of the result, were not found", t.OS, t.Arch)
}

// programDirs lists the directories that may have the programs for a target.
func programDirs(given, tools string, t target.Target) []string {
	if given != "" {
		return []string{given}
	}
	name := t.OS + "-" + t.Arch
	return []string{tools, filepath.Join(tools, name), filepath.Join(tools, "..", "libexec", "modwsgi", name)}
}

// checkPrograms checks that a directory has the programs, for the target's CPU.
func checkPrograms(dir string, t target.Target) error {
	for _, name := range []string{"mod_wsgi-express", "mod_wsgi-apxs"} {
		path, err := tool(dir, name)
		if err != nil {
			return err
		}
		facts, err := elf.Read(path)
		if err != nil {
			return fault.New(fault.Environment, "name the directory of modwsgi's programs for "+t.String()+" with --programs", "inspect the program %s: %w", path, err)
		}
		if facts.Machine != t.Machine() {
			return fault.New(fault.Environment, "name the directory of modwsgi's programs for "+t.String()+" with --programs", "the program %s is for %s, not for %s", path, facts.Machine, t.Machine())
		}
	}
	return nil
}

// wanted returns a Python of the sysroot.
func (c *Cross) wanted(version string) (*sysroot.Python, error) {
	k := slices.IndexFunc(c.Sysroot.Pythons, func(p sysroot.Python) bool { return p.Wanted == version })
	if k < 0 {
		return nil, fmt.Errorf("the sysroot %s was not made for Python %s", c.Sysroot.Dir, version)
	}
	return &c.Sysroot.Pythons[k], nil
}

// facts are the facts about a Python that a build of the module needs.
func (c *Cross) facts(version string, py *detect.Python) modulebuild.Python {
	facts := moduleFacts(py)
	if p, err := c.wanted(version); err == nil {
		facts.IncludeDirs, facts.Digest = p.IncludeDirs, p.Digest
	}
	return facts
}

// probe finds the compiler for the target, and tries what a build needs. Nothing of it is
// remembered for the next run, in which the sysroot may be another one.
func (c *Cross) probe(ctx context.Context, at Setting, version string, py *detect.Python, withHTTPD bool) (*Host, error) {
	s := c.Sysroot
	q := probe{compiler: s.Target.String() + " in " + s.Dir, withHTTPD: withHTTPD, find: func(dir string) (*toolchain.Toolchain, error) {
		return toolchain.FindFor(ctx, at.Runner, toolEnv(at), dir, toolchain.For{
			Target: s.Target, Root: s.Dir, Roots: []string{c.Work}, Digest: s.Base, Made: s.Lock != nil,
			Command: func(words []string, clang bool, libgcc string) ([]string, error) {
				return s.CC(sysroot.Compiler{Words: words, Clang: clang, LibgccDir: libgcc})
			},
		})
	}}
	if py != nil {
		facts := c.facts(version, py)
		q.python = &facts
	}
	h, err := probeWith(ctx, at, q)
	// A wheel takes the library along, which may be for a newer C library than the target's.
	if err == nil && h.HTTPD != nil && s.HasTooNew("libcrypt.so.1") {
		h.HTTPD.LackCrypt()
	}
	return h, err
}

// prove tries a staged build with the target's Python, loader and C library. by says what
// ran it, and unproven why it was not tried.
func (c *Cross) prove(ctx context.Context, o prove.Options, name, python string, s prove.Subject) (proof *prove.Proof, by, unproven string, err error) {
	r, why := c.runner(o.Env, python, s)
	if why != "" {
		o.Events.Warn("unproven: " + why)
		return nil, "", why, nil
	}
	s.Emulator, s.Root = r.command, r.root
	proof, err = prove.Step(ctx, o, name, s)
	unproven, err = tolerate(o.Events, err)
	return proof, r.by, unproven, err
}

// runner runs the target's programs here.
type runner struct {
	command []string // before the program; none if this machine's loader runs it
	root    string   // directory with their loader; "" for this machine's
	by      string   // what that is, for people
}

// runner returns what runs the target's programs, or why they cannot be run here.
func (c *Cross) runner(env []string, python string, s prove.Subject) (r runner, why string) {
	p, err := c.wanted(python)
	if err != nil {
		return r, err.Error()
	}
	if !c.HasPython(python) {
		return r, "the sysroot has no interpreter of Python " + s.PythonVersion + " with its standard library to run"
	}
	t := c.Target()
	root := c.loaderRoot(p)
	newer := ""
	if root != p.Root { // an SDK without a C library, which may be built for a newer one than the target's
		newer = tooNew(t, p.Facts)
	}
	if newer != "" {
		host, err := target.Host()
		if err == nil && Runs(t) && host.Libc == t.Libc && tooNew(host, p.Facts) == "" {
			return runner{by: fmt.Sprintf("this machine's loader and C library (%s %s; the SDK of this Python needs a newer one than the target has)", host.Libc, host.LibcVersion)}, ""
		}
		return r, fmt.Sprintf("the SDK of Python %s is for a newer C library than that of %s: %s", python, t, newer)
	}
	if root == "" {
		return r, "neither the sysroot nor the SDK of Python " + python + " has the loader " + t.Loader()
	}
	if Runs(t) {
		return runner{
			command: []string{filepath.Join(root, t.Loader()), "--library-path", strings.Join(libraryDirs(t, p, root), ":")}, root: root,
			by: "its own loader and C library",
		}, ""
	}
	path, err := run.LookPath(t.QEMU(), env)
	if err != nil {
		return r, fmt.Sprintf("%s, which runs programs for %s, was not found (%s)", t.QEMU(), t, distro.QEMU.Hint(distro.Family(), "", ""))
	}
	r = runner{command: []string{path, "-L", root}, root: root, by: t.QEMU()}
	if p.Root != root { // the loader looks for the libraries of Python only in its own root
		r.command = append(r.command, "-E", "LD_LIBRARY_PATH="+strings.Join(libraryDirs(t, p, p.Root), ":"))
	}
	return r, ""
}

// tooNew returns the first symbol that a Python needs of a newer C library than a system's:
// the interpreter, its library or a compiled module of the standard library.
func tooNew(t target.Target, py *detect.Python) string {
	for _, name := range append([]string{py.Executable, py.LibPython}, filetree.Glob(py.BasePrefix, "lib*/python*/lib-dynload/*.so")...) {
		if name == "" {
			continue
		}
		if found, err := sysroot.TooNew(t, name); err == nil && len(found) > 0 {
			return found[0].String()
		}
	}
	return ""
}

// loaderRoot is the directory with the loader and the C library that run a Python: its own
// system, or the sysroot if it is only a prefix or an archive. It is "" if neither has them.
func (c *Cross) loaderRoot(p *sysroot.Python) string {
	for _, dir := range []string{p.Root, c.Sysroot.Dir} {
		if fileExists(filepath.Join(dir, c.Target().Loader())) {
			return dir
		}
	}
	return ""
}

// libraryDirs are the directories that the loader searches: those of the Python, and those
// of the system in root.
func libraryDirs(t target.Target, p *sysroot.Python, root string) []string {
	var dirs []string
	add := func(dir string) {
		if fileExists(dir) && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	if p.Facts.LibPython != "" {
		add(filepath.Dir(p.Facts.LibPython))
	}
	for _, dir := range sysroot.LibraryDirs(t) {
		add(filepath.Join(root, dir))
	}
	return dirs
}

// HasPython reports whether a Python of the sysroot is complete enough to run.
func (c *Cross) HasPython(version string) bool {
	p, err := c.wanted(version)
	return err == nil && fileExists(p.Facts.Executable) && hasLibrary(p.Facts)
}

// Runs reports whether this machine's processor runs the target's programs. Its loader and
// its C library may be other ones: those of the sysroot are used.
func Runs(t target.Target) bool {
	return t.OS == runtime.GOOS && t.Arch == runtime.GOARCH
}

// hasLibrary reports whether the standard library of a Python is complete enough to start.
func hasLibrary(py *detect.Python) bool {
	version := fmt.Sprintf("python%d.%d", py.Major, py.Minor)
	if py.FreeThreaded {
		version += "t"
	}
	for _, lib := range []string{"lib", "lib64"} {
		if fileExists(filepath.Join(py.BasePrefix, lib, version, "os.py")) && fileExists(filepath.Join(py.BasePrefix, lib, version, "json", "__init__.py")) {
			return true
		}
	}
	return false
}

// TargetPython is the key of the digest of a target's Python among the facts about a build
// ([Staged.Target]). The httpd of the build does not depend on it.
const TargetPython = "python_sha256"

// describe returns what the record of a build says about its target and one of the
// sysroot's Pythons. The others have no part in it.
func (c *Cross) describe(python string) map[string]string {
	s := c.Sysroot
	all := map[string]string{"target": s.Target.String(), "sysroot": s.Source, "sysroot_sha256": s.Base, "sysroot_libc": strings.TrimSpace(s.Target.Libc + " " + s.Libc)}
	if p, err := c.wanted(python); err == nil && p.Digest != "" {
		all[TargetPython] = p.Digest
	}
	if s.Stubs != "" {
		all["link_libraries"] = "limited to " + s.Target.Libc + " " + s.Target.LibcVersion
	}
	return all
}
