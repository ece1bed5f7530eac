//go:build acceptance

package acceptance

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"modwsgi/internal/freeport"
)

// asNobody runs a program as a user that owns nothing, if the tests run as root.
func asNobody(t *testing.T, dir string, env []string, argv ...string) result {
	t.Helper()
	if os.Geteuid() != 0 {
		return command(t, dir, env, argv...)
	}
	return command(t, dir, env, append([]string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}, argv...)...)
}

// private runs a shell script in a private mount namespace.
func private(t *testing.T, dir, script string, env []string, argv ...string) result {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can hide a directory from a program (mount namespace)")
	}
	if err := exec.Command("unshare", "-m", "true").Run(); err != nil {
		t.Skipf("mount namespaces are unavailable here: %v", err)
	}
	return command(t, dir, env, append([]string{"unshare", "-m", "sh", "-c", script + "\nexec \"$@\"", "sh"}, argv...)...)
}

// failed checks an error: its exit code, its words, its hint, and that the environment
// is unchanged.
func failed(t *testing.T, r result, code int, env string, before map[string]string, words ...string) {
	t.Helper()
	if r.code != code || !strings.Contains(r.stderr, "modwsgi: error: ") || !strings.Contains(r.stderr, "modwsgi: hint: ") {
		t.Errorf("want exit %d, an error and a hint: %v", code, r)
	}
	for _, w := range words {
		if !strings.Contains(r.stderr, w) {
			t.Errorf("the error lacks %q: %v", w, r)
		}
	}
	if d := differences(before, snapshot(t, env)); len(d) > 0 {
		t.Errorf("the environment has changed: %v", d)
	}
}

func newEnv(t *testing.T) (dir, env string, before map[string]string) {
	t.Helper()
	dir = workdir(t, "failure")
	env = venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(dir, "env"), "--without-pip")
	return dir, env, snapshot(t, env)
}

func TestReadOnlyPrefix(t *testing.T) {
	dir, env, before := newEnv(t)
	if os.Geteuid() != 0 {
		site, _ := filepath.Glob(filepath.Join(env, "lib/python3*/site-packages"))
		if err := os.Chmod(site[0], 0o555); err != nil {
			t.Fatal(err)
		}
		before = snapshot(t, env)
		defer func() { _ = os.Chmod(site[0], 0o755) }()
	}
	cache := filepath.Join(dir, "cache")
	if err := os.Mkdir(cache, 0o777); err != nil {
		t.Fatal(err)
	}
	_ = os.Chmod(cache, 0o777)
	r := asNobody(t, "/", bareEnv("HOME="+cache), program(t, "modwsgi"), "install", "--httpd", "bundled", "--python", env, "--cache-dir", cache)
	failed(t, r, 6, env, before, env)
	if left, _ := os.ReadDir(filepath.Join(cache, "downloads")); len(left) > 0 {
		t.Error("it was fetched before the prefix was looked at")
	}
}

func TestMissingCompiler(t *testing.T) {
	dir, env, before := newEnv(t)
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sh", "make", "sed", "awk"} {
		if path, err := exec.LookPath(name); err == nil {
			_ = os.Symlink(path, filepath.Join(bin, name))
		}
	}
	r := command(t, dir, []string{"PATH=" + bin, "HOME=" + dir}, program(t, "modwsgi"), "install", "--httpd", "bundled", "--python", env)
	failed(t, r, 3, env, before, "no C compiler", "install")
}

func TestBrokenCompiler(t *testing.T) {
	dir, env, before := newEnv(t)
	r := command(t, dir, bareEnv("CC=false"), installArgs(t, "--python", env)...)
	failed(t, r, 3, env, before, "false")
}

// TestCompilerForAnotherMachine: reported before anything is fetched or built.
func TestCompilerForAnotherMachine(t *testing.T) {
	dir, env, before := newEnv(t)
	cc := filepath.Join(dir, "s390x-linux-gnu-gcc")
	if err := os.WriteFile(cc, []byte("#!/bin/sh\n[ \"$*\" = -dumpmachine ] && exec echo s390x-linux-gnu\nexec gcc \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := command(t, dir, bareEnv("CC="+cc), installArgs(t, "--python", env)...)
	failed(t, r, 3, env, before, "compiles for s390x-linux-gnu", "unset CC")
}

func TestMissingPythonHeaders(t *testing.T) {
	dir, env, before := newEnv(t)
	include := must(t, "/", bareEnv(), filepath.Join(env, "bin/python"), "-c", "import sysconfig; print(sysconfig.get_path('include'))")
	r := private(t, dir, "mount -t tmpfs none "+strings.TrimSpace(include.stdout), bareEnv(), installArgs(t, "--python", env)...)
	failed(t, r, 3, env, before, "Python.h", "-dev")
}

func TestMissingOpenSSLHeaders(t *testing.T) {
	dir, env, before := newEnv(t)
	if _, err := os.Stat("/usr/include/openssl"); err != nil {
		t.Skip("this machine has no OpenSSL headers to hide")
	}
	args := installArgs(t, "--python", env, "--with", "tls", "--libraries", "host")
	r := private(t, dir, "mount -t tmpfs none /usr/include/openssl", bareEnv(), args...)
	failed(t, r, 3, env, before, "tls", "libssl-dev")
}

func TestVulnerableHTTP2IsRefused(t *testing.T) {
	dir, env, before := newEnv(t)
	r := install(t, dir, "--python", env, "--httpd-version", "2.4.68", "--with", "http2")
	failed(t, r, 4, env, before, "CVE-2026-119618", "--allow-vulnerable")
}

func TestUsageErrors(t *testing.T) {
	dir, env, before := newEnv(t)
	for _, tt := range []struct {
		args []string
		code int
		word string
	}{
		{[]string{"--with", "tsl"}, 2, "tls"},
		{[]string{"--with", "tls", "--without", "tls"}, 2, "tls"},
		{[]string{"--mod-wsgi-version", "five"}, 2, "five"},
		{[]string{"--mod-wsgi-version", "> 99"}, 2, "> 99"},
		{[]string{"--jobs", "-3"}, 2, "-3"},
		{[]string{"--source-dir", "/no/such/dir"}, 2, "/no/such/dir"},
		{[]string{"--mirror", "ftp:/x"}, 2, "mirror"},
		{[]string{"--locked"}, 2, "modwsgi.lock"},
		{[]string{"--offline", "--mirror", "https://example.org"}, 2, "--offline"},
		{[]string{"surplus"}, 2, "surplus"},
		{[]string{"--progress", "fancy"}, 2, "fancy"},
		{[]string{"--httpd", "/no/such/httpd"}, 3, "/no/such/httpd"},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			r := install(t, dir, append([]string{"--python", env}, tt.args...)...)
			failed(t, r, tt.code, env, before, tt.word)
		})
	}
	r := install(t, dir, "--python", filepath.Join(dir, "nothing"))
	failed(t, r, 3, env, before, "nothing")
	if left, _ := filepath.Glob(filepath.Join(dir, "*.lock")); len(left) > 0 {
		t.Errorf("a failed run wrote %v", left)
	}
}

// TestExternallyManagedPython is PEP 668: the system's Python must not be changed.
func TestExternallyManagedPython(t *testing.T) {
	if found, _ := filepath.Glob("/usr/lib/python3*/EXTERNALLY-MANAGED"); len(found) == 0 {
		t.Skip("the system's Python is not marked as externally managed")
	}
	dir := workdir(t, "system")
	r := install(t, dir, "--python", "/usr/bin/python3")
	if r.code != 3 || !strings.Contains(r.stderr, "--break-system-packages") || !strings.Contains(r.stderr, "venv") {
		t.Error(r)
	}
}

// TestMisbehavingMirror serves the archives wrongly first, then correctly.
func TestMisbehavingMirror(t *testing.T) {
	t.Parallel() // it mostly waits
	dir, env, before := newEnv(t)
	files := map[string]string{}
	for _, d := range sources(t) {
		names, _ := filepath.Glob(filepath.Join(d, "*"))
		for _, n := range names {
			files[filepath.Base(n)] = n
		}
	}
	var behave atomic.Bool
	var asked, dripped atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := filepath.Base(r.URL.Path)
		data, err := os.ReadFile(files[name])
		if err != nil {
			http.NotFound(w, r)
			return
		}
		asked.Add(1)
		if !behave.Load() && strings.HasPrefix(name, "mod_wsgi") {
			data[len(data)/2] ^= 1 // tampered
		}
		http.ServeContent(w, r, name, fileTime, strings.NewReader(string(data)))
	}))
	defer server.Close()
	cache := filepath.Join(dir, "cache")
	// The rest of the world is unreachable: a proxy that nobody listens on, and no
	// package mirror.
	nowhere := "http://127.0.0.1:9"
	environ := bareEnv("HTTPS_PROXY="+nowhere, "https_proxy="+nowhere)
	script := "mount -t tmpfs none /etc/apt"
	args := []string{program(t, "modwsgi"), "install", "--httpd", "bundled", "--python", env, "--cache-dir", cache, "--mirror", server.URL}
	r := private(t, dir, script, environ, args...)
	failed(t, r, 4, env, before, "mod_wsgi", server.Listener.Addr().String())
	if found, _ := filepath.Glob(filepath.Join(cache, "downloads/archives/sha256/*/mod_wsgi*")); len(found) > 0 {
		t.Errorf("a tampered archive is in the cache: %v", found)
	}
	behave.Store(true)
	// Compiled parts are not compiled again.
	must(t, "/", bareEnv(), "cp", "-a", filepath.Join(setting(t, "MODWSGI_TEST_CACHE"), "builds"), cache)
	// A mirror that sends a byte now and then comes first, and is abandoned.
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		dripped.Add(1)
		for r.Context().Err() == nil {
			_, _ = w.Write([]byte("x"))
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	}))
	defer slow.Close()
	at := slices.Index(args, "--mirror")
	args = slices.Insert(args, at, "--mirror", slow.URL, "--download-timeout", "48s")
	if r := private(t, dir, script, environ, args...); r.code != 0 || asked.Load() == 0 || dripped.Load() == 0 {
		t.Errorf("when the mirror behaves (%d requests): %v", asked.Load(), r)
	}
}

var fileTime = statTime("/etc/passwd")

// TestOfflineAndLocked: with the archives available, no network is needed, and
// --locked uses exactly the versions of the lock file.
func TestOfflineAndLocked(t *testing.T) {
	dir, env, before := newEnv(t)
	empty := filepath.Join(dir, "empty cache")
	r := command(t, dir, bareEnv(), program(t, "modwsgi"), "install", "--httpd", "bundled", "--python", env, "--cache-dir", empty, "--offline")
	failed(t, r, 4, env, before, "--source-dir")
	if r := install(t, dir, "--python", env, "--offline"); r.code != 0 {
		t.Fatal(r)
	}
	lock := filepath.Join(dir, "modwsgi.lock")
	data, err := os.ReadFile(lock)
	if err != nil {
		t.Fatal(err)
	}
	if r := install(t, dir, "--python", env, "--offline", "--locked", "--reinstall"); r.code != 0 {
		t.Error(r)
	}
	after, _ := os.ReadFile(lock)
	if string(after) != string(data) {
		t.Errorf("--locked changed the lock file:\n%s", after)
	}
	broken := strings.Replace(string(data), `sha256 = "`, `sha256 = "00`, 1)
	if err := os.WriteFile(lock, []byte(broken), 0o644); err != nil {
		t.Fatal(err)
	}
	installed := snapshot(t, env)
	r = install(t, dir, "--python", env, "--offline", "--locked", "--reinstall")
	failed(t, r, 2, env, installed, "modwsgi.lock")
}

// TestModuleThatCrashesIsNotPlaced makes the compiler add a function to the module
// that crashes the process that loads it.
func TestModuleThatCrashesIsNotPlaced(t *testing.T) {
	t.Parallel()
	dir, env, _ := newEnv(t)
	apache := httpdElsewhere(t, dir) // so that another compiler builds only the module
	if r := install(t, dir, "--python", env, "--httpd", apache); r.code != 0 {
		t.Fatal(r)
	}
	before := snapshot(t, env)
	source, wrapper := filepath.Join(dir, "crash.c"), filepath.Join(dir, "cc")
	for name, text := range map[string]string{
		source:  "__attribute__((constructor)) static void crash(void) { __builtin_trap(); }\n",
		wrapper: "#!/bin/sh\ncase \"$*\" in *wsgi_module*|*-shared*mod_wsgi-py*) set -- \"$@\" " + source + " ;; esac\nexec gcc \"$@\"\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r := command(t, dir, bareEnv("CC="+wrapper), installArgs(t, "--python", env, "--httpd", apache, "--mod-wsgi-version", "5.0.2", "--reinstall")...)
	failed(t, r, 7, env, before, "before it answered")
	serve(t, env)
}

// TestFailureAfterPlacingIsRolledBack: verification succeeds in the stage and fails in
// the environment, whose file system forbids execution.
func TestFailureAfterPlacingIsRolledBack(t *testing.T) {
	dir, env, before := newEnv(t)
	site, _ := filepath.Glob(filepath.Join(env, "lib/python3*/site-packages"))
	r := private(t, dir, "mount --bind "+site[0]+" "+site[0]+" && mount -o remount,bind,noexec "+site[0], bareEnv(), installArgs(t, "--python", env)...)
	if !strings.Contains(r.stderr, "place: done") {
		t.Errorf("it did not get to placing: %v", r)
	}
	failed(t, r, 7, env, before, "the environment is as it was before")
}

// TestOrdinaryUser does the whole job without root, with its own home.
func TestOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the other tests run as an ordinary user already")
	}
	dir := workdir(t, "user")
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	environ := []string{"PATH=/usr/bin:/bin", "HOME=" + dir, "LANG=C.UTF-8"}
	env := filepath.Join(dir, ".venv")
	if r := asNobody(t, dir, environ, setting(t, "MODWSGI_TEST_PYTHON"), "-m", "venv", env); r.code != 0 {
		t.Fatal(r)
	}
	cache := filepath.Join(dir, ".cache/modwsgi")
	must(t, dir, bareEnv(), "mkdir", "-p", cache)
	must(t, dir, bareEnv(), "cp", "-a", setting(t, "MODWSGI_TEST_CACHE")+"/downloads", setting(t, "MODWSGI_TEST_CACHE")+"/builds", cache)
	must(t, dir, bareEnv(), "chown", "-R", "65534:65534", filepath.Join(dir, ".cache"))
	bin := filepath.Join(dir, "tools")
	must(t, dir, bareEnv(), "cp", "-r", setting(t, "MODWSGI_TEST_BIN"), bin)
	if r := asNobody(t, dir, environ, filepath.Join(bin, "modwsgi"), "install"); r.code != 0 || !strings.Contains(r.stdout, "Verified:") {
		t.Fatal(r) // without --python: .venv is found
	}
	port := freeport.Get(t)
	script := filepath.Join(dir, "hello.wsgi")
	if err := os.WriteFile(script, []byte(hello), 0o644); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), filepath.Join(env, "bin/mod_wsgi-express"), "start-server", "hello.wsgi", "--host", "127.0.0.1", "--port", fmt.Sprint(port))
	c.Dir, c.Env = dir, environ
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	body, err := get(port, "/", ended)
	_ = c.Process.Signal(syscall.SIGINT)
	<-ended
	if err != nil || !strings.Contains(string(body), env) {
		t.Errorf("%q, %v", body, err)
	}
}

// TestPythonThatTheUserCannotRead: the install works and is verified, and the launcher
// reports immediately which path is closed to which account.
func TestPythonThatTheUserCannotRead(t *testing.T) {
	found, _ := filepath.Glob("/root/.pyenv/versions/3.1*/bin/python3")
	if os.Geteuid() != 0 || len(found) == 0 {
		t.Skip("needs root and a Python below root's home")
	}
	dir := workdir(t, "closed")
	env := venv(t, found[0], filepath.Join(dir, "env"), "--without-pip")
	if r := install(t, dir, "--python", env); r.code != 0 {
		t.Fatal(r)
	}
	script := filepath.Join(dir, "hello.wsgi")
	if err := os.WriteFile(script, []byte(hello), 0o644); err != nil {
		t.Fatal(err)
	}
	r := command(t, dir, bareEnv(), filepath.Join(env, "bin/mod_wsgi-express"), "start-server", script, "--port", fmt.Sprint(freeport.Get(t)), "--user", "nobody")
	if r.code == 0 || !strings.Contains(r.stderr, "/root") || !strings.Contains(r.stderr, "nobody") {
		t.Error(r)
	}
}

// TestImmutableFile: a file that cannot be removed, or a read-only directory of
// programs, never leaves an uninstall or a reinstall half-done.
func TestImmutableFile(t *testing.T) {
	t.Parallel()
	dir, env, _ := newEnv(t)
	if r := install(t, dir, "--python", env); r.code != 0 {
		t.Fatal(r)
	}
	before := snapshot(t, env)
	found, _ := filepath.Glob(filepath.Join(env, "lib/python3*/site-packages/mod_wsgi/server/*.so"))
	if len(found) == 0 {
		t.Fatal("no module is installed")
	}
	if r := command(t, dir, bareEnv(), "chattr", "+i", found[0]); r.code != 0 {
		t.Skipf("SKIPPED: no file can be made immutable here: %v", r)
	}
	free := func() { must(t, dir, bareEnv(), "chattr", "-i", found[0]) }
	t.Cleanup(func() { _ = exec.Command("chattr", "-i", found[0]).Run() })
	uninstall := []string{program(t, "modwsgi"), "uninstall", "--python", env}
	failed(t, command(t, dir, bareEnv(), uninstall...), 6, env, before, found[0], "chattr -i "+found[0], "nothing was changed")
	failed(t, install(t, dir, "--python", env, "--reinstall"), 6, env, before, "chattr -i "+found[0])
	free()
	bin := filepath.Join(env, "bin")
	readOnly := "mount --bind " + bin + " " + bin + " && mount -o remount,bind,ro " + bin
	failed(t, private(t, dir, readOnly, bareEnv(), uninstall...), 6, env, before, bin, "read-only")
	if r := command(t, dir, bareEnv(), uninstall...); r.code != 0 {
		t.Error(r)
	}
}
