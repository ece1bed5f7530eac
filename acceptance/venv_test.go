//go:build acceptance

package acceptance

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// templates are environments with pip, one per Python: ensurepip takes seconds of
// processor time, whereas copying its result does not.
var templates = struct {
	sync.Mutex
	dirs map[string]string
}{dirs: map[string]string{}}

// venv creates an environment of a Python, with pip as python -m venv installs it;
// with arguments exactly what python -m venv makes of these.
func venv(t *testing.T, python, dir string, args ...string) string {
	t.Helper()
	if len(args) > 0 || strings.ContainsAny(dir, " '") { // programs at such a path are started differently
		must(t, "/", bareEnv(), append([]string{python, "-m", "venv", dir}, args...)...)
		return dir
	}
	template := templateOf(t, python)
	must(t, "/", bareEnv(), python, "-m", "venv", "--without-pip", dir)
	must(t, template, bareEnv(), "sh", "-euc", `cp -a lib/python3*/site-packages/. "$1"/lib/python3*/site-packages/`, "sh", dir)
	// The interpreter's own path is in the programs' first lines.
	names, err := filepath.Glob(filepath.Join(template, "bin", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		to := filepath.Join(dir, "bin", filepath.Base(name))
		if _, err := os.Lstat(to); err == nil {
			continue
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, to, strings.ReplaceAll(string(data), template, dir), 0o755)
	}
	return dir
}

func templateOf(t *testing.T, python string) string {
	t.Helper()
	templates.Lock()
	defer templates.Unlock()
	if dir := templates.dirs[python]; dir != "" {
		return dir
	}
	base, err := os.MkdirTemp("/var/tmp", "modwsgi-acceptance-venv-")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(base, "env")
	must(t, "/", bareEnv(), python, "-m", "venv", dir)
	templates.dirs[python] = dir
	return dir
}

// removeTemplates removes what templateOf created.
func removeTemplates() {
	for _, dir := range templates.dirs {
		_ = os.RemoveAll(filepath.Dir(dir))
	}
}

// TestVenvTemplates: an environment copied from a template equals the result
// of python -m venv, file by file.
func TestVenvTemplates(t *testing.T) {
	t.Parallel()
	dir, python := workdir(t, "env"), setting(t, "MODWSGI_TEST_PYTHON")
	ours := venv(t, python, filepath.Join(dir, "ours"))
	theirs := filepath.Join(dir, "real")
	must(t, dir, bareEnv(), python, "-m", "venv", theirs)
	names := func(env string) (all []string) {
		err := filepath.WalkDir(env, func(name string, d fs.DirEntry, err error) error {
			if err == nil && !strings.Contains(name, "__pycache__") {
				all = append(all, strings.TrimPrefix(name, env))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	if one, two := strings.Join(names(ours), "\n"), strings.Join(names(theirs), "\n"); one != two || !strings.Contains(one, "bin/pip") {
		t.Errorf("made of a template:\n%s\nmade by venv:\n%s", one, two)
	}
	if r := must(t, dir, bareEnv(), filepath.Join(ours, "bin/pip"), "--version"); !strings.Contains(r.stdout, ours) {
		t.Error(r)
	}
}
