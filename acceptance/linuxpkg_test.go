//go:build acceptance

package acceptance

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const maintainer = "Jane Doe <jane@debian.org>"

// systemPython is the distribution's Python, which packages depend on.
const systemPython = "/usr/bin/python3"

// systemVersion is its version, "3.11".
func systemVersion(t *testing.T) string {
	t.Helper()
	return strings.TrimSpace(must(t, "/", bareEnv(), systemPython, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").stdout)
}

// forSystem replaces Python 3.11 in a text with the system's version.
func forSystem(t *testing.T, text string) string {
	v := systemVersion(t)
	return strings.NewReplacer("py311", "py"+strings.ReplaceAll(v, ".", ""), "ython3.11", "ython"+v, "ython 3.11", "ython "+v, "ython 3\\.11", "ython "+regexp.QuoteMeta(v)).Replace(text)
}

func linuxArgs(t *testing.T, format, out string, args ...string) []string {
	argv := []string{program(t, "modwsgi"), "package", format, "--cache-dir", setting(t, "MODWSGI_TEST_CACHE"), "--maintainer", maintainer, "--out", out}
	if !slices.Contains(args, "--python") {
		argv = append(argv, "--python", systemPython)
	}
	return append(argv, args...)
}

// onlyFile is the only artifact of a kind in a directory.
func onlyFile(t *testing.T, dir, kind string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*."+kind))
	if err != nil || len(all) != 1 {
		t.Fatalf("%s: %v %v", dir, all, err)
	}
	return all[0]
}

// bundledPackages makes the packages with a private httpd, one per format.
func bundledPackages(t *testing.T) string {
	t.Helper()
	dist := filepath.Join(workdir(t, "packages"), "dist")
	for _, format := range []string{"deb", "rpm", "apk"} {
		must(t, filepath.Dir(dist), bareEnv(), linuxArgs(t, format, dist)...)
	}
	return dist
}

// TestLinuxPackages makes packages with a private httpd, twice. Debian's tools must
// agree with the dependencies, and each format's with the content.
func TestLinuxPackages(t *testing.T) {
	dist := bundledPackages(t)
	t.Run("again", func(t *testing.T) { t.Parallel(); sameAgain(t, dist) })
	t.Run("deb", func(t *testing.T) { t.Parallel(); debDependencies(t, onlyFile(t, dist, "deb")) })
	t.Run("apk", func(t *testing.T) { t.Parallel(); apkStructure(t, onlyFile(t, dist, "apk")) })
	t.Run("installed", func(t *testing.T) { t.Parallel(); debServes(t, dist) })
}

// sameAgain makes them again, at another path and later.
func sameAgain(t *testing.T, dist string) {
	other := filepath.Join(workdir(t, "a path with blanks"), "dist")
	for _, format := range []string{"deb", "rpm", "apk"} {
		must(t, "/", bareEnv("TMPDIR="+filepath.Dir(other), "TZ=Asia/Tokyo", "GOMAXPROCS=1"), linuxArgs(t, format, other)...)
		a, b := onlyFile(t, dist, format), onlyFile(t, other, format)
		one, err1 := os.ReadFile(a)
		two, err2 := os.ReadFile(b)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		if filepath.Base(a) != filepath.Base(b) || !bytes.Equal(one, two) {
			t.Errorf("%s differs when made again", filepath.Base(a))
		}
	}
}

// debDependencies compares our dependencies with those of dpkg-shlibdeps.
func debDependencies(t *testing.T, deb string) {
	dir := workdir(t, "shlibdeps")
	must(t, dir, bareEnv(), "dpkg-deb", "-x", deb, "root")
	if err := os.MkdirAll(filepath.Join(dir, "debian"), 0o755); err != nil {
		t.Fatal(err)
	}
	control := "Source: x\nMaintainer: x <x@x.org>\n\nPackage: x\nArchitecture: any\nDescription: x\n"
	if err := os.WriteFile(filepath.Join(dir, "debian/control"), []byte(control), 0o644); err != nil {
		t.Fatal(err)
	}
	script := `files=$(find root -type f \( -name '*.so' -o -name '*.so.*' -o -path '*/bin/*' \) -exec sh -c 'head -c4 "$1" | grep -q ELF && readelf -d "$1" | grep -q NEEDED' sh {} \; -print)
libs=$(dirname $(find root -name libapr-1.so.0))
dpkg-shlibdeps -O --ignore-missing-info -l$libs $files 2>/dev/null`
	r := must(t, dir, bareEnv(), "sh", "-c", script)
	theirs := strings.Split(strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(r.stdout), "shlibs:Depends=")), ", ")
	ours := strings.Split(strings.TrimSpace(must(t, dir, bareEnv(), "dpkg-deb", "-f", deb, "Depends").stdout), ", ")
	for _, d := range theirs {
		// These are in the tree, under the names of the system's, which may be installed, too.
		inTree := slices.ContainsFunc([]string{"libpcre2-8-0", "libapr1", "libaprutil1"}, func(name string) bool { return strings.HasPrefix(d, name) })
		if !slices.Contains(ours, d) && !inTree {
			t.Errorf("dpkg-shlibdeps says %q, which is not in %q", d, ours)
		}
	}
	for _, d := range ours {
		if !slices.Contains(theirs, d) && d != "adduser" && !strings.HasSuffix(d, "-stdlib") {
			t.Errorf("dpkg-shlibdeps does not know %q: %q", d, theirs)
		}
	}
	if len(theirs) < 5 {
		t.Errorf("dpkg-shlibdeps found too little: %q", theirs)
	}
}

// apkStructure checks what apk-tools checks: three gzip streams (two without a
// signature), the hash of the data, and that of each file.
func apkStructure(t *testing.T, name string) {
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	src := bytes.NewReader(data)
	z, err := gzip.NewReader(src)
	if err != nil {
		t.Fatal(err)
	}
	z.Multistream(false)
	control, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	rest := data[len(data)-src.Len():]
	files := map[string]string{}
	r := tar.NewReader(bytes.NewReader(control))
	for h, err := r.Next(); err == nil; h, err = r.Next() {
		text, _ := io.ReadAll(r)
		files[h.Name] = string(text)
	}
	sum := sha256.Sum256(rest)
	for _, want := range []string{"pkgname = mod-wsgi-express-py3", "depend = so:libc.so.6\n", "depend = python3~3.", "provides = mod-wsgi-express=", "datahash = " + hex.EncodeToString(sum[:])} {
		if !strings.Contains(files[".PKGINFO"], want) {
			t.Errorf(".PKGINFO lacks %q:\n%s", want, files[".PKGINFO"])
		}
	}
	if files[".pre-install"] == "" || files[".post-upgrade"] == "" || files[".pre-deinstall"] == "" {
		t.Errorf("scripts are missing: %d entries", len(files))
	}
	if z, err = gzip.NewReader(bytes.NewReader(rest)); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	r = tar.NewReader(z)
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		seen[h.Name] = true
		if h.Typeflag == tar.TypeReg && h.PAXRecords["APK-TOOLS.checksum.SHA1"] == "" {
			t.Errorf("%s has no checksum", h.Name)
		}
	}
	if !seen["etc/init.d/mod_wsgi-express"] || !seen["usr/bin/mod_wsgi-express"] {
		t.Errorf("files are missing among %d", len(seen))
	}
}

// unitRunner does what systemd does with the unit: it expands it, makes its
// directories, starts it as its user and waits for READY=1.
const unitRunner = `import os, pwd, re, shlex, socket, subprocess, sys, time, urllib.request
unit, instance, port = sys.argv[1:4]
svc, section = {}, ""
for line in open(unit):
    line = line.strip()
    if line.startswith("["):
        section = line
    elif section == "[Service]" and line and line[0] != "#":
        key, value = line.split("=", 1)
        svc[key] = value
names = {"%i": instance, "%t": "/run", "%S": "/var/lib", "%%": "%"}
expand = lambda s: re.sub("%.", lambda m: names[m.group()], s)
user = pwd.getpwnam(svc["User"])
account = dict(user=user.pw_uid, group=user.pw_gid, extra_groups=[], umask=int(svc["UMask"], 8))
for base, key in (("/run", "RuntimeDirectory"), ("/var/lib", "StateDirectory")):
    d = os.path.join(base, expand(svc[key]))
    os.makedirs(d, exist_ok=True)
    os.chown(d, user.pw_uid, user.pw_gid)
    if key == "RuntimeDirectory":
        os.chmod(d, int(svc["RuntimeDirectoryMode"], 8))
env = {"PATH": "/usr/sbin:/usr/bin", "LANG": "C.UTF-8"}
for line in open(expand(svc["EnvironmentFile"])):
    line = line.strip()
    if line and line[0] not in "#;":
        key, value = line.split("=", 1)
        env[key] = value
def words(line):
    for w in expand(line).split():
        if w.startswith("$") and not w.startswith("${"):
            yield from shlex.split(env.get(w[1:], ""))
        else:
            yield re.sub(r"\$\{(\w+)\}", lambda m: env.get(m.group(1), ""), w)
path = "/run/notify.test"
sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sock.bind(path)
os.chmod(path, 0o777)
sock.settimeout(60)
env["NOTIFY_SOCKET"] = path
p = subprocess.Popen(list(words(svc["ExecStart"])), env=env, cwd=expand(svc["WorkingDirectory"]), **account)
while b"READY=1" not in sock.recv(4096):
    pass
ask = lambda: urllib.request.urlopen("http://127.0.0.1:%s/" % port, timeout=30).read().decode().strip()
print("ANSWER", ask())
owner = os.stat("/proc/%d" % p.pid).st_uid
print("RUNS AS", pwd.getpwuid(owner).pw_name)
subprocess.run(list(words(svc["ExecReload"])), env=env, check=True, **account)
time.sleep(0.5)
print("RELOADED", ask())
p.terminate()
print("ENDED", p.wait(60))
`

// debServes installs the package with apt on a copy of this machine, starts an
// instance as the unit describes, and purges it again. Then it does the same with rpm.
func debServes(t *testing.T, dist string) {
	deb, rpm := onlyFile(t, dist, "deb"), onlyFile(t, dist, "rpm")
	runner := filepath.Join(dist, "..", "unit.py")
	if err := os.WriteFile(runner, []byte(unitRunner), 0o644); err != nil {
		t.Fatal(err)
	}
	r := onMachine(t, forSystem(t, `
export DEBIAN_FRONTEND=noninteractive
state() { find /etc /usr/bin /usr/lib/systemd /usr/lib/sysusers.d /usr/lib/tmpfiles.d /usr/share/man/man1 /usr/share/doc /usr/share/lintian /opt /var/lib/modwsgi /run/mod_wsgi-express 2>/dev/null |
	grep -v '^/etc/\(passwd\|shadow\|group\|gshadow\|subuid\|subgid\)-\?$' | sort; getent passwd modwsgi || true; getent group modwsgi || true; }
missing=
for tool in lintian rpm rpmlint cpio; do command -v $tool >/dev/null || missing="$missing $tool"; done
apt-get update -qq
if [ -n "$missing" ]; then apt-get install -y -qq --no-install-recommends $missing >/dev/null; fi
apt-get install -y -qq --no-install-recommends adduser libpython3.11 >/dev/null
state > /tmp/before
apt-get install -y -qq --no-install-recommends `+deb+` >/dev/null
sed -i 's/8080/18557/' /etc/modwsgi/hello.conf
systemd-analyze verify mod_wsgi-express@hello.service 2>&1
echo "VERIFY $?"
`+systemPython+` `+runner+` /lib/systemd/system/mod_wsgi-express@.service hello 18557
echo "MAN $(man -w mod_wsgi-express 2>/dev/null || ls /usr/share/man/man1/mod_wsgi-express.1.gz)"
dpkg -V mod-wsgi-express-py311 || true
touch /etc/modwsgi/mine.conf
apt-get remove -y -qq mod-wsgi-express-py311 >/dev/null
ls /etc/modwsgi | tr '\n' ' '
test ! -e /opt/modwsgi && echo "REMOVED"
apt-get purge -y -qq mod-wsgi-express-py311 >/dev/null
ls /etc/modwsgi | tr '\n' ' '; echo "IS KEPT"
rm -r /etc/modwsgi /var/lib/modwsgi
state > /tmp/after
diff /tmp/before /tmp/after && echo "PURGED"
lintian --no-cfg --allow-root --display-info --tag-display-limit 0 --fail-on error `+deb+` > /tmp/lintian && echo "LINTIAN"
cat /tmp/lintian; grep hardening- /tmp/lintian || echo "HARDENED"
rpmlint `+rpm+` > /tmp/rpmlint || true
sed 's/^/RPMLINT /' /tmp/rpmlint
rpm -K `+rpm+`
rpm -qp --qf '[%{REQUIRENAME} %{REQUIREFLAGS:deptype}\n]' `+rpm+` | grep -x '/usr/sbin/useradd pre'
mkdir /tmp/fresh
rpm --root /tmp/fresh --initdb
rpm --root /tmp/fresh -i --nodeps --noscripts `+rpm+` && rpm --root /tmp/fresh -V --nodeps mod-wsgi-express-py311 && echo "RPM INSTALLED"
test -x /tmp/fresh/opt/modwsgi/py311/bin/mod_wsgi-express
nm -D --undefined-only /tmp/fresh/opt/modwsgi/py311/lib/python3*/site-packages/mod_wsgi_packages/httpd/bin/ht* /tmp/fresh/opt/modwsgi/py311/lib/python3*/site-packages/mod_wsgi_packages/httpd/lib/libapr-1.so.0 > /tmp/calls
grep -qw 'U mkstemp@GLIBC_[0-9.]*' /tmp/calls
grep 'U mktemp@' /tmp/calls || echo "CALLS NO MKTEMP"
rpm --root /tmp/fresh -e --noscripts mod-wsgi-express-py311
test ! -e /tmp/fresh/opt/modwsgi && echo "RPM REMOVED"
`))
	for _, want := range []string{
		"VERIFY 0", "ANSWER Hello from Python 3.11", "RUNS AS modwsgi", "RELOADED Hello", "ENDED 0", "MAN /", "hello.conf mine.conf REMOVED", "mine.conf IS KEPT",
		"PURGED", "LINTIAN", "HARDENED", "digests OK", "/usr/sbin/useradd pre", "RPM INSTALLED", "RPM REMOVED",
		"CALLS NO MKTEMP",
	} {
		if !strings.Contains(r.stdout, forSystem(t, want)) {
			t.Errorf("lacks %q: %v", want, r)
			return
		}
	}
	rpmlintFinds(t, r.stdout)
}

// notHardened are rpmlint's tags about what compilers and linkers protect, about calls that
// are unsafe, and about symbols that should have been removed.
var notHardened = regexp.MustCompile(`^(position-independent-executable-suggested|non-position-independent-executable|shlib-with-non-pic-code|` +
	`missing-PT_GNU_STACK-section|executable-stack|missing-call-to-.*|call-to-mktemp|binary-or-shlib-calls-gethostbyname|unstripped-binary-or-object|` +
	`lto-bytecode|undefined-non-weak-symbol|setuid-binary|setgid-binary|world-writable|not-listed-as-documentation|summary-not-capitalized|.*-line-too-long)$`)

// rpmlintExpects are findings for which the package is right.
var rpmlintExpects = map[string]string{
	// The linker of Go makes no position-independent program without a loader, and a
	// static one runs with every C library.
	"bin/mod_wsgi-express": "position-independent-executable-suggested",
	"bin/mod_wsgi-apxs":    "position-independent-executable-suggested",
	// In APR's child processes that run as another user, which only "RewriteMap prg:" of
	// mod_rewrite asks for. The sources of APR are compiled as they are.
	"lib/libapr-1.so.0": "missing-call-to-setgroups-before-setuid call-to-mktemp",
	// rpmlint sees the name in apr_file_mktemp, which calls mkstemp.
	"bin/httpd": "call-to-mktemp", "bin/htpasswd": "call-to-mktemp", "bin/htdigest": "call-to-mktemp", "bin/htdbm": "call-to-mktemp",
}

// rpmlintFinds compares the lines of rpmlint in an output, with RPMLINT before each, with
// what is expected.
func rpmlintFinds(t *testing.T, out string) {
	t.Helper()
	seen := map[string]bool{}
	for line := range strings.Lines(out) {
		words := strings.Fields(line) // RPMLINT PACKAGE: E: TAG FILE
		if len(words) < 4 || words[0] != "RPMLINT" || !notHardened.MatchString(words[3]) {
			continue
		}
		file := strings.TrimSpace(line)
		if len(words) > 4 {
			file = filepath.Join(filepath.Base(filepath.Dir(words[4])), filepath.Base(words[4]))
		}
		if !slices.Contains(strings.Fields(rpmlintExpects[file]), words[3]) {
			t.Errorf("rpmlint: %s", line)
		}
		seen[file] = true
	}
	for _, file := range []string{"bin/mod_wsgi-express", "bin/httpd", "lib/libapr-1.so.0"} {
		if !seen[file] { // then it did not look into the programs
			t.Errorf("rpmlint finds nothing in %s: %s", file, out)
		}
	}
}

// TestSystemModulePackage packages the module for Debian's Apache, on a copy of this
// machine, and serves with that Apache.
func TestSystemModulePackage(t *testing.T) {
	r := onMachine(t, forSystem(t, `
export DEBIAN_FRONTEND=noninteractive
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
apt-get update -qq
apt-get install -y -qq --no-install-recommends apache2 apache2-dev libapache2-mod-wsgi-py3 >/dev/null
cd /var/tmp
`+strings.Join(quoteAll(linuxArgs(t, "deb", "/var/tmp/dist", "--httpd", "system")), " ")+`
deb=$(echo /var/tmp/dist/libapache2-mod-wsgi-py311_*.deb)
dpkg-deb -f $deb Depends
find /etc/apache2 /usr/lib/apache2 | sort > /tmp/before
# Debian's own module is loaded, and stays so.
apt-get install -y -qq $deb
test ! -e /etc/apache2/mods-enabled/wsgi-py311.load && echo "BESIDE"
a2enmod wsgi-py311 || echo "REFUSED"
apt-get purge -y -qq libapache2-mod-wsgi-py3 >/dev/null
rm -rf /etc/apache2/mods-enabled/wsgi-py311.*
dpkg-reconfigure libapache2-mod-wsgi-py311
apache2ctl -M 2>/dev/null | grep wsgi_module
mkdir -p /srv/hello
cat > /srv/hello/app.wsgi <<'EOF'
import mod_wsgi, sys
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [("%s, Python %d.%d, mod_wsgi %s" % (environ["SERVER_SOFTWARE"], *sys.version_info[:2], mod_wsgi.version)).encode()]
EOF
sed -i 's/^Listen 80$/Listen 127.0.0.1:18558/' /etc/apache2/ports.conf
cat > /etc/apache2/sites-available/000-default.conf <<'EOF'
<VirtualHost *:18558>
ServerName localhost
WSGIDaemonProcess app
WSGIScriptAlias / /srv/hello/app.wsgi process-group=app application-group=%{GLOBAL}
<Directory /srv/hello>
Require all granted
</Directory>
</VirtualHost>
EOF
apache2ctl start
`+systemPython+` - <<'EOF'
import time, urllib.request
for attempt in range(100):
    try:
        print("ANSWER", urllib.request.urlopen("http://127.0.0.1:18558/", timeout=20).read().decode())
        break
    except OSError:
        time.sleep(0.1)
EOF
apache2ctl stop
apt-get purge -y -qq libapache2-mod-wsgi-py311 >/dev/null
find /etc/apache2 /usr/lib/apache2 | grep -v 'mods-.*/wsgi\.\|modules/mod_wsgi.so' | sort > /tmp/after
grep -v 'mods-.*/wsgi\.\|modules/mod_wsgi.so' /tmp/before | diff - /tmp/after && echo "PURGED"
command -v lintian >/dev/null || apt-get install -y -qq --no-install-recommends lintian >/dev/null
lintian --no-cfg --allow-root --display-info --tag-display-limit 0 --fail-on error $deb > /tmp/lintian && echo "LINTIAN"
cat /tmp/lintian; grep hardening- /tmp/lintian || echo "HARDENED"
`+otherLayouts(func(format string) string {
		return strings.Join(quoteAll(linuxArgs(t, format, "/var/tmp/dist", "--httpd", "system")), " ")
	})))
	for _, want := range []string{"apache2-api-20120211, libc6 (>= ", "libpython3.11 (>= 3", "BESIDE", "REFUSED", "wsgi_module (shared)", "PURGED", "LINTIAN", "HARDENED", "RPM ANSWER @VERSION@ /usr", "RPM KEPT", "RPM REMOVED", "APK ANSWER @VERSION@ /usr"} {
		if !strings.Contains(r.stdout, strings.ReplaceAll(forSystem(t, want), "@VERSION@", systemVersion(t))) {
			t.Errorf("lacks %q: %v", want, r)
			return
		}
	}
	if !regexp.MustCompile(forSystem(t, `ANSWER Apache/.* \(Debian\), Python 3\.11, mod_wsgi \(\d+, `)).MatchString(r.stdout) {
		t.Errorf("no answer: %v", r)
	}
}

func quoteAll(argv []string) []string {
	quoted := make([]string, len(argv))
	for i, a := range argv {
		quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
	}
	return quoted
}

// TestLinuxPackagesRefused passes input that no package can have: each mistake is
// named, and nothing is in the output directory.
func TestLinuxPackagesRefused(t *testing.T) {
	dir := workdir(t, "refused")
	dist := filepath.Join(dir, "dist")
	for name, c := range map[string]struct {
		format string
		args   []string
		want   string
	}{
		"name":        {"deb", []string{"--name", "Mod_WSGI"}, `--name "Mod_WSGI" is not a valid name of a deb package`},
		"a taken one": {"deb", []string{"--name", "libapache2-mod-wsgi-py3"}, "is the name of a package in distributions"},
		"version":     {"rpm", []string{"--version", "5.0-2"}, `--version "5.0-2" is not a valid version of a rpm package`},
		"release":     {"apk", []string{"--release", "1a"}, `--release "1a" is not a valid release of a apk package`},
		"maintainer":  {"deb", []string{"--maintainer", "Jane"}, `--maintainer "Jane"`},
		"injection":   {"deb", []string{"--maintainer", "Jane <j@x.org>\nDepends: evil"}, "contains a control character"},
		"dependency":  {"deb", []string{"--depends", "libfoo, evil"}, `--depends "libfoo, evil" is not a valid dependency of a deb package`},
		"Python":      {"deb", []string{"--python", "/nonexistent/python3"}, "/nonexistent/python3"},
		"key":         {"deb", []string{"--sign-package"}, "--sign-package needs an OpenPGP key"},
		"bundling":    {"deb", []string{"--bundle", "auto"}, "depend on the libraries of the distribution"},
	} {
		r := command(t, dir, bareEnv(), linuxArgs(t, c.format, dist, c.args...)...)
		if r.code == 0 || !strings.Contains(r.stderr, c.want) || !strings.Contains(r.stderr, "hint: ") && name != "Python" {
			t.Errorf("%s: %v", name, r)
		}
		if _, err := os.Stat(dist); err == nil {
			t.Errorf("%s: %s exists afterwards", name, dist)
		}
	}
}

// TestDebOfForeignPython: no package of this system has the Python, so no deb can depend on
// it. One command and a matrix report that before anything is compiled, and a matrix
// without running.
func TestDebOfForeignPython(t *testing.T) {
	t.Parallel()
	found, _ := filepath.Glob("/root/.pyenv/versions/3.1*/bin/python3")
	if _, err := os.Stat("/var/lib/dpkg/status"); err != nil || len(found) == 0 {
		t.Skip("needs Debian and a Python of pyenv")
	}
	dir := workdir(t, "foreign")
	minor := strings.Join(strings.SplitN(strings.TrimPrefix(filepath.Dir(filepath.Dir(found[0])), "/root/.pyenv/versions/"), ".", 3)[:2], ".")
	writeFile(t, filepath.Join(dir, "release.toml"), "schema = 1\npythons = [\""+minor+"\"]\nformats = [\"wheel\", \"deb\"]\n", 0o644)
	env := bareEnv("PATH=" + filepath.Dir(found[0]) + ":/usr/bin:/bin")
	for _, args := range [][]string{{"deb", "--python", found[0], "--cache-dir", filepath.Join(dir, "cache")}, {"--matrix", "release.toml"}, {"--matrix", "release.toml", "--dry-run"}} {
		r := command(t, dir, env, append([]string{program(t, "modwsgi"), "package", "--progress", "plain", "--out", "dist"}, args...)...)
		if r.code == 0 || !strings.Contains(r.stderr, "belongs to no package of this system") || !strings.Contains(r.stderr, "--depends") {
			t.Errorf("%q: %v", args, r)
		}
		if strings.Contains(r.stderr, "compile ") || strings.Contains(r.stderr, "fetch ") {
			t.Errorf("%q: something was fetched or compiled first: %v", args, r)
		}
		absent(t, filepath.Join(dir, "dist"))
	}
}
