package linuxpkg

import (
	"fmt"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"modwsgi/internal/fault"
	"modwsgi/internal/pydist"
)

// formatRules are the rules of package managers for names and versions.
type formatRules struct {
	name, version, release *regexp.Regexp
	nameHint, versionHint  string
	arch                   map[string]string // by the word of uname -m; words that are missing stay the same
}

// Sources: Debian Policy 5.6.1, 5.6.12 and dpkg's table of CPUs; RPM's
// documentation of versions; apk-package(5) and Alpine's list of architectures.
var rules = map[Format]formatRules{
	Deb: {
		name: regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`), nameHint: "lowercase letters, digits and + - . after a letter or digit",
		version: regexp.MustCompile(`^[0-9][A-Za-z0-9.+~]*$`), versionHint: "digits first, then letters, digits and . + ~",
		release: regexp.MustCompile(`^[0-9][A-Za-z0-9.+~]*$`),
		arch:    map[string]string{"x86_64": "amd64", "aarch64": "arm64", "armv7l": "armhf", "i686": "i386", "ppc64le": "ppc64el"},
	},
	RPM: {
		name: regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]*$`), nameHint: "letters, digits and . _ + - after a letter or digit",
		version: regexp.MustCompile(`^[0-9][A-Za-z0-9._+~^]*$`), versionHint: "digits first, then letters, digits and . _ + ~ ^",
		release: regexp.MustCompile(`^[0-9][A-Za-z0-9._+~^]*$`),
		arch:    map[string]string{"armv7l": "armv7hl"},
	},
	APK: {
		name: regexp.MustCompile(`^[a-z0-9][a-z0-9+._-]*$`), nameHint: "lowercase letters, digits and + . _ - after a letter or digit",
		version: regexp.MustCompile(`^[0-9]+(\.[0-9]+)*[a-z]?(_(alpha|beta|pre|rc|cvs|svn|git|hg|p)[0-9]*)*$`), versionHint: "as in 5.0.2, 5.0.2a, 5.0.2_rc1 or 5.0.2_p3",
		release: regexp.MustCompile(`^[0-9]+$`),
		arch:    map[string]string{"armv7l": "armv7", "i686": "x86"},
	},
}

// taken are names of packages in distributions, which ours must not replace by having
// a higher version.
var taken = []string{
	"libapache2-mod-wsgi", "libapache2-mod-wsgi-py3", "mod_wsgi", "python3-mod_wsgi", "apache2-mod_wsgi", "apache2-mod_wsgi-python3",
	"apache2-mod-wsgi", "py3-mod-wsgi", "apache2", "httpd", "mod_wsgi-express",
}

const maxName = 200 // of a file name, with room for the rest of it

func checkName(f Format, name string) error {
	r := rules[f]
	switch {
	case !r.name.MatchString(name) || len(name) > maxName:
		return fault.New(fault.Usage, "use "+r.nameHint, "--name %q is not a valid name of a %s package", name, f)
	case slices.Contains(taken, name):
		return fault.New(fault.Usage, "choose another name, or leave --name out", "--name %s is the name of a package in distributions", name)
	}
	return nil
}

// checkMaintainer requires "Name <address>" (Debian Policy 5.6.2, RFC 5322).
func checkMaintainer(text string) error {
	hint := `write it as in --maintainer "Jane Doe <jane@your.domain>"`
	if strings.ContainsFunc(text, unicode.IsControl) {
		return fault.New(fault.Usage, hint, "--maintainer contains a control character")
	}
	a, err := mail.ParseAddress(text)
	if err == nil && (a.Name == "" || !strings.HasSuffix(strings.TrimSpace(text), ">")) {
		err = fmt.Errorf("it needs a name and an address")
	}
	if err != nil {
		return fault.New(fault.Usage, hint, "--maintainer %q: %w", text, err)
	}
	return nil
}

func checkRelease(f Format, release string) error {
	if rules[f].release.MatchString(release) {
		return nil
	}
	hint := "pass a positive number, and increase it when packaging the same version again"
	return fault.New(fault.Usage, hint, "--release %q is not a valid release of a %s package", release, f)
}

func checkVersion(f Format, version string) error {
	if rules[f].version.MatchString(version) {
		return nil
	}
	return fault.New(fault.Usage, "use "+rules[f].versionHint+"; pass the release with --release", "--version %q is not a valid version of a %s package", version, f)
}

// pep440 splits a public version identifier into its parts (PEP 440, "Public version
// identifiers").
var pep440 = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)*)(?:(a|b|rc)([0-9]+))?(?:\.post([0-9]+))?(?:\.dev([0-9]+))?(?:\+([a-z0-9.]+))?$`)

// mapVersion converts upstream's version to a package manager's syntax, so that it
// sorts as in PEP 440: pre-releases before the release, and development versions
// before all of its pre-releases.
func mapVersion(f Format, upstream string) (string, error) {
	bad := func() error {
		return fault.New(fault.Usage, "pass a version with --version", "the version %q of mod_wsgi cannot be written as that of a %s package", upstream, f)
	}
	normal, err := pydist.NormalVersion(upstream)
	if err != nil {
		return "", bad()
	}
	m := pep440.FindStringSubmatch(normal)
	if m == nil {
		return "", bad()
	}
	base, pre, preN, post, dev, local := m[1], m[2], m[3], m[4], m[5], m[6]
	v := base
	if f == APK {
		if local != "" {
			return "", bad()
		}
		if pre != "" {
			v += map[string]string{"a": "_alpha", "b": "_beta", "rc": "_rc"}[pre] + preN
		}
		if post != "" {
			v += "_p" + post
		}
		if dev != "" {
			if pre == "" && post == "" {
				v += "_alpha0" // nothing sorts lower
			}
			v += "_pre" + dev
		}
		return v, nil
	}
	if pre != "" {
		v += "~" + pre + preN
	}
	if post != "" {
		v += ".post" + post
	}
	if dev != "" {
		if pre == "" && post == "" {
			v += "~"
		}
		v += "~dev" + dev
	}
	if local != "" {
		v += "+" + local
	}
	return v, nil
}

// withHTTPD adds the version of a private httpd, so that a package with a newer one is
// an upgrade.
func withHTTPD(f Format, version, httpd string) string {
	if f != APK {
		return version + "+httpd" + httpd
	}
	var b strings.Builder
	for i, part := range strings.Split(httpd, ".") {
		if i > 0 {
			part = strings.Repeat("0", max(0, 3-len(part))) + part
		}
		b.WriteString(part)
	}
	return version + "_p" + b.String()
}

// archOf returns the CPU's name in the format.
func archOf(f Format, machine string) string {
	if a, ok := rules[f].arch[machine]; ok {
		return a
	}
	return machine
}

// fileName is the name that the format's own tools would give the package. Alpine's
// names lack the CPU because Alpine has a directory per CPU; ours include it because
// all packages are in one directory.
func fileName(f Format, name, version, release, arch string) string {
	switch f {
	case Deb:
		return name + "_" + version + "-" + release + "_" + arch + ".deb"
	case RPM:
		return name + "-" + version + "-" + release + "." + arch + ".rpm"
	default:
		return name + "-" + version + "-r" + release + "." + arch + ".apk"
	}
}
