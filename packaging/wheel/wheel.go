// Package wheel makes Python wheels of a stage: one of the httpd, which any Python 3
// accepts, and one of the module for each Python. It computes the platform tag from
// the binaries (packaging/linkage), bundles libraries that some of those systems lack,
// and puts licences and a bill of materials into the wheel (PEP 639, PEP 770). It does
// not know how a stage was built.
package wheel

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"modwsgi/internal/elf"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/pydist"
	"modwsgi/packaging"
	"modwsgi/packaging/licence"
	"modwsgi/packaging/linkage"
	"modwsgi/packaging/sbom"
)

// Options are the user's choices.
type Options struct {
	Bundle bool     // bundle foreign libraries; otherwise they are refused
	Allow  []string // foreign libraries that every target is known to have
	packaging.WheelChoices
	// Limit and Targets are the C library and the platform tags of the system that the
	// wheel is for; empty to compute them from the files.
	Limit   string
	Targets []string
	Host    linkage.Host
}

// The distributions, by their PyPI names.
const (
	moduleDist = "mod_wsgi"
	httpdDist  = "mod_wsgi-httpd"
)

// work is one wheel in progress.
type work struct {
	ctx        context.Context
	stage      *packaging.Stage
	options    Options
	dir        string // scratch: "tree" stands for site-packages, "bin" for programs
	dist       pydist.Dist
	linkage    *linkage.Result
	components []packaging.Component
	texts      map[string][]byte // licences, by their names below licenses/
	warnings   []string
	about      func(*pydist.Dist) // adds what is known of the project
}

// HTTPD writes the wheel of the stage's httpd, and returns it with warnings for the
// user.
func HTTPD(ctx context.Context, d *packaging.Dist, s *packaging.Stage, o Options) (*packaging.Artifact, []string, error) {
	h := s.HTTPD
	if h == nil {
		return nil, nil, fault.New(fault.Usage, "package an environment whose httpd modwsgi built", "no bundled httpd to make a wheel of")
	}
	w, err := begin(ctx, d, s, o, h.Package, "mod_wsgi-apxs")
	if err != nil {
		return nil, nil, err
	}
	w.components = append(w.components, h.Components...)
	w.dist = pydist.Dist{
		Name: httpdDist, Version: h.Version,
		Summary:        "Apache httpd as a Python package: relocatable, built by modwsgi",
		RequiresPython: ">=3.8", TopLevel: []string{h.Package},
		Description: "Apache httpd " + h.Version + " with " + strings.Join(h.Features, ", ") + ", which runs from any directory.\n" +
			"mod_wsgi-apxs answers other modules' apxs queries.\n" + packaging.Packaged + "The bill of materials is in sboms/, all licences are in licenses/.\n",
	}
	w.linkage, err = w.link(linkage.Options{LibDir: path.Join(h.Dir, "lib"), Libc: h.Libc})
	if err != nil {
		return nil, nil, err
	}
	if err := w.treeLicences(path.Join(h.Dir, "licenses")); err != nil {
		return nil, nil, err
	}
	w.about = packaging.DescribeHTTPD
	a, err := w.write(d, "py3-none", "pkg:pypi/mod-wsgi-httpd@")
	return a, w.warnings, err
}

// Module writes the wheel of the stage's module, and returns it with warnings for the
// user.
func Module(ctx context.Context, d *packaging.Dist, s *packaging.Stage, o Options) (*packaging.Artifact, []string, error) {
	m := s.Module
	if m == nil {
		return nil, nil, fault.New(fault.Usage, "package an environment that has mod_wsgi", "no module to make a wheel of")
	}
	if !m.Bundled {
		return nil, nil, fault.New(fault.Usage, "build it for a bundled httpd, or package it as deb or rpm",
			"the module is for this system's httpd %s, which the target of a wheel may lack", m.HTTPD)
	}
	w, err := begin(ctx, d, s, o, m.Package, "mod_wsgi-express")
	if err != nil {
		return nil, nil, err
	}
	w.components = append(w.components, m.Components...)
	py := m.Python
	w.dist = pydist.Dist{
		Name: moduleDist, Version: m.Version,
		Summary:        "mod_wsgi for Python " + py.MinorVersion() + ", ready to serve: built by modwsgi",
		RequiresPython: "==" + py.MinorVersion() + ".*", Requires: []string{httpdDist + "==" + m.HTTPD}, TopLevel: []string{m.Package},
		Description: "mod_wsgi " + m.Version + " for Python " + py.MinorVersion() + " and httpd " + m.HTTPD + ", with mod_wsgi-express.\n" +
			packaging.Packaged + "The bill of materials is in sboms/, all licences are in licenses/.\n",
	}
	soname, err := w.soname()
	if err != nil {
		return nil, nil, err
	}
	if soname == "" && !py.Shared { // the interpreter is linked into the module
		w.components = append(w.components, packaging.SourceComponent("cpython", py.Version, licence.OfSource("cpython"), ""))
		w.texts["cpython/LICENSE"] = licence.CPython()
	}
	libc := ""
	if s.HTTPD != nil {
		libc = s.HTTPD.Libc
	}
	w.linkage, err = w.link(linkage.Options{LibDir: m.Package + ".libs", Python: soname, Unlinked: true, Libc: libc})
	if err != nil {
		return nil, nil, err
	}
	if err := w.receipt(soname); err != nil {
		return nil, nil, err
	}
	w.texts["mod_wsgi/LICENSE"] = licence.Text()
	w.about = func(d *pydist.Dist) { packaging.DescribeModule(d, packaging.OnLinux, py.MinorVersion()) }
	a, err := w.write(d, py.Tag+"-"+py.ABI, "pkg:pypi/mod-wsgi@")
	return a, w.warnings, err
}

// begin copies a package and a program out of the stage.
func begin(ctx context.Context, d *packaging.Dist, s *packaging.Stage, o Options, pkg, program string) (*work, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	dir, err := d.Scratch()
	if err != nil {
		return nil, err
	}
	w := &work{ctx: ctx, stage: s, options: o, dir: dir, texts: map[string][]byte{"modwsgi/LICENSE": licence.Text()}}
	tree, err := packaging.Scan(filepath.Join(s.Site, pkg))
	if err != nil {
		return nil, err
	}
	for _, f := range tree.Files {
		if f.Link != "" {
			return nil, fault.New(fault.Environment, "replace it with a file", "%s is a symbolic link, which a wheel cannot contain", tree.Source(f))
		}
	}
	if err := os.Mkdir(w.path("tree"), 0o755); err != nil {
		return nil, err
	}
	if err := packaging.CopyTree(tree, w.path("tree", pkg)); err != nil {
		return nil, err
	}
	return w, w.program(program)
}

func (w *work) path(names ...string) string {
	return filepath.Join(append([]string{w.dir}, names...)...)
}

// program adds one of our programs.
func (w *work) program(name string) error {
	from := filepath.Join(w.stage.Bin, name)
	if _, err := os.Stat(from); err != nil {
		if _, eerr := os.Stat(from + ".exe"); eerr != nil {
			return fault.New(fault.Environment, "package a complete build", "the program is missing: %w", err)
		}
		name, from = name+".exe", from+".exe"
	}
	if err := os.Mkdir(w.path("bin"), 0o755); err != nil {
		return err
	}
	if err := packaging.CopyFile(from, w.path("bin", name), 0o755); err != nil {
		return err
	}
	parts, err := packaging.ProgramComponents(from)
	if err != nil {
		return err
	}
	if err := licence.OfPrograms(name, parts, w.texts); err != nil {
		return err
	}
	w.components = append(w.components, parts...)
	return nil
}

// link inspects the copied tree and bundles foreign libraries.
func (w *work) link(o linkage.Options) (*linkage.Result, error) {
	tree, err := packaging.Scan(w.path("tree"))
	if err != nil {
		return nil, err
	}
	o.Bundle, o.Allow, o.Host = w.options.Bundle, w.options.Allow, w.options.Host.Asking(w.ctx)
	o.Limit, o.Targets = w.options.Limit, w.options.Targets
	r, err := linkage.Apply(tree, o)
	if err != nil {
		return nil, inUserPaths(err, w.path("tree"), w.stage.Site)
	}
	programs, err := os.ReadDir(w.path("bin"))
	if err != nil {
		return nil, err
	}
	for _, p := range programs {
		if name := w.path("bin", p.Name()); elf.Is(name) {
			facts, err := elf.Read(name)
			if err != nil {
				return nil, err
			}
			if facts.Machine != r.Machine {
				return nil, fault.New(fault.Environment, "use the programs of modwsgi for "+r.Machine, "the program %s is for %s, but the rest is for %s", p.Name(), facts.Machine, r.Machine)
			}
		}
	}
	for _, c := range r.Bundled {
		w.components = append(w.components, c)
		if len(c.Texts) == 0 {
			w.warnings = append(w.warnings, "this machine's package manager does not know the licence of "+c.File+": its text is not in the wheel")
		}
		for _, name := range c.Texts {
			text, err := os.ReadFile(name)
			if err != nil {
				return nil, err
			}
			w.texts[c.Name+"/"+filepath.Base(name)] = text
		}
	}
	return r, nil
}

// inUserPaths replaces the path of the copy in a message by the path that the user knows. A
// message about writing the copy keeps it.
func inUserPaths(err error, copied, original string) error {
	var at *fs.PathError
	if errors.As(err, &at) && at.Op == "write" {
		return err
	}
	return packaging.WithPaths(err, copied, original)
}

// treeLicences adds the licences in a tree.
func (w *work) treeLicences(dir string) error {
	if err := licence.OfTree(w.path("tree", filepath.FromSlash(dir)), w.texts); err != nil {
		return fault.New(fault.Environment, "build it again", "the tree lacks the licences of its components: %w", err)
	}
	return nil
}

// write makes the wheel from what is prepared.
func (w *work) write(d *packaging.Dist, abi, purl string) (*packaging.Artifact, error) {
	began := time.Now()
	dist := &w.dist
	dist.Tag = abi + "-" + strings.Join(w.linkage.Tags, ".")
	normal, inURL, err := w.options.Name(dist)
	if err != nil {
		return nil, err
	}
	w.options.License(dist, w.expression(), w.texts)
	w.about(dist)
	bom, err := sbom.JSON(sbom.Subject{
		Name: dist.Name, Version: normal, PURL: purl + inURL, License: w.expression(), Time: w.stage.Time, Tool: w.stage.Tool,
	}, w.components)
	if err != nil {
		return nil, err
	}
	dist.Extra["sboms/modwsgi.cdx.json"] = bom
	if err := w.files(); err != nil {
		return nil, err
	}
	name, err := dist.WheelName()
	if err != nil {
		return nil, err
	}
	out, err := d.Create(name)
	if err != nil {
		return nil, err
	}
	err = dist.WriteWheel(out, w.stage.Time)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, err
	}
	return w.add(d, name, normal, began)
}

// add registers the wheel, and its metadata as a separate file (PEP 658).
func (w *work) add(d *packaging.Dist, name, version string, began time.Time) (*packaging.Artifact, error) {
	a := &packaging.Artifact{
		Name: name, Kind: "wheel", Project: w.dist.Name, Version: version, Platform: w.dist.Tag, Requires: w.dist.RequiresPython,
		Sidecars: []string{name + ".metadata"}, Components: w.components, Took: time.Since(began),
		Parameters: map[string]string{"bundle": fmt.Sprint(w.options.Bundle), "allow_foreign": strings.Join(w.options.Allow, ",")},
	}
	for _, c := range w.linkage.Bundled {
		a.Libraries = append(a.Libraries, c.File)
	}
	if err := d.Add(a); err != nil {
		return nil, err
	}
	metadata, err := w.dist.WheelMetadata()
	if err != nil {
		return nil, err
	}
	if err := owned.RemoveAll(w.dir); err != nil {
		return nil, err
	}
	return a, d.Meta(name+".metadata", metadata)
}

// expression joins the licences of all components.
func (w *work) expression() string {
	all := []string{licence.Ours}
	for _, c := range w.components {
		if c.License != "" && !slices.Contains(all, c.License) {
			all = append(all, c.License)
		}
	}
	slices.Sort(all)
	return strings.Join(all, " AND ")
}

// files lists all files of the wheel.
func (w *work) files() error {
	tree, err := packaging.Scan(w.path("tree"))
	if err != nil {
		return err
	}
	for _, f := range tree.Files {
		w.dist.Files = append(w.dist.Files, pydist.File{Path: f.Path, Source: tree.Source(f)})
	}
	data, err := w.dist.DataDir()
	if err != nil {
		return err
	}
	programs, err := os.ReadDir(w.path("bin"))
	if err != nil {
		return err
	}
	for _, p := range programs {
		w.dist.Files = append(w.dist.Files, pydist.File{Path: data + "/scripts/" + p.Name(), Source: w.path("bin", p.Name())})
	}
	return nil
}
