package discover

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"modwsgi/internal/owned"
)

// interpreter returns the newest Python of this machine.
func interpreter(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("-short starts no Python")
	}
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no Python found")
	}
	return path
}

// finder returns a finder in a directory with files.
func finder(t *testing.T, files map[string]string, env ...string) *Finder {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f := with(t, interpreter(t), dir, env...)
	f.Python = func(_ context.Context, program string, input []byte) ([]byte, error) { return ask(t, program, input) }
	return f
}

// again runs programs one after the other in one Python, because a start takes longer than
// the work.
const again = `
import io, json, sys
to = sys.stdout
for line in sys.stdin:
    program, text = json.loads(line)
    sys.stdin, sys.stdout = io.StringIO(text), io.StringIO()
    exec(compile(program, "facts.py", "exec"), {"__name__": "__main__"})
    to.write(json.dumps(sys.stdout.getvalue()) + "\n")
    to.flush()
`

var asking = sync.OnceValues(func() (func(program string, input []byte) ([]byte, error), error) {
	cmd := exec.Command("python3", "-I", "-S", "-W", "error", "-c", again) //nolint:noctx // it ends with its input
	to, err1 := cmd.StdinPipe()
	from, err2 := cmd.StdoutPipe()
	cmd.Stderr = os.Stderr
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		return nil, err
	}
	in, out := json.NewEncoder(to), json.NewDecoder(from)
	return func(program string, input []byte) ([]byte, error) {
		var text string
		err := errors.Join(in.Encode([]string{program, string(input)}), out.Decode(&text))
		return []byte(text), err
	}, nil
})

func ask(t *testing.T, program string, input []byte) ([]byte, error) {
	t.Helper()
	f, err := asking()
	if err != nil {
		t.Fatal(err)
	}
	return f(program, input)
}

func with(t *testing.T, python, dir string, env ...string) *Finder {
	t.Helper()
	return &Finder{
		Dir: dir, Env: env, Trusted: func(string) error { return nil },
		Python: func(ctx context.Context, program string, input []byte) ([]byte, error) {
			cmd := exec.CommandContext(ctx, python, "-I", "-S", "-W", "error", "-c", program)
			cmd.Stdin, cmd.Env = bytes.NewReader(input), []string{"PATH=/usr/bin:/bin"}
			printed := &bytes.Buffer{}
			cmd.Stderr = printed
			out, err := cmd.Output()
			if err != nil || printed.Len() > 0 {
				return nil, fmt.Errorf("%w: %s", err, printed)
			}
			return out, nil
		},
	}
}

// shown describes applications, with paths relative to the directory: how each is chosen,
// and how it is served.
func shown(f *Finder, found *Found) (lines []string) {
	relative := func(path string) string {
		if rel, err := filepath.Rel(f.Dir, path); err == nil && filepath.IsAbs(path) {
			return filepath.ToSlash(rel)
		}
		return path
	}
	for _, a := range found.Applications {
		line := fmt.Sprintf("%s %s %s %s in %s", a.Argument, a.Type, relative(a.Entry), a.Callable, relative(a.Directory))
		for _, path := range a.PythonPath {
			line += " path " + relative(path)
		}
		for _, alias := range a.Static {
			line += " alias " + alias[0] + " " + relative(alias[1])
		}
		for name, value := range a.Environment {
			line += " " + name + "=" + value
		}
		lines = append(lines, line)
	}
	return lines
}

const (
	flaskApp    = "from flask import Flask\n\napp = Flask(__name__)\n"
	factory     = "from flask import Flask\n\ndef create_app(config=None):\n    app = Flask(__name__)\n    return app\n"
	manage      = "#!/usr/bin/env python\nimport os\nimport sys\n\ndef main():\n    os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')\n    from django.core.management import execute_from_command_line\n    execute_from_command_line(sys.argv)\n\nif __name__ == '__main__':\n    main()\n"
	djangoWSGI  = "import os\nfrom django.core.wsgi import get_wsgi_application\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')\napplication = get_wsgi_application()\n"
	djangoASGI  = "import os\nfrom django.core.asgi import get_asgi_application\napplication = get_asgi_application()\n"
	djangoBase  = "from pathlib import Path\n\nBASE_DIR = Path(__file__).resolve().parent.parent\nDEBUG = True\nROOT_URLCONF = 'mysite.urls'\nWSGI_APPLICATION = 'mysite.wsgi.application'\nSTATIC_URL = 'static/'\n"
	plainWSGI   = "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'']\n"
	pasteINI    = "[app:main]\nuse = egg:shop\n\n[server:main]\nuse = egg:waitress#main\n"
	runserver   = "module mod_wsgi.express.runserver application"
	djangoUsual = "manage.py " + runserver + " in . DJANGO_SETTINGS_MODULE=mysite.settings"
)

// TestLayouts: what is found in each layout, and by which argument it is chosen.
func TestLayouts(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		env   []string
		want  []string
		why   []string // parts of the reasons of all applications
	}{
		{"django-admin startproject", map[string]string{
			"manage.py": manage, "mysite/__init__.py": "", "mysite/settings.py": djangoBase, "mysite/wsgi.py": djangoWSGI, "mysite/asgi.py": djangoASGI, "mysite/urls.py": "urlpatterns = []\n",
			"polls/__init__.py": "", "polls/views.py": "", "polls/migrations/__init__.py": "",
		}, nil, []string{djangoUsual}, []string{"manage.py, line 6: the settings are mysite.settings", "mysite/settings.py, line 6: WSGI_APPLICATION is mysite.wsgi.application", "line 4: DEBUG is True, so static files"}},
		{"Django with collected files", map[string]string{
			"manage.py": manage, "mysite/settings.py": strings.Replace(djangoBase, "True", "False", 1) + "STATIC_ROOT = BASE_DIR / 'collected'\n", "collected/a.css": "", "mysite/__init__.py": "",
		}, nil, []string{"manage.py " + runserver + " in . alias /static collected DJANGO_SETTINGS_MODULE=mysite.settings"}, []string{"line 8: files below /static come from STATIC_ROOT"}},
		{"Django, settings by a variable", map[string]string{
			"manage.py": manage, "mysite/settings.py": djangoBase, "mysite/__init__.py": "", "mysite/production.py": "",
		}, []string{"DJANGO_SETTINGS_MODULE=mysite.production"}, []string{"manage.py " + runserver + " in . DJANGO_SETTINGS_MODULE=mysite.production"}, []string{"the variable DJANGO_SETTINGS_MODULE names the settings mysite.production"}},
		{"cookiecutter-django", map[string]string{
			"manage.py":          strings.Replace(manage, "mysite.settings", "config.settings.local", 1),
			"pyproject.toml":     "[tool.pytest.ini_options]\naddopts = '--ds=config.settings.test'\n",
			"config/__init__.py": "", "config/settings/__init__.py": "", "config/wsgi.py": strings.ReplaceAll(djangoWSGI, "mysite.settings", "config.settings.production"),
			"config/settings/base.py":       "from pathlib import Path\nimport environ\nBASE_DIR = Path(__file__).resolve(strict=True).parent.parent.parent\nenv = environ.Env()\nDEBUG = env.bool('DJANGO_DEBUG', False)\nWSGI_APPLICATION = 'config.wsgi.application'\nSTATIC_ROOT = str(BASE_DIR / 'staticfiles')\nSTATIC_URL = '/static/'\n",
			"config/settings/local.py":      "from .base import *  # noqa: F403\nfrom .base import env\n\nDEBUG = True\n",
			"config/settings/production.py": "from .base import *\n", "shop/__init__.py": "", "shop/users/__init__.py": "", "shop/users/models.py": "", "staticfiles/": "",
			"docs/conf.py": "app = print\n", "config/celery_app.py": "from celery import Celery\napp = Celery('shop')\n",
		}, nil, []string{"manage.py " + runserver + " in . DJANGO_SETTINGS_MODULE=config.settings.local"}, []string{"config/settings/base.py, line 6: WSGI_APPLICATION is config.wsgi.application", "config/settings/local.py, line 4: DEBUG is True"}},
		{"Flask's factory pattern", map[string]string{
			"flaskr/__init__.py": factory, "flaskr/db.py": "", "flaskr/auth.py": "", "tests/conftest.py": "from flaskr import create_app\napp = create_app()\n", "pyproject.toml": "[project]\nname = 'flaskr'\n",
		}, nil, []string{"flaskr/__init__.py module flaskr create_app() in ."}, []string{"flaskr/__init__.py, line 3: the factory create_app"}},
		{"a factory with an entry for servers", map[string]string{
			"shop/__init__.py": factory, "wsgi.py": "from shop import create_app\n\napp = create_app()\n", "run.py": "from shop import create_app\n\napp = create_app()\nif __name__ == '__main__':\n    app.run()\n",
		}, nil, []string{"wsgi.py module wsgi app in ."}, []string{"shop/__init__.py is part of it: wsgi.py imports that module", "run.py makes the same application"}},
		{".flaskenv", map[string]string{
			".flaskenv": "# for flask run\nexport FLASK_APP='shop.web:make' # x\nFLASK_DEBUG=1\n", "shop/__init__.py": "", "shop/web.py": "def make():\n    pass\n", "shop/app.py": flaskApp,
		}, nil, []string{"shop/web.py:make() module shop.web make() in ."}, []string{".flaskenv, line 2: FLASK_APP is shop.web:make"}},
		{".flaskenv that names a package", map[string]string{
			".flaskenv": "FLASK_APP=shop:create_app('test')\n", "shop/__init__.py": factory, "other.py": flaskApp,
		}, nil, []string{"shop/__init__.py:create_app('test') module shop create_app('test') in ."}, []string{".flaskenv, line 1: FLASK_APP is shop:create_app('test')"}},
		{"FLASK_APP", map[string]string{"hello.py": flaskApp, "app.py": flaskApp}, []string{"FLASK_APP=hello"}, []string{"hello.py module hello app in ."}, []string{"the variable FLASK_APP is hello"}},
		{"src layout with uv", map[string]string{
			"pyproject.toml": "[project]\nname = \"shop\"\n\n[build-system]\nrequires = [\"uv_build>=0.9\"]\nbuild-backend = \"uv_build\"\n", "uv.lock": "version = 1\n", ".python-version": "3.11\n",
			"src/shop/__init__.py": "", "src/shop/main.py": flaskApp, "tests/test_shop.py": flaskApp, ".venv/pyvenv.cfg": "", ".venv/lib/app.py": flaskApp,
		}, nil, []string{"src/shop/main.py module shop.main app in . path src"}, nil},
		{"uv, another root", map[string]string{
			"pyproject.toml": "[project]\nname = \"shop\"\n[tool.uv.build-backend]\nmodule-root = \"python\"\nmodule-name = \"shop\"\n", "python/shop/__init__.py": factory,
		}, nil, []string{"python/shop/__init__.py module shop create_app() in . path python"}, nil},
		{"poetry", map[string]string{
			"pyproject.toml": "[tool.poetry]\nname = \"shop\"\npackages = [{ include = \"shop\", from = \"lib\" }]\n\n[tool.poetry.dependencies]\npython = \"^3.11\"\n", "poetry.lock": "",
			"lib/shop/__init__.py": "", "lib/shop/wsgi.py": plainWSGI,
		}, nil, []string{"lib/shop/wsgi.py module shop.wsgi application in . path lib"}, nil},
		{"a namespace package", map[string]string{
			"pyproject.toml": "[project]\nname = \"acme-shop\"\n[tool.setuptools.packages.find]\nwhere = [\"src\"]\n", "src/acme/shop/__init__.py": "", "src/acme/shop/wsgi.py": "from .app import make_app\napplication = make_app()\n",
			"src/acme/shop/app.py": "def make_app():\n    pass\n",
		}, nil, []string{"src/acme/shop/wsgi.py module acme.shop.wsgi application in . path src"}, nil},
		{"a namespace package without src", map[string]string{"pyproject.toml": "", "acme/shop/__init__.py": factory}, nil, []string{"acme/shop/__init__.py module acme.shop create_app() in ."}, nil},
		{"a monorepo", map[string]string{
			"README.md": "", "pyproject.toml": "[tool.uv.workspace]\nmembers = [\"services/*\"]\n", "services/shop/pyproject.toml": "", "services/shop/app.py": flaskApp,
			"services/admin/manage.py": manage, "services/admin/mysite/__init__.py": "", "services/admin/mysite/settings.py": djangoBase, "services/admin/mysite/wsgi.py": djangoWSGI, "libs/common/pyproject.toml": "", "libs/common/common/__init__.py": "",
			"frontend/package.json": "{}", "frontend/node_modules/x/app.py": flaskApp,
		}, nil, []string{"services/admin/manage.py " + runserver + " in services/admin DJANGO_SETTINGS_MODULE=mysite.settings", "services/shop/app.py module app app in services/shop"}, nil},
		{"backend and frontend", map[string]string{"backend/app.py": flaskApp, "backend/models.py": "from app import app\n", "frontend/package.json": "{}"}, nil, []string{"backend/app.py module app app in backend"}, nil},
		{"a Paste file", map[string]string{"production.ini": pasteINI, "tox.ini": "[tox]\nenvlist = py311\n", "shop/__init__.py": "def main(global_config, **settings):\n    pass\n"}, nil, []string{"production.ini paste production.ini  in ."}, []string{"production.ini, line 1: [app:main]"}},
		{"Pyramid's files", map[string]string{
			"development.ini": pasteINI, "production.ini": strings.Replace(pasteINI, "app:main", "pipeline:main", 1), "testing.ini": pasteINI, "pytest.ini": "[pytest]\n", "setup.py": "from setuptools import setup\nsetup()\n", "shop/__init__.py": "",
		}, nil, []string{"development.ini paste development.ini  in ."}, []string{"production.ini is not for development", "testing.ini is not for development"}},
		{"a single file", map[string]string{"hello.py": plainWSGI}, nil, []string{"hello.py module hello application in ."}, []string{"hello.py, line 1: the function application"}},
		{"a single file that is not a module", map[string]string{"my-app.py": flaskApp}, nil, []string{"my-app.py script my-app.py app in ."}, nil},
		{"a WSGI script", map[string]string{"hello.wsgi": plainWSGI}, nil, []string{"hello.wsgi script hello.wsgi application in ."}, nil},
		{"a name that Python has", map[string]string{"code.py": plainWSGI}, nil, []string{"code.py script code.py application in ."}, []string{"Python itself has a module code"}},
		{"two applications", map[string]string{"admin.py": flaskApp, "public.py": flaskApp}, nil, []string{"admin.py module admin app in .", "public.py module public app in ."}, nil},
		{"two in one file", map[string]string{"web.py": "from flask import Flask\nadmin = Flask('a')\npublic = Flask('b')\n"}, nil, []string{"web.py:admin module web admin in .", "web.py:public module web public in ."}, nil},
		{"the same factory, another argument", map[string]string{"shop/__init__.py": factory, "one.py": "from shop import create_app\napp = create_app('one')\n", "two.py": "from shop import create_app\napp = create_app('two')\n"}, nil, []string{"one.py module one app in .", "two.py module two app in ."}, nil},
		{"Django and Flask", map[string]string{"manage.py": manage, "mysite/__init__.py": "", "mysite/settings.py": djangoBase, "mysite/wsgi.py": djangoWSGI, "hook.py": flaskApp}, nil, []string{"hook.py module hook app in .", djangoUsual}, nil},
		{"names for the same", map[string]string{"wsgi.py": "from bottle import Bottle\nserver = Bottle()\napp = server\napplication = app\n"}, nil, []string{"wsgi.py module wsgi application in ."}, nil},
		{"Dash", map[string]string{"app.py": "from dash import Dash\napp = Dash(__name__)\nserver = app.server\n"}, nil, []string{"app.py module app server in ."}, nil},
		{"nothing", map[string]string{"tool.py": "import typer\napp = typer.Typer()\n", "api.py": "from fastapi import FastAPI\napp = FastAPI()\n", "x.py": "app = 'x'\napplication = None\n", "y.py": "def app():\n    pass\n", "z.py": "async def app(scope, receive, send):\n    pass\n"}, nil, []string{}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := finder(t, c.files, c.env...)
			found, err := f.Directory(t.Context(), f.Dir)
			if err != nil {
				t.Fatal(err)
			}
			if got := shown(f, found); !slices.Equal(got, c.want) {
				t.Errorf("found\n%s\nwant\n%s\npassed over: %v", strings.Join(got, "\n"), strings.Join(c.want, "\n"), found.Passed)
			}
			var why []string
			for _, a := range found.Applications {
				why = append(why, a.Why...)
				if a.Name == "" || len(a.Why) == 0 {
					t.Errorf("%+v", a)
				}
			}
			for _, part := range c.why {
				if !strings.Contains(strings.Join(why, "\n"), part) {
					t.Errorf("no %q in\n%s", part, strings.Join(why, "\n"))
				}
			}
			// What is listed chooses the same.
			for k, a := range found.Applications {
				again, err := f.Argument(t.Context(), a.Argument)
				if err != nil {
					t.Errorf("%s: %v", a.Argument, err)
					continue
				}
				if got := shown(f, again); k >= len(c.want) || len(got) != 1 || c.env == nil && !strings.HasPrefix(c.name, ".flaskenv") && got[0] != c.want[k] {
					t.Errorf("the argument %s chooses %q", a.Argument, got)
				}
			}
		})
	}
}

// TestPassedOver: what looks like an application and is not one is reported with the
// reason.
func TestPassedOver(t *testing.T) {
	f := finder(t, map[string]string{
		"api.py": "from fastapi import FastAPI\napp = FastAPI()\n", "cli.py": "import typer\napp = typer.Typer()\n", "broken.py": "def x(:\n", "old.py": "print 'x'\n",
		"y.py": "def app():\n    pass\n", "z.py": "async def application(scope, receive, send):\n    pass\n", "f.py": "def create_app(config, /, *, debug):\n    pass\n", "manage.py": "print('x')\n",
		"null.py": "x = '\x00'\n", "pyproject.toml": "[project\n",
	})
	found, err := f.Directory(t.Context(), f.Dir)
	if err != nil || len(found.Applications) != 0 {
		t.Fatal(shown(f, found), err)
	}
	for file, why := range map[string]string{
		"api.py": "line 2: app is an ASGI application", "cli.py": "line 2: app is a command line", "broken.py": "line 1: ", "old.py": "line 1: ", "y.py": "without the two arguments",
		"z.py": "ASGI", "f.py": "the factory create_app needs 2 arguments; name it with them: f.py:create_app(", "null.py": "line 1: ", "pyproject.toml": "line 2: ",
	} {
		if !slices.ContainsFunc(found.Passed, func(p Passed) bool { return filepath.Base(p.File) == file && strings.Contains(p.Why, why) }) {
			t.Errorf("%s: no %q in %v", file, why, found.Passed)
		}
	}
}

// TestArguments: what a user may name.
func TestArguments(t *testing.T) {
	files := map[string]string{
		"shop/__init__.py": factory, "shop/wsgi.py": "from . import create_app\napplication = create_app()\n", "src/lib/__init__.py": "", "src/lib/web.py": flaskApp,
		"two.py": "from flask import Flask\na = Flask('a')\nb = Flask('b')\n", "dev.ini": pasteINI, "broken.py": "def x(:\n", "empty/": "", "my-app.py": flaskApp,
	}
	f := finder(t, files)
	for argument, want := range map[string]string{
		"shop/wsgi.py":               "shop/wsgi.py module shop.wsgi application in . path src",
		"./shop/wsgi.py":             "./shop/wsgi.py module shop.wsgi application in . path src",
		"shop.wsgi":                  "shop.wsgi module shop.wsgi application in . path src",
		"shop.wsgi:application":      "shop.wsgi:application module shop.wsgi application in . path src",
		"shop:create_app()":          "shop:create_app() module shop create_app() in . path src",
		`shop:create_app("a:b")`:     `shop:create_app("a:b") module shop create_app("a:b") in . path src`,
		"shop":                       "shop/wsgi.py module shop.wsgi application in . path src",
		"src/lib/web.py":             "src/lib/web.py module lib.web app in . path src",
		"lib.web:app":                "lib.web:app module lib.web app in . path src",
		"two.py:b":                   "two.py:b module two b in . path src",
		"dev.ini":                    "dev.ini paste dev.ini  in . path src",
		"my-app.py":                  "my-app.py script my-app.py app in . path src",
		"somewhere.installed:server": "somewhere.installed:server module somewhere.installed server in . path src",
	} {
		found, err := f.Argument(t.Context(), argument)
		if err != nil {
			t.Errorf("%s: %v", argument, err)
			continue
		}
		if got := shown(f, found); len(got) != 1 || got[0] != want {
			t.Errorf("%s:\n got %q\nwant %q", argument, got, want)
		}
	}
	if found, err := f.Argument(t.Context(), "two.py"); err != nil || len(found.Applications) != 2 {
		t.Errorf("%v %v", found, err)
	}
	if found, err := f.Argument(t.Context(), "empty"); err != nil || len(found.Applications) != 0 {
		t.Errorf("%v %v", found, err)
	}
	for argument, says := range map[string]string{
		"missing.py": "missing.py does not exist", "missing": "neither the file", "broken.py": "line 1: ", "shop:a b": `"a b" is not the name`, "shop:x; y()": "is not the name", "a/b:c": "does not exist",
	} {
		if _, err := f.Argument(t.Context(), argument); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", argument, err)
		}
	}
}

// TestUntrusted: a directory that another user may change is refused, and such a file is
// passed over, and not read.
func TestUntrusted(t *testing.T) {
	f := finder(t, map[string]string{"app.py": flaskApp, "other.py": flaskApp})
	bad := "app.py"
	f.Trusted = func(path string) error {
		if filepath.Base(path) == bad {
			return &owned.Untrusted{Path: path, At: path, Why: "everybody may write to it"}
		}
		return nil
	}
	found, err := f.Directory(t.Context(), f.Dir)
	if got := shown(f, found); err != nil || !slices.Equal(got, []string{"other.py module other app in ."}) || found.Untrusted == nil || !strings.Contains(found.Untrusted.Error(), "the project is not searched") {
		t.Errorf("%q %v %v", got, err, found.Untrusted)
	}
	if _, err := f.Argument(t.Context(), "app.py"); err == nil || !owned.IsUntrusted(err) {
		t.Error(err)
	}
	bad = filepath.Base(f.Dir)
	if _, err := f.Directory(t.Context(), f.Dir); err == nil || !owned.IsUntrusted(err) {
		t.Error(err)
	}
}

// TestPythons: the program for reading sources runs in every Python that is supported, and
// executes nothing.
func TestPythons(t *testing.T) {
	f := finder(t, map[string]string{
		"manage.py": manage, "mysite/__init__.py": "open('/nonexistent/x')\nraise SystemExit\n",
		"mysite/settings.py": "import os\nBASE_DIR = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))\nDEBUG = False\nSTATIC_URL = f'{\"/\"}s/'\nSTATIC_ROOT = os.path.join(BASE_DIR, 'a' + 'b')\nraise SystemExit\n", "ab/x.css": "",
	})
	var pythons []string
	for minor := 8; minor < 16; minor++ {
		found, _ := filepath.Glob(fmt.Sprintf("%s/.pyenv/versions/3.%d.*/bin/python", os.Getenv("HOME"), minor))
		pythons = append(pythons, found...)
		for _, dir := range []string{"/usr/bin", "/usr/local/bin"} {
			if path := fmt.Sprintf("%s/python3.%d", dir, minor); exists(path) {
				pythons = append(pythons, path)
			}
		}
	}
	for _, python := range pythons {
		t.Run(filepath.Base(python), func(t *testing.T) {
			f := with(t, python, f.Dir)
			found, err := f.Directory(t.Context(), f.Dir)
			if got := shown(f, found); err != nil || !slices.Equal(got, []string{"manage.py " + runserver + " in . alias /s ab DJANGO_SETTINGS_MODULE=mysite.settings"}) {
				t.Errorf("%q %v", got, err)
			}
		})
	}
}

func TestVariable(t *testing.T) {
	for text, want := range map[string]string{
		"FLASK_APP=a": "a", "X=1\nexport FLASK_APP = \"a b\" # c\n": "a b", "FLASK_APP='x": "'x", "FLASK_APP=a # b": "a", "# FLASK_APP=a": "", "FLASK_APPS=a": "", "FLASK_APP=a\nFLASK_APP=b\n": "b",
	} {
		if got, _ := variable(text, flaskVariable); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

// FuzzNames: no argument breaks the search.
func FuzzNames(f *testing.F) {
	for _, seed := range []string{"a", "a:b", "a:b()", "a:b('c:d')", "../x", "a.b:c(", ":", "(:"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if at := cutName(text); at >= 0 && text[at] != ':' {
			t.Errorf("%q is cut at %d", text, at)
		}
		isCallable(text)
		isModule(text)
		absolute(&module{name: "a.b", path: "a/b.py"}, text)
		variable(text, "a")
	})
}
