//go:build acceptance

package acceptance

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestUpstreamBuildsAgainstOurHTTPD lets pip build upstream's own mod_wsgi from its
// source archive, called by path, in build isolation and without activation. It finds
// mod_wsgi-apxs next to the interpreter, and serves with upstream's launcher.
func TestUpstreamBuildsAgainstOurHTTPD(t *testing.T) {
	dir := workdir(t, "upstream")
	wheels := filepath.Join(dir, "wheels")
	if err := os.Mkdir(wheels, 0o777); err != nil {
		t.Fatal(err)
	}
	_ = os.Chmod(wheels, 0o777)
	for _, name := range []string{"python3-setuptools-whl", "python3-wheel-whl"} {
		if r := command(t, wheels, os.Environ(), "apt-get", "download", name); r.code != 0 {
			t.Skipf("Debian's wheels of setuptools and wheel are unavailable: %v", r)
		}
	}
	debs, _ := filepath.Glob(filepath.Join(wheels, "*.deb"))
	for _, deb := range debs {
		must(t, wheels, os.Environ(), "dpkg", "-x", deb, wheels)
	}
	archive := upstreamArchive(t)
	built := venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(dir, "built"))
	if r := install(t, dir, "--python", built); r.code != 0 {
		t.Fatal(r)
	}
	// It is used at another path than it was made at, where programs such as pip's no
	// longer start but the interpreter does.
	env := filepath.Join(otherFileSystem(t, dir), "env")
	must(t, dir, bareEnv(), "mv", built, env)
	pip := filepath.Join(env, "bin/python")
	must(t, dir, bareEnv(), pip, "-m", "pip", "uninstall", "-y", "mod_wsgi")
	// pip recognises an archive by its name, not by its content.
	plain := filepath.Join(dir, filepath.Base(archive))
	must(t, dir, bareEnv(), "cp", archive, plain)
	must(t, "/", bareEnv(), pip, "-m", "pip", "install", "--no-index", "--find-links", filepath.Join(wheels, "usr/share/python-wheels"), plain)
	show := must(t, dir, bareEnv(), pip, "-m", "pip", "show", "mod_wsgi")
	if !strings.Contains(show.stdout, "Version: 5.") {
		t.Error(show)
	}
	config := must(t, "/", bareEnv(), filepath.Join(env, "bin/mod_wsgi-express"), "module-config")
	if !strings.Contains(config.stdout, env) {
		t.Errorf("upstream's launcher: %v", config)
	}
	if a := serve(t, env); a.Prefix != env || a.Express != "true" {
		t.Errorf("answer %+v", a)
	}
}

// TestUpstreamBesideOurTools: with our tools on the machine, installed from the deb and
// by the bootstrap script, pip still builds upstream's mod_wsgi for the system's Apache.
// Upstream's setup.py takes any mod_wsgi-apxs on PATH for the httpd to build for, as the
// last case shows.
func TestUpstreamBesideOurTools(t *testing.T) {
	dist, _ := released(t)
	archive := upstreamArchive(t)
	r := onMachine(t, `
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends apache2-dev apache2-bin python3-pip python3-dev python3-venv python3-setuptools-whl python3-wheel-whl lintian >/dev/null
unset PIP_FIND_LINKS
mkdir /var/tmp/beside
cd /var/tmp/beside
export HOME=$PWD/home PATH=$PWD/prefix/bin:/usr/sbin:/usr/bin:/sbin:/bin
dpkg -i `+dist+`/modwsgi_*_amd64.deb >/dev/null
sh `+dist+`/bootstrap.sh --url `+dist+` --prefix $PWD/prefix
cp `+archive+` `+filepath.Base(archive)+`
/usr/bin/python3 -m venv env
build() { env/bin/pip install -q --no-index --find-links /usr/share/python-wheels --force-reinstall ./`+filepath.Base(archive)+` 2>log; }
build || cat log
for program in modwsgi mod_wsgi-express mod_wsgi-apxs; do echo "PATH $program: $(command -v $program)"; done
env/bin/mod_wsgi-express module-config
# The Python beside a deb's modwsgi is not an environment to work on.
/usr/bin/modwsgi doctor 2>&1 | grep 'no Python environment'
cp prefix/libexec/modwsgi/mod_wsgi-apxs prefix/bin/
if build; then echo "BUILT with mod_wsgi-apxs on PATH"; else grep -o 'httpd.h: No such file' log || grep -m 3 -i error log; fi
cd /
rm -r /var/tmp/beside
lintian --no-cfg --allow-root --display-info --tag-display-limit 0 --fail-on error,warning,info `+dist+`/modwsgi_*.deb && echo LINTIAN
`)
	if r.code != 0 {
		t.Fatal(r)
	}
	for _, want := range []string{"PATH modwsgi: /var/tmp/beside/prefix/bin/modwsgi\n", "PATH mod_wsgi-express: \n", "PATH mod_wsgi-apxs: \n", "LoadModule wsgi_module", "no Python environment", "LINTIAN"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("no %q: %v", want, r)
		}
	}
	if strings.Contains(r.stdout, "BUILT with mod_wsgi-apxs on PATH") {
		t.Errorf("upstream's setup.py no longer takes any mod_wsgi-apxs: this test shows nothing: %v", r)
	}
}

// upstreamArchive is upstream's source archive of mod_wsgi 5.
func upstreamArchive(t *testing.T) string {
	t.Helper()
	for _, d := range sources(t) {
		if found, _ := filepath.Glob(filepath.Join(d, "mod_wsgi-5*.tar.gz")); len(found) > 0 {
			return found[0]
		}
	}
	t.Fatal("the cache has no archive of mod_wsgi 5")
	return ""
}

// otherFileSystem is a directory on another file system, if one in memory allows
// running programs; else dir.
func otherFileSystem(t *testing.T, dir string) string {
	t.Helper()
	other, err := os.MkdirTemp("/dev/shm", "modwsgi-acceptance-")
	if err != nil {
		t.Logf("all in one file system: %v", err)
		return dir
	}
	t.Cleanup(func() { _ = os.RemoveAll(other) })
	must(t, "/", bareEnv(), "cp", "/bin/true", other)
	if err := exec.Command(filepath.Join(other, "true")).Run(); err != nil {
		t.Logf("all in one file system: %v", err)
		return dir
	}
	if err := os.Chmod(other, 0o755); err != nil {
		t.Fatal(err)
	}
	return other
}
