package linkage

import (
	"bufio"
	"os"
	"path"
	"path/filepath"
	"strings"

	"modwsgi/internal/filetree"
	"modwsgi/packaging"
)

// alpinePackage is apk's record of a package.
type alpinePackage struct{ name, version, arch, license, origin string }

// alpineOwner finds the package of a file in apk's records, nil if there is no such
// package (apk-tools, "APK database"). A stanza has P: and other fields, then F: for
// each directory with R: for the files in it.
func (h Host) alpineOwner(file string) *alpinePackage {
	rel, err := filepath.Rel(h.Root, file)
	if err != nil {
		return nil
	}
	f, err := os.Open(filepath.Join(h.Root, "/lib/apk/db/installed"))
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	wanted := filepath.ToSlash(rel)
	var p alpinePackage
	dir := ""
	scan := bufio.NewScanner(f)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		key, value, _ := strings.Cut(scan.Text(), ":")
		switch key {
		case "":
			p, dir = alpinePackage{}, ""
		case "P":
			p.name = value
		case "V":
			p.version = value
		case "A":
			p.arch = value
		case "L":
			p.license = value
		case "o":
			p.origin = value
		case "F":
			dir = value
		case "R":
			if path.Join(dir, value) == wanted {
				return &p
			}
		}
	}
	return nil
}

// alpine describes a library by its package. Alpine writes SPDX expressions; the texts
// are in separate packages, which may not be installed.
func (h Host) alpine(c *packaging.Component, p *alpinePackage) {
	c.Name, c.Version = p.name, p.version
	if c.License == "" {
		c.License = p.license
	}
	id, distribution := h.distribution("alpine")
	c.PURL = packaging.PackageURL("apk/"+id+"/"+p.name, p.version, [][2]string{{"arch", p.arch}, {"distro", distribution}, {"upstream", p.origin}}...)
	for _, t := range filetree.Glob(filepath.Join(h.Root, "/usr/share/licenses", p.name), "*") {
		if isFile(t) {
			c.Texts = append(c.Texts, t)
		}
	}
}
