package distro

import (
	"fmt"
	"strings"
	"testing"
)

func TestCommands(t *testing.T) {
	for release, want := range map[string]string{
		"ID=debian\n":                          "apt-get install python3.11-dev|apt-get install apache2-dev",
		"ID=linuxmint\nID_LIKE=\"ubuntu x\"\n": "apt-get install python3.11-dev|apt-get install apache2-dev",
		"ID=fedora\n":                          "dnf install python3-devel|dnf install httpd-devel",
		"ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n": "dnf install python3.11-devel|dnf install httpd-devel",
		"ID_LIKE=\"rhel fedora\"\nID=nobara\n":           "dnf install python3.11-devel|dnf install httpd-devel",
		"ID_LIKE=rhel\nID=fedora\n":                      "dnf install python3-devel|dnf install httpd-devel", // its own ID first
		"ID=amzn\n":                                      "dnf install python3.11-devel|dnf install httpd-devel",
		"ID=alpine\n":                                    "apk add python3-dev|apk add apache2-dev",
		"ID='opensuse-leap'\nID_LIKE='suse opensuse'\n":  "zypper install python311-devel|zypper install apache2-devel",
		"ID=sles\n":                                      "zypper install python311-devel|zypper install apache2-devel",
		"ID=arch\n":                                      "pacman -S python|pacman -S apache",
		"ID=plan9\n":                                     "|",
		"":                                               "|",
	} {
		family := ParseRelease(release).Family()
		if got := PythonHeaders.For("3.11").Command(family) + "|" + HTTPDHeaders.Command(family); got != want {
			t.Errorf("%q: %q, want %q", release, got, want)
		}
	}
}

// Every package has a name in every family, so that hints are complete.
func TestTableIsComplete(t *testing.T) {
	for _, p := range []Packages{PythonHeaders, HTTPDHeaders, HTTPD, APR, APRUtil, OpenSSL, NGHTTP2, Zlib, Brotli, LibXML2, Compiler, LibC, Crypt, Awk, Sed, Grep, Coreutils, Binutils, Perl, Make, LibPython, MinGW, Osslsigncode} {
		for family := range commands {
			if p.For("3.11").Command(family) == "" && family != macOS {
				t.Errorf("%s has no package in %s", p["debian"], family)
			}
		}
		if left := fmt.Sprint(map[string]string(p.For("3.11"))); strings.Contains(left, "{") {
			t.Errorf("not filled in: %s", left)
		}
	}
	for id, family := range families {
		if commands[family] == "" {
			t.Errorf("%s is of the family %s, which installs nothing", id, family)
		}
	}
}

func TestHint(t *testing.T) {
	for family, want := range map[string]string{
		"debian": "it is missing; install it: apt-get install libssl-dev, or do without",
		"fedora": "it is missing; install it: dnf install openssl-devel, or do without",
		"rhel":   "it is missing; install it: dnf install openssl-devel, or do without",
		"alpine": "it is missing; install it: apk add openssl-dev, or do without",
		"arch":   "it is missing; install it: pacman -S openssl, or do without",
		"suse":   "it is missing; install it: zypper install libopenssl-devel, or do without",
		"":       "it is missing; install the package that holds it (Debian calls it libssl-dev) or do without",
	} {
		if got := OpenSSL.Hint(family, "it is missing;", "or do without"); got != want {
			t.Errorf("%s: got %q, want %q", family, got, want)
		}
	}
	if got, want := OpenSSL.Hint("debian", "", ""), "install it: apt-get install libssl-dev"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestJoin(t *testing.T) {
	for family, want := range map[string]string{
		"debian": "apt-get install libcrypt-dev binutils", "fedora": "dnf install libxcrypt-devel binutils", "alpine": "apk add musl-dev binutils", "macos": "",
	} {
		if got := Join(Crypt, Binutils, Crypt, Packages{}).Command(family); got != want {
			t.Errorf("%s: %q", family, got)
		}
	}
}

func TestFamily(t *testing.T) {
	for release, want := range map[string]string{
		"":                            "",
		"NAME=x\nID=plan9\n":          "",
		"ID=debian\n":                 "debian",
		"ID=ubuntu\nID_LIKE=debian\n": "debian",
		"ID_LIKE=\"ubuntu debian\"\nID=linuxmint\n":      "debian",
		"ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n": "rhel",
		"ID=fedora":                  "fedora",
		"ID='amzn'\n":                "rhel",
		"ID=alpine\r\n":              "alpine",
		"ID=manjaro\nID_LIKE=arch\n": "arch",
		"ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n": "suse",
		"VERSION_ID=debian\nXID=debian":                     "",
		"ID\n=debian\n":                                     "",
	} {
		if got := ParseRelease(release).Family(); got != want {
			t.Errorf("the family of %q is %q, want %q", release, got, want)
		}
	}
}

func TestParseRelease(t *testing.T) {
	got := ParseRelease("NAME=\"Ubuntu\"\n  VERSION_ID='24.04'\nID=first\nID=ubuntu\nID_LIKE=\"debian other\"\r\nVERSION_CODENAME=noble\n#ID=x\nnothing")
	if got.ID != "ubuntu" || len(got.Like) != 2 || got.Like[1] != "other" || got.Version != "24.04" || got.Codename != "noble" {
		t.Errorf("got %+v", got)
	}
}
