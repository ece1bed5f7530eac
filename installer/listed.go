package installer

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"modwsgi/detect"
	"modwsgi/internal/event"
	"modwsgi/internal/pydist"
)

// Another user may have written the file list of a distribution, and modwsgi may run as
// root. So only files of mod_wsgi and its httpd are ever removed, whoever built them.

// packageDirs are the import packages of both distributions, in site-packages.
var packageDirs = []string{"mod_wsgi", "mod_wsgi_packages"}

// programPrefix begins the name of each of their programs.
const programPrefix = "mod_wsgi-"

// removable returns the paths of a distribution that may be removed, and warns of the
// others.
func removable(d *pydist.Installed, site string, py *detect.Python, events event.Sink) []string {
	var paths, strange []string
	straight := map[string]bool{} // directories reached without links
	for _, path := range d.Paths() {
		if belongs(path, d.InfoDir, site, py.Scripts) && leadsThere(filepath.Dir(path), site, py.Scripts, straight) {
			paths = append(paths, path)
		} else {
			strange = append(strange, path)
		}
	}
	if len(strange) > 0 {
		more := ""
		if len(strange) > 1 {
			more = fmt.Sprintf(" and %d more", len(strange)-1)
		}
		events.Warn(fmt.Sprintf("%s lists %s%s, which is not a file of %s or is behind a link: not removed", filepath.Join(d.InfoDir, "RECORD"), strange[0], more, d.Name))
	}
	return paths
}

// belongs reports whether a path is in one of the packages, in the metadata, or one of
// the programs.
func belongs(path, info, site, scripts string) bool {
	for _, name := range packageDirs {
		if inside(filepath.Join(site, name), path) {
			return true
		}
	}
	return path == info || inside(info, path) ||
		filepath.Dir(path) == filepath.Clean(scripts) && strings.HasPrefix(filepath.Base(path), programPrefix)
}

// inside reports whether path is below dir.
func inside(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != "." && filepath.IsLocal(rel)
}

// leadsThere reports whether a directory is where its path says, seen from site-packages
// or the directory of programs, which may be links themselves. A directory that does not
// exist contains nothing.
func leadsThere(dir, site, scripts string, known map[string]bool) bool {
	if answer, ok := known[dir]; ok {
		return answer
	}
	answer := true
	if base := filepath.Clean(site); dir != base && dir != filepath.Clean(scripts) {
		answer = filepath.Dir(dir) != dir && leadsThere(filepath.Dir(dir), site, scripts, known) && !isLink(dir)
	}
	known[dir] = answer
	return answer
}

func isLink(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&os.ModeSymlink != 0
}

func fileExists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
