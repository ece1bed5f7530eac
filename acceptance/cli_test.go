//go:build acceptance

package acceptance

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"modwsgi/internal/freeport"
)

// httpdElsewhere is a bundled httpd outside any environment, in place of one compiled
// by hand.
func httpdElsewhere(t *testing.T, dir string) string {
	t.Helper()
	env := venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(dir, "donor"), "--without-pip")
	if r := install(t, dir, "--python", env); r.code != 0 {
		t.Fatal(r)
	}
	trees, _ := filepath.Glob(filepath.Join(env, "lib/python3*/site-packages/mod_wsgi_packages/httpd"))
	if len(trees) != 1 {
		t.Fatal(trees)
	}
	to := filepath.Join(dir, "apache")
	must(t, dir, bareEnv(), "cp", "-a", trees[0], to)
	return to
}

// TestNamedHTTPDIsKept names an httpd by its tree and by its program; a plain install
// after that has nothing to do.
func TestNamedHTTPDIsKept(t *testing.T) {
	dir := workdir(t, "named")
	apache := httpdElsewhere(t, dir)
	for _, named := range []string{apache, filepath.Join(apache, "bin/httpd")} {
		env := venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(dir, "env"), "--clear", "--without-pip")
		if r := install(t, dir, "--python", env, "--httpd", named); r.code != 0 || !strings.Contains(r.stdout, " at "+filepath.Join(apache, "bin/httpd")) {
			t.Fatal(r)
		}
		if r := install(t, dir, "--python", env, "--httpd", "auto"); r.code != 0 || !strings.Contains(r.stdout, "Nothing to do") {
			t.Error(r)
		}
		if found, _ := filepath.Glob(filepath.Join(env, "lib/python3*/site-packages/mod_wsgi_packages")); len(found) > 0 {
			t.Error("a bundled httpd is there too")
		}
		serve(t, env)
	}
}

// TestUmaskOfRoot: another user can serve what root installs, whatever the umask.
func TestUmaskOfRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("an ordinary user's umask is respected")
	}
	dir := workdir(t, "umask")
	env := venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(dir, "env"), "--without-pip")
	old := syscall.Umask(0o077)
	r := install(t, dir, "--python", env)
	syscall.Umask(old)
	if r.code != 0 || !strings.Contains(r.stdout, "--user ") {
		t.Fatal(r)
	}
	if left := must(t, "/", bareEnv(), "find", env, "!", "-type", "l", "!", "-perm", "-o=r").stdout; left != "" {
		t.Errorf("closed to others:\n%s", left)
	}
	serve(t, env)
}

// TestEnvironmentThatOnlyRootCanEnter is installed and verified, with a warning that
// it cannot serve. Once opened, it serves.
func TestEnvironmentThatOnlyRootCanEnter(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root serves as another user")
	}
	dir := workdir(t, "closed")
	env := venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(dir, "env"), "--without-pip")
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	r := install(t, "/", "--python", env)
	if r.code != 0 || !strings.Contains(r.stdout, "Verified:") || !strings.Contains(r.stderr, "chmod o+x "+dir) {
		t.Fatal(r)
	}
	script := filepath.Join(workdir(t, "app"), "hello.wsgi")
	if err := os.WriteFile(script, []byte(hello), 0o644); err != nil {
		t.Fatal(err)
	}
	refused := command(t, "/", bareEnv(), filepath.Join(env, "bin/mod_wsgi-express"), "start-server", script, "--port", fmt.Sprint(freeport.Get(t)), "--user", "nobody")
	if refused.code == 0 || !strings.Contains(refused.stderr, dir) {
		t.Error(refused)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	serve(t, env)
}

// TestEnvironmentThatRootCannotTry: as in most containers, root has the capability to
// write every file but not to read every file, and passes neither to a server. A
// closed environment is installed and not verified; an open one is verified.
func TestEnvironmentThatRootCannotTry(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root serves as another user")
	}
	dir := workdir(t, "closed")
	env := venv(t, "/usr/bin/python3", filepath.Join(dir, "env"), "--without-pip")
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	less := []string{"setpriv", "--bounding-set=-dac_read_search"}
	r := command(t, "/", bareEnv(), append(less, installArgs(t, "--python", env)...)...)
	if r.code != 0 || !strings.Contains(r.stdout, "Not verified: "+dir) || strings.Contains(r.stdout, "Verified:") || !strings.Contains(r.stderr, "CAP_DAC_READ_SEARCH") {
		t.Fatal(r)
	}
	verify := append(less, program(t, "modwsgi"), "verify", "--python", env)
	if r := command(t, "/", bareEnv(), verify...); r.code != 7 || !strings.Contains(r.stderr, dir) || !strings.Contains(r.stderr, "chmod o+x "+dir) {
		t.Error(r)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if r := command(t, "/", bareEnv(), verify...); r.code != 0 || !strings.Contains(r.stdout, "Verified:") {
		t.Error(r)
	}
	r = command(t, "/", bareEnv(), append(less, installArgs(t, "--python", env, "--reinstall")...)...)
	if r.code != 0 || !strings.Contains(r.stdout, "Verified:") || strings.Contains(r.stderr, "CAP_DAC_READ_SEARCH") {
		t.Error(r)
	}
}

// TestLongTemporaryDirectory: the path of a socket is limited in length.
func TestLongTemporaryDirectory(t *testing.T) {
	dir := workdir(t, "long")
	env := venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(dir, "env"), "--without-pip")
	long := filepath.Join(dir, strings.Repeat("long ", 18), "'tmp'")
	if err := os.MkdirAll(long, 0o755); err != nil {
		t.Fatal(err)
	}
	if r := command(t, dir, bareEnv("TMPDIR="+long), installArgs(t, "--python", env)...); r.code != 0 {
		t.Fatal(r)
	}
	if left, _ := os.ReadDir(long); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestSecretsAreNotShown searches everything printed or stored for the passwords of a
// mirror and a proxy.
func TestSecretsAreNotShown(t *testing.T) {
	dir := workdir(t, "secrets")
	env := venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(dir, "env"), "--without-pip")
	const secret = "HushHush5309"
	proxy := "http://user:" + secret + "@127.0.0.1:9"
	environ := bareEnv("http_proxy="+proxy, "https_proxy="+proxy, "HTTP_PROXY="+proxy, "HTTPS_PROXY="+proxy)
	cache := filepath.Join(dir, "cache") // empty: every archive is requested from the mirror
	argv := []string{
		program(t, "modwsgi"), "install", "-x", "-v", "--json", "--httpd", "bundled", "--python", env, "--cache-dir", cache,
		"--mirror", "http://user:" + secret + "@127.0.0.1:9/pool?token=" + secret,
	}
	for _, d := range sources(t)[:1] {
		argv = append(argv, "--source-dir", d)
	}
	r := command(t, dir, environ, append(argv, "--mod-wsgi-version", "6.0.5")...)
	if r.code != 4 {
		t.Errorf("exit code %d", r.code)
	}
	if strings.Contains(r.stdout+r.stderr, secret) {
		t.Error("it is printed: ", r)
	}
	if found := command(t, dir, bareEnv(), "grep", "-rl", secret, dir); found.stdout != "" {
		t.Errorf("it is kept in %s", found.stdout)
	}
}

// TestReplacesWhatPipInstalled: another mod_wsgi is replaced as a whole.
func TestReplacesWhatPipInstalled(t *testing.T) {
	dir := workdir(t, "pips")
	env := venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(dir, "env"))
	make := `import sys, zipfile
z = zipfile.ZipFile(sys.argv[1] + "/mod_wsgi-4.9.0-py3-none-any.whl", "w")
info = "mod_wsgi-4.9.0.dist-info/"
files = {"mod_wsgi/__init__.py": "", "mod_wsgi/old.py": "", info + "METADATA": "Metadata-Version: 2.1\nName: mod_wsgi\nVersion: 4.9.0\n",
         info + "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
         info + "entry_points.txt": "[console_scripts]\nmod_wsgi-express = mod_wsgi:main\n"}
files[info + "RECORD"] = "".join(name + ",,\n" for name in files) + info + "RECORD,,\n"
for name, text in files.items():
    z.writestr(name, text)
`
	must(t, dir, bareEnv(), filepath.Join(env, "bin/python"), "-c", make, dir)
	must(t, dir, bareEnv(), filepath.Join(env, "bin/pip"), "install", "-q", "--no-index", filepath.Join(dir, "mod_wsgi-4.9.0-py3-none-any.whl"))
	before := snapshot(t, env)
	if r := command(t, dir, bareEnv(), program(t, "modwsgi"), "uninstall", "--python", env); r.code != 6 || !strings.Contains(r.stderr, "pip uninstall") {
		t.Error(r)
	}
	site, _ := filepath.Glob(filepath.Join(env, "lib/python3*/site-packages"))
	r := private(t, dir, "mount --bind '"+site[0]+"' '"+site[0]+"' && mount -o remount,bind,noexec '"+site[0]+"'", bareEnv(), installArgs(t, "--python", env)...)
	failed(t, r, 7, env, before, "the environment is as it was before")
	if r := install(t, dir, "--python", env); r.code != 0 || !strings.Contains(r.stderr, "which pip installed, is replaced") {
		t.Fatal(r)
	}
	if _, err := os.Stat(filepath.Join(site[0], "mod_wsgi/old.py")); err == nil {
		t.Error("a file of the replaced one is left")
	}
	must(t, dir, bareEnv(), filepath.Join(env, "bin/pip"), "check")
}

// TestDebianPython installs into the system's own Python, on a copy of the machine,
// and uninstalls again.
func TestDebianPython(t *testing.T) {
	if found, _ := filepath.Glob("/usr/lib/python3*/EXTERNALLY-MANAGED"); len(found) == 0 {
		t.Skip("the system's Python is not Debian's")
	}
	r := onMachine(t, `
ls -A /usr/local/lib/python3*/dist-packages /usr/local/bin > /before
cd /root
umask 027
`+strings.Join(installArgs(t, "--python", "/usr/bin/python3", "--break-system-packages"), " ")+`
test -x /usr/local/bin/mod_wsgi-express
`+program(t, "modwsgi")+` verify --python /usr/bin/python3
`+program(t, "modwsgi")+` uninstall --python /usr/bin/python3
ls -A /usr/local/lib/python3*/dist-packages /usr/local/bin > /after
cmp /before /after && echo SAME
`)
	for _, want := range []string{"Installed into /usr in", "Verified: Apache/", "Next: /usr/local/bin/mod_wsgi-express", "Removed mod_wsgi", "SAME"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("lacks %q: %v", want, r)
			return
		}
	}
}

// TestDeletedDirectory runs the programs in a directory that was removed meanwhile.
func TestDeletedDirectory(t *testing.T) {
	t.Parallel()
	base := workdir(t, "deleted")
	modwsgi, env := program(t, "modwsgi"), setting(t, "MODWSGI_TEST_ENV")
	express := filepath.Join(env, "bin", "mod_wsgi-express")
	in := func(argv ...string) result {
		t.Helper()
		gone := filepath.Join(base, "gone")
		return command(t, base, bareEnv(), append([]string{"sh", "-c", `mkdir -p "$0" && cd "$0" && rmdir "$0" && exec "$@"`, gone}, argv...)...)
	}
	for _, argv := range [][]string{
		{modwsgi, "detect"},
		{modwsgi, "install"},
		{modwsgi, "install", "--dry-run"},
		{modwsgi, "uninstall"},
		{modwsgi, "list"},
		{modwsgi, "verify"},
		{modwsgi, "doctor"},
		{modwsgi, "cache", "list"},
		{modwsgi, "package", "wheel"},
		{modwsgi, "module", "build", "--target", "windows/amd64"},
		{express, "start-server", "hello.wsgi", "--user", "nobody"},
		{express, "setup-server", "/etc/hostname"},
		{express, "show-config", "hello.wsgi"},
		{express, "status", "--server-root", "root"},
		{express, "apachectl", "root", "stop"},
	} {
		r := in(argv...)
		if r.code == 0 || !strings.Contains(r.stderr, "current directory "+filepath.Join(base, "gone")) || !strings.Contains(r.stderr, "hint: change to a directory") {
			t.Errorf("%v: %v", argv, r)
		}
	}
	for _, argv := range [][]string{{modwsgi, "version"}, {modwsgi, "list", "--help"}, {express, "--version"}, {express, "module-config"}, {express, "module-location"}} {
		if r := in(argv...); r.code != 0 || r.stdout == "" {
			t.Errorf("%v needs no directory: %v", argv, r)
		}
	}
}

// TestClosedReader closes the reading end of a pipe before anything is written, as
// "head" may do: a program then ends silently, as SIGPIPE would end it.
func TestClosedReader(t *testing.T) {
	t.Parallel()
	dir := workdir(t, "pipe")
	modwsgi, env := program(t, "modwsgi"), setting(t, "MODWSGI_TEST_ENV")
	bin := filepath.Join(env, "bin")
	for _, argv := range [][]string{
		{modwsgi, "detect", "--python", env},
		{modwsgi, "detect", "--json", "--python", env},
		{modwsgi, "list", "--python", env},
		{modwsgi, "list", "--json", "--python", env},
		{modwsgi, "version"},
		{modwsgi, "--help"},
		{modwsgi, "package", "--help"},
		{modwsgi, "cache", "list"},
		{modwsgi, "man"},
		{modwsgi, "install", "--dry-run", "--reinstall", "--python", env},
		{filepath.Join(bin, "mod_wsgi-express"), "--help"},
		{filepath.Join(bin, "mod_wsgi-express"), "module-config"},
		{filepath.Join(bin, "mod_wsgi-apxs"), "-q"},
	} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Close()
		c := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
		var errOut bytes.Buffer
		c.Dir, c.Env, c.Stdout, c.Stderr = dir, bareEnv("XDG_CACHE_HOME="+dir), w, &errOut
		_ = c.Run()
		_ = w.Close()
		status, _ := c.ProcessState.Sys().(syscall.WaitStatus)
		if ended := status.Signaled() && status.Signal() == syscall.SIGPIPE || c.ProcessState.ExitCode() == 141; !ended || strings.Contains(errOut.String(), "error") {
			t.Errorf("%v: %v, %q", argv, c.ProcessState, errOut.String())
		}
	}
}
