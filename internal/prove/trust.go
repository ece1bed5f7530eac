package prove

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/elf"
	"modwsgi/internal/owned"
)

// trustedCode returns nil if only root can change the code that a throwaway server
// executes, and otherwise an error that names a file. All of the code runs with the
// capability to read every file: httpd, its modules and libraries, and what a Python
// executes at startup. That is its standard library and, in the packages of the
// environment, anything that a .pth file, sitecustomize or usercustomize asks for.
// Libraries in the loader's own directories are assumed to be root's.
func trustedCode(s Subject) error {
	if s.Python == nil {
		return errors.New("the files of this Python are not known")
	}
	c := &codeCheck{seen: map[string]bool{}}
	for _, file := range serverFiles(s) {
		if err := c.binary(file); err != nil {
			return err
		}
	}
	for _, m := range serverModules(s.ModulesDir) { // nor may one appear
		if err := trustedPath(m.file); err != nil {
			return err
		}
	}
	if s.Root != "" { // it has the loader and the C library
		if err := c.tree(s.Root); err != nil {
			return err
		}
	}
	return c.python(s)
}

type codeCheck struct{ seen map[string]bool }

// trustedPath is owned.Check, and for a path that does not exist, a check that others
// cannot create it.
func trustedPath(path string) error {
	for {
		err := owned.Check(path)
		if !errors.Is(err, fs.ErrNotExist) || path == filepath.Dir(path) {
			return err
		}
		path = filepath.Dir(path)
	}
}

// binary checks a program or library and the libraries that it finds by its run path.
func (c *codeCheck) binary(path string) error {
	if c.seen[path] {
		return nil
	}
	c.seen[path] = true
	if err := trustedPath(path); err != nil {
		return err
	}
	return c.libraries(path)
}

// libraries checks what a program or library finds by its run path.
func (c *codeCheck) libraries(path string) error {
	facts, err := elf.Read(path)
	if errors.Is(err, elf.ErrNotELF) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("examine %s: %w", path, err)
	}
	if len(facts.RunPath) == 0 {
		return nil
	}
	origins := []string{filepath.Dir(path)}
	if real, err := filepath.EvalSymlinks(path); err == nil && filepath.Dir(real) != origins[0] {
		origins = append(origins, filepath.Dir(real))
	}
	for _, origin := range origins {
		for _, dir := range facts.RunPath {
			dir = strings.NewReplacer("$ORIGIN", origin, "${ORIGIN}", origin).Replace(dir)
			if !filepath.IsAbs(dir) { // relative to the directory where the server runs, which this user owns
				continue
			}
			if err := c.libraryDir(dir, facts.Needed); err != nil {
				return err
			}
		}
	}
	return nil
}

// libraryDir checks libraries where the loader looks for them: in a directory, and before
// that in its subdirectories for special processors (ld.so(8)).
func (c *codeCheck) libraryDir(dir string, names []string) error {
	for _, special := range []string{"glibc-hwcaps", "tls", "haswell", "x86_64"} {
		if err := c.tree(filepath.Join(dir, special)); err != nil {
			return err
		}
	}
	for _, name := range names {
		if err := c.binary(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// python checks what a Python executes at startup.
func (c *codeCheck) python(s Subject) error {
	py := s.Python
	single := []string{
		filepath.Join(s.Prefix, "pyvenv.cfg"), filepath.Join(s.Prefix, "bin"), py.Executable, py.Scripts, filepath.Join(py.BasePrefix, "bin"),
		filepath.Join(py.BasePrefix, "lib", fmt.Sprintf("python%d%d.zip", py.Major, py.Minor)),
		filepath.Join(s.Prefix, "lib", fmt.Sprintf("python%d%d.zip", py.Major, py.Minor)),
	}
	for _, path := range single {
		if err := trustedPath(path); err != nil {
			return err
		}
	}
	if err := c.binary(py.LibPython); py.LibShared && err != nil {
		return err
	}
	for _, dir := range standardLibraries(s) {
		// Files in these are executed only if they are asked for by name.
		if err := c.tree(dir, "site-packages", "dist-packages", "test", "idlelib", "tkinter", "turtledemo"); err != nil {
			return err
		}
	}
	for _, dir := range pthDirs(s) {
		if err := c.packages(dir); err != nil {
			return err
		}
	}
	return nil
}

// pthDirs returns the directories whose .pth files a Python reads.
func pthDirs(s Subject) []string {
	py := s.Python
	dirs := []string{py.Purelib, py.Platlib}
	bases := []string{s.Prefix}
	if systemSite(s) {
		bases = append(bases, py.BasePrefix, py.ExecPrefix, filepath.Join(py.BasePrefix, "local"), "/usr/local")
	}
	for _, base := range bases {
		for _, lib := range []string{"lib", "lib64"} {
			for _, version := range []string{fmt.Sprintf("python%d.%d", py.Major, py.Minor), fmt.Sprintf("python%d.%dt", py.Major, py.Minor), "python3"} {
				for _, name := range []string{"site-packages", "dist-packages"} {
					dirs = append(dirs, filepath.Join(base, lib, version, name))
				}
			}
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// tree checks everything below a directory except the given entries at its top.
func (c *codeCheck) tree(dir string, without ...string) error {
	d, err := owned.OpenDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return trustedPath(dir)
	}
	if err != nil {
		return err
	}
	top := d.Path() // lib64 often is a link to lib
	_ = d.Close()
	if c.seen[top] {
		return nil
	}
	c.seen[top] = true
	var libraries []string
	err = owned.CheckTree(top, func(path string, info fs.FileInfo) bool {
		if strings.HasSuffix(path, ".so") && !info.IsDir() {
			libraries = append(libraries, path)
		}
		return filepath.Dir(path) != top || !slices.Contains(without, filepath.Base(path))
	})
	for _, path := range libraries {
		if err != nil {
			break
		}
		err = c.libraries(path)
	}
	return err
}

// packages checks a site-packages directory, and those that its .pth files add to the
// path, each of which could contain a sitecustomize
// (https://docs.python.org/3/library/site.html).
func (c *codeCheck) packages(dir string) error {
	if err := c.tree(dir); err != nil || !fileExists(dir) {
		return err
	}
	d, err := owned.OpenDir(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	entries, err := d.Entries()
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".pth") {
			continue
		}
		data, err := owned.ReadFile(filepath.Join(dir, e.Name()), 1<<20)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(data)) {
			line = strings.TrimRight(line, " \t\r\n")
			if line == "" || line[0] == '#' || strings.HasPrefix(line, "import ") || strings.HasPrefix(line, "import\t") {
				continue
			}
			added := line
			if !filepath.IsAbs(added) {
				added = filepath.Join(dir, added)
			}
			if err := c.added(added); err != nil {
				return err
			}
		}
	}
	return nil
}

// added checks what a .pth file adds to the path: a directory or an archive.
func (c *codeCheck) added(path string) error {
	d, err := owned.OpenDir(path)
	if err != nil {
		return trustedPath(path)
	}
	_ = d.Close()
	return c.tree(path)
}
