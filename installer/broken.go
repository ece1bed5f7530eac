package installer

import (
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/detect"
	"modwsgi/internal/filetree"
)

// brokenEnvironment finds what is installed in an environment whose Python does
// not start any more, by its files; nil if modwsgi did not install it.
func brokenEnvironment(q *Request) *detect.Python {
	var dirs []string
	switch {
	case q.Python != "":
		path := q.abs(q.Python)
		dirs = []string{path, filepath.Dir(path), filepath.Dir(filepath.Dir(path))}
	default:
		dirs = []string{filepath.Join(q.Dir, ".venv")}
	}
	for _, dir := range dirs {
		if !fileExists(filepath.Join(dir, "pyvenv.cfg")) {
			continue
		}
		var sites []string
		for _, pattern := range []string{"lib/python*/site-packages/mod_wsgi*.dist-info", "Lib/site-packages/mod_wsgi*.dist-info"} {
			for _, info := range filetree.Glob(dir, pattern) {
				if site := filepath.Dir(info); !slices.Contains(sites, site) {
					sites = append(sites, site)
				}
			}
		}
		if len(sites) == 0 {
			return nil
		}
		site := present(dir, sites)
		scripts := filepath.Join(dir, "bin")
		if !fileExists(scripts) {
			scripts = filepath.Join(dir, "Scripts")
		}
		return &detect.Python{Prefix: dir, Platlib: site, Purelib: site, Scripts: scripts, Version: "(does not start)"}
	}
	return nil
}

// present picks the directory of packages of the Python that pyvenv.cfg names; the
// others are of Pythons that the environment had before.
func present(dir string, sites []string) string {
	version := detect.EnvironmentVersion(dir)
	for _, site := range sites {
		if strings.HasPrefix(version+".", detect.VersionOfSite(site)+".") {
			return site
		}
	}
	return sites[0]
}
