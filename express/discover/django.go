package discover

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/run"
)

const settingsVariable = "DJANGO_SETTINGS_MODULE"

// Runserver is the module of the launcher's Python part that makes the application as
// "manage.py runserver" does.
const Runserver = "mod_wsgi.express.runserver"

// django returns the Django project of a directory with manage.py, or nil.
func (s *search) django(ctx context.Context, p *project) (*Application, error) {
	path := filepath.Join(p.dir, manageFile)
	if p.bare || !exists(path) {
		return nil, nil
	}
	data, ok := s.text(path)
	if !ok {
		return nil, nil
	}
	got, err := s.ask(ctx, question{Files: []source{{path, data}}})
	if err != nil {
		return nil, err
	}
	manage := got.Facts[0]
	if manage.Error != "" {
		s.pass(path, fmt.Sprintf("line %d: %s", manage.Line, manage.Error))
		return nil, nil
	}
	uses := slices.ContainsFunc(manage.Imports, func(name string) bool {
		return name == "django" || strings.HasPrefix(name, "django.") || strings.HasPrefix(name, "configurations.")
	})
	named := manage.Variables[settingsVariable]
	if named.text() == "" && !uses {
		return nil, nil // another program of this name
	}
	a := &Application{
		Kind: Django, Framework: "Django", Name: "Django project " + filepath.Base(p.dir), File: path,
		Type: "module", Entry: Runserver, Callable: "application", Directory: p.dir, PythonPath: p.path(),
	}
	settings := named.text()
	if settings != "" {
		a.Why = append(a.Why, fmt.Sprintf("%s, line %d: the settings are %s", s.relative(path), named.Line, settings))
	}
	if variable := run.Getenv(s.Env, settingsVariable); variable != "" {
		if settings != variable {
			a.Why = append(a.Why, "the variable "+settingsVariable+" names the settings "+variable)
		}
		settings = variable
	}
	if settings == "" {
		s.pass(path, "it does not name the settings, and the variable "+settingsVariable+" is not set")
		return nil, nil
	}
	first, _, _ := strings.Cut(settings, ".")
	a.Name = "Django project " + first
	if first == "config" || first == "settings" {
		a.Name = "Django project " + filepath.Base(p.dir)
	}
	a.Environment = map[string]string{settingsVariable: settings}
	return a, s.djangoSettings(ctx, p, a, settings)
}

// djangoSettings adds what the settings determine.
func (s *search) djangoSettings(ctx context.Context, p *project, a *Application, settings string) error {
	chain := s.chain(p, settings, nil)
	if len(chain) == 0 {
		a.Why = append(a.Why, "the module "+settings+" is not among the files of the project; it may be installed")
		return nil
	}
	q := question{Settings: &wanted{Names: []string{"WSGI_APPLICATION", "STATIC_URL", "STATIC_ROOT", "DEBUG"}}}
	for k, m := range chain {
		data, ok := s.text(m.path)
		if !ok {
			return nil
		}
		q.Files = append(q.Files, source{m.path, data})
		q.Settings.Files = append(q.Settings.Files, k)
	}
	got, err := s.ask(ctx, q)
	if err != nil {
		return err
	}
	value := func(name string) (setting, string) {
		v := got.Settings[name]
		return v, fmt.Sprintf("%s, line %d", s.relative(v.File), v.Line)
	}
	if v, at := value("WSGI_APPLICATION"); v.text() != "" {
		a.Why = append(a.Why, at+": WSGI_APPLICATION is "+v.text())
	}
	debug, at := value("DEBUG")
	url, _ := value("STATIC_URL")
	root, rootAt := value("STATIC_ROOT")
	switch {
	case debug.Value == true:
		a.Why = append(a.Why, at+": DEBUG is True, so static files come from the applications, as with manage.py runserver")
	case root.text() == "" || url.text() == "":
		if root.Line > 0 && root.Value == nil {
			a.Why = append(a.Why, rootAt+": STATIC_ROOT is only known when the settings run; see --url-alias for its files")
		}
	case strings.Contains(url.text(), "//"):
		a.Why = append(a.Why, "static files are on another server: STATIC_URL is "+url.text())
	case !isDirectory(root.text()):
		a.Why = append(a.Why, rootAt+": the directory of STATIC_ROOT does not exist: manage.py collectstatic makes it")
	default:
		path := "/" + strings.Trim(url.text(), "/")
		a.Static = append(a.Static, [2]string{path, root.text()})
		a.Why = append(a.Why, rootAt+": files below "+path+" come from STATIC_ROOT")
	}
	return nil
}

// chain returns the modules that determine settings: those that it imports everything
// from, and itself.
func (s *search) chain(p *project, name string, seen []string) (chain []*module) {
	if slices.Contains(seen, name) || len(seen) > 8 {
		return nil
	}
	seen = append(seen, name)
	for _, m := range s.modules {
		if m.of != p || m.name != name {
			continue
		}
		for _, star := range m.facts.Stars {
			chain = append(chain, s.chain(p, absolute(m, star), seen)...)
		}
		return append(chain, m)
	}
	return nil
}
