//go:build acceptance && linux

package acceptance

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/testkit"

	"modwsgi/internal/freeport"
)

// TestSystems does what most users do, from the first look at a host to the last file
// that is removed, on hosts of several Debian releases (scripts/systems). The steps of
// a host follow each other, and each is timed. If all succeed, the times become the
// page docs/systems.md.

// systemHost is a kind of host, and how httpd gets onto it.
type systemHost struct {
	name, about string
	root        string // archive of its root file system
	httpd       string // --httpd
	with        string // --with
}

var systemHosts = []systemHost{
	{"bare", "a C compiler and a Python; httpd is built from source", "bare", "bundled", ""},
	{"complete", "with apache2-dev; the module is for the system's Apache", "complete", "system", ""},
	{"libraries", "with the headers of all libraries; httpd is built with TLS, Brotli, deflate and XML", "complete", "bundled", "tls,brotli,deflate,xml"},
}

// systemStep is one thing that users do. Its script ends with a failure if the proof
// fails.
type systemStep struct {
	name, proof string
	script      string
	check       func(t *testing.T, c *systemCell, out string)
}

// systemCell is a host of one suite while its steps run.
type systemCell struct {
	systemHost
	suite, release string
	python         string    // version
	versions       [2]string // of mod_wsgi and httpd
	root           *suiteRoot
	port           int
	times          map[string]result
	first          string // packages that doctor asked for
}

const systemPrelude = `
export DEBIAN_FRONTEND=noninteractive MODWSGI_CACHE_DIR=/opt/work/cache
w=/opt/work
# serve COMMAND APPLICATION sends one request to an instance, and ends it.
serve() {
	ask "$1" start-server "$2" --host 127.0.0.1 --port $port --user www-data --group www-data --server-root /tmp/server
}
# serve_system LOAD APPLICATION does so with the system's Apache and a file that loads
# the module.
serve_system() {
	mkdir -p /tmp/server
	cat >/tmp/server/conf <<CONF
ServerName localhost
ServerRoot /tmp/server
PidFile /tmp/server/pid
ErrorLog /tmp/server/error_log
Listen 127.0.0.1:$port
User www-data
Group www-data
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
Include $1
WSGIScriptAlias / $2
CONF
	ask /usr/sbin/apache2 -DFOREGROUND -f /tmp/server/conf
}
# ask COMMAND... sends one request to a server, and ends it.
ask() {
	"$@" >/tmp/log 2>&1 &
	server=$!
	python3 - $port <<'PYTHON' || { cat /tmp/log /tmp/server/error_log; return 1; }
import sys, time, urllib.request
last = None
for _ in range(300):
    try:
        with urllib.request.urlopen("http://127.0.0.1:%s/some/path" % sys.argv[1], timeout=30) as r:
            print(r.read().decode())
            sys.exit(0)
    except OSError as e:
        last = e
        time.sleep(0.2)
sys.exit("no answer: %s" % last)
PYTHON
	kill -TERM $server
	wait $server || true
	! grep -i 'segmentation\|traceback' /tmp/server/error_log
}
files() { find /usr /etc /opt/work/v -path '*/__pycache__*' -prune -o -print | grep -v '/__pycache__\|^/etc/ld.so.cache$\|^/etc/[a-z]*-$' | sort; }
`

var systemSteps = []systemStep{
	{"detect", "names the Python and the httpd that are there, by running them and by their files alone (--root)", `$bin/modwsgi detect --python $w/v --json`, checkDetected},
	{"doctor", "finds everything that a build needs, or names the packages, which are then installed", `$bin/modwsgi doctor --python $w/v --httpd $httpd --json`, nil},
	{"install", "verified by a request, nothing cached, no network", `
files >$w/before
$bin/modwsgi install --python $w/v --httpd $httpd $with --offline --source-dir /opt/modwsgi-test/sources --lock-file $w/modwsgi.lock --progress plain
$w/v/bin/python -c 'import mod_wsgi'`, nil},
	{"verify", "a throwaway httpd answers a request", `$bin/modwsgi verify --python $w/v`, nil},
	{"serve", "an application answers from this Python, as www-data", `serve $w/v/bin/mod_wsgi-express $w/app/hello.wsgi`, checkServed},
	{"list", "names mod_wsgi, and the httpd if it is in the environment", `$bin/modwsgi list --python $w/v --json`, checkListed},
	{"wheel", "pip installs it into another environment, where an application answers", `
$bin/modwsgi package wheel --from-env $w/v --out $w/wheels
python3 -m venv $w/other
$w/other/bin/pip install --quiet --no-index --disable-pip-version-check --find-links $w/wheels mod_wsgi
$bin/modwsgi verify --python $w/other
serve $w/other/bin/mod_wsgi-express $w/app/hello.wsgi`, checkServedOther},
	{"deb", "dpkg installs it, an application answers, purging leaves nothing", `
$bin/modwsgi package deb --from-env $w/v --maintainer 'A <a@b.example>' --out $w/debs
files >$w/before-deb
dpkg -i $w/debs/*.deb
name=$(dpkg-deb -f $w/debs/*.deb Package)
launcher=$(dpkg -L $name | grep '/bin/mod_wsgi-express$' | head -n 1)
if [ -n "$launcher" ]; then
	serve $launcher $w/app/hello.wsgi
else
	serve_system $(dpkg -L $name | grep '/mods-available/.*[.]load$') $w/app/hello.wsgi
fi >$w/answer
dpkg --purge $name
files >$w/after-deb
diff $w/before-deb $w/after-deb
cat $w/answer`, checkServedByDeb},
	{"uninstall", "every file is as before the install", `
$bin/modwsgi uninstall --python $w/v
files >$w/after
diff $w/before $w/after`, nil},
}

// applies reports whether a host has the step: a module for the system's Apache is not
// packaged as a wheel.
func (s systemStep) applies(c *systemCell) bool { return s.name != "wheel" || c.httpd == "bundled" }

func TestSystems(t *testing.T) {
	testkit.Turn(t, "systems")
	suites := slices.DeleteFunc(strings.Fields(setting(t, "MODWSGI_TEST_SUITES")), func(suite string) bool { return strings.Contains(suite, "-") }) // not of another CPU
	hosts := systemHosts[:2]
	page := os.Getenv("MODWSGI_TEST_SYSTEMS_PAGE")
	if os.Getenv("MODWSGI_TEST_SYSTEMS") == "all" {
		hosts = systemHosts
	}
	var cells []*systemCell
	for _, suite := range suites {
		for _, host := range hosts {
			t.Run(suite+"/"+host.name, func(t *testing.T) {
				c := &systemCell{systemHost: host, suite: suite, times: map[string]result{}}
				if c.run(t); !t.Failed() && !t.Skipped() {
					cells = append(cells, c)
				}
			})
		}
	}
	if page == "" || t.Failed() {
		return
	}
	if len(cells) != len(suites)*len(hosts) {
		t.Fatalf("%d of %d hosts were tested: the page is not written", len(cells), len(suites)*len(hosts))
	}
	if err := os.WriteFile(page, []byte(systemsPage(cells, os.Getenv("MODWSGI_TEST_COMMIT"))), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (c *systemCell) run(t *testing.T) {
	c.root = debianRoot(t, c.suite, c.systemHost.root)
	c.port = freeport.Get(t)
	app := filepath.Join(c.root.dir, "opt/modwsgi-test/hello.wsgi")
	must(t, "/", bareEnv(), append(namespace(t), "sh", "-c", `printf %s "$1" >"$0"`, app, hello)...)
	ready := c.step(t, "prepare", `
set -e
if ! command -v adduser >/dev/null; then # the dependency of a deb, which apt would install
	apt-get -q -o Acquire::Check-Valid-Until=false update
	apt-get -q -y --no-install-recommends install adduser
fi >&2
mkdir -p $w/app $w/cache
cp /opt/modwsgi-test/hello.wsgi $w/app
mv /opt/modwsgi-test/downloads $w/cache/downloads
chmod -R go-w $w/cache
python3 -m venv --without-pip $w/v
python3 -c 'import platform; print(platform.python_version())'
cat /etc/debian_version`)
	lines := strings.Split(strings.TrimSpace(ready.stdout), "\n")
	if ready.code != 0 || len(lines) != 2 {
		t.Fatal(ready)
	}
	c.python, c.release = lines[0], lines[1]
	for _, s := range systemSteps {
		if !s.applies(c) {
			continue
		}
		ran := c.step(t, s.name, s.script)
		if s.name == "doctor" && ran.code != 0 {
			ran = c.installWhatDoctorNames(t, ran)
		}
		if ran.code != 0 {
			t.Fatalf("%s: %v", s.name, ran)
		}
		if s.check != nil {
			s.check(t, c, ran.stdout)
		}
		c.times[s.name] = ran
		t.Logf("%-9s %6.1f s, %6.1f s of CPU", s.name, ran.elapsed.Seconds(), ran.cpu.Seconds())
	}
}

func (c *systemCell) step(t *testing.T, name, script string) result {
	t.Helper()
	with := ""
	if c.with != "" {
		with = "--with " + c.with
	}
	return c.root.run(t, systemPrelude+fmt.Sprintf("port=%d httpd=%s with='%s' step=%s\nset -e\n", c.port, c.httpd, with, name)+script)
}

// installWhatDoctorNames follows the hint of a doctor that reports missing packages, and
// runs it again.
func (c *systemCell) installWhatDoctorNames(t *testing.T, ran result) result {
	t.Helper()
	var failed struct{ Hint string }
	decode(t, ran.stdout, &failed)
	named := regexp.MustCompile(`apt-get install ([a-z0-9.+ -]+)$`).FindStringSubmatch(failed.Hint)
	if named == nil {
		t.Fatalf("doctor: %v", ran)
	}
	packages := named[1]
	c.first = packages
	if got := c.step(t, "packages", `
apt-get -q -o Acquire::Check-Valid-Until=false update
apt-get -q -y --no-install-recommends install `+packages); got.code != 0 {
		t.Fatalf("what doctor asks for cannot be installed: %v", got)
	}
	again := c.step(t, "doctor", systemSteps[1].script)
	again.elapsed, again.cpu = again.elapsed+ran.elapsed, again.cpu+ran.cpu
	return again
}

// detected is a part of the output of detect.
type detected struct {
	Detect struct {
		Pythons []struct {
			Verdict string
			Builds  bool
			Python  detectedPython
		}
		HTTPDs []struct {
			HTTPD struct {
				Provenance, Version, Executable string
				ModulesDir                      string `json:"modules_dir"`
				MMN                             int
			}
		}
	}
}

type detectedPython struct{ Version, Prefix, Kind, Purelib, Platlib, Scripts, Include, LibPython, SOABI string }

// system is what was found out about the distribution's Python.
func (d detected) system() (detectedPython, bool) {
	for _, p := range d.Detect.Pythons {
		if p.Python.Prefix == "/usr" {
			return p.Python, true
		}
	}
	return detectedPython{}, false
}

func checkDetected(t *testing.T, c *systemCell, out string) {
	var all, outside detected
	decode(t, out, &all)
	// The files alone must tell the same as the programs.
	seen := must(t, "/", bareEnv(), append(namespace(t), program(t, "modwsgi"), "detect", "--root", c.root.dir, "--json")...)
	decode(t, seen.stdout, &outside)
	inside, ok := all.system()
	if disk, found := outside.system(); !ok || !found || inside != disk {
		t.Errorf("the system's Python is %+v, and by detect --root %+v", inside, disk)
	}
	if !slices.Equal(all.Detect.HTTPDs, outside.Detect.HTTPDs) {
		t.Errorf("the httpds are %+v, and by detect --root %+v", all.Detect.HTTPDs, outside.Detect.HTTPDs)
	}
	py, found := all.Detect.Pythons, ""
	if len(py) == 0 || py[0].Verdict != "chosen" || !py[0].Builds || py[0].Python.Version != c.python {
		t.Errorf("detect: Python %s expected, %s", c.python, out)
	}
	for _, h := range all.Detect.HTTPDs {
		found += h.HTTPD.Provenance
	}
	if c.systemHost.root == "bare" && found != "" || c.systemHost.root == "complete" && found != "system" {
		t.Errorf("detect: httpds %q, %s", found, out)
	}
}

func checkServed(t *testing.T, c *systemCell, out string)      { c.served(t, "/opt/work/v", out) }
func checkServedOther(t *testing.T, c *systemCell, out string) { c.served(t, "/opt/work/other", out) }

// checkServedByDeb: the package has a Python environment of its own, or uses the
// system's Python.
func checkServedByDeb(t *testing.T, c *systemCell, out string) {
	var a answer
	decode(t, out, &a)
	if !strings.HasPrefix(c.python, a.Version+".") || a.Path != "/some/path" || strings.HasPrefix(a.Prefix, "/opt/work") {
		t.Errorf("answer %+v", a)
	}
}

func (c *systemCell) served(t *testing.T, prefix, out string) {
	var a answer
	at := strings.LastIndex(out, "{")
	decode(t, out[max(at, 0):], &a)
	if a.Prefix != prefix || !strings.HasPrefix(c.python, a.Version+".") || a.Path != "/some/path" {
		t.Errorf("answer %+v, not from %s of Python %s", a, prefix, c.python)
	}
}

func checkListed(t *testing.T, c *systemCell, out string) {
	var all struct {
		Installed []struct {
			Name, Version, HTTPD string
			Features             []string
		}
	}
	decode(t, out, &all)
	var names []string
	for _, d := range all.Installed {
		names = append(names, d.Name)
		if d.Name == "mod_wsgi" {
			c.versions = [2]string{d.Version, d.HTTPD}
			t.Logf("Python %s, mod_wsgi %s, httpd %s", c.python, d.Version, d.HTTPD)
		}
		for _, f := range strings.Split(c.with, ",") {
			if d.Name == "mod_wsgi-httpd" && f != "" && !slices.Contains(d.Features, f) {
				t.Errorf("httpd has no %s: %v", f, d.Features)
			}
		}
	}
	want := []string{"mod_wsgi"}
	if c.httpd == "bundled" {
		want = append(want, "mod_wsgi-httpd")
	}
	if !slices.Equal(names, want) {
		t.Errorf("list: %q, not %q", names, want)
	}
}

// decode reads the last line of JSON in an output.
func decode(t *testing.T, out string, into any) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), into); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// systemsPage is the page docs/systems.md.
func systemsPage(cells []*systemCell, commit string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Tested systems

<!-- Generated by "make systems". -->

Each row is a host on which every step succeeded, in a root file system of that Debian release. A cell has the elapsed
time and the CPU time in seconds, on a machine with %d processors that other work may have shared. The run was made on
%s with commit %s.

`, runtime.NumCPU(), time.Now().UTC().Format("2 January 2006"), commit)
	heads := []string{"system", "CPU", "Python", "mod_wsgi", "httpd", "host"}
	for _, s := range systemSteps {
		heads = append(heads, s.name)
	}
	row := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	row(heads)
	row(slices.Repeat([]string{"---"}, len(heads)))
	for _, c := range cells {
		line := []string{fmt.Sprintf("Debian %s (%s)", c.release, c.suite), runtime.GOARCH, c.python, c.versions[0], c.versions[1], c.name}
		if c.first != "" {
			line[5] += " + " + c.first
		}
		for _, s := range systemSteps {
			cell := "–"
			if s.applies(c) {
				cell = fmt.Sprintf("%.1f / %.1f", c.times[s.name].elapsed.Seconds(), c.times[s.name].cpu.Seconds())
			}
			line = append(line, cell)
		}
		row(line)
	}
	b.WriteString("\nHosts:\n\n")
	for _, h := range systemHosts {
		fmt.Fprintf(&b, "- *%s*: %s\n", h.name, h.about)
	}
	b.WriteString("\nA package after the host's name is one that `modwsgi doctor` asked for, installed with the command that it names. A module for the system's\nApache is not packaged as a wheel, because other hosts may lack that Apache.\n\n| step | proof |\n| --- | --- |\n")
	for _, s := range systemSteps {
		fmt.Fprintf(&b, "| %s | %s |\n", s.name, s.proof)
	}
	return b.String()
}
