//go:build acceptance

package express_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"modwsgi/internal/freeport"
)

// serving starts serve on a terminal and waits for the address that it shows.
func serving(t *testing.T, p *terminal, dir string, env []string, args ...string) *server {
	t.Helper()
	s := &server{t: t, out: &p.text, done: make(chan struct{}), root: filepath.Join(shortDir(t), "root")}
	s.cmd = command(t, append(append([]string{"serve", "--server-root", s.root}, args...), asUser()...)...)
	s.cmd.Dir, s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = dir, p.theirs, p.theirs, p.theirs
	s.cmd.Env = append(append(s.cmd.Env, "TERM=xterm"), env...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.err = s.cmd.Wait(); close(s.done) }()
	t.Cleanup(s.stop)
	return s
}

var readyLine = regexp.MustCompile(`Ready: https?://[^:/]+:(\d+)/`)

// ready waits until the application answers.
func (s *server) ready(p *terminal) *server {
	s.t.Helper()
	eventually(s.t, "the address is shown", func() bool {
		found := readyLine.FindStringSubmatch(p.String())
		if found != nil {
			s.port, _ = strconv.Atoi(found[1])
		}
		return found != nil
	})
	if s.port == 0 {
		s.t.Fatalf("%s", p)
	}
	return s
}

// interrupt presses Ctrl-C.
func (s *server) interrupt(p *terminal) {
	s.t.Helper()
	fmt.Fprint(p.ours, "\x03")
	<-s.done
	if s.err != nil {
		s.t.Errorf("%v\n%s", s.err, p)
	}
	if left, err := os.ReadFile(filepath.Join(s.root, "httpd.pid")); err == nil {
		s.t.Errorf("httpd %s was left behind", left)
	}
}

// freshPort makes a test independent of what uses the default port.
func freshPort(t *testing.T) []string {
	t.Helper()
	return []string{"--port", strconv.Itoa(freeport.Get(t))}
}

var flaskPackages = []string{
	"python3-flask", "python3-werkzeug", "python3-jinja2", "python3-markupsafe", "python3-itsdangerous", "python3-click",
	"python3-importlib-metadata", "python3-zipp", "python3-more-itertools", "python3-colorama", "python3-blinker",
}

// TestServeDjango: a project of django-admin is found and served as manage.py runserver
// does, with the static files of applications, a readable traceback, and a change that
// takes effect.
func TestServeDjango(t *testing.T) {
	testEnv(t)
	lib := debian(t, "python3-django", "python3-asgiref", "python3-sqlparse", "python3-tz")
	dir := workDir(t, "project")
	if out, err := python(t, dir, []string{"PYTHONPATH=" + lib}, "-m", "django", "startproject", "mysite", ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_ = os.Chmod(filepath.Join(dir, "mysite"), 0o755)
	const urls = `
from django.contrib import admin
from django.http import HttpResponse
from django.urls import path
urlpatterns = [path("", lambda request: HttpResponse("first")), path("boom", lambda request: {}["word"]), path("admin/", admin.site.urls)]
`
	file := write(t, filepath.Join(dir, "mysite", "urls.py"), urls)
	p := newTerminal(t)
	s := serving(t, p, dir, nil, append(freshPort(t), "--python-path", lib)...).ready(p)
	for _, text := range []string{"Django project mysite, in " + dir, "the settings are mysite.settings", "WSGI_APPLICATION is mysite.wsgi.application", "DEBUG is True"} {
		p.expect(t, text)
	}
	if code, body := s.get("/"); code != 200 || body != "first" {
		t.Errorf("%d %s\n%s", code, body, p)
	}
	if code, body := s.get("/static/admin/css/base.css"); code != 200 || !strings.Contains(body, "{") {
		t.Errorf("static files: %d %.100s", code, body)
	}
	p.expect(t, "\x1b[32m200\x1b[0m")
	if code, _ := s.get("/boom"); code != 500 {
		t.Errorf("%d", code)
	}
	p.expect(t, "KeyError: 'word'")
	p.expect(t, "\x1b[1m  File \""+file+"\", line 5, in <lambda>\x1b[0m")
	if strings.Contains(p.String(), "handler.wsgi") {
		t.Errorf("the launcher's frames are shown:\n%s", p)
	}
	write(t, file, strings.Replace(urls, "first", "second", 1))
	eventually(t, "the change takes effect", func() bool { _, body := s.get("/"); return body == "second" })
	p.expect(t, "mysite/urls.py has changed")
	s.interrupt(p)
}

// TestServeFlask: a factory is called, and an application that stops loading keeps the
// server, which loads it again once it is corrected.
func TestServeFlask(t *testing.T) {
	testEnv(t)
	lib := debian(t, flaskPackages...)
	dir := workDir(t, "project")
	if err := os.Mkdir(filepath.Join(dir, "flaskr"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "flaskr", "__init__.py"), "from flask import Flask\n\ndef create_app(greeting='hello'):\n    from . import views\n    app = Flask(__name__)\n    app.add_url_rule('/', view_func=lambda: greeting + views.END)\n    return app\n")
	views := write(t, filepath.Join(dir, "flaskr", "views.py"), "END = '!'\n")
	p := newTerminal(t)
	s := serving(t, p, dir, []string{"NO_COLOR=1"}, append(freshPort(t), "--python-path", lib)...).ready(p)
	if code, body := s.get("/"); code != 200 || body != "hello!" {
		t.Errorf("%d %s\n%s", code, body, p)
	}
	write(t, views, "END = '!\n")
	p.expect(t, "error: the application does not load: SyntaxError")
	write(t, views, "END = '?'\n")
	p.expect(t, "ready again: http://127.0.0.1:")
	if code, body := s.get("/"); code != 200 || body != "hello?" {
		t.Errorf("%d %s\n%s", code, body, p)
	}
	s.interrupt(p)
	if strings.Contains(p.String(), "\x1b") {
		t.Errorf("colours in spite of NO_COLOR:\n%s", p)
	}
	// Arguments of the factory.
	p = newTerminal(t)
	s = serving(t, p, dir, nil, append(freshPort(t), "--python-path", lib, "flaskr:create_app(greeting='hi')")...).ready(p)
	if code, body := s.get("/"); code != 200 || body != "hi?" {
		t.Errorf("%d %s\n%s", code, body, p)
	}
	s.interrupt(p)
	// One that does not load at the start does not end the server either.
	write(t, views, "import missing_module\n")
	p = newTerminal(t)
	s = serving(t, p, dir, nil, append(freshPort(t), "--python-path", lib)...)
	p.expect(t, "error: the application does not load: ModuleNotFoundError: No module named 'missing_module'")
	write(t, views, "END = '.'\n")
	s.ready(p)
	if code, body := s.get("/"); code != 200 || body != "hello." {
		t.Errorf("%d %s\n%s", code, body, p)
	}
	s.interrupt(p)
}

const singleFile = `
def application(environ, start_response):
    if environ["PATH_INFO"] == "/boom":
        raise ValueError("no\x1bway")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"one"]
`

// TestServePiped: without a terminal, everything is JSON, and the command that --explain
// prints serves the same.
func TestServePiped(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "it's here")
	file := write(t, filepath.Join(dir, "hello.py"), singleFile)
	s := &server{t: t, done: make(chan struct{}), port: freeport.Get(t), root: filepath.Join(shortDir(t), "root")}
	args := []string{"--port", strconv.Itoa(s.port), "--server-root", s.root, dir}
	s.cmd = command(t, append(append([]string{"serve"}, args...), asUser()...)...)
	output := filepath.Join(shortDir(t), "output")
	to, err := os.Create(output)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = "/", to, to
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.err = s.cmd.Wait(); close(s.done) }()
	t.Cleanup(s.stop)
	shows := func(text string) {
		t.Helper()
		eventually(t, "the output has "+text, func() bool { data, _ := os.ReadFile(output); return strings.Contains(string(data), text) })
	}
	shows(`"event":"ready"`)
	if code, body := s.get("/"); code != 200 || body != "one" {
		t.Errorf("%d %s", code, body)
	}
	s.get("/boom")
	shows(`ValueError: no`)
	shows(`"path":"/boom"`)
	write(t, file, strings.Replace(singleFile, "one", "another", 1))
	eventually(t, "the change takes effect", func() bool { _, body := s.get("/"); return body == "another" })
	s.stop()
	data, _ := os.ReadFile(output)
	for line := range strings.Lines(string(data)) {
		var any map[string]any
		if err := json.Unmarshal([]byte(line), &any); err != nil {
			t.Errorf("%v: %s", err, line)
		}
	}
	for _, text := range []string{`"event":"application"`, `"event":"setup"`, `"url":"http://127.0.0.1:`, `"status":500`} {
		if !strings.Contains(string(data), text) {
			t.Errorf("no %s in\n%s", text, data)
		}
	}
	// The equivalent command.
	cmd := command(t, append(append([]string{"serve", "--explain", "--json"}, args...), asUser()...)...)
	cmd.Dir = "/"
	out, err := cmd.Output()
	var told struct{ Command []string }
	unmarshal(t, out, &told)
	if err != nil || len(told.Command) < 2 {
		t.Fatalf("%v\n%s", err, out)
	}
	again := exec.Command(told.Command[0], told.Command[1:]...) //nolint:noctx // stop ends it
	again.Dir, again.Env = "/", cmd.Env
	e := started(t, again, s.port, s.root)
	if code, body := e.get("/"); code != 200 || body != "another" {
		t.Errorf("%d %s\n%s", code, body, e.out)
	}
	e.stop()
}

// TestServePorts: if the default port is taken, the next one is used and shown; one that is
// given is not replaced.
func TestServePorts(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	write(t, filepath.Join(dir, "hello.py"), singleFile)
	l, err := net.Listen("tcp", "127.0.0.1:8000")
	if err == nil {
		defer l.Close()
	} // else another program has it
	p := newTerminal(t)
	s := serving(t, p, dir, nil).ready(p)
	p.expect(t, "127.0.0.1:8000 is in use by ")
	p.expect(t, ", so the port is "+strconv.Itoa(s.port))
	if code, body := s.get("/"); s.port == 8000 || code != 200 || body != "one" {
		t.Errorf("%d %d %s", s.port, code, body)
	}
	s.interrupt(p)
	refused(t, dir, 1, "127.0.0.1:8000 is in use by", append([]string{"serve", "--port", "8000"}, asUser()...)...)
}

// TestServeHTTPS: a client that trusts only the private authority accepts the certificate,
// for each name of this machine, plain HTTP redirects, and the authority is made once.
func TestServeHTTPS(t *testing.T) {
	testEnv(t)
	dir, state := workDir(t, ""), filepath.Join(t.TempDir(), "state")
	write(t, filepath.Join(dir, "hello.py"), singleFile)
	ca := filepath.Join(state, "mod_wsgi-express", "ca", "root.crt")
	var first []byte
	for range 2 {
		plain, secure := freeport.Get(t), freeport.Get(t)
		p := newTerminal(t)
		s := serving(t, p, dir, []string{"XDG_STATE_HOME=" + state}, "--https", "--port", strconv.Itoa(plain), "--https-port", strconv.Itoa(secure)).ready(p)
		p.expect(t, "Ready: https://localhost:"+strconv.Itoa(secure)+"/")
		p.expect(t, "Browsers warn until this system trusts your private authority")
		p.expect(t, "--cacert ")
		pem, err := os.ReadFile(ca)
		if err != nil {
			t.Fatal(err)
		}
		if first != nil && string(first) != string(pem) {
			t.Error("the authority was made again")
		}
		first = pem
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}
		for _, name := range []string{"localhost", "127.0.0.1"} {
			url := "https://" + net.JoinHostPort(name, strconv.Itoa(secure)) + "/"
			resp, err := client.Get(url)
			if err != nil {
				t.Errorf("%s: %v", url, err)
				continue
			}
			resp.Body.Close()
			if resp.StatusCode != 200 {
				t.Errorf("%s: %s", url, resp.Status)
			}
			if curl, err := exec.LookPath("curl"); err == nil {
				out, err := exec.CommandContext(t.Context(), curl, "-sS", "--cacert", ca, url).CombinedOutput()
				if err != nil || string(out) != "one" {
					t.Errorf("curl %s: %v %s", url, err, out)
				}
				if out, err := exec.CommandContext(t.Context(), curl, "-sS", url).CombinedOutput(); err == nil {
					t.Errorf("curl trusts the authority already: %s", out)
				}
			}
		}
		s.port = plain
		if code, _ := s.get("/"); code != 301 {
			t.Errorf("plain HTTP: %d", code)
		}
		s.interrupt(p)
	}
	if info, err := os.Stat(filepath.Dir(ca)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", info, err)
	}
}

// TestServeRefuses: several applications are listed, none is a clear message, and a
// directory that another user may change is not searched. Nothing is started.
func TestServeRefuses(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	make := func(name string, files ...string) string {
		path := filepath.Join(dir, name)
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			write(t, filepath.Join(path, f), singleFile)
		}
		return path
	}
	serve := append([]string{"serve"}, asUser()...)
	two := make("two", "admin.py", "public.py")
	refused(t, two, 3, "serve admin.py\n    WSGI application application in public.py\n", serve...)
	refused(t, dir, 3, "serve two/admin.py\n", append(serve, "two")...)
	refused(t, make("none"), 4, "no WSGI application was found in", serve...)
	open := make("open", "app.py")
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	refused(t, open, 1, "the project is not searched: ", serve...)
	refused(t, dir, 1, "the project is not searched: ", append(serve, "open")...)
	if os.Geteuid() == 0 {
		theirs := make("theirs", "app.py")
		if err := os.Chown(theirs, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		refused(t, theirs, 1, "the project is not searched: ", serve...)
		refused(t, theirs, 1, "option --user is required", "serve", filepath.Join(two, "admin.py"))
	}
}
