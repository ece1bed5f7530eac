//go:build acceptance && linux

package acceptance

import (
	"strings"
	"testing"

	"modwsgi/internal/testkit"
)

// These tests run modwsgi in root file systems of Debian releases, which
// scripts/debian-roots makes, with the Python and the Apache of each.

// suiteInstall defines install for scripts in a suite's root file system.
const suiteInstall = `
install() { $bin/modwsgi install --break-system-packages --httpd system --offline --source-dir /opt/modwsgi-test/sources --lock-file /tmp/modwsgi.lock "$@"; }
`

// TestDebianReleases installs into the system's Python of Debian releases, whose
// sysconfig does not always name the directory that it imports from, and into
// environments of it.
func TestDebianReleases(t *testing.T) {
	testkit.Turn(t, "systems")
	for _, suite := range []string{"bullseye", "bookworm", "trixie", "testing", "sid"} {
		t.Run(suite, func(t *testing.T) {
			root := debianRoot(t, suite, "complete")
			ran := root.run(t, suiteInstall+`
trap '$bin/modwsgi uninstall --python /usr/bin/python3 >/dev/null 2>&1; rm -rf /opt/modwsgi-test/v /opt/modwsgi-test/shadow' EXIT
list() { find /usr/local /usr/lib/python3* | grep -v __pycache__ | sort | md5sum; }
before=$(list)
echo "plan: $(install --dry-run --python /usr/bin/python3 | tail -1)"
install --python /usr/bin/python3 || exit 1
site=$(python3 -c 'import mod_wsgi, os; print(os.path.dirname(os.path.dirname(mod_wsgi.__file__)))') || exit 2
echo "site: $site"
python3 -I -c 'import mod_wsgi' || exit 3
$bin/modwsgi verify --python /usr/bin/python3 || exit 4
/usr/local/bin/mod_wsgi-express module-config || exit 5
mkdir -p /opt/modwsgi-test/shadow/mod_wsgi && touch /opt/modwsgi-test/shadow/mod_wsgi/__init__.py
echo 'import sys; sys.path.insert(0, "/opt/modwsgi-test/shadow")' >$site/shadow.pth
$bin/modwsgi verify --python /usr/bin/python3 && exit 6
rm $site/shadow.pth
$bin/modwsgi uninstall --python /usr/bin/python3 || exit 7
[ "$before" = "$(list)" ] || echo changed
for options in --without-pip '--without-pip --system-site-packages'; do
	rm -rf /opt/modwsgi-test/v
	python3 -m venv $options /opt/modwsgi-test/v || exit 8
	install --python /opt/modwsgi-test/v || exit 9
	/opt/modwsgi-test/v/bin/python -c 'import mod_wsgi; print("environment:", mod_wsgi.__file__)' || exit 10
done
# The package directory does not exist before the first package.
for dir in /usr/local/lib /usr/local/bin; do mount -t tmpfs -o mode=755 tmpfs $dir; done
(umask 027; install --python /usr/bin/python3) || exit 11
python3 -c 'import mod_wsgi' || exit 12
`)
			if ran.code != 0 {
				t.Fatal(ran)
			}
			version := strings.TrimSpace(root.run(t, "cd /usr/bin && ls python3.? python3.?? 2>/dev/null | tail -1").stdout)
			for _, want := range []string{
				"plan: into /usr/local/lib/" + version + "/dist-packages and /usr/local/bin\n", "site: /usr/local/lib/" + version + "/dist-packages\n",
				"environment: /opt/modwsgi-test/v/lib/" + version + "/site-packages/mod_wsgi/__init__.py\n",
			} {
				if !strings.Contains(ran.stdout, want) {
					t.Errorf("no %q in %v", want, ran)
				}
			}
			if suite == "bullseye" && !strings.Contains(ran.stdout, "instead of 6.0.5: it needs Python >= 3.10, and this is 3.9.") {
				t.Errorf("the report does not say why an older mod_wsgi is used: %v", ran)
			}
			if strings.Contains(ran.stdout, "changed\n") {
				t.Errorf("uninstall left something behind: %v", ran)
			}
			if want := "imports mod_wsgi from /opt/modwsgi-test/shadow/mod_wsgi, not from"; !strings.Contains(ran.stderr, want) {
				t.Errorf("no %q in %v", want, ran)
			}
		})
	}
}

// TestDebianReleasePackage builds a package for a system Python whose sysconfig names a
// directory that does not exist.
func TestDebianReleasePackage(t *testing.T) {
	testkit.Turn(t, "systems")
	root := debianRoot(t, "bullseye", "complete")
	ran := root.run(t, suiteInstall+`
$bin/modwsgi package deb --python /usr/bin/python3 --httpd system --maintainer 'A <a@b.example>' --offline --source-dir /opt/modwsgi-test/sources --lock-file /tmp/modwsgi.lock --out /tmp/dist || exit 1
dpkg-deb -c /tmp/dist/*.deb
`)
	if ran.code != 0 || !strings.Contains(ran.stdout, "mod_wsgi") {
		t.Error(ran)
	}
}

// TestDebianSuites: on unstable, os-release names the next release and apt's lists say
// sid. Upstream's address is blocked, so the archive must come from a source package.
func TestDebianSuites(t *testing.T) {
	testkit.Turn(t, "systems")
	root := debianRoot(t, "sid", "complete")
	ran := root.run(t, suiteInstall+`
apt-get -o Acquire::Check-Valid-Until=false update >/dev/null 2>&1 || { echo offline; exit 0; }
trap '$bin/modwsgi uninstall --python /opt/modwsgi-test/v >/dev/null 2>&1; rm -rf /opt/modwsgi-test/v' EXIT
python3 -m venv --without-pip /opt/modwsgi-test/v
https_proxy=http://127.0.0.1:9 $bin/modwsgi install --python /opt/modwsgi-test/v --httpd system --mod-wsgi-version 5.0.2 --lock-file /tmp/modwsgi.lock
`)
	if ran.code == 0 && ran.stdout == "offline\n" {
		t.Skip("the mirror is unavailable")
	}
	if ran.code != 0 || !strings.Contains(ran.stdout, "mod-wsgi_5.0.2.orig.tar.gz") {
		t.Error(ran)
	}
}

// TestDebianNewestPythons serves with the Pythons of unstable that are not its default,
// and the newest mod_wsgi.
func TestDebianNewestPythons(t *testing.T) {
	testkit.Turn(t, "systems")
	root := debianRoot(t, "sid", "complete")
	for _, version := range []string{"3.13", "3.14", "3.15"} {
		ran := root.run(t, suiteInstall+`
apt-get -o Acquire::Check-Valid-Until=false update >/dev/null 2>&1 || { echo offline; exit 0; }
apt-get -y -q --no-install-recommends install python`+version+`-dev >/tmp/apt.log 2>&1 || { cat /tmp/apt.log; exit 1; }
trap 'kill $server; rm -rf /opt/modwsgi-test/v' EXIT
server=
python`+version+` -m venv --without-pip /opt/modwsgi-test/v || exit 2
install --python /opt/modwsgi-test/v || exit 3
printf 'import sys\ndef application(environ, start_response):\n    start_response("200 OK", [])\n    return [b"answer: %%d.%%d\\n" %% sys.version_info[:2]]\n' >/opt/modwsgi-test/v/app.wsgi
/opt/modwsgi-test/v/bin/mod_wsgi-express start-server /opt/modwsgi-test/v/app.wsgi --port 18460 --host 127.0.0.1 --user www-data --group www-data >/tmp/log 2>&1 &
server=$!
for i in $(seq 100); do
	curl -fsS http://127.0.0.1:18460/ 2>/dev/null && break
	sleep 0.3
done
cat /tmp/log >&2
`)
		if ran.code == 0 && ran.stdout == "offline\n" {
			t.Skip("the mirror is unavailable")
		}
		if ran.code != 0 || !strings.Contains(ran.stdout, "answer: "+version+"\n") {
			t.Errorf("Python %s: %v", version, ran)
		}
	}
}

// TestDebianMissing: everything that is missing is named at once, with one command. The
// headers are hidden by an empty file system.
func TestDebianMissing(t *testing.T) {
	testkit.Turn(t, "systems")
	root := debianRoot(t, "trixie", "complete")
	ran := root.run(t, suiteInstall+`
mount -t tmpfs tmpfs /usr/include
install --dry-run --python /usr/bin/python3 --httpd bundled --libraries host --with tls,http2
`)
	want := "hint: apt-get install python3.13-dev libc6-dev libssl-dev libnghttp2-dev\n"
	if ran.code != 3 || !strings.Contains(ran.stderr, want) || ran.stdout != "" {
		t.Errorf("no %q in %v", want, ran)
	}
	ran = root.run(t, suiteInstall+`
mount -t tmpfs tmpfs /usr/include
mount -t tmpfs tmpfs /usr/share/apache2
mkdir /tmp/bin
for name in sh cat; do ln -s /bin/$name /tmp/bin/$name; done
PATH=/tmp/bin install --dry-run --python /usr/bin/python3
`)
	if want := "apt-get install apache2-dev python3.13-dev build-essential\n"; ran.code != 3 || !strings.Contains(ran.stderr, want) || strings.Count(ran.stderr, "hint:") != 1 {
		t.Errorf("no %q in %v", want, ran)
	}
}
