package detect

import (
	"path/filepath"
	"slices"
)

// importable replaces package directories that the interpreter does not import from.
// The sysconfig of Debian's Python before 3.10 reports site-packages, but its site.py
// and its pip use dist-packages (https://wiki.debian.org/Python#Deviations_from_upstream).
// Directories that site.py uses stay, and so does everything if they are unknown.
func (a *answer) importable(d *Disk) {
	sites := slices.DeleteFunc(slices.Clone(a.Sites), func(dir string) bool {
		return !filepath.IsAbs(dir) || filepath.Dir(dir) == dir || dir == a.Prefix
	})
	if d.windows() || len(sites) == 0 {
		return
	}
	used := func(dir string) bool {
		return slices.ContainsFunc(sites, func(site string) bool { return filepath.Clean(site) == filepath.Clean(dir) || d.sameFile(site, dir) })
	}
	if used(a.Paths["platlib"]) && used(a.Paths["purelib"]) {
		return
	}
	// The first one is for packages that the distribution does not manage.
	site := filepath.Clean(sites[0])
	if used(a.Paths["platlib"]) {
		site = a.Paths["platlib"]
	}
	a.Paths["purelib"], a.Paths["platlib"] = site, site
	local := filepath.Join(a.Prefix, "local")
	if filepath.Dir(filepath.Dir(filepath.Dir(site))) == local && a.Paths["scripts"] == filepath.Join(a.Prefix, binUnix) {
		a.Paths["scripts"] = filepath.Join(local, binUnix)
	}
}
