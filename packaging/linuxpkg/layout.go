package linuxpkg

import (
	"errors"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"modwsgi/internal/elf"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
	"modwsgi/internal/shortage"
	"modwsgi/packaging"
	"modwsgi/packaging/linkage"
)

// home is the directory of a package with a private httpd, laid out like a Python
// environment, because that is how the launcher finds its parts.
func (w *work) home() string { return "opt/modwsgi/" + w.tag }

// site is the counterpart of site-packages in it.
func (w *work) site() string {
	suffix := ""
	if w.stage.Module.Python.FreeThreaded {
		suffix = "t"
	}
	return path.Join(w.home(), "lib", "python"+w.stage.Module.Python.MinorVersion()+suffix, "site-packages")
}

// modules is the module directory of the distribution's Apache.
func (w *work) modules(machine string) string {
	switch w.options.Format {
	case RPM:
		if slices.Contains([]string{"i686", "armv7l"}, machine) {
			return "usr/lib/httpd/modules"
		}
		return "usr/lib64/httpd/modules"
	case APK:
		return "usr/lib/apache2"
	}
	return "usr/lib/apache2/modules"
}

// layOut copies the parts of the stage to their final paths below the scratch root.
func (w *work) layOut() error {
	for _, dir := range []string{"root", "meta"} {
		if err := os.Mkdir(w.path(dir), 0o755); err != nil {
			return err
		}
	}
	m := w.stage.Module
	module := filepath.Join(w.stage.Site, filepath.FromSlash(m.File))
	if !w.bundled() {
		facts, err := elf.Read(module)
		if err != nil {
			return fault.New(fault.Environment, "build it again", "inspect the module: %w", err)
		}
		to := w.root(path.Join(w.modules(facts.Machine), w.moduleName()))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		return copied(module, to, 0o644)
	}
	if err := os.MkdirAll(w.root(w.site()), 0o755); err != nil {
		return err
	}
	for _, dir := range []string{m.Package, w.stage.HTTPD.Package} {
		tree, err := packaging.Scan(filepath.Join(w.stage.Site, dir))
		if err != nil {
			return err
		}
		if err := packaging.CopyTree(tree, w.root(path.Join(w.site(), dir))); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(w.root(w.home()+"/bin"), 0o755); err != nil {
		return err
	}
	for _, program := range []string{"mod_wsgi-express", "mod_wsgi-apxs"} {
		from := filepath.Join(w.stage.Bin, program)
		if err := copied(from, w.root(path.Join(w.home(), "bin", program)), 0o755); err != nil {
			return err
		}
		parts, err := packaging.ProgramComponents(from)
		if err != nil {
			return err
		}
		w.parts = append(w.parts, parts...)
	}
	return nil
}

// copied is packaging.CopyFile with an error for the user.
func copied(from, to string, mode os.FileMode) error {
	err := packaging.CopyFile(from, to, mode)
	var known *fault.Error
	var pe *os.PathError
	if !errors.As(err, &known) && errors.As(err, &pe) {
		return fault.New(fault.Environment, "package a complete, readable build", "copy %s: %w", from, pe)
	}
	return err
}

// moduleName is the module's file name in Apache's module directory.
func (w *work) moduleName() string { return "mod_wsgi-" + w.tag + ".so" }

// modulePath is the module's final path.
func (w *work) modulePath() string {
	if w.bundled() {
		return path.Join(w.site(), w.stage.Module.File)
	}
	return path.Join(w.modules(w.linkage.Machine), w.moduleName())
}

// strip removes symbol tables, which are not needed at run time and which
// distributions do not want. If the tool is missing or does not know the CPU, the
// files stay as they are.
func (w *work) strip() error {
	tree, err := packaging.Scan(w.path("root"))
	if err != nil {
		return err
	}
	var objects []string
	for _, f := range tree.Files {
		if name := tree.Source(f); f.Link == "" && elf.Is(name) && path.Dir(f.Path) != w.home()+"/bin" {
			objects = append(objects, name)
		}
	}
	tool, err := w.stripper()
	if err == nil {
		argv := append([]string{tool, "--strip-unneeded", "--enable-deterministic-archives", "--"}, objects...)
		err = w.runner().Run(w.ctx, run.Cmd{Argv: argv, Dir: w.dir, Env: append(slices.Clone(w.options.Env), "LC_ALL=C")})
	}
	switch {
	case w.ctx.Err() != nil:
		return w.ctx.Err()
	case isFull(err):
		return fault.Wrap(fault.Environment, "check that the output directory is writable and its file system has free space", err)
	}
	if err != nil {
		w.warnings = append(w.warnings, "the symbol tables stay in the binaries: "+err.Error())
	}
	return nil
}

// stripper finds the tool for the CPU of the package: that of the cross compiler, or LLVM's,
// which knows every CPU.
func (w *work) stripper() (string, error) {
	if w.options.For == nil || w.options.For.System.Arch == runtime.GOARCH {
		return run.LookPath("strip", w.options.Env)
	}
	prefix := w.options.For.System.GNUTriple()
	if rest, ok := strings.CutPrefix(prefix, "i386-"); ok { // as Debian names its compiler
		prefix = "i686-" + rest
	}
	tool, err := run.LookPath(prefix+"-strip", w.options.Env)
	if err == nil {
		return tool, nil
	}
	if other, oerr := run.LookPath("llvm-strip", w.options.Env); oerr == nil {
		return other, nil
	}
	return "", err
}

// isFull reports whether a tool failed for lack of space.
func isFull(err error) bool {
	s, ok := shortage.Of(err)
	return ok && (s.Kind == shortage.Space || s.Kind == shortage.Inodes)
}

func (w *work) runner() *run.Runner {
	if w.options.Runner == nil {
		w.options.Runner = &run.Runner{}
	}
	return w.options.Runner
}

// inspect refuses binaries that cannot be shipped, removes run paths to the build
// machine's Python, and computes the dependencies.
func (w *work) inspect() error {
	tree, err := packaging.Scan(w.path("root"))
	if err != nil {
		return w.withUserPaths(err)
	}
	foreign, err := foreign(tree)
	if err != nil {
		return w.withUserPaths(err)
	}
	libc := ""
	if w.stage.HTTPD != nil {
		libc = w.stage.HTTPD.Libc
	}
	o := linkage.Options{Allow: foreign, Python: w.soname, Libc: libc}
	if t := w.options.For; t != nil {
		o.Machine, o.Limit = t.System.Machine(), t.System.Libc+" "+t.System.LibcVersion
	}
	if w.linkage, err = linkage.Apply(tree, o); err != nil {
		return w.withUserPaths(err)
	}
	if err := w.checkMachine(); err != nil {
		return err
	}
	// Run paths may have changed.
	if tree, err = packaging.Scan(w.path("root")); err != nil {
		return w.withUserPaths(err)
	}
	required, err := libraries(tree, w.linkage, w.soname)
	if err != nil {
		return w.withUserPaths(err)
	}
	if w.options.Format == APK && required["libc.so.6"] != nil {
		w.warnings = append(w.warnings, "the binaries are for glibc, which Alpine does not have: build apk packages on Alpine")
	}
	w.pkg.Depends, err = w.depend(required)
	if err != nil {
		return w.withUserPaths(err)
	}
	if w.bundled() {
		return w.record(w.site(), w.modulePath())
	}
	return nil
}

// withUserPaths replaces the paths of the copies in a message by paths that the user knows.
func (w *work) withUserPaths(err error) error {
	site, bin := w.root(w.site()), w.root(w.home()+"/bin")
	return packaging.WithPaths(err, site, w.stage.Site, bin, w.stage.Bin, w.path("root"), w.stage.Site, w.site()+"/", "")
}

// foreign lists every library that the files name, so that linkage accepts all of
// them: the dependencies name their packages.
func foreign(tree *packaging.Tree) ([]string, error) {
	var all []string
	for _, f := range tree.Files {
		name := tree.Source(f)
		if f.Link != "" || !elf.Is(name) {
			continue
		}
		facts, err := elf.Read(name)
		if err != nil {
			return nil, fault.New(fault.Environment, "build it again", "inspect %s: %w", name, err)
		}
		for _, n := range facts.Needed {
			if !strings.HasPrefix(n, "libpython") {
				all = append(all, n)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}
