package detect

import (
	"os"
	"path/filepath"
	"regexp"
)

// versioned matches the directory that has site-packages in it, on Unix; on Windows
// all versions share one.
var versioned = regexp.MustCompile(`^python(\d+\.\d+t?)$`)

// EarlierSites returns the directories of packages that lie beside this Python's own
// and belong to another version: an environment that was made again with another
// Python keeps those of the one before, and the programs in bin that came from them.
// Nothing reads them any more. Only an environment has one Python at a time: a
// virtual one by definition, one of conda where the interpreter of that version is
// gone. In /usr/local and the like, each version is somebody's. Links are not followed.
func (p *Python) EarlierSites() []string {
	own := filepath.Dir(p.Platlib)
	virtual := p.Prefix != p.BasePrefix
	if !versioned.MatchString(filepath.Base(own)) || !virtual && !isDir(filepath.Join(p.Prefix, "conda-meta")) {
		return nil
	}
	var sites []string
	for _, name := range ThisDisk().readDir(filepath.Dir(own)) {
		dir := filepath.Join(filepath.Dir(own), name)
		site := filepath.Join(dir, filepath.Base(p.Platlib))
		if !versioned.MatchString(name) || dir == own || !isRealDir(dir) || !isRealDir(site) {
			continue
		}
		if virtual || !isFile(filepath.Join(p.Prefix, "bin", name)) {
			sites = append(sites, site)
		}
	}
	return sites
}

// VersionOfSite returns "3.11" for a directory of packages of Python 3.11 ("3.13t" for
// a free-threaded one), "" where its path does not show a version.
func VersionOfSite(site string) string {
	m := versioned.FindStringSubmatch(filepath.Base(filepath.Dir(site)))
	if m == nil {
		return ""
	}
	return m[1]
}

// isRealDir reports whether a path is a directory, and not a link to one.
func isRealDir(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.IsDir()
}

// EnvironmentVersion returns the version of Python that the virtual environment in a
// directory was made with, by its pyvenv.cfg; "" where that does not tell.
func EnvironmentVersion(dir string) string {
	cfg := ThisDisk().readConfig(filepath.Join(dir, "pyvenv.cfg"))
	if v := cfg["version"]; v != "" {
		return v
	}
	return cfg["version_info"]
}
