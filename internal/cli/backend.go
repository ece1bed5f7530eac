package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"modwsgi/detect"
	"modwsgi/installer"
	"modwsgi/internal/fault"
	"modwsgi/internal/pydist"
	"modwsgi/internal/recipe"
	"modwsgi/internal/scratch"
	"modwsgi/internal/version"
	"modwsgi/packaging"
	"modwsgi/packaging/toolwheel"
)

// packSdist is "modwsgi package sdist": what pip builds on the machine that it
// installs on.
func (a *app) packSdist() *cobra.Command {
	var o packOptions
	var s sdistOptions
	c := &cobra.Command{
		Use: "sdist", Args: noArgs,
		Short: "Make a source distribution that pip builds with modwsgi",
		Long: "sdist makes mod_wsgi-VERSION.tar.gz for a package index: pip install builds it on the machine that it installs\n" +
			"on, for that Python and its httpd, or with an httpd of its own. It names its build backend, modwsgi.build in\n" +
			"the wheel of this program, which the same index must have: --tools takes it along (docs/release.md). The\n" +
			"archives to build from are inside, so that nothing is fetched then; with --sources module only mod_wsgi's, with\n" +
			"--sources none none.",
		Example: "  modwsgi package sdist --tools modwsgi-1.0.0-py3-none-manylinux2014_x86_64.whl --out dist\n" +
			"  pip install --no-index --find-links dist --no-binary mod_wsgi mod_wsgi",
		RunE: func(c *cobra.Command, _ []string) error { return a.makeSdist(c.Context(), &o, s) },
	}
	f := c.Flags()
	f.SortFlags = false
	o.bundle = "auto" // there is nothing to take along
	o.outFlags(f)
	f.StringVar(&s.sources, "sources", "all", "archives to take along: all, module or none")
	f.StringArrayVar(&s.tools, "tools", nil, "wheel of modwsgi of this version, or directory of such, to take along (repeatable)")
	f.StringVar(&s.label, "local-version", "", "label that goes behind upstream's version, as in 5.0.2+LABEL")
	o.signFlags(f)
	q := &o.request
	f.StringVar(&q.HTTPDVersion, "httpd-version", "", "version or constraint of httpd, as in 2.4.71 or \"~> 2.4.68\"")
	f.StringVar(&q.ModWSGIVersion, "mod-wsgi-version", "", "version or constraint of mod_wsgi, as in 5.0.2 or \"~> 5.0\"")
	sourceFlags(f, q)
	f.BoolVar(&q.Locked, "locked", false, "take exactly what the lock file says, or fail")
	f.StringVar(&q.LockFile, "lock-file", "", "which versions to prefer (default modwsgi.lock)")
	f.BoolVar(&q.AllowVulnerable, "allow-vulnerable", false, "take what a known advisory warns of")
	f.StringVar(&q.CacheDir, "cache-dir", "", "downloads (default ~/.cache/modwsgi)")
	return c
}

// sdistOptions are what is chosen of a source distribution.
type sdistOptions struct {
	sources string   // "all", "module" or "none"
	label   string   // local version label
	tools   []string // wheels of modwsgi, or directories with such
}

func (s sdistOptions) check() error {
	if s.sources != "all" && s.sources != "module" && s.sources != "none" {
		return fault.New(fault.Usage, "give all, module or none", "--sources %q is not known", s.sources)
	}
	return nil
}

// makeSdist makes the source distribution and what all artifacts get.
func (a *app) makeSdist(ctx context.Context, o *packOptions, s sdistOptions) error {
	began := time.Now()
	if err := s.check(); err != nil {
		return err
	}
	for k := range s.tools {
		s.tools[k] = a.abs(s.tools[k])
	}
	p, err := a.openPacking(ctx, o)
	if err != nil {
		return err
	}
	defer p.Abort()
	err = a.view.sink().Step("package", func() error { return a.writeSdist(ctx, p.Dist, o.request, s, p.at) })
	if err != nil {
		return err
	}
	if err := p.finish(ctx, nil); err != nil {
		return err
	}
	a.view.close()
	if err := a.showArtifacts(p.Dist, time.Since(began)); err != nil || a.flags.json || len(s.tools) > 0 {
		return err
	}
	_, err = fmt.Fprintf(a.Stdout, "pip needs the wheel of modwsgi %s to build it: give that too, with --tools, or have it in the same index\n", version.Release)
	return err
}

// writeSdist collects the archives and writes the file, beside the wheels of the
// tools that were named.
func (a *app) writeSdist(ctx context.Context, d *packaging.Dist, q installer.Request, o sdistOptions, at time.Time) error {
	base := a.request()
	q.Dir, q.Env, q.Runner, q.Events = base.Dir, base.Env, base.Runner, base.Events
	q.LockTimeout = base.LockTimeout
	tools, err := toolwheel.Find(o.tools, version.Release)
	if err != nil {
		return err
	}
	got, err := installer.Collect(ctx, q.Wish, q.Means)
	if err != nil {
		return err
	}
	defer got.Close()
	s := toolwheel.Sdist{
		Version: got.Version("mod_wsgi"), Python: got.Python, Tool: version.Release, Lock: got.Lock, Archives: map[string]toolwheel.Archive{}, Time: at,
		Parameters: map[string]string{"sources": o.sources},
	}
	if o.label != "" {
		s.Version += "+" + o.label
	}
	var inside []installer.Source
	for _, f := range got.Files {
		if o.sources == "all" || o.sources == "module" && f.Component == "mod_wsgi" {
			s.Archives[f.File] = toolwheel.Archive{Path: f.Path, SHA256: f.SHA256}
			inside = append(inside, f.Source)
		}
	}
	s.Components = sourceComponents(inside)
	if err := s.Package(d); err != nil {
		return err
	}
	for _, t := range tools {
		if err := t.Package(d); err != nil {
			return err
		}
	}
	return nil
}

// showFile tells of the one file that a command has made.
func (a *app) showFile(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if a.flags.json {
		writeJSON(a.Stdout, map[string]any{"event": "result", "file": path, "size": info.Size()})
		return nil
	}
	_, err = fmt.Fprintf(a.Stdout, "%s, %.1f MB\n", path, float64(info.Size())/1e6)
	return err
}

// packLocal is what the build backend modwsgi.build runs: a wheel of mod_wsgi for
// one Python on this machine, from an unpacked source distribution.
func (a *app) packLocal() *cobra.Command {
	var q installer.Request
	var sdist, out string
	c := &cobra.Command{
		Use: "local-wheel", Args: noArgs, Hidden: true,
		Short: "Build what pip asks the build backend modwsgi.build for",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := a.start(); err != nil {
				return err
			}
			base := a.request()
			q.Dir, q.Env, q.ToolsDir, q.Runner, q.Events = base.Dir, base.Env, base.ToolsDir, base.Runner, base.Events
			q.LockTimeout = base.LockTimeout
			q.With, q.Without = splitList(q.With), splitList(q.Without)
			return a.localWheel(c.Context(), q, a.abs(sdist), a.abs(out))
		},
	}
	f := c.Flags()
	f.StringVar(&q.Python, "python", "", "the interpreter that runs pip")
	f.StringVar(&sdist, "sdist", ".", "the unpacked source distribution")
	f.StringVar(&out, "out", ".", "directory for the wheel")
	f.StringVar(&q.HTTPD, "httpd", "auto", "auto, bundled, system, or the path of an apxs, an httpd or its tree")
	f.StringVar(&q.HTTPDVersion, "httpd-version", "", "version or constraint of a bundled httpd")
	f.StringSliceVar(&q.With, "with", nil, "features that a bundled httpd must have")
	f.StringSliceVar(&q.Without, "without", nil, "features that it must not have")
	sourceFlags(f, &q)
	f.BoolVar(&q.AllowVulnerable, "allow-vulnerable", false, "build what a known advisory warns of")
	jobsFlag(f, &q.Jobs)
	f.StringVar(&q.CacheDir, "cache-dir", "", "downloads, builds and logs")
	sharedFlags(f, &q)
	return c
}

func (a *app) localWheel(ctx context.Context, q installer.Request, sdist, out string) error {
	wanted, label, err := sdistVersion(sdist)
	if err != nil {
		return err
	}
	at, err := sourceDate(a.Env)
	if err != nil {
		return err
	}
	if at.Year() == 1980 { // files of that age look odd in an environment
		at = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	lock := filepath.Join(sdist, "modwsgi.lock")
	if _, err := recipe.ReadLock(lock); err != nil {
		return fault.New(fault.Source, "make it again with modwsgi package sdist", "read the lock file of the source distribution: %w", err)
	}
	q.SourceDirs = append(q.SourceDirs, existing(filepath.Join(sdist, "sources"))...)
	q.ModWSGIVersion, q.LockFile = wanted, lock
	// Another httpd than the locked one is the user's choice; the rest stays.
	q.Locked = q.HTTPDVersion == ""
	if !q.Locked {
		temp, err := scratch.Make("", scratch.Lock)
		if err != nil {
			return err
		}
		defer func() { _ = temp.Discard() }()
		data, err := os.ReadFile(lock)
		if err != nil {
			return err
		}
		q.LockFile = filepath.Join(temp.Path(), "modwsgi.lock")
		if err := os.WriteFile(q.LockFile, data, 0o644); err != nil {
			return err
		}
	}
	if q.HTTPD, err = a.httpdForWheel(ctx, q); err != nil {
		return err
	}
	built, err := installer.Stage(ctx, q.Means, q.StagePlan)
	if err != nil {
		return err
	}
	defer built.Close()
	python := ""
	if a, known := recipe.Catalogue().Find("mod_wsgi", wanted); known {
		python = a.Requires["python"]
	}
	path, err := toolwheel.Local(out, stageOf(built, at), python, label)
	if err != nil {
		return err
	}
	a.view.close()
	return a.showFile(path)
}

func existing(dir string) []string {
	if isDir(dir) {
		return []string{dir}
	}
	return nil
}

// sdistVersion reads which mod_wsgi an unpacked source distribution is, and its
// local label.
func sdistVersion(dir string) (version, label string, err error) {
	data, err := os.ReadFile(filepath.Join(dir, "PKG-INFO"))
	if err != nil {
		return "", "", fault.New(fault.Usage, "modwsgi.build builds what modwsgi package sdist makes, and nothing else",
			"%s is not an unpacked source distribution of mod_wsgi: %w", dir, err)
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if strings.TrimSpace(line) == "" {
			break
		}
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.TrimSpace(value)
	}
	if pydist.NormalName(fields["Name"]) != pydist.NormalName(toolwheel.ModuleName) || fields["Version"] == "" {
		return "", "", fault.New(fault.Usage, "modwsgi.build builds what modwsgi package sdist makes, and nothing else",
			"%s is %s %s, not mod_wsgi", dir, fields["Name"], fields["Version"])
	}
	version, label, _ = strings.Cut(fields["Version"], "+")
	return version, label, nil
}

// httpdForWheel decides for "auto": the system's httpd where it can be built for,
// else one in the wheel. The one of an environment is not taken, because the
// wheel may go to others.
func (a *app) httpdForWheel(ctx context.Context, q installer.Request) (string, error) {
	if q.HTTPD != "" && q.HTTPD != "auto" {
		return q.HTTPD, nil
	}
	if q.HTTPDVersion != "" || len(q.With)+len(q.Without) > 0 {
		return "bundled", nil
	}
	req := detect.Request{Python: q.Python, HTTPD: "auto", Env: q.Env, Dir: q.Dir}
	py, err := detect.FindPython(ctx, q.Runner, req)
	if err != nil {
		return "", err
	}
	found, err := detect.FindHTTPDs(ctx, q.Runner, py, req)
	if err != nil {
		return "", err
	}
	var usable []detect.HTTPD
	for _, h := range found {
		if h.Provenance != detect.Bundled {
			usable = append(usable, h)
		}
	}
	chosen, err := detect.Choose(usable, req)
	switch {
	case err != nil && !errors.Is(err, detect.ErrNoHTTPD):
		return "", err
	case chosen == nil:
		return "bundled", nil
	case chosen.APXS != "":
		return chosen.APXS, nil
	}
	return chosen.Executable, nil
}
