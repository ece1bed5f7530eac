package detect

import (
	"path/filepath"
	"strings"

	"modwsgi/internal/elf"
	"modwsgi/internal/fault"
)

// pyenvShim recognises a shim of pyenv, a script that determines the version to run
// from files and variables, and does the same without running it
// (https://github.com/pyenv/pyenv#understanding-python-version-selection). found is
// false for everything else.
func (d *Disk) pyenvShim(req Request, path string) (exe string, found bool, err error) {
	root := d.shimRoot(path)
	if root == "" {
		return "", false, nil
	}
	chosen, source := d.pyenvVersion(req, root)
	for _, version := range strings.FieldsFunc(chosen, func(c rune) bool { return strings.ContainsRune(": \t\r\n", c) }) {
		dir := d.pyenvDir(root, version)
		if dir == "" {
			continue
		}
		program := filepath.Join(dir, binUnix, filepath.Base(path))
		if d.isFile(program) {
			if exe := d.interpreterFor(program); exe != "" {
				return exe, true, nil
			}
		}
	}
	hint := "pass the real interpreter with --python"
	if all := d.pyenvInterpreters(root); len(all) > 0 {
		hint += ", one of: " + strings.Join(all, ", ")
	}
	if chosen == "" {
		return "", true, fault.New(fault.Environment, hint, "%s is a pyenv shim, but no version is selected", path)
	}
	return "", true, fault.New(fault.Environment, hint,
		"%s is a pyenv shim, but the selected version %q (%s) does not have %s", path, chosen, source, filepath.Base(path))
}

// shimRoot returns pyenv's root for a shim, "" for another file.
func (d *Disk) shimRoot(path string) string {
	for _, step := range d.links(path) {
		dir := filepath.Dir(step)
		root := filepath.Dir(dir)
		if filepath.Base(dir) == "shims" && d.isDir(filepath.Join(root, "versions")) &&
			strings.Contains(string(d.head(step, 2048)), "pyenv") {
			return root
		}
	}
	return ""
}

// pyenvVersion returns the selected version and the source of the selection.
func (d *Disk) pyenvVersion(req Request, root string) (version, source string) {
	if v := req.env("PYENV_VERSION"); v != "" {
		return v, "PYENV_VERSION"
	}
	for dir := req.Dir; dir != ""; dir = filepath.Dir(dir) {
		name := filepath.Join(dir, ".python-version")
		if v := d.versionFile(name); v != "" {
			return v, name
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	name := filepath.Join(root, "version")
	return d.versionFile(name), name
}

// versionFile reads a pyenv version file: words, with comments after "#".
func (d *Disk) versionFile(name string) string {
	var words []string
	for line := range strings.Lines(string(d.head(name, 4096))) {
		line, _, _ = strings.Cut(line, "#")
		words = append(words, strings.Fields(line)...)
	}
	return strings.Join(words, " ")
}

// pyenvDir returns a version's directory; "3.11" means the newest 3.11.x, as with
// pyenv's own prefix resolution. It refuses a name that would leave the directory of
// versions.
func (d *Disk) pyenvDir(root, version string) string {
	version = strings.TrimPrefix(version, "python-")
	if version == "" || version == "system" || strings.HasPrefix(version, ".") || strings.Contains(version, "..") {
		return ""
	}
	dir := filepath.Join(root, "versions", version)
	if d.isDir(dir) {
		return dir
	}
	best := ""
	for _, name := range d.readDir(filepath.Join(root, "versions")) {
		if strings.HasPrefix(name, version+".") && (best == "" || elf.CompareVersions(name, best) > 0) {
			best = name
		}
	}
	if best == "" {
		return ""
	}
	return filepath.Join(root, "versions", best)
}

func (d *Disk) pyenvInterpreters(root string) []string {
	var out []string
	for _, name := range d.readDir(filepath.Join(root, "versions")) {
		if exe := d.interpreterIn(filepath.Join(root, "versions", name, binUnix), ""); exe != "" {
			out = append(out, exe)
		}
	}
	return out
}
