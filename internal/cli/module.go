package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"modwsgi/internal/fault"
	"modwsgi/modulebuild/windows"
	"modwsgi/packaging/produce"
)

// windowsFlags are the flags that "module build" and "package windows" share.
type windowsFlags struct {
	pythons, pythonSDKs      []string
	modWSGI, httpd, httpdSDK string
	sourceDirs, mirrors      []string
	offline                  bool
	jobs                     int
	cacheDir, out            string
	keepBuild                bool
}

func (w *windowsFlags) add(c *cobra.Command, out string) {
	f := c.Flags()
	f.SortFlags = false
	f.StringSliceVar(&w.pythons, "python", nil, "minor version of the Python to build for, as in 3.11 (repeatable)")
	f.StringVar(&w.httpd, "httpd", "2.4", "version of httpd to build for; any 2.4 loads a module built for another 2.4")
	f.StringVar(&w.httpdSDK, "httpd-sdk", "", "Apache Lounge's zip or a directory such as C:\\Apache24 (default: from the pinned sources)")
	f.StringArrayVar(&w.pythonSDKs, "python-sdk", nil, "headers and library of a Python: an installation on any system, a NuGet package or a zip;\nwith several --python, write VERSION=PATH (repeatable; default: from the pinned sources)")
	f.StringVar(&w.modWSGI, "mod-wsgi-version", "", "version or constraint of mod_wsgi, as in 5.0.2 or \"~> 5.0\"")
	f.StringVar(&w.out, "out", out, "output directory")
	f.StringArrayVar(&w.sourceDirs, "source-dir", nil, "directory with source archives, tried first (repeatable)")
	f.StringArrayVar(&w.mirrors, "mirror", nil, "base URL with source archives, tried before upstream (repeatable)")
	f.BoolVar(&w.offline, "offline", false, "never use the network")
	f.IntVar(&w.jobs, "jobs", 0, "number of concurrent compilers (default one per processor)")
	f.StringVar(&w.cacheDir, "cache-dir", "", "directory for downloads and logs (default ~/.cache/modwsgi)")
	f.BoolVar(&w.keepBuild, "keep-build", false, "keep sources and object files in the cache directory")
}

// complete checks the flags and returns the request, with absolute paths.
func (w *windowsFlags) complete(a *app) (produce.WindowsBuild, error) {
	b := produce.WindowsBuild{Pythons: w.pythons, ModWSGI: w.modWSGI, HTTPD: w.httpd, LockLimit: a.lockLimit()}
	if len(w.pythons) == 0 {
		return b, fault.New(fault.Usage, "name at least one, as in --python 3.11", "--python is missing")
	}
	for _, p := range []*string{&w.cacheDir, &w.out, &w.httpdSDK} {
		if *p != "" {
			*p = a.abs(*p)
		}
	}
	q := a.request()
	q.CacheDir, q.KeepBuild, q.SourceDirs, q.Mirrors, q.Offline, q.Jobs = w.cacheDir, w.keepBuild, w.sourceDirs, w.mirrors, w.offline, w.jobs
	b.Base, b.HTTPDSDK = q, w.httpdSDK
	if err := b.Complete(); err != nil {
		return b, err
	}
	var err error
	b.SDKs, err = readSDKs(a, b.Pythons, w.pythonSDKs)
	return b, err
}

// readSDKs maps each SDK to its Python.
func readSDKs(a *app, pythons, given []string) (map[string]string, error) {
	sdks := map[string]string{}
	for _, s := range given {
		version, path, named := strings.Cut(s, "=")
		if !named || !slices.Contains(pythons, version) {
			if len(pythons) > 1 {
				return nil, fault.New(fault.Usage, "write it as --python-sdk "+pythons[0]+"=PATH", "--python-sdk %q does not name its Python", s)
			}
			version, path = pythons[0], s
		}
		if _, twice := sdks[version]; twice {
			return nil, fault.New(fault.Usage, "pass one per Python", "two --python-sdk for Python %s", version)
		}
		sdks[version] = a.abs(path)
	}
	return sdks, nil
}

// module is the command group for the module alone.
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
			"pinned upstream sources. The result is checked for its CPU and its exports, that everything it imports exists,\n" +
			"and that it contains no path of this machine. See docs/guides/windows.md.",
		Example: "  modwsgi module build --target windows/amd64 --python 3.11 --httpd 2.4 --out build\n" +
			"  modwsgi module build --target windows/amd64 --python 3.12 --python-sdk python.3.12.8.nupkg --httpd-sdk httpd-2.4-win64.zip",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkTarget(target); err != nil {
				return err
			}
			if err := a.start(); err != nil {
				return err
			}
			b, err := w.complete(a)
			if err != nil {
				return err
			}
			made, _, err := produce.BuildModules(c.Context(), b, w.out)
			if err != nil {
				return err
			}
			a.view.close()
			a.showModules(made)
			return nil
		},
	}
	c.Flags().StringVar(&target, "target", "", "target system: "+windows.Target)
	w.add(c, ".")
	return c
}

// checkTarget refuses targets that cannot be built for.
func checkTarget(target string) error {
	const hint = "use --target " + windows.Target + "; modwsgi install builds for this system"
	switch {
	case target == windows.Target:
		return nil
	case target == "":
		return fault.New(fault.Usage, hint, "--target is missing")
	case strings.HasPrefix(strings.ToLower(target), "windows"):
		return fault.New(fault.Usage, hint, "unsupported target %s: modules for Windows are built only for x64 (amd64)", target)
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
