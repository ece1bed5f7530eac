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
	"modwsgi/internal/pydist"
	"modwsgi/internal/receipt"
	"modwsgi/internal/version"
)

// staged is everything that goes into the prefix, as it will lie there.
type staged struct {
	site    string // stands for site-packages
	bin     string // stands for the directory of programs
	items   []place.Item
	remove  []string
	beside  []string // directories of packages of former Pythons, from which something is removed
	receipt receipt.Receipt
	dists   []pydist.Dist
}

// packagesInit makes mod_wsgi_packages a package; apxsInit keeps the import path
// that other software knows for the program mod_wsgi-apxs.
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

// stage lays everything out in a directory outside of the prefix.
func (p *Plan) stage(w *workspace, made *product) (*staged, error) {
	root := filepath.Join(w.Dir, "stage")
	s := &staged{site: filepath.Join(root, "site"), bin: filepath.Join(root, "bin")}
	for _, dir := range []string{s.site, s.bin} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	if made.tree != "" {
		if err := p.stageHTTPD(s, made); err != nil {
			return nil, fmt.Errorf("stage httpd: %w", err)
		}
	}
	if made.module != nil {
		if err := p.stageModule(s, made); err != nil {
			return nil, fmt.Errorf("stage mod_wsgi: %w", err)
		}
	}
	paths, sites, err := earlierPaths(p.earlier, p.Python, p.request.Events)
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

func (p *Plan) stageHTTPD(s *staged, made *product) error {
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
	program, err := p.stageProgram(s, "mod_wsgi-apxs")
	if err != nil {
		return err
	}
	license, err := os.ReadFile(filepath.Join(made.tree, "licenses", "httpd", "LICENSE"))
	if err != nil {
		return err
	}
	return p.stageDist(s, pydist.Dist{
		Name: HTTPDDist, Version: made.record.Version,
		Summary: "Apache httpd, built into a Python environment by modwsgi", HomePage: "https://httpd.apache.org/",
		License: "Apache-2.0", Tag: "py3-none-" + platformTag(p.Python), Installer: installerName, TopLevel: []string{"mod_wsgi_packages"},
		Requested: true, Extra: map[string][]byte{"licenses/LICENSE": license},
		Description: "Features: " + strings.Join(made.record.Features, ", ") + ".\nEverything that it was built from is in mod_wsgi_packages/httpd/" + httpdReceiptName + ".\n",
	}, "mod_wsgi_packages", program)
}

// platformTag is the platform part of a wheel's tag for this host
// (https://packaging.python.org/en/latest/specifications/platform-compatibility-tags/).
func platformTag(py *detect.Python) string {
	return strings.NewReplacer("-", "_", ".", "_").Replace(py.Platform)
}

func (p *Plan) stageModule(s *staged, made *product) error {
	if err := copyRuntime(s.site); err != nil {
		return err
	}
	server := filepath.Join(s.site, "mod_wsgi", "server")
	if err := os.MkdirAll(server, 0o755); err != nil {
		return err
	}
	if err := os.Rename(made.module.File, filepath.Join(server, made.module.Name)); err != nil {
		return err
	}
	s.receipt = p.moduleReceipt(made)
	if err := os.WriteFile(filepath.Join(s.site, filepath.FromSlash(receipt.Path)), s.receipt.Encode(), 0o644); err != nil {
		return err
	}
	program, err := p.stageProgram(s, "mod_wsgi-express")
	if err != nil {
		return err
	}
	var requires []string
	if made.httpd.Provenance == detect.Bundled {
		requires = []string{HTTPDDist + "==" + made.httpd.Version}
	}
	tag := fmt.Sprintf("cp%d%d-cp%d%d%s-%s", p.Python.Major, p.Python.Minor, p.Python.Major, p.Python.Minor, p.Python.ABIFlags, platformTag(p.Python))
	return p.stageDist(s, pydist.Dist{
		Name: ModuleDist, Version: made.file.Archive.Version,
		Summary: "mod_wsgi, built for one Python and one Apache httpd by modwsgi", HomePage: "https://www.modwsgi.org/",
		License: "Apache-2.0", RequiresPython: fmt.Sprintf("==%d.%d.*", p.Python.Major, p.Python.Minor), Requires: requires,
		Tag: tag, Installer: installerName, TopLevel: []string{"mod_wsgi"}, Requested: true,
	}, "mod_wsgi", program)
}

// moduleReceipt is the record that the launcher and the next install read.
func (p *Plan) moduleReceipt(made *product) receipt.Receipt {
	py, h := p.Python, made.httpd
	r := receipt.Receipt{
		Tool: version.Release, Key: made.key,
		Module: receipt.Module{File: made.module.Name, Version: made.file.Archive.Version, SHA256: made.module.SHA256},
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

func (p *Plan) stageProgram(s *staged, name string) (string, error) {
	from, err := p.request.tool(name)
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

// stageDist writes the metadata and adds the moves for one distribution, and the
// removal of what it replaces.
func (p *Plan) stageDist(s *staged, d pydist.Dist, packageDir, program string) error {
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
	target := filepath.Join(p.Python.Scripts, program)
	rel, err := filepath.Rel(p.Site, target)
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
		place.Item{Source: filepath.Join(s.site, packageDir), Target: filepath.Join(p.Site, packageDir)},
		place.Item{Source: filepath.Join(s.bin, program), Target: target},
		place.Item{Source: info, Target: filepath.Join(p.Site, filepath.Base(info))},
	)
	old, err := pydist.Find(p.Site, d.Name)
	if err != nil {
		return err
	}
	if old != nil {
		s.remove = append(s.remove, removable(old, p.Site, p.Python, p.request.Events)...)
	}
	if p.Python.Prefix != p.Python.BasePrefix && strayProgram(target) { // else it may be another Python's
		s.remove = append(s.remove, target)
	}
	return nil
}
