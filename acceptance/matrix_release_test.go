//go:build acceptance

package acceptance

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMatrix makes a release of wheels and an image, and has pip install from it
// over HTTP.
func TestMatrix(t *testing.T) {
	t.Parallel()
	dir := workdir(t, "release")
	python := setting(t, "MODWSGI_TEST_PYTHON")
	writeFile(t, filepath.Join(dir, "src/wsgi.py"), hello, 0o644)
	const rest = "\n[options.oci]\napp = \"src\"\n"
	write := func(name, text string) { writeFile(t, filepath.Join(dir, name), text, 0o644) }
	write("release.toml", "schema = 1\npythons = ["+quote(python)+"]\nformats = [\"wheel\", \"oci\"]\n"+rest)
	write("unknown.toml", "schema = 1\npythons = ["+quote(python)+", \"3.99\"]\nformats = [\"wheel\"]\n")
	write("typo.toml", "schema = 1\npythons = ["+quote(python)+"]\nformats = [\"wheel\"]\nplatform = [\"linux/amd64\"]\n")
	write("broken.toml", "schema = 1\npythons = ["+quote(python)+"]\nformats = [\"wheel\", \"oci\"]\n"+rest+"entry = \"none.py\"\n")
	write("one.toml", "schema = 1\npythons = ["+quote(python)+"]\nformats = [\"oci\"]\n"+rest+"entry = \"none.py\"\n")
	run := func(args ...string) result {
		return pack(t, dir, bareEnv(), append([]string{"--lock-file", "modwsgi.lock"}, args...)...)
	}
	for _, c := range []struct {
		file, want string
		code       int
	}{
		{"unknown.toml", "Python 3.99: ", 3},
		{"typo.toml", "typo.toml:4: unknown key platform", 2},
		{"none.toml", "read --matrix", 2},
		{"one.toml", "oci for Python " + python + ", httpd default, linux/amd64: --entry: the application does not contain none.py", 2},
	} {
		r := run("--matrix", c.file)
		if r.code != c.code || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%s: want %q: %v", c.file, c.want, r)
		}
		absent(t, filepath.Join(dir, "dist"))
	}
	if r := run("--matrix", "release.toml", "--python", python); r.code != 2 || !strings.Contains(r.stderr, "cannot be combined") {
		t.Error(r)
	}
	if r := run("--matrix", "release.toml", "--dry-run"); r.code != 0 || !strings.Contains(r.stdout, "2 to make") || strings.Contains(r.stderr, "fetch") {
		t.Error(r)
	}
	absent(t, filepath.Join(dir, "dist"))
	r := run("--matrix", "broken.toml", "--keep-going", "--out", "partly")
	if r.code != 2 || !strings.Contains(r.stdout, "FAILED: oci for Python") {
		t.Errorf("with --keep-going: %v", r)
	}
	if wheels, _ := filepath.Glob(filepath.Join(dir, "partly/*.whl")); len(wheels) != 2 {
		t.Errorf("with --keep-going: %v", wheels)
	}
	if tars, _ := filepath.Glob(filepath.Join(dir, "partly/*.tar*")); len(tars) != 0 {
		t.Errorf("with --keep-going: %v", tars)
	}
	if r := run("--matrix", "release.toml"); r.code != 0 || !strings.Contains(r.stdout, "cached") || !strings.Contains(r.stdout, ".oci.tar") {
		t.Fatal(r)
	}
	dist := filepath.Join(dir, "dist")
	must(t, dist, bareEnv(), "sha256sum", "--quiet", "-c", "SHA256SUMS")
	var index struct{ Artifacts []struct{ Name, Kind string } }
	data, err := os.ReadFile(filepath.Join(dist, "index.json"))
	if err != nil || json.Unmarshal(data, &index) != nil || len(index.Artifacts) != 3 {
		t.Errorf("index: %s, %v", data, err)
	}
	server := httptest.NewServer(http.FileServer(http.Dir(dist)))
	defer server.Close()
	target := filepath.Join(dir, "target")
	must(t, dir, bareEnv(), filepath.Join(setting(t, "MODWSGI_TEST_ENV"), "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-cache-dir",
		"--index-url", server.URL+"/simple/", "--target", target, "mod_wsgi")
	for _, file := range []string{"mod_wsgi/server/build.json", "mod_wsgi_packages/httpd/bin/httpd"} {
		if _, err := os.Stat(filepath.Join(target, file)); err != nil {
			t.Error(err)
		}
	}
}

// TestMatrixWindows makes wheels for two systems and a zip in one run, with a Python
// named by its version, as a program on PATH.
func TestMatrixWindows(t *testing.T) {
	t.Parallel()
	needTools(t, "x86_64-w64-mingw32-gcc")
	python := setting(t, "MODWSGI_TEST_PYTHON")
	if v := strings.TrimSpace(must(t, "/", bareEnv(), python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").stdout); v != "3.11" {
		t.Skipf("NOT TESTED: headers of Python %s for Windows are not pinned", v)
	}
	dir := workdir(t, "two systems")
	must(t, dir, os.Environ(), "mkdir", "bin")
	must(t, dir, os.Environ(), "ln", "-s", python, "bin/python3.11")
	// It contains what a plain go build leaves in it, as the hint suggests.
	must(t, "..", append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0"), "go", "build", "-o", filepath.Join(dir, "bin"), "./cmd/mod_wsgi-express")
	env := []string{"PATH=" + dir + "/bin:/usr/bin:/bin", "HOME=" + os.Getenv("HOME"), "LANG=C.UTF-8"}
	const head = "schema = 1\npythons = [\"3.11\"]\nplatforms = [\"linux/amd64\", \"windows/amd64\"]\nformats = [\"wheel\", \"zip\"]\n"
	writeFile(t, filepath.Join(dir, "release.toml"), head+"[windows]\nlauncher = \"bin/mod_wsgi-express.exe\"\n", 0o644)
	writeFile(t, filepath.Join(dir, "no launcher.toml"), head+"[windows]\nlauncher = \"none.exe\"\n", 0o644)
	writeFile(t, filepath.Join(dir, "a path.toml"), strings.Replace(head, "3.11", "bin/python3.11", 1), 0o644)
	run := func(args ...string) result {
		return pack(t, dir, env, append([]string{"--lock-file", "modwsgi.lock"}, args...)...)
	}
	for file, want := range map[string]string{
		"no launcher.toml": filepath.Join(dir, "none.exe"),
		"a path.toml":      "a Python for Windows is named by its minor version",
	} {
		if r := run("--matrix", file); r.code == 0 || !strings.Contains(r.stderr, want) || strings.Contains(r.stderr, "compile") {
			t.Errorf("%s: %v", file, r)
		}
		absent(t, filepath.Join(dir, "dist"))
	}
	if r := run("--matrix", "release.toml", "--dry-run"); r.code != 0 || !strings.Contains(r.stdout, "3 to make") {
		t.Error(r)
	}
	r := run("--matrix", "release.toml")
	if r.code != 0 {
		t.Fatal(r)
	}
	dist := filepath.Join(dir, "dist")
	for _, pattern := range []string{"mod_wsgi-[0-9]*-cp311-cp311-win_amd64.whl", "mod_wsgi-*-ap24-win-amd64-cp311.zip", "mod_wsgi-*-cp311-cp311-manylinux*.whl", "mod_wsgi_httpd-*.whl"} {
		if found, _ := filepath.Glob(filepath.Join(dist, pattern)); len(found) != 1 || !strings.Contains(r.stdout, filepath.Base(found[0])) {
			t.Errorf("%s: %q", pattern, found)
		}
	}
	must(t, dist, bareEnv(), "sha256sum", "--quiet", "-c", "SHA256SUMS")
	if _, err := exec.LookPath("twine"); err == nil {
		must(t, dist, bareEnv(), "sh", "-c", "twine check --strict *.whl")
	}
	// Both wheels have one version, and pip picks the one for its system.
	server := httptest.NewServer(http.FileServer(http.Dir(dist)))
	defer server.Close()
	for want, args := range map[string][]string{"-manylinux": nil, "-win_amd64.whl": {"--platform", "win_amd64"}} {
		to := filepath.Join(dir, "for"+want)
		must(t, dir, bareEnv(), append([]string{
			filepath.Join(setting(t, "MODWSGI_TEST_ENV"), "bin/python"), "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
			"--no-cache-dir", "--no-deps", "--only-binary", ":all:", "--index-url", server.URL + "/simple/", "--dest", to, "mod_wsgi",
		}, args...)...)
		if found, _ := filepath.Glob(filepath.Join(to, "*")); len(found) != 1 || !strings.Contains(found[0], want) {
			t.Errorf("pip takes %q, not %s", found, want)
		}
	}
}

func quote(s string) string {
	data, _ := json.Marshal(s)
	return string(data)
}
