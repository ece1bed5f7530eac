package installer

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"modwsgi/installer/place"
	"modwsgi/internal/cachedir"
)

// An install: make the plan, lock the environment, and carry the plan out (job.go).
//
// The plan is made before the environment is locked, so that a run with nothing to do
// waits for nobody and writes nothing. So it is made again where its footprint shows that
// another run came in between. It is also made again where what was remembered of the
// host turns out to be wrong, which is found before anything is compiled (host.go).

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
	m, err := m.complete()
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
	if p.builds() { // the plan has told which directory it is
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
		if footprintOf(p.Python) != p.Footprint { // what another run did meanwhile counts
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
		m.Events.Note(err.Error() + ": the plan is made again")
		if p, err = plan(ctx, m); err != nil {
			return nil, err
		}
	}
	return nil, err
}
