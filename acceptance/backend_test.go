//go:build acceptance

package acceptance

import (
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"modwsgi/internal/testkit"
)

// packageIndex serves files as a package index does (PEP 503), and counts downloads.
type packageIndex struct {
	*httptest.Server
	taken atomic.Int64
}

func newIndex(t *testing.T, files ...string) *packageIndex {
	t.Helper()
	byProject := map[string][]string{}
	for _, file := range files {
		name, _, _ := strings.Cut(filepath.Base(file), "-")
		project := strings.ReplaceAll(strings.ToLower(name), "_", "-")
		byProject[project] = append(byProject[project], file)
	}
	index := &packageIndex{}
	index.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		project, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/simple/"), "/")
		if name == "" && byProject[project] != nil {
			w.Header().Set("Content-Type", "text/html")
			for _, file := range byProject[project] {
				fmt.Fprintf(w, "<a href=\"%s\">%s</a>\n", strings.ReplaceAll(html.EscapeString(filepath.Base(file)), "+", "%2B"), html.EscapeString(filepath.Base(file)))
			}
			return
		}
		for _, file := range byProject[project] {
			if filepath.Base(file) == name {
				index.taken.Add(1)
				http.ServeFile(w, r, file)
				return
			}
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(index.Close)
	return index
}

// sourceDistribution is made once: if upstream is unreachable, it takes a while to
// find out.
var sourceDistribution = struct {
	sync.Once
	dir string
	err error
}{}

// backend is the setup for tests of pip: an index with the wheels of the tool and the
// source distribution that its program made.
func backend(t *testing.T) (index *packageIndex, sdist string) {
	t.Helper()
	dist, _ := released(t)
	wheels, err := filepath.Glob(filepath.Join(dist, "*.whl"))
	if err != nil || len(wheels) != 6 {
		t.Fatalf("%q %v", wheels, err)
	}
	made := &sourceDistribution
	made.Do(func() {
		if made.dir, made.err = os.MkdirTemp("/var/tmp", "modwsgi-acceptance-sdist-"); made.err != nil {
			return
		}
		must(t, "/", os.Environ(), "sh", "-euc", "tar -xzf \"$1\"/modwsgi_*_linux_amd64.tar.gz -C \"$2\" --strip-components=1", "sh", dist, made.dir)
		tools, _ := filepath.Glob(filepath.Join(dist, "modwsgi-*-manylinux*_x86_64.whl"))
		if len(tools) != 1 {
			t.Fatalf("%q", tools)
		}
		must(t, made.dir, bareEnv(), filepath.Join(made.dir, "bin/modwsgi"), "package", "sdist", "--tools", tools[0], "--cache-dir", setting(t, "MODWSGI_TEST_CACHE"))
	})
	sdists, err := filepath.Glob(filepath.Join(made.dir, "dist/mod_wsgi-*.tar.gz"))
	if err != nil || made.err != nil || len(sdists) != 1 {
		t.Fatalf("%q %v %v", sdists, err, made.err)
	}
	return newIndex(t, append(wheels, sdists...)...), sdists[0]
}

// pipEnv is the environment of pip: a private home and the tests' build cache.
func pipEnv(t *testing.T, home string, more ...string) []string {
	return append([]string{
		"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + home, "LANG=C.UTF-8", "PIP_DISABLE_PIP_VERSION_CHECK=1",
		"MODWSGI_CACHE_DIR=" + setting(t, "MODWSGI_TEST_CACHE"),
	}, more...)
}

// pythons are this machine's, oldest first, always including the tests' own.
func pythons(t *testing.T, wanted ...string) []string {
	all := []string{setting(t, "MODWSGI_TEST_PYTHON")}
	for _, minor := range wanted {
		found, _ := filepath.Glob("/root/.pyenv/versions/" + minor + ".*/bin/python3")
		if len(found) == 0 {
			t.Logf("LEFT OUT: Python %s not found", minor)
			continue
		}
		all = append(all, found[0])
	}
	return all
}

// TestPipBuildsWithModwsgi: pip install -r requirements.txt, isolated and without an
// activated environment, with the oldest, the newest and Debian's Python. (The others
// take a minute each; TestWheels covers all of them.)
func TestPipBuildsWithModwsgi(t *testing.T) {
	t.Parallel()
	index, _ := backend(t)
	for i, python := range pythons(t, "3.8", "3.13") {
		work := workdir(t, "it's a project")
		env := venv(t, python, filepath.Join(work, "env"))
		home := filepath.Join(work, "home")
		pip := []string{filepath.Join(env, "bin/pip"), "install", "--index-url", index.URL + "/simple/"}
		fresh := snapshot(t, env)
		requirements := filepath.Join(work, "requirements.txt")
		if err := os.WriteFile(requirements, []byte("mod_wsgi\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		r := must(t, work, pipEnv(t, home), append(pip, "-v", "-r", requirements)...)
		for _, want := range []string{"verify stage", "done in", "Successfully installed mod_wsgi-"} {
			if !strings.Contains(r.stdout+r.stderr, want) {
				t.Errorf("%s: pip -v does not say %q: %v", python, want, r)
			}
		}
		must(t, work, pipEnv(t, home), filepath.Join(env, "bin/pip"), "check")
		if i == 0 { // the serving account cannot read root's own Pythons
			a := serve(t, env)
			if a.Prefix != env {
				t.Errorf("served from %s, not %s", a.Prefix, env)
			}
		}
		// After uninstalling, nothing is left.
		must(t, work, pipEnv(t, home), filepath.Join(env, "bin/pip"), "uninstall", "-y", "mod_wsgi")
		if left := differences(fresh, snapshot(t, env)); len(left) > 0 {
			t.Errorf("%s: left after pip uninstall: %q", python, left)
		}
		// The second environment gets the wheel from pip's cache; nothing is built.
		second := venv(t, python, filepath.Join(work, "second"))
		taken := index.taken.Load()
		r = must(t, work, pipEnv(t, home, "MODWSGI_CACHE_DIR=/nonexistent"), filepath.Join(second, "bin/pip"), "install", "-v", "--index-url", index.URL+"/simple/", "mod_wsgi")
		if strings.Contains(r.stdout, "verify stage") || index.taken.Load() > taken+1 {
			t.Errorf("%s: built again: %v", python, r)
		}
		must(t, work, pipEnv(t, home), filepath.Join(second, "bin/python"), "-c", "import os, mod_wsgi; os.stat(os.path.join(os.path.dirname(mod_wsgi.__file__), 'server', 'build.json'))")
	}
}

// TestPipSettings: settings reach the build, and mistakes are reported as errors
// rather than tracebacks. The environment stays as it was.
func TestPipSettings(t *testing.T) {
	t.Parallel()
	index, sdist := backend(t)
	work := workdir(t, "settings")
	env := venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(work, "env"))
	home := filepath.Join(work, "home")
	install := func(more []string, args ...string) result {
		argv := append([]string{filepath.Join(env, "bin/pip"), "install", "--no-cache-dir", "--index-url", index.URL + "/simple/"}, args...)
		return command(t, work, pipEnv(t, home, more...), argv...)
	}
	fresh := snapshot(t, env)
	bare := t.TempDir()
	for what, c := range map[string]struct {
		env  []string
		args []string
		want string
	}{
		"an unknown setting":  {nil, []string{"--config-settings", "htpd=x", "mod_wsgi"}, "unknown setting 'htpd'"},
		"an httpd":            {nil, []string{"--config-settings", "httpd=/none", "mod_wsgi"}, "/none does not exist"},
		"the environment":     {[]string{"MODWSGI_HTTPD=/none"}, []string{"mod_wsgi"}, "/none does not exist"},
		"a switch":            {nil, []string{"--config-settings", "offline=perhaps", "mod_wsgi"}, "must be yes or no"},
		"a relative path":     {nil, []string{"--config-settings", "source-dir=here", "mod_wsgi"}, "not an absolute path"},
		"a feature":           {nil, []string{"--config-settings", "with=teleport", "mod_wsgi"}, "teleport"},
		"no compiler":         {[]string{"PATH=" + bare, "MODWSGI_CACHE_DIR=" + t.TempDir()}, []string{"mod_wsgi"}, "no C compiler was found"},
		"another project":     {nil, []string{otherProject(t, work)}, "builds only source distributions created by modwsgi package sdist"},
		"a damaged archive":   {[]string{"MODWSGI_CACHE_DIR=" + t.TempDir()}, []string{damaged(t, sdist, work)}, "sha256"},
		"an unwritable cache": {[]string{"MODWSGI_CACHE_DIR=/proc/none"}, []string{"mod_wsgi"}, "/proc/none"},
	} {
		r := install(c.env, c.args...)
		text := strings.Join(strings.Fields(r.stdout+r.stderr), " ")
		if r.code == 0 || !strings.Contains(strings.ToLower(text), strings.ToLower(c.want)) || !strings.Contains(text, "modwsgi: error: ") {
			t.Errorf("%s: %v", what, r)
		}
		if strings.Contains(text, "Traceback") {
			t.Errorf("%s shows a traceback: %v", what, r)
		}
		if changed := differences(fresh, snapshot(t, env)); len(changed) > 0 {
			t.Fatalf("%s changed the environment: %q", what, changed)
		}
	}
	if r := install([]string{"MODWSGI_HTTPD=/none"}, "--config-settings", "httpd=bundled", "mod_wsgi"); r.code != 0 {
		t.Errorf("a setting is stronger than the environment: %v", r)
	}
}

// otherProject is another project that names modwsgi.build as its backend.
func otherProject(t *testing.T, work string) string {
	t.Helper()
	dir := filepath.Join(work, "other")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "pyproject.toml"), []byte("[build-system]\nrequires = [\"modwsgi\"]\nbuild-backend = \"modwsgi.build\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// damaged is the source distribution, unpacked, with a modified archive.
func damaged(t *testing.T, sdist, work string) string {
	t.Helper()
	dir := filepath.Join(work, "damaged")
	must(t, work, os.Environ(), "sh", "-euc", `mkdir "$2"; tar -xzf "$1" -C "$2" --strip-components=1; for f in "$2"/sources/mod_wsgi-*; do echo x >>"$f"; done`, "sh", sdist, dir)
	return dir
}

// TestPipBuildsForTheSystem: if Debian's Apache is installed with its headers, pip
// builds a module for it and no httpd.
func TestPipBuildsForTheSystem(t *testing.T) {
	testkit.Turn(t, "systems")
	_, sdist := backend(t)
	r := onMachine(t, `
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends apache2-dev apache2-bin >/dev/null
unset PIP_FIND_LINKS
mkdir /var/tmp/pip-system
chmod 755 /var/tmp/pip-system
cd /var/tmp/pip-system
export HOME=$PWD/home MODWSGI_CACHE_DIR=`+setting(t, "MODWSGI_TEST_CACHE")+`
`+setting(t, "MODWSGI_TEST_PYTHON")+` -m venv env
env/bin/pip install -q --no-index --find-links `+filepath.Dir(sdist)+` mod_wsgi
ls env/lib/python3*/site-packages env/bin
cat > hello.wsgi <<'EOF'
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["SERVER_SOFTWARE"].encode()]
EOF
env/bin/mod_wsgi-express start-server hello.wsgi --host 127.0.0.1 --port 18481 --user www-data --server-root /var/tmp/pip-system/root &
launcher=$!
env/bin/python - <<'EOF'
import time, urllib.request
for attempt in range(100):
    try:
        print("ANSWER", urllib.request.urlopen("http://127.0.0.1:18481/", timeout=20).read().decode())
        break
    except OSError:
        time.sleep(0.1)
EOF
kill $launcher
wait $launcher || true
env/bin/pip uninstall -q -y mod_wsgi
echo "LEFT $(find env -iname '*wsgi*')"
`)
	if !strings.Contains(r.stdout, "ANSWER Apache") || strings.Contains(r.stdout, "mod_wsgi_packages") || strings.Contains(r.stdout, "mod_wsgi-apxs") || !strings.Contains(r.stdout, "LEFT \n") {
		t.Error(r)
	}
}

// TestSdistIsAnArtifact: it is described, listed and signed like every other artifact,
// and with the tools next to it the directory is an index that pip builds from.
func TestSdistIsAnArtifact(t *testing.T) {
	t.Parallel()
	_, sdist := backend(t)
	dist := filepath.Dir(sdist)
	script, err := filepath.Abs("../scripts/verify-release")
	if err != nil {
		t.Fatal(err)
	}
	must(t, dist, bareEnv(), "/bin/sh", script, "--unsigned", dist)
	before := snapshot(t, dist)
	program := filepath.Join(filepath.Dir(dist), "bin/modwsgi")
	r := command(t, dist, bareEnv(), program, "package", "sdist", "--out", dist, "--sources", "none", "--cache-dir", setting(t, "MODWSGI_TEST_CACHE"))
	if r.code != 2 || !strings.Contains(r.stderr, "already exists with different contents") || strings.Contains(r.stderr, "--build-number") {
		t.Error(r)
	}
	r = command(t, dist, bareEnv(), program, "package", "sdist", "--out", dist, "--tools", sdist, "--cache-dir", setting(t, "MODWSGI_TEST_CACHE"))
	if r.code != 2 || !strings.Contains(r.stderr, "--tools") {
		t.Error(r)
	}
	if d := differences(before, snapshot(t, dist)); len(d) > 0 {
		t.Errorf("changed: %q", d)
	}
	server := httptest.NewServer(http.FileServer(http.Dir(dist)))
	defer server.Close()
	work := workdir(t, "static")
	env := venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(work, "env"))
	must(t, work, pipEnv(t, filepath.Join(work, "home")), filepath.Join(env, "bin/pip"), "install", "--no-cache-dir", "--index-url", server.URL+"/simple/", "mod_wsgi")
	if a := serve(t, env); a.Prefix != env {
		t.Errorf("served from %s", a.Prefix)
	}
}

// TestEditableAndRepack: an unpacked source distribution can be installed instead of a
// packed one, also as an editable, and can be packed again.
func TestEditableAndRepack(t *testing.T) {
	t.Parallel()
	index, sdist := backend(t)
	work := workdir(t, "tree")
	env := venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(work, "env"))
	tree := filepath.Join(work, "tree")
	must(t, work, os.Environ(), "sh", "-euc", `mkdir "$2"; tar -xzf "$1" -C "$2" --strip-components=1; touch "$2/left.pyc"`, "sh", sdist, tree)
	e := pipEnv(t, filepath.Join(work, "home"))
	pip := filepath.Join(env, "bin/pip")
	must(t, work, e, pip, "install", "--index-url", index.URL+"/simple/", "-e", tree)
	must(t, work, e, filepath.Join(env, "bin/mod_wsgi-express"), "module-location")
	must(t, work, e, pip, "install", "--index-url", index.URL+"/simple/", "modwsgi")
	must(t, tree, e, filepath.Join(env, "bin/python"), "-c", "import modwsgi.build as b; print(b.build_sdist('..'))")
	names := func(file string) string {
		return must(t, work, os.Environ(), "tar", "-tzf", file).stdout
	}
	if one, two := names(sdist), names(filepath.Join(work, filepath.Base(sdist))); one != two {
		t.Errorf("packed again:\n%s\n%s", one, two)
	}
}

// TestInstallWithPip: pip install modwsgi && modwsgi install, into the environment that
// contains it, neither activated nor named. Then each is uninstalled without the
// other.
func TestInstallWithPip(t *testing.T) {
	t.Parallel()
	index, _ := backend(t)
	work := workdir(t, "job")
	env := venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(work, "env"))
	e := pipEnv(t, filepath.Join(work, "home"))
	pip := filepath.Join(env, "bin/pip")
	fresh := snapshot(t, env)
	must(t, work, e, pip, "install", "--index-url", index.URL+"/simple/", "modwsgi")
	tool := snapshot(t, env)
	r := must(t, work, e, filepath.Join(env, "bin/modwsgi"), "install", "--httpd", "bundled")
	if !strings.Contains(r.stdout, "Installed into "+env) {
		t.Errorf("%v", r)
	}
	must(t, work, e, pip, "check")
	must(t, work, e, filepath.Join(env, "bin/python"), "-m", "modwsgi", "verify")
	must(t, work, e, filepath.Join(env, "bin/modwsgi"), "install", "--httpd", "bundled", "--reinstall")
	must(t, work, e, filepath.Join(env, "bin/modwsgi"), "uninstall")
	if left := differences(tool, snapshot(t, env)); len(left) > 0 {
		t.Errorf("modwsgi uninstall left or took %q", left)
	}
	must(t, work, e, filepath.Join(env, "bin/modwsgi"), "install", "--httpd", "bundled")
	must(t, work, e, pip, "uninstall", "-y", "modwsgi")
	if a := serve(t, env); a.Prefix != env {
		t.Errorf("without the tool it is served from %s", a.Prefix)
	}
	must(t, work, e, pip, "uninstall", "-y", "mod_wsgi", "mod_wsgi-httpd")
	left := differences(fresh, snapshot(t, env))
	for _, l := range left {
		if !strings.HasPrefix(l, "libexec") { // pip leaves empty directories
			t.Errorf("left: %s", l)
		}
	}
}
