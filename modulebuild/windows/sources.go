package windows

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/fetch"
	"modwsgi/internal/recipe"
)

// Wanted has the versions for a build, as constraints ("", "2.4", "~> 5.0", "5.0.2").
// A component that an SDK replaces is not fetched.
type Wanted struct {
	ModWSGI   string
	HTTPD     string
	HTTPDSDK  bool
	Pythons   []string // minor versions whose headers are needed: those without an SDK
	For       []string // minor versions that the module is for
	Catalogue *recipe.Set
	// Archives lists the archives of a component that may be used, the preferred one first,
	// and reports whether that is the one of a lock file. nil takes the catalogue's.
	Archives func(component, constraint string) ([]recipe.Archive, bool, error)
	Events   event.Sink
}

// Sources are verified archives.
type Sources struct {
	ModWSGI, HTTPD, APR, APRUtil Source
	CPython                      map[string]Source // by minor version

	mu    sync.Mutex
	files map[string]*fetch.File
}

// Files are the archives as they were fetched, by any unique name.
func (s *Sources) Files() map[string]*fetch.File { return s.files }

// Fill adds the archives to a request.
func (s *Sources) Fill(q *Request) {
	q.Module, q.HTTPD, q.APR, q.APRUtil, q.CPython = s.ModWSGI, s.HTTPD, s.APR, s.APRUtil, s.CPython[q.Python]
}

// Fetch gets all archives concurrently. If the newest version that satisfies a
// constraint is unavailable, it uses and reports the next one.
func Fetch(ctx context.Context, f *fetch.Fetcher, w Wanted) (*Sources, error) {
	if err := w.checkPythons(); err != nil {
		return nil, err
	}
	out := &Sources{CPython: map[string]Source{}, files: map[string]*fetch.File{}}
	group, ctx := errgroup.WithContext(ctx)
	get := func(component, constraint string, into func(Source)) {
		group.Go(func() error {
			file, err := w.first(ctx, f, component, constraint)
			if err != nil {
				return err
			}
			out.mu.Lock()
			defer out.mu.Unlock()
			out.files[component+" "+constraint] = file
			into(Source{Version: file.Archive.Version, Path: file.Path, SHA256: file.Archive.SHA256})
			return nil
		})
	}
	get("mod_wsgi", w.ModWSGI, func(s Source) { out.ModWSGI = s })
	if !w.HTTPDSDK {
		get("httpd", anyPatch(w.HTTPD), func(s Source) { out.HTTPD = s })
		get("apr", "", func(s Source) { out.APR = s })
		get("apr-util", "", func(s Source) { out.APRUtil = s })
	}
	for _, minor := range w.Pythons {
		get("cpython", "~> "+minor+".0", func(s Source) { out.CPython[minor] = s })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return out, nil
}

// checkPythons reports all Pythons without pinned headers at once.
func (w *Wanted) checkPythons() error {
	var unknown []string
	for _, minor := range w.Pythons {
		if !minorVersion.MatchString(minor) {
			return fault.New(fault.Usage, "name a minor version, as in --python 3.11", "%q is not a version of Python", minor)
		}
		all, err := w.Catalogue.Match("cpython", "~> "+minor+".0")
		if err != nil {
			return err
		}
		if len(all) == 0 {
			unknown = append(unknown, minor)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	return fault.New(fault.Usage, "name one for each with --python-sdk: a Python installation of that version (any system's: only headers are taken), or its NuGet package",
		"no pinned source of the headers of Python %s", strings.Join(unknown, ", "))
}

// anyPatch makes "2.4" match any 2.4.
func anyPatch(version string) string {
	if version == "2.4" {
		return "~> 2.4.0"
	}
	return version
}

// candidates lists the archives of a component that may be used, the preferred one first.
func (w *Wanted) candidates(component, constraint string) (all []recipe.Archive, err error) {
	newest, err := w.Catalogue.Match(component, constraint)
	if err != nil {
		return nil, err
	}
	all, locked := newest, false
	if w.Archives != nil {
		if all, locked, err = w.Archives(component, constraint); err != nil {
			return nil, err
		}
	}
	var refused []string
	all = slices.DeleteFunc(slices.Clone(all), func(a recipe.Archive) bool {
		for _, minor := range w.For {
			if ok, err := a.Admits("python", minor); component == "mod_wsgi" && err == nil && !ok {
				refused = append(refused, fmt.Sprintf("%s needs Python %s, and not all of %s are", a.Version, a.Requires["python"], strings.Join(w.For, ", ")))
				return true
			}
		}
		return false
	})
	switch {
	case len(refused) > 0 && len(all) == 0:
		return nil, fault.New(fault.Usage, "build for the others in another run, or name another version with --mod-wsgi-version", "no version of mod_wsgi can be used: %s", strings.Join(refused, "; "))
	case len(all) == 0:
		return nil, unknown(component, constraint)
	case len(refused) > 0:
		w.Events.Note(fmt.Sprintf("mod_wsgi %s is used: %s", all[0].Version, strings.Join(refused, "; ")))
	case locked && len(newest) > 0 && newest[0].Version != all[0].Version:
		w.Events.Note(fmt.Sprintf("%s %s is used as locked; the newest known is %s", component, all[0].Version, newest[0].Version))
	}
	return all, nil
}

func (w *Wanted) first(ctx context.Context, f *fetch.Fetcher, component, constraint string) (*fetch.File, error) {
	all, err := w.candidates(component, constraint)
	if err != nil {
		return nil, err
	}
	var missing []error
	var first *fetch.Unavailable
	for _, a := range all {
		file, err := f.Fetch(ctx, a)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		var n *fetch.Unavailable
		if errors.As(err, &n) {
			if first == nil {
				first = n
			}
			missing = append(missing, err)
			continue
		}
		if err != nil {
			return nil, err
		}
		if first != nil {
			w.Events.Warn(fmt.Sprintf("%s %s is used instead of %s: %s", component, a.Version, first.Archive.Version, first.Summary()))
		}
		return file, nil
	}
	return nil, fault.Wrap(fault.Source, fault.HintOf(missing[0]), errors.Join(missing...))
}

// unknown is the error for a version that is not in the catalogue.
func unknown(component, constraint string) error {
	return fault.New(fault.Usage, "modwsgi version lists the known versions", "no known version of %s is %q", component, constraint)
}
