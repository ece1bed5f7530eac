package detect

import (
	"path/filepath"
	"regexp"
)

// versioned matches the directory that contains site-packages on Unix; on Windows all
// versions share one.
var versioned = regexp.MustCompile(`^python(\d+\.\d+t?)$`)

// EarlierSites returns the package directories next to this Python's that belong to
// another version. An environment that was created again with another Python keeps the
// packages of the previous one, and the programs in bin that came with them. Nothing
// uses them any more. Only environments qualify, as they have one Python at a time: a
// virtual environment by definition, and one of conda if the interpreter of that
// version no longer exists. In /usr/local and similar prefixes, each version is in
// use. Links are not followed.
func (p *Python) EarlierSites() []string {
	d := ThisDisk()
	own := filepath.Dir(p.Platlib)
	virtual := p.Prefix != p.BasePrefix
	if !versioned.MatchString(filepath.Base(own)) || !virtual && !d.isDir(filepath.Join(p.Prefix, "conda-meta")) {
		return nil
	}
	var sites []string
	for _, name := range d.readDir(filepath.Dir(own)) {
		dir := filepath.Join(filepath.Dir(own), name)
		site := filepath.Join(dir, filepath.Base(p.Platlib))
		if !versioned.MatchString(name) || dir == own || !d.isRealDir(dir) || !d.isRealDir(site) {
			continue
		}
		if virtual || !d.isFile(filepath.Join(p.Prefix, "bin", name)) {
			sites = append(sites, site)
		}
	}
	return sites
}

// VersionOfSite returns "3.11" for a package directory of Python 3.11 ("3.13t" for a
// free-threaded one), "" if its path contains no version.
func VersionOfSite(site string) string {
	m := versioned.FindStringSubmatch(filepath.Base(filepath.Dir(site)))
	if m == nil {
		return ""
	}
	return m[1]
}

// isRealDir reports whether a path is a directory and not a link to one.
func (d *Disk) isRealDir(path string) bool {
	info, err := d.lstat(path)
	return err == nil && info.IsDir()
}

// EnvironmentVersion returns the version of Python that created the virtual
// environment in a directory, from its pyvenv.cfg; "" if that does not contain it.
func EnvironmentVersion(dir string) string {
	cfg := ThisDisk().readConfig(filepath.Join(dir, "pyvenv.cfg"))
	if v := cfg["version"]; v != "" {
		return v
	}
	return cfg["version_info"]
}
