// Package discover finds the WSGI application of a project, and tells why it is that one:
// Django by manage.py and the settings that it names, Flask and others by the callables
// and factories at the top level of their modules, Paste Deploy by its files, and what
// pyproject.toml says about the location of packages.
//
// # What it must not do
//
//   - Guess. Two applications are two results, and the caller lists them. Two ways to
//     reach the same application are one: a module that imports another one stands for it.
//   - Run anything of the project. Python sources are parsed by the environment's own
//     Python (facts.py), which gets their text and opens no file.
//   - Read what another user may change. A directory of that kind is refused, and a file of
//     that kind is passed over.
//
// It does not know how an application is served.
package discover

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/fault"
)

// Kinds of applications.
const (
	Django   = "django"
	Callable = "callable"
	Factory  = "factory"
	Paste    = "paste"
)

// Application is an application that was found, and how the launcher serves it.
type Application struct {
	Kind      string `json:"kind"`
	Framework string `json:"framework,omitempty"` // "Flask", if that is known
	Name      string `json:"name"`                // for people: "Django project shop"
	Argument  string `json:"argument"`            // of the command, chooses it
	File      string `json:"file"`                // decides; absolute

	Type        string            `json:"application_type"` // of the launcher's options: "script", "module" or "paste"
	Entry       string            `json:"entry_point"`
	Callable    string            `json:"callable_object,omitempty"`
	Directory   string            `json:"working_directory"`
	PythonPath  []string          `json:"python_path,omitempty"`
	Static      [][2]string       `json:"url_alias,omitempty"`
	Environment map[string]string `json:"environment,omitempty"` // variables that the application needs

	Why []string `json:"why"` // sentences without a full stop

	module *module
	value  string // where the callable comes from, with its arguments; "" if unknown
}

// Passed is something that looked like an application, and why it was passed over.
type Passed struct {
	File string `json:"file"`
	Why  string `json:"why"`
}

// Found is what a project has.
type Found struct {
	Directory    string         `json:"directory"`
	Applications []*Application `json:"applications"`
	Passed       []Passed       `json:"passed_over,omitempty"`
	Searched     int            `json:"modules_searched"`
	Untrusted    error          `json:"-"` // the first file that another user may change
}

// Finder looks for applications.
type Finder struct {
	Dir string   // working directory, absolute; arguments are relative to it
	Env []string // the process environment

	Trusted func(path string) error // refuses a path that another user can change

	// Python runs a program with the environment's Python, which gets input as standard
	// input, and returns its standard output.
	Python func(ctx context.Context, program string, input []byte) ([]byte, error)

	taken map[string]bool // names of modules that Python itself has
}

// Limits of a search.
const (
	mostModules     = 400
	mostDirectories = 2000
	deepest         = 5
	largest         = 1 << 20 // bytes of a file
)

// Directory returns the applications of the project in a directory. Those of projects
// below it only count if it has none itself.
func (f *Finder) Directory(ctx context.Context, dir string) (*Found, error) {
	if err := f.trust(dir); err != nil {
		return nil, err
	}
	within := ""
	if exists(filepath.Join(dir, "__init__.py")) { // a package, whose modules are imported from above
		within = dir + string(filepath.Separator)
		_, dir = importRoot(within + "__init__.py")
	}
	s := &search{Finder: f, found: &Found{Directory: dir}}
	top := s.project(dir, 0)
	if err := s.read(ctx); err != nil {
		return nil, err
	}
	s.found.Searched = len(s.modules)
	if err := s.applications(ctx, top); err != nil {
		return nil, err
	}
	if len(s.found.Applications) == 0 {
		for _, p := range s.projects {
			if p == top {
				continue
			}
			if err := s.applications(ctx, p); err != nil {
				return nil, err
			}
		}
	}
	if within != "" {
		s.found.Applications = slices.DeleteFunc(s.found.Applications, func(a *Application) bool { return !strings.HasPrefix(a.File, within) })
	}
	s.name()
	return s.found, nil
}

// Argument returns the application that an argument names: a directory, a file, FILE:NAME,
// MODULE or MODULE:NAME. NAME may be a call with constant arguments, such as
// create_app("test").
func (f *Finder) Argument(ctx context.Context, argument string) (*Found, error) {
	path := f.abs(argument)
	if info, err := os.Stat(path); err == nil {
		if info.IsDir() {
			return f.Directory(ctx, filepath.Clean(path))
		}
		return f.file(ctx, argument, path, "")
	}
	if at := cutName(argument); at > 0 {
		target, name := argument[:at], argument[at+1:]
		if !isCallable(name) {
			return nil, fault.New(fault.Usage, "name a variable or a function, with constant arguments at most: "+target+`:create_app("test")`, "%q is not the name of an application", name)
		}
		if info, err := os.Stat(f.abs(target)); err == nil && !info.IsDir() {
			return f.file(ctx, argument, f.abs(target), name)
		}
		if isModule(target) {
			return f.module(ctx, argument, target, name)
		}
	}
	if isModule(argument) && !strings.HasSuffix(argument, ".py") && !strings.HasSuffix(argument, ".ini") {
		return f.module(ctx, argument, argument, "")
	}
	return nil, fault.New(fault.Usage, "name a directory, a file, or MODULE:NAME", "%s does not exist", path)
}

// cutName returns the position of the colon between a file or module and a name.
func cutName(argument string) int {
	before, _, _ := strings.Cut(argument, "(")
	return strings.LastIndexByte(before, ':')
}

// file returns the application in a file.
func (f *Finder) file(ctx context.Context, argument, path, name string) (*Found, error) {
	path = filepath.Clean(path)
	if err := f.trust(path); err != nil {
		return nil, err
	}
	if strings.HasSuffix(path, ".ini") {
		dir := filepath.Dir(path)
		s := &search{Finder: f, found: &Found{Directory: dir}}
		a := pasteApplication(s.bare(dir), path)
		a.Argument, a.Why = argument, []string{"the argument names the file"}
		s.found.Applications = append(s.found.Applications, a)
		return s.found, nil
	}
	s := &search{Finder: f, found: &Found{}}
	p, root := s.place(path)
	s.found.Directory = p.dir
	m := s.moduleOf(p, path, root)
	if err := s.read(ctx); err != nil {
		return nil, err
	}
	s.found.Searched = len(s.modules)
	return s.named(ctx, p, m, argument, name)
}

// module returns the application in a module, which may be installed somewhere else.
func (f *Finder) module(ctx context.Context, argument, target, name string) (*Found, error) {
	if err := f.trust(f.Dir); err != nil {
		return nil, err
	}
	s := &search{Finder: f, found: &Found{Directory: f.Dir}}
	p := s.project(f.Dir, 0)
	rel := filepath.Join(strings.Split(target, ".")...)
	for _, root := range p.roots {
		for _, file := range []string{rel + ".py", filepath.Join(rel, "__init__.py")} {
			path := filepath.Join(root, file)
			if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
				continue
			}
			if err := f.trust(path); err != nil {
				return nil, err
			}
			m := s.moduleOf(p, path, root)
			if err := s.read(ctx); err != nil {
				return nil, err
			}
			s.found.Searched = len(s.modules)
			return s.named(ctx, p, m, argument, name)
		}
	}
	if name == "" {
		return nil, fault.New(fault.Usage, "name a directory, a file, or MODULE:NAME", "neither the file %s nor the module %s was found", f.abs(target), target)
	}
	s.found.Applications = append(s.found.Applications, &Application{
		Kind: kindOf(name), Name: "application " + name + " of the module " + target, Argument: argument, Type: "module", Entry: target, Callable: name,
		Directory: p.dir, PythonPath: p.path(), Why: []string{"the argument names the module, which is not among the files of this directory, and " + name},
	})
	return s.found, nil
}

// named returns the application of one module, with a name or what the module has.
func (s *search) named(ctx context.Context, p *project, m *module, argument, name string) (*Found, error) {
	if m.facts.Error != "" {
		return nil, fault.New(fault.Usage, "correct it", "%s, line %d: %s", m.path, m.facts.Line, m.facts.Error)
	}
	if filepath.Base(m.path) == manageFile && name == "" {
		a, err := s.django(ctx, p)
		if a != nil || err != nil {
			if a != nil {
				a.Argument = argument
				s.found.Applications = append(s.found.Applications, a)
			}
			return s.found, err
		}
	}
	var all []*Application
	if name != "" {
		a := m.application(s.Finder, p, name, nil)
		a.Why = []string{"the argument names it"}
		all = append(all, a)
	} else {
		all = s.callables(p, m)
		for _, a := range all {
			a.Why = append([]string{"the argument names the file"}, a.Why...)
		}
	}
	for _, a := range all {
		if len(all) == 1 {
			a.Argument = argument
		} else {
			a.Argument = s.argument(m.path, a.Callable)
		}
	}
	s.found.Applications = all
	return s.found, nil
}

// trust refuses a path that another user can change.
func (f *Finder) trust(path string) error {
	err := f.Trusted(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Environment, fault.HintOr(err, "let nobody else write to it")+"; start-server serves an application that you name, whoever owns it", "the project is not searched: %w", err)
	}
	return nil
}

func (f *Finder) abs(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(f.Dir, path)
}

// relative returns a path as short as it can be written in the working directory.
func (f *Finder) relative(path string) string {
	rel, err := filepath.Rel(f.Dir, path)
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return path
	}
	return rel
}

// argument returns what names a callable of a file on the command line.
func (f *Finder) argument(path, name string) string {
	if name == "" {
		return f.relative(path)
	}
	return f.relative(path) + ":" + name
}

// name completes the arguments of the applications. A directory or a file is enough if
// nothing else is in it.
func (s *search) name() {
	count := map[string]int{}
	for _, a := range s.found.Applications {
		count[a.File]++
	}
	for _, a := range s.found.Applications {
		if a.Argument == "" {
			a.Argument = s.argument(a.File, a.Callable)
			if count[a.File] == 1 {
				a.Argument = s.relative(a.File)
			}
		}
	}
	slices.SortStableFunc(s.found.Applications, func(a, b *Application) int { return strings.Compare(a.Argument, b.Argument) })
}
