package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"modwsgi/installer"
	"modwsgi/internal/fault"
	"modwsgi/internal/target"
	"modwsgi/modulebuild/windows"
	"modwsgi/packaging/produce"
)

// windowsFlags are the flags that "module build" and "package windows" share.
type windowsFlags struct {
	pythons, pythonSDKs      []string
	modWSGI, httpd, httpdSDK string
	sourceDirs, mirrors      []string
	offline, locked, upgrade bool
	lockFile                 string
	jobs                     int
	cacheDir, out            string
	keepBuild                bool
	shared                   installer.Request // only the shared build cache
}

// targetFlags are the flags about builds for other systems.
type targetFlags struct {
	targets, sysroots, packages, sdks, programs []string
}

const (
	targetHelp   = "system to build for, OS/ARCH[/LIBC], as in linux/arm64/glibc2.28, linux/amd64/musl1.2 or windows/amd64 (repeatable)"
	sysrootHelp  = "directory with the headers and libraries of a Linux system, as TARGET=DIR with several --target\n(repeatable; default: from Debian's packages)"
	programsHelp = "directory with mod_wsgi-express and mod_wsgi-apxs for the target's CPU, as OS/ARCH=DIR with several (repeatable)"
)

// targetNames are the names of these flags.
var targetNames = []string{"target", "sysroot", "sysroot-package", "programs", "python-sdk"}

func (t *targetFlags) add(f *pflag.FlagSet, sdks bool) {
	f.StringArrayVar(&t.targets, "target", nil, targetHelp)
	f.StringArrayVar(&t.sysroots, "sysroot", nil, sysrootHelp)
	f.StringSliceVar(&t.packages, "sysroot-package", nil, "further package of Debian for the target, as in libssl-dev for --with tls (repeatable)")
	f.StringArrayVar(&t.programs, "programs", nil, programsHelp)
	if sdks {
		f.StringArrayVar(&t.sdks, "python-sdk", nil, "with --target: headers and library of a Python there, a tree or an archive; with several --python,\nwrite VERSION=PATH, with several --target TARGET:VERSION=PATH (repeatable; default: from Debian's packages)")
	}
}

// complete checks the flags and returns them with absolute paths.
func (t *targetFlags) complete(a *app, pythons []string) (produce.Targets, error) {
	var out produce.Targets
	if len(t.targets) == 0 {
		for _, f := range []struct {
			name  string
			given []string
		}{{"sysroot", t.sysroots}, {"sysroot-package", t.packages}, {"programs", t.programs}, {"python-sdk", t.sdks}} {
			if len(f.given) > 0 {
				return out, fault.New(fault.Usage, "name the system with --target, or leave it out", "--%s is about other systems than this one", f.name)
			}
		}
		return out, nil
	}
	if len(t.packages) > 0 && len(t.sysroots) > 0 {
		return out, fault.New(fault.Usage, "leave one of them out: packages are added only to sysroots that modwsgi makes", "--sysroot and --sysroot-package contradict each other")
	}
	out.Packages = t.packages
	var err error
	if out.Sysroots, err = named(a, "sysroot", t.sysroots, t.targets); err != nil {
		return out, err
	}
	var systems []string
	for _, name := range t.targets {
		if parts := strings.SplitN(name, "/", 3); len(parts) > 1 {
			systems = append(systems, parts[0]+"/"+parts[1])
		}
	}
	if out.Programs, err = named(a, "programs", t.programs, systems); err != nil {
		return out, err
	}
	out.SDKs, err = readSDKs(a, pythons, t.targets, t.sdks)
	return out, err
}

// named maps the values of a flag, NAME=DIR, to their names. A value without a name is for
// all of them.
func named(a *app, flag string, given, names []string) (map[string]string, error) {
	out := map[string]string{}
	for _, s := range given {
		name, path, ok := strings.Cut(s, "=")
		if !ok {
			name, path = "", s
		} else if !slices.Contains(names, name) {
			return nil, fault.New(fault.Usage, "write --"+flag+" "+names[0]+"=DIR, as --target names it", "--%s names %q, which is not a --target", flag, name)
		}
		if _, twice := out[name]; twice {
			return nil, fault.New(fault.Usage, "pass one per system", "two --%s for %q", flag, name)
		}
		out[name] = a.abs(path)
	}
	return out, nil
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
	f.BoolVar(&w.locked, "locked", false, "use exactly what the lock file records, or fail")
	f.StringVar(&w.lockFile, "lock-file", "", "file that records versions and hashes (default modwsgi.lock)")
	f.BoolVar(&w.upgrade, "upgrade", false, "look for newer versions even if the lock file has others")
	f.IntVar(&w.jobs, "jobs", 0, "number of concurrent compilers (default one per processor)")
	f.StringVar(&w.cacheDir, "cache-dir", "", "directory for downloads and logs (default ~/.cache/modwsgi)")
	sharedFlags(f, &w.shared)
	f.BoolVar(&w.keepBuild, "keep-build", false, "keep sources and object files in the cache directory")
}

// complete checks the flags and returns the request, with absolute paths. The targets are
// those that an SDK may be for.
func (w *windowsFlags) complete(a *app, targets []string) (produce.WindowsBuild, error) {
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
	q.Locked, q.Upgrade, q.LockFile = w.locked, w.upgrade, w.lockFile
	q.CacheDir, q.KeepBuild, q.SourceDirs, q.Mirrors, q.Offline, q.Jobs = w.cacheDir, w.keepBuild, w.sourceDirs, w.mirrors, w.offline, w.jobs
	q.SharedOptions = w.shared.SharedOptions
	b.Base, b.HTTPDSDK = q, w.httpdSDK
	if err := b.Complete(); err != nil {
		return b, err
	}
	var err error
	b.SDKs, err = readSDKs(a, b.Pythons, targets, w.pythonSDKs)
	return b, err
}

// readSDKs maps each SDK to its Python, VERSION, or for one of several systems to
// TARGET:VERSION.
func readSDKs(a *app, pythons, targets, given []string) (map[string]string, error) {
	sdks := map[string]string{}
	for _, s := range given {
		if len(pythons) == 0 {
			return nil, fault.New(fault.Usage, "name it with --python", "--python-sdk %q is for no Python", s)
		}
		name, path, named := strings.Cut(s, "=")
		system, version, one := strings.Cut(name, ":")
		if !one {
			system, version = "", name
		}
		switch {
		case named && slices.Contains(pythons, version) && !one:
		case named && slices.Contains(pythons, version) && slices.Contains(targets, system):
			key, err := produce.TargetName(system)
			if err != nil {
				return nil, err
			}
			name = key + ":" + version
		case len(pythons) > 1 || named && one && strings.Contains(system, "/") && slices.Contains(pythons, version):
			return nil, fault.New(fault.Usage, "write it as --python-sdk "+strings.Join(append(slices.Clone(targets[:min(1, len(targets))]), pythons[0]), ":")+"=PATH",
				"--python-sdk %q does not name its Python", s)
		default:
			name, path = pythons[0], s
		}
		if _, twice := sdks[name]; twice {
			return nil, fault.New(fault.Usage, "pass one per Python", "two --python-sdk for Python %s", name)
		}
		sdks[name] = a.abs(path)
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
	var t targetFlags
	c := &cobra.Command{
		Use: "build", Args: noArgs, Short: "Cross-compile mod_wsgi for Apache 2.4 on another system",
		Long: "build compiles upstream's unchanged mod_wsgi for another system than this one. For Windows (x64) it uses mingw-w64\n" +
			"against the Universal C Runtime, on Windows itself Microsoft's compiler. Headers and libraries come from SDKs that\n" +
			"you have, else from the pinned upstream sources. See docs/guides/windows.md. For Linux with another CPU, an older\n" +
			"glibc or musl it uses gcc or clang with a sysroot, and tries the result under qemu-user if that is there. See\n" +
			"docs/guides/other-systems.md. The result is checked for its CPU and its exports, that everything it imports\n" +
			"exists on the target, and that it contains no path of this machine.",
		Example: "  modwsgi module build --target windows/amd64 --python 3.11 --httpd 2.4 --out build\n" +
			"  modwsgi module build --target linux/arm64/glibc2.28 --python 3.9 --out build\n" +
			"  modwsgi module build --target windows/amd64 --python 3.12 --python-sdk python.3.12.8.nupkg --httpd-sdk httpd-2.4-win64.zip",
		RunE: func(c *cobra.Command, _ []string) error {
			windowsToo, linux, err := splitTargets(t.targets)
			if err != nil {
				return err
			}
			if err := a.start(); err != nil {
				return err
			}
			b, err := w.complete(a, t.targets)
			if err != nil {
				return err
			}
			var made []*windows.Result
			var more []*produce.Module
			if len(linux) > 0 {
				if more, err = a.linuxModules(c.Context(), &w, &t, b, linux); err != nil {
					return err
				}
			}
			if windowsToo {
				if made, _, err = produce.BuildModules(c.Context(), b, w.out); err != nil {
					return err
				}
			}
			a.view.close()
			a.showModules(made, more)
			return nil
		},
	}
	c.Flags().SortFlags = false
	t.add(c.Flags(), false)
	w.add(c, ".")
	return c
}

// splitTargets refuses targets that cannot be built for, and separates those on Linux.
func splitTargets(all []string) (windowsToo bool, linux []string, err error) {
	if len(all) == 0 {
		return false, nil, checkTarget("")
	}
	for _, t := range all {
		if strings.HasPrefix(t, target.Linux+"/") {
			linux = append(linux, t)
			continue
		}
		if err := checkTarget(t); err != nil {
			return false, nil, err
		}
		windowsToo = true
	}
	return windowsToo, linux, nil
}

// linuxModules builds the modules for Linux.
func (a *app) linuxModules(ctx context.Context, w *windowsFlags, t *targetFlags, b produce.WindowsBuild, linux []string) ([]*produce.Module, error) {
	given := *t
	given.targets = linux
	targets, err := given.complete(a, b.Pythons)
	if err != nil {
		return nil, err
	}
	targets.SDKs = b.SDKs
	s := produce.Settings{Build: b.Base, Targets: targets, LockLimit: a.lockLimit(), Now: a.Now, Abs: a.abs}
	s.Build.ToolsDir, s.Build.ModWSGIVersion = a.toolsDir(), w.modWSGI
	if w.httpd != "2.4" { // any of them
		s.Build.HTTPDVersion = w.httpd
	}
	if w.httpdSDK != "" {
		return nil, fault.New(fault.Usage, "leave it out: httpd is built for the target", "--httpd-sdk is only for Windows")
	}
	return produce.LinuxModules(ctx, s, produce.CrossBuild{Pythons: b.Pythons, Targets: linux}, w.out)
}

// checkTarget refuses targets that cannot be built for.
func checkTarget(target string) error {
	const hint = "use --target " + windows.Target + ", or a Linux system as in linux/arm64/glibc2.28; modwsgi install builds for this system"
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

func (a *app) showModules(made []*windows.Result, linux []*produce.Module) {
	if a.flags.json {
		all := []any{}
		for _, m := range linux {
			all = append(all, m)
		}
		for _, m := range made {
			all = append(all, m)
		}
		writeJSON(a.Stdout, map[string]any{"event": "result", "modules": all})
		return
	}
	for _, m := range linux {
		_, _ = fmt.Fprintf(a.Stdout, "%s: %s\n", printable(m.File), m.Summary())
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
