//go:build linux

package express

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/express/config"
	"modwsgi/express/sources"
)

// project is a directory with a fake server and files.
func project(t *testing.T, files map[string]string) (exe, dir string) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	exe = fakeServer(t, dir, nil)
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return exe, dir
}

func account() string {
	if words := testUser(); len(words) > 0 {
		return "user = \"" + words[1] + "\"\n"
	}
	return ""
}

func TestConfigurationIsShown(t *testing.T) {
	exe, dir := project(t, map[string]string{
		"pyproject.toml": "[tool.mod_wsgi-express]\napplication = \"app.py\"\nport = 8001\nthreads = 3\nsetenv = { A = \"1\", B = { file = \"key\" } }\n" + account(),
		"key":            "s3cret\n",
	})
	env := []string{"LANG=C.UTF-8", "TMPDIR=" + dir, "MODWSGI_EXPRESS_HOST=127.0.0.1", "MODWSGI_EXPRESS_THREADS=4"}
	code, stdout, stderr := runProgram(t, &Invocation{Executable: exe, Dir: dir, Env: env}, "show-config", "--processes", "2")
	if code != 0 {
		t.Fatal(stderr)
	}
	for _, want := range []string{
		"# Options, and where each comes from:\n",
		"#   --port=8001  (pyproject.toml:3)\n", "#   --host=127.0.0.1  (MODWSGI_EXPRESS_HOST)\n", "#   --processes=2  (command line)\n",
		"#   --threads=4  (MODWSGI_EXPRESS_THREADS)\n", "#   --entry-point=" + dir + "/app.py  (pyproject.toml:2)\n",
		"# --setenv (pyproject.toml:5)\n", `SetEnv "A" "1"`, `SetEnv "B" "` + sources.Unread + `"`,
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is missing in\n%s", want, stdout)
		}
	}
	if strings.Contains(stdout+stderr, "s3cret") {
		t.Error("the secret is shown")
	}
	// Without other sources, nothing is different.
	code, stdout, stderr = runProgram(t, &Invocation{Executable: exe, Dir: dir, Env: env[:2]}, append([]string{"show-config", "app.py", "--config", "none"}, testUser()...)...)
	if code != 0 || strings.Contains(stdout, "where each comes from") || strings.Contains(stdout, "pyproject") {
		t.Errorf("%s%s", stdout, stderr)
	}
}

// TestMistakesNameTheirSource: options that contradict each other stand in several places.
func TestMistakesNameTheirSource(t *testing.T) {
	exe, dir := project(t, map[string]string{sources.OwnFile: "https-only = true\n" + account()})
	code, _, stderr := runProgram(t, &Invocation{Executable: exe, Dir: dir, Env: []string{"LANG=C.UTF-8", "TMPDIR=" + dir}}, "show-config", "app.py")
	if code != 2 || !strings.Contains(stderr, "mod_wsgi-express: note: --https-only comes from mod_wsgi-express.toml:1\n") {
		t.Errorf("%d\n%s", code, stderr)
	}
}

// TestUnitOfAConfiguration: the service reads the same file, so the unit repeats neither its
// options nor its secrets.
func TestUnitOfAConfiguration(t *testing.T) {
	exe, dir := project(t, map[string]string{
		sources.OwnFile: "application = \"app.py\"\nport = 8001\nthreads = 3\n[setenv]\nA = { credential = \"token\" }\nB = { file = \"missing\" }\n",
	})
	env := []string{"LANG=C.UTF-8", "TMPDIR=" + dir, "MODWSGI_EXPRESS_HOST=127.0.0.1"}
	code, stdout, stderr := runProgram(t, &Invocation{Executable: exe, Dir: dir, Env: env}, "systemd-unit", "--user", runAs(), "--processes", "2")
	if code != 0 {
		t.Fatal(stderr)
	}
	for _, want := range []string{"\"--config=" + dir + "/mod_wsgi-express.toml\"", "\nLoadCredential=token\n", "\"--processes=2\"", "\"--host=127.0.0.1\"", "127.0.0.1-8001"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is missing in\n%s", want, stdout)
		}
	}
	for _, never := range []string{"--threads", "--port=", "--setenv", sources.Unread, "--entry-point"} {
		if strings.Contains(stdout, never) {
			t.Errorf("%q is in\n%s", never, stdout)
		}
	}
	if stderr != "" {
		t.Error(stderr)
	}
}

func runAs() string {
	if words := testUser(); len(words) > 0 {
		return words[1]
	}
	return "nobody"
}

func TestConfigSchema(t *testing.T) {
	code, stdout, stderr := runProgram(t, &Invocation{Dir: t.TempDir()}, "config-schema")
	var s struct {
		Properties map[string]map[string]any
	}
	if err := json.Unmarshal([]byte(stdout), &s); err != nil || code != 0 {
		t.Fatalf("%v\n%s", err, stderr)
	}
	for _, o := range config.Table().Options() {
		_, there := s.Properties[o.Name]
		hidden := o.Hidden || o.Gone != "" || o == config.Help.Row() || o == config.Config.Row()
		if there == hidden || there && s.Properties[o.Name]["description"] != o.Help {
			t.Errorf("%s: %v", o.Name, s.Properties[o.Name])
		}
	}
	if len(s.Properties["application"]) == 0 || s.Properties["port"]["type"] != "integer" || s.Properties["log-to-terminal"]["type"] != "boolean" {
		t.Errorf("%v", s.Properties["port"])
	}
}
