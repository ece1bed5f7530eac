package installer

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/detect"
	"modwsgi/installer/place"
	"modwsgi/internal/digest"
	"modwsgi/internal/event"
	"modwsgi/internal/pydist"
	"modwsgi/internal/receipt"
)

// An environment can be made again with another Python in the same directory. What was
// installed for the one before then stays below its lib/python3.x, where neither that
// Python nor pip sees it, and its programs stay in bin. It is shown, replaced and
// removed like what lies in site-packages.

// earlier is mod_wsgi or its httpd of an environment's former Python.
type earlier struct {
	*pydist.Installed
	site string
}

// String is "mod_wsgi 5.0.2 for Python 3.11".
func (e earlier) String() string {
	return fmt.Sprintf("%s %s for Python %s", e.Name, e.Version, detect.VersionOfSite(e.site))
}

// findEarlier lists what is left of former Pythons. A directory that cannot be read
// is reported, and is no obstacle: nothing there is used.
func findEarlier(py *detect.Python, events event.Sink) []earlier {
	var all []earlier
	for _, site := range py.EarlierSites() {
		for _, name := range []string{ModuleDist, HTTPDDist} {
			d, err := pydist.Find(site, name)
			if err != nil {
				events.Warn(fmt.Sprintf("%s, of another Python that this environment had: %v; it is left as it is", site, err))
			} else if d != nil {
				all = append(all, earlier{d, site})
			}
		}
	}
	return all
}

// ourEarlier leaves out what others installed.
func ourEarlier(all []earlier) []earlier {
	return slices.DeleteFunc(slices.Clone(all), func(e earlier) bool { return !ours(e.Installed) })
}

// earlierPaths returns what may be removed of former Pythons, and the directories of
// packages that it is in. What a distribution of the present Python lists stays: the
// programs in bin may be its own by now.
func earlierPaths(all []earlier, py *detect.Python, events event.Sink) (paths, sites []string, _ error) {
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
		for _, path := range removable(e.Installed, e.site, py, events) {
			if !kept[path] {
				paths = append(paths, path)
			}
		}
		if !slices.Contains(sites, e.site) {
			sites = append(sites, e.site)
		}
	}
	return paths, sites, nil
}

// lockEarlier keeps runs for the former Pythons away, and finishes what a killed one
// left there. A journal that is not believed may know of hidden directories there, so
// those are not touched then.
func lockEarlier(ctx context.Context, q *Request, all []earlier, py *detect.Python, believed bool) (unlock func(), err error) {
	var locks []*place.Locked
	unlock = func() {
		for _, l := range locks {
			_ = l.Unlock()
		}
	}
	for _, e := range all {
		if slices.ContainsFunc(locks, func(l *place.Locked) bool { return l.Is(e.site) }) {
			continue
		}
		l, err := lockSite(ctx, q, e.site)
		if err != nil {
			unlock()
			return nil, err
		}
		locks = append(locks, l)
		if !believed {
			continue
		}
		if _, err := recoverPrefix(*q, l, py); err != nil {
			unlock()
			return nil, err
		}
	}
	return unlock, nil
}

// removeEarlier removes what modwsgi installed for former Pythons, and returns the
// names of what it removed.
func removeEarlier(ctx context.Context, q *Request, locked *place.Locked, py *detect.Python, all []earlier) ([]string, error) {
	all = ourEarlier(all)
	if len(all) == 0 {
		return nil, nil
	}
	paths, sites, err := earlierPaths(all, py, q.Events)
	if err != nil {
		return nil, err
	}
	return removeDists(ctx, q, locked, py, namesOf(all), place.Request{Remove: paths, Beside: sites})
}

func namesOf(all []earlier) []string {
	var names []string
	for _, e := range all {
		names = append(names, e.String())
	}
	return names
}

// listEarlier describes what is left of former Pythons, with that as its problem.
func listEarlier(all []earlier, py *detect.Python) []Installed {
	var out []Installed
	for _, e := range all {
		i := Installed{Name: e.Name, Version: e.Version, Location: filepath.Join(e.site, packageDirs[0]), By: e.Installer, Earlier: detect.VersionOfSite(e.site)}
		if e.Name == HTTPDDist {
			i.Location = httpdTree(e.site)
		} else if r, err := receipt.Read(e.site); err == nil {
			i.HTTPD, i.Server = r.HTTPD.Version, r.HTTPD.Executable
		}
		i.Problems = append(i.Problems, fmt.Sprintf("it is for Python %s, which this environment had before; its Python is %s now", i.Earlier, py.Version))
		for _, problem := range e.Check() {
			i.Problems = append(i.Problems, problem.String())
		}
		out = append(out, i)
	}
	return out
}

// strayProgram reports whether a file in the directory of programs is a modwsgi program
// that no distribution lists any more, because its site-packages directory was removed: a
// Go program says what it was built from.
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
