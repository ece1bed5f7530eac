// Package distro knows the families of Linux distributions: their names in os-release(5),
// their names for the packages that a build needs, and the commands that install them. It
// is the only table of these names, and every hint about packages uses it. It installs
// nothing and runs no package manager.
package distro

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
)

// Files are the paths of os-release(5), in order of precedence.
var Files = []string{"/etc/os-release", "/usr/lib/os-release"}

// commands are the install commands of the families.
var commands = map[string]string{
	"debian": "apt-get install", "fedora": "dnf install", "rhel": "dnf install",
	"alpine": "apk add", "arch": "pacman -S", "suse": "zypper install",
	macOS: "brew install",
}

const macOS = "macos" // a separate family, which has few of the packages

// families maps IDs of os-release(5) to families.
var families = map[string]string{
	"debian": "debian", "ubuntu": "debian", "fedora": "fedora", "rhel": "rhel", "centos": "rhel", "amzn": "rhel",
	"alpine": "alpine", "arch": "arch", "suse": "suse", "opensuse": "suse", "sles": "suse",
}

// Packages maps a family to the name of a package. If "fedora" has no entry, that of
// "rhel" applies. {v} stands for a version of Python, and {vv} for the same without its
// dot.
type Packages map[string]string

// Packages that a build or a packaging step may need.
var (
	PythonHeaders = Packages{
		"debian": "python{v}-dev", "fedora": "python3-devel", "rhel": "python{v}-devel", "alpine": "python3-dev", "arch": "python", "suse": "python{vv}-devel",
	}
	HTTPDHeaders = Packages{"debian": "apache2-dev", "rhel": "httpd-devel", "alpine": "apache2-dev", "arch": "apache", "suse": "apache2-devel"}
	HTTPD        = Packages{"debian": "apache2", "rhel": "httpd", "alpine": "apache2", "arch": "apache", "suse": "apache2"}
	APR          = Packages{"debian": "libapr1-dev", "rhel": "apr-devel", "alpine": "apr-dev", "arch": "apr", "suse": "apr-devel"}
	APRUtil      = Packages{"debian": "libaprutil1-dev", "rhel": "apr-util-devel", "alpine": "apr-util-dev", "arch": "apr-util", "suse": "apr-util-devel"}
	OpenSSL      = Packages{"debian": "libssl-dev", "rhel": "openssl-devel", "alpine": "openssl-dev", "arch": "openssl", "suse": "libopenssl-devel"}
	NGHTTP2      = Packages{"debian": "libnghttp2-dev", "rhel": "libnghttp2-devel", "alpine": "nghttp2-dev", "arch": "libnghttp2", "suse": "libnghttp2-devel"}
	Zlib         = Packages{"debian": "zlib1g-dev", "rhel": "zlib-devel", "alpine": "zlib-dev", "arch": "zlib", "suse": "zlib-devel"}
	Brotli       = Packages{"debian": "libbrotli-dev", "rhel": "brotli-devel", "alpine": "brotli-dev", "arch": "brotli", "suse": "libbrotli-devel"}
	LibXML2      = Packages{"debian": "libxml2-dev", "rhel": "libxml2-devel", "alpine": "libxml2-dev", "arch": "libxml2", "suse": "libxml2-devel"}
	Compiler     = Packages{"debian": "build-essential", "rhel": "gcc make", "alpine": "build-base", "arch": "base-devel", "suse": "gcc make"}
	LibC         = Packages{"debian": "libc6-dev", "rhel": "glibc-devel", "alpine": "musl-dev", "arch": "glibc", "suse": "glibc-devel"}
	Crypt        = Packages{"debian": "libcrypt-dev", "rhel": "libxcrypt-devel", "alpine": "musl-dev", "arch": "libxcrypt", "suse": "libxcrypt-devel"}
	Awk          = Packages{"debian": "mawk", "rhel": "gawk", "alpine": "gawk", "arch": "gawk", "suse": "gawk"}
	Sed          = Packages{"debian": "sed", "rhel": "sed", "alpine": "sed", "arch": "sed", "suse": "sed"}
	Grep         = Packages{"debian": "grep", "rhel": "grep", "alpine": "grep", "arch": "grep", "suse": "grep"}
	Coreutils    = Packages{"debian": "coreutils", "rhel": "coreutils", "alpine": "coreutils", "arch": "coreutils", "suse": "coreutils"}
	Binutils     = Packages{"debian": "binutils", "rhel": "binutils", "alpine": "binutils", "arch": "binutils", "suse": "binutils"}
	LibPython    = Packages{"debian": "libpython{v}", "fedora": "python3-libs", "rhel": "python{v}-libs", "alpine": "python3", "arch": "python", "suse": "libpython{v}-1_0"}
	MinGW        = Packages{"debian": "gcc-mingw-w64-x86-64", "rhel": "mingw64-gcc", "alpine": "mingw-w64-gcc", "arch": "mingw-w64-gcc", "suse": "mingw64-cross-gcc", macOS: "mingw-w64"}
	Osslsigncode = Packages{"debian": "osslsigncode", "rhel": "osslsigncode", "alpine": "osslsigncode", "arch": "osslsigncode", "suse": "osslsigncode", macOS: "osslsigncode"}
	Perl         = Packages{"debian": "perl", "rhel": "perl", "alpine": "perl", "arch": "perl", "suse": "perl"}
	Make         = Packages{"debian": "make", "rhel": "make", "alpine": "make", "arch": "make", "suse": "make"}
)

// CrossCompiler returns the packages of the GNU compiler for another CPU, as uname -m names
// it. Of the families only some have one, with a C library.
func CrossCompiler(machine string) Packages {
	debian := map[string]string{
		"x86_64": "gcc-x86-64-linux-gnu", "i686": "gcc-i686-linux-gnu", "armv7l": "gcc-arm-linux-gnueabihf", "ppc64le": "gcc-powerpc64le-linux-gnu",
	}
	name := "gcc-" + machine + "-linux-gnu"
	if other := debian[machine]; other != "" {
		name = other
	}
	return Packages{"debian": name, "fedora": "gcc-" + machine + "-linux-gnu", "arch": machine + "-linux-gnu-gcc"}
}

// QEMU has the emulators that run programs of another CPU.
var QEMU = Packages{"debian": "qemu-user", "rhel": "qemu-user", "alpine": "qemu-aarch64", "arch": "qemu-user", "suse": "qemu-linux-user"}

// Family returns the family of this machine, or "" if unknown.
func Family() string {
	if runtime.GOOS == "darwin" {
		return macOS
	}
	for _, name := range Files {
		if data, err := os.ReadFile(name); err == nil {
			return ParseRelease(string(data)).Family()
		}
	}
	return ""
}

// Release is the content of os-release(5).
type Release struct {
	ID       string
	Like     []string // ID_LIKE
	Version  string   // VERSION_ID: "12", "24.04"
	Codename string   // VERSION_CODENAME
}

// ParseRelease reads the text of an os-release file. The last assignment of a name
// counts, as in a shell.
func ParseRelease(text string) Release {
	var r Release
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.Trim(value, `"'`)
		switch name {
		case "ID":
			r.ID = value
		case "ID_LIKE":
			r.Like = strings.Fields(value)
		case "VERSION_ID":
			r.Version = value
		case "VERSION_CODENAME":
			r.Codename = value
		}
	}
	return r
}

// Family returns the family of a system, by its ID or the first known one in ID_LIKE, or
// "" if unknown.
func (r Release) Family() string {
	for _, id := range append(strings.Fields(r.ID), r.Like...) {
		if family := families[id]; family != "" {
			return family
		}
	}
	return ""
}

// Join returns the names of several packages, for one command that installs all of them.
func Join(all ...Packages) Packages {
	out, seen := Packages{}, map[string]bool{}
	for family := range commands {
		for _, p := range all {
			if name := p.Name(family); name != "" && !seen[family+" "+name] {
				seen[family+" "+name] = true
				out[family] = strings.TrimSpace(out[family] + " " + name)
			}
		}
	}
	return out
}

// For inserts a version of Python ("3.11") into the names.
func (p Packages) For(version string) Packages {
	fill := strings.NewReplacer("{v}", version, "{vv}", strings.ReplaceAll(version, ".", ""))
	out := Packages{}
	for family, name := range p {
		out[family] = fill.Replace(name)
	}
	return out
}

// Name returns a family's name for the package, or "" if unknown.
func (p Packages) Name(family string) string {
	if name, ok := p[family]; ok || family != "fedora" {
		return name
	}
	return p["rhel"]
}

// Command returns the command that installs the package in a family, or "" if unknown.
func (p Packages) Command(family string) string {
	name, command := p.Name(family), commands[family]
	if name == "" || command == "" {
		return ""
	}
	return command + " " + name
}

// Missing is an error about something that these packages provide.
type Missing struct {
	Err      error
	Packages []Packages
}

func (m *Missing) Error() string { return m.Err.Error() }

func (m *Missing) Unwrap() error { return m.Err }

// Needing adds the packages that fix an error to it.
func Needing(err error, packages ...Packages) error {
	return &Missing{err, packages}
}

// Fixing returns the packages that fix the errors, which [Needing] added.
func Fixing(errs ...error) []Packages {
	var out []Packages
	for _, err := range errs {
		var m *Missing
		if errors.As(err, &m) {
			out = append(out, m.Packages...)
		}
	}
	return out
}

// Together returns the packages as one, for one command that installs them all. A name
// occurs once. A family is left out if the name of one of the packages is unknown there.
func Together(all ...Packages) Packages {
	out := Packages{}
	for family := range commands {
		var names []string
		for _, p := range all {
			name := p.Name(family)
			if name == "" {
				names = nil
				break
			}
			for _, n := range strings.Fields(name) {
				if !slices.Contains(names, n) {
					names = append(names, n)
				}
			}
		}
		if len(names) > 0 {
			out[family] = strings.Join(names, " ")
		}
	}
	return out
}

// Hint returns a sentence with the install command, for any family. first is the text
// before it and more the alternatives after it; both may be empty.
func (p Packages) Hint(family, first, more string) string {
	command := p.Command(family)
	switch {
	case command == "":
		return strings.TrimSpace(fmt.Sprintf("%s install the package that holds it (Debian calls it %s) %s", first, p["debian"], more))
	case more != "":
		more = ", " + more
	}
	return strings.TrimSpace(fmt.Sprintf("%s install it: %s%s", first, command, more))
}
