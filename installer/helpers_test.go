package installer

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/recipe"
	"modwsgi/internal/run"
)

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

// python creates a virtual environment.
func python(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("-short starts no Python")
	}
	exe, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("needs python3")
	}
	dir := filepath.Join(t.TempDir(), "env")
	if out, err := exec.Command(exe, "-m", "venv", "--without-pip", dir).CombinedOutput(); err != nil {
		t.Skipf("make a virtual environment: %v\n%s", err, out)
	}
	return dir
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

func request(t *testing.T) Request {
	return Request{Means: Means{
		Setting:  Setting{Runner: &run.Runner{}, Dir: t.TempDir(), Env: []string{"PATH=" + os.Getenv("PATH")}},
		CacheDir: filepath.Join(t.TempDir(), "cache"), Offline: true,
	}}
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

func versions(all []Choice) string {
	var out []string
	for _, c := range all {
		out = append(out, c.Version)
	}
	return strings.Join(out, " ")
}

// locked returns a lock with the catalogue's archive of a version.
func locked(t *testing.T, component, version string) *recipe.Lock {
	t.Helper()
	a, ok := recipe.Catalogue().Find(component, version)
	if !ok {
		t.Fatalf("the catalogue has no %s %s", component, version)
	}
	l := &recipe.Lock{}
	l.Put(a, recipe.Pinned, "")
	return l
}
