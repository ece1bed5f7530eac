//go:build acceptance

package acceptance

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestEnvironmentIsNeverActivated is the main use case: nothing on PATH, no
// VIRTUAL_ENV, or another environment activated.
func TestEnvironmentIsNeverActivated(t *testing.T) {
	dir := workdir(t, "plain")
	env := venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(dir, ".venv"))
	other := venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(dir, "other"), "--without-pip")
	before := snapshot(t, other)
	r := command(t, dir, bareEnv("VIRTUAL_ENV="+other), installArgs(t, "--python", ".venv/bin/pip")...)
	if r.code != 0 {
		t.Fatal(r)
	}
	for _, want := range []string{"Installed into " + env, "Verified: Apache/", "Next: " + env + "/bin/mod_wsgi-express"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("standard output lacks %q:\n%s", want, r.stdout)
		}
	}
	if d := differences(before, snapshot(t, other)); len(d) > 0 {
		t.Errorf("the environment that was only activated was changed: %v", d)
	}
	if a := serve(t, env); a.Prefix != env || a.Path != "/some/path" || a.Express != "true" {
		t.Errorf("answer %+v", a)
	}
	again := install(t, dir, "--python", ".venv")
	if again.code != 0 || !strings.Contains(again.stdout, "Nothing to do") {
		t.Errorf("second install: %v", again)
	}
}

// TestPipSeesNormalDistributions installs, inspects with pip, and lets pip uninstall
// it.
func TestPipSeesNormalDistributions(t *testing.T) {
	dir := workdir(t, "pip")
	env := venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(dir, "env"))
	before := snapshot(t, env)
	if r := install(t, dir, "--python", env); r.code != 0 {
		t.Fatal(r)
	}
	pip := filepath.Join(env, "bin/pip")
	list := must(t, dir, bareEnv(), pip, "list", "--format", "json")
	var dists []struct{ Name, Version string }
	if err := json.Unmarshal([]byte(list.stdout), &dists); err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, d := range dists {
		found[strings.ReplaceAll(strings.ToLower(d.Name), "_", "-")] = d.Version
	}
	if found["mod-wsgi"] == "" || found["mod-wsgi-httpd"] == "" {
		t.Errorf("pip list: %v", found)
	}
	show := must(t, dir, bareEnv(), pip, "show", "-f", "mod_wsgi-httpd")
	for _, want := range []string{"mod_wsgi_packages/httpd/bin/httpd", "bin/mod_wsgi-apxs", "mod_wsgi_packages/httpd/modules/mod_rewrite.so"} {
		if !strings.Contains(show.stdout, want) {
			t.Errorf("pip show -f lacks %s", want)
		}
	}
	must(t, dir, bareEnv(), pip, "check")
	serve(t, env)
	must(t, dir, bareEnv(), pip, "uninstall", "-y", "mod_wsgi", "mod_wsgi-httpd")
	if d := differences(before, snapshot(t, env)); len(d) > 0 {
		t.Errorf("pip uninstall left: %s", strings.Join(d, "\n"))
	}
}

// TestUninstallLeavesNothing is the same with modwsgi uninstall, after serving.
func TestUninstallLeavesNothing(t *testing.T) {
	dir := workdir(t, "uninstall")
	env := venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(dir, "env"), "--without-pip")
	before := snapshot(t, env)
	if r := install(t, dir, "--python", env); r.code != 0 {
		t.Fatal(r)
	}
	serve(t, env)
	r := must(t, dir, bareEnv(), program(t, "modwsgi"), "uninstall", "--python", env)
	if !strings.Contains(r.stdout, "Removed mod_wsgi ") {
		t.Error(r)
	}
	if d := differences(before, snapshot(t, env)); len(d) > 0 {
		t.Errorf("uninstall left: %s", strings.Join(d, "\n"))
	}
	if r := must(t, dir, bareEnv(), program(t, "modwsgi"), "uninstall", "--python", env); !strings.Contains(r.stdout, "Nothing to remove") {
		t.Error(r)
	}
}

// TestOddPathsAndSymlinks has a blank and a quote in every path, calls the interpreter
// through a symbolic link, and moves the environment.
func TestOddPathsAndSymlinks(t *testing.T) {
	dir := workdir(t, "a 'quoted' dir")
	env := venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(dir, "my env"), "--without-pip")
	link := filepath.Join(dir, "python link")
	if err := os.Symlink(filepath.Join(env, "bin/python"), link); err != nil {
		t.Fatal(err)
	}
	if r := install(t, dir, "--python", link); r.code != 0 {
		t.Fatal(r)
	}
	if a := serve(t, env); a.Prefix != env {
		t.Errorf("answer %+v", a)
	}
	moved := filepath.Join(dir, "moved it's")
	if err := os.Rename(env, moved); err != nil {
		t.Fatal(err)
	}
	if a := serve(t, moved); a.Prefix != moved {
		t.Errorf("after the move: %+v", a)
	}
	must(t, dir, bareEnv(), program(t, "modwsgi"), "verify", "--python", moved)
	copied := filepath.Join(dir, "copy")
	must(t, dir, bareEnv(), "cp", "-a", moved, copied)
	if a := serve(t, copied); a.Prefix != copied {
		t.Errorf("the copy: %+v", a)
	}
	if r := install(t, dir, "--python", moved); r.code != 0 || !strings.Contains(r.stdout, "Nothing to do") {
		t.Errorf("install after the move: %v", r)
	}
}

// TestEveryPython installs with each Python of the machine that mod_wsgi supports, and
// expects a clear refusal for the others.
func TestEveryPython(t *testing.T) {
	var pythons []string
	for _, pattern := range []string{"/root/.pyenv/versions/*/bin/python3", os.Getenv("HOME") + "/.pyenv/versions/*/bin/python3", "/usr/bin/python3"} {
		found, _ := filepath.Glob(pattern)
		pythons = append(pythons, found...)
	}
	seen := map[string]bool{}
	version := regexp.MustCompile(`^(\d)\.(\d+)\.`)
	for _, python := range pythons {
		v := command(t, "/", bareEnv(), python, "-c", "import platform; print(platform.python_version())")
		m := version.FindStringSubmatch(v.stdout)
		if seen[python] || m == nil {
			continue
		}
		seen[python] = true
		t.Run(strings.TrimSpace(v.stdout)+strings.ReplaceAll(filepath.Dir(filepath.Dir(python)), "/", "_"), func(t *testing.T) {
			dir := workdir(t, "every")
			env := venv(t, python, filepath.Join(dir, "env"), "--without-pip")
			before := snapshot(t, env)
			r := install(t, dir, "--python", env)
			if len(m[2]) == 1 && m[2] < "8" {
				if r.code == 0 || !strings.Contains(r.stderr, "mod_wsgi") || len(differences(before, snapshot(t, env))) > 0 {
					t.Errorf("an old Python: %v", r)
				}
				return
			}
			if r.code != 0 {
				t.Fatal(r)
			}
			if os.Geteuid() == 0 && strings.HasPrefix(python, "/root/") {
				return // the serving account cannot read it: TestPythonThatTheUserCannotRead
			}
			if a := serve(t, env); a.Prefix != env || a.Version != m[1]+"."+m[2] {
				t.Errorf("answer %+v", a)
			}
		})
	}
	if len(seen) == 0 {
		t.Fatal("no Python was found")
	}
}

// TestConcurrentInstalls: the second install waits for the first and then has
// nothing to do.
func TestConcurrentInstalls(t *testing.T) {
	dir := workdir(t, "two")
	env := venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(dir, "env"), "--without-pip")
	var wg sync.WaitGroup
	results := make([]result, 3)
	for i := range results {
		wg.Go(func() { results[i] = install(t, dir, "--python", env) })
	}
	wg.Wait()
	installed, nothing := 0, 0
	for _, r := range results {
		if r.code != 0 {
			t.Errorf("%v", r)
		}
		installed += strings.Count(r.stdout, "Installed into ")
		nothing += strings.Count(r.stdout, "Nothing to do")
	}
	if installed != 1 || nothing != 2 {
		t.Errorf("%d installed, %d had nothing to do", installed, nothing)
	}
	serve(t, env)
}

// TestKilledAnywhere kills an install in each of its phases. The environment is then
// unchanged or complete, and running the same command again succeeds.
func TestKilledAnywhere(t *testing.T) {
	dir := workdir(t, "killed")
	env := venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(dir, "env"))
	before := snapshot(t, env)
	// A private cache, so that something has to be compiled.
	args := []string{program(t, "modwsgi"), "install", "--httpd", "bundled", "--python", env, "--cache-dir", filepath.Join(dir, "cache")}
	for _, d := range sources(t) {
		args = append(args, "--source-dir", d)
	}
	unchanged := func(step string) {
		t.Helper()
		// While the stage is verified, the files are copied to a hidden directory next
		// to their destination. The next run removes it and the lock.
		underWay := func(line string) bool {
			return strings.Contains(line, "/.modwsgi-") || strings.Contains(line, "/.modwsgi.lock: new ")
		}
		if d := slices.DeleteFunc(differences(before, snapshot(t, env)), underWay); len(d) > 0 {
			t.Errorf("killed in %q: the environment has changed: %s", step, strings.Join(d, "\n"))
		}
	}
	for _, step := range []struct {
		name  string
		after time.Duration
	}{
		{"fetch", 0},
		{"unpack httpd", 200 * time.Millisecond},
		{"configure apr", 2 * time.Second},
		{"compile pcre2", time.Second},
		// From here on the httpd is in the build cache, built by earlier tests, which
		// saves minutes.
		{"compile mod_wsgi", 500 * time.Millisecond},
		{"verify stage", 50 * time.Millisecond},
	} {
		if !untilStep(t, dir, step.name, step.after, args...) {
			t.Fatalf("the step %q did not start", step.name)
		}
		unchanged(step.name)
		if step.name == "compile pcre2" {
			must(t, dir, bareEnv(), "cp", "-a", filepath.Join(setting(t, "MODWSGI_TEST_CACHE"), "builds"), filepath.Join(dir, "cache/builds"))
			must(t, dir, bareEnv(), program(t, "modwsgi"), "cache", "clear", "--kind", "module", "--cache-dir", filepath.Join(dir, "cache"))
		}
	}
	for _, after := range []time.Duration{0, 10, 25, 45, 70, 120} {
		killInPlace(t, dir, env, before, args, after*time.Millisecond)
	}
	must(t, dir, bareEnv(), append(args, "--reinstall")...)
	serve(t, env)
	if left, _ := filepath.Glob(filepath.Join(env, "lib/python3*/site-packages/.modwsgi*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if left, _ := filepath.Glob(filepath.Join(env, "bin/.modwsgi-*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "cache/work/*")); len(left) > 0 {
		t.Errorf("left in the cache: %v", left)
	}
}

// killInPlace kills while the environment is being changed.
func killInPlace(t *testing.T, dir, env string, before map[string]string, args []string, after time.Duration) {
	t.Helper()
	modwsgi := program(t, "modwsgi")
	must(t, dir, bareEnv(), modwsgi, "uninstall", "--python", env)
	if d := differences(before, snapshot(t, env)); len(d) > 0 {
		t.Fatalf("uninstall left: %v", d)
	}
	if !untilStep(t, dir, "place", after, args...) {
		t.Fatal("the step place did not start")
	}
	// For pip, a distribution is complete or absent.
	must(t, dir, bareEnv(), filepath.Join(env, "bin/pip"), "check")
	list := must(t, dir, bareEnv(), modwsgi, "list", "--python", env)
	if strings.Contains(list.stdout, "missing") || strings.Contains(list.stdout, "changed") {
		t.Errorf("killed %v into place: %s", after, list.stdout)
	}
	r := must(t, dir, bareEnv(), args...)
	if !strings.Contains(r.stdout, "Installed into") && !strings.Contains(r.stdout, "Nothing to do") {
		t.Errorf("killed %v into place: %v", after, r)
	}
	must(t, dir, bareEnv(), modwsgi, "verify", "--python", env)
}

// sources are directories with the archives of the tests' cache.
func sources(t *testing.T) []string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(setting(t, "MODWSGI_TEST_CACHE"), "downloads/archives/sha256/*"))
	if err != nil || len(dirs) < 4 {
		t.Fatalf("no archives in the cache: %v, %v", dirs, err)
	}
	return dirs
}
