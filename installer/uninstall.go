package installer

import (
	"context"
	"fmt"
	"path/filepath"

	"modwsgi/detect"
	"modwsgi/installer/place"
	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/pydist"
	"modwsgi/internal/run"
)

// Uninstall removes what modwsgi installed and nothing else. It returns the names of what
// was removed. Having nothing to remove is not an error.
func Uninstall(ctx context.Context, python string, at Setting) ([]string, error) {
	py, err := lastingEnvironment(ctx, python, at)
	if err != nil {
		return nil, err
	}
	site := py.Platlib
	warnOfOwner(py, "uninstall", at.Events)
	if err := place.Writable(site, filepath.Join(py.Scripts, "mod_wsgi-express")); err != nil {
		return nil, err
	}
	locked, err := lockSite(ctx, at, site)
	if err != nil {
		return nil, err
	}
	defer func() { _ = locked.Unlock() }()
	believed, err := recoverPrefix(locked, py, at.Events)
	if err != nil {
		return nil, err
	}
	names, remove, err := installedDists(site, py, at.Events)
	if err != nil {
		return nil, err
	}
	before := findFormer(py, at.Events)
	unlock, err := lockFormer(ctx, at, before, py, believed)
	if err != nil {
		return nil, err
	}
	defer unlock()
	mine := oursOf(before)
	paths, sites, err := formerPaths(mine, py, at.Events)
	if err != nil {
		return nil, err
	}
	for _, e := range before {
		if e.Installer != installerName {
			at.Events.Note(fmt.Sprintf("%s, which %s installed, is left in %s", e, orSomebody(e.Installer), e.Site))
		}
	}
	names = append(names, namesOf(mine)...)
	if len(names) == 0 {
		return nil, nil
	}
	return removeDists(ctx, at.Events, locked, py, names, place.Request{Remove: append(remove, paths...), Beside: sites})
}

// installedDists returns what modwsgi installed for the present Python, and its files.
func installedDists(site string, py *detect.Python, events event.Sink) (names, remove []string, _ error) {
	for _, name := range []string{ModuleDist, HTTPDDist} {
		d, err := pydist.Find(site, name)
		if err != nil {
			return nil, nil, err
		}
		if d == nil {
			continue
		}
		if !ours(d) {
			return nil, nil, fault.New(fault.Place, "remove it with the tool that installed it, for example "+run.Quote(filepath.Join(py.Scripts, "pip"))+" uninstall "+name,
				"%s %s was installed by %s, not by modwsgi", d.Name, d.Version, orSomebody(d.Installer))
		}
		names = append(names, d.Name+" "+d.Version)
		remove = append(remove, removable(d, site, py, events)...)
	}
	return names, remove, nil
}

// onlyRemove handles an environment where everything is installed: it removes what
// modwsgi installed for former Pythons.
func onlyRemove(ctx context.Context, p *Plan, locked *place.Locked, events event.Sink) (*Report, error) {
	mine := oursOf(p.Former)
	var names []string
	if len(mine) > 0 {
		paths, sites, err := formerPaths(mine, p.Python, events)
		if err != nil {
			return nil, err
		}
		names, err = removeDists(ctx, events, locked, p.Python, namesOf(mine), place.Request{Remove: paths, Beside: sites})
		if err != nil {
			return nil, err
		}
	}
	r := newReport(p.Python)
	r.Removed, r.Nothing = names, len(names) == 0
	return r, nil
}
