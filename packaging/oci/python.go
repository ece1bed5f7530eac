package oci

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/elf"
	"modwsgi/internal/fault"
	"modwsgi/internal/filetree"
	"modwsgi/internal/pydist"
	"modwsgi/internal/relocate"
	"modwsgi/packaging"
)

func readELF(name string) (*elf.Facts, error) {
	facts, err := elf.Read(name)
	if err != nil {
		return nil, fault.New(fault.Environment, "package a complete build", "inspect a program: %w", err)
	}
	return facts, nil
}

// unused are parts of a standard library that no server needs: desktop parts, and what
// belongs to a system or an environment.
var unused = []string{"idlelib", "tkinter", "turtledemo", "turtle.py", "lib2to3", "site-packages", "dist-packages", "sitecustomize.py", "EXTERNALLY-MANAGED"}

// leftOut reports whether a part of the standard library stays out of an image.
func (o *Options) leftOut(rel string, d fs.DirEntry, config string) bool {
	top, _, _ := strings.Cut(rel, "/")
	base := path.Base(rel)
	switch {
	case slices.Contains(unused, top), path.Dir(rel) == "lib-dynload" && strings.HasPrefix(base, "_tkinter"):
		return true
	case top == "ensurepip":
		return !o.includes(IncludePip)
	case d.IsDir() && (base == "test" || base == "tests"), path.Dir(rel) == "lib-dynload" && (strings.HasPrefix(base, "_test") || strings.HasPrefix(base, "xx") || strings.HasPrefix(base, "_xxtest")):
		return !o.includes(IncludeTests)
	case strings.HasPrefix(top, config), strings.HasSuffix(base, ".a"), strings.HasSuffix(base, ".o"):
		return !o.includes(IncludeHeaders)
	}
	return false
}

// pythonLayers makes the layers that only an image without a base has, and the layer
// with the application's packages. It looks for all libraries that they need: on the
// input's system for the former, in the base for the latter.
func (m *maker) pythonLayers(i *image, w *work) error {
	var python []entry
	var err error
	fromHost := m.o.Base == Scratch && !m.o.LayerOnly
	if fromHost {
		if python, err = m.pythonTree(i); err != nil {
			return err
		}
	}
	packages, err := m.packages(i)
	if err != nil {
		return err
	}
	if fromHost {
		c := closure{m: m, image: i, libraries: map[string]found{}}
		for _, all := range [][]entry{python, packages} {
			if err := c.add(all); err != nil {
				return err
			}
		}
		tree, err := i.environment(w)
		if err != nil {
			return err
		}
		system, err := c.finish(tree)
		if err != nil {
			return err
		}
		if err := m.put(i, "libraries and accounts", system); err != nil {
			return err
		}
		if err := m.put(i, "Python "+i.in.Python.Version, python); err != nil {
			return err
		}
	} else if i.base != nil {
		if err := m.checkPackages(i, packages); err != nil {
			return err
		}
	}
	if len(packages) > 0 {
		return m.put(i, "packages of the application", packages)
	}
	return nil
}

// pythonTree copies a Python installation of the host, without the parts that no
// server needs.
func (m *maker) pythonTree(i *image) ([]entry, error) {
	py := i.in.Python
	lib := ""
	for _, dir := range []string{"lib", "lib64"} {
		if _, err := os.Stat(filepath.Join(py.Prefix, dir, i.libName(), "os.py")); err == nil {
			lib = filepath.Join(py.Prefix, dir, i.libName())
			break
		}
	}
	if lib == "" {
		return nil, fault.New(fault.Environment, "install that Python again, or name a base with --base", "no standard library of Python %s found below %s", py.Version, py.Prefix)
	}
	config := "config-" + i.in.Stage.Module.Python.MinorVersion()
	c := collector{root: lib, host: m.hosts(i)[0].Root, to: path.Join(PythonHome, "lib", i.libName()), follow: true, skip: func(rel string, d fs.DirEntry) bool {
		return m.o.leftOut(rel, d, config)
	}}
	all, err := c.collect("install that Python again, or name a base with --base")
	if err != nil {
		return nil, err
	}
	bin := path.Join(PythonHome, "bin")
	program, err := m.movable(py.Executable)
	if err != nil {
		return nil, err
	}
	all = append(all, fileEntry(path.Join(bin, i.libName()), program, 0o755), linkEntry(path.Join(bin, "python3"), i.libName()), linkEntry(path.Join(bin, "python"), i.libName()))
	if i.python.lib != "" {
		shared, err := i.sharedPython(m)
		if err != nil {
			return nil, err
		}
		all = append(all, fileEntry(i.python.lib, shared, 0o755))
	}
	if m.o.includes(IncludeHeaders) {
		c := collector{root: filepath.Join(py.Prefix, "include", i.libName()), host: m.hosts(i)[0].Root, to: path.Join(PythonHome, "include", i.libName()), follow: true}
		headers, err := c.collect("install the headers of that Python, or leave --include headers out")
		if err != nil {
			return nil, err
		}
		all = append(all, headers...)
	}
	i.components = append(i.components, packaging.Interpreter(i.in.Python.Version))
	return all, m.pythonLicence(i, lib)
}

// pythonLicence looks in the locations of CPython and of Debian.
func (m *maker) pythonLicence(i *image, lib string) error {
	name := i.libName()
	files := []string{filepath.Join(lib, "LICENSE.txt")}
	for _, h := range m.hosts(i) {
		for _, dir := range []string{name, "lib" + name + "-minimal"} {
			if at, err := filetree.Resolve(h.Root, path.Join("usr/share/doc", dir, "copyright")); err == nil {
				files = append(files, at)
			}
		}
	}
	for _, at := range files {
		if text, err := os.ReadFile(at); err == nil {
			i.texts["cpython/LICENSE"] = text
			return nil
		}
	}
	return fault.New(fault.Environment, "install its documentation, or name a base with --base", "the licence of Python %s is neither in %s nor in the system's documentation", i.in.Python.Version, lib)
}

// sharedPython finds Python's library on the host.
func (i *image) sharedPython(m *maker) (string, error) {
	soname := path.Base(i.python.lib)
	at, hosts := filepath.Join(i.in.Python.Prefix, "lib", soname), m.hosts(i)
	if _, err := os.Stat(at); err != nil {
		for at = ""; len(hosts) > 0 && at == ""; hosts = hosts[1:] {
			at = hosts[0].Find(soname, i.machine, i.class())
		}
		if at == "" {
			return "", fault.New(fault.Environment, "install that Python again", "the library %s, which the module needs, is neither below %s nor in the library directories of its system", soname, i.in.Python.Prefix)
		}
	}
	real, err := filepath.EvalSymlinks(at)
	if err != nil {
		return "", err
	}
	return m.movable(real)
}

// movable returns a program or library that finds its libpython next to itself; one
// without a run path is used as it is.
func (m *maker) movable(name string) (string, error) {
	facts, err := readELF(name)
	if err != nil {
		return "", err
	}
	if len(facts.RunPath) == 0 && !slices.ContainsFunc(facts.Needed, func(n string) bool { return strings.HasPrefix(n, "libpython") }) {
		return name, nil
	}
	dir, err := m.newDir("python-")
	if err != nil {
		return "", err
	}
	to := filepath.Join(dir, filepath.Base(name))
	if err := packaging.CopyFile(name, to, 0o755); err != nil {
		return "", err
	}
	own := "$ORIGIN/../lib"
	if facts.Soname != "" {
		own = "$ORIGIN"
	}
	return to, relocate.Rewrite(to, relocate.Edit{RunPath: &own})
}

// fromStage reports whether the stage itself contains an entry of site-packages.
func fromStage(rel string) bool {
	top, _, _ := strings.Cut(rel, "/")
	return top == "mod_wsgi" || top == "mod_wsgi_packages" || top == "mod_wsgi.libs" ||
		strings.HasPrefix(top, "mod_wsgi-") || strings.HasPrefix(top, "mod_wsgi_httpd-") || strings.HasPrefix(top, "mod_wsgi_standalone-")
}

// packages adds the packages installed in the application's environment.
func (m *maker) packages(i *image) ([]entry, error) {
	env := i.in.Env
	if env == nil {
		return nil, nil
	}
	var all []entry
	var out []*selection
	for _, site := range env.Site {
		if problem := editable(site); problem != "" {
			return nil, fault.New(fault.Environment, "install it without -e (pip install .), so that its files are in the environment", "cannot put %s into an image: %s", site, problem)
		}
		selected, err := m.selects(site)
		if err != nil {
			return nil, err
		}
		out = append(out, selected)
		c := collector{root: site, to: i.site(), skip: func(rel string, d fs.DirEntry) bool {
			return fromStage(rel) || rel == "RECORD" || selected.skip(rel, d)
		}}
		found, err := c.collect("repair the environment (pip check), or create a new one")
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
		i.components = append(i.components, slices.DeleteFunc(distributions(site), func(c packaging.Component) bool {
			return slices.Contains(selected.gone, pydist.NormalName(c.Name))
		})...)
	}
	scripts, err := m.scripts(env, out)
	return append(all, scripts...), err
}

// editable finds packages that are installed in a way that works only on this machine.
func editable(site string) string {
	names, _ := os.ReadDir(site)
	for _, n := range names {
		name := n.Name()
		if fromStage(name) {
			continue
		}
		switch {
		case strings.HasSuffix(name, ".egg-link"), strings.HasPrefix(name, "__editable__"):
			return name + " is an editable installation"
		case strings.HasSuffix(name, ".dist-info"):
			data, err := os.ReadFile(filepath.Join(site, name, "direct_url.json"))
			var direct struct {
				Dir struct {
					Editable bool `json:"editable"`
				} `json:"dir_info"`
			}
			if err == nil && json.Unmarshal(data, &direct) == nil && direct.Dir.Editable {
				return name + " is an editable installation"
			}
		case strings.HasSuffix(name, ".pth"):
			data, _ := os.ReadFile(filepath.Join(site, name))
			for line := range strings.Lines(string(data)) {
				if line = strings.TrimSpace(line); filepath.IsAbs(line) {
					return name + " names the directory " + line
				}
			}
		}
	}
	return ""
}

// distributions lists what pip installed.
func distributions(site string) []packaging.Component {
	var all []packaging.Component
	infos, _ := fs.Glob(os.DirFS(site), "*.dist-info/METADATA")
	for _, info := range infos {
		if fromStage(info) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(site, filepath.FromSlash(info)))
		if err != nil {
			continue
		}
		c := packaging.Component{Kind: "pypi"}
		for line := range strings.Lines(string(data)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			switch {
			case key == "":
			case key == "Name" && c.Name == "":
				c.Name = value
			case key == "Version" && c.Version == "":
				c.Version = value
			case key == "License-Expression":
				c.License = value
			}
			if strings.TrimSpace(line) == "" {
				break
			}
		}
		c.PURL = packaging.PackageURL("pypi/"+strings.ToLower(strings.ReplaceAll(c.Name, "_", "-")), c.Version)
		all = append(all, c)
	}
	return all
}

// scripts adds the environment's programs. Those whose first line names its Python get
// the one in the image. Programs of what stays out are left out, too.
func (m *maker) scripts(env *Environment, out []*selection) ([]entry, error) {
	if env.Bin == "" {
		return nil, nil
	}
	names, err := os.ReadDir(env.Bin)
	if err != nil {
		return nil, fault.New(fault.Environment, "repair the environment", "list its programs: %w", err)
	}
	var all []entry
	for _, n := range names {
		name := n.Name()
		if !n.Type().IsRegular() || slices.Contains(programs, name) || strings.HasPrefix(name, "python") || strings.HasPrefix(strings.ToLower(name), "activate") ||
			slices.ContainsFunc(out, func(s *selection) bool { return s.program(name) }) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(env.Bin, name))
		if err != nil {
			return nil, fault.New(fault.Environment, "repair the environment", "read its program %s: %w", name, reason(err))
		}
		data = bytes.ReplaceAll(data, []byte(filepath.Join(env.Prefix, "bin")+"/python"), []byte(path.Join(Prefix, "bin")+"/python"))
		all = append(all, dataEntry(path.Join(Prefix, "bin", name), data, 0o755))
	}
	return all, nil
}

// checkPackages refuses packages whose binaries the base cannot load.
func (m *maker) checkPackages(i *image, all []entry) error {
	var problems []string
	for _, e := range all {
		if e.source == "" || !elf.Is(e.source) {
			continue
		}
		facts, err := elf.Read(e.source)
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", path.Base(e.name), err))
			continue
		}
		if facts.Machine != i.machine {
			problems = append(problems, fmt.Sprintf("%s is for %s", path.Base(e.name), facts.Machine))
			continue
		}
		if has := i.base.glibc; has != "" && facts.GLIBC != "" && elf.CompareVersions(facts.GLIBC, has) > 0 {
			problems = append(problems, fmt.Sprintf("%s requires glibc %s, but the base has %s", path.Base(e.name), facts.GLIBC, has))
		}
		for _, need := range facts.Needed {
			if beside(all, e, facts, need) || strings.HasPrefix(need, "libpython") {
				continue
			}
			if _, ok := i.base.library(need, i.machine); !ok && !byName(all, need) {
				problems = append(problems, fmt.Sprintf("%s needs %s, which the base lacks", path.Base(e.name), need))
			}
		}
	}
	if len(problems) == 0 {
		return nil
	}
	slices.Sort(problems)
	const most = 6
	text := strings.Join(problems[:min(most, len(problems))], "; ")
	if n := len(problems) - most; n > 0 {
		text += fmt.Sprintf("; and %d more", n)
	}
	return fault.New(fault.Usage, "name a base that has it, or install a wheel that bundles it (such as psycopg2-binary for psycopg2)",
		"packages of the environment would not load on the base %s: %s", i.base.name, text)
}

// beside reports whether a package bundles a library that its file finds through its
// run path.
func beside(all []entry, e entry, facts *elf.Facts, need string) bool {
	for _, dir := range facts.RunPath {
		rest, ok := strings.CutPrefix(strings.ReplaceAll(dir, "${ORIGIN}", "$ORIGIN"), "$ORIGIN")
		if !ok {
			continue
		}
		want := path.Join(path.Dir(e.name), rest, need)
		if slices.ContainsFunc(all, func(o entry) bool { return o.name == want }) {
			return true
		}
	}
	return false
}

// byName reports whether any library of that name exists: a library that is already
// loaded is also found by its name, and some packages rely on that.
func byName(all []entry, need string) bool {
	return slices.ContainsFunc(all, func(o entry) bool { return path.Base(o.name) == need })
}
