//go:build acceptance && linux

package acceptance

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/testkit"
)

// life is what a user without an account does with an environment, from a cache. Its
// arguments are the directory of the programs, the cache and a directory to work in.
const life = `set -eu
bin=$1 work=$2
host=${HOST:-127.0.0.1} url=${URLHOST:-127.0.0.1}
cd "$work"
/usr/bin/python3 -m venv --without-pip venv
"$bin/modwsgi" doctor --python venv
"$bin/modwsgi" install --python venv --httpd bundled --offline
"$bin/modwsgi" verify --python venv
"$bin/modwsgi" package wheel --from-env venv --out dist
cat >hello.wsgi <<'EOP'
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"served"]
EOP
cat >ask.py <<'EOP'
import sys, time, urllib.request
for attempt in range(200):
    try:
        print("ANSWER", urllib.request.urlopen(sys.argv[1], timeout=20).read().decode())
        break
    except OSError:
        time.sleep(0.1)
EOP
port=$(venv/bin/python -c 'import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
s.bind((sys.argv[1], 0))
print(s.getsockname()[1])' "$host")
venv/bin/mod_wsgi-express setup-server hello.wsgi --host "$host" --port "$port" --server-root root
root/apachectl start
venv/bin/python ask.py "http://$url:$port/"
root/apachectl graceful
venv/bin/python ask.py "http://$url:$port/"
venv/bin/mod_wsgi-express stop --server-root root
"$bin/modwsgi" uninstall --python venv
echo LIVED
`

// TestOddHosts lets a user ID without an account live through that on hosts that lack
// something. On some of them modwsgi once failed, or claimed that it would.
func TestOddHosts(t *testing.T) {
	testkit.Turn(t, "odd")
	if os.Geteuid() != 0 {
		t.Skip("only root can hide parts of the machine (mount namespace)")
	}
	if err := exec.Command("unshare", "-m", "true").Run(); err != nil {
		t.Skipf("mount namespaces are unavailable here: %v", err)
	}
	const id = "54321"
	as := "setpriv --reuid " + id + " --regid " + id + " --clear-groups"
	top, err := os.MkdirTemp("/var/tmp", "mwo") // room for a socket's path below it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(top) })
	if err := os.Chmod(top, 0o755); err != nil {
		t.Fatal(err)
	}
	cache := filepath.Join(top, "cache")
	must(t, "/", os.Environ(), "cp", "-r", setting(t, "MODWSGI_TEST_CACHE"), cache)
	must(t, "/", os.Environ(), "chown", "-R", id, cache)
	for _, c := range []struct {
		name   string
		hide   string // as root, in a private mount namespace; $1 is the directory of the test, $2 that of the case
		as     string // how the user starts
		env    []string
		want   string // part of the output; "" for LIVED
		noPath bool
	}{
		{name: "read-only root", hide: `mount -t tmpfs none "$2"; chown ` + id + ` "$2"; mount --bind "$1/cache" "$1/cache"
mount -t tmpfs -o ro none /tmp; mount -t tmpfs -o ro none /dev/shm; mount --bind / /mnt; mount -o remount,bind,ro /`},
		{name: "small noexec tmp", hide: "mount -t tmpfs -o noexec,size=256k,mode=1777 none /tmp"},
		{name: "no PATH", noPath: true},
		{name: "user namespace", as: as + " unshare -c"},
		{name: "no IPv4", as: `unshare -n sh -c 'ip link set lo up; ip -4 addr flush dev lo; exec "$@"' sh ` + as, env: []string{"HOST=::1", "URLHOST=[::1]"}},
		{name: "no proc", hide: "mount -t tmpfs none /proc", want: "/proc is not mounted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			work := filepath.Join(top, strings.ReplaceAll(c.name, " ", "-"))
			if err := os.Mkdir(work, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(work, 54321, 54321); err != nil {
				t.Fatal(err)
			}
			start, env := c.as, append([]string{"MODWSGI_CACHE_DIR=" + cache}, c.env...)
			if start == "" {
				start = as
			}
			if !c.noPath {
				env = append(env, "PATH=/usr/local/bin:/usr/bin:/bin")
			}
			script := c.hide + "\n" + `bin=$3 work=$2; shift 3; life=$1; shift
exec ` + start + ` env -i "$@" sh -c "$life" sh "$bin" "$work"`
			r := command(t, "/", os.Environ(), append([]string{
				"unshare", "-m", "sh", "-ec", script, "sh", top, work, setting(t, "MODWSGI_TEST_BIN"), life,
			}, env...)...)
			want := c.want
			if want == "" {
				want = "LIVED"
			}
			if !strings.Contains(r.stdout+r.stderr, want) || c.want == "" && strings.Count(r.stdout, "ANSWER served") != 2 {
				t.Error(r)
			}
		})
	}
}
