package cachedir_test

import (
	"os"
	"testing"

	"modwsgi/internal/buildcache"
	"modwsgi/internal/buildstore"
	"modwsgi/internal/cachedir"
	"modwsgi/internal/event"
)

// request is a cache directory that a run uses.
type request struct {
	CacheDir string
	Env      []string
	Events   event.Sink
	Keep     bool
}

func (q request) options() cachedir.Options {
	return cachedir.Options{Path: q.CacheDir, Env: q.Env, Events: q.Events}
}

func (q *request) findCache() (err error) {
	q.CacheDir, err = cachedir.Find(q.options())
	return err
}

// workspace is the scratch space of a run, with the builds that it may use.
type workspace struct {
	*cachedir.Workspace
	builds *buildstore.Store
}

func newWorkspace(q *request) (*workspace, error) {
	w, err := cachedir.OpenWorkspace(cachedir.WorkOptions{Path: q.CacheDir, Env: q.Env, Keep: q.Keep, Events: q.Events})
	if err != nil {
		return nil, err
	}
	return &workspace{w, buildstore.New(buildstore.Options{Cache: w.Cache, Work: w.Dir, Events: q.Events})}, nil
}

func list(q request) ([]cachedir.Item, error) { return cachedir.List(q.options()) }

func find(q request, id string) (*cachedir.Item, error) { return cachedir.FindItem(q.options(), id) }

func prune(q request, p cachedir.Policy) ([]cachedir.Item, error) {
	return cachedir.Prune(q.options(), p)
}

func verify(t *testing.T, q request, drop bool) (cachedir.Verified, error) {
	return cachedir.Verify(t.Context(), q.options(), drop)
}

func fileExists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// wantAbout makes the builds want what about describes.
func wantAbout(b *buildstore.Store, kind string) (key string, a buildcache.About) {
	key, a = about(kind)
	hashes := map[string]string{}
	for _, p := range a.Parts {
		hashes[p.Name] = p.SHA256
	}
	b.Want(key, a.Inputs, hashes)
	return key, a
}
