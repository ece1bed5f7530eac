//go:build acceptance

package acceptance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"modwsgi/internal/testkit"

	"modwsgi/internal/elf"
	"modwsgi/internal/freeport"
)

// These tests build for other systems with sysroots that modwsgi makes from Debian's
// packages, and run the results: on another CPU under qemu-user, and on an older glibc in
// a root file system of that release.

// farArch is a CPU that this machine does not have, with its names for gcc and uname.
func farArch(t *testing.T) (arch, machine string) {
	t.Helper()
	arch, machine = "arm64", "aarch64"
	if runtime.GOARCH == "arm64" {
		arch, machine = "amd64", "x86_64"
	}
	if _, err := exec.LookPath(machine + "-linux-gnu-gcc"); err != nil {
		t.Skipf("NOT TESTED: builds for %s: %v (scripts/test-prerequisites)", arch, err)
	}
	return arch, machine
}

// farPrograms are the programs that become part of a wheel, for another CPU.
func farPrograms(t *testing.T, dir, arch string) string {
	t.Helper()
	out := filepath.Join(dir, "programs")
	must(t, "..", append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0"), "go", "build", "-trimpath", "-o", out+"/", "./cmd/mod_wsgi-express", "./cmd/mod_wsgi-apxs")
	return out
}

// crossIndex is what the tests read of index.json.
type crossIndex struct {
	Artifacts []struct {
		Name, Target, Unproven string
	}
}

func readIndex(t *testing.T, dir string) crossIndex {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var x crossIndex
	if err := json.Unmarshal(data, &x); err != nil {
		t.Fatal(err)
	}
	return x
}

// checkProvenance checks that the provenance of an artifact names the proof and the sysroot.
func checkProvenance(t *testing.T, dist, name, machine string) {
	t.Helper()
	provenance, err := os.ReadFile(filepath.Join(dist, name+".intoto.json"))
	if err != nil || !strings.Contains(string(provenance), "answered a request under qemu-"+machine) || !strings.Contains(string(provenance), "sysroot_sha256") {
		t.Errorf("the provenance of %s: %v\n%s", name, err, provenance)
	}
}

// ownMachine is this machine's CPU as uname names it.
func ownMachine() string {
	return map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
}

// TestOtherCPU makes wheels for another CPU and glibc 2.28, and serves with what a Python
// of that CPU, out of Debian's packages, finds in them.
func TestOtherCPU(t *testing.T) {
	testkit.Turn(t, "targets")
	t.Parallel()
	arch, machine := farArch(t)
	needTools(t, "qemu-"+machine)
	dir := workdir(t, "far")
	platform := "linux/" + arch + "/glibc2.28"
	r := pack(t, dir, bareEnv(), "wheel", "--target", platform, "--python", "3.9", "--programs", farPrograms(t, dir, arch), "--lock-file", "modwsgi.lock")
	if r.code != 0 {
		t.Fatal(r)
	}
	dist := filepath.Join(dir, "dist")
	x := readIndex(t, dist)
	if len(x.Artifacts) != 2 {
		t.Fatalf("got %+v", x)
	}
	for _, a := range x.Artifacts {
		if a.Target != platform || a.Unproven != "" || !strings.Contains(a.Name, "manylinux_2_28_"+machine) {
			t.Errorf("got %+v", a)
		}
		checkProvenance(t, dist, a.Name, machine)
	}
	lock, err := os.ReadFile(filepath.Join(dir, "modwsgi.lock"))
	if err != nil || !strings.Contains(string(lock), `target = "`+platform+`"`) || !strings.Contains(string(lock), "libc6-dev") {
		t.Errorf("the lock file: %v\n%s", err, lock)
	}
	checkAge(t, dist, machine, "2.28")
	checkAuditwheel(t, dist)
	if root := filepath.Join(setting(t, "MODWSGI_TEST_DEBIAN"), "bullseye-"+arch); arch != "arm64" {
		t.Log("NOT TESTED: an installation under the emulator")
	} else if _, err := os.Stat(root); err != nil {
		t.Logf("NOT TESTED: an installation under the emulator: %v (scripts/debian-roots)", err)
	} else {
		serveInstalled(t, dist, machine, root)
	}

	// The same again, from the lock file: nothing is compiled, and the bytes are equal.
	again := pack(t, dir, bareEnv(), "wheel", "--target", platform, "--python", "3.9", "--programs", filepath.Join(dir, "programs"), "--lock-file", "modwsgi.lock", "--locked", "--out", "again")
	if again.code != 0 || strings.Contains(again.stderr, "compile ") {
		t.Fatal(again)
	}
	for _, a := range x.Artifacts {
		if !sameFiles(t, filepath.Join(dist, a.Name), filepath.Join(dir, "again", a.Name)) {
			t.Errorf("%s differs when made again", a.Name)
		}
	}
	if t.Failed() {
		return
	}

	// Without the emulator the result is the same, but unproven.
	unproven := pack(t, dir, append(bareEnv(), "PATH="+withoutProgram(t, "qemu-"+machine)), "wheel", "--target", platform, "--python", "3.9", "--programs", filepath.Join(dir, "programs"), "--lock-file", "modwsgi.lock", "--out", "unproven")
	if unproven.code != 0 || !strings.Contains(unproven.stdout, "unproven, "+platform+": qemu-"+machine) {
		t.Errorf("the summary does not say that it is unproven: %v", unproven)
	}
	for _, a := range readIndex(t, filepath.Join(dir, "unproven")).Artifacts {
		if !strings.Contains(a.Unproven, "qemu-"+machine) {
			t.Errorf("index.json: %+v", a)
		}
	}
}

// withoutProgram is a PATH with every program of the usual one but one.
func withoutProgram(t *testing.T, name string) string {
	t.Helper()
	bin := t.TempDir()
	for _, dir := range []string{"/bin", "/usr/bin", "/usr/local/bin"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if e.Name() == name {
				continue
			}
			link := filepath.Join(bin, e.Name())
			_ = os.Remove(link)
			if err := os.Symlink(filepath.Join(dir, e.Name()), link); err != nil {
				t.Fatal(err)
			}
		}
	}
	return bin
}

func sameFiles(t *testing.T, a, b string) bool {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Error(err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		t.Error(err)
	}
	return string(x) == string(y)
}

// checkAge unpacks all wheels in a directory and compares the symbol versions of every
// file with a glibc, by a reader of its own: readelf.
func checkAge(t *testing.T, dist, machine, glibc string) {
	t.Helper()
	needTools(t, "readelf", "unzip")
	wheels, _ := filepath.Glob(filepath.Join(dist, "*.whl"))
	count := 0
	for _, wheel := range wheels {
		into := t.TempDir()
		must(t, into, os.Environ(), "unzip", "-q", wheel)
		for _, path := range tree(t, into) {
			if !elf.Is(path) {
				continue
			}
			facts, err := elf.Read(path)
			if err != nil || facts.Machine != machine {
				t.Errorf("%s is for %+v: %v", path, facts, err)
				continue
			}
			count++
			for _, word := range strings.FieldsFunc(must(t, into, bareEnv(), "readelf", "-W", "--version-info", path).stdout, func(r rune) bool { return r == ' ' || r == '\n' || r == '(' || r == ')' }) {
				if version, ok := strings.CutPrefix(word, "GLIBC_"); ok && elf.CompareVersions(version, glibc) > 0 {
					t.Errorf("%s of %s requires %s", path, filepath.Base(wheel), word)
				}
			}
		}
	}
	if count < 20 {
		t.Errorf("only %d binaries in %s", count, dist)
	}
}

// TestOlderGlibc makes wheels for glibc 2.28 on this CPU, has the pip of Debian 11 install
// them, and serves there.
func TestOlderGlibc(t *testing.T) {
	testkit.Turn(t, "targets")
	root := debianRoot(t, "bullseye", "bare")
	dir := workdir(t, "older")
	platform := "linux/" + runtime.GOARCH + "/glibc2.28"
	r := pack(t, dir, bareEnv(), "wheel", "--target", platform, "--python", "3.9", "--lock-file", "modwsgi.lock")
	if r.code != 0 {
		t.Fatal(r)
	}
	machine := ownMachine()
	checkAge(t, filepath.Join(dir, "dist"), machine, "2.28")
	checkAuditwheel(t, filepath.Join(dir, "dist"))
	serveWheels(t, root, filepath.Join(dir, "dist"))
}

// serveWheels has the pip of a system install wheels, and serves there.
func serveWheels(t *testing.T, root *suiteRoot, dist string) {
	t.Helper()
	to := filepath.Join(root.dir, "opt/modwsgi-test/dist")
	if err := errors.Join(os.RemoveAll(to), os.CopyFS(to, os.DirFS(dist))); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(root.dir, "opt/modwsgi-test/app.wsgi"), hello, 0o644)
	ran := root.run(t, `
trap 'kill $server 2>/dev/null; rm -rf /opt/modwsgi-test/v' EXIT
python3 -m venv /opt/modwsgi-test/v || exit 1
/opt/modwsgi-test/v/bin/pip install --no-index --find-links /opt/modwsgi-test/dist mod_wsgi || exit 2
/opt/modwsgi-test/v/bin/mod_wsgi-express start-server /opt/modwsgi-test/app.wsgi --port 18459 --host 127.0.0.1 --user nobody --group nogroup >/tmp/log 2>&1 &
server=$!
for i in $(seq 100); do
	python3 -c 'import urllib.request as u; print("answer:", u.urlopen("http://127.0.0.1:18459/").read().decode())' 2>/dev/null && break
	sleep 0.3
done
cat /tmp/log >&2
`)
	if ran.code != 0 || !strings.Contains(ran.stdout, "answer: ") {
		t.Error(ran)
	}
}

// TestManylinux2014 makes wheels for the oldest glibc that is still in use, which Debian's
// own libraries, such as libcrypt, are too new for. pip finds them by both of their names,
// and Debian 11 serves with them.
func TestManylinux2014(t *testing.T) {
	testkit.Turn(t, "targets")
	root := debianRoot(t, "bullseye", "bare")
	dir := workdir(t, "oldest")
	r := pack(t, dir, bareEnv(), "wheel", "--target", "linux/"+runtime.GOARCH+"/glibc2.17", "--python", "3.9", "--lock-file", "modwsgi.lock")
	if r.code != 0 {
		t.Fatal(r)
	}
	dist := filepath.Join(dir, "dist")
	checkAge(t, dist, ownMachine(), "2.17")
	checkAuditwheel(t, dist)
	for _, tag := range []string{"manylinux2014_", "manylinux_2_17_"} {
		to := filepath.Join(dir, tag)
		must(t, dir, bareEnv(), filepath.Join(setting(t, "MODWSGI_TEST_ENV"), "bin/python"), "-m", "pip", "download", "--quiet", "--no-cache-dir", "--no-index", "--find-links", dist,
			"--only-binary", ":all:", "--dest", to, "--implementation", "cp", "--python-version", "3.9", "--platform", tag+ownMachine(), "mod_wsgi")
		if found, _ := filepath.Glob(filepath.Join(to, "*.whl")); len(found) != 2 {
			t.Errorf("%s: %q", tag, found)
		}
	}
	serveWheels(t, root, dist)
}

// TestModulesForOtherSystems builds only the module, with gcc and with clang.
func TestModulesForOtherSystems(t *testing.T) {
	testkit.Turn(t, "targets")
	t.Parallel()
	arch, machine := farArch(t)
	dir := workdir(t, "modules")
	programs := farPrograms(t, dir, arch)
	for _, cc := range []string{machine + "-linux-gnu-gcc", "clang"} {
		if _, err := exec.LookPath(cc); err != nil {
			t.Errorf("NOT TESTED: %s: %v", cc, err)
			continue
		}
		out := "out-" + cc
		r := command(t, dir, append(bareEnv(), "CC="+cc), program(t, "modwsgi"), "module", "build", "--progress", "plain", "--json", "--target", "linux/"+arch+"/glibc2.31", "--python", "3.9", "--programs", programs,
			"--cache-dir", setting(t, "MODWSGI_TEST_CACHE"), "--out", out)
		if r.code != 0 {
			t.Error(r)
			continue
		}
		if !strings.Contains(r.stdout, `"target": "linux/`+arch+`/glibc2.31"`) && !strings.Contains(r.stdout, `"target":"linux/`+arch+`/glibc2.31"`) {
			t.Errorf("the result: %v", r)
		}
		facts, err := elf.Read(filepath.Join(dir, out, "mod_wsgi-py39.cpython-39-"+machine+"-linux-gnu.so"))
		if err != nil || facts.Machine != machine || !slices.Contains(facts.Needed, "libpython3.9.so.1.0") || len(facts.RunPath) > 0 {
			t.Errorf("%s: %+v, %v", cc, facts, err)
		}
	}
}

// TestBadSysroots names each mistake before anything is compiled.
func TestBadSysroots(t *testing.T) {
	t.Parallel()
	arch, _ := farArch(t)
	dir := workdir(t, "bad")
	for name, c := range map[string]struct {
		args []string
		env  []string
		want string
		hint string
	}{
		"wrong CPU": {
			[]string{"--target", "linux/" + arch + "/glibc2.36", "--sysroot", "/", "--programs", filepath.Join(dir, "programs")}, nil, "the sysroot / is for ", "name a sysroot for ",
		},
		"libc too new": {
			[]string{"--target", "linux/" + runtime.GOARCH + "/glibc2.17", "--sysroot", "/"}, nil, "which is newer than linux/" + runtime.GOARCH + "/glibc2.17", "old enough",
		},
		"no cross compiler": {
			[]string{"--target", "linux/" + arch + "/glibc2.28", "--programs", farPrograms(t, dir, arch)}, []string{"PATH=" + onlyNative(t)}, "no C compiler for linux/" + arch + "/glibc2.28 was found", "apt-get install gcc-",
		},
		"a compiler for another CPU": {
			[]string{"--target", "linux/" + arch + "/glibc2.28", "--programs", filepath.Join(dir, "programs")}, []string{"CC=gcc"}, `the compiler "gcc" generates code for `, "gcc-",
		},
		"SDK of another version": {
			[]string{"--target", "linux/" + arch + "/glibc2.28", "--programs", filepath.Join(dir, "programs"), "--python-sdk", "/usr"}, nil, "/usr", "",
		},
		"a part of a version": {
			[]string{"--target", "linux/" + runtime.GOARCH + "/glibc2.28", "--target", "linux/" + arch + "/glibc2.28", "--mod-wsgi-version", "6"}, nil, "--mod-wsgi-version 6 is only part of a version", "",
		},
		"programs for another CPU": {
			[]string{"--target", "linux/" + runtime.GOARCH + "/glibc2.28", "--target", "linux/" + arch + "/glibc2.28", "--programs", "linux/" + arch + "=" + setting(t, "MODWSGI_TEST_BIN")}, nil, "mod_wsgi-express is for ", "--programs",
		},
	} {
		r := pack(t, dir, append(bareEnv(), c.env...), append([]string{"wheel", "--python", "3.9", "--lock-file", "modwsgi.lock"}, c.args...)...)
		if r.code == 0 || !strings.Contains(r.stderr, c.want) || !strings.Contains(r.stderr, c.hint) {
			t.Errorf("%s: want %q, %q: %v", name, c.want, c.hint, r)
		}
		// What needs no sysroot is reported before one is made, also if there is another target.
		switch name {
		case "a part of a version", "no cross compiler", "a compiler for another CPU", "programs for another CPU":
			if strings.Contains(r.stderr, "sysroot for ") {
				t.Errorf("%s: a sysroot was made first: %v", name, r)
			}
		}
		if strings.Contains(r.stderr, "configure ") || strings.Contains(r.stderr, "compile ") {
			t.Errorf("%s: something was compiled: %v", name, r)
		}
		absent(t, filepath.Join(dir, "dist"))
	}
}

// onlyNative is a PATH with the compiler of this machine and no other one.
func onlyNative(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	for _, name := range []string{"cc", "gcc", "ld", "as", "ar", "nm", "sed", "grep", "expr", "sort", "tr", "uname", "mawk", "sh"} {
		if path, err := exec.LookPath(name); err == nil {
			if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return bin
}

// serveInstalled has the Python of another CPU install the wheels with its own pip, and
// starts the installed httpd with it, under the emulator. root is a root file system of that
// CPU, which scripts/debian-roots makes.
func serveInstalled(t *testing.T, dist, machine, root string) {
	t.Helper()
	dir := workdir(t, "served")
	emulator := []string{"qemu-" + machine, "-L", root}
	python := filepath.Join(root, "usr/bin/python3.9")
	pip := must(t, dir, bareEnv("PYTHONDONTWRITEBYTECODE=1"), append(slices.Clone(emulator), python, "-m", "pip", "install", "--no-index", "--find-links", dist, "--target", filepath.Join(dir, "site"), "mod_wsgi")...)
	t.Log(strings.TrimSpace(pip.stdout))
	serveSite(t, dir, filepath.Join(dir, "site"), machine, root)
}

// serveSite starts the httpd in a directory of packages with the Python of a root file
// system of that CPU.
func serveSite(t *testing.T, dir, site, machine, root string) {
	t.Helper()
	libs, _ := filepath.Glob(filepath.Join(root, "usr/lib/*/libpython3.9.so.1.0"))
	if len(libs) != 1 {
		t.Fatalf("libraries %q", libs)
	}
	serveTree(t, dir, farTree{emulator: []string{"qemu-" + machine, "-L", root}, site: site, libPython: libs[0], home: filepath.Join(root, "usr")})
}

// farTree is an httpd with mod_wsgi and a Python, all of another CPU.
type farTree struct {
	emulator        []string
	site            string // directory of packages
	libPython, home string
	user            string // account of that system that serves, "" for nobody
}

// serveTree starts such an httpd under the emulator.
func serveTree(t *testing.T, dir string, far farTree) {
	t.Helper()
	site, user, group := far.site, "nobody", "nogroup"
	if far.user != "" {
		user, group = far.user, far.user
	}
	modules, _ := filepath.Glob(filepath.Join(site, "mod_wsgi/server/mod_wsgi-py39*.so"))
	if len(modules) != 1 {
		t.Fatalf("modules %q", modules)
	}
	port := freeport.Get(t)
	httpd := filepath.Join(site, "mod_wsgi_packages/httpd")
	writeFile(t, filepath.Join(dir, "app.wsgi"), hello, 0o644)
	conf := filepath.Join(dir, "httpd.conf")
	writeFile(t, conf, fmt.Sprintf(`ServerRoot %[1]q
ServerName localhost
Listen 127.0.0.1:%[2]d
PidFile "%[1]s/httpd.pid"
ErrorLog %[3]q
LoadModule mpm_event_module %[4]q
LoadModule unixd_module %[5]q
LoadModule authz_core_module %[6]q
LoadFile %[7]q
LoadModule wsgi_module %[8]q
User %[12]s
Group %[13]s
WSGIPythonHome %[9]q
WSGISocketPrefix %[10]q
WSGIDaemonProcess far threads=2
WSGIScriptAlias / %[11]q process-group=far application-group=%%{GLOBAL}
<Directory "/">
  Require all granted
</Directory>
`, dir, port, filepath.Join(dir, "error_log"), filepath.Join(httpd, "modules/mod_mpm_event.so"), filepath.Join(httpd, "modules/mod_unixd.so"),
		filepath.Join(httpd, "modules/mod_authz_core.so"), far.libPython, modules[0], far.home, filepath.Join(dir, "wsgi"), filepath.Join(dir, "app.wsgi"), user, group), 0o644)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	server := exec.CommandContext(ctx, far.emulator[0], append(slices.Clone(far.emulator[1:]), filepath.Join(httpd, "bin/httpd"), "-f", conf, "-DFOREGROUND")...)
	server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = syscall.Kill(-server.Process.Pid, syscall.SIGKILL)
		_ = server.Wait()
	}()
	body := ""
	for ctx.Err() == nil && body == "" {
		if resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port)); err == nil {
			data, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			body = string(data)
		}
		time.Sleep(100 * time.Millisecond) // a polling loop
	}
	if !strings.Contains(body, "3.9") {
		log, _ := os.ReadFile(filepath.Join(dir, "error_log"))
		t.Errorf("the answer is %q, and the log is\n%s", body, log)
	}
}
