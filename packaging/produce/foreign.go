package produce

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/httpdbuild"
	"modwsgi/installer"
	"modwsgi/internal/digest"
	"modwsgi/internal/elf"
	"modwsgi/internal/scratch"
	"modwsgi/internal/target"
	"modwsgi/packaging"
	"modwsgi/packaging/linkage"
)

// Module is a module that was built alone, for another Linux system.
type Module struct {
	File     string   `json:"file"` // path
	Target   string   `json:"target"`
	Version  string   `json:"version"`
	Python   string   `json:"python"`
	HTTPD    string   `json:"httpd"` // whose headers it was compiled with
	MMN      int      `json:"mmn"`
	Compiler string   `json:"compiler"`
	Sysroot  string   `json:"sysroot"`
	Digest   string   `json:"sysroot_sha256"`
	Needs    []string `json:"needs"`    // libraries, as the loader looks for them
	Requires []string `json:"requires"` // highest symbol versions: "GLIBC_2.14"
	SHA256   string   `json:"sha256"`
	Size     int64    `json:"size"`
	Proof    string   `json:"proof,omitempty"`    // how it was tried
	Unproven string   `json:"unproven,omitempty"` // why it was not
}

// LinuxModules builds the module alone for Linux systems, one per system and Python, into
// the directory out; with several systems, into one below it per system. Everything that
// the builds need is checked before the first one.
func LinuxModules(ctx context.Context, s Settings, b CrossBuild, out string) ([]*Module, error) {
	targets, err := parseTargets(b.Targets)
	if err != nil {
		return nil, err
	}
	var crosses []*installer.Cross
	for k, t := range targets {
		if t == (target.Target{}) { // this machine, but with a sysroot
			if targets[k], err = target.Host(); err != nil {
				return nil, err
			}
		}
		if err := checkCrossPythons(b.Pythons, b.Targets[k]); err != nil {
			return nil, err
		}
		if err := s.crossable(ctx, targets[k]); err != nil {
			return nil, err
		}
	}
	for _, t := range targets {
		c, err := s.cross(ctx, t, b.Pythons, false)
		if err != nil {
			return nil, err
		}
		defer c.Close()
		crosses = append(crosses, c)
	}
	var all []*Module
	for _, c := range crosses {
		dir := out
		if len(crosses) > 1 {
			dir = filepath.Join(out, strings.ReplaceAll(c.Target().String(), "/", "-"))
		}
		for _, python := range b.Pythons {
			m, err := s.linuxModule(ctx, c, python, dir)
			if err != nil {
				return nil, err
			}
			all = append(all, m)
		}
	}
	return all, nil
}

func (s *Settings) linuxModule(ctx context.Context, c *installer.Cross, python, dir string) (*Module, error) {
	q := s.Build
	q.Python, q.Cross = python, c
	// httpd is only for the headers and the proof: its features would take minutes.
	for _, f := range httpdbuild.Features() {
		if f.Default && !slices.Contains(q.With, f.Name) {
			q.Without = append(slices.Clip(q.Without), f.Name)
		}
	}
	staged, err := installer.Stage(ctx, q.Means, q.StagePlan)
	if err != nil {
		return nil, err
	}
	defer staged.Close()
	r := staged.Receipt
	m := &Module{
		Target: c.Target().String(), Version: r.Module.Version, Python: staged.Python.Version, HTTPD: r.HTTPD.Version, MMN: r.HTTPD.MMN,
		Sysroot: c.Sysroot.Source, Digest: c.Sysroot.Digest, Unproven: staged.Unproven, File: filepath.Join(dir, r.Module.File),
	}
	t := treeOf(staged, s.Now())
	t.aim(c, staged)
	m.Compiler, m.Proof = t.about["compiler"], t.proof
	from := filepath.Join(staged.Site, "mod_wsgi", "server", r.Module.File)
	if err := m.inspect(s, from, c.Target()); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := packaging.CopyFile(from, m.File, 0o755); err != nil {
		return nil, err
	}
	info, err := os.Stat(m.File)
	if err != nil {
		return nil, err
	}
	m.Size = info.Size()
	m.SHA256, err = digest.File(m.File)
	return m, err
}

// inspect checks that the target has what the module requires, and records it.
func (m *Module) inspect(s *Settings, file string, t target.Target) error {
	facts, err := elf.Read(file)
	if err != nil {
		return err
	}
	m.Needs = facts.Needed
	made, err := scratch.Temp(s.Build.Env, scratch.Probe, false)
	if err != nil {
		return err
	}
	defer func() { _ = made.Discard() }()
	if err := packaging.CopyFile(file, filepath.Join(made.Path(), filepath.Base(file)), 0o755); err != nil {
		return err
	}
	tree, err := packaging.Scan(made.Path())
	if err != nil {
		return err
	}
	found, err := linkage.Apply(tree, linkage.Options{Allow: facts.Needed, Python: facts.Needs("libpython"), Machine: t.Machine(), Libc: limit(t), Limit: limit(t)})
	if err != nil {
		return packaging.WithPaths(err, made.Path(), filepath.Dir(m.File))
	}
	m.Requires = found.Versions.List()
	return nil
}

// Summary describes the module for people.
func (m *Module) Summary() string {
	proof := m.Proof
	if m.Unproven != "" {
		proof = "unproven: " + m.Unproven
	}
	requires := ""
	if len(m.Requires) > 0 {
		requires = ", which must have " + strings.Join(m.Requires, ", ")
	}
	return fmt.Sprintf("%d bytes, mod_wsgi %s for Python %s on %s (headers of httpd %s, magic %d)\n  by %s, with %s\n  needs %s%s\n  %s\n  sha256 %s",
		m.Size, m.Version, m.Python, m.Target, m.HTTPD, m.MMN, m.Compiler, m.Sysroot, strings.Join(m.Needs, ", "), requires, proof, m.SHA256)
}
