package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"modwsgi/installer"
	"modwsgi/internal/fault"
	"modwsgi/internal/fetch"
	"modwsgi/internal/recipe"
	"modwsgi/modulebuild/windows"
)

// windowsFlags are what "module build" and "package windows" have in common.
type windowsFlags struct {
	pythons, pythonSDKs      []string
	modWSGI, httpd, httpdSDK string
	sourceDirs, mirrors      []string
	offline                  bool
	jobs                     int
	cacheDir, out            string
	keepBuild                bool
	sdkOf                    map[string]string // minor version -> SDK, from pythonSDKs
}

func (w *windowsFlags) add(c *cobra.Command, out string) {
	f := c.Flags()
	f.SortFlags = false
	f.StringSliceVar(&w.pythons, "python", nil, "minor version of the Python to build for, as in 3.11 (repeatable)")
	f.StringVar(&w.httpd, "httpd", "2.4", "version of httpd to build for; every 2.4 takes a module of every other one")
	f.StringVar(&w.httpdSDK, "httpd-sdk", "", "Apache Lounge's zip, or a directory like C:\\Apache24 (default: from the pinned sources)")
	f.StringArrayVar(&w.pythonSDKs, "python-sdk", nil, "headers and library of a Python: an installation of any system, a NuGet package, a zip;\nwith several --python as VERSION=PATH (repeatable; default: from the pinned sources)")
	f.StringVar(&w.modWSGI, "mod-wsgi-version", "", "version or constraint of mod_wsgi, as in 5.0.2 or \"~> 5.0\"")
	f.StringVar(&w.out, "out", out, "directory for what is made")
	f.StringArrayVar(&w.sourceDirs, "source-dir", nil, "directory with source archives, asked first (repeatable)")
	f.StringArrayVar(&w.mirrors, "mirror", nil, "base address with source archives, asked before upstream (repeatable)")
	f.BoolVar(&w.offline, "offline", false, "never use the network")
	f.IntVar(&w.jobs, "jobs", 0, "compilers at a time (default one a processor)")
	f.StringVar(&w.cacheDir, "cache-dir", "", "downloads and logs (default ~/.cache/modwsgi)")
	f.BoolVar(&w.keepBuild, "keep-build", false, "leave sources and objects in the cache directory")
}

// complete checks the flags and makes the paths absolute.
func (w *windowsFlags) complete(a *app) error {
	if len(w.pythons) == 0 {
		return fault.New(fault.Usage, "name at least one, as in --python 3.11", "--python is missing")
	}
	slices.SortFunc(w.pythons, func(x, y string) int { // "3.9" before "3.10"
		if len(x) != len(y) {
			return len(x) - len(y)
		}
		return strings.Compare(x, y)
	})
	w.pythons = slices.Compact(w.pythons)
	if err := w.readSDKs(a); err != nil {
		return err
	}
	if w.jobs < 0 {
		return fault.New(fault.Usage, "give a number of compilers, or leave the flag out", "--jobs %d is not a number of compilers", w.jobs)
	}
	if w.jobs == 0 {
		w.jobs = runtime.NumCPU()
	}
	for _, p := range []*string{&w.cacheDir, &w.out, &w.httpdSDK} {
		if *p != "" {
			*p = a.abs(*p)
		}
	}
	for i := range w.sourceDirs {
		w.sourceDirs[i] = a.abs(w.sourceDirs[i])
	}
	return nil
}

// readSDKs says which SDK each Python has.
func (w *windowsFlags) readSDKs(a *app) error {
	w.sdkOf = map[string]string{}
	for _, s := range w.pythonSDKs {
		version, path, named := strings.Cut(s, "=")
		if !named || !slices.Contains(w.pythons, version) {
			if len(w.pythons) > 1 {
				return fault.New(fault.Usage, "write it as --python-sdk "+w.pythons[0]+"=PATH", "--python-sdk %q does not say for which of the Pythons it is", s)
			}
			version, path = w.pythons[0], s
		}
		if _, twice := w.sdkOf[version]; twice {
			return fault.New(fault.Usage, "give one for each Python", "there are two --python-sdk for Python %s", version)
		}
		w.sdkOf[version] = a.abs(path)
	}
	return nil
}

// orNone is a limit of zero, which does not wait, where zero is the default.
func orNone(limit time.Duration) time.Duration {
	if limit == 0 {
		return -1
	}
	return limit
}

// buildWindows fetches what is needed and builds one module a Python, one after
// the other: each takes all processors.
func (a *app) buildWindows(ctx context.Context, w *windowsFlags, into string) ([]*windows.Result, *windows.Sources, error) {
	if _, err := windows.Compiler(ctx, a.Env, a.runner()); err != nil {
		return nil, nil, err
	}
	q := a.request()
	q.CacheDir, q.KeepBuild = w.cacheDir, w.keepBuild
	space, err := installer.OpenWorkspace(q)
	if err != nil {
		return nil, nil, err
	}
	defer space.Close()
	f, err := fetch.New(fetch.Options{
		Runner: a.runner(), Env: a.Env, CacheDir: space.Downloads, Hold: space.Hold, SourceDirs: w.sourceDirs,
		Mirrors: w.mirrors, Offline: w.offline, Events: a.view.sink(), LockTimeout: orNone(a.lockLimit()),
	})
	if err != nil {
		return nil, nil, err
	}
	var without []string
	for _, p := range w.pythons {
		if w.sdkOf[p] == "" {
			without = append(without, p)
		}
	}
	sources, err := windows.Fetch(ctx, f, windows.Wanted{
		ModWSGI: w.modWSGI, HTTPD: w.httpd, HTTPDSDK: w.httpdSDK != "", Pythons: without, Catalogue: recipe.Catalogue(), Events: a.view.sink(),
	})
	if err != nil {
		return nil, nil, err
	}
	var out []*windows.Result
	for _, p := range w.pythons {
		q := windows.Request{
			Python: p, HTTPDSDK: w.httpdSDK, PythonSDK: w.sdkOf[p], Jobs: w.jobs, Work: filepath.Join(space.Dir, p), Out: into,
			Logs: filepath.Join(space.Logs, p), Env: a.Env, Runner: a.runner(), Events: a.view.sink(),
		}
		sources.Fill(&q)
		made, err := windows.Build(ctx, q)
		if err != nil {
			for _, r := range out {
				_ = os.Remove(r.File)
			}
			return nil, nil, err
		}
		out = append(out, made)
	}
	return out, sources, nil
}

// module is the group of commands about the module alone.
func (a *app) module() *cobra.Command {
	c := &cobra.Command{
		Use: "module", Short: "Build the module alone, for another system", Args: onlyCommands,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.moduleBuild())
	return c
}

func (a *app) moduleBuild() *cobra.Command {
	var w windowsFlags
	var target string
	c := &cobra.Command{
		Use: "build", Args: noArgs, Short: "Cross-compile mod_wsgi for Apache 2.4 on Windows",
		Long: "build compiles upstream's unchanged mod_wsgi for Windows (x64): with mingw-w64 against the Universal C Runtime,\n" +
			"on Windows itself with Microsoft's compiler. Headers and libraries come from SDKs that you have, else from the\n" +
			"pinned upstream sources. The result is checked: its CPU, what it exports, that everything it imports is there,\n" +
			"and that it names nothing of this machine. See docs/guides/windows.md.",
		Example: "  modwsgi module build --target windows/amd64 --python 3.11 --httpd 2.4 --out build\n" +
			"  modwsgi module build --target windows/amd64 --python 3.12 --python-sdk python.3.12.8.nupkg --httpd-sdk httpd-2.4-win64.zip",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkTarget(target); err != nil {
				return err
			}
			if err := a.start(); err != nil {
				return err
			}
			if err := w.complete(a); err != nil {
				return err
			}
			made, _, err := a.buildWindows(c.Context(), &w, w.out)
			if err != nil {
				return err
			}
			a.view.close()
			a.showModules(made)
			return nil
		},
	}
	c.Flags().StringVar(&target, "target", "", "system to build for: "+windows.Target)
	w.add(c, ".")
	return c
}

// checkTarget refuses what there is no build for.
func checkTarget(target string) error {
	const hint = "use --target " + windows.Target + "; modwsgi install builds for this system"
	switch {
	case target == windows.Target:
		return nil
	case target == "":
		return fault.New(fault.Usage, hint, "--target is missing")
	case strings.HasPrefix(strings.ToLower(target), "windows"):
		return fault.New(fault.Usage, hint, "there is no build for %s: modules for Windows are made for x64 (amd64) alone", target)
	}
	return fault.New(fault.Usage, hint, "--target %q is not a system that modules are cross-compiled for", target)
}

func (a *app) showModules(made []*windows.Result) {
	if a.flags.json {
		writeJSON(a.Stdout, map[string]any{"event": "result", "modules": made})
		return
	}
	for _, r := range made {
		_, _ = fmt.Fprintf(a.Stdout, "%s: %d bytes, mod_wsgi %s for Python %s and httpd 2.4 (headers of %s, magic %d)\n  by %s\n  needs %s\n  sha256 %s\n",
			printable(r.File), r.Size, r.Version, majorMinor(r.Python), r.HTTPD, r.MMN, r.Compiler, strings.Join(r.Imports, ", "), r.SHA256)
	}
}

// majorMinor cuts a version after its second number.
func majorMinor(version string) string {
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}
