package oci

import (
	"bytes"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/pydist"
)

// What an image leaves out unless Options.Include names it: what installs packages, what
// compiles against them, and what tests them. A running application needs none of it, it
// is a large part of the files, and an attacker or a scanner of vulnerabilities finds
// more in it than in the application.
//
// The rules err on the side of keeping. A distribution stays if another one requires it,
// or if any file mentions its modules; a test suite stays if any file outside it mentions
// it.

// Values of Options.Include.
const (
	IncludePip     = "pip"     // pip, setuptools and wheel, and ensurepip
	IncludeHeaders = "headers" // header files, static libraries and mod_wsgi-apxs
	IncludeTests   = "tests"   // test suites of the standard library and of packages
)

// Includable lists the values of Options.Include.
var Includable = []string{IncludePip, IncludeHeaders, IncludeTests}

func (o *Options) includes(what string) bool { return slices.Contains(o.Include, what) }

// installers are the distributions that IncludePip is about, with the modules whose
// mention keeps them.
var installers = map[string][]string{
	"pip": {"import pip", "from pip"}, "setuptools": {"pkg_resources", "import setuptools", "from setuptools", "import distutils", "from distutils"},
	"wheel": {"import wheel", "from wheel"},
}

// selection is which files of a directory of packages stay out of an image.
type selection struct {
	files map[string]bool // by path below the directory, with slashes; "../../../bin/pip"
	gone  []string        // normal names of distributions
	tests []string        // directories of test suites
	keep  *Options
}

// skip reports whether a file or directory stays out.
func (s *selection) skip(rel string, d fs.DirEntry) bool {
	if s.files[rel] {
		return true
	}
	if d.IsDir() {
		return slices.Contains(s.tests, rel)
	}
	return !s.keep.includes(IncludeHeaders) && forCompilers(rel)
}

// forCompilers reports whether only a compiler reads a file of a package.
func forCompilers(rel string) bool {
	switch path.Ext(rel) {
	case ".a", ".lib":
		return true
	case ".h", ".hpp", ".hh", ".hxx":
		return slices.Contains(strings.Split(path.Dir(rel), "/"), "include")
	}
	return false
}

// program reports whether a program of the environment stays out.
func (s *selection) program(name string) bool {
	for file := range s.files {
		if dir, base := path.Split(file); base == name && strings.HasSuffix(dir, "/bin/") {
			return true
		}
	}
	return false
}

// selects decides which files of a directory of packages stay out.
func (m *maker) selects(site string) (*selection, error) {
	s := &selection{files: map[string]bool{}, keep: &m.o}
	dists, err := pydist.All(site)
	if err != nil {
		return nil, fault.New(fault.Environment, "repair the environment (pip check), or create a new one", "read its packages: %w", err)
	}
	text, err := m.mentions(site)
	if err != nil {
		return nil, err
	}
	if !m.o.includes(IncludePip) {
		s.withoutInstallers(dists, text)
	} else if !slices.ContainsFunc(dists, func(d *pydist.Installed) bool { return pydist.NormalName(d.Name) == "pip" }) {
		return nil, fault.New(fault.Usage, "install it there (python -m ensurepip), or leave the option out", "--include pip: the environment has no pip")
	}
	if !m.o.includes(IncludeTests) {
		s.withoutTests(site, text)
	}
	return s, nil
}

// withoutInstallers adds the files of those that no other distribution requires.
func (s *selection) withoutInstallers(dists []*pydist.Installed, text sources) {
	for _, d := range dists {
		name := pydist.NormalName(d.Name)
		words := installers[name]
		if words == nil || len(d.Files) == 0 || d.Broken != nil || required(name, dists) || text.mention(words, ownFiles(d)) {
			continue
		}
		s.gone = append(s.gone, name)
		for _, f := range d.Files {
			s.files[f.Path] = true
		}
		s.files[filepath.Base(d.InfoDir)] = true
		for _, f := range d.Files {
			if top, _, below := strings.Cut(f.Path, "/"); below && top != ".." && s.emptied(filepath.Dir(d.InfoDir), top) {
				s.files[top] = true // an empty directory would be a namespace package
			}
		}
	}
}

// emptied reports whether all files below a directory stay out. Python makes compiled
// files again, and RECORD need not list them.
func (s *selection) emptied(site, top string) bool {
	if s.files[top] {
		return true
	}
	all := true
	_ = filepath.WalkDir(filepath.Join(site, top), func(name string, d fs.DirEntry, err error) error {
		rel, rerr := filepath.Rel(site, name)
		if err != nil || rerr != nil || !d.IsDir() && !compiled(name) && !s.files[filepath.ToSlash(rel)] {
			all = false
			return fs.SkipAll
		}
		if d.IsDir() && d.Name() == "__pycache__" {
			return fs.SkipDir
		}
		return nil
	})
	return all
}

// ownFiles are the top-level names of a distribution, and of all installers.
func ownFiles(d *pydist.Installed) map[string]bool {
	own := map[string]bool{"_distutils_hack": true, "distutils-precedence.pth": true, "pkg_resources": true, "pip": true, "setuptools": true, "wheel": true}
	for _, f := range d.Files {
		top, _, _ := strings.Cut(f.Path, "/")
		own[top] = true
	}
	return own
}

// required reports whether a distribution that is not an installer requires one.
func required(name string, dists []*pydist.Installed) bool {
	for _, d := range dists {
		if installers[pydist.NormalName(d.Name)] != nil {
			continue
		}
		data, err := os.ReadFile(filepath.Join(d.InfoDir, "METADATA"))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			if strings.TrimSpace(line) == "" {
				break
			}
			if need, ok := strings.CutPrefix(line, "Requires-Dist: "); ok && !strings.Contains(need, "extra ==") {
				end := strings.IndexFunc(need, func(r rune) bool {
					return !strings.ContainsRune("._-", r) && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z')
				})
				if pydist.NormalName(need[:max(end, 0)]) == name {
					return true
				}
			}
		}
	}
	return false
}

// withoutTests adds the directories named "tests" in packages. One that is not in a
// package, or that other files mention, may be part of an application.
func (s *selection) withoutTests(site string, text sources) {
	for _, dir := range text.tests {
		inside := path.Dir(dir)
		if inside == "." || slices.ContainsFunc(s.tests, func(t string) bool { return strings.HasPrefix(dir, t+"/") }) {
			continue
		}
		dotted := strings.ReplaceAll(dir, "/", ".")
		if _, err := os.Stat(filepath.Join(site, filepath.FromSlash(inside), "__init__.py")); err != nil || text.mentionOutside([]string{dotted, "from .tests", "from . import tests"}, dir) {
			continue
		}
		s.tests = append(s.tests, dir)
	}
}

// sources are the Python files of packages and of the application, of which only lines
// that can matter are kept.
type sources struct {
	files map[string][]byte // by path below the directory of packages; the application's begin with "/"
	tests []string          // directories named "tests", sorted
}

// relevant matches lines that can mention what is left out.
var relevant = regexp.MustCompile(`(?m)^.*(?:tests|pkg_resources|setuptools|distutils|\bpip\b|\bwheel\b).*$`)

// mentions reads all Python files.
func (m *maker) mentions(site string) (sources, error) {
	s := sources{files: map[string][]byte{}}
	read := func(root, prefix string) error {
		return filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil //nolint:nilerr // collecting the files reports it
			}
			rel, err := filepath.Rel(root, name)
			if err != nil {
				return err
			}
			rel = filepath.ToSlash(rel)
			switch {
			case d.IsDir() && d.Name() == "__pycache__", d.IsDir() && prefix != "" && (slices.Contains(m.o.Exclude, name) || isEnvironment(name)):
				return fs.SkipDir
			case d.IsDir() && d.Name() == "tests" && prefix == "":
				s.tests = append(s.tests, rel)
			case d.Type().IsRegular() && strings.HasSuffix(name, ".py"):
				data, err := os.ReadFile(name)
				if lines := relevant.FindAll(data, -1); err == nil && len(lines) > 0 {
					s.files[prefix+rel] = bytes.Join(lines, []byte("\n"))
				}
			}
			return nil
		})
	}
	err := read(site, "")
	if err == nil && m.o.App != "" {
		err = read(m.o.App, "/")
	}
	slices.Sort(s.tests)
	return s, err
}

// mention reports whether a file that is not below one of the names contains one of the
// words.
func (s sources) mention(words []string, except map[string]bool) bool {
	for name, data := range s.files {
		if top, _, _ := strings.Cut(name, "/"); !except[top] && containsAny(data, words) {
			return true
		}
	}
	return false
}

// mentionOutside does the same for files outside a directory. Relative imports only
// matter next to it.
func (s sources) mentionOutside(words []string, dir string) bool {
	for name, data := range s.files {
		if strings.HasPrefix(name, dir+"/") {
			continue
		}
		wanted := words[:1]
		if path.Dir(name) == path.Dir(dir) {
			wanted = words
		}
		if containsAny(data, wanted) {
			return true
		}
	}
	return false
}

// isEnvironment reports whether a directory is a virtual environment.
func isEnvironment(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "pyvenv.cfg"))
	return err == nil
}

func containsAny(data []byte, words []string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return bytes.Contains(data, []byte(w)) })
}
