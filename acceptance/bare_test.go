//go:build acceptance && linux

package acceptance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/testkit"
)

// TestBareHost installs on a Debian with a compiler and a Python and nothing else: no
// header of OpenSSL, nghttp2, zlib, Expat or libcrypt, and no make. The httpd serves over
// HTTPS and HTTP/2, also after its environment was moved, and a second build is identical
// byte for byte. It takes as long as two builds of OpenSSL.
func TestBareHost(t *testing.T) {
	testkit.Turn(t, "libraries")
	root := debianRoot(t, "sid", "bare")
	// python3-dev depends on them, although Python.h does not include their headers.
	if r := root.run(t, "dpkg --force-depends --purge zlib1g-dev libexpat1-dev"); r.code != 0 {
		t.Fatal(r)
	}
	for _, name := range []string{"usr/include/openssl/ssl.h", "usr/include/nghttp2", "usr/include/zlib.h", "usr/include/expat.h", "usr/include/crypt.h", "usr/bin/make"} {
		if _, err := os.Stat(filepath.Join(root.dir, name)); err == nil {
			t.Fatalf("the root file system has %s", name)
		}
	}
	own := filepath.Join(root.dir, "opt/modwsgi-test")
	// The archives of all components, wherever they are available.
	must(t, "/", os.Environ(), program(t, "modwsgi"), "package", "sdist", "--libraries", "bundled", "--with", "http2", "--allow-vulnerable", "--sources", "none",
		"--cache-dir", setting(t, "MODWSGI_TEST_CACHE"), "--lock-file", filepath.Join(t.TempDir(), "lock"), "--out", filepath.Join(t.TempDir(), "dist"))
	files, err := filepath.Glob(filepath.Join(setting(t, "MODWSGI_TEST_CACHE"), "downloads/archives/sha256/*/*.t*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(filepath.Join(own, "sources", filepath.Base(file)), data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	key := keyPair(t, workdir(t, "certificate"))
	for _, end := range []string{".key", ".crt"} {
		data, err := os.ReadFile(key + end)
		if err == nil {
			err = os.WriteFile(filepath.Join(own, "server"+end), data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	r := root.run(t, bareScript)
	if r.code != 0 {
		t.Fatal(r)
	}
	for _, want := range []string{
		"libxcrypt: build ", "openssl: build 3.5.", "note: OpenSSL is built from source, which takes several times as long",
		"REFUSED apt-get install ", "NOPERL needs Perl",
		"Verified: Apache/", "HELLO 2 first", "HELLO 2 moved", "LINKS libcrypto-modwsgi.so.3 libssl-modwsgi.so.3", "CRYPT libcrypt-modwsgi.so.2", "PYTHON OpenSSL 3.",
		"IDENTICAL",
	} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("lacks %q: %v", want, r)
			return
		}
	}
}

const bareScript = `
cd /opt/modwsgi-test
trap 'kill $server 2>/dev/null; rm -rf /var/tmp/bare-*' EXIT
python3 -m venv --without-pip v || exit 1
own() { $bin/modwsgi install --offline --source-dir sources --allow-vulnerable --with http2 --lock-file lock "$@"; }
own --dry-run --python v || exit 2
own --dry-run --libraries host --python v 2>&1 | sed -n 's/.*hint: .*\(apt-get install .*libnghttp2-dev\).*/REFUSED \1/p'
mkdir noperl
for dir in /usr/bin /usr/sbin; do for file in $dir/*; do [ "${file##*/}" = perl ] || ln -sf $file noperl/; done; done
PATH=$PWD/noperl own --dry-run --python v 2>&1 | sed -n 's/.*\(needs Perl\).*/NOPERL \1/p'
own --python v --cache-dir /var/tmp/bare-1 --progress plain || exit 3
cat >hello.wsgi <<'EOF'
import ssl
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [("HELLO %s %s\nPYTHON %s\n" % (environ["SERVER_PROTOCOL"].split("/")[1].split(".")[0], environ["QUERY_STRING"], ssl.OPENSSL_VERSION)).encode()]
EOF
serve() { # environment query
	$1/bin/mod_wsgi-express start-server hello.wsgi --host 127.0.0.1 --port 18481 --user nobody --group nogroup --server-root /var/tmp/bare-root \
		--http2 --https-port 18444 --server-name localhost --ssl-certificate /opt/modwsgi-test/server &
	server=$!
	for i in $(seq 100); do
		curl -s --http2 --cacert server.crt "https://localhost:18444/?$2" && break
		sleep 0.2
	done
	kill $server
	wait $server
}
serve v first
mv v elsewhere
serve elsewhere moved
tree=$(echo elsewhere/lib/python3*/site-packages/mod_wsgi_packages/httpd)
cat >needed.py <<'EOF'
import re, sys
data = open(sys.argv[1], "rb").read()
print(sys.argv[2], *sorted(set(n.decode() for n in re.findall(rb"lib(?:ssl|crypto|crypt)[-a-z]*\.so\.\d", data))))
EOF
python3 needed.py $tree/modules/mod_ssl.so LINKS
python3 needed.py $tree/bin/htpasswd CRYPT
python3 -m venv --without-pip w
own --python w --cache-dir /var/tmp/bare-2 --jobs 3 >/dev/null || exit 4
sums() { (cd $1/lib/python3*/site-packages/mod_wsgi_packages/httpd && find . -type f ! -name '*.pyc' | sort | xargs sha256sum); }
sums elsewhere >first.sums
sums w >second.sums
cmp first.sums second.sums && echo IDENTICAL
`
