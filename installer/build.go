package installer

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"modwsgi/detect"
	"modwsgi/httpdbuild"
	"modwsgi/internal/fetch"
	"modwsgi/internal/filetree"
	"modwsgi/internal/owned"
	"modwsgi/internal/run"
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
	inputs string      // of which key is the hash
	cached bool        // the httpd came out of the build cache

	moduleCached bool
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
	b := p.httpdRequest(w, src)
	key := b.Key()
	w.wantHTTPD(&b, src)
	if err := p.restoreOrBuild(ctx, w, &b, key, src, out); err != nil {
		return err
	}
	for _, c := range b.Components {
		f := src.files[c.Name]
		out.record.Components = append(out.record.Components, componentRecord{
			Name: c.Name, Version: f.Archive.Version, SHA256: f.Archive.SHA256, Trust: string(f.Trust),
		})
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
	for _, m := range filetree.Glob(out.tree, "modules/mod_*.so") {
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

// restoreOrBuild puts the tree of httpd where the request wants it.
func (p *Plan) restoreOrBuild(ctx context.Context, w *workspace, b *httpdbuild.Request, key string, src *sources, out *product) error {
	cache := w.builds
	if err := p.restoreHTTPD(ctx, w, b, key, src, out); err != nil || out.cached {
		return err
	}
	if src.unseen {
		return errNeedsSources
	}
	release, made, err := cache.alone(ctx, key, "httpd")
	if err != nil {
		return err
	}
	defer release()
	if made {
		if err := p.restoreHTTPD(ctx, w, b, key, src, out); err != nil || out.cached {
			return err
		}
	}
	if err := p.lookAgain(ctx); err != nil {
		return err
	}
	if err := p.checkRoom(w, true); err != nil {
		return err
	}
	p.sayUnused()
	built, err := httpdbuild.Build(ctx, *b)
	if err != nil {
		return err
	}
	cache.store(ctx, key, b.Stage, httpdAbout(b, src, built.Unpacked))
	return nil
}

// restoreHTTPD takes the tree of httpd out of the cache.
func (p *Plan) restoreHTTPD(ctx context.Context, w *workspace, b *httpdbuild.Request, key string, src *sources, out *product) error {
	e, err := w.builds.restore(ctx, key, b.Stage)
	if err != nil {
		return err
	}
	if out.cached = e != nil; out.cached {
		p.request.Events.Note("httpd " + src.files["httpd"].Archive.Version + " was built before: taken from " + w.builds.from(key))
		return nil
	}
	return owned.RemoveAll(b.Stage)
}

// sayUnused tells, once, of flags in the caller's environment that others would
// compile with: here a build must not depend on what happens to be set.
func (p *Plan) sayUnused() {
	p.unused.Do(func() {
		var names []string
		for _, name := range []string{"CFLAGS", "CPPFLAGS", "LDFLAGS", "LIBS"} {
			if run.Getenv(p.request.Env, name) != "" {
				names = append(names, name)
			}
		}
		if len(names) > 0 {
			p.request.Events.Note("not used for what is compiled: " + strings.Join(names, ", ") + `; flags of your own go into CC, as in CC="gcc -march=native"`)
		}
	})
}

// buildModule makes the module, or takes it out of the cache: first the version
// that is wanted most, then the one that is to be had.
func (p *Plan) buildModule(ctx context.Context, w *workspace, src *sources, out *product) error {
	for {
		b := p.moduleRequest(w, out.httpd, src.files["mod_wsgi"])
		if err := p.restoreModule(ctx, w, &b, src.files["mod_wsgi"], out); err != nil || out.module != nil {
			if out.file = src.files["mod_wsgi"]; err == nil && out.file.Path == "" {
				w.builds.describe(out.key, src)
				p.tell(src, "mod_wsgi", p.Module.Versions)
			}
			return err
		}
		changed, err := p.seeModule(ctx, src)
		if err != nil {
			return err
		}
		if changed {
			continue
		}
		b.Archive = src.files["mod_wsgi"].Path
		return p.compileModule(ctx, w, &b, src.files["mod_wsgi"], out)
	}
}

// compileModule makes the module, where no other run makes it meanwhile. With
// --reinstall it is made in any case.
func (p *Plan) compileModule(ctx context.Context, w *workspace, b *modulebuild.Request, f *fetch.File, out *product) error {
	if !p.request.Reinstall {
		release, made, err := w.builds.alone(ctx, out.key, "module")
		if err != nil {
			return err
		}
		defer release()
		if made {
			if err := p.restoreModule(ctx, w, b, f, out); err != nil || out.module != nil {
				out.file = f
				return err
			}
		}
	}
	if err := p.lookAgain(ctx); err != nil {
		return err
	}
	out.file = f
	p.sayUnused()
	var err error
	if out.module, err = modulebuild.Build(ctx, *b); err != nil {
		return err
	}
	w.builds.store(ctx, out.key, b.Out, moduleAbout(b, out.inputs, f, out.module.Unpacked))
	return nil
}

// restoreModule takes the module out of the cache, but for --reinstall, which
// means that the one that there is may be bad.
func (p *Plan) restoreModule(ctx context.Context, w *workspace, b *modulebuild.Request, f *fetch.File, out *product) (err error) {
	if out.inputs, err = moduleInputs(*b); err != nil {
		return err
	}
	out.key = hashOf(out.inputs)
	w.builds.want(out.key, out.inputs, f)
	if p.request.Reinstall {
		w.builds.forget(out.key)
		return nil
	}
	if out.module, err = w.builds.restoreModule(ctx, out.key, b); err != nil {
		return err
	}
	if out.moduleCached = out.module != nil; out.moduleCached {
		p.request.Events.Note("mod_wsgi " + b.Version + " was built before for this Python and httpd: taken from " + w.builds.from(out.key))
	}
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
