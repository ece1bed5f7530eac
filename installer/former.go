package installer

import (
	"debug/buildinfo"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/detect"
	"modwsgi/internal/digest"
	"modwsgi/internal/event"
	"modwsgi/internal/pydist"
	"modwsgi/internal/receipt"
)

// An environment can be recreated with another Python in the same directory. The packages
// of the previous one then stay in its lib/python3.x, where neither the new Python nor
// pip sees them, and its programs stay in bin. modwsgi lists, replaces and removes them
// like the packages in site-packages.

// Former is mod_wsgi or its httpd installed for an environment's former Python.
type Former struct {
	Name      string `json:"name"`
	Version   string `json:"version"`
	Installer string `json:"installer"`
	Site      string `json:"site_packages"`
}

// String is "mod_wsgi 5.0.2 for Python 3.11".
func (e Former) String() string {
	return fmt.Sprintf("%s %s for Python %s", e.Name, e.Version, detect.VersionOfSite(e.Site))
}

// findFormer lists what is left of former Pythons. An unreadable directory is reported
// but does not stop the run: nothing in it is used.
func findFormer(py *detect.Python, events event.Sink) []Former {
	var all []Former
	for _, site := range py.EarlierSites() {
		for _, name := range []string{ModuleDist, HTTPDDist} {
			d, err := pydist.Find(site, name)
			if err != nil {
				events.Warn(fmt.Sprintf("%s, of another Python that this environment had: %v; left as it is", site, err))
			} else if d != nil {
				all = append(all, Former{d.Name, d.Version, d.Installer, site})
			}
		}
	}
	return all
}

// oursOf keeps what modwsgi installed.
func oursOf(all []Former) []Former {
	return slices.DeleteFunc(slices.Clone(all), func(e Former) bool { return e.Installer != installerName })
}

// formerPaths returns what may be removed of former Pythons, and the site-packages
// directories that contain it. Files listed by a distribution of the present Python stay:
// the programs in bin may belong to it by now.
func formerPaths(all []Former, py *detect.Python, events event.Sink) (paths, sites []string, _ error) {
	kept := map[string]bool{}
	for _, name := range []string{ModuleDist, HTTPDDist} {
		d, err := pydist.Find(py.Platlib, name)
		if err != nil {
			return nil, nil, err
		}
		if d != nil {
			for _, path := range d.Paths() {
				kept[path] = true
			}
		}
	}
	for _, e := range all {
		d, err := pydist.Find(e.Site, e.Name)
		if err != nil {
			return nil, nil, err
		}
		if d == nil {
			continue
		}
		for _, path := range removable(d, e.Site, py, events) {
			if !kept[path] {
				paths = append(paths, path)
			}
		}
		if !slices.Contains(sites, e.Site) {
			sites = append(sites, e.Site)
		}
	}
	return paths, sites, nil
}

func namesOf(all []Former) []string {
	var names []string
	for _, e := range all {
		names = append(names, e.String())
	}
	return names
}

// listFormer describes what is left of former Pythons and gives that as its problem.
func listFormer(all []Former, py *detect.Python) []Installed {
	var out []Installed
	for _, e := range all {
		i := Installed{Name: e.Name, Version: e.Version, Location: filepath.Join(e.Site, packageDirs[0]), By: e.Installer, Earlier: detect.VersionOfSite(e.Site)}
		if e.Name == HTTPDDist {
			i.Location = httpdTree(e.Site)
		} else if r, err := receipt.Read(e.Site); err == nil {
			i.HTTPD, i.Server = r.HTTPD.Version, r.HTTPD.Executable
		}
		i.Problems = append(i.Problems, fmt.Sprintf("built for Python %s, which this environment had before; its Python is now %s", i.Earlier, py.Version))
		if d, err := pydist.Find(e.Site, e.Name); err == nil && d != nil {
			for _, problem := range d.Check() {
				i.Problems = append(i.Problems, problem.String())
			}
		}
		out = append(out, i)
	}
	return out
}

// strayProgram reports whether a file in the directory of programs is a modwsgi program
// that no distribution lists any more, because its site-packages directory was removed.
// The build information of a Go program shows what it was built from.
func strayProgram(path string) bool {
	f, err := digest.OpenHere(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || info.Mode()&fs.ModeType != 0 {
		return false
	}
	info, err := buildinfo.Read(f)
	return err == nil && info.Path == "modwsgi/cmd/"+strings.TrimSuffix(filepath.Base(path), ".exe")
}
