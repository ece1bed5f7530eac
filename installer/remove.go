package installer

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"modwsgi/detect"
	"modwsgi/installer/place"
	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/pydist"
	"modwsgi/internal/run"
)

// environment finds the Python of a request that only looks or removes.
func environment(ctx context.Context, q *Request) (*detect.Python, error) {
	if err := q.normalise(); err != nil {
		return nil, err
	}
	return detect.FindPython(ctx, q.Runner, detect.Request{Python: q.Python, HTTPD: "auto", Env: q.Env, Dir: q.Dir})
}

// lastingEnvironment is environment also where the Python does not start any
// more, because its base was removed or replaced.
func lastingEnvironment(ctx context.Context, q *Request) (*detect.Python, error) {
	py, err := environment(ctx, q)
	if err == nil || ctx.Err() != nil {
		return py, err
	}
	if broken := brokenEnvironment(q); broken != nil {
		q.Events.Warn("its Python cannot be asked, only its files are looked at: " + err.Error())
		return broken, nil
	}
	return nil, err
}

// List says what of ours, or in our place, is in an environment.
func List(ctx context.Context, q Request) (*detect.Python, []Installed, error) {
	py, err := lastingEnvironment(ctx, &q)
	if err != nil {
		return nil, nil, err
	}
	list, err := listSite(py.Platlib)
	if err != nil {
		return nil, nil, err
	}
	return py, append(list, listEarlier(findEarlier(py, q.Events), py)...), nil
}

func listSite(site string) ([]Installed, error) {
	s, err := readState(site)
	if err != nil {
		return nil, err
	}
	var out []Installed
	if s.module != nil {
		i := Installed{Name: s.module.Name, Version: s.module.Version, Location: filepath.Join(site, "mod_wsgi"), By: s.module.Installer}
		if s.receipt != nil {
			i.HTTPD, i.Server = s.receipt.HTTPD.Version, s.receipt.HTTPD.Executable
		}
		out = append(out, i)
	}
	if s.httpd != nil {
		i := Installed{Name: s.httpd.Name, Version: s.httpd.Version, Location: httpdTree(site), By: s.httpd.Installer}
		if s.tree != nil {
			i.Features = s.tree.Features
		}
		out = append(out, i)
	}
	for i := range out {
		d := s.module
		if out[i].Name != d.Name {
			d = s.httpd
		}
		for _, problem := range d.Check() {
			out[i].Problems = append(out[i].Problems, problem.String())
		}
	}
	return out, nil
}

// Uninstall removes what we placed and nothing else. It returns the names of
// what was removed; none is no error.
func Uninstall(ctx context.Context, q Request) ([]string, error) {
	py, err := lastingEnvironment(ctx, &q)
	if err != nil {
		return nil, err
	}
	site := py.Platlib
	warnOfOwner(py, "uninstall", q.Events)
	if err := place.Writable(site, filepath.Join(py.Scripts, "mod_wsgi-express")); err != nil {
		return nil, err
	}
	locked, err := lockSite(ctx, &q, site)
	if err != nil {
		return nil, err
	}
	defer func() { _ = locked.Unlock() }()
	believed, err := recoverPrefix(q, locked, py)
	if err != nil {
		return nil, err
	}
	names, remove, err := installedDists(site, py, q.Events)
	if err != nil {
		return nil, err
	}
	before := findEarlier(py, q.Events)
	unlock, err := lockEarlier(ctx, &q, before, py, believed)
	if err != nil {
		return nil, err
	}
	defer unlock()
	mine := ourEarlier(before)
	paths, sites, err := earlierPaths(mine, py, q.Events)
	if err != nil {
		return nil, err
	}
	for _, e := range before {
		if !ours(e.Installed) {
			q.Events.Note(fmt.Sprintf("%s, which %s installed, is left in %s", e, orSomebody(e.Installer), e.site))
		}
	}
	names = append(names, namesOf(mine)...)
	if len(names) == 0 {
		return nil, nil
	}
	return removeDists(ctx, &q, locked, py, names, place.Request{Remove: append(remove, paths...), Beside: sites})
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

// removeDists is the change that only removes.
func removeDists(ctx context.Context, q *Request, locked *place.Locked, py *detect.Python, names []string, r place.Request) ([]string, error) {
	r.Roots, r.Label = roots(py), strings.Join(names, ", ")
	err := q.Events.Step("remove "+strings.Join(names, ", "), func() error {
		t, err := locked.Apply(ctx, r)
		if err != nil {
			return err
		}
		return t.Commit()
	})
	return names, err
}
