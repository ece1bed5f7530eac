package linuxpkg

import (
	"slices"
	"strings"

	"modwsgi/internal/elf"
	"modwsgi/packaging"
)

// The debugging information of a package is a second package, as each distribution names
// it, for exactly the same version (deb-control(5), "Auto-Built-Package" and "Build-Ids").
// Debuggers look for its files by the identifiers of the binaries.

// debugSuffix is how the names of such packages end.
var debugSuffix = map[Format]string{Deb: "-dbgsym", RPM: "-debuginfo", APK: "-dbg"}

// writeDebug writes the package with the debugging information of the binaries in the
// package of.
func (w *work) writeDebug(d *packaging.Dist, of *packaging.Artifact) error {
	ids, err := w.buildIDs()
	if err != nil {
		return err
	}
	p := w.debugPackage(ids)
	name, err := create(d, w.options.Format, p)
	if err != nil {
		return err
	}
	return d.Add(&packaging.Artifact{
		Name: name, Kind: of.Kind, Project: p.Name, Version: of.Version, Platform: of.Platform, Components: of.Components,
		Parameters: map[string]string{"name": p.Name, "release": p.Release, "maintainer": p.Maintainer, "of": of.Name, "signed": of.Parameters["signed"]},
	})
}

// buildIDs lists the identifiers of the binaries in the package, sorted.
func (w *work) buildIDs() ([]string, error) {
	tree, err := packaging.Scan(w.path("root"))
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, f := range tree.Files {
		if name := tree.Source(f); f.Link == "" && elf.Is(name) {
			file, err := elf.Open(name)
			if err != nil {
				return nil, err
			}
			ids = append(ids, file.BuildID())
			_ = file.Close()
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// debugPackage describes the package with the information for these identifiers.
func (w *work) debugPackage(ids []string) *pkg {
	of := w.pkg
	p := &pkg{
		Name: of.Name + debugSuffix[w.options.Format], Version: of.Version, Release: of.Release, Arch: of.Arch, Maintainer: of.Maintainer,
		Homepage: of.Homepage, License: of.License, Changelog: of.Changelog, Sign: of.Sign, Time: of.Time, Section: "debug",
		Summary: "debug symbols for " + of.Name, Description: "Debugging information of the programs and libraries in\n" + of.Name + ",\nwhich gdb and other tools find by their build identifiers.",
	}
	switch w.options.Format {
	case Deb:
		p.Depends = []string{of.Name + " (= " + of.Version + "-" + of.Release + ")"}
	case RPM:
		p.Summary = "Debug symbols for " + of.Name // there, a capital letter
		p.Depends = []string{of.Name + " = " + of.Version + "-" + of.Release}
	default:
		p.Depends = []string{of.Name + "=" + of.Version + "-r" + of.Release}
	}
	var own []string
	for _, d := range w.stage.Debug {
		if !slices.Contains(ids, d.ID) || slices.Contains(own, d.ID) {
			continue
		}
		own = append(own, d.ID)
		p.Entries = append(p.Entries, entry{Path: "/" + d.Path, From: d.File, Kind: "file", Mode: 0o644})
	}
	if w.options.Format == Deb {
		slices.Sort(own)
		p.Fields = map[string]string{"Auto-Built-Package": "debug-symbols", "Build-Ids": strings.Join(own, " ")}
		p.Entries = append(p.Entries, entry{Path: "/usr/share/doc/" + p.Name, From: of.Name, Kind: "link", Mode: 0o777}) // Policy 12.3
	}
	slices.SortFunc(p.Entries, func(a, b entry) int { return strings.Compare(a.Path, b.Path) })
	return p
}
