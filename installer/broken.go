package installer

import (
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/detect"
	"modwsgi/internal/filetree"
)

// brokenEnvironment identifies, by its files, what modwsgi installed in an environment
// whose Python no longer starts. It returns nil if modwsgi did not install it.
func brokenEnvironment(python, at string) *detect.Python {
	var dirs []string
	switch {
	case python != "":
		path := absolute(python, at)
		dirs = []string{path, filepath.Dir(path), filepath.Dir(filepath.Dir(path))}
	default:
		dirs = []string{filepath.Join(at, ".venv")}
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

// present picks the site-packages directory of the Python named in pyvenv.cfg. The others
// belong to Pythons that the environment had before.
func present(dir string, sites []string) string {
	version := detect.EnvironmentVersion(dir)
	for _, site := range sites {
		if strings.HasPrefix(version+".", detect.VersionOfSite(site)+".") {
			return site
		}
	}
	return sites[0]
}
