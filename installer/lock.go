package installer

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/detect"
	"modwsgi/installer/place"
	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/run"
)

// roots are the directories in which an install places and removes files.
func roots(py *detect.Python) []string { return []string{py.Scripts, py.Prefix} }

// lockSite locks an environment, and waits for a run that is changing it.
func lockSite(ctx context.Context, at Setting, site string) (*place.Locked, error) {
	return place.Lock(ctx, site, max(0, at.lockLimit()), func(text string) { at.Events.Note(text) })
}

// recoverPrefix finishes what a killed run left. believed is false if it left something
// alone because another user may have made it.
func recoverPrefix(locked *place.Locked, py *detect.Python, events event.Sink) (believed bool, _ error) {
	outcome, err := locked.Recover(roots(py)...)
	if err != nil {
		return false, err
	}
	for _, left := range outcome.Left {
		events.Warn(left.String())
	}
	for _, label := range outcome.Undone {
		events.Note("an earlier run (" + label + ") was killed while changing the environment: undone")
	}
	for _, label := range outcome.Superseded {
		events.Note("an earlier run (" + label + ") was killed while changing the environment; what was installed since stays")
	}
	for _, label := range outcome.Completed {
		events.Note("an earlier run (" + label + ") was killed just before it finished: completed")
	}
	return len(outcome.Left) == 0, nil
}

// held is an environment that this run has locked.
type held struct {
	site    *place.Locked
	release func()
}

// hold locks an environment, finishes what a killed run left there, and does the same for
// the environment's former Pythons.
func hold(ctx context.Context, at Setting, py *detect.Python, former []Former) (*held, error) {
	unmake, err := makeSite(py.Platlib)
	if err != nil {
		return nil, err
	}
	locked, err := lockSite(ctx, at, py.Platlib)
	if err != nil {
		unmake()
		return nil, err
	}
	unlock := func() { _ = locked.Unlock(); unmake() }
	believed, err := recoverPrefix(locked, py, at.Events)
	if err != nil {
		unlock()
		return nil, err
	}
	others, err := lockFormer(ctx, at, former, py, believed)
	if err != nil {
		unlock()
		return nil, err
	}
	return &held{locked, func() { others(); unlock() }}, nil
}

// makeSite creates a package directory that does not exist yet, as pip does: those in
// /usr/local often do not. Nothing is created where another user can make changes. unmake
// removes what is still empty.
func makeSite(site string) (unmake func(), _ error) {
	var made []string
	above := site
	for !fileExists(above) && above != filepath.Dir(above) {
		made = append(made, above)
		above = filepath.Dir(above)
	}
	unmake = func() {
		for _, dir := range made {
			if os.Remove(dir) != nil { // it is used now
				return
			}
		}
	}
	if len(made) == 0 {
		return unmake, nil
	}
	if err := owned.Check(above); owned.IsUntrusted(err) {
		return nil, fault.New(fault.Place, "create it, or deny others the right to change "+run.Quote(above), "the package directory %s does not exist and is not created there: %w", site, err)
	}
	err := os.MkdirAll(site, 0o755)
	for _, dir := range made { // whatever the umask: httpd's user must reach it
		err = errors.Join(err, openTo(dir, 0o755))
	}
	if err != nil {
		unmake()
		return nil, fault.New(fault.Place, "check the owner and the mode of "+run.Quote(above), "create the package directory %s: %w", site, err)
	}
	return unmake, nil
}

// openTo sets the mode of a directory.
func openTo(dir string, mode fs.FileMode) error {
	d, err := owned.OpenDir(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return d.Root().Chmod(".", mode)
}

// lockFormer locks the environment for the former Pythons too, and finishes what a killed
// run left there. An untrusted journal may refer to hidden directories there, so they are
// not touched then.
func lockFormer(ctx context.Context, at Setting, all []Former, py *detect.Python, believed bool) (unlock func(), err error) {
	var locks []*place.Locked
	unlock = func() {
		for _, l := range locks {
			_ = l.Unlock()
		}
	}
	for _, e := range all {
		if slices.ContainsFunc(locks, func(l *place.Locked) bool { return l.Is(e.Site) }) {
			continue
		}
		l, err := lockSite(ctx, at, e.Site)
		if err != nil {
			unlock()
			return nil, err
		}
		locks = append(locks, l)
		if !believed {
			continue
		}
		if _, err := recoverPrefix(l, py, at.Events); err != nil {
			unlock()
			return nil, err
		}
	}
	return unlock, nil
}

// removeDists makes a change that only removes.
func removeDists(ctx context.Context, events event.Sink, locked *place.Locked, py *detect.Python, names []string, r place.Request) ([]string, error) {
	r.Roots, r.Label = roots(py), strings.Join(names, ", ")
	err := events.Step("remove "+strings.Join(names, ", "), func() error {
		t, err := locked.Apply(ctx, r)
		if err != nil {
			return err
		}
		return t.Commit()
	})
	return names, err
}
