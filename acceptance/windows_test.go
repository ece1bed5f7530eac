//go:build acceptance

package acceptance

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"modwsgi/internal/freeport"
)

const windowsApp = `import sys

def application(environ, start_response):
    if environ["PATH_INFO"].endswith("/boom"):
        raise RuntimeError("as asked for")
    size = 0
    while True:
        block = environ["wsgi.input"].read(65536)
        if not block:
            break
        size += len(block)
    text = "%s|%s|%d|%s" % (sys.version.split()[0], sys.prefix, size, environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
    return [text.encode()]
`

// artifacts are made by "package windows", twice: in different directories and with
// equal bytes.
func artifacts(t *testing.T) (zipFile, wheel string) {
	t.Helper()
	dir := workdir(t, "windows artifacts")
	launcher := filepath.Join(dir, "mod_wsgi-express.exe")
	must(t, "..", append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0"), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", launcher, "./cmd/mod_wsgi-express")
	needTools(t, "osslsigncode", "openssl")
	must(t, dir, os.Environ(), "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "us.key", "-out", "us.pem", "-days", "300", "-subj", "/CN=us", "-addext", "extendedKeyUsage=codeSigning")
	must(t, dir, os.Environ(), "openssl", "pkcs12", "-export", "-inkey", "us.key", "-in", "us.pem", "-out", "us.p12", "-passout", "pass:secret")
	write(t, filepath.Join(dir, "pass"), "secret\n")
	for _, secret := range []string{"pass", "us.pem"} { // the second one is passed as a passphrase but is not one
		if err := os.Chmod(filepath.Join(dir, secret), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := func(out, cache, passphrase string) result {
		return command(t, dir, bareEnv("SOURCE_DATE_EPOCH=1700000000"), program(t, "modwsgi"), "package", "windows", "--progress", "plain", "--python", "3.11",
			"--launcher", launcher, "--sign-cert", "us.p12", "--sign-cert-passphrase-file", passphrase, "--cache-dir", cache, "--out", filepath.Join(dir, out))
	}
	// A wrong signing setup is reported before anything is built.
	caches := []string{cacheOf(t, filepath.Join(dir, "cache")), cacheOf(t, filepath.Join(dir, "other cache"))}
	if r := build("none", caches[0], "us.pem"); r.code == 0 || !strings.Contains(r.stderr, "the passphrase in") || strings.Contains(r.stderr, "compile") {
		t.Errorf("a wrong passphrase: %v", r)
	}
	if _, err := os.Stat(filepath.Join(dir, "none")); err == nil {
		t.Error("a directory was left of what could not be signed")
	}
	var first map[string][]byte
	for k, out := range []string{"one", "an other Ö", "from the cache"} {
		r := build(out, caches[k%len(caches)], "pass")
		if compiled := strings.Contains(r.stderr, "compile mod_wsgi"); r.code != 0 || compiled != (k < len(caches)) || compiled == strings.Contains(r.stderr, "restored from the build cache") {
			t.Fatal(r)
		}
		made := files(t, filepath.Join(dir, out))
		if first == nil {
			first = made
			continue
		}
		for name, data := range made {
			if !bytes.Equal(data, first[name]) {
				t.Errorf("%s differs when made again", name)
			}
		}
	}
	if _, err := exec.LookPath("twine"); err == nil {
		must(t, dir, bareEnv(), "sh", "-c", "twine check --strict one/*.whl")
	} else {
		t.Log("twine is not installed: its check is skipped")
	}
	must(t, filepath.Join(dir, "one"), bareEnv(), "sh", "-c", "mkdir ../unzipped && python3 -m zipfile -e *.zip ../unzipped && cd ../unzipped && sha256sum --quiet -c SHA256SUMS")
	verify := func(args ...string) result {
		return command(t, dir, bareEnv(), append([]string{program(t, "modwsgi"), "package", "verify"}, args...)...)
	}
	if r := verify("one"); r.code != 0 || !strings.Contains(r.stdout, "match SHA256SUMS") || !strings.Contains(r.stdout, "no signature was checked") {
		t.Errorf("verify: %v", r)
	}
	if r := verify("--ca", "us.pem", "one"); r.code != 0 || strings.Count(r.stdout, "mod_wsgi-express.exe") != 2 || !strings.Contains(r.stdout, "Apache24/modules/mod_wsgi.so") {
		t.Errorf("verify signatures: %v", r)
	}
	write(t, filepath.Join(dir, "an other Ö/new.whl"), "")
	if r := verify("an other Ö"); r.code == 0 || !strings.Contains(r.stderr, "new.whl is not listed") {
		t.Errorf("verify with a file more: %v", r)
	}
	zips, _ := filepath.Glob(filepath.Join(dir, "one/mod_wsgi-*-ap24-win-amd64-cp311.zip"))
	wheels, _ := filepath.Glob(filepath.Join(dir, "one/mod_wsgi-[0-9]*-cp311-cp311-win_amd64.whl"))
	if len(zips) != 1 || len(wheels) != 1 {
		t.Fatal(zips, wheels)
	}
	return zips[0], wheels[0]
}

func files(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		if out[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// cacheOf makes a cache directory with the archives of the tests' cache, and nothing that
// was built.
func cacheOf(t *testing.T, dir string) string {
	t.Helper()
	must(t, "/", bareEnv(), "mkdir", "-p", dir)
	must(t, "/", bareEnv(), "cp", "-r", filepath.Join(setting(t, "MODWSGI_TEST_CACHE"), "downloads"), dir)
	return dir
}

// TestWindows goes the two ways of a user: a wheel and httpd's own program, then
// the zip and the launcher.
func TestWindows(t *testing.T) {
	t.Parallel()
	w := onWindows(t)
	zipFile, wheel := artifacts(t)
	t.Run("wheel", func(t *testing.T) { w.wheel(t, wheel) })
	t.Run("zip", func(t *testing.T) { w.zip(t, zipFile) })
	t.Run("launcher", func(t *testing.T) { w.launcher(t) })
	t.Run("SDKs", w.sdks)
}

// wheel installs the wheel with pip and passes the output of module-config to httpd,
// word for word.
func (w *windows) wheel(t *testing.T, wheel string) {
	x := strictIndex(t)
	upload(t, x, wheel)
	if r := w.pip(t, "install", "--index-url", x.URL+"simple/", "--disable-pip-version-check", "mod_wsgi"); r.code != 0 {
		t.Fatal(r)
	}
	w.versions(t)
	r := w.wine(t, `C:\Python311\Scripts\mod_wsgi-express.exe`, "module-config")
	want := "LoadFile \"C:/Python311/python311.dll\"\n" +
		"LoadModule wsgi_module \"C:/Python311/Lib/site-packages/mod_wsgi/server/mod_wsgi.cp311-win_amd64.pyd\"\n" +
		"WSGIPythonHome \"C:/Python311\"\n"
	if r.code != 0 || r.stdout != want {
		t.Fatalf("module-config: %v", r)
	}
	port := freeport.Get(t)
	write(t, w.path("srv/my app/wsgi.py"), windowsApp)
	write(t, w.path("Apache24/conf/wheel.conf"), fmt.Sprintf("Define SRVROOT \"C:/Apache24\"\nServerRoot \"C:/Apache24\"\nListen 127.0.0.1:%d\nServerName localhost\n"+
		"LoadModule authz_core_module modules/mod_authz_core.so\n%sWSGIApplicationGroup %%{GLOBAL}\nErrorLog logs/wheel.log\nPidFile logs/wheel.pid\n"+
		"WSGIScriptAlias / \"C:/srv/my app/wsgi.py\"\n<Directory \"C:/srv/my app\">\nRequire all granted\n</Directory>\n", port, r.stdout))
	// Not with our launcher, but with the event that httpd's documentation names.
	stop := `import ctypes, sys
k = ctypes.windll.kernel32
h = k.OpenEventW(2, False, "ap%s_shutdown" % open("C:/Apache24/logs/wheel.pid").read().strip())
sys.exit(0 if h and k.SetEvent(h) else 1)`
	w.ends(t, "Apache24/logs/wheel.log", func() *running {
		server := w.start(t, `C:\Apache24\bin\httpd.exe`, "-f", "C:/Apache24/conf/wheel.conf")
		w.serves(t, port, `C:\Python311`)
		if r := w.wine(t, `C:\Python311\python.exe`, "-c", stop); r.code != 0 {
			t.Fatal(r)
		}
		return server
	})
}

// zip unpacks the zip over an Apache24 elsewhere, and includes its configuration as
// its README describes.
func (w *windows) zip(t *testing.T, zipFile string) {
	top := w.path("Web Läden")
	must(t, "/", os.Environ(), "mkdir", "-p", top)
	must(t, "/", os.Environ(), "cp", "-r", filepath.Join(w.httpd, "Apache24"), top)
	before := len(tree(t, top))
	unzip(t, zipFile, top)
	onlyCRLF(t, top, "mod_wsgi-express.exe", "mod_wsgi.so")
	if added := tree(t, filepath.Join(top, "Apache24")); len(added) != before+2 {
		t.Errorf("%d files in Apache24 became %d, where two were to be added", before, len(added))
	}
	port := freeport.Get(t)
	conf := filepath.Join(top, "Apache24/conf/httpd.conf")
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.NewReplacer("c:/Apache24", "C:/Web Läden/Apache24", "Listen 80", fmt.Sprintf("Listen 127.0.0.1:%d", port)).Replace(string(text)) +
		"Include conf/extra/httpd-wsgi.conf\nWSGIScriptAlias /app \"C:/srv/my app/wsgi.py\"\n<Directory \"C:/srv/my app\">\nRequire all granted\n</Directory>\n"
	write(t, conf, changed)
	httpd := `C:\Web Läden\Apache24\bin\httpd.exe`
	if r := w.wine(t, httpd, "-t"); r.code != 0 || !strings.Contains(r.stdout+r.stderr, "Syntax OK") {
		t.Fatal(r)
	}
	w.ends(t, "Web Läden/Apache24/logs/error.log", func() *running {
		server := w.start(t, httpd)
		w.serves(t, port, `C:\Python311`, "app")
		pid, err := os.ReadFile(filepath.Join(top, "Apache24/logs/httpd.pid"))
		if err != nil {
			t.Fatal(err)
		}
		stop := `import ctypes, sys
k = ctypes.windll.kernel32
h = k.OpenEventW(2, False, "ap` + strings.TrimSpace(string(pid)) + `_shutdown")
sys.exit(0 if h and k.SetEvent(h) else 1)`
		_ = w.wine(t, `C:\Python311\python.exe`, "-c", stop)
		return server
	})
}

// launcher serves with the launcher of the zip and a Python that only the registry
// knows (PEP 514), and stops it with Ctrl-Break and with its own command.
func (w *windows) launcher(t *testing.T) {
	exe := `C:\Web Läden\mod_wsgi-express.exe`
	if _, err := os.Stat(w.path("Web Läden/mod_wsgi-express.exe")); err != nil {
		t.Skip("the zip was not unpacked")
	}
	key := `HKCU\Software\Python\PythonCore\3.11\InstallPath`
	if r := w.wine(t, exe, "module-config"); r.code == 0 || !strings.Contains(r.stderr, "Python 3.11") {
		t.Errorf("without a registered Python: %v", r)
	}
	if r := w.wine(t, "reg", "add", key, "/ve", "/d", `C:\Python311\`, "/f"); r.code != 0 {
		t.Fatal(r)
	}
	r := w.wine(t, exe, "module-config")
	if r.code != 0 || !strings.Contains(r.stdout, `LoadModule wsgi_module "C:/Web Läden/Apache24/modules/mod_wsgi.so"`) || !strings.Contains(r.stdout, `LoadFile "C:/Python311/python311.dll"`) {
		t.Fatal(r)
	}
	// It names the server root and means the modules directory.
	if r := w.wine(t, exe, "install-module", "--modules-directory", `C:\Apache24`); r.code != 0 || !strings.Contains(r.stdout, `LoadModule wsgi_module "C:/Apache24/modules/mod_wsgi.so"`) {
		t.Errorf("install-module: %v", r)
	}
	port := fmt.Sprint(freeport.Get(t))
	app := `C:\Anwendungen ü\erste Fassung\app.wsgi`
	write(t, w.path("Anwendungen ü/erste Fassung/app.wsgi"), windowsApp)
	root := `C:\Anwendungen ü\server root`
	w.refusals(t, exe, app)
	if r := w.wine(t, exe, "setup-server", app, "--max-clients", "40", "--port", port, "--server-root", root); r.code != 0 || !strings.Contains(r.stdout, "apachectl.cmd") {
		t.Fatal(r)
	}
	onlyCRLF(t, w.path("Anwendungen ü/server root"))
	log := "Anwendungen ü/server root/error_log"
	w.ends(t, log, func() *running {
		return w.interrupted(t, port, exe, "start-server", app, "--max-clients", "40", "--port", port, "--server-root", root)
	})
	if text, err := os.ReadFile(w.path("Anwendungen ü/server root/httpd.conf")); err != nil || !strings.Contains(string(text), "\nThreadsPerChild 40\r\n") {
		t.Errorf("--max-clients is not the number of threads: %v\n%s", err, text)
	}

	w.ends(t, log, func() *running {
		server := w.start(t, exe, "start-server", app, "--port", port, "--server-root", root)
		ask(t, "http://127.0.0.1:"+port+"/?x=1", nil, http.StatusOK)
		if r := w.wine(t, exe, "start-server", app, "--port", port, "--server-root", root+" 2"); r.code == 0 || !strings.Contains(r.stderr, "port "+port+" is in use") {
			t.Errorf("a port that is taken: %v", r)
		}
		if r := w.wine(t, exe, "status", "--server-root", root); r.code != 0 {
			t.Errorf("status: %v", r)
		}
		ask(t, "http://127.0.0.1:"+port+"/boom", nil, http.StatusInternalServerError)
		if r := w.wine(t, exe, "stop", "--server-root", root); r.code != 0 || !strings.Contains(r.stdout, "has stopped") {
			t.Errorf("stop: %v", r)
		}
		return server
	})
	if r := w.wine(t, exe, "status", "--server-root", root); r.code != 3 {
		t.Errorf("status of a stopped one: %v", r)
	}
}

// refusals are what the launcher refuses on Windows, each by name, and whether it
// finds an httpd.
func (w *windows) refusals(t *testing.T, exe, app string) {
	t.Helper()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"start-server", app, "--user", "x"}, "--user is not available on Windows"},
		{[]string{"start-server", app, "--processes", "2"}, "--processes is not available on Windows"},
		{[]string{"setup-server", app, "--server-root", `C:\none\root`}, "of the server root does not exist"},
		{[]string{"setup-server", app, "--httpd-executable", `C:\none\bin\httpd.exe`}, `C:\none\bin\httpd.exe does not exist`},
		{[]string{"setup-server", app, "--compress-responses"}, "see --modules-directory"},
		{[]string{"systemd-unit", app}, "is only for Linux"},
	} {
		r := w.wine(t, append([]string{exe}, c.args...)...)
		if r.code == 0 || !strings.Contains(r.stderr, c.want) || strings.Contains(r.stderr, "modwsgi install") {
			t.Errorf("%q: %v", c.args, r)
		}
	}
	if r := w.wine(t, exe, "help", "start-server"); strings.Contains(r.stdout, "--processes") || !strings.Contains(r.stdout, "--max-clients") || !strings.Contains(r.stdout, "--httpd-executable") {
		t.Errorf("help names what is refused, or does not what is not: %v", r)
	}
	// The launcher of the wheel has no Apache24 next to it.
	exe = `C:\Python311\Scripts\mod_wsgi-express.exe`
	if err := os.Rename(w.path("Apache24"), w.path("Apache hier")); err != nil {
		t.Fatal(err)
	}
	if r := w.wine(t, exe, "setup-server", app); r.code == 0 || !strings.Contains(r.stderr, "no httpd found") || !strings.Contains(r.stderr, "MOD_WSGI_APACHE_ROOTDIR") {
		t.Errorf("without an httpd: %v", r)
	}
	if r := w.wine(t, "reg", "add", `HKLM\SYSTEM\CurrentControlSet\Services\Apache2.4`, "/v", "ImagePath", "/d", `"C:\Apache hier\bin\httpd.exe" -k runservice`, "/f"); r.code != 0 {
		t.Fatal(r)
	}
	if r := w.wine(t, exe, "install-module"); r.code != 0 || !strings.Contains(r.stdout, `"C:/Apache hier/modules/mod_wsgi.cp311-win_amd64.pyd"`) {
		t.Errorf("an httpd that a service runs: %v", r)
	}
	if err := os.Rename(w.path("Apache hier"), w.path("Apache24")); err != nil {
		t.Fatal(err)
	}
}

// interrupted starts a program on a separate terminal, which wine turns into a
// console, and types Ctrl-C when it serves.
func (w *windows) interrupted(t *testing.T, port string, argv ...string) *running {
	t.Helper()
	words := []string{"exec", "wine"}
	for _, a := range argv {
		words = append(words, "'"+a+"'")
	}
	c := exec.Command("script", "-qfec", strings.Join(words, " "), "/dev/null")
	c.Env, c.Dir = append(w.env, "TERM=xterm"), "/"
	keyboard, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	s := &running{done: make(chan error, 1), out: &bytes.Buffer{}}
	c.Stdout, c.Stderr = s.out, s.out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill() })
	ask(t, "http://127.0.0.1:"+port+"/", nil, http.StatusOK)
	if _, err := io.WriteString(keyboard, "\x03"); err != nil {
		t.Fatal(err)
	}
	go func() { s.done <- c.Wait() }()
	return s
}

// running is a server in the prefix.
type running struct {
	done chan error
	out  *bytes.Buffer
}

func (w *windows) start(t *testing.T, argv ...string) *running {
	t.Helper()
	c := exec.Command("wine", argv...)
	c.Env, c.Dir = w.env, "/"
	s := &running{done: make(chan error, 1), out: &bytes.Buffer{}}
	c.Stdout, c.Stderr = s.out, s.out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.done <- c.Wait() }()
	t.Cleanup(func() { _ = c.Process.Kill() })
	return s
}

// ends runs a server until it was told to end, and wants a clean end: exit 0, and a
// log that confirms it. Under Wine the event sometimes does not reach httpd's child
// process, which is then killed after 30 seconds: only that gets a second try.
func (w *windows) ends(t *testing.T, log string, served func() *running) {
	t.Helper()
	for try := 1; ; try++ {
		before, _ := os.ReadFile(w.path(log))
		s := served()
		select {
		case err := <-s.done:
			if err != nil {
				t.Errorf("the server ended with %v: %s", err, s.out)
			}
		case <-time.After(60 * time.Second):
			t.Errorf("the server does not end: %s", s.out)
		}
		text, err := os.ReadFile(w.path(log))
		if err != nil {
			t.Fatal(err)
		}
		end := string(bytes.TrimPrefix(text, before))
		switch forced := strings.Contains(end, "AH00431") || strings.Contains(end, "forcefully"); {
		case forced && try == 1:
			t.Logf("a second try, because httpd killed its child process:\n%s", end)
			continue
		case forced, !strings.Contains(end, "exited successfully"):
			t.Errorf("the end was not a clean one:\n%s", end)
		}
		return
	}
}

// serves sends many requests: one of each kind, and a thousand concurrently.
func (w *windows) serves(t *testing.T, port int, prefix string, path ...string) {
	t.Helper()
	base := fmt.Sprintf("http://127.0.0.1:%d/", port)
	for _, p := range path {
		base += p + "/"
	}
	if got := ask(t, base+"?q", nil, http.StatusOK); got != "3.11.11|"+prefix+"|0|q" {
		t.Errorf("got %q", got)
	}
	ask(t, base+"boom", nil, http.StatusInternalServerError)
	if got := ask(t, base, bytes.NewReader(make([]byte, 8<<20)), http.StatusOK); !strings.Contains(got, fmt.Sprintf("|%d|", 8<<20)) {
		t.Errorf("a large POST: %q", got)
	}
	var group sync.WaitGroup
	slots := make(chan struct{}, 32)
	var mu sync.Mutex
	wrong := []string{}
	for n := range 1000 {
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			got, err := fetchText(fmt.Sprintf("%s?n=%d", base, n), nil, http.StatusOK)
			if err != nil || !strings.HasSuffix(got, fmt.Sprintf("|n=%d", n)) {
				mu.Lock()
				wrong = append(wrong, fmt.Sprintf("%d: %q, %v", n, got, err))
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if len(wrong) > 0 {
		t.Errorf("%d of 1000 parallel requests failed, the first: %s", len(wrong), wrong[0])
	}
}

// ask retries until a starting server answers.
func ask(t *testing.T, url string, body io.Reader, status int) string {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		text, err := fetchText(url, body, status)
		if err == nil {
			return text
		}
		var refused *wrongStatus
		if errors.As(err, &refused) || time.Now().After(deadline) || body != nil {
			t.Fatalf("%s: %v", url, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

type wrongStatus struct{ got int }

func (w *wrongStatus) Error() string { return fmt.Sprintf("status %d", w.got) }

func fetchText(url string, body io.Reader, status int) (string, error) {
	method := http.MethodGet
	if body != nil {
		method = http.MethodPost
	}
	q, err := http.NewRequest(method, url, body)
	if err != nil {
		return "", err
	}
	client := http.Client{Timeout: 60 * time.Second}
	r, err := client.Do(q)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	data, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != status {
		err = &wrongStatus{r.StatusCode}
	}
	return string(data), err
}

func tree(t *testing.T, dir string) []string {
	t.Helper()
	out := strings.Split(strings.TrimSpace(must(t, "/", os.Environ(), "find", dir, "-type", "f").stdout), "\n")
	slices.Sort(out)
	return out
}

func unzip(t *testing.T, file, to string) {
	t.Helper()
	z, err := zip.OpenReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	for _, f := range z.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(to, filepath.FromSlash(f.Name)), string(data))
	}
}

// TestWindowsLock: modules for Windows have the versions of the lock file, as those for Linux
// do, and with --locked nothing else.
func TestWindowsLock(t *testing.T) {
	t.Parallel()
	needTools(t, "x86_64-w64-mingw32-gcc")
	dir := workdir(t, "windows lock")
	build := func(args ...string) result {
		return command(t, dir, bareEnv(), append([]string{
			program(t, "modwsgi"), "module", "build", "--target", "windows/amd64", "--python", "3.11", "--progress", "plain", "--json",
			"--cache-dir", setting(t, "MODWSGI_TEST_CACHE"), "--source-dir", setting(t, "MODWSGI_TEST_SOURCES"), "--out", "out", "--lock-file", "modwsgi.lock",
		}, args...)...)
	}
	if r := build("--locked"); r.code == 0 || !strings.Contains(r.stderr, "--locked needs the lock file") {
		t.Errorf("without a lock file: %v", r)
	}
	if r := build("--mod-wsgi-version", "5.0.2"); r.code != 0 {
		t.Fatal(r)
	}
	locked, err := os.ReadFile(filepath.Join(dir, "modwsgi.lock"))
	if err != nil {
		t.Fatal(err)
	}
	for _, component := range []string{"mod_wsgi", "httpd", "apr", "apr-util", "cpython"} {
		if !bytes.Contains(locked, []byte("component = \""+component+"\"\n")) {
			t.Errorf("the lock file has no %s:\n%s", component, locked)
		}
	}
	for _, args := range [][]string{nil, {"--locked"}} {
		if r := build(args...); r.code != 0 || !strings.Contains(r.stdout, `"Version":"5.0.2"`) {
			t.Errorf("%q: mod_wsgi is not that of the lock file: %v", args, r)
		}
	}
	if r := build("--locked", "--python", "3.9", "--python", "3.12"); r.code == 0 {
		t.Errorf("a Python that the lock file does not have: %v", r)
	}
	if r := build("--locked", "--mod-wsgi-version", "6.0.5"); r.code == 0 || !strings.Contains(r.stderr, "mod_wsgi 5.0.2 is locked") {
		t.Errorf("another version: %v", r)
	}
	if now, err := os.ReadFile(filepath.Join(dir, "modwsgi.lock")); err != nil || !bytes.Equal(now, locked) {
		t.Errorf("the lock file changed: %v\n%s", err, now)
	}
	if strings.Contains(os.Getenv("MODWSGI_TEST_MISSING"), "6.0.5") {
		return
	}
	if r := build("--upgrade"); r.code != 0 || !strings.Contains(r.stdout, `"Version":"6.0.5"`) {
		t.Errorf("--upgrade: %v", r)
	}
	if now, _ := os.ReadFile(filepath.Join(dir, "modwsgi.lock")); !bytes.Contains(now, []byte("version = \"6.0.5\"")) {
		t.Errorf("the lock file after --upgrade:\n%s", now)
	}
}
