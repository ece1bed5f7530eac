package toolwheel

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"modwsgi/internal/elf"
	"modwsgi/internal/fault"
	"modwsgi/internal/pydist"
	"modwsgi/internal/receipt"
	"modwsgi/internal/scratch"
	"modwsgi/packaging"
	"modwsgi/packaging/licence"
	"modwsgi/packaging/sbom"
)

// Local writes the wheel that a build backend returns to pip, and returns its path. It
// contains mod_wsgi for one Python, with the httpd if the stage has one, for this
// machine alone. It bundles no libraries and claims no portable platform
// (packaging/wheel does). pip keeps it in its cache and installs it into every
// environment of that kind of Python. Python lists those that mod_wsgi supports, as in
// Sdist; label is a local version label, "" for none.
func Local(dir string, s *packaging.Stage, python, label string) (string, error) {
	m := s.Module
	version := m.Version
	if label != "" {
		version += "+" + label
	}
	d := moduleDist(version, python)
	py := m.Python
	d.Tag = py.Tag + "-" + py.ABI + "-" + strings.NewReplacer("-", "_", ".", "_").Replace(py.Platform)
	work, err := scratch.Make("", scratch.Wheel)
	if err != nil {
		return "", fault.New(fault.Environment, fault.HintOf(err), "make a wheel: %w", err)
	}
	defer func() { _ = work.Discard() }()
	if err := localFiles(&d, s, work.Path()); err != nil {
		return "", fmt.Errorf("make a wheel of mod_wsgi: %w", err)
	}
	components := m.Components
	if s.HTTPD != nil {
		components = append(components, s.HTTPD.Components...)
	}
	d.Extra = map[string][]byte{"licenses/LICENSE": licence.Text()}
	if !py.Shared { // the interpreter is linked into the module
		components = append(components, packaging.SourceComponent("cpython", py.Version, licence.OfSource("cpython"), ""))
		d.Extra["licenses/cpython/LICENSE"] = licence.CPython()
	}
	bom, err := sbom.JSON(sbom.Subject{
		Name: d.Name, Version: version, PURL: "pkg:pypi/mod-wsgi@" + strings.ReplaceAll(version, "+", "%2B"), License: d.License, Time: s.Time, Tool: s.Tool,
	}, components)
	if err != nil {
		return "", err
	}
	d.Extra["sboms/modwsgi.cdx.json"] = bom
	return writeWheel(dir, d, s.Time)
}

// localFiles lists the files of the stage, with the module's record changed.
func localFiles(d *pydist.Dist, s *packaging.Stage, work string) error {
	data, err := d.DataDir()
	if err != nil {
		return err
	}
	site, err := packaging.Scan(s.Site)
	if err != nil {
		return err
	}
	for _, f := range site.Files {
		top, _, _ := strings.Cut(f.Path, "/")
		switch {
		case strings.HasSuffix(top, ".dist-info"):
			continue
		case f.Link != "":
			return fault.New(fault.Environment, "", "%s is a symbolic link, which a wheel cannot contain", f.Path)
		case f.Path == s.Module.Receipt:
			source, err := localReceipt(s, work)
			if err != nil {
				return err
			}
			d.Files = append(d.Files, pydist.File{Path: f.Path, Source: source})
		default:
			d.Files = append(d.Files, pydist.File{Path: f.Path, Source: site.Source(f)})
		}
	}
	bin, err := packaging.Scan(s.Bin)
	if err != nil {
		return err
	}
	for _, f := range bin.Files {
		if s.HTTPD == nil && strings.HasPrefix(f.Path, "mod_wsgi-apxs") {
			continue // without a private httpd it has nothing to answer
		}
		d.Files = append(d.Files, pydist.File{Path: data + "/scripts/" + f.Path, Source: bin.Source(f)})
	}
	return nil
}

// localReceipt writes a record without the paths of the Python that pip ran with.
// pip's cache also serves the wheel to other environments, whose Python the launcher
// looks for.
func localReceipt(s *packaging.Stage, work string) (string, error) {
	text, err := os.ReadFile(filepath.Join(s.Site, filepath.FromSlash(s.Module.Receipt)))
	if err != nil {
		return "", err
	}
	var r receipt.Receipt
	if err := json.Unmarshal(text, &r); err != nil {
		return "", fmt.Errorf("read the module's record: %w", err)
	}
	r.Key = ""
	r.Python.Prefix, r.Python.BasePrefix, r.Python.LibPython = "", "", ""
	if module := filepath.Join(s.Site, filepath.FromSlash(s.Module.File)); elf.Is(module) {
		facts, err := elf.Read(module)
		if err != nil {
			return "", err
		}
		if name := facts.Needs("libpython"); name != "" {
			r.Python.Soname = name
		}
	}
	name := filepath.Join(work, "build.json")
	return name, os.WriteFile(name, r.Encode(), 0o644)
}
