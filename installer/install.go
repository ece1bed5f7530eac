package installer

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"modwsgi/installer/place"
	"modwsgi/internal/cachedir"
)

// An install makes the plan, locks the environment, and carries the plan out (job.go).
//
// The plan is made before the environment is locked, so that a run with nothing to do
// neither waits nor writes. It is made again if its footprint shows that another run
// changed the environment in the meantime, or if the recorded host turns out to be
// outdated, which is noticed before anything is compiled (host.go).

// Install makes a plan and carries it out. A failure leaves the environment as it was.
func Install(ctx context.Context, m Means, plan Planner) (*Report, error) {
	rec := &recorder{began: time.Now()}
	m.Events = rec.sink(m.Events)
	r, err := install(ctx, m, plan)
	if r != nil {
		rec.into(r)
	}
	return r, err
}

func install(ctx context.Context, m Means, plan Planner) (*Report, error) {
	if err := m.System.CanBuild("install mod_wsgi"); err != nil {
		return nil, err
	}
	m, err := m.complete(ctx)
	if err != nil {
		return nil, err
	}
	p, err := plan(ctx, m)
	if err != nil {
		return nil, err
	}
	if p.Nothing && !leftovers(p.Site) {
		r := newReport(p.Python)
		r.Nothing = true
		return r, nil
	}
	cache := m.cache()
	if p.builds() { // planning already reported the directory
		cache.Events = nil
	}
	if m.CacheDir, err = cachedir.Find(cache); err != nil {
		return nil, err
	}
	warnOfClosed(p.Python, m.Events)
	warnOfOwner(p.Python, "install", m.Events)
	if err := place.Writable(p.Site, filepath.Join(p.Python.Scripts, "mod_wsgi-express")); err != nil {
		return nil, err
	}
	held, err := hold(ctx, m.Setting, p.Python, p.Former)
	if err != nil {
		return nil, err
	}
	defer held.release()
	for range 3 {
		if footprintOf(p.Python) != p.Footprint { // another run may have changed it
			if p, err = plan(ctx, m); err != nil {
				return nil, err
			}
		}
		if !p.builds() {
			return onlyRemove(ctx, p, held.site, m.Events)
		}
		var r *Report
		if r, err = carryOut(ctx, p, m, held.site); !errors.Is(err, errHostChanged) {
			return r, err
		}
		m.Events.Note(err.Error() + ": making the plan again")
		if p, err = plan(ctx, m); err != nil {
			return nil, err
		}
	}
	return nil, err
}
