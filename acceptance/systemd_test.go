//go:build acceptance

package acceptance

import (
	"fmt"
	"os"
	"path/filepath"
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
