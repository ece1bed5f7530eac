//go:build acceptance

package acceptance

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"modwsgi/internal/freeport"
)

// booted is a script that makes a copy of this machine as machine does, lets its first
// argument prepare it, and starts systemd as its first process, which runs the second
// argument and ends. Parts that need hardware are left out.
const booted = `set -e
base=$(mktemp -d /var/tmp/modwsgi-machine-XXXXXX)
mount -t tmpfs none "$base"
r=$base/root
mkdir "$base/upper" "$base/work" "$r"
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" "$r"
mount -t tmpfs -o mode=755 dev "$r/dev"
for n in null zero full random urandom tty; do cp -a "/dev/$n" "$r/dev/"; done
mkdir "$r/dev/pts" "$r/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$r/dev/pts"
ln -s pts/ptmx "$r/dev/ptmx"
ln -s /proc/self/fd "$r/dev/fd"
mount -t tmpfs -o mode=1777 shm "$r/dev/shm"
mount -t tmpfs -o mode=755 run "$r/run"
mkdir "$r/run/lock"
mount -t proc proc "$r/proc"
mount -t sysfs -o ro sysfs "$r/sys"
mount -t cgroup2 cgroup2 "$r/sys/fs/cgroup"
trap 'cd /; umount -l "$base"; rmdir "$base"' EXIT
chroot "$r" sh -eux -c "$1"
umount "$r/proc"
units=$r/etc/systemd/system
for u in sysctl modules-load firstboot machine-id-commit network-generator remount-fs tmpfiles-setup-dev update-utmp; do ln -sf /dev/null "$units/systemd-$u.service"; done
for u in dev-hugepages dev-mqueue sys-fs-fuse-connections sys-kernel-debug sys-kernel-tracing; do ln -sf /dev/null "$units/$u.mount"; done
rm -f "$r/etc/machine-id"
echo 0123456789abcdef0123456789abcdef > "$r/etc/machine-id"
printf '%s\n' "$2" > "$r/root/session"
cat > "$units/session.service" <<'X'
[Unit]
After=basic.target
[Service]
Type=oneshot
Environment=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
ExecStart=/bin/sh -c "sh -ux /root/session > /root/out 2>&1; systemctl exit 0"
TimeoutStartSec=240
X
printf '[Unit]\nRequires=basic.target\nAfter=basic.target\nWants=session.service\n' > "$units/session.target"
env -i container=other SYSTEMD_LOG_TARGET=null unshare -p -f --kill-child sh -c \
	'mount -t proc proc "$1/proc"; mount -o bind,ro "$1/proc/sys" "$1/proc/sys"; exec chroot "$1" /lib/systemd/systemd --unit=session.target --show-status=no' sh "$r"
cat "$r/root/out"
`

// inGroup runs booted in a separate control group, which systemd takes for the root of
// all.
const inGroup = `set -e
groups=/sys/fs/cgroup/unified
[ -d $groups ] || groups=/sys/fs/cgroup
test -e $groups/cgroup.procs
group=$(mktemp -d $groups/modwsgi-XXXXXX)
trap 'find "$group" -depth -type d -exec rmdir {} +' EXIT
(echo 0 > "$group/cgroup.procs"; exec unshare -m -C -u -i sh -c "$@")
`

// onSystemd runs a shell script under systemd, on a copy of this machine that another
// script has prepared. The result contains the output of both.
func onSystemd(t *testing.T, prepare, script string) result {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make a copy of the machine (overlay, chroot)")
	}
	if _, err := os.Stat("/lib/systemd/systemd"); err != nil {
		t.Skip("systemd not found: services are not tested")
	}
	env := []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"}
	probe := command(t, "/", env, "sh", "-c", inGroup, "sh", booted, "sh", "true", "echo BOO''TED")
	if !strings.Contains(probe.stdout, "\nBOOTED\n") {
		t.Skipf("systemd cannot be the first process of a namespace here: %v", probe)
	}
	return command(t, "/", env, "sh", "-c", inGroup, "sh", booted, "sh", prepare, script)
}

// serviceScript uses the service as an administrator does, and upgrades and removes
// the package meanwhile. @PORT@, @UPGRADE@, @REMOVE@ are filled in.
const serviceScript = `unit=mod_wsgi-express@shop
busy=/var/lib/modwsgi/shop/busy
slow() { # returns once the application runs the request
	rm -f $busy
	get /slow &
	while [ ! -e $busy ] && kill -0 $!; do sleep 0.1; done
}
systemctl start $unit && echo "STARTED"
get /who
slow
systemctl reload $unit && echo "RELOADED"
wait; get /who
slow
systemctl restart $unit && echo "RESTARTED"
wait; get /who
kill -9 $(systemctl show -P MainPID $unit)
while [ "$(systemctl show -P NRestarts $unit)" = 0 ]; do sleep 0.1; done
systemctl start $unit; get /who
systemctl start mod_wsgi-express@bad || echo "BAD REFUSED"
sleep 1; echo "BAD TRIED AGAIN $(systemctl show -P NRestarts mod_wsgi-express@bad)"
systemctl start mod_wsgi-express@none || echo "NONE REFUSED"
before=$(systemctl show -P MainPID $unit)
@UPGRADE@ && echo "UPGRADED"
test "$before" != "$(systemctl show -P MainPID $unit)" && echo "RESTARTED BY THE UPGRADE"
tail -n 1 /etc/modwsgi/hello.conf
get /who
systemctl enable $unit
slow
@REMOVE@ && echo "REMOVED"
wait
systemctl is-active $unit
pgrep -u modwsgi -l || echo "NOTHING RUNS"
ls -d /opt/modwsgi /usr/bin/mod_wsgi-express /etc/systemd/system/*.wants/mod_wsgi* /usr/lib/systemd/system/mod_wsgi*
echo "LEFT $(ls /etc/modwsgi /run/mod_wsgi-express | tr '\n' ' ')"
`

// TestServices installs the package with a private httpd on machines with systemd, and
// starts, reloads, restarts, upgrades and removes the service of an application: as
// deb with dpkg, and as rpm with rpm and its scriptlets.
func TestServices(t *testing.T) {
	dir := workdir(t, "services")
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	for _, format := range []string{"deb", "rpm"} {
		must(t, dir, bareEnv(), linuxArgs(t, format, one)...)
		must(t, dir, bareEnv(), linuxArgs(t, format, two, "--release", "2")...)
	}
	name := forSystem(t, "mod-wsgi-express-py311")
	t.Run("deb", func(t *testing.T) {
		t.Parallel()
		service(t, "dpkg -i "+onlyFile(t, one, "deb"), "dpkg -i "+onlyFile(t, two, "deb"), "dpkg -P "+name)
	})
	t.Run("rpm", func(t *testing.T) {
		t.Parallel()
		missing := "command -v rpm >/dev/null || { apt-get update -qq; apt-get install -y -qq --no-install-recommends rpm >/dev/null; }\n"
		service(t, missing+"rpm -i --nodeps "+onlyFile(t, one, "rpm"), "rpm -U --nodeps "+onlyFile(t, two, "rpm"), "rpm -e "+name)
	})
}

func service(t *testing.T, install, upgrade, remove string) {
	t.Helper()
	port := fmt.Sprint(freeport.Get(t))
	fill := strings.NewReplacer("@PORT@", port, "@UPGRADE@", upgrade, "@REMOVE@", remove)
	r := onSystemd(t, fill.Replace(`export DEBIAN_FRONTEND=noninteractive
rm -f /usr/sbin/policy-rc.d
command -v adduser >/dev/null || { apt-get update -qq; apt-get install -y -qq --no-install-recommends adduser >/dev/null; }
`+install+`
mkdir -p /srv/shop
cat > /srv/shop/shop.wsgi <<'X'
import os, pwd, time
def application(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        open("busy", "w").close()
        time.sleep(2)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [("ANSWER %s as %s in %s\n" % (environ["PATH_INFO"], pwd.getpwuid(os.getuid()).pw_name, os.getcwd())).encode()]
X
printf 'APPLICATION=/srv/shop/shop.wsgi\nOPTIONS=--host 127.0.0.1 --port @PORT@ --processes 2\n' > /etc/modwsgi/shop.conf
printf 'APPLICATION=/srv/shop/shop.wsgi\nOPTIONS=--no-such-option\n' > /etc/modwsgi/bad.conf
echo "# EDITED" >> /etc/modwsgi/hello.conf
cat > /usr/local/bin/get <<'X'
#!`+systemPython+`
import sys, urllib.request
print(urllib.request.urlopen("http://127.0.0.1:@PORT@" + sys.argv[1], timeout=30).read().decode().strip())
X
chmod 755 /usr/local/bin/get
`), fill.Replace(serviceScript))
	lines := strings.Split(r.stdout, "\n")
	count := func(want string) (n int) {
		for _, l := range lines {
			if l == want {
				n++
			}
		}
		return n
	}
	for want, times := range map[string]int{
		"STARTED": 1, "RELOADED": 1, "RESTARTED": 1, "BAD REFUSED": 1, "BAD TRIED AGAIN 0": 1, "NONE REFUSED": 1, "UPGRADED": 1, "RESTARTED BY THE UPGRADE": 1,
		"# EDITED": 1, "REMOVED": 1, "NOTHING RUNS": 1, "ANSWER /who as modwsgi in /var/lib/modwsgi/shop": 5, "ANSWER /slow as modwsgi in /var/lib/modwsgi/shop": 3,
	} {
		if count(want) != times {
			t.Errorf("%q is there %d times, not %d", want, count(want), times)
		}
	}
	for _, l := range lines {
		if strings.HasPrefix(l, "/") || strings.Contains(l, "Traceback") || strings.HasPrefix(l, "LEFT") && !strings.Contains(l, "shop.conf") {
			t.Errorf("afterwards: %s", l)
		}
	}
	if t.Failed() {
		t.Log(r)
	}
}

// socketScript uses a service with a socket unit as an administrator does, with clients
// that ask without a pause meanwhile. @HEX@ is the address in the kernel's form.
const socketScript = `listeners() { grep -c " @HEX@:0050 .* 0A " /proc/net/tcp; }
systemctl daemon-reload
systemctl enable shop.service && systemctl is-enabled shop.socket
systemctl start shop.socket
echo "ACTIVE BEFORE $(systemctl is-active shop.service)"
get || { systemctl status shop.service shop.socket --no-pager -l; journalctl -u shop --no-pager -n 50; exit 1; }
echo "ACTIVE AFTER $(systemctl is-active shop.service)"
main=$(systemctl show -P MainPID shop)
echo "LAUNCHER $(stat -c %U /proc/$main) CAPABILITIES $(grep CapEff /proc/$main/status | cut -f 2)"
echo "LISTENERS $(listeners)"
clients > /root/clients & all=$!
sleep 1
echo v1 > /srv/shop/version; systemctl reload shop && echo "RELOADED"; sleep 1; get
echo v2 > /srv/shop/version; systemctl restart shop && echo "RESTARTED"; get
echo v3 > /srv/shop/version; systemctl restart shop && echo "RESTARTED"; get
touch /root/enough; wait $all; cat /root/clients
kill -9 "$(systemctl show -P MainPID shop | grep -vx 0)" || exit 1
echo v4 > /srv/shop/version
while [ "$(systemctl show -P NRestarts shop)" = 0 ]; do sleep 0.1; done
systemctl start shop; get
echo "LISTENERS $(listeners)"
systemctl stop shop && echo "STOPPED"
echo v5 > /srv/shop/version; get
systemctl stop shop.socket shop.service
get || echo "REFUSED"
systemctl status shop.service shop.socket --no-pager
journalctl -u shop --no-pager -n 50
`

// printed checks how often lines are in the output of a script.
func printed(t *testing.T, r result, lines map[string]int) {
	t.Helper()
	for want, times := range lines {
		n := 0
		for l := range strings.Lines(r.stdout) {
			if strings.TrimSpace(l) == want {
				n++
			}
		}
		if n != times {
			t.Errorf("%q is there %d times, not %d", want, n, times)
		}
	}
}

// TestSocketUnitOnSystemd runs the units that systemd-unit prints: a user other than root
// serves on port 80, and clients lose nothing while the service is reloaded and restarted.
func TestSocketUnitOnSystemd(t *testing.T) {
	const address, hex = "127.0.0.87", "5700007F" // nobody else uses it
	fill := strings.NewReplacer("@HEX@", hex, "@HOST@", address, "@ENV@", setting(t, "MODWSGI_TEST_ENV"))
	r := onSystemd(t, fill.Replace(`mkdir -p /srv/shop
cp -a @ENV@ /srv/shop/.venv # the service has private temporary directories
echo v0 > /srv/shop/version
cat > /srv/shop/shop.wsgi <<'X'
import os, pwd
VERSION = open("/srv/shop/version").read().strip()
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [("ANSWER %s as %s %s" % (VERSION, pwd.getpwuid(os.getuid()).pw_name, [k for k in os.environ if k.startswith("LISTEN_")])).encode()]
X
unit() { /srv/shop/.venv/bin/mod_wsgi-express systemd-unit /srv/shop/shop.wsgi --user nobody --group nogroup --host @HOST@ --port 80 --processes 2 "$@"; }
unit --socket-activation > /etc/systemd/system/shop.service
unit --socket-unit > /etc/systemd/system/shop.socket
cat > /usr/local/bin/get <<'X'
#!`+systemPython+`
import urllib.request
print(urllib.request.urlopen("http://@HOST@/", timeout=30).read().decode().strip(), flush=True)
X
cat > /usr/local/bin/clients <<'X'
#!`+systemPython+`
import os, threading, time, urllib.request
end = time.time() + 60
asked, lost = [], []
def client():
    while not os.path.exists("/root/enough") and time.time() < end:
        asked.append(1)
        try:
            urllib.request.urlopen("http://@HOST@/", timeout=30).read()
        except Exception as e:
            lost.append(repr(e))
all = [threading.Thread(target=client) for _ in range(8)]
for t in all: t.start()
for t in all: t.join()
print("MANY" if len(asked) > 100 else "FEW", len(asked), flush=True)
print("LOST", len(lost), lost[:5], flush=True)
X
chmod 755 /usr/local/bin/get /usr/local/bin/clients
`), fill.Replace(socketScript))
	printed(t, r, map[string]int{
		"enabled": 1, "ACTIVE BEFORE inactive": 1, "ACTIVE AFTER active": 1, "LAUNCHER nobody CAPABILITIES 0000000000000000": 1, "LISTENERS 1": 2,
		"RELOADED": 1, "RESTARTED": 2, "STOPPED": 1, "REFUSED": 1, "LOST 0 []": 1,
		"ANSWER v0 as nobody []": 1, "ANSWER v1 as nobody []": 1, "ANSWER v2 as nobody []": 1, "ANSWER v3 as nobody []": 1, "ANSWER v4 as nobody []": 1, "ANSWER v5 as nobody []": 1,
	})
	if !strings.Contains(r.stdout, "\nMANY ") {
		t.Error("the clients asked too few times")
	}
	if t.Failed() {
		t.Log(r)
	}
}

// TestConfigurationOnSystemd runs the unit that systemd-unit prints in the directory of a
// project: the service reads the project's configuration file and gets a credential, which
// the unit does not contain, and obeys the file's changes when it is restarted.
func TestConfigurationOnSystemd(t *testing.T) {
	const address = "127.0.0.88" // nobody else uses it
	fill := strings.NewReplacer("@HOST@", address, "@ENV@", setting(t, "MODWSGI_TEST_ENV"), "@PORT@", strconv.Itoa(freeport.Get(t)))
	r := onSystemd(t, fill.Replace(`mkdir -p /srv/shop /etc/credstore
chmod 700 /etc/credstore
cp -a @ENV@ /srv/shop/.venv
echo "from the credential store" > /etc/credstore/token
chmod 600 /etc/credstore/token
cat > /srv/shop/shop.py <<'X'
import os, pwd
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [("ANSWER %s: %s, %s" % (pwd.getpwuid(os.getuid()).pw_name, environ["TOKEN"], environ["COLOUR"])).encode()]
X
cat > /srv/shop/pyproject.toml <<'X'
[project]
name = "shop"
[tool.mod_wsgi-express]
application = "shop.py"
host = "@HOST@"
port = @PORT@
[tool.mod_wsgi-express.setenv]
TOKEN = { credential = "token" }
COLOUR = "red"
X
cd /srv/shop
.venv/bin/mod_wsgi-express systemd-unit --user nobody --group nogroup > /etc/systemd/system/shop.service
cat > /usr/local/bin/get <<'X'
#!`+systemPython+`
import urllib.request
print(urllib.request.urlopen("http://@HOST@:@PORT@/", timeout=30).read().decode().strip(), flush=True)
X
chmod 755 /usr/local/bin/get
`), `mount --make-rshared / # systemd leaves that to whoever starts a container, and credentials need it
systemctl daemon-reload
grep ExecStart= /etc/systemd/system/shop.service; grep LoadCredential= /etc/systemd/system/shop.service
systemctl start shop && echo "STARTED"
get
sed -i 's/"red"/"blue"/' /srv/shop/pyproject.toml
systemctl restart shop && echo "RESTARTED"
get
sed -i 's/port =/prot =/' /srv/shop/pyproject.toml
systemctl stop shop && echo "STOPPED"
systemctl start shop || echo "REFUSED"
systemctl stop shop
sed -i 's/prot =/port =/' /srv/shop/pyproject.toml; rm /etc/credstore/token
systemctl start shop || echo "REFUSED"
journalctl -u shop --no-pager -n 50
`)
	printed(t, r, map[string]int{
		"LoadCredential=token": 1, "STARTED": 1, "RESTARTED": 1, "STOPPED": 1, "REFUSED": 2,
		"ANSWER nobody: from the credential store, red": 1, "ANSWER nobody: from the credential store, blue": 1,
	})
	for _, want := range []string{`"--config=/srv/shop/pyproject.toml"`, "/srv/shop/pyproject.toml:6: unknown key prot: did you mean port?"} {
		if !strings.Contains(r.stdout, want) && !strings.Contains(r.stdout, strings.TrimPrefix(want, "/srv/shop/")) {
			t.Errorf("%q is missing", want)
		}
	}
	if t.Failed() {
		t.Log(r)
	}
}
