package produce

import (
	"context"
	"time"

	"modwsgi/installer"
	"modwsgi/internal/buildcache"
	"modwsgi/internal/buildstore"
	"modwsgi/internal/cachedir"
	"modwsgi/internal/event"
	"modwsgi/modulebuild/windows"
)

// windowsStore is the build cache for modules for Windows, local and shared.
type windowsStore struct {
	store  *buildstore.Store
	part   buildcache.Part // the archive of mod_wsgi
	events event.Sink
}

// moduleStore opens the build cache of a run.
func moduleStore(q installer.Request, space *cachedir.Workspace, sources *windows.Sources, wait time.Duration) (windows.Store, error) {
	limit, err := cachedir.Limit(q.Env)
	if err != nil {
		return nil, err
	}
	shared, err := buildstore.OpenShared(q.SharedOptions, q.Env, q.Dir, q.Runner, orNone(wait))
	if err != nil {
		return nil, err
	}
	s := &windowsStore{
		store: buildstore.New(buildstore.Options{
			Cache: space.Cache, Work: space.Dir, Shared: shared, Offline: q.Offline, Limit: limit, LockLimit: q.BuildLimit(), Events: q.Events,
		}),
		part:   buildcache.Part{Name: "mod_wsgi", Version: sources.ModWSGI.Version, SHA256: sources.ModWSGI.SHA256},
		events: q.Events,
	}
	for _, f := range sources.Files() {
		if f.Archive.SHA256 == s.part.SHA256 {
			s.part.Trust, s.part.Signer = string(f.Trust), f.Signer
		}
	}
	return s, nil
}

func (s *windowsStore) want(key, inputs string) {
	s.store.Want(key, inputs, map[string]string{s.part.Name: s.part.SHA256})
}

// Restore implements [windows.Store].
func (s *windowsStore) Restore(ctx context.Context, key, inputs, dest string) (bool, error) {
	s.want(key, inputs)
	found, err := s.store.Restore(ctx, key, dest)
	if found == nil || err != nil {
		return false, err
	}
	s.events.Note("mod_wsgi " + s.part.Version + " was built before for this Python and httpd on Windows: restored from " + s.store.From(key))
	return true, nil
}

// Keep implements [windows.Store].
func (s *windowsStore) Keep(ctx context.Context, key, inputs, tree string) {
	s.want(key, inputs)
	s.store.Keep(ctx, key, tree, buildcache.About{
		Kind: "module", Name: "mod_wsgi " + s.part.Version + " for Windows", Details: map[string]string{"target": windows.Target},
		Inputs: inputs, Parts: []buildcache.Part{s.part},
	})
}

// Alone implements [windows.Store].
func (s *windowsStore) Alone(ctx context.Context, key string) (release func(), made bool, err error) {
	return s.store.Alone(ctx, key, "module for Windows")
}
