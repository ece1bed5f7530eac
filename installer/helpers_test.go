package installer

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/recipe"
	"modwsgi/internal/run"
)

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

func request(t *testing.T) Request {
	return Request{Means: Means{
		Setting:  Setting{Runner: &run.Runner{}, Dir: t.TempDir(), Env: []string{"PATH=" + os.Getenv("PATH")}},
		CacheDir: filepath.Join(t.TempDir(), "cache"), Offline: true,
	}}
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
