package installer

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/httpdbuild"
	"modwsgi/internal/buildcache"
	"modwsgi/internal/buildstore"
	"modwsgi/internal/digest"
	"modwsgi/internal/elf"
	"modwsgi/internal/fetch"
	"modwsgi/internal/filetree"
	"modwsgi/modulebuild"
)

// httpdAbout describes an httpd tree for readers of the cache. unpacked has the hashes of
// the sources it was built from.
func httpdAbout(b *httpdbuild.Request, src *sources, unpacked map[string]string) buildcache.About {
	a := buildcache.About{Kind: "httpd", Name: "httpd " + src.files["httpd"].Archive.Version, Details: map[string]string{
		"features": strings.Join(b.Features, " "), "compiler": b.Host.Compiler, "target": b.Host.Target, "libc": b.Host.Libc,
	}, Inputs: b.Inputs(), Parts: unpackedParts(unpacked, src.files)}
	if len(b.Features) > 0 {
		a.Name += " with " + strings.Join(b.Features, ", ")
	}
	return a
}

// noteFarm adds to a description that objects came from a compile farm. Such an entry
// stays on this machine (buildstore).
func (j *job) noteFarm(a buildcache.About) buildcache.About {
	if s := j.session(); s.Used() {
		a.Details[buildstore.FarmDetail] = s.Kind()
	}
	return a
}

func part(f *fetch.File) buildcache.Part {
	return buildcache.Part{Name: f.Archive.Component, Version: f.Archive.Version, SHA256: f.Archive.SHA256, Trust: string(f.Trust), Signer: f.Signer}
}

// moduleAbout describes a module.
func moduleAbout(b *modulebuild.Request, inputs string, f *fetch.File, unpacked string) buildcache.About {
	return buildcache.About{
		Kind: "module", Name: fmt.Sprintf("mod_wsgi %s for Python %s and httpd %s", b.Version, b.Python.Version, b.HTTPD.Version),
		Details: map[string]string{
			"python": b.Python.SOABI, "libpython": b.Python.LibPython, "runpath": b.RunPath,
			"compiler": b.Tools.Compiler, "target": b.Tools.Target, "libc": b.Tools.Libc,
		},
		Inputs: inputs, Parts: unpackedParts(map[string]string{"mod_wsgi": unpacked}, map[string]*fetch.File{"mod_wsgi": f}),
	}
}

// moduleInputs returns the identity of a module without the paths of its build inputs:
// two environments of one Python, each with its own copy of one httpd, get the same
// module. Headers count by content. A shared libpython counts by the name that the module
// will load. A static one becomes part of the module and counts by content.
func moduleInputs(b modulebuild.Request) (string, error) {
	trees := map[string]string{}
	named := func(dirs []string, keep func(string) bool) ([]string, error) {
		var out []string
		for _, dir := range dirs {
			sum, err := digest.Tree(dir, keep)
			if err != nil {
				return nil, fmt.Errorf("read headers: %w", err)
			}
			trees[dir] = sum
			out = append(out, sum)
		}
		return out, nil
	}
	var err error
	if b.HTTPD.IncludeDirs, err = named(b.HTTPD.IncludeDirs, flatHeader); err != nil {
		return "", err
	}
	python := b.Python.IncludeDirs
	if b.Python.IncludeDirs, err = named(python, header); err != nil {
		return "", err
	}
	b.Python.IncludeDirs = append(b.Python.IncludeDirs, archHeaders(python)...)
	if b.Python.LibPython, err = libraryIdentity(b.Python.LibPython, b.Python.LibShared); err != nil {
		return "", err
	}
	b.HTTPD.CPPFlags, b.HTTPD.CFlags = withoutPlaces(b.HTTPD.CPPFlags, trees), withoutPlaces(b.HTTPD.CFlags, trees)
	return b.Inputs(), nil
}

// header keeps files that may be included, at any depth.
func header(name string) bool {
	return strings.HasSuffix(name, "/") || strings.HasSuffix(name, ".h") || strings.HasSuffix(name, ".inc")
}

// flatHeader keeps headers directly in the directory, as those of httpd and APR are; a
// distribution may have them in /usr/include.
func flatHeader(name string) bool { return !strings.Contains(name, "/") && header(name) }

// archHeaders returns the headers of Debian's multiarch Pythons, which are elsewhere:
// /usr/include/python3.11/pyconfig.h only includes the one for the architecture.
func archHeaders(dirs []string) []string {
	var out []string
	for _, dir := range dirs {
		for _, machine := range filetree.Glob(filepath.Dir(dir), "*-linux-*") {
			if sum, err := digest.File(filepath.Join(machine, filepath.Base(dir), "pyconfig.h")); err == nil {
				out = append(out, sum)
			}
		}
	}
	slices.Sort(out)
	return out
}

// libraryIdentity returns the part of a library that affects a module linked to it.
func libraryIdentity(name string, shared bool) (string, error) {
	if !shared {
		return digest.File(name)
	}
	facts, err := elf.Read(name)
	if err != nil {
		return "", fmt.Errorf("read libpython: %w", err)
	}
	if facts.Soname == "" { // then the module loads it by path
		return name, nil
	}
	return facts.Soname, nil
}

// withoutPlaces replaces directories in flags by the hashes of their contents.
func withoutPlaces(flags []string, trees map[string]string) []string {
	out := slices.Clone(flags)
	for i := range out {
		for dir, sum := range trees {
			out[i] = strings.ReplaceAll(out[i], dir, sum)
		}
	}
	return out
}

// unpackedParts returns the parts of an entry, with the hashes of the unpacked sources.
func unpackedParts(unpacked map[string]string, files map[string]*fetch.File) []buildcache.Part {
	var out []buildcache.Part
	for _, name := range slices.Sorted(maps.Keys(unpacked)) {
		if f := files[name]; f != nil {
			p := part(f)
			p.SHA256 = unpacked[name]
			out = append(out, p)
		}
	}
	return out
}
