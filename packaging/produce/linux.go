package produce

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/detect"
	"modwsgi/installer"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
	"modwsgi/internal/sysroot"
	"modwsgi/internal/target"
	"modwsgi/packaging/linuxpkg"
	"modwsgi/packaging/matrix"
	"modwsgi/packaging/sign"
)

// linuxFormats are the packages of Linux distributions.
func linuxFormats() []Format {
	return []Format{
		linuxFormat(linuxpkg.Deb, "Debian, Ubuntu and their derivatives", "apt install", "./dist/mod-wsgi-express-py311_*.deb"),
		linuxFormat(linuxpkg.RPM, "Fedora, Red Hat, SUSE and their derivatives", "dnf install", "./dist/mod-wsgi-express-py311-*.rpm"),
		linuxFormat(linuxpkg.APK, "Alpine", "apk add --allow-untrusted", "./dist/mod-wsgi-express-py311-*.apk"),
	}
}

func linuxFormat(kind linuxpkg.Format, systems, install, example string) Format {
	name, elsewhere, python := string(kind), "linux/arm64/glibc2.31", "3.9"
	if kind == linuxpkg.APK {
		elsewhere, python = "linux/arm64/musl1.2", "3.12 --sysroot alpine"
	}
	return Format{
		Name: name, Targets: []string{host}, Fits: fitsPackage(kind), Here: packagedPython(kind),
		Foreign: func(t target.Target) error { return linuxpkg.CheckTarget(kind, t) },
		Options: []Option{
			{Name: "allow_foreign", Kind: matrix.Strings},
			{Name: "httpd", Kind: matrix.Text, Default: "bundled", FlagOnly: true, Help: "bundled, system, or a path to the apxs of the distribution's Apache"},
			{Name: "maintainer", Kind: matrix.Text, Help: "maintainer of the package, as in \"Name <address>\" (default DEBFULLNAME and DEBEMAIL, or EMAIL)"},
			{Name: "release", Kind: matrix.Text, Default: "1", Help: "release number, which counts the packages of one version"},
			{Name: "name", Kind: matrix.Text, FlagOnly: true, Help: "name of the package (default: one that includes the Python version)"},
			{Name: "version", Kind: matrix.Text, FlagOnly: true, Help: "version of the package (default: those of mod_wsgi and httpd)"},
			{Name: "depends", Kind: matrix.Strings, Help: "additional dependency, or SONAME=DEPENDENCY for a library of an unknown package (repeatable)"},
			{Name: "sign_package", Kind: matrix.Flag, FlagOnly: true, Help: "also sign the package itself, with the key of --sign-openpgp"},
		},
		Command: Command{
			Use: name, Short: "Make " + name + " packages, for " + systems,
			Long: name + " makes one package per Python. With --httpd system it contains the module for the distribution's\n" +
				"Apache. Otherwise it contains a private httpd below /opt/modwsgi, the launcher, and a service with one instance\n" +
				"per application. Its dependencies are computed from the binaries. --target makes it for another system, with that\n" +
				"one's dependencies. See docs/guides/linux-packages.md.",
			Example: "  modwsgi package " + name + " --python /usr/bin/python3 --maintainer \"Jane Doe <jane@your.domain>\"\n" +
				"  modwsgi package " + name + " --python /usr/bin/python3 --httpd system\n" +
				"  modwsgi package " + name + " --target " + elsewhere + " --python " + python + "\n  " + install + " " + example,
			NoBundle: func() error {
				return fault.New(fault.Usage, "leave --bundle out; use --depends to name the package of an unknown library", "%s packages depend on the libraries of the distribution", name)
			},
			Next: func(r *Result, _ Values) []string {
				return []string{fmt.Sprintf("Next: %s %s", install, run.Quote(filepath.Join(r.Dir, r.Artifacts[0].Name)))}
			},
		},
		Check: func(o *Single) error { return checkPackage(kind, o) },
		Write: func(ctx context.Context, w *Work) ([]string, error) {
			_, warnings, err := linuxpkg.Write(ctx, w.Dist, w.Stage(), packageOptions(kind, w))
			return warnings, err
		},
	}
}

// packageOptions are the options of one job.
func packageOptions(kind linuxpkg.Format, w *Work) linuxpkg.Options {
	v := w.Values
	o := linuxpkg.Options{
		Format: kind, Name: v.Text("name"), Version: v.Text("version"), Release: v.Text("release"), Maintainer: v.Text("maintainer"),
		Depends: v.List("depends"), Allow: v.List("allow_foreign"), Host: linuxpkg.Host{Root: "/"}, Runner: w.Build.Runner, Env: w.Build.Env,
	}
	if len(w.Trees) > 0 && w.Tree().For != nil {
		aimPackage(&o, w)
	}
	if w.Twin != "" && kind != linuxpkg.APK { // whose releases are numbers
		o.Release = orText(o.Release, "1") + "+" + w.Twin // so that the one for the newer system is an upgrade
	}
	for _, s := range w.Signers {
		if key, ok := s.(*sign.OpenPGP); ok && v.Flag("sign_package") {
			o.Sign = func(data []byte) ([]byte, error) { return key.Sign("", data, w.Now()) }
		}
	}
	return o
}

// aimPackage completes the options of a package for another system.
func aimPackage(o *linuxpkg.Options, w *Work) {
	t := w.Tree()
	system := t.For.Target()
	o.Host = linuxpkg.Host{Root: t.For.Sysroot.Dir, Python: t.pythonRoot()}
	o.For = &linuxpkg.Target{System: system}
	if !installer.Runs(system) {
		o.For.Launcher = w.launcher()
	}
}

// launcher is this machine's mod_wsgi-express.
func (s *Settings) launcher() string { return filepath.Join(s.Build.ToolsDir, "mod_wsgi-express") }

// fitsPackage refuses a sysroot whose libraries or Pythons belong to no packages that a
// package could depend on.
func fitsPackage(kind linuxpkg.Format) func(*Settings, *installer.Cross, Values) ([]string, error) {
	return func(s *Settings, c *installer.Cross, v Values) (warnings []string, err error) {
		if kind == linuxpkg.Deb && len(v.List("depends")) == 0 && !sysroot.HasRecords(c.Sysroot.Dir) {
			return nil, linuxpkg.NoRecords(c.Sysroot.Dir)
		}
		if info, err := os.Stat(s.launcher()); !installer.Runs(c.Target()) && (err != nil || !info.Mode().IsRegular()) {
			return nil, fault.New(fault.Environment, "keep the programs of one release together in one directory (make build puts them into bin/)",
				"the manual of the package for %s comes from this machine's mod_wsgi-express, but %s does not exist", c.Target(), s.launcher())
		}
		for _, p := range c.Sysroot.Pythons {
			prefix := strings.TrimPrefix(p.Facts.BasePrefix, p.Root)
			if slices.Contains([]string{"", "/", "/install", "/python", "/python/install"}, prefix) {
				return nil, fault.New(fault.Usage, "name a directory that is / there, with usr/bin/python"+p.Wanted+", or leave the SDK out: Debian's Pythons are in known places",
					"the SDK %s of Python %s does not show where that Python is on %s, which the package must record", p.Source, p.Wanted, c.Target())
			}
			if kind == linuxpkg.Deb {
				warnings = append(warnings, mixed(c.Sysroot.Lock, p.Wanted)...)
			}
		}
		return warnings, nil
	}
}

// packagedPython refuses a Python that belongs to no package. Only a deb names packages:
// for the others, no Python is looked for.
func packagedPython(kind linuxpkg.Format) func(*Settings, *detect.Python, Values) error {
	if kind != linuxpkg.Deb {
		return nil
	}
	return func(s *Settings, py *detect.Python, v Values) error {
		library := ""
		if py.LibShared {
			library = py.LibPython
		}
		return linuxpkg.CheckPython(packageOptions(kind, &Work{Settings: s, Values: v}), py.Version, py.BasePrefix, library)
	}
}

// mixed warns of a Python of another release of Debian than the libraries.
func mixed(lock *sysroot.Lock, python string) []string {
	if lock == nil || len(lock.Packages) == 0 {
		return nil
	}
	libraries := lock.Packages[0].Suite
	for _, p := range lock.Packages {
		if p.Python == python && p.Suite != libraries {
			return []string{fmt.Sprintf("Python %s is that of Debian %s, but the other libraries are those of Debian %s: the package installs only where packages of both are available", python, p.Suite, libraries)}
		}
	}
	return nil
}

// checkPackage refuses options that no package can have.
func checkPackage(kind linuxpkg.Format, o *Single) error {
	v := o.Values
	if v.Text("maintainer") == "" {
		v["maintainer"] = maintainer(o.Build.Env)
	}
	options := packageOptions(kind, &Work{Settings: &o.Settings, Values: v})
	if err := options.Check(); err != nil {
		return err
	}
	if v.Text("name") != "" && len(o.Pythons)+len(o.FromEnv) > 1 {
		return fault.New(fault.Usage, "leave --name out, or package one Python at a time", "--name would give several packages the same name")
	}
	if o.Build.HTTPD = v.Text("httpd"); o.Build.HTTPD != "bundled" && o.elsewhere() {
		return fault.New(fault.Usage, "leave --httpd out for a package with its own httpd, or make the package on that system",
			"--httpd %s: a module for the Apache of another system can only be built there", o.Build.HTTPD)
	}
	if !v.Flag("sign_package") {
		return nil
	}
	if kind == linuxpkg.APK {
		return fault.New(fault.Usage, "sign the repository's index with abuild-sign", "apk packages have no OpenPGP signatures")
	}
	if o.Keys.OpenPGP == "" {
		return fault.New(fault.Usage, "pass the key with --sign-openpgp", "--sign-package needs an OpenPGP key")
	}
	return nil
}

// maintainer is the user's name and address from the variables that Debian's tools
// read (dch(1)), "" if they are not set.
func maintainer(env []string) string {
	mail := orText(run.Getenv(env, "DEBEMAIL"), run.Getenv(env, "EMAIL"))
	if mail == "" || strings.Contains(mail, "<") {
		return mail
	}
	user, _, _ := strings.Cut(mail, "@")
	return orText(orText(run.Getenv(env, "DEBFULLNAME"), run.Getenv(env, "NAME")), user) + " <" + mail + ">"
}
