//go:build acceptance && linux

package acceptance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestProjectFile: one pyproject.toml says what is installed and what is served, so that
// both commands need no option. The directory is that of an ordinary project.
func TestProjectFile(t *testing.T) {
	dir := workdir(t, "a project")
	project := filepath.Join(dir, "pyproject.toml")
	text := `[project]
name = "shop"
version = "1"

[tool.modwsgi]
httpd = "bundled"
lock-file = "locks/modwsgi.lock"
offline = true

[tool.mod_wsgi-express]
application = "src/shop.py"
host = "127.0.0.1"
port = 8322
`
	if err := os.MkdirAll(filepath.Join(dir, "locks"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "src"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{project: text, filepath.Join(dir, "src/shop.py"): hello, filepath.Join(dir, "locks/modwsgi.lock"): contents(t, filepath.Join(filepath.Dir(setting(t, "MODWSGI_TEST_CACHE")), "modwsgi.lock"))} {
		if err := os.WriteFile(name, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	env := venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(dir, ".venv"), "--without-pip")
	environ := bareEnv("MODWSGI_CACHE_DIR=" + setting(t, "MODWSGI_TEST_CACHE"))
	r := must(t, dir, environ, program(t, "modwsgi"), "install")
	for _, want := range []string{"settings from pyproject.toml: httpd (line 6), lock-file (line 7), offline (line 8)", "Verified", filepath.Join(dir, "locks/modwsgi.lock")} {
		if !strings.Contains(r.stdout+r.stderr, want) {
			t.Errorf("%q is missing in\n%v", want, r)
		}
	}
	show := []string{filepath.Join(env, "bin/mod_wsgi-express"), "show-config"}
	if os.Geteuid() == 0 {
		show = append(show, "--user", "nobody", "--group", "nogroup")
	}
	if r := must(t, dir, bareEnv(), show...); !strings.Contains(r.stdout, "# --port (pyproject.toml:13)") || !strings.Contains(r.stdout, "Listen \"127.0.0.1:8322\"") {
		t.Error(r)
	}
	// A mistake in either table is reported before anything happens.
	wrong := strings.NewReplacer("lock-file", "lock_file", "port =", "prot =").Replace(text)
	if err := os.WriteFile(project, []byte(wrong), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := command(t, dir, environ, program(t, "modwsgi"), "install"); r.code != 2 || !strings.Contains(r.stderr, "pyproject.toml:7: unknown key lock_file: write lock-file") {
		t.Error(r)
	}
	if r := command(t, dir, bareEnv(), show...); r.code != 2 || !strings.Contains(r.stderr, "pyproject.toml:13: unknown key prot: did you mean port?") {
		t.Error(r)
	}
}
