//go:build acceptance

package express_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"modwsgi/internal/freeport"
)

// python runs a program of the test environment.
func python(t *testing.T, dir string, env []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(testEnv(t), "bin", "python"), args...)
	cmd.Dir, cmd.Env = dir, append([]string{"PATH=/usr/bin:/bin", "HOME=/nonexistent", "TMPDIR=" + os.TempDir(), "PYTHONDONTWRITEBYTECODE=1"}, env...)
	return cmd
}

// started is a server started by another program.
func started(t *testing.T, cmd *exec.Cmd, port int, root string) *server {
	t.Helper()
	s := &server{t: t, cmd: cmd, out: &bytes.Buffer{}, port: port, root: root, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = s.out, s.out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.err = cmd.Wait(); close(s.done) }()
	t.Cleanup(s.stop)
	return s.up()
}

func TestDjango(t *testing.T) {
	testEnv(t)
	lib := debian(t, "python3-django", "python3-asgiref", "python3-sqlparse", "python3-tz")
	for _, app := range []string{"mod_wsgi.express", "mod_wsgi.server"} {
		t.Run(app, func(t *testing.T) {
			dir := workDir(t, "")
			env := []string{"PYTHONPATH=" + lib}
			if out, err := python(t, dir, env, "-m", "django", "startproject", "mysite", ".").CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, d := range []string{dir, filepath.Join(dir, "mysite")} {
				_ = os.Chmod(d, 0o755)
			}
			settings := filepath.Join(dir, "mysite", "settings.py")
			text, _ := os.ReadFile(settings)
			write(t, settings, string(text)+fmt.Sprintf("\nINSTALLED_APPS += [%q]\nALLOWED_HOSTS = ['*']\nSTATIC_ROOT = BASE_DIR / 'collected'\n", app))
			write(t, filepath.Join(dir, "mysite", "urls.py"), `
import os
from django.http import HttpResponse
from django.urls import path
urlpatterns = [path("who/<name>/", lambda request, name: HttpResponse("%s %s %s" % (name, request.path, os.environ["MOD_WSGI_EXPRESS"])))]
`)
			if err := os.Mkdir(filepath.Join(dir, "collected"), 0o755); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, "collected", "s.css"), "css")
			port, root := freeport.Get(t), filepath.Join(shortDir(t), "r")
			args := []string{
				"manage.py", "runmodwsgi", "--host", "127.0.0.1", "--port", strconv.Itoa(port), "--server-root", root,
				"--python-path", lib, "--setenv", "A", "b c", "--access-log",
			}
			s := started(t, python(t, dir, env, append(args, asUser()...)...), port, root)
			if code, body := s.get("/who/me/"); code != 200 || body != "me /who/me/ true" {
				t.Errorf("%d %s\n%s", code, body, s.log())
			}
			if code, body := s.get("/static/s.css"); code != 200 || body != "css" {
				t.Errorf("static: %d %s", code, body)
			}
			s.stop()
			// A new project's STATIC_URL is below the mount point.
			write(t, settings, string(text)+fmt.Sprintf("\nINSTALLED_APPS += [%q]\nALLOWED_HOSTS = ['*']\nSTATIC_ROOT = BASE_DIR / 'collected'\nSTATIC_URL = 'static/'\n", app))
			mounted := freeport.Get(t)
			args[5], args[7] = strconv.Itoa(mounted), filepath.Join(shortDir(t), "r")
			m := started(t, python(t, dir, env, append(append(args, "--mount-point", "/app/"), asUser()...)...), mounted, args[7])
			if code, body := m.get("/app/static/s.css"); code != 200 || body != "css" {
				t.Errorf("static files below the mount point: %d %.200s", code, body)
			}
			m.stop()
			if !strings.HasPrefix(s.out.String(), "Successfully ran command.\nServer URL ") {
				t.Errorf("%s", s.out)
			}
			out, err := python(t, dir, env, "manage.py", "runmodwsgi", "--help").CombinedOutput()
			if err != nil || !strings.Contains(string(out), "--eviction-timeout SECONDS") {
				t.Errorf("help: %v\n%s", err, out)
			}
			out, err = python(t, dir, env, "manage.py", "runmodwsgi", "--prot", "1").CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--prot") {
				t.Errorf("%v\n%s", err, out)
			}
			program := "import django; django.setup()\nfrom django.core.management import call_command\ncall_command('runmodwsgi', " +
				"setup_only=True, port=" + strconv.Itoa(port) + ", server_root=" + strconv.Quote(root) + ", python_path=[" + strconv.Quote(lib) + "]"
			if os.Geteuid() == 0 {
				program += ", user=" + strconv.Quote(runUser())
			}
			out, err = python(t, dir, append(env, "DJANGO_SETTINGS_MODULE=mysite.settings"), "-c", program+")").CombinedOutput()
			if err != nil || !strings.Contains(string(out), "Control Script") {
				t.Errorf("call_command: %v\n%s", err, out)
			}
		})
	}
}

func TestFlask(t *testing.T) {
	testEnv(t)
	lib := debian(t, "python3-flask", "python3-werkzeug", "python3-jinja2", "python3-markupsafe", "python3-itsdangerous", "python3-click",
		"python3-importlib-metadata", "python3-zipp", "python3-more-itertools", "python3-colorama", "python3-blinker")
	dir := workDir(t, "")
	write(t, filepath.Join(dir, "shop.py"), `
from flask import Flask, request, url_for
app = Flask(__name__)
@app.route("/item/<int:number>", methods=["GET", "POST"])
def item(number):
    return "%d %s %s %s" % (number, request.form.get("x"), url_for("item", number=number + 1), request.script_root)
`)
	for _, mount := range []string{"/", "/shop"} {
		s := start(t, dir, "shop", "--application-type", "module", "--callable-object", "app", "--python-path", lib, "--mount-point", mount)
		mount = strings.TrimSuffix(mount, "/")
		resp, err := http.PostForm("http://"+s.address()+mount+"/item/4", map[string][]string{"x": {"grüße"}})
		if err != nil {
			t.Fatal(err)
		}
		body := new(bytes.Buffer)
		_, _ = body.ReadFrom(resp.Body)
		resp.Body.Close()
		if want := fmt.Sprintf("4 grüße %s/item/5 %s", mount, mount); body.String() != want {
			t.Errorf("%s: %d %q, want %q\n%s", mount, resp.StatusCode, body, want, s.log())
		}
	}
}

func TestPythonStartsIt(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	for name, program := range map[string][]string{
		"module":  {"-m", "mod_wsgi.express", "start-server"},
		"express": {"-c", "import sys, mod_wsgi.express as m; m.start(*sys.argv[1:])"},
		"server":  {"-c", "import sys, mod_wsgi.server as m; m.main(['start-server'] + sys.argv[1:])"},
	} {
		t.Run(name, func(t *testing.T) {
			port, root := freeport.Get(t), filepath.Join(shortDir(t), "r")
			args := append(program, app, "--host", "127.0.0.1", "--port", strconv.Itoa(port), "--server-root", root)
			s := started(t, python(t, dir, nil, append(args, asUser()...)...), port, root)
			s.environ("/")
		})
	}
}
