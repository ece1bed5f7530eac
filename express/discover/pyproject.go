package discover

import (
	"errors"
	"path/filepath"
	"strings"

	"modwsgi/internal/tomlfile"
)

const projectFile = "pyproject.toml"

// pyproject is what a pyproject.toml says about the location of packages.
type pyproject struct {
	roots    []string // directories with packages, relative
	packages []string // names of packages
}

// pyproject reads the file of a project. One that cannot be read is passed over: it decides
// about directories only.
func (s *search) pyproject(p *project) *pyproject {
	found := &pyproject{}
	path := filepath.Join(p.dir, projectFile)
	if !exists(path) {
		return found
	}
	data, ok := s.text(path)
	if !ok {
		return found
	}
	doc, err := tomlfile.Parse(string(data))
	var wrong *tomlfile.SyntaxError
	if errors.As(err, &wrong) {
		s.pass(path, wrong.Error())
		return found
	}
	if err != nil {
		return found
	}
	add := func(root any) {
		if text, ok := root.(string); ok && text != "" && text != "." {
			found.roots = append(found.roots, filepath.FromSlash(text))
		}
	}
	for _, e := range texts(value(doc, "tool", "setuptools", "packages", "find", "where")) {
		add(e)
	}
	if dirs, ok := value(doc, "tool", "setuptools", "package-dir").(*tomlfile.Table); ok {
		for _, e := range dirs.Entries {
			if e.Key == "" {
				add(e.Value)
			}
		}
	}
	add(value(doc, "tool", "uv", "build-backend", "module-root"))
	add(value(doc, "tool", "pdm", "build", "package-dir"))
	for _, e := range list(value(doc, "tool", "poetry", "packages")) {
		if one, ok := e.(*tomlfile.Table); ok {
			add(value(one, "from"))
			found.packages = append(found.packages, texts(value(one, "include"))...)
		}
	}
	for _, e := range texts(value(doc, "tool", "hatch", "build", "targets", "wheel", "packages")) {
		add(filepath.ToSlash(filepath.Dir(filepath.FromSlash(e))))
		found.packages = append(found.packages, filepath.Base(filepath.FromSlash(e)))
	}
	found.packages = append(found.packages, texts(value(doc, "tool", "uv", "build-backend", "module-name"))...)
	for _, e := range texts(value(doc, "tool", "setuptools", "packages")) {
		first, _, _ := strings.Cut(e, ".")
		found.packages = append(found.packages, first)
	}
	return found
}

// value returns the value below keys, or nil.
func value(t *tomlfile.Table, keys ...string) any {
	for k, key := range keys {
		e, ok := t.Get(key)
		if !ok {
			return nil
		}
		if k == len(keys)-1 {
			return e.Value
		}
		if t, ok = e.Value.(*tomlfile.Table); !ok {
			return nil
		}
	}
	return nil
}

func list(v any) []any {
	all, _ := v.([]any)
	return all
}

// texts returns a text, or the texts of a list.
func texts(v any) (all []string) {
	if text, ok := v.(string); ok {
		return []string{text}
	}
	for _, e := range list(v) {
		if text, ok := e.(string); ok {
			all = append(all, text)
		}
	}
	return all
}
