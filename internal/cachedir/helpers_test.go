package cachedir_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"modwsgi/internal/buildcache"
	"modwsgi/internal/buildstore"
	"modwsgi/internal/cachedir"
	"modwsgi/internal/event"
	"modwsgi/internal/fault"
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

// write creates files below dir; a name that ends in a slash is a directory.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// wantFault checks class and words of an error, and that it has a hint.
func wantFault(t *testing.T, err error, class fault.Class, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if fault.ClassOf(err) != class {
		t.Errorf("class %d, want %d: %v", fault.ClassOf(err), class, err)
	}
	text := err.Error() + "\n" + fault.HintOf(err)
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("lacks %q: %s", w, text)
		}
	}
	if fault.HintOf(err) == "" {
		t.Errorf("no hint: %v", err)
	}
}

// heard collects events.
type heard struct {
	mu    sync.Mutex
	texts []string
}

func (h *heard) sink(e event.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.texts = append(h.texts, string(e.Kind)+" "+e.Text)
}

func (h *heard) has(word string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(h.texts, func(s string) bool { return strings.Contains(s, word) })
}

func tree(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		out = append(out, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
