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

// formatRules are what package managers allow in names and versions.
type formatRules struct {
	name, version, release *regexp.Regexp
	nameHint, versionHint  string
	arch                   map[string]string // of uname -m; what is not in it is the same word
}

// Sources: Debian Policy 5.6.1, 5.6.12 and dpkg's table of CPUs; RPM's
// documentation of versions; apk-package(5) and Alpine's list of architectures.
var rules = map[Format]formatRules{
	Deb: {
		name: regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`), nameHint: "lower case letters, digits and + - . after a letter or digit",
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
		name: regexp.MustCompile(`^[a-z0-9][a-z0-9+._-]*$`), nameHint: "lower case letters, digits and + . _ - after a letter or digit",
		version: regexp.MustCompile(`^[0-9]+(\.[0-9]+)*[a-z]?(_(alpha|beta|pre|rc|cvs|svn|git|hg|p)[0-9]*)*$`), versionHint: "as in 5.0.2, 5.0.2a, 5.0.2_rc1 or 5.0.2_p3",
		release: regexp.MustCompile(`^[0-9]+$`),
		arch:    map[string]string{"armv7l": "armv7", "i686": "x86"},
	},
}

// taken are names of packages that distributions have: ours must not replace
// them by having a higher version.
var taken = []string{
	"libapache2-mod-wsgi", "libapache2-mod-wsgi-py3", "mod_wsgi", "python3-mod_wsgi", "apache2-mod_wsgi", "apache2-mod_wsgi-python3",
	"apache2-mod-wsgi", "py3-mod-wsgi", "apache2", "httpd", "mod_wsgi-express",
}

const maxName = 200 // of a file name, leaving room for the rest of it

func checkName(f Format, name string) error {
	r := rules[f]
	switch {
	case !r.name.MatchString(name) || len(name) > maxName:
		return fault.New(fault.Usage, "it is made of "+r.nameHint, "--name %q is no name of a %s package", name, f)
	case slices.Contains(taken, name):
		return fault.New(fault.Usage, "give another name, or leave --name out", "--name %s is the name of a package that distributions have", name)
	}
	return nil
}

// checkMaintainer wants "Name <address>" (Debian Policy 5.6.2, RFC 5322).
func checkMaintainer(text string) error {
	hint := `write it as in --maintainer "Jane Doe <jane@your.domain>"`
	if strings.ContainsFunc(text, unicode.IsControl) {
		return fault.New(fault.Usage, hint, "--maintainer holds a control character")
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
	hint := "give a number from 1, which grows when the same version is packaged again"
	return fault.New(fault.Usage, hint, "--release %q is no release of a %s package", release, f)
}

func checkVersion(f Format, version string) error {
	if rules[f].version.MatchString(version) {
		return nil
	}
	return fault.New(fault.Usage, "it is made of "+rules[f].versionHint+"; the release is given with --release", "--version %q is no version of a %s package", version, f)
}

// pep440 takes a normal version apart (PEP 440, "Public version identifiers").
var pep440 = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)*)(?:(a|b|rc)([0-9]+))?(?:\.post([0-9]+))?(?:\.dev([0-9]+))?(?:\+([a-z0-9.]+))?$`)

// mapVersion writes upstream's version in the words of a package manager, so that
// it orders them as PEP 440 does: pre-releases go before the release, and
// development versions before all of theirs.
func mapVersion(f Format, upstream string) (string, error) {
	bad := func() error {
		return fault.New(fault.Usage, "give a version with --version", "the version %q of mod_wsgi cannot be written as that of a %s package", upstream, f)
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

// withHTTPD adds the version of a private httpd: a package with a newer one must
// be an upgrade.
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

// archOf is the CPU in the words of the format.
func archOf(f Format, machine string) string {
	if a, ok := rules[f].arch[machine]; ok {
		return a
	}
	return machine
}

// fileName is the package's, as the format's own tools would name it. Alpine's
// have no CPU in it, because they lie in a directory for each; ours lie in one.
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
