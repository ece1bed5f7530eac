// Package platform decides what modwsgi does on which operating system: where it builds
// and serves, and which commands are left on a system where it does not. It knows
// systems only by their names in Go (GOOS) and examines nothing, so that the decisions
// about one system are tested on another.
package platform

import (
	"runtime"
	"strings"

	"modwsgi/internal/fault"
)

// System is an operating system by its name in Go: "linux", "darwin". The zero value is
// the one that the program runs on.
type System string

// names are the names that people use for systems.
var names = map[string]string{
	"linux": "Linux", "windows": "Windows", "darwin": "macOS", "freebsd": "FreeBSD", "openbsd": "OpenBSD", "netbsd": "NetBSD",
	"dragonfly": "DragonFly BSD", "solaris": "Solaris", "illumos": "illumos", "aix": "AIX", "android": "Android", "ios": "iOS",
}

// Name is the system's name in Go.
func (s System) Name() string {
	if s == "" {
		return runtime.GOOS
	}
	return string(s)
}

// String is the system's name for people.
func (s System) String() string {
	if name := names[s.Name()]; name != "" {
		return name
	}
	return s.Name()
}

// Builds reports whether httpd and mod_wsgi can be built on this system, for it. Only
// ELF files that glibc or musl loads are made relocatable and checked.
func (s System) Builds() bool { return s.Name() == "linux" }

// Serves reports whether the launcher can have a module to serve with on this system:
// one that was built there, or on Windows one from a package.
func (s System) Serves() bool { return s.Builds() || s.Name() == "windows" }

// Windows is the platform that modules are cross-compiled for, from every system that
// has a compiler for it.
const Windows = "windows/amd64"

// Makes reports whether artifacts for a platform ("linux/amd64") can be made on this
// system.
func (s System) Makes(target string) bool { return target == Windows || s.Builds() }

// Unsupported reports whether nothing can be made for a platform ("darwin/arm64"), on
// any system, and names its system.
func Unsupported(target string) (System, bool) {
	goos, _, _ := strings.Cut(strings.ToLower(target), "/")
	if alias := map[string]string{"macos": "darwin", "macosx": "darwin", "osx": "darwin"}[goos]; alias != "" {
		goos = alias
	}
	s := System(goos)
	return s, names[goos] != "" && !s.Serves()
}

// Remaining lists the commands of modwsgi that do what they are for on a system where
// nothing can be built.
var Remaining = []string{
	"detect", "doctor", "list", "cache", "package verify", "package sdist", "module build --target " + Windows, "package windows",
	"package --matrix with platforms = [\"" + Windows + "\"]", "package oci --stage with a --base",
}

// CanBuild returns nil if httpd and mod_wsgi can be built on this system, else an error
// of class Environment. what is what the caller was asked to do, as in "install into an
// environment".
func (s System) CanBuild(what string) error {
	if s.Builds() {
		return nil
	}
	return fault.New(fault.Environment, s.Instead(), "cannot %s on %s: modwsgi builds httpd and mod_wsgi only on Linux", what, s)
}

// Instead is the hint for users of a system where nothing can be built.
func (s System) Instead() string {
	left := "on " + s.String() + " these commands of modwsgi work: " + strings.Join(Remaining, ", ")
	if s.Name() == "windows" {
		return "install a wheel or a zip for Windows, made with modwsgi package windows on any system; " + left
	}
	return "use Linux, for example a container or a virtual machine; " + left
}

// CanServe returns nil if the launcher can serve on this system, else an error of class
// Environment.
func (s System) CanServe() error {
	if s.Serves() {
		return nil
	}
	return fault.New(fault.Environment, "use Linux, for example a container or a virtual machine (modwsgi package oci makes an image there)",
		"mod_wsgi-express does not serve on %s: modwsgi cannot build a module for it", s)
}

// Programs lists the programs that are of use on this system, in display order. A
// private httpd, which mod_wsgi-apxs describes, exists only where it is built.
func (s System) Programs() []string {
	all := []string{"modwsgi", "mod_wsgi-express", "mod_wsgi-apxs"}
	switch {
	case s.Builds():
		return all
	case s.Serves():
		return all[:2]
	}
	return all[:1]
}
