package produce

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
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
	name := string(kind)
	f := Format{
		Name: name,
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
				"per application. Its dependencies are computed from the binaries. See docs/guides/linux-packages.md.",
			Example: "  modwsgi package " + name + " --python /usr/bin/python3 --maintainer \"Jane Doe <jane@your.domain>\"\n" +
				"  modwsgi package " + name + " --python /usr/bin/python3 --httpd system\n  " + install + " " + example,
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
	if runtime.GOOS == "linux" {
		f.Targets = []string{host}
	}
	return f
}

// packageOptions are the options of one job.
func packageOptions(kind linuxpkg.Format, w *Work) linuxpkg.Options {
	v := w.Values
	o := linuxpkg.Options{
		Format: kind, Name: v.Text("name"), Version: v.Text("version"), Release: v.Text("release"), Maintainer: v.Text("maintainer"),
		Depends: v.List("depends"), Allow: v.List("allow_foreign"), Host: linuxpkg.Host{Root: "/"}, Runner: w.Build.Runner, Env: w.Build.Env,
	}
	for _, s := range w.Signers {
		if key, ok := s.(*sign.OpenPGP); ok && v.Flag("sign_package") {
			o.Sign = func(data []byte) ([]byte, error) { return key.Sign("", data, w.Now()) }
		}
	}
	return o
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
	o.Build.HTTPD = v.Text("httpd")
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
