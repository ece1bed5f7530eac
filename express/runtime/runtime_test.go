package runtime_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"modwsgi/express/runtime"
)

// interpreters returns the Pythons of this machine that the runtime must support.
func interpreters(t *testing.T) []string {
	t.Helper()
	if testing.Short() {
		t.Skip("-short starts no Python")
	}
	var found []string
	for _, minor := range []string{"8", "9", "10", "11", "12", "13", "14"} {
		names := []string{"/usr/bin/python3." + minor, "/usr/local/bin/python3." + minor}
		more, _ := filepath.Glob(os.Getenv("HOME") + "/.pyenv/versions/3." + minor + ".*/bin/python")
		for _, name := range append(names, more...) {
			if _, err := os.Stat(name); err == nil {
				found = append(found, name)
				break
			}
		}
	}
	if len(found) == 0 {
		if path, err := exec.LookPath("python3"); err == nil {
			found = append(found, path)
		}
	}
	if len(found) == 0 {
		t.Skip("no Python found")
	}
	return found
}

// python runs a Python program with the runtime on its module path.
func python(t *testing.T, exe, dir, program string, args ...string) (string, error) {
	t.Helper()
	site := filepath.Join(dir, "site")
	if _, err := os.Stat(site); err != nil {
		if err := os.CopyFS(site, runtime.Files); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), exe, append([]string{"-B", "-W", "error", "-c", program}, args...)...)
	cmd.Env = []string{"PYTHONPATH=" + site, "PATH=/usr/bin:/bin"}
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// load is a Python program that loads glue.py as the module does. Tests append to it.
const load = `
import importlib.util, json, os, sys, time
def load(path):
    spec = importlib.util.spec_from_loader("glue", importlib.machinery.SourceFileLoader("glue", path))
    module = importlib.util.module_from_spec(spec)
    module.__file__ = path
    spec.loader.exec_module(module)
    return module
import importlib.machinery
glue = load(sys.argv[1])
def ask(script="", info="", **more):
    seen = []
    environ = dict({"SCRIPT_NAME": script, "PATH_INFO": info, "REQUEST_METHOD": "GET"}, **more)
    body = b"".join(glue.handle_request(environ, lambda status, headers, exc_info=None: seen.append(status)))
    return seen[0], body.decode(), environ["SCRIPT_NAME"], environ["PATH_INFO"]
`

// root creates a server root with glue.py and settings.
func root(t *testing.T, dir string, settings map[string]any) string {
	t.Helper()
	all := map[string]any{
		"application_type": "script", "entry_point": "", "callable_object": "application", "mount_point": "/", "reloading": true, "monitor": false,
		"environ": map[string]string{"MOD_WSGI_EXPRESS": "true"},
	}
	for k, v := range settings {
		all[k] = v
	}
	data, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	glue, err := fs.ReadFile(runtime.Files, "mod_wsgi/express/glue.py")
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "handler.wsgi")
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "settings.json"), data, 0o600), os.WriteFile(name, glue, 0o600)); err != nil {
		t.Fatal(err)
	}
	return name
}

const app = `
import os
seen = os.environ["MOD_WSGI_EXPRESS"]
def application(environ, start_response):
    start_response("200 OK", [])
    return [("app " + seen).encode()]
other = application
def make(*words, **more):
    def made(environ, start_response):
        start_response("200 OK", [])
        return [repr((words, more)).encode()]
    return made
`

func TestGlue(t *testing.T) {
	for _, exe := range interpreters(t) {
		t.Run(strings.ReplaceAll(exe, "/", "_"), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			script := filepath.Join(dir, "it's \\an app.wsgi")
			if err := errors.Join(os.WriteFile(script, []byte(app), 0o600), os.WriteFile(filepath.Join(dir, "amodule.py"), []byte(app), 0o600)); err != nil {
				t.Fatal(err)
			}
			for _, c := range []struct {
				settings map[string]any
				program  string
				want     string // "" if the program must succeed
			}{
				{nil, `assert "It runs" in ask()[1]`, ""},
				{map[string]any{"application_type": "static"}, `assert ask()[0].startswith("404")`, ""},
				{map[string]any{"entry_point": script}, `assert ask("/a", "/b") == ("200 OK", "app true", "", "/a/b"), ask("/a", "/b")
assert sys.modules["__wsgi__"].__file__ == glue._settings["entry_point"]
assert not glue.reload_required("x")
os.utime(glue._settings["entry_point"], (1, 1))
assert glue.reload_required("x")`, ""},
				{map[string]any{"entry_point": script, "reloading": false}, `os.utime(glue._settings["entry_point"], (2, 2))
assert not glue.reload_required("x")`, ""},
				{map[string]any{"entry_point": "amodule", "application_type": "module", "callable_object": "other"}, `assert ask()[1] == "app true"
os.utime("amodule.py", (1, 1))
assert glue.reload_required("x")`, ""},
				{map[string]any{"entry_point": script, "mount_point": "/api"}, `
for script, info, want in [("/api", "", ("/api", "")), ("/api", "/", ("/api", "/")), ("/api", "/x/y", ("/api", "/x/y")), ("", "/api/z", ("/api", "/z")), ("/apix", "/y", ("", "/apix/y"))]:
    assert ask(script, info)[2:] == want, (script, info, ask(script, info))
proxied = {"mod_wsgi.mount_point": "/pub", "mod_wsgi.script_name": "/api"}
assert ask("/pub", "/x", **proxied)[2:] == ("/pub", "/x"), ask("/pub", "/x", **proxied)`, ""},
				{map[string]any{"entry_point": script, "mount_point": "/grüße"}, `
raw = "/grüße".encode().decode("latin-1")
assert ask(raw, "/x")[2:] == (raw, "/x")`, ""},
				{map[string]any{"entry_point": script, "callable_object": "missing"}, ``, "has no 'missing'"},
				{map[string]any{"entry_point": script + ".no"}, ``, "No such file"},
				{map[string]any{"entry_point": script, "callable_object": "make()"}, `assert ask()[1] == "((), {})"`, ""},
				{map[string]any{"entry_point": "amodule", "application_type": "module", "callable_object": `make("(a) ", -1, None, b=[True])`}, `assert ask()[1] == "(('(a) ', -1, None), {'b': [True]})", ask()[1]`, ""},
				{map[string]any{"entry_point": script, "callable_object": "missing()"}, ``, "has no 'missing'"},
				{map[string]any{"entry_point": script, "callable_object": "make(open('x'))"}, ``, "is not a function with constant arguments"},
				{map[string]any{"entry_point": script, "callable_object": "make(*[1])"}, ``, "is not a function with constant arguments"},
				{map[string]any{"entry_point": script, "callable_object": "make(**{})"}, ``, "is not a function with constant arguments"},
				{map[string]any{"entry_point": script, "callable_object": "make()()"}, ``, "is not a function with constant arguments"},
				{map[string]any{"entry_point": script, "callable_object": "make("}, ``, "is not a function with constant arguments"},
			} {
				name := root(t, dir, c.settings)
				out, err := python(t, exe, dir, load+c.program, name)
				if (err == nil) != (c.want == "") || !strings.Contains(out, c.want) {
					t.Errorf("%v: %v\n%s", c.settings, err, out)
				}
			}
		})
	}
}

// TestMonitor checks that a changed or removed module ends the process with SIGINT,
// which Python reports as KeyboardInterrupt.
func TestMonitor(t *testing.T) {
	exe := interpreters(t)[0]
	for name, change := range map[string]string{"changed": `os.utime("amodule.py", (5, 5))`, "removed": `os.remove("amodule.py")`} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "amodule.py"), []byte(app), 0o600); err != nil {
			t.Fatal(err)
		}
		file := root(t, dir, map[string]any{"entry_point": "amodule", "application_type": "module", "monitor": true})
		program := load + `
import signal, threading
ended = threading.Event()
signal.signal(signal.SIGINT, lambda *_: ended.set())
glue._Monitor.interval = 0.01
monitor = glue._Monitor([])
assert monitor.changed() is None
` + change + `
monitor.start()
if ended.wait(20):
    print("interrupted")
for thread in threading.enumerate(): # this one, and the one of the script
    if thread is not threading.main_thread():
        thread.join(10)
`
		out, err := python(t, exe, dir, program, file)
		if err != nil || !strings.Contains(out, "interrupted") || strings.Count(out, "monitor (pid=") < 3 || !strings.Contains(out, "amodule.py") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func oldestAndNewest(t *testing.T) []string {
	all := interpreters(t)
	return slices.Compact([]string{all[0], all[len(all)-1]})
}

// TestChangesAfterLoading checks that a file saved at any time after it was read counts
// as changed, even before the first check.
func TestChangesAfterLoading(t *testing.T) {
	const part = "\nimport part\ndef application(e, s):\n    s('200 OK', [])\n    return [str(part.W).encode()]\n"
	const save = "def save(text, name='part.py'):\n    with open(name, 'w') as f:\n        f.write(text)\n"
	monitored := map[string]any{"entry_point": "amodule", "application_type": "module", "monitor": true}
	plain := map[string]any{"entry_point": "amodule", "application_type": "module"}
	script := map[string]any{}
	for name, c := range map[string]struct {
		settings      map[string]any
		before, after string
	}{
		"nothing":           {monitored, "", `assert changed() is None`},
		"saved immediately": {monitored, "", `save("W = 22"); assert changed()`},
		"same size":         {monitored, "", `save("W = 2"); assert changed()`},
		"removed":           {monitored, "", `os.remove("part.py"); assert changed()`},
		"replaced":          {monitored, "", `st = os.stat("part.py"); save("W = 2", "new"); os.utime("new", ns=(st.st_atime_ns, st.st_mtime_ns)); os.replace("new", "part.py"); assert changed()`},
		"in the same tick":  {monitored, "", `glue._state = lambda path: glue._loads.states.get(path); save("W = 2"); assert changed()`},
		"no other text":     {monitored, "", `glue._state = lambda path: glue._loads.states.get(path); assert changed() is None`},
		"while it loads":    {monitored, `save("W = 1\nopen(__file__, 'a').write('#')")`, `assert changed()`},
		"later import":      {monitored, `save("L = 1", "later.py")`, `import later; save("L = 2", "later.py"); assert changed().endswith("later.py")`},
		"old byte code": {monitored, `import py_compile
now = time.time() - 100
os.utime("part.py", (now, now)); os.utime(py_compile.compile("part.py"), (now, now))
save("W = 2"); os.utime("part.py", (now, now))`, `assert ask()[1] == "2", ask(); assert changed() is None`},
		"good byte code": {
			monitored, `import py_compile
now = int(time.time()) - 100
os.utime("part.py", (now, now)); py_compile.compile("part.py")
save("W = 2"); os.utime("part.py", (now, now)); os.utime(importlib.util.cache_from_source("part.py"), (now + 9, now + 9))`,
			`assert ask()[1] == "1", ask()`,
		},
		"without source": {monitored, `import py_compile
py_compile.compile("part.py", "part.pyc"); os.remove("part.py")`, `assert changed() is None; save("", "part.pyc"); assert changed()`},
		"a module that saves itself": {plain, `save(open("amodule.py").read() + "open(__file__, 'a').write('#')\n", "amodule.py")`, `assert glue.reload_required("x")`},
		"a module":                   {plain, "", `assert not glue.reload_required("x"); save("", "amodule.py"); assert glue.reload_required("x")`},
		"another module":             {plain, "", `save("W = 2"); assert not glue.reload_required("x")`},
		"loaders are restored":       {plain, "", `assert importlib.machinery.SourceFileLoader.path_stats.__module__ == "_frozen_importlib_external"`},
		"a script that saves itself": {script, `save(open("amodule.py").read() + "open(__file__, 'a').write('#')\n", "amodule.py")`, `assert glue.reload_required("x")`},
		"a script, again":            {script, "", `assert not glue.reload_required("x"); save(open("amodule.py").read() + "#", "amodule.py"); assert glue.reload_required("x"); glue = load(sys.argv[1]); assert not glue.reload_required("x")`},
		"a module, again":            {plain, "", `save(open("amodule.py").read() + "#", "amodule.py"); assert glue.reload_required("x"); glue = load(sys.argv[1]); assert not glue.reload_required("x")`},
	} {
		for _, exe := range oldestAndNewest(t) {
			t.Run(name+strings.ReplaceAll(exe, "/", "_"), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				if err := errors.Join(os.WriteFile(filepath.Join(dir, "amodule.py"), []byte(part), 0o600), os.WriteFile(filepath.Join(dir, "part.py"), []byte("W = 1"), 0o600)); err != nil {
					t.Fatal(err)
				}
				settings := c.settings
				if len(settings) == 0 {
					settings = map[string]any{"entry_point": filepath.Join(dir, "amodule.py")}
				}
				file := root(t, dir, settings)
				before, after, _ := strings.Cut(load, "glue = load(")
				program := before + "import threading\nsys.path.insert(0, os.getcwd())\nthreading.Thread.start = lambda thread: None # checked explicitly below\n" + save + c.before + "\nglue = load(" + after +
					"\ndef changed():\n    return glue._Monitor([]).changed()\n" + c.after + "\n"
				if out, err := python(t, exe, dir, program, file); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
			})
		}
	}
}

func TestPackage(t *testing.T) {
	for _, exe := range interpreters(t) {
		dir := t.TempDir()
		out, err := python(t, exe, dir, `
import mod_wsgi, mod_wsgi.server, mod_wsgi.express as e, os, sys
try:
    e.launcher()
except FileNotFoundError as error:
    assert "mod_wsgi-express" in str(error)
else:
    raise SystemExit("found a launcher that does not exist")
bin = os.path.join(os.getcwd(), "bin")
os.mkdir(bin)
path = os.path.join(bin, "mod_wsgi-express")
with open(path, "w") as f:
    f.write('#!/bin/sh\necho "got: $*"\n')
os.chmod(path, 0o755)
sys.executable = os.path.join(bin, "python")
assert e.launcher() == path
mod_wsgi.server.start("app.py", "--port", "81")
`)
		if err != nil || out != "got: start-server app.py --port 81\n" {
			t.Errorf("%s: %v\n%s", exe, err, out)
		}
	}
}

// TestEverythingCompiles checks all files with each of these Pythons, including those
// that only httpd or Django would import.
func TestEverythingCompiles(t *testing.T) {
	for _, exe := range interpreters(t) {
		out, err := python(t, exe, t.TempDir(), `
import mod_wsgi.express.tools, os
count = 0
for top, _, names in os.walk("site"):
    for name in names:
        if name.endswith(".py"):
            path = os.path.join(top, name)
            with open(path, encoding="utf-8") as f:
                compile(f.read(), path, "exec")
            count += 1
assert count > 10, count
`)
		if err != nil {
			t.Errorf("%s: %v\n%s", exe, err, out)
		}
	}
}

// TestTools checks how the debugging tools wrap an application.
func TestTools(t *testing.T) {
	for _, exe := range interpreters(t) {
		out, err := python(t, exe, t.TempDir(), `
import io, os
from mod_wsgi.express import tools
os.mkdir("archive")
os.mkdir("pstats")
closed = []
class Body(list):
    def close(self):
        closed.append(True)
def application(environ, start_response):
    start_response("200 OK", [])
    return Body([environ["wsgi.input"].read(), b"!"])
def ask(app):
    result = app({"wsgi.input": io.BytesIO(b"in")}, lambda status, headers, exc_info=None: lambda data: None)
    try:
        return b"".join(result)
    finally:
        result.close()
assert ask(tools.Recorder(application, "archive")) == b"in!"
assert len(os.listdir("archive")) == 7 and closed == [True], os.listdir("archive")
profiler = tools.Profiler("pstats")
profiler.application = application
assert ask(profiler) == b"in!" and len(closed) == 2
profiler.dump()
assert len(os.listdir("pstats")) == 1
try:
    tools.Coverage("nowhere")
except ImportError as error:
    assert "--enable-coverage" in str(error)
`)
		if err != nil {
			t.Errorf("%s: %v\n%s", exe, err, out)
		}
	}
}

// TestStaticURL checks the URL path of a Django project's static files. TestDjango
// checks it with Django itself.
func TestStaticURL(t *testing.T) {
	for _, exe := range interpreters(t) {
		out, err := python(t, exe, t.TempDir(), `
import sys, types
for name in ("django", "django.core", "django.core.management", "django.core.management.base"):
    sys.modules[name] = types.ModuleType(name)
base = sys.modules["django.core.management.base"]
base.BaseCommand, base.CommandError = object, Exception
from mod_wsgi.express.management.commands import runmodwsgi
for url, mount, force, want in [
    ("static/", None, None, "/static"), ("static/", "/", None, "/static"), ("static/", "/app", None, "/app/static"), ("static/", "/app/", None, "/app/static"),
    ("static/", "app", None, "/app/static"), ("static", "/a/b/", None, "/a/b/static"), ("/static/", "/app", None, "/static"), ("/static", "/app", None, "/static"),
    ("static/", "/app", "/other", "/other/static"), ("static/", "/app", "", "/static"), ("/", "/app", None, "/"), ("./", "/app", None, "/app"), ("/a%20b/", None, None, "/a b"),
    ("https://cdn.example/static/", "/app", None, None), ("//cdn.example/static/", "/app", None, None), ("//WWW.a.example/s/", None, None, "/s"),
    ("https://b.example:8443/static/", "/app", None, "/static"), (None, "/app", None, None), ("", "/app", None, None),
]:
    settings = types.SimpleNamespace(_wrapped=types.SimpleNamespace(STATIC_URL=url), STATIC_URL="not this", FORCE_SCRIPT_NAME=force)
    got = runmodwsgi._static_path(settings, {"mount_point": mount, "server_name": "www.a.example", "server_alias": ["b.example"]})
    assert got == want, (url, mount, force, got, want)
`)
		if err != nil {
			t.Errorf("%s: %v\n%s", exe, err, out)
		}
	}
}
