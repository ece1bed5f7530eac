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
	"modwsgi/internal/atomicfile"
	"modwsgi/internal/fault"
	"modwsgi/internal/pydist"
	"modwsgi/internal/recipe"
	"modwsgi/internal/version"
	"modwsgi/packaging/toolwheel"
)

// packSdist is "modwsgi package sdist": what pip builds on the machine that it
// installs on.
func (a *app) packSdist() *cobra.Command {
	var q installer.Request
	var out, label, take string
	c := &cobra.Command{
		Use: "sdist", Args: noArgs,
		Short: "Make a source distribution that pip builds with modwsgi",
		Long: "sdist makes mod_wsgi-VERSION.tar.gz for a package index: pip install builds it on the machine that it installs\n" +
			"on, for that Python and its httpd, or with an httpd of its own. It names its build backend, modwsgi.build in\n" +
			"the wheel of this program, which the same index must have (docs/release.md). The archives to build from are\n" +
			"inside, so that nothing is fetched then; with --sources module only mod_wsgi's, with --sources none none.",
		Example: "  modwsgi package sdist --out dist\n" +
			"  pip install --no-index --find-links dist --no-binary mod_wsgi mod_wsgi",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := a.start(); err != nil {
				return err
			}
			base := a.request()
			q.Dir, q.Env, q.Runner, q.Events = base.Dir, base.Env, base.Runner, base.Events
			return a.writeSdist(c.Context(), q, out, label, take)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&out, "out", "dist", "directory for the file")
	f.StringVar(&take, "sources", "all", "archives to take along: all, module or none")
	f.StringVar(&label, "local-version", "", "label that goes behind upstream's version, as in 5.0.2+LABEL")
	f.StringVar(&q.HTTPDVersion, "httpd-version", "", "version or constraint of httpd, as in 2.4.71 or \"~> 2.4.68\"")
	f.StringVar(&q.ModWSGIVersion, "mod-wsgi-version", "", "version or constraint of mod_wsgi, as in 5.0.2 or \"~> 5.0\"")
	f.StringArrayVar(&q.SourceDirs, "source-dir", nil, "directory with source archives, asked first (repeatable)")
	f.StringArrayVar(&q.Mirrors, "mirror", nil, "base address with source archives, asked before upstream (repeatable)")
	f.BoolVar(&q.Offline, "offline", false, "never use the network")
	f.BoolVar(&q.Locked, "locked", false, "take exactly what the lock file says, or fail")
	f.StringVar(&q.LockFile, "lock-file", "", "which versions to prefer (default modwsgi.lock)")
	f.BoolVar(&q.AllowVulnerable, "allow-vulnerable", false, "take what a known advisory warns of")
	f.StringVar(&q.CacheDir, "cache-dir", "", "downloads (default ~/.cache/modwsgi)")
	return c
}

func (a *app) writeSdist(ctx context.Context, q installer.Request, out, label, take string) error {
	if take != "all" && take != "module" && take != "none" {
		return fault.New(fault.Usage, "give all, module or none", "--sources %q is not known", take)
	}
	at, err := sourceDate(a.Env)
	if err != nil {
		return err
	}
	got, err := installer.Collect(ctx, q)
	if err != nil {
		return err
	}
	s := toolwheel.Sdist{
		Version: got.Version("mod_wsgi"), Python: got.Python, Tool: version.Release, Lock: got.Lock, Archives: map[string]string{}, Time: at,
	}
	if label != "" {
		s.Version += "+" + label
	}
	for _, f := range got.Files {
		if take == "all" || take == "module" && f.Component == "mod_wsgi" {
			s.Archives[f.File] = f.Path
		}
	}
	name, err := s.FileName()
	if err != nil {
		return fault.New(fault.Usage, "a local label is letters and digits with dots between them", "--local-version: %w", err)
	}
	dir := a.abs(out)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fault.New(fault.Environment, "name a directory that can be written with --out", "make the output directory: %w", err)
	}
	path := filepath.Join(dir, name)
	f, err := atomicfile.Create(path, 0o644)
	if err != nil {
		return fault.New(fault.Environment, "name a directory that can be written with --out", "write %s: %w", name, err)
	}
	defer f.Abort()
	if err := s.Write(f); err != nil {
		return fault.New(fault.Environment, "see that the file system has room", "write %s: %w", name, err)
	}
	if err := f.Commit(); err != nil {
		return err
	}
	a.view.close()
	return a.showFile(path)
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
	f.StringArrayVar(&q.SourceDirs, "source-dir", nil, "directory with source archives, asked first (repeatable)")
	f.StringArrayVar(&q.Mirrors, "mirror", nil, "base address with source archives, asked before upstream (repeatable)")
	f.BoolVar(&q.Offline, "offline", false, "never use the network")
	f.BoolVar(&q.AllowVulnerable, "allow-vulnerable", false, "build what a known advisory warns of")
	f.IntVar(&q.Jobs, "jobs", 0, "compilers at a time")
	f.StringVar(&q.CacheDir, "cache-dir", "", "downloads, builds and logs")
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
		scratch, err := os.MkdirTemp("", "modwsgi-lock-*")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(scratch) }()
		data, err := os.ReadFile(lock)
		if err != nil {
			return err
		}
		q.LockFile = filepath.Join(scratch, "modwsgi.lock")
		if err := os.WriteFile(q.LockFile, data, 0o644); err != nil {
			return err
		}
	}
	if q.HTTPD, err = a.httpdForWheel(ctx, q); err != nil {
		return err
	}
	built, err := installer.Stage(ctx, q)
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
