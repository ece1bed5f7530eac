package installer

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"modwsgi/detect"
	"modwsgi/express/runtime"
	"modwsgi/installer/place"
	"modwsgi/internal/event"
	"modwsgi/internal/pydist"
	"modwsgi/internal/receipt"
	"modwsgi/internal/version"
)

// staged is everything to be placed in the prefix, in its final layout.
type staged struct {
	site    string // stands for site-packages
	bin     string // stands for the directory of programs
	items   []place.Item
	remove  []string
	beside  []string // site-packages directories of former Pythons from which something is removed
	receipt receipt.Receipt
	dists   []pydist.Dist

	python   *detect.Python
	toolsDir string
	events   event.Sink
}

// packagesInit makes mod_wsgi_packages a package; apxsInit keeps the import path by which
// other software finds the program mod_wsgi-apxs.
const (
	packagesInit = "\"\"\"Programs that mod_wsgi needs and that are not Python: see httpd and apxs.\"\"\"\n"
	apxsInit     = `"""The program mod_wsgi-apxs, for those who look for it in this package."""

import os
import sys


def main():
    """Run mod_wsgi-apxs of this environment with our arguments."""
    here = os.path.dirname(os.path.abspath(sys.executable))
    program = os.path.join(here, "mod_wsgi-apxs")
    os.execv(program, [program] + sys.argv[1:])
`
)

// lay lays everything out below a directory outside the environment.
func lay(root string, p *Plan, made *product, toolsDir string, events event.Sink) (*staged, error) {
	s := &staged{site: filepath.Join(root, "site"), bin: filepath.Join(root, "bin"), python: p.Python, toolsDir: toolsDir, events: events}
	for _, dir := range []string{s.site, s.bin} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	if made.tree != "" {
		if err := s.addHTTPD(made); err != nil {
			return nil, fmt.Errorf("stage httpd: %w", err)
		}
	}
	if made.module != nil {
		if err := s.addModule(made); err != nil {
			return nil, fmt.Errorf("stage mod_wsgi: %w", err)
		}
	}
	paths, sites, err := formerPaths(p.Former, s.python, events)
	if err != nil {
		return nil, err
	}
	s.remove, s.beside = append(s.remove, paths...), sites
	for _, dir := range []string{s.site, s.bin} {
		if err := openUp(dir); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *staged) addHTTPD(made *product) error {
	packages := filepath.Join(s.site, "mod_wsgi_packages")
	if err := os.MkdirAll(filepath.Join(packages, "apxs"), 0o755); err != nil {
		return err
	}
	if err := os.Rename(made.tree, filepath.Join(packages, "httpd")); err != nil {
		return err
	}
	made.tree = filepath.Join(packages, "httpd")
	for name, text := range map[string]string{"__init__.py": packagesInit, "apxs/__init__.py": apxsInit} {
		if err := os.WriteFile(filepath.Join(packages, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	program, err := s.addProgram("mod_wsgi-apxs")
	if err != nil {
		return err
	}
	license, err := os.ReadFile(filepath.Join(made.tree, "licenses", "httpd", "LICENSE"))
	if err != nil {
		return err
	}
	return s.addDist(pydist.Dist{
		Name: HTTPDDist, Version: made.record.Version,
		Summary: "Apache httpd, built into a Python environment by modwsgi", HomePage: "https://httpd.apache.org/",
		License: "Apache-2.0", Tag: "py3-none-" + platformTag(s.python), Installer: installerName, TopLevel: []string{"mod_wsgi_packages"},
		Requested: true, Extra: map[string][]byte{"licenses/LICENSE": license},
		Description: "Features: " + strings.Join(made.record.Features, ", ") + ".\nEverything that it was built from is in mod_wsgi_packages/httpd/" + httpdReceiptName + ".\n",
	}, "mod_wsgi_packages", program)
}

// platformTag is the platform part of a wheel's tag for this host
// (https://packaging.python.org/en/latest/specifications/platform-compatibility-tags/).
func platformTag(py *detect.Python) string {
	return strings.NewReplacer("-", "_", ".", "_").Replace(py.Platform)
}

func (s *staged) addModule(made *product) error {
	if err := copyRuntime(s.site); err != nil {
		return err
	}
	server := filepath.Join(s.site, "mod_wsgi", "server")
	if err := os.MkdirAll(server, 0o755); err != nil {
		return err
	}
	for name, file := range map[string]string{made.module.Name: made.module.File, receipt.Handover: made.module.Handover} {
		if err := os.Rename(file, filepath.Join(server, name)); err != nil {
			return err
		}
	}
	s.receipt = moduleReceipt(s.python, made)
	if err := os.WriteFile(filepath.Join(s.site, filepath.FromSlash(receipt.Path)), s.receipt.Encode(), 0o644); err != nil {
		return err
	}
	program, err := s.addProgram("mod_wsgi-express")
	if err != nil {
		return err
	}
	var requires []string
	if made.httpd.Provenance == detect.Bundled {
		requires = []string{HTTPDDist + "==" + made.httpd.Version}
	}
	tag := fmt.Sprintf("cp%d%d-cp%d%d%s-%s", s.python.Major, s.python.Minor, s.python.Major, s.python.Minor, s.python.ABIFlags, platformTag(s.python))
	return s.addDist(pydist.Dist{
		Name: ModuleDist, Version: made.file.Archive.Version,
		Summary: "mod_wsgi, built for one Python and one Apache httpd by modwsgi", HomePage: "https://www.modwsgi.org/",
		License: "Apache-2.0", RequiresPython: fmt.Sprintf("==%d.%d.*", s.python.Major, s.python.Minor), Requires: requires,
		Tag: tag, Installer: installerName, TopLevel: []string{"mod_wsgi"}, Requested: true,
	}, "mod_wsgi", program)
}

// moduleReceipt returns the record that the launcher and the next install read.
func moduleReceipt(py *detect.Python, made *product) receipt.Receipt {
	h := made.httpd
	r := receipt.Receipt{
		Tool: version.Release, Key: made.key,
		Module: receipt.Module{File: made.module.Name, Version: made.file.Archive.Version, SHA256: made.module.SHA256, Hardening: made.hardening},
		Python: py.Recorded(),
		HTTPD:  h.Recorded(),
	}
	if h.Provenance == detect.Bundled {
		tree := "mod_wsgi_packages/httpd/"
		r.HTTPD.Executable, r.HTTPD.ModulesDir, r.HTTPD.Rotatelogs = tree+"bin/httpd", tree+"modules", tree+"bin/rotatelogs"
		r.HTTPD.Features, r.HTTPD.Key = made.record.Features, made.record.Key
	}
	return r
}

// copyRuntime writes the launcher's Python part.
func copyRuntime(site string) error {
	return fs.WalkDir(runtime.Files, "mod_wsgi", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(site, filepath.FromSlash(path))
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		data, err := fs.ReadFile(runtime.Files, path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, data, 0o644)
	})
}

// addProgram copies a program of this release and returns its file name.
func (s *staged) addProgram(name string) (string, error) {
	from, err := tool(s.toolsDir, name)
	if err != nil {
		return "", err
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return "", err
	}
	to := filepath.Join(s.bin, filepath.Base(from))
	return filepath.Base(from), os.WriteFile(to, data, 0o755)
}

// addDist writes the metadata and adds the moves for one distribution, and the removal of
// what it replaces.
func (s *staged) addDist(d pydist.Dist, packageDir, program string) error {
	err := filepath.WalkDir(filepath.Join(s.site, packageDir), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(s.site, path)
		d.Files = append(d.Files, pydist.File{Path: filepath.ToSlash(rel), Source: path})
		return err
	})
	if err != nil {
		return err
	}
	target := filepath.Join(s.python.Scripts, program)
	rel, err := filepath.Rel(s.python.Platlib, target)
	if err != nil {
		return err
	}
	d.Files = append(d.Files, pydist.File{Path: filepath.ToSlash(rel), Source: filepath.Join(s.bin, program)})
	info, err := d.WriteInfo(s.site)
	if err != nil {
		return err
	}
	s.dists = append(s.dists, d)
	s.items = append(s.items,
		place.Item{Source: filepath.Join(s.site, packageDir), Target: filepath.Join(s.python.Platlib, packageDir)},
		place.Item{Source: filepath.Join(s.bin, program), Target: target},
		place.Item{Source: info, Target: filepath.Join(s.python.Platlib, filepath.Base(info))},
	)
	old, err := pydist.Find(s.python.Platlib, d.Name)
	if err != nil {
		return err
	}
	if old != nil {
		s.remove = append(s.remove, removable(old, s.python.Platlib, s.python, s.events)...)
	}
	if s.python.Prefix != s.python.BasePrefix && strayProgram(target) { // otherwise it may belong to another Python
		s.remove = append(s.remove, target)
	}
	return nil
}
