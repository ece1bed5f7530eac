//go:build acceptance && linux

package acceptance

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/freeport"
)

// packageArgs are the arguments of a modwsgi package wheel that uses the tests' cache.
func packageArgs(t *testing.T, args ...string) []string {
	return append([]string{program(t, "modwsgi"), "package", "wheel", "--cache-dir", setting(t, "MODWSGI_TEST_CACHE")}, args...)
}

// packagePythons are the interpreters of this machine that mod_wsgi supports, one per
// minor version, by version.
func packagePythons(t *testing.T) map[string]string {
	t.Helper()
	candidates, _ := filepath.Glob(os.Getenv("HOME") + "/.pyenv/versions/*/bin/python3")
	candidates = append([]string{setting(t, "MODWSGI_TEST_PYTHON")}, candidates...)
	found := map[string]string{}
	for _, python := range candidates {
		r := command(t, "/", bareEnv(), python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
		m := regexp.MustCompile(`^3\.(8|9|1\d)$`).FindString(strings.TrimSpace(r.stdout))
		if m != "" && found[m] == "" {
			found[m] = python
		}
	}
	if len(found) == 0 {
		t.Fatal("no Python was found")
	}
	return found
}

// roundTrip creates a fresh environment, installs with an empty PATH, serves once,
// uninstalls, and reports what is left. A Python below root's home is mounted
// elsewhere, where the serving account can read it.
const roundTrip = `set -eu
if [ "$(id -u)" = 0 ]; then
	case $PYTHON in /root/*)
		base=$(dirname "$(dirname "$PYTHON")")
		mkdir python && mount --bind "$base" python
		PYTHON=$PWD/python/bin/python3 ;;
	esac
	user="--user nobody --group nogroup"
fi
"$PYTHON" -m venv env
find env -name __pycache__ -prune -o -print | sort >before
began=$("$PYTHON" -c 'import time; print(time.time())')
env -i PATH=/nonexistent "$PWD/env/bin/pip" install -q --disable-pip-version-check $INSTALL
env/bin/pip check >&2
env -i PATH=/nonexistent "$PWD/env/bin/mod_wsgi-express" start-server "$PWD/hello.wsgi" --host 127.0.0.1 --port "$PORT" --server-root "$PWD/root" ${user:-} >log 2>&1 &
pid=$!
"$PYTHON" - "$PORT" "$began" <<'PY' || { cat log root/error_log >&2; kill $pid; exit 1; }
import sys, time, urllib.request
for _ in range(300):
    try:
        print(urllib.request.urlopen("http://127.0.0.1:%s/x" % sys.argv[1], timeout=30).read().decode())
        break
    except urllib.error.HTTPError: raise
    except OSError: time.sleep(.05)
else: sys.exit("no answer")
sys.stderr.write("install and first answer: %.2f s\n" % (time.time() - float(sys.argv[2])))
PY
kill $pid; wait $pid || true
env/bin/pip uninstall -q -y mod_wsgi mod_wsgi-httpd
find env -name __pycache__ -prune -o -print | sort >after
diff before after >&2
`

// TestWheels packages for every Python of the machine, and installs and serves each
// with that Python and its own pip.
func TestWheels(t *testing.T) {
	t.Parallel()
	dir := workdir(t, "wheels")
	pythons := packagePythons(t)
	dist := filepath.Join(dir, "dist")
	args := packageArgs(t, "--out", dist)
	for _, python := range pythons {
		args = append(args, "--python", python)
	}
	must(t, dir, bareEnv("SOURCE_DATE_EPOCH=1700000000"), args...)
	wheels, _ := filepath.Glob(dist + "/*.whl")
	if len(wheels) != len(pythons)+1 {
		t.Fatalf("%d wheels for %d Pythons: %v", len(wheels), len(pythons), wheels)
	}
	must(t, dir, bareEnv(), "/bin/sh", scriptPath(t, "verify-release"), "--unsigned", dist)
	if _, err := exec.LookPath("twine"); err == nil {
		must(t, dir, bareEnv(), append([]string{"twine", "check", "--strict"}, wheels...)...)
	} else {
		t.Log("twine is not installed: its check is skipped")
	}
	for _, w := range wheels {
		if !regexp.MustCompile(`[-.](manylinux|musllinux)_\d+_\d+_\w+\.whl$`).MatchString(w) {
			t.Errorf("the platform of %s is not computed", w)
		}
	}
	for version, python := range pythons {
		t.Run(version, func(t *testing.T) {
			goRound(t, python, "--no-index --find-links "+dist+" mod_wsgi")
		})
	}
	t.Run("index", func(t *testing.T) {
		server := staticServer(t, dist)
		goRound(t, setting(t, "MODWSGI_TEST_PYTHON"), "--index-url "+server+"/simple/ mod_wsgi")
	})
	t.Run("again", func(t *testing.T) { againTheSame(t, dist, args[:3:3], pythons) })
}

// goRound is one round trip; pip gets the arguments.
func goRound(t *testing.T, python, install string) {
	t.Helper()
	dir := workdir(t, "round")
	if err := os.WriteFile(filepath.Join(dir, "hello.wsgi"), []byte(hello), 0o644); err != nil {
		t.Fatal(err)
	}
	argv := []string{"/bin/sh", "-c", roundTrip}
	if os.Geteuid() == 0 {
		argv = append([]string{"unshare", "-m"}, argv...)
	}
	port := freeport.Get(t)
	env := bareEnv("PYTHON="+python, "INSTALL="+install, "PORT="+itoa(port))
	r := must(t, dir, env, argv...)
	var a answer
	if err := json.Unmarshal([]byte(r.stdout), &a); err != nil {
		t.Fatalf("answer %q: %v", r.stdout, err)
	}
	if a.Prefix != filepath.Join(dir, "env") || a.Path != "/x" {
		t.Errorf("answer %+v", a)
	}
	t.Log(strings.TrimSpace(r.stderr))
}

func itoa(n int) string {
	data, _ := json.Marshal(n)
	return string(data)
}

func scriptPath(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs("../scripts/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// staticServer serves a directory and nothing else.
func staticServer(t *testing.T, dir string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.FileServer(http.Dir(dir)), ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return "http://" + l.Addr().String()
}

// againTheSame packages again, at another path, with another umask and time zone and
// the Pythons in another order.
func againTheSame(t *testing.T, dist string, args []string, pythons map[string]string) {
	dir := workdir(t, "an other place")
	args = append(args, "--cache-dir", setting(t, "MODWSGI_TEST_CACHE"), "--out", "again")
	for _, python := range sortedValues(pythons) {
		args = append(args, "--python", python)
	}
	script := append([]string{"/bin/sh", "-c", `umask 077; exec "$@"`, "sh"}, args...)
	must(t, dir, bareEnv("SOURCE_DATE_EPOCH=1700000000", "TZ=Asia/Kathmandu", "LC_ALL=C"), script...)
	one, two := snapshot(t, dist), snapshot(t, filepath.Join(dir, "again"))
	for _, s := range []map[string]string{one, two} { // access to the directories is the user's choice
		for name, what := range s {
			if strings.HasPrefix(what, "d") {
				delete(s, name)
			}
		}
	}
	if d := differences(one, two); len(d) > 0 {
		t.Errorf("not the same bytes: %s", strings.Join(d, "\n"))
	}
}

func sortedValues(m map[string]string) []string {
	var all []string
	for _, v := range m {
		all = append(all, v)
	}
	slices.Sort(all)
	return all
}

// TestWheelFromEnvironment packages an installation, and installs it where pip puts
// packages outside any environment.
func TestWheelFromEnvironment(t *testing.T) {
	dir := workdir(t, "from env")
	env, python := setting(t, "MODWSGI_TEST_ENV"), setting(t, "MODWSGI_TEST_PYTHON")
	must(t, dir, bareEnv(), packageArgs(t, "--from-env", env)...)
	target := filepath.Join(dir, "target")
	must(t, dir, bareEnv(), filepath.Join(env, "bin/pip"), "install", "-q", "--no-index", "--find-links", "dist", "--target", target, "mod_wsgi")
	a := serve(t, target)
	if a.Prefix == env || a.Prefix == "" {
		t.Errorf("answer %+v", a)
	}
	config := must(t, dir, bareEnv(), filepath.Join(target, "bin/mod_wsgi-express"), "module-config")
	if !strings.Contains(config.stdout, "LoadFile ") || !strings.Contains(config.stdout, target) || strings.Contains(config.stdout, env) {
		t.Errorf("module-config with %s: %s", python, config)
	}
}

// TestPackageFailures: each names the mistake, and leaves nothing.
func TestPackageFailures(t *testing.T) {
	dir := workdir(t, "failures")
	env := setting(t, "MODWSGI_TEST_ENV")
	full := filepath.Join(dir, "full")
	theirs := filepath.Join(dir, "theirs")
	for _, d := range []string{full, theirs} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(theirs, "notes"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	empty := venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(dir, "empty"), "--without-pip")
	for name, c := range map[string]struct {
		args []string
		env  []string
		code int
		says string
	}{
		"unknown Python":    {[]string{"--python", "/nonexistent/python3"}, nil, 3, "/nonexistent/python3"},
		"nothing installed": {[]string{"--from-env", empty}, nil, 3, "no mod_wsgi installed by modwsgi"},
		"foreign libraries": {[]string{"--from-env", env, "--bundle", "none"}, nil, 3, "is missing on some systems"},
		"other directory":   {[]string{"--from-env", env, "--out", theirs}, nil, 2, `contains "notes"`},
		"both":              {[]string{"--from-env", env, "--python", env}, nil, 2, "--from-env"},
		"to build":          {[]string{"--from-env", env, "--with", "http2"}, nil, 2, "--with is about building"},
		"date":              {[]string{"--from-env", env}, []string{"SOURCE_DATE_EPOCH=tomorrow"}, 2, "SOURCE_DATE_EPOCH"},
		"key":               {[]string{"--from-env", env, "--sign-openpgp", "/etc/passwd"}, nil, 2, "can be read by other users"},
		"local version":     {[]string{"--from-env", env, "--local-version", "a b"}, nil, 2, "--local-version"},
		"bundle":            {[]string{"--from-env", env, "--bundle", "some"}, nil, 2, "--bundle"},
		"metadata":          {[]string{"--from-env", env, "--metadata-version", "9"}, nil, 2, "--metadata-version"},
	} {
		r := command(t, dir, bareEnv(c.env...), packageArgs(t, c.args...)...)
		if r.code != c.code || !strings.Contains(r.stderr, c.says) || !strings.Contains(r.stderr, "modwsgi: hint: ") {
			t.Errorf("%s: %v", name, r)
		}
		if _, err := os.Stat(filepath.Join(dir, "dist")); err == nil {
			t.Errorf("%s: dist exists", name)
		}
	}
	if entries, _ := os.ReadDir(theirs); len(entries) != 1 {
		t.Errorf("%s holds %v", theirs, entries)
	}
	if os.Geteuid() != 0 {
		t.Skip("a full file system needs root")
	}
	args := packageArgs(t, "--from-env", env, "--out", filepath.Join(full, "dist"))
	r := command(t, dir, bareEnv(), append([]string{
		"unshare", "-m", "/bin/sh", "-c", `mount -t tmpfs -o size=3m none "$1" || exit 99; d=$1; shift; "$@"; code=$?; ls -A "$d"; exit $code`, "sh", full,
	}, args...)...)
	if r.code != 3 || !strings.Contains(r.stderr, "no space left on device") || strings.TrimSpace(r.stdout) != "" {
		t.Errorf("full disk: %v", r)
	}
}

// TestPackageBadTrees: trees that would not work elsewhere are refused by name, even
// if the record of the environment does not show the change.
func TestPackageBadTrees(t *testing.T) {
	dir := workdir(t, "bad trees")
	for name, c := range map[string]struct{ file, change, says string }{
		// The machine may have the libraries of the tree, too, under the same names.
		"library": {"modules/mod_alias.so", `LC_ALL=C sed -i 's#libc[.]so[.]6#libq.so.6#' "$1"`, "needs libq.so.6, which is neither in the tree nor on this machine"},
		"CPU":     {"modules/mod_alias.so", `printf '\267' | dd of="$1" bs=1 seek=18 conv=notrunc status=none`, "modules/mod_alias.so is for aarch64, not for "},
		"path":    {"modules/mod_alias.so", `LC_ALL=C sed -i 's#\$ORIGIN/../lib#/opt/zz/../lib#' "$1"`, "modules/mod_alias.so has the absolute run path /opt/zz/../lib"},
		"cut":     {"modules/mod_alias.so", `truncate -s 3000 "$1"`, "modules/mod_alias.so"},
	} {
		env := filepath.Join(dir, name)
		must(t, dir, bareEnv(), "cp", "-a", setting(t, "MODWSGI_TEST_ENV"), env)
		sites, _ := filepath.Glob(env + "/lib/python3*/site-packages")
		if len(sites) != 1 {
			t.Fatal(sites)
		}
		file := filepath.Join(sites[0], "mod_wsgi_packages/httpd", c.file)
		must(t, sites[0], bareEnv(), "sh", "-euc", c.change+`
sed -i "\#^mod_wsgi_packages/httpd/$2,#d" mod_wsgi_httpd-*.dist-info/RECORD`, "sh", file, c.file)
		r := command(t, dir, bareEnv(), packageArgs(t, "--from-env", env)...)
		if r.code != 3 || !strings.Contains(r.stderr, "cannot be packaged") || !strings.Contains(r.stderr, c.says) || !strings.Contains(r.stderr, "modwsgi: hint: ") {
			t.Errorf("%s: %v", name, r)
		}
		absent(t, filepath.Join(dir, "dist"))
	}
}

// TestPackageKilled kills a run while it writes: none of its output is visible, and
// the next run succeeds.
func TestPackageKilled(t *testing.T) {
	dir := workdir(t, "killed")
	env := setting(t, "MODWSGI_TEST_ENV")
	args := packageArgs(t, "--from-env", env)
	for _, after := range []time.Duration{0, 100 * time.Millisecond, 400 * time.Millisecond} {
		if !untilStep(t, dir, "package", after, args...) {
			t.Fatal("the step package did not start")
		}
		entries, err := os.ReadDir(filepath.Join(dir, "dist"))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), ".modwsgi") { // the staging directory and the lock, which the next run removes
				t.Errorf("killed after %v: %s exists", after, e.Name())
			}
		}
	}
	must(t, dir, bareEnv(), args...)
	must(t, dir, bareEnv(), "/bin/sh", scriptPath(t, "verify-release"), "--unsigned", filepath.Join(dir, "dist"))
	if left, _ := filepath.Glob(filepath.Join(dir, "dist", ".modwsgi*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
