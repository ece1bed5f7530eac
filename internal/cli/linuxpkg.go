package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
	"modwsgi/packaging"
	"modwsgi/packaging/linuxpkg"
	"modwsgi/packaging/sign"
)

// packLinux are the commands for packages of Linux distributions.
func (a *app) packLinux() []*cobra.Command {
	return []*cobra.Command{
		a.packLinuxFormat(linuxpkg.Deb, "Debian, Ubuntu and their relatives", "apt install ./dist/mod-wsgi-express-py311_*.deb"),
		a.packLinuxFormat(linuxpkg.RPM, "Fedora, Red Hat, SUSE and their relatives", "dnf install ./dist/mod-wsgi-express-py311-*.rpm"),
		a.packLinuxFormat(linuxpkg.APK, "Alpine", "apk add --allow-untrusted ./dist/mod-wsgi-express-py311-*.apk"),
	}
}

func (a *app) packLinuxFormat(f linuxpkg.Format, systems, install string) *cobra.Command {
	var o packOptions
	var l linuxpkg.Options
	var signIt bool
	name := string(f)
	c := &cobra.Command{
		Use: name, Args: noArgs,
		Short: "Make " + name + " packages, for " + systems,
		Long: name + " makes one package for each Python. With --httpd system it holds the module for the Apache of the\n" +
			"distribution; else it brings its own httpd below /opt/modwsgi, the launcher, and a service with an instance for\n" +
			"each application. What it depends on is read from the binaries. docs/guides/linux-packages.md says more.",
		Example: "  modwsgi package " + name + " --python /usr/bin/python3 --maintainer \"Jane Doe <jane@your.domain>\"\n" +
			"  modwsgi package " + name + " --python /usr/bin/python3 --httpd system\n  " + install,
		RunE: func(c *cobra.Command, _ []string) error {
			if c.Flags().Changed("bundle") {
				return fault.New(fault.Usage, "leave --bundle out; --depends names the package of a library that is not known", "%s packages depend on the libraries of the distribution", name)
			}
			l.Format, l.Allow, l.Env = f, splitList(o.allow), a.Env
			return a.makeLinux(c.Context(), &o, &l, signIt)
		},
	}
	o.flags(c.Flags())
	_ = c.Flags().MarkHidden("bundle")
	c.Flags().StringVar(&o.request.HTTPD, "httpd", "bundled", "bundled, system, or the path of an apxs of the distribution's Apache")
	c.Flags().StringVar(&l.Maintainer, "maintainer", "", "who keeps the package, as in \"Name <address>\" (default DEBFULLNAME and DEBEMAIL, or EMAIL)")
	c.Flags().StringVar(&l.Release, "release", "1", "counts the packages of one version")
	c.Flags().StringVar(&l.Name, "name", "", "name of the package (default one that tells the Python)")
	c.Flags().StringVar(&l.Version, "version", "", "version of the package (default mod_wsgi's, and httpd's)")
	c.Flags().StringArrayVar(&l.Depends, "depends", nil, "a further dependency, or SONAME=DEPENDENCY for a library that is not known (repeatable)")
	c.Flags().BoolVar(&signIt, "sign-package", false, "sign the package itself too, with the key of --sign-openpgp")
	return c
}

func (a *app) makeLinux(ctx context.Context, o *packOptions, l *linuxpkg.Options, signIt bool) error {
	if l.Maintainer == "" {
		l.Maintainer = maintainer(a.Env)
	}
	if err := l.Check(); err != nil {
		return err
	}
	if l.Name != "" && len(o.pythons)+len(o.fromEnv) > 1 {
		return fault.New(fault.Usage, "leave --name out, or package one Python at a time", "--name gives several packages one name")
	}
	if signIt {
		if err := a.packageSigner(o, l); err != nil {
			return err
		}
	}
	var first string
	err := a.makePackages(ctx, o, func(ctx context.Context, d *packaging.Dist, stages []*packaging.Stage) ([]string, error) {
		var warnings []string
		seen := map[string]bool{}
		for _, s := range stages {
			if id := s.Module.Python.ABI; seen[id] {
				a.view.sink().Note("there is more than one Python for " + id + ": the first one's package is made")
				continue
			}
			seen[s.Module.Python.ABI] = true
			l.Runner = a.request().Runner
			made, w, err := linuxpkg.Write(ctx, d, s, *l)
			if err != nil {
				return nil, err
			}
			if first == "" {
				first = filepath.Join(d.Dir(), made.Name)
			}
			warnings = append(warnings, w...)
		}
		slices.Sort(warnings)
		return slices.Compact(warnings), nil
	})
	if err == nil && !a.flags.json {
		command := map[linuxpkg.Format]string{linuxpkg.Deb: "apt install", linuxpkg.RPM: "dnf install", linuxpkg.APK: "apk add --allow-untrusted"}[l.Format]
		_, _ = fmt.Fprintf(a.Stdout, "Next: %s %s\n", command, run.Quote(first))
	}
	return err
}

// maintainer is who the environment says the user is, by the variables that
// Debian's tools read (dch(1)); "" where it does not.
func maintainer(env []string) string {
	mail := orText(run.Getenv(env, "DEBEMAIL"), run.Getenv(env, "EMAIL"))
	if mail == "" || strings.Contains(mail, "<") {
		return mail
	}
	user, _, _ := strings.Cut(mail, "@")
	return orText(orText(run.Getenv(env, "DEBFULLNAME"), run.Getenv(env, "NAME")), user) + " <" + mail + ">"
}

// packageSigner makes the key of the checksums sign the package as well.
func (a *app) packageSigner(o *packOptions, l *linuxpkg.Options) error {
	if l.Format == linuxpkg.APK {
		return fault.New(fault.Usage, "sign the repository's index with abuild-sign", "apk packages have no OpenPGP signatures")
	}
	if o.openpgp == "" {
		return fault.New(fault.Usage, "give the key with --sign-openpgp", "--sign-package needs an OpenPGP key")
	}
	all, err := a.signers(o)
	if err != nil {
		return err
	}
	for _, s := range all {
		if key, ok := s.(*sign.OpenPGP); ok {
			l.Sign = func(data []byte) ([]byte, error) { return key.Sign("", data, a.Now()) }
		}
	}
	return nil
}
