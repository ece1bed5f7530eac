package discover

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// frameworks are the callables that make WSGI applications, by their full names.
var frameworks = map[string]string{
	"flask.Flask": "Flask", "flask.app.Flask": "Flask", "apiflask.APIFlask": "APIFlask", "connexion.FlaskApp": "Connexion",
	"bottle.Bottle": "Bottle", "bottle.default_app": "Bottle", "falcon.App": "Falcon", "falcon.API": "Falcon", "hug.API": "Hug",
	"django.core.wsgi.get_wsgi_application": "Django", "configurations.wsgi.get_wsgi_application": "Django",
	"paste.deploy.loadapp": "Paste Deploy", "pyramid.paster.get_app": "Pyramid", "web.application": "web.py", "webapp2.WSGIApplication": "webapp2",
	"dash": "Dash", "tg.AppConfig": "TurboGears", "cherrypy.Application": "CherryPy", "morepath.App": "Morepath",
	"werkzeug.middleware.dispatcher.DispatcherMiddleware": "Werkzeug", "a2wsgi.ASGIMiddleware": "a2wsgi",
}

// others are packages whose objects are not WSGI applications, and what they are.
var others = map[string]string{
	"fastapi": asgi, "starlette": asgi, "quart": asgi, "litestar": asgi, "sanic": asgi, "blacksheep": asgi, "channels": asgi,
	"django.core.asgi": asgi, "falcon.asgi": asgi, "aiohttp": "an application of aiohttp, which has its own server", "tornado": "an application of Tornado, which has its own server",
	"dash":  "a Dash application, whose WSGI application is its server",
	"typer": "a command line", "click": "a command line", "cyclopts": "a command line", "celery": "a Celery application", "textual": "a program for terminals",
	"PyQt5": "a program with windows", "PyQt6": "a program with windows", "PySide6": "a program with windows", "tkinter": "a program with windows", "wx": "a program with windows", "kivy": "a program with windows",
}

const asgi = "an ASGI application, and this server runs WSGI applications; a2wsgi.ASGIMiddleware makes one of it"

// factoryNames are functions that return an application.
var factoryNames = []string{"create_app", "make_app", "create_application", "make_application"}

// lookup finds what a dotted name or its beginning has in a table.
func lookup(table map[string]string, name string) string {
	for name != "" {
		if found, ok := table[name]; ok {
			return found
		}
		name = name[:max(0, strings.LastIndexByte(name, '.'))]
	}
	return ""
}

// kindOf returns the kind of an application by the name of its callable.
func kindOf(name string) string {
	if strings.Contains(name, "(") {
		return Factory
	}
	return Callable
}

// applications adds the applications of a project.
func (s *search) applications(ctx context.Context, p *project) error {
	var all []*Application
	django, err := s.django(ctx, p)
	if err != nil {
		return err
	}
	for _, m := range s.modules {
		if m.of != p {
			continue
		}
		if m.facts.Error != "" {
			if filepath.Dir(m.path) == p.dir || entryRank(m) < rankOther {
				s.pass(m.path, fmt.Sprintf("line %d: %s", m.facts.Line, m.facts.Error))
			}
			continue
		}
		all = append(all, s.callables(p, m)...)
	}
	if django != nil {
		all = append(slices.DeleteFunc(all, func(a *Application) bool { return a.Framework == "Django" }), django)
	}
	if declared, err := s.flask(ctx, p); err != nil {
		return err
	} else if declared != nil {
		all = append(slices.DeleteFunc(all, func(a *Application) bool { return a.Kind != Django }), declared)
	} else {
		all = append(all, s.paste(p)...)
	}
	s.found.Applications = append(s.found.Applications, s.distinct(all)...)
	return nil
}

// callables returns the applications of one module: its callables, or else its factories.
func (s *search) callables(p *project, m *module) (all []*Application) {
	bound := map[string]binding{}
	for _, b := range m.facts.Bindings {
		bound[b.Name] = b
	}
	add := func(b binding, name, why string) {
		a := m.application(s.Finder, p, name, &b)
		a.Why = append(a.Why, why)
		all = append(all, a)
	}
	for _, b := range m.facts.Bindings {
		known := lookup(frameworks, b.Value)
		if first, ok := strings.CutSuffix(b.Value, ".server"); b.Name == "server" && ok && strings.HasPrefix(bound[first].Value, "dash.") {
			add(binding{Value: "dash"}, b.Name, fmt.Sprintf("%s, line %d: the server of a Dash application", s.relative(m.path), b.Line))
			continue
		}
		if b.Kind == "import" && entryRank(m) == rankOther {
			continue // modules of views and models import it
		}
		if b.Name != "application" && b.Name != "app" && (known == "" || b.Kind != "call" || filepath.Dir(m.path) != p.dir && !entries.MatchString(filepath.Base(m.path))) {
			continue
		}
		if b.Kind == "name" && b.Value != b.Name && bound[b.Value].Name != "" { // another name of the same
			switch other := bound[b.Value]; {
			case other.Kind == "call" && lookup(frameworks, other.Value) != "":
				b.Value, b.Kind, b.Arguments = other.Value, other.Kind, other.Arguments
			case other.Kind == "def":
				b.Kind, b.Required, b.Most = other.Kind, other.Required, other.Most
			}
		}
		if why := unfit(b); why != "" {
			if why != constant {
				s.pass(m.path, fmt.Sprintf("line %d: %s is %s", b.Line, b.Name, why))
			}
			continue
		}
		add(b, b.Name, fmt.Sprintf("%s, line %d: %s", s.relative(m.path), b.Line, b.words()))
	}
	if all = oneCallable(all, bound); len(all) > 0 {
		return all
	}
	for _, name := range factoryNames {
		b, ok := bound[name]
		switch {
		case !ok || b.Kind != "def" && b.Kind != "import":
		case b.Kind == "import":
			// Where it is defined counts.
		case b.Required > 0:
			s.pass(m.path, fmt.Sprintf("line %d: the factory %s needs %d arguments; name it with them: %s:%s(\"...\")", b.Line, name, b.Required, s.relative(m.path), name))
		default:
			add(b, name+"()", fmt.Sprintf("%s, line %d: the factory %s", s.relative(m.path), b.Line, name))
		}
	}
	return all
}

// oneCallable leaves out further names of the same application: "application" stays,
// because mod_wsgi looks for that, and after it "app".
func oneCallable(all []*Application, bound map[string]binding) []*Application {
	if len(all) < 2 {
		return all
	}
	var origin func(name string, depth int) string
	origin = func(name string, depth int) string { // what a name is another name of, or wraps
		b := bound[name]
		first, _, _ := strings.Cut(b.Value, ".")
		if b.Kind == "call" {
			first = strings.Trim(b.Arguments, "()")
		}
		if _, ok := bound[first]; !ok || first == name || depth > 8 {
			return name
		}
		return origin(first, depth+1)
	}
	same := func(a, b string) bool { return origin(a, 0) == origin(b, 0) }
	slices.SortStableFunc(all, func(a, b *Application) int { return nameRank(a.Callable) - nameRank(b.Callable) })
	first := all[0]
	return slices.DeleteFunc(all, func(a *Application) bool {
		return a != first && (same(first.Callable, a.Callable) || a.Callable == first.Callable)
	})
}

func nameRank(name string) int {
	return map[string]int{"application": -2, "app": -1}[name]
}

const constant = "not callable"

// unfit returns why a name cannot be a WSGI application; "" if it can.
func unfit(b binding) string {
	switch b.Kind {
	case "constant":
		return constant
	case "async":
		return asgi
	case "def":
		if b.Required > 2 || b.Most >= 0 && b.Most < 2 {
			return "a function without the two arguments of a WSGI application"
		}
	case "call", "import", "name":
		return lookup(others, b.Value)
	}
	return ""
}

// words describes where a callable comes from.
func (b *binding) words() string {
	switch {
	case b.Kind == "call" && b.Value != "" && len(b.Arguments) <= 40:
		return b.Name + " = " + b.Value + b.Arguments
	case b.Kind == "call" && b.Value != "":
		return b.Name + " = " + b.Value + "(...)"
	case b.Kind == "import":
		return b.Name + " is imported, as " + b.Value
	case b.Kind == "def":
		return "the function " + b.Name
	case b.Kind == "class":
		return "the class " + b.Name
	}
	return b.Name + " is assigned"
}

// application returns how the launcher serves a callable of a module.
func (m *module) application(f *Finder, p *project, name string, b *binding) *Application {
	a := &Application{Kind: kindOf(name), File: m.path, Directory: p.dir, PythonPath: p.path(), Callable: name, Type: "module", Entry: m.name, module: m}
	first, _, _ := strings.Cut(m.name, ".")
	if m.name == "" || f.taken[first] {
		a.Type, a.Entry = "script", m.path
		if m.name != "" {
			a.Why = append(a.Why, "it is loaded as a script, because Python itself has a module "+first)
		}
	}
	if b != nil {
		a.Framework = lookup(frameworks, b.Value)
		a.value = b.Value + b.Arguments
		if b.Kind == "import" || b.Value == "" {
			a.value = b.Value
		}
	}
	if a.Framework == "" {
		for _, name := range []string{"flask", "bottle", "falcon", "pyramid", "werkzeug"} {
			if slices.Contains(m.facts.Imports, name) {
				a.Framework = strings.ToUpper(name[:1]) + name[1:]
				break
			}
		}
	}
	what := "WSGI application"
	if a.Framework != "" {
		what = a.Framework + " application"
	}
	a.Name = what + " " + name + " in " + f.relative(m.path)
	return a
}

// Ranks of modules as the entry to the same application.
const (
	rankOther = 5
)

// entryRank orders modules that lead to the same application: the conventional name for
// servers comes first.
func entryRank(m *module) int {
	switch strings.TrimSuffix(filepath.Base(m.path), ".py") {
	case "wsgi":
		return 0
	case "application":
		return 1
	case "app":
		return 2
	case "main":
		return 3
	case "__init__":
		return 4
	}
	return rankOther
}

// distinct leaves out applications that are part of another one, because its module imports
// theirs, and further modules that make the same one.
func (s *search) distinct(all []*Application) []*Application {
	slices.SortStableFunc(all, func(a, b *Application) int { return rank(a) - rank(b) })
	dropped := map[*Application]bool{}
	for _, a := range all {
		for _, b := range all {
			if a == b || a.module == nil || b.module == nil || a.module == b.module || dropped[a] || dropped[b] {
				continue
			}
			switch {
			case s.reaches(a.module, b.module):
				a.Why = append(a.Why, fmt.Sprintf("%s is part of it: %s imports that module", s.relative(b.File), s.relative(a.File)))
			case a.value != "" && !strings.Contains(a.value, "__name__") && s.source(a) == s.source(b) && a.Kind == Callable && b.Kind == Callable && lookup(frameworks, a.value) == "":
				a.Why = append(a.Why, fmt.Sprintf("%s makes the same application", s.relative(b.File)))
			default:
				continue
			}
			dropped[b] = true
		}
	}
	return slices.DeleteFunc(all, func(a *Application) bool { return dropped[a] })
}

func rank(a *Application) int {
	if a.module == nil {
		return -1
	}
	return entryRank(a.module)
}

// source returns what an application is made of, with an absolute name.
func (s *search) source(a *Application) string { return absolute(a.module, a.value) }

// absolute resolves the dots at the start of a name in a module.
func absolute(m *module, name string) string {
	if !strings.HasPrefix(name, ".") {
		return name
	}
	parts := strings.Split(m.name, ".")
	if filepath.Base(m.path) != "__init__.py" {
		parts = parts[:len(parts)-1]
	}
	rest := name[1:]
	for strings.HasPrefix(rest, ".") {
		parts, rest = parts[:max(0, len(parts)-1)], rest[1:]
	}
	if rest != "" {
		parts = append(parts, rest)
	}
	return strings.Join(parts, ".")
}

// reaches reports whether a module imports another one, possibly through others that were
// read.
func (s *search) reaches(from, to *module) bool {
	if to.name == "" {
		return false
	}
	seen := map[*module]bool{}
	var walk func(m *module) bool
	walk = func(m *module) bool {
		if seen[m] {
			return false
		}
		seen[m] = true
		for _, name := range m.facts.Imports {
			name = absolute(m, name)
			if name == to.name && m != to {
				return true
			}
			for _, next := range s.modules {
				if next.of == m.of && next.name == name && next != m && walk(next) {
					return true
				}
			}
		}
		return false
	}
	return walk(from)
}
