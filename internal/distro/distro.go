// Package distro knows the families of Linux distributions: how os-release(5) names
// them, what they call the packages that a build needs, and how these are installed.
// It is the one table of these names; every hint that says what to install takes them
// from here. It installs nothing and asks no package manager.
package distro

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

// Files are where os-release(5) is, in the order in which they are looked for.
var Files = []string{"/etc/os-release", "/usr/lib/os-release"}

// commands are the families and how each installs a package.
var commands = map[string]string{
	"debian": "apt-get install", "fedora": "dnf install", "rhel": "dnf install",
	"alpine": "apk add", "arch": "pacman -S", "suse": "zypper install",
	macOS: "brew install",
}

const macOS = "macos" // a family of its own, which has few of the packages

// families are the IDs of os-release(5) that stand for a family.
var families = map[string]string{
	"debian": "debian", "ubuntu": "debian", "fedora": "fedora", "rhel": "rhel", "centos": "rhel", "amzn": "rhel",
	"alpine": "alpine", "arch": "arch", "suse": "suse", "opensuse": "suse", "sles": "suse",
}

// Packages maps a family to the name of a package. "rhel" stands for "fedora" too,
// where that has no name of its own. {v} is a version of Python, {vv} the same without
// its dot.
type Packages map[string]string

// What a build, or a part of packaging, can lack.
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
	Binutils     = Packages{"debian": "binutils", "rhel": "binutils", "alpine": "binutils", "arch": "binutils", "suse": "binutils"}
	LibPython    = Packages{"debian": "libpython{v}", "fedora": "python3-libs", "rhel": "python{v}-libs", "alpine": "python3", "arch": "python", "suse": "libpython{v}-1_0"}
	MinGW        = Packages{"debian": "gcc-mingw-w64-x86-64", "rhel": "mingw64-gcc", "alpine": "mingw-w64-gcc", "arch": "mingw-w64-gcc", "suse": "mingw64-cross-gcc", macOS: "mingw-w64"}
	Osslsigncode = Packages{"debian": "osslsigncode", "rhel": "osslsigncode", "alpine": "osslsigncode", "arch": "osslsigncode", "suse": "osslsigncode", macOS: "osslsigncode"}
	Make         = Packages{"debian": "make", "rhel": "make", "alpine": "make", "arch": "make", "suse": "make"}
)

// Family returns the family of this machine, "" for one that is not known.
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

// Release is what os-release(5) tells of a system.
type Release struct {
	ID       string
	Like     []string // ID_LIKE
	Version  string   // VERSION_ID: "12", "24.04"
	Codename string   // VERSION_CODENAME
}

// ParseRelease reads the text of an os-release file. Of a name that is there twice
// the last one counts, as for a shell.
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

// Family returns the family of a system: by its ID, else by the first one known in
// ID_LIKE; "" for one that is not known.
func (r Release) Family() string {
	for _, id := range append(strings.Fields(r.ID), r.Like...) {
		if family := families[id]; family != "" {
			return family
		}
	}
	return ""
}

// For puts a version of Python ("3.11") into the names.
func (p Packages) For(version string) Packages {
	fill := strings.NewReplacer("{v}", version, "{vv}", strings.ReplaceAll(version, ".", ""))
	out := Packages{}
	for family, name := range p {
		out[family] = fill.Replace(name)
	}
	return out
}

// Name returns what a family calls the package, "" where that is not known.
func (p Packages) Name(family string) string {
	if name, ok := p[family]; ok || family != "fedora" {
		return name
	}
	return p["rhel"]
}

// Command returns the command that installs the package in a family, "" for one that
// is not known.
func (p Packages) Command(family string) string {
	name, command := p.Name(family), commands[family]
	if name == "" || command == "" {
		return ""
	}
	return command + " " + name
}

// Hint is Command in a sentence, for every family: first says what is missing, more
// what else would do; both may be empty.
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
