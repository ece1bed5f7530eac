package discover

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"modwsgi/internal/owned"
)

// search is one search. It lists files first, and then reads them all in one run of Python.
type search struct {
	*Finder

	found       *Found
	projects    []*project
	modules     []*module
	directories int // that were listed
}

// project is a directory from which modules are imported.
type project struct {
	dir    string
	roots  []string // directories that modules are imported from: dir, and others such as src
	marked []string // the files that make it a project
	python *pyproject
	bare   bool // its files are not searched
}

// path returns the directories that modules are imported from, besides the project's own.
func (p *project) path() []string {
	return slices.DeleteFunc(slices.Clone(p.roots), func(root string) bool { return root == p.dir })
}

// module is a Python source.
type module struct {
	of    *project
	path  string
	name  string // by which it is imported; "" if it cannot be
	read  bool
	facts facts
}

const manageFile = "manage.py"

// markers are files that make a directory a project of its own.
var markers = []string{manageFile, projectFile, "setup.py", "setup.cfg", "Pipfile", "requirements.txt", flaskFile}

// ignored are directories without an application that anybody would serve.
var ignored = []string{
	"__pycache__", "build", "dist", "doc", "docs", "env", "example", "examples", "media", "migrations", "node_modules", "sample", "samples",
	"site-packages", "static", "staticfiles", "templates", "test", "tests", "venv",
}

// helpers are modules of tools, which import the application, or run it for tests.
var helpers = regexp.MustCompile(`^(test_.*|.*_test|tests|conftest|setup|noxfile|fabfile|celery|gunicorn(_?conf(ig)?)?(\.conf)?)\.py$`)

// entries are the modules of a package that are searched.
var entries = regexp.MustCompile(`^(__init__|wsgi|asgi|app|application|main|server|factory|settings)\.py$`)

// project lists the modules of a project, and of those below it.
func (s *search) project(dir string, depth int) *project {
	p := &project{dir: dir, roots: []string{dir}}
	s.projects = append(s.projects, p)
	for _, name := range markers {
		if exists(filepath.Join(dir, name)) {
			p.marked = append(p.marked, name)
		}
	}
	p.python = s.pyproject(p)
	for _, root := range append([]string{"src"}, p.python.roots...) {
		if path := filepath.Join(dir, root); isDirectory(path) && !slices.Contains(p.roots, path) && !exists(filepath.Join(path, "__init__.py")) && filepath.IsLocal(root) {
			p.roots = append(p.roots, path)
		}
	}
	for _, root := range p.roots {
		s.packages(p, root, root, "", depth)
	}
	return p
}

// bare returns a project without searching its modules.
func (s *search) bare(dir string) *project {
	p := &project{dir: dir, roots: []string{dir}, bare: true}
	p.python = s.pyproject(p)
	if src := filepath.Join(dir, "src"); isDirectory(src) {
		p.roots = append(p.roots, src)
	}
	return p
}

// packages lists the modules of a directory, whose names begin with prefix.
func (s *search) packages(p *project, root, dir, prefix string, depth int) {
	if s.directories++; depth > deepest || s.directories > mostDirectories {
		return
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range list {
		name := e.Name()
		if !e.IsDir() && strings.HasSuffix(name, ".py") && name != manageFile && !helpers.MatchString(name) && (prefix == "" || entries.MatchString(name) || inSettings(prefix)) {
			s.moduleOf(p, filepath.Join(dir, name), root)
		}
		if !e.IsDir() && dir == p.dir && strings.HasSuffix(name, ".wsgi") {
			s.moduleOf(p, filepath.Join(dir, name), root)
		}
	}
	for _, e := range list {
		name, path := e.Name(), filepath.Join(dir, e.Name())
		if !e.IsDir() || strings.HasPrefix(name, ".") || slices.Contains(ignored, name) || slices.Contains(p.roots, path) || exists(filepath.Join(path, "pyvenv.cfg")) {
			continue
		}
		switch s.kind(p, path) {
		case ofProject:
			s.project(path, depth+1)
		case ofPackage:
			s.packages(p, root, path, prefix+name+".", depth+1)
		}
	}
}

func inSettings(prefix string) bool { return strings.HasSuffix(prefix, "settings.") }

const (
	ofProject = "project"
	ofPackage = "package"
)

// kind reports what a directory is. One without __init__.py is a namespace package if
// modules are only further below (PEP 420); otherwise its modules import each other without
// a package, so it is a project. In a Django project it is a package in any case.
func (s *search) kind(p *project, dir string) string {
	if exists(filepath.Join(dir, "__init__.py")) {
		return ofPackage
	}
	for _, name := range markers {
		if exists(filepath.Join(dir, name)) {
			return ofProject
		}
	}
	direct, _ := filepath.Glob(filepath.Join(quoteGlob(dir), "*.py"))
	if len(direct) > 0 && !slices.Contains(p.marked, manageFile) && !slices.Contains(p.python.packages, filepath.Base(dir)) && !slices.Contains(p.roots[1:], filepath.Dir(dir)) {
		return ofProject
	}
	return ofPackage
}

func quoteGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// moduleOf adds a module to those that are read, unless it is one of them.
func (s *search) moduleOf(p *project, path, root string) *module {
	for _, m := range s.modules {
		if m.path == path {
			return m
		}
	}
	m := &module{of: p, path: path, name: moduleName(root, path)}
	if len(s.modules) < mostModules {
		s.modules = append(s.modules, m)
	}
	return m
}

// moduleName returns the name by which a file is imported from a directory.
func moduleName(root, path string) string {
	rel, err := filepath.Rel(root, path)
	if err != nil || !filepath.IsLocal(rel) {
		return ""
	}
	rel, isSource := strings.CutSuffix(filepath.ToSlash(rel), ".py")
	name := strings.ReplaceAll(strings.TrimSuffix(rel, "/__init__"), "/", ".")
	if !isSource || strings.Contains(filepath.Base(rel), ".") || !isModule(name) {
		return ""
	}
	return name
}

var identifier = regexp.MustCompile(`^[\p{L}_][\p{L}\p{N}_]*$`)

func isModule(name string) bool {
	for part := range strings.SplitSeq(name, ".") {
		if !identifier.MatchString(part) {
			return false
		}
	}
	return true
}

// isCallable reports whether a text names a callable, possibly with arguments. The
// launcher's Python part checks the arguments.
func isCallable(name string) bool {
	before, rest, call := strings.Cut(name, "(")
	return identifier.MatchString(before) && (!call || strings.HasSuffix(rest, ")"))
}

// place returns the project that a file belongs to, and the directory that it is imported
// from: those of the working directory's project, if the file is in it.
func (s *search) place(path string) (p *project, root string) {
	if rel, err := filepath.Rel(s.Dir, path); err == nil && filepath.IsLocal(rel) && filepath.Base(path) != manageFile && s.trust(s.Dir) == nil {
		s.project(s.Dir, 0)
		for _, m := range s.modules {
			if m.path == path {
				p = m.of
			}
		}
		if p != nil {
			for _, dir := range p.roots {
				if moduleName(dir, path) != "" && len(dir) > len(root) {
					root = dir
				}
			}
			if root == "" {
				root = filepath.Dir(path)
			}
			return p, root
		}
		s.projects, s.modules = nil, nil
	}
	root, dir := importRoot(path)
	if filepath.Base(path) == manageFile {
		dir = filepath.Dir(path)
	}
	return s.project(dir, 0), root
}

// importRoot returns the directory that a file is imported from: above its packages; and
// the directory of the project that this belongs to.
func importRoot(path string) (root, dir string) {
	root = filepath.Dir(path)
	for exists(filepath.Join(root, "__init__.py")) && filepath.Dir(root) != root {
		root = filepath.Dir(root)
	}
	if filepath.Base(root) == "src" {
		return root, filepath.Dir(root)
	}
	return root, root
}

// read reads the sources of all modules that were not read yet.
func (s *search) read(ctx context.Context) error {
	var kept, fresh []*module
	var files []source
	for _, m := range s.modules {
		if !m.read {
			data, ok := s.text(m.path)
			if !ok {
				continue
			}
			fresh = append(fresh, m)
			files = append(files, source{m.path, data})
		}
		kept = append(kept, m)
	}
	s.modules = kept
	if len(files) == 0 {
		return nil
	}
	answer, err := s.ask(ctx, question{Files: files})
	if err != nil {
		return err
	}
	for k, m := range fresh {
		m.read, m.facts = true, answer.Facts[k]
	}
	s.taken = map[string]bool{}
	for _, name := range answer.Taken {
		s.taken[name] = true
	}
	return nil
}

// text returns the contents of a file, unless another user can change it.
func (s *search) text(path string) (data []byte, ok bool) {
	err := s.Trusted(path)
	if err == nil {
		data, err = owned.ReadInput(path, largest)
	}
	if err == nil {
		return data, true
	}
	why := "it cannot be read: " + err.Error()
	if owned.IsUntrusted(err) {
		if s.found.Untrusted == nil {
			s.found.Untrusted = s.trust(path)
		}
		why = err.Error()
	}
	s.pass(path, why)
	return nil, false
}

func (s *search) pass(path, why string) {
	s.found.Passed = append(s.found.Passed, Passed{path, why})
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func isDirectory(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
