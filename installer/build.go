package installer

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/detect"
	"modwsgi/httpdbuild"
	"modwsgi/internal/buildcache"
	"modwsgi/internal/fetch"
	"modwsgi/internal/version"
	"modwsgi/modulebuild"
)

// product is what was built, outside the prefix.
type product struct {
	tree   string        // httpd tree, "" where none was built
	record httpdReceipt  // of it
	httpd  *detect.HTTPD // the httpd that the module is for, where it lies now
	module *modulebuild.Result
	file   *fetch.File // the archive of mod_wsgi
	key    string      // of the module
	cached bool        // the httpd came out of the build cache
}

// build makes what the plan needs.
func (p *Plan) build(ctx context.Context, w *workspace, src *sources) (*product, error) {
	out := &product{httpd: p.HTTPD.Use, file: src.files["mod_wsgi"]}
	if p.HTTPD.Action == BuildHTTPD {
		if err := p.buildHTTPD(ctx, w, src, out); err != nil {
			return nil, err
		}
	} else if p.state.tree != nil && p.HTTPD.Action == KeepHTTPD {
		out.record = *p.state.tree
	}
	if p.Module.Action != "build" {
		return out, nil
	}
	return out, p.buildModule(ctx, w, src, out)
}

func (p *Plan) buildHTTPD(ctx context.Context, w *workspace, src *sources, out *product) error {
	q := p.request
	b := httpdbuild.Request{
		Features: src.features, Host: p.host, Jobs: q.Jobs,
		Work: w.path("httpd"), Stage: filepath.Join(w.dir, "stage", "httpd"), Logs: w.logs, Runner: q.Runner, Events: q.Events,
	}
	for _, name := range slices.Sorted(maps.Keys(src.files)) {
		f := src.files[name]
		if name == "mod_wsgi" {
			continue
		}
		b.Components = append(b.Components, httpdbuild.Component{Name: name, Version: f.Archive.Version, Archive: f.Path, SHA256: f.Archive.SHA256})
		out.record.Components = append(out.record.Components, componentRecord{
			Name: name, Version: f.Archive.Version, SHA256: f.Archive.SHA256, Trust: string(f.Trust),
		})
	}
	key := b.Key()
	cache := buildcache.Cache{Dir: filepath.Join(q.CacheDir, "builds")}
	hit, err := cache.Restore(ctx, key, b.Stage)
	if err != nil {
		q.Events.Note("the build cache is not used: " + err.Error())
	}
	if out.cached = hit; hit {
		q.Events.Note("httpd " + src.files["httpd"].Archive.Version + " was built before: taken from the build cache")
	} else {
		if err := removeTree(b.Stage); err != nil {
			return err
		}
		if _, err := httpdbuild.Build(ctx, b); err != nil {
			return err
		}
		if err := cache.Store(ctx, key, b.Stage); err != nil {
			q.Events.Note("the build is not kept in the cache: " + err.Error())
		}
	}
	out.tree = b.Stage
	out.record.Schema, out.record.Tool, out.record.Key = 1, version.Release, key
	out.record.Version, out.record.Features = src.files["httpd"].Archive.Version, src.features
	out.record.Compiler, out.record.Libc = p.host.Compiler, p.host.Libc
	return p.describeTree(ctx, out)
}

// describeTree puts the record into the new tree and asks detect about it, with
// the same eyes that will look at it when it is placed.
func (p *Plan) describeTree(ctx context.Context, out *product) error {
	modules, err := filepath.Glob(filepath.Join(out.tree, "modules", "mod_*.so"))
	if err != nil {
		return err
	}
	for _, m := range modules {
		out.record.Modules = append(out.record.Modules, strings.TrimSuffix(filepath.Base(m), ".so"))
	}
	data, err := json.MarshalIndent(out.record, "", "  ")
	if err != nil {
		return err
	}
	for name, text := range map[string]string{
		httpdReceiptName: string(data) + "\n",
		"__init__.py":    "\"\"\"A relocatable Apache httpd; mod_wsgi-apxs answers for it.\"\"\"\n",
	} {
		if err := os.WriteFile(filepath.Join(out.tree, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	h, err := detect.DescribeTree(ctx, p.request.Runner, p.Python, out.tree)
	if err != nil {
		return fmt.Errorf("look at the new httpd: %w", err)
	}
	if h.Refused != "" {
		return fmt.Errorf("the new httpd cannot be used: %s", h.Refused)
	}
	out.httpd = h
	return nil
}

func (p *Plan) buildModule(ctx context.Context, w *workspace, src *sources, out *product) error {
	q, py, f := p.request, p.Python, src.files["mod_wsgi"]
	includes := []string{py.Include}
	if py.PlatInclude != "" && py.PlatInclude != py.Include {
		includes = append(includes, py.PlatInclude)
	}
	b := modulebuild.Request{
		Version: f.Archive.Version, Archive: f.Path, SHA256: f.Archive.SHA256,
		Python: modulebuild.Python{
			Version: py.Version, SOABI: py.SOABI, ExtSuffix: py.ExtSuffix, IncludeDirs: includes,
			LibPython: py.LibPython, LibShared: py.LibShared, LinkLibs: strings.Fields(py.LinkLibs),
		},
		HTTPD: modulebuild.HTTPD{
			Version: out.httpd.Version, MMN: out.httpd.MMN, IncludeDirs: out.httpd.IncludeDirs,
			CPPFlags: out.httpd.CPPFlags, CFlags: out.httpd.CFlags,
		},
		RunPath: runPath(py, filepath.Join(p.Site, "mod_wsgi", "server")), Tools: p.tools, Jobs: q.Jobs,
		Work: w.path("mod_wsgi"), Out: filepath.Join(w.dir, "stage", "module"), Logs: w.logs, Runner: q.Runner, Events: q.Events,
	}
	out.key = b.Key()
	res, err := modulebuild.Build(ctx, b)
	if err != nil {
		return err
	}
	out.module = res
	return nil
}

// runPath says where the loader must look for libpython: nowhere where that is a
// place that it knows, a path relative to the module where Python moves together
// with it (conda), else the directory as it is.
func runPath(py *detect.Python, moduleDir string) string {
	dir := filepath.Dir(py.LibPython)
	if real, err := filepath.EvalSymlinks(dir); err == nil && systemLibDir(real) {
		return ""
	}
	if strings.HasPrefix(dir, py.Prefix+string(filepath.Separator)) {
		if rel, err := filepath.Rel(moduleDir, dir); err == nil {
			return "$ORIGIN/" + filepath.ToSlash(rel)
		}
	}
	return dir
}

// systemLibDir says whether the loader looks into a directory by itself: the
// trusted ones of ld.so(8), with Debian's multiarch ones.
func systemLibDir(dir string) bool {
	for _, base := range []string{"/lib", "/usr/lib", "/lib64", "/usr/lib64"} {
		if dir == base {
			return true
		}
		if rest, ok := strings.CutPrefix(dir, base+"/"); ok && !strings.Contains(rest, "/") && strings.Contains(rest, "-linux-gnu") {
			return true
		}
	}
	return false
}
