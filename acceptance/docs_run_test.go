//go:build acceptance && linux

package acceptance

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"modwsgi/internal/digest"
	"modwsgi/internal/freeport"
	"modwsgi/internal/pages"
)

// reader follows one page.
type reader struct {
	t      *testing.T
	dir    string // the working directory; home, /srv and /etc are below it
	env    []string
	swap   *strings.Replacer // names on the page that are different here
	port   int
	extra  []string // options that a server needs here
	server *exec.Cmd
	ended  chan error
	out    bytes.Buffer // of the server
}

// TestDocsRun runs the command lines of each page in order, in a separate directory,
// with the files that the page shows. A server in the foreground runs until the next
// command of that kind, as in another terminal.
func TestDocsRun(t *testing.T) {
	t.Parallel()
	names, commands, files := docsCommands(t)
	for _, name := range names {
		var run []pages.Command
		for _, c := range commands[name] {
			if whyNotRun(c) == "" {
				run = append(run, c)
			}
		}
		if len(run) == 0 {
			continue
		}
		t.Run(strings.ReplaceAll(strings.TrimSuffix(name, ".md"), "/", "."), func(t *testing.T) {
			r := newReader(t)
			for _, b := range files[name] {
				r.file(b.File, b.Text)
			}
			r.prepare(name, run)
			for _, c := range run {
				r.follow(c)
			}
			r.stop()
		})
	}
}

func newReader(t *testing.T) *reader {
	t.Helper()
	dir := workdir(t, "docs")
	r := &reader{t: t, dir: dir, port: freeport.Get(t)}
	for _, sub := range []string{"home", "srv/shop", "etc/systemd/system"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r.env = []string{
		"PATH=" + setting(t, "MODWSGI_TEST_BIN") + ":/usr/bin:/bin:/usr/sbin:/sbin", "HOME=" + filepath.Join(dir, "home"), "TMPDIR=/var/tmp",
		"MODWSGI_CACHE_DIR=" + setting(t, "MODWSGI_TEST_CACHE"), "PYTHONDONTWRITEBYTECODE=1",
	}
	port := fmt.Sprint(r.port)
	// The server root that the launcher chooses; one in the test's directory would have too
	// long a path for sockets.
	t.Cleanup(func() { _ = os.RemoveAll(fmt.Sprintf("/var/tmp/mod_wsgi-localhost:%d:%d", r.port, os.Getuid())) })
	r.swap = strings.NewReplacer("/srv/shop", dir+"/srv/shop", "/etc/", dir+"/etc/", "--port 8080", "--port "+port, "--port 8000", "--port "+port,
		"--port 80 ", "--port "+port+" ", ":8080", ":"+port, "--user shop", "--user nobody --group nogroup", "-o shop", "-o nobody", "~/", "$HOME/")
	if os.Geteuid() == 0 {
		r.extra = []string{"--user", "nobody", "--group", "nogroup"}
	}
	t.Cleanup(r.stop)
	// The versions available here, so that no other is fetched.
	if lock, err := os.ReadFile(filepath.Join(filepath.Dir(setting(t, "MODWSGI_TEST_ENV")), "modwsgi.lock")); err == nil {
		r.file("modwsgi.lock", string(lock))
	}
	return r
}

// prepare creates what a page assumes.
func (r *reader) prepare(name string, run []pages.Command) {
	t := r.t
	if _, err := os.Stat(filepath.Join(r.dir, "hello.wsgi")); err != nil {
		r.file("hello.wsgi", hello)
	}
	python := setting(t, "MODWSGI_TEST_PYTHON")
	first := r.swap.Replace(run[0].Text)
	switch {
	case strings.HasPrefix(first, "python3 -m venv"):
	case name == "docs/guides/systemd-and-tls.md":
		r.install(venv(t, python, filepath.Join(r.dir, "srv/shop/.venv"), "--without-pip"))
		r.file("srv/shop/shop.wsgi", hello)
		r.shell("openssl req -x509 -newkey rsa:2048 -nodes -keyout site.key -out site.crt -days 2 -subj /CN=www.example.com")
	default:
		r.install(venv(t, python, filepath.Join(r.dir, ".venv"), "--without-pip"))
	}
	switch name {
	case "docs/guides/ci.md":
		dist, _ := released(t)
		server := httptest.NewServer(http.FileServer(http.Dir(dist)))
		t.Cleanup(server.Close)
		sum, err := digest.File(filepath.Join(dist, "bootstrap.sh"))
		if err != nil {
			t.Fatal(err)
		}
		// GitLab's variable of type "file".
		r.shell("modwsgi cache keygen key.pem && chmod 666 key.pem")
		r.env = append(r.env, "MODWSGI_DOWNLOAD_URL="+server.URL, "BOOTSTRAP_SHA256="+sum, "MODWSGI_CACHE_SIGN_KEY="+filepath.Join(r.dir, "key.pem"))
	case "docs/guides/from-gunicorn.md":
		r.file("shop.py", strings.ReplaceAll(hello, "application", "app"))
	case "docs/guides/flask.md":
		lib := debianPackages(t, "python3-flask", "python3-werkzeug", "python3-jinja2", "python3-markupsafe", "python3-click", "python3-itsdangerous", "python3-blinker", "python3-simplejson", "python3-colorama", "python3-importlib-metadata", "python3-zipp")
		r.extra = append(r.extra, "--python-path", lib)
		if err := os.Mkdir(filepath.Join(r.dir, "static"), 0o755); err != nil {
			t.Fatal(err)
		}
	case "docs/guides/django.md":
		lib := debianPackages(t, "python3-django", "python3-asgiref", "python3-sqlparse", "python3-tz")
		r.env = append(r.env, "PYTHONPATH="+lib)
		r.extra = append(r.extra, "--python-path", lib)
		settings, _ := os.ReadFile(filepath.Join(r.dir, "mysite/settings.py"))
		_ = os.RemoveAll(filepath.Join(r.dir, "mysite"))
		r.shell(python + " -m django startproject mysite . && chmod -R a+rX . && cp -a manage.py mysite srv/shop/ && mkdir -p srv/shop/static")
		made, err := os.ReadFile(filepath.Join(r.dir, "mysite/settings.py"))
		if err != nil {
			t.Fatal(err)
		}
		r.file("mysite/settings.py", string(made)+string(settings)+"ALLOWED_HOSTS = ['*']\n")
	}
}

func (r *reader) install(env string) {
	r.t.Helper()
	if res := install(r.t, r.dir, "--python", env); res.code != 0 {
		r.t.Fatal(res)
	}
}

func (r *reader) file(name, text string) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// follow runs one command line.
func (r *reader) follow(c pages.Command) {
	t := r.t
	t.Helper()
	if t.Failed() {
		return
	}
	text := r.swap.Replace(c.Text)
	began := time.Now()
	defer func() { t.Logf("%s:%d: %s (%.1f s)", c.Page, c.Line, text, time.Since(began).Seconds()) }()
	var words []string
	if simple := c.Simple(); len(simple) > 0 { // export alone is none
		words = simple[0]
	}
	switch {
	case strings.HasPrefix(c.Text, "python3 -m venv "):
		dir := strings.ReplaceAll(strings.Fields(text)[3], "$HOME", filepath.Join(r.dir, "home"))
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(r.dir, dir)
		}
		venv(t, setting(t, "MODWSGI_TEST_PYTHON"), dir, "--without-pip") // no command that runs needs pip
	case len(words) > 2 && (words[1] == "start-server" || words[1] == "serve" || words[2] == "runmodwsgi"):
		r.start(text)
	case strings.HasPrefix(c.Text, "modwsgi cache clear"), strings.HasPrefix(c.Text, "modwsgi cache prune"), strings.HasPrefix(c.Text, "modwsgi cache verify"):
		// The tests' shared cache is not cleared.
		r.shell("MODWSGI_CACHE_DIR=$HOME/cache; export MODWSGI_CACHE_DIR; " + text)
	case strings.HasPrefix(c.Text, "modwsgi doctor"):
		r.shell(text + "; test $? -le 3") // its findings depend on the machine
	case len(words) > 1 && words[1] == "show-config":
		r.shell(text + " " + strings.Join(r.extra, " "))
	case len(words) > 1 && words[1] == "status":
		r.shell(text + " || test $? -eq 3") // after the page's stop command
	default:
		r.shell(text)
	}
}

func (r *reader) shell(text string) {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), "/bin/sh", "-euc", text)
	cmd.Dir, cmd.Env = r.dir, r.env
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("%s: %v\n%s\nserver:\n%s", text, err, out, r.out.String())
	}
}

// start starts a server, and waits until it answers.
func (r *reader) start(text string) {
	r.t.Helper()
	r.stop()
	for _, word := range r.extra {
		if !strings.Contains(text, "--user ") || word != "--user" {
			text += " " + word
		}
	}
	cmd := exec.CommandContext(r.t.Context(), "/bin/sh", "-euc", "exec "+text)
	cmd.Dir, cmd.Env = r.dir, r.env
	r.out.Reset()
	cmd.Stdout, cmd.Stderr = &r.out, &r.out
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.server, r.ended = cmd, make(chan error, 1)
	go func() { r.ended <- cmd.Wait() }()
	if _, err := get(r.port, "/", r.ended); err != nil && !strings.HasPrefix(err.Error(), "404 ") {
		r.stop()
		r.t.Fatalf("%s: %v\n%s", text, err, r.out.String())
	}
}

// stop ends the server like Ctrl-C in its terminal.
func (r *reader) stop() {
	if r.server == nil {
		return
	}
	_ = r.server.Process.Signal(syscall.SIGINT)
	select {
	case <-r.ended:
	case <-time.After(20 * time.Second):
		_ = r.server.Process.Kill()
		r.t.Errorf("the server did not end: %s", r.out.String())
	}
	r.server = nil
}

// debianPackages unpacks Python packages of the distribution and returns the directory
// for the path.
func debianPackages(t *testing.T, packages ...string) string {
	t.Helper()
	if _, err := exec.LookPath("apt-get"); err != nil {
		t.Skip("no apt-get here")
	}
	dir := workdir(t, "deb")
	must(t, dir, bareEnv(), "sh", "-euc", `chmod 777 . && apt-get download -q "$@" >/dev/null && for f in *.deb; do dpkg-deb -x "$f" .; done && chmod 755 .`, "sh", packages[0])
	for _, p := range packages[1:] {
		r := command(t, dir, bareEnv(), "sh", "-euc", `chmod 777 . && apt-get download -q "$1" >/dev/null && dpkg-deb -x "$1"_*.deb . && chmod 755 .`, "sh", p)
		if r.code != 0 {
			t.Logf("%s: %v", p, r)
		}
	}
	must(t, dir, bareEnv(), "find", "usr", "-xtype", "l", "-delete") // links to packages that are missing here
	return filepath.Join(dir, "usr/lib/python3/dist-packages")
}
