//go:build acceptance && linux

package acceptance

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"modwsgi/internal/elf"
	"modwsgi/internal/testkit"
)

// These tests make packages of distributions and images for other systems than this one.

// TestDebForOlderDebian makes a package for Debian 11 on this machine. Its dependencies are
// Debian 11's, whose dpkg installs it, and an instance serves there as its unit describes.
func TestDebForOlderDebian(t *testing.T) {
	testkit.Turn(t, "targets")
	root := debianRoot(t, "bullseye", "bare")
	dir := workdir(t, "deb11")
	platform := "linux/" + runtime.GOARCH + "/glibc2.31"
	r := pack(t, dir, bareEnv(), "deb", "--target", platform, "--python", "3.9", "--maintainer", maintainer, "--sysroot-package", "libssl-dev,zlib1g-dev", "--lock-file", "modwsgi.lock")
	if r.code != 0 {
		t.Fatal(r)
	}
	dist := filepath.Join(dir, "dist")
	deb := onlyFile(t, dist, "deb")
	fields := must(t, dir, bareEnv(), "dpkg-deb", "-f", deb, "Architecture", "Depends").stdout
	for _, want := range []string{"Architecture: " + runtime.GOARCH + "\n", "libssl1.1 (>= 1.1.1)", "libpython3.9 (>= 3.9.", "libpython3.9-stdlib", "libcrypt1 (>= 1:4.", "zlib1g (>= 1:1.", "adduser"} {
		if !strings.Contains(fields, want) {
			t.Errorf("lacks %q:\n%s", want, fields)
		}
	}
	if m := regexp.MustCompile(`libc6 \(>= 2\.([0-9]+)\)`).FindStringSubmatch(fields); m == nil || elf.CompareVersions("2."+m[1], "2.31") > 0 {
		t.Errorf("the C library: %s", fields)
	}
	if x := readIndex(t, dist); len(x.Artifacts) != 1 || x.Artifacts[0].Target != platform || x.Artifacts[0].Unproven != "" {
		t.Errorf("index.json: %+v", x)
	}
	into := filepath.Join(root.dir, "opt/modwsgi-test")
	copyFile(t, deb, filepath.Join(into, filepath.Base(deb)))
	writeFile(t, filepath.Join(into, "unit.py"), unitRunner, 0o644)
	ran := root.run(t, `
export DEBIAN_FRONTEND=noninteractive
dpkg -i /opt/modwsgi-test/*.deb >&2 || exit 1
sed -i 's/8080/18461/' /etc/modwsgi/hello.conf
python3 /opt/modwsgi-test/unit.py /lib/systemd/system/mod_wsgi-express@.service hello 18461 || exit 2
dpkg -V mod-wsgi-express-py39
dpkg -P mod-wsgi-express-py39 >&2 || exit 3
test ! -e /opt/modwsgi && echo PURGED
`)
	for _, want := range []string{"ANSWER Hello from Python 3.9", "RUNS AS modwsgi", "RELOADED Hello", "ENDED 0", "PURGED"} {
		if !strings.Contains(ran.stdout, want) {
			t.Fatalf("lacks %q: %v", want, ran)
		}
	}
}

// checkMachine checks for which CPU every program and library below a directory is.
func checkMachine(t *testing.T, dir, machine string) {
	t.Helper()
	count := 0
	for _, path := range tree(t, dir) {
		if !elf.Is(path) {
			continue
		}
		count++
		if facts, err := elf.Read(path); err != nil || facts.Machine != machine {
			t.Errorf("%s is for %+v: %v", path, facts, err)
		}
	}
	if count < 20 {
		t.Errorf("only %d binaries in %s", count, dir)
	}
}

// copyFile copies a file of a test.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestPackagesForOtherCPU makes packages and an image for another CPU from one release.toml,
// and serves with what the deb installs and with what the image has in it, under the
// emulator.
func TestPackagesForOtherCPU(t *testing.T) {
	testkit.Turn(t, "targets")
	t.Parallel()
	arch, machine := farArch(t)
	needTools(t, "qemu-"+machine)
	dir := workdir(t, "farpackages")
	platform := "linux/" + arch + "/glibc2.28" // as for the wheels, so that it is built once
	farPrograms(t, dir, arch)
	writeFile(t, filepath.Join(dir, "src/app.wsgi"), hello, 0o644)
	writeFile(t, filepath.Join(dir, "release.toml"), `schema = 1
pythons = ["3.9"]
formats = ["deb", "rpm", "oci"]
platforms = ["`+platform+`"]
[[target]]
platform = "`+platform+`"
programs = "programs"
[options.deb]
maintainer = "`+maintainer+`"
[options.rpm]
maintainer = "`+maintainer+`"
[options.oci]
app = "src"
packages = false
`, 0o644)
	r := pack(t, dir, bareEnv(), "--matrix", "release.toml", "--lock-file", "modwsgi.lock")
	if r.code != 0 {
		t.Fatal(r)
	}
	dist := filepath.Join(dir, "dist")
	x := readIndex(t, dist)
	if len(x.Artifacts) != 3 {
		t.Errorf("got %+v", x)
	}
	for _, a := range x.Artifacts {
		if a.Target != platform || a.Unproven != "" {
			t.Errorf("got %+v", a)
		}
		checkProvenance(t, dist, a.Name, machine)
	}
	deb, rpm := onlyFile(t, dist, "deb"), onlyFile(t, dist, "rpm")
	if fields := must(t, dir, bareEnv(), "dpkg-deb", "-f", deb, "Architecture", "Depends").stdout; !strings.Contains(fields, "Architecture: "+arch+"\n") || !strings.Contains(fields, "libpython3.9 (>= 3.9.") {
		t.Errorf("the deb:\n%s", fields)
	}
	must(t, dir, bareEnv(), "dpkg-deb", "-x", deb, "installed")
	home := filepath.Join(dir, "installed/opt/modwsgi/py39")
	site := filepath.Join(home, "lib/python3.9/site-packages")
	checkMachine(t, home, machine)
	if record, err := os.ReadFile(filepath.Join(site, "mod_wsgi/server/build.json")); err != nil || strings.Contains(string(record), "sysroot") || !strings.Contains(string(record), `"/usr"`) {
		t.Errorf("the record of the module: %v\n%s", err, record)
	}
	t.Run("rpm", func(t *testing.T) { farRPM(t, rpm, machine) })
	far := farImage(t, dist, arch, machine)
	serveTree(t, workdir(t, "farimage"), far)
	far.site = site // of the deb, with the Python and the libraries of the image
	serveTree(t, workdir(t, "fardeb"), far)
}

// farRPM reads a package with rpm, on a copy of this machine that has it.
func farRPM(t *testing.T, rpm, machine string) {
	read := `rpm -qp --qf 'ARCH %{ARCH}\n' ` + rpm + `
rpm -qp --requires ` + rpm + `
rpm -K ` + rpm + `
`
	var r result
	if _, err := exec.LookPath("rpm"); err == nil {
		r = must(t, "/", bareEnv(), "sh", "-euc", read)
	} else {
		r = onMachine(t, `apt-get update -qq
apt-get install -y -qq --no-install-recommends rpm >/dev/null
`+read)
	}
	for _, want := range []string{"ARCH " + machine + "\n", "python(abi) = 3.9\n", "libpython3.9.so.1.0()(64bit)\n", "libc.so.6()(64bit)\n", "digests OK"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("lacks %q: %v", want, r)
		}
	}
	for _, m := range regexp.MustCompile(`\(GLIBC_([0-9.]+)\)`).FindAllStringSubmatch(r.stdout, -1) {
		if elf.CompareVersions(m[1], "2.28") > 0 {
			t.Errorf("requires %s", m[0])
		}
	}
}

// farImage unpacks the layers of an image without a base, and checks that its loader runs its
// Python.
func farImage(t *testing.T, dist, arch, machine string) farTree {
	t.Helper()
	dir := workdir(t, "farimage")
	image := onlyFile(t, dist, "tar")
	img, err := tarball.ImageFromPath(image, nil)
	if err != nil {
		t.Fatal(err)
	}
	if config, err := img.ConfigFile(); err != nil || config.Architecture != arch || config.OS != "linux" {
		t.Errorf("the image is for %+v, %v", config, err)
	}
	root := filepath.Join(dir, "root")
	unpack(t, img, root)
	checkMachine(t, root, machine)
	emulator := []string{"qemu-" + machine, "-L", root}
	py := must(t, dir, bareEnv(), append(slices.Clone(emulator), filepath.Join(root, "opt/python/bin/python3.9"), "-c", "import ssl, sqlite3, hashlib, sys; print(sys.version_info[:2], ssl.OPENSSL_VERSION)")...)
	if !strings.Contains(py.stdout, "(3, 9) OpenSSL 1.1.1") {
		t.Errorf("its Python: %v", py)
	}
	return farTree{
		emulator: emulator, site: filepath.Join(root, "opt/mod_wsgi/lib/python3.9/site-packages"), libPython: filepath.Join(root, "opt/python/lib/libpython3.9.so.1.0"), home: filepath.Join(root, "opt/python"),
		user: "nonroot",
	}
}

// TestAPKForMusl makes a package for Alpine on this machine, with a Python for musl in a
// directory that is "/" there. What it depends on has Alpine's names.
func TestAPKForMusl(t *testing.T) {
	testkit.Turn(t, "targets")
	t.Parallel()
	prefix := fixturePython(t, "musl")
	dir := workdir(t, "apk")
	root := filepath.Join(dir, "alpine")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	must(t, dir, bareEnv(), "cp", "-a", prefix, filepath.Join(root, "usr"))
	platform := "linux/" + runtime.GOARCH + "/musl1.2"
	args := []string{"apk", "--target", platform, "--python", "3.13", "--maintainer", maintainer, "--without", "tls", "--lock-file", "modwsgi.lock"}
	// A prefix does not show where it is on the target.
	r := pack(t, dir, bareEnv(), append(slices.Clone(args), "--python-sdk", prefix)...)
	if r.code == 0 || !strings.Contains(r.stderr, "does not show where that Python is") || strings.Contains(r.stderr, "compile ") {
		t.Errorf("a prefix as SDK: %v", r)
	}
	absent(t, filepath.Join(dir, "dist"))
	r = pack(t, dir, bareEnv(), append(slices.Clone(args), "--python-sdk", root)...)
	if r.code != 0 {
		t.Fatal(r)
	}
	machine := ownMachine()
	info := must(t, dir, bareEnv(), "tar", "-xzOf", onlyFile(t, filepath.Join(dir, "dist"), "apk"), ".PKGINFO").stdout
	for _, want := range []string{"arch = " + machine + "\n", "depend = python3~3.13\n", "depend = so:libc.musl-" + machine + ".so.1\n", "depend = so:libpython3.13.so.1.0\n"} {
		if !strings.Contains(info, want) {
			t.Errorf("lacks %q:\n%s", want, info)
		}
	}
	if strings.Contains(info, "libc.so.6") || strings.Contains(info, "so:libc.so\n") {
		t.Errorf("a name that Alpine does not have:\n%s", info)
	}
	if x := readIndex(t, filepath.Join(dir, "dist")); len(x.Artifacts) != 1 || x.Artifacts[0].Target != platform {
		t.Errorf("index.json: %+v", x)
	}
}
