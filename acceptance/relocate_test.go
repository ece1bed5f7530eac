//go:build acceptance

package acceptance

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"modwsgi/internal/freeport"
)

// relocated moves an environment from $2 to another file system at $3, removes $1 and
// $2, and uses it as another user without any variable. $4 is a port, $5 a Python.
const relocated = `
mount -t tmpfs -o mode=755 none "$3"
cp -a "$2/env" "$3/env"
rm -rf "$1" "$2"
env=$3/env
test "$(stat -c %d "$env")" != "$(stat -c %d /)"
as() { setpriv --reuid 65534 --regid 65534 --clear-groups env -i "$@"; }
httpd=$(echo "$env"/lib/python*/site-packages/mod_wsgi_packages/httpd)
echo LDD
as /usr/bin/ldd "$httpd/bin/httpd" "$httpd"/modules/*.so "$env"/lib/python*/site-packages/mod_wsgi/server/*.so
echo VERSION
# It prints all, then looks for the configuration of a place that never exists.
as "$httpd/bin/httpd" -V 2>/dev/null || true
for what in bindir sbindir libexecdir includedir PREFIX SYSCONFDIR PROGNAME; do
	echo "APXS $what=$(as "$env/bin/mod_wsgi-apxs" -q $what || echo none)"
done
# Every key that there is.
for what in $(as "$env/bin/mod_wsgi-apxs" -q | sed 's/=.*//'); do
	echo "KEY $what=$(as "$env/bin/mod_wsgi-apxs" -q "$what")"
done
echo GREP
grep -rIl -e "$1/" -e "$2/" "$httpd" "$env"/lib/python*/site-packages/mod_wsgi | grep -v -e __pycache__ -e /server/build.json || true
mkdir "$3/run"
chown 65534:65534 "$3/run"
cat >"$3/run/hello.wsgi" <<'EOF'
import sys
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [("ANSWER " + sys.prefix).encode()]
EOF
chmod 644 "$3/run/hello.wsgi"
cd "$3/run"
# Not by the function: that would be a shell of its own, which a signal ends alone.
setpriv --reuid 65534 --regid 65534 --clear-groups env -i "$env/bin/mod_wsgi-express" start-server hello.wsgi --host 127.0.0.1 --port "$4" --server-root "$3/run/root" >"$3/run/out" 2>&1 &
launcher=$!
"$5" - "$4" <<'EOF'
import sys, time, urllib.request
for attempt in range(200):
    try:
        print(urllib.request.urlopen("http://127.0.0.1:%s/" % sys.argv[1], timeout=20).read().decode())
        break
    except OSError:
        time.sleep(0.1)
EOF
kill $launcher || { cat "$3/run/out" "$3/run/root/error_log"; }
wait $launcher || true
`

// TestRelocated takes from the cache at one path what was built at another, and uses a
// copy of it at a third.
func TestRelocated(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can mount another file system and be another user")
	}
	dir := workdir(t, "relocate")
	a, b, c := filepath.Join(dir, "first-place"), filepath.Join(dir, "second-place"), filepath.Join(dir, "third")
	for _, d := range []string{a, b, c} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	python := setting(t, "MODWSGI_TEST_PYTHON")
	for _, at := range []string{a, b} {
		env := venv(t, python, filepath.Join(at, "env"), "--without-pip")
		if r := install(t, dir, "--python", env); r.code != 0 {
			t.Fatal(r)
		}
	}
	r := command(t, "/", os.Environ(), "unshare", "-m", "sh", "-euc", relocated, "sh", a, b, c, strconv.Itoa(freeport.Get(t)), python)
	if r.code != 0 {
		t.Fatal(r)
	}
	env := filepath.Join(c, "env")
	for _, want := range []string{"Server version: Apache/2.4", "ANSWER " + env + "\n", "APXS libexecdir=" + env, "APXS PREFIX=" + env} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("lacks %q", want)
		}
	}
	for _, not := range []string{"not found", a + "/", b + "/"} {
		if strings.Contains(r.stdout, not) {
			t.Errorf("has %q", not)
		}
	}
	if n := strings.Count(r.stdout, "\nKEY "); n < 80 || strings.Count(r.stdout, "="+env) < 20 {
		t.Errorf("%d keys", n)
	}
	_, rest, _ := strings.Cut(r.stdout, "GREP\n")
	if files, _, _ := strings.Cut(rest, "ANSWER"); strings.TrimSpace(files) != "" {
		t.Errorf("these files name the first places: %s", files)
	}
	ldd, _, _ := strings.Cut(r.stdout, "VERSION\n")
	for line := range strings.Lines(ldd) {
		if strings.Contains(line, "libapr-1") && !strings.Contains(line, env) {
			t.Errorf("another APR: %s", line)
		}
	}
	if t.Failed() {
		t.Log(r)
	}
}
