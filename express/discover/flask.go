package discover

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"modwsgi/internal/run"
)

const (
	flaskVariable = "FLASK_APP"
	flaskFile     = ".flaskenv"
)

// flask returns the application that FLASK_APP names, in the environment or in .flaskenv,
// which the command flask reads in the same order.
func (s *search) flask(ctx context.Context, p *project) (*Application, error) {
	value, why := "", ""
	if p.dir == s.found.Directory {
		value, why = run.Getenv(s.Env, flaskVariable), "the variable "+flaskVariable
	}
	if path := filepath.Join(p.dir, flaskFile); value == "" && exists(path) {
		data, ok := s.text(path)
		if !ok {
			return nil, nil
		}
		var line int
		value, line = variable(string(data), flaskVariable)
		why = fmt.Sprintf("%s, line %d: %s", s.relative(path), line, flaskVariable)
	}
	if value == "" {
		return nil, nil
	}
	target, name := value, ""
	if at := cutName(value); at > 0 {
		target, name = value[:at], value[at+1:]
	}
	m, err := s.flaskModule(ctx, p, target)
	if err != nil {
		return nil, err
	}
	if m == nil {
		s.pass(filepath.Join(p.dir, target), why+" names "+value+", which is not among the files of the project")
		return nil, nil
	}
	var a *Application
	switch found := s.callables(p, m); {
	case name != "" && isCallable(name):
		for _, b := range m.facts.Bindings {
			if b.Name == name && b.Kind == "def" && b.Required == 0 && b.Most != 2 { // flask calls factories without parentheses, too
				name += "()"
			}
		}
		a = m.application(s.Finder, p, name, nil)
		if a.Framework == "" {
			a.Framework = "Flask"
		}
		a.Name = "Flask application " + name + " in " + s.relative(m.path)
		a.Argument = s.argument(m.path, name)
	case len(found) == 1:
		a = found[0]
	default:
		s.pass(m.path, why+" names it, but not which of its names is the application")
		return nil, nil
	}
	a.Why = append([]string{why + " is " + value}, a.Why...)
	return a, nil
}

// flaskModule returns the module that FLASK_APP names: a path without or with .py, or a
// name.
func (s *search) flaskModule(ctx context.Context, p *project, target string) (*module, error) {
	for _, root := range p.roots {
		name := strings.TrimSuffix(filepath.FromSlash(target), ".py")
		if isModule(target) {
			name = filepath.FromSlash(strings.ReplaceAll(name, ".", "/"))
		}
		for _, path := range []string{filepath.Join(root, name) + ".py", filepath.Join(root, name, "__init__.py")} {
			if !exists(path) || moduleName(root, path) == "" {
				continue
			}
			m := s.moduleOf(p, path, root)
			if err := s.read(ctx); err != nil || !m.read || m.facts.Error != "" {
				return nil, err
			}
			return m, nil
		}
	}
	return nil, nil
}

// variable returns the value of a variable in a file such as .flaskenv, and its line.
func variable(text, name string) (value string, number int) {
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimPrefix(strings.TrimSpace(line), "export ")
		key, v, ok := strings.Cut(line, "=")
		if !ok || strings.TrimSpace(key) != name {
			continue
		}
		v = strings.TrimSpace(v)
		if len(v) > 1 && (v[0] == '"' || v[0] == '\'') {
			if end := strings.IndexByte(v[1:], v[0]); end >= 0 {
				v = v[1 : end+1]
			}
		} else if at := strings.Index(v, " #"); at >= 0 {
			v = strings.TrimSpace(v[:at])
		}
		value, number = v, n
	}
	return value, number
}
