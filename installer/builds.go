package installer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/detect"
	"modwsgi/httpdbuild"
	"modwsgi/internal/buildcache"
	"modwsgi/internal/digest"
	"modwsgi/internal/elf"
	"modwsgi/internal/fetch"
	"modwsgi/internal/filetree"
	"modwsgi/internal/owned"
	"modwsgi/internal/recipe"
	"modwsgi/modulebuild"
)

// complete enters what is recorded of archives into those that nobody has seen.
func (s *sources) complete(parts []buildcache.Part, from string) {
	for _, p := range parts {
		if f := s.files[p.Name]; f != nil && f.Archive.SHA256 == p.SHA256 {
			if f.From = from; p.Signer != "" {
				f.Signer = p.Signer
			}
			if t := recipe.Trust(p.Trust); t.Stronger(f.Trust) {
				f.Trust = t
			}
		}
	}
}

// sortedKeys are the names of a map, sorted.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// httpdAbout describes a tree of httpd for those who find it in a cache; unpacked
// has the hashes of what it was made from.
func httpdAbout(b *httpdbuild.Request, src *sources, unpacked map[string]string) buildcache.About {
	a := buildcache.About{Kind: "httpd", Name: "httpd " + src.files["httpd"].Archive.Version, Details: map[string]string{
		"features": strings.Join(b.Features, " "), "compiler": b.Host.Compiler, "target": b.Host.Target, "libc": b.Host.Libc,
	}, Inputs: b.Inputs(), Parts: unpackedParts(unpacked, src.files)}
	if len(b.Features) > 0 {
		a.Name += " with " + strings.Join(b.Features, ", ")
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

// moduleInputs is the identity of a module without the places of what it is built
// with: two environments of one Python, each with its own copy of one httpd, get
// the same module. Headers count by what they hold, a shared libpython by the
// name that the module will ask for, a static one, which becomes part of the
// module, by its content.
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

// header keeps what may be included, in any depth.
func header(name string) bool {
	return strings.HasSuffix(name, "/") || strings.HasSuffix(name, ".h") || strings.HasSuffix(name, ".inc")
}

// flatHeader keeps what lies in the directory itself, as httpd's and APR's
// headers do; a distribution may have them in /usr/include.
func flatHeader(name string) bool { return !strings.Contains(name, "/") && header(name) }

// archHeaders are the headers of Debian's multiarch Pythons, which lie elsewhere:
// /usr/include/python3.11/pyconfig.h only includes the one of the machine.
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

// libraryIdentity is what of a library gets into a module that is linked to it.
func libraryIdentity(name string, shared bool) (string, error) {
	if !shared {
		return digest.File(name)
	}
	facts, err := elf.Read(name)
	if err != nil {
		return "", fmt.Errorf("read libpython: %w", err)
	}
	if facts.Soname == "" { // then the module asks for the path
		return name, nil
	}
	return facts.Soname, nil
}

// withoutPlaces replaces directories in flags by what they hold.
func withoutPlaces(flags []string, trees map[string]string) []string {
	out := slices.Clone(flags)
	for i := range out {
		for dir, sum := range trees {
			out[i] = strings.ReplaceAll(out[i], dir, sum)
		}
	}
	return out
}

// restoreModule takes the module out of the cache, at the place where Build
// would have left it.
func (b *builds) restoreModule(ctx context.Context, key string, r *modulebuild.Request) (*modulebuild.Result, error) {
	dest := filepath.Join(r.Work, "cached")
	if err := os.MkdirAll(r.Work, 0o755); err != nil {
		return nil, err
	}
	defer func() { _ = owned.RemoveAll(r.Work) }()
	e, err := b.restore(ctx, key, dest)
	if e == nil || err != nil {
		return nil, err
	}
	name := modulebuild.FileName(r.Python.Version, r.Python.ExtSuffix)
	out := filepath.Join(r.Out, name)
	if err := os.MkdirAll(r.Out, 0o755); err != nil {
		return nil, err
	}
	if err := os.Rename(filepath.Join(dest, name), out); errors.Is(err, fs.ErrNotExist) {
		b.q.Events.Note("the build cache has something else under the key of the module: it is built again")
		b.forget(key)
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	sum, err := digest.File(out)
	if err != nil {
		return nil, err
	}
	return &modulebuild.Result{File: out, Name: name, SHA256: sum}, nil
}

// moduleRequest is the build of the module for the httpd that is there now.
func (p *Plan) moduleRequest(w *workspace, h *detect.HTTPD, f *fetch.File) modulebuild.Request {
	q, py := p.request, p.Python
	includes := []string{py.Include}
	if py.PlatInclude != "" && py.PlatInclude != py.Include {
		includes = append(includes, py.PlatInclude)
	}
	return modulebuild.Request{
		Version: f.Archive.Version, Archive: f.Path, SHA256: f.Archive.SHA256,
		Python: modulebuild.Python{
			Version: py.Version, SOABI: py.SOABI, ExtSuffix: py.ExtSuffix, IncludeDirs: includes,
			LibPython: py.LibPython, LibShared: py.LibShared, LinkLibs: strings.Fields(py.LinkLibs),
		},
		HTTPD:   modulebuild.HTTPD{Version: h.Version, MMN: h.MMN, IncludeDirs: h.IncludeDirs, CPPFlags: h.CPPFlags, CFlags: h.CFlags},
		RunPath: p.moduleRunPath(), Tools: p.tools, Jobs: q.Jobs, Timeline: q.Timeline,
		Work: w.path("mod_wsgi"), Out: filepath.Join(w.dir, "stage", "module"), Logs: w.logs, Runner: q.Runner, Events: q.Events,
	}
}
