//go:build acceptance

package acceptance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func statTime(name string) time.Time {
	info, err := os.Stat(name)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// machine is a script that makes a copy of this machine whose changes are discarded:
// an overlay of the root file system, entered with chroot. Its arguments are the
// command to run there.
const machine = `set -e
base=$(mktemp -d /var/tmp/modwsgi-machine-XXXXXX)
mount -t tmpfs none "$base"
mkdir "$base/upper" "$base/work" "$base/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" "$base/root"
mount --rbind /dev "$base/root/dev"
mount -t proc proc "$base/root/proc"
trap 'cd /; umount -l "$base/root/dev" "$base/root/proc" "$base/root" "$base"; rmdir "$base"' EXIT
chroot "$base/root" "$@"
exit 0
`

// onMachine runs a shell script on such a copy.
//
// The copy lacks files that an earlier package of this project installed on the
// machine, because the tests compare its contents before and after.
func onMachine(t *testing.T, script string) result {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make a copy of the machine (overlay, chroot)")
	}
	probe := command(t, "/", os.Environ(), "unshare", "-m", "sh", "-c", machine, "sh", "true")
	if probe.code != 0 {
		t.Skipf("an overlay of the root file system is unavailable here: %v", probe)
	}
	return command(t, "/", os.Environ(), "unshare", "-m", "sh", "-c", machine, "sh", "sh", "-euc", withoutOurs+script)
}

// withoutOurs removes the files that this project's packages install from the copy.
const withoutOurs = `test "$(stat -c %m /)" = / && test "$(stat -f -c %T /)" = overlayfs
rm -rf /usr/share/man/man1/modwsgi* /usr/share/man/man1/mod_wsgi-* /usr/share/doc/mod-wsgi-express* /usr/share/lintian/overrides/mod-wsgi-express* \
	/usr/bin/mod_wsgi-* /usr/lib/systemd/system/mod_wsgi-express* /usr/lib/sysusers.d/*modwsgi* /usr/lib/tmpfiles.d/*modwsgi* /opt/modwsgi /etc/modwsgi /var/lib/modwsgi
`

// TestSystemApache installs Debian's Apache with its headers and builds only the
// module for it.
func TestSystemApache(t *testing.T) {
	env := filepath.Join("/var/tmp", "system-env")
	dir := workdir(t, "certificate")
	key := keyPair(t, dir)
	r := onMachine(t, `
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends apache2-dev apache2-bin >/dev/null
`+setting(t, "MODWSGI_TEST_PYTHON")+` -m venv --without-pip `+env+`
cd /var/tmp
`+strings.Join(installArgs(t, "--python", env, "--httpd", "system"), " ")+`
`+program(t, "modwsgi")+` list --python `+env+`
test ! -e `+env+`/lib/python3*/site-packages/mod_wsgi_packages
cat > hello.wsgi <<'EOF'
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["SERVER_SOFTWARE"].encode()]
EOF
chmod 755 /var/tmp/system-env
`+env+`/bin/mod_wsgi-express start-server hello.wsgi --host 127.0.0.1 --port 18480 --user www-data --server-root /var/tmp/system-root &
launcher=$!
`+env+`/bin/python - <<'EOF'
import time, urllib.request
for attempt in range(100):
    try:
        print("ANSWER", urllib.request.urlopen("http://127.0.0.1:18480/", timeout=20).read().decode())
        break
    except OSError:
        time.sleep(0.1)
EOF
kill $launcher
wait $launcher || true
# Debian's Apache has mod_http2: the protocol is negotiated over TLS (ALPN), and
# both sides speak it (RFC 9113: the client's preface, then frames of settings).
`+env+`/bin/mod_wsgi-express start-server hello.wsgi --host 127.0.0.1 --port 18480 --user www-data --server-root /var/tmp/system-root --http2 \
	--https-port 18443 --server-name localhost --ssl-certificate `+key+` &
launcher=$!
`+env+`/bin/python - `+key+`.crt <<'EOF'
import socket, ssl, sys, time
context = ssl.create_default_context(cafile=sys.argv[1])
context.set_alpn_protocols(["h2", "http/1.1"])
for attempt in range(100):
    try:
        plain = socket.create_connection(("127.0.0.1", 18443), timeout=20)
        break
    except OSError:
        time.sleep(0.1)
connection = context.wrap_socket(plain, server_hostname="localhost")
connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
header = connection.recv(9)
print("NEGOTIATED", connection.selected_alpn_protocol(), "FRAME", header[3])
EOF
kill $launcher
wait $launcher || true
# auto takes the system's too, now that it is there
`+strings.Join(installArgs(t, "--python", env, "--httpd", "auto"), " ")+`
`)
	for _, want := range []string{"at /usr/sbin/apache2", "Verified: Apache/", "ANSWER Apache", "NEGOTIATED h2 FRAME 4", "Nothing to do"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("lacks %q: %v", want, r)
			return
		}
	}
}

// TestMachineCopyHasNoModwsgi installs one of our manual pages on a copy, and
// copies that copy.
func TestMachineCopyHasNoModwsgi(t *testing.T) {
	r := onMachine(t, `mkdir -p /usr/share/man/man1 && touch /usr/share/man/man1/mod_wsgi-express.1.gz /usr/share/man/man1/other.1.gz
`+withoutOurs+`
test ! -e /usr/share/man/man1/mod_wsgi-express.1.gz && test -e /usr/share/man/man1/other.1.gz && echo CLEAN`)
	if !strings.Contains(r.stdout, "CLEAN") {
		t.Error(r)
	}
}
