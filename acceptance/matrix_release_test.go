//go:build acceptance

package acceptance

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMatrix makes a release of wheels and an image, and has pip install from it
// over HTTP.
func TestMatrix(t *testing.T) {
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
		{"typo.toml", "typo.toml:4: there is no key platform", 2},
		{"none.toml", "read --matrix", 2},
		{"one.toml", "oci for Python " + python + ", httpd default, linux/amd64: --entry: there is no none.py", 2},
	} {
		r := run("--matrix", c.file)
		if r.code != c.code || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%s: want %q: %v", c.file, c.want, r)
		}
		absent(t, filepath.Join(dir, "dist"))
	}
	if r := run("--matrix", "release.toml", "--python", python); r.code != 2 || !strings.Contains(r.stderr, "exclude each other") {
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

func quote(s string) string {
	data, _ := json.Marshal(s)
	return string(data)
}
