package installer

import (
	"context"
	"encoding/json"
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
	"modwsgi/internal/buildstore"
	"modwsgi/internal/digest"
	"modwsgi/internal/event"
	"modwsgi/internal/fetch"
	"modwsgi/internal/filetree"
	"modwsgi/internal/owned"
	"modwsgi/internal/receipt"
	"modwsgi/internal/run"
	"modwsgi/internal/toolchain"
	"modwsgi/internal/version"
	"modwsgi/modulebuild"
)

// product is a finished build outside the environment.
type product struct {
	tree   string        // httpd tree, "" if none was built
	record httpdReceipt  // record of the tree
	httpd  *detect.HTTPD // the httpd that the module is for, at its current path
	module *modulebuild.Result
	file   *fetch.File // archive of mod_wsgi
	key    string      // build cache key of the module
	inputs string      // input of which key is the hash
	ahead  ahead       // the module, if it was compiled beside httpd
	// hardening is the value of --hardening that the module was built with.
	hardening string
	cached    bool // httpd was restored from the build cache
	// compiled reports that something was compiled, rather than restored from a cache.
	compiled bool
}

// httpdRequest describes building httpd from its archives.
func (j *job) httpdRequest(src *sources) httpdbuild.Request {
	b := httpdbuild.Request{
		Features: src.features, Host: j.host.HTTPD, Jobs: j.jobs, Farm: j.session(), Flags: j.plan.Wish.flags(j.host.Tools),
		Timeline: j.timeline,
		Work:     j.space.Path("httpd"), Stage: filepath.Join(j.space.Dir, "stage", "httpd"), Logs: j.space.Logs, Runner: j.runner, Events: j.events,
	}
	if j.cross != nil {
		b.Answers = j.cross.Sysroot.Answers()
	}
	if d, err := httpdbuild.ParseDriver(j.plan.Wish.BuildDriver); err == nil { // validated earlier
		b.Driver = d
	}
	for _, name := range slices.Sorted(maps.Keys(src.files)) {
		// A feature may have been dropped because of an advisory.
		if f, feature := src.files[name], httpdbuild.FeatureOf(name); name != "mod_wsgi" && (feature == "" || slices.Contains(src.features, feature)) {
			b.Components = append(b.Components, httpdbuild.Component{Name: name, Version: f.Archive.Version, Archive: f.Path, SHA256: f.Archive.SHA256})
		}
	}
	return b
}

// httpdRecord returns the record of a new tree.
func httpdRecord(key string, components []httpdbuild.Component, src *sources, host *Host, flags toolchain.Flags) httpdReceipt {
	r := httpdReceipt{
		Schema: 1, Tool: version.Release, Key: key, Version: src.files["httpd"].Archive.Version, Features: src.features,
		Compiler: host.Tools.Compiler, Libc: host.Tools.Libc, Hardening: string(flags.Hardening), Flags: flags.Words(),
	}
	for _, c := range components {
		f := src.files[c.Name]
		r.Components = append(r.Components, componentRecord{
			Name: c.Name, Version: f.Archive.Version, SHA256: f.Archive.SHA256, Trust: string(f.Trust),
		})
	}
	return r
}

// describeTree writes the record into the new tree and has detect examine it, exactly as
// it will after placement.
func describeTree(ctx context.Context, r *run.Runner, py *detect.Python, tree string, record *httpdReceipt) (*detect.HTTPD, error) {
	for _, m := range filetree.Glob(tree, "modules/mod_*.so") {
		record.Modules = append(record.Modules, strings.TrimSuffix(filepath.Base(m), ".so"))
	}
	data, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return nil, err
	}
	for name, text := range map[string]string{
		httpdReceiptName: string(data) + "\n",
		"__init__.py":    "\"\"\"A relocatable Apache httpd; mod_wsgi-apxs answers for it.\"\"\"\n",
	} {
		if err := os.WriteFile(filepath.Join(tree, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	h, err := detect.DescribeTree(ctx, r, py, tree)
	if err != nil {
		return nil, fmt.Errorf("examine the new httpd: %w", err)
	}
	if h.Refused != "" {
		return nil, fmt.Errorf("the new httpd cannot be used: %s", h.Refused)
	}
	return h, nil
}

// moduleFacts are the facts about a Python that a build of the module needs.
func moduleFacts(py *detect.Python) modulebuild.Python {
	return modulebuild.Python{
		Version: py.Version, SOABI: py.SOABI, ExtSuffix: py.ExtSuffix, IncludeDirs: py.IncludeDirs(),
		LibPython: py.LibPython, LibShared: py.LibShared, LinkLibs: strings.Fields(py.LinkLibs),
	}
}

// httpdFacts are the facts about an httpd that a build of the module needs; nil is one
// that is still to be built.
func httpdFacts(h *detect.HTTPD) modulebuild.HTTPD {
	if h == nil {
		return modulebuild.HTTPD{}
	}
	return modulebuild.HTTPD{Version: h.Version, MMN: h.MMN, IncludeDirs: h.IncludeDirs, CPPFlags: h.CPPFlags, CFlags: h.CFlags}
}

// moduleRequest describes building the module for the httpd that is there now.
func (j *job) moduleRequest(h *detect.HTTPD, f *fetch.File) modulebuild.Request {
	py := moduleFacts(j.plan.Python)
	if j.cross != nil {
		py = j.cross.facts(j.plan.Wish.Python, j.plan.Python)
	}
	return modulebuild.Request{
		Version: f.Archive.Version, Archive: f.Path, SHA256: f.Archive.SHA256,
		Python:  py,
		HTTPD:   httpdFacts(h),
		RunPath: moduleRunPath(j.plan), Tools: j.host.Tools, Jobs: j.jobs, Farm: j.session(), Timeline: j.timeline,
		Flags: j.plan.Wish.flags(j.host.Tools),
		Work:  j.space.Path("mod_wsgi"), Out: filepath.Join(j.space.Dir, "stage", "module"), Logs: j.space.Logs, Runner: j.runner, Events: j.events,
	}
}

// restoreModule copies the module from the cache to where Build would have left it.
func restoreModule(ctx context.Context, b *buildstore.Store, key string, r *modulebuild.Request, events event.Sink) (*modulebuild.Result, error) {
	dir := r.Work + "-cached" // Work may have objects
	dest := filepath.Join(dir, "entry")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	defer func() { _ = owned.RemoveAll(dir) }()
	e, err := b.Restore(ctx, key, dest)
	if e == nil || err != nil {
		return nil, err
	}
	name := modulebuild.FileName(r.Python.Version, r.Python.ExtSuffix)
	if err := os.MkdirAll(r.Out, 0o755); err != nil {
		return nil, err
	}
	for _, file := range []string{receipt.Handover, name} {
		if err := os.Rename(filepath.Join(dest, file), filepath.Join(r.Out, file)); errors.Is(err, fs.ErrNotExist) {
			events.Note("the build cache has something else under the module's key: building it again")
			b.Forget(key)
			return nil, nil
		} else if err != nil {
			return nil, err
		}
	}
	out := filepath.Join(r.Out, name)
	sum, err := digest.File(out)
	if err != nil {
		return nil, err
	}
	return &modulebuild.Result{File: out, Name: name, SHA256: sum, Handover: filepath.Join(r.Out, receipt.Handover)}, nil
}

// reportFlags reports, once, the caller's own compiler flags, which the result depends on,
// and the libraries that other builds would add to every link.
func (j *job) reportFlags() {
	j.flags.Do(func() {
		if names := j.host.Tools.Given.Names; len(names) > 0 {
			j.events.Note("compiling with the flags in " + strings.Join(names, ", "))
		}
		if run.Getenv(j.env, "LIBS") != "" {
			j.events.Note("not used for compiling: LIBS; name libraries in LDFLAGS")
		}
	})
}

// moduleRunPath returns where the module looks for libpython. It is empty for a packaged
// module, because the packager decides how libpython is found.
func moduleRunPath(p *Plan) string {
	if p.Wish.Portable {
		return ""
	}
	return runPath(p.Python, filepath.Join(p.Site, "mod_wsgi", "server"))
}

// runPath returns where the loader must look for libpython: "" if the loader searches
// that directory anyway, a path relative to the module if Python moves together with it
// (conda), otherwise the directory itself.
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

// systemLibDir reports whether the loader searches a directory by default: the trusted
// ones of ld.so(8) and Debian's multiarch ones.
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
