package detect

import (
	"path/filepath"
	"strconv"

	"modwsgi/internal/apxs"
)

// PackageDir is the directory of a bundled httpd below site-packages.
const PackageDir = apxs.Package

// treeBeside returns the bundled httpd that belongs to a program in an environment's
// bin directory: the first one next to the program or to a target of its links, "" if
// none has one.
func (d *Disk) treeBeside(program string) string {
	for _, step := range d.links(program) {
		if tree := d.treeBelow(filepath.Dir(filepath.Dir(step))); tree != "" {
			return tree
		}
	}
	return ""
}

// treeBelow returns the bundled httpd in a Python prefix, "" if it has none. If several
// versions share the prefix (/usr/local), it is that of the newest.
func (d *Disk) treeBelow(prefix string) string {
	newest, tree := -1, ""
	for _, lib := range []string{"lib", "lib64"} {
		for _, name := range d.readDir(filepath.Join(prefix, lib)) {
			m := stdlibName.FindStringSubmatch(name)
			if m == nil {
				continue
			}
			minor, _ := strconv.Atoi(m[1])
			if found := d.packagedTree(filepath.Join(prefix, lib, name)); found != "" && minor > newest {
				newest, tree = minor, found
			}
		}
	}
	if tree == "" {
		tree = d.packagedTree(filepath.Join(prefix, "Lib")) // Windows
	}
	return tree
}

// packagedTree returns the bundled httpd among the packages of one Python, "" if it
// has none.
func (d *Disk) packagedTree(lib string) string {
	for _, site := range []string{"site-packages", "dist-packages"} {
		tree := filepath.Join(lib, site, filepath.FromSlash(PackageDir))
		if d.isFile(filepath.Join(tree, "build", "config_vars.mk")) {
			return tree
		}
	}
	return ""
}
