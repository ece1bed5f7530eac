package sysroot

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"modwsgi/internal/debian"
	"modwsgi/internal/fault"
	"modwsgi/internal/fetch"
	"modwsgi/internal/target"
)

// suites are Debian's suites from the oldest, with the versions of their C libraries and
// Pythons. These only decide about the order of attempts, so that few indexes are read: the
// packages' own versions count.
var suites = []struct{ name, glibc, musl, pythons string }{
	{"buster", "2.28", "", "3.7"}, // its musl is 1.1, which has another ABI on 32-bit processors
	{"bullseye", "2.31", "1.2.2", "3.9"},
	{"bookworm", "2.36", "1.2.3", "3.11"},
	{"trixie", "2.41", "1.2.5", "3.13"},
	{"forky", "2.43", "1.2.6", "3.13 3.14"},
	{"sid", "2.43", "1.2.6", "3.13 3.14 3.15"},
}

// inlined is the first glibc whose headers and libraries are of no use for older targets:
// see the package comment.
const inlined = "2.34"

// order returns the suites to try for a target: those that are old enough from the newest
// on, because new headers know more, then the newer ones from the oldest on.
func order(t target.Target) []string {
	var old, newer []string
	for _, s := range suites {
		version := s.glibc
		if t.Libc == target.Musl {
			version = s.musl
		}
		switch {
		case version == "":
		case target.Compare(version, t.LibcVersion) <= 0:
			old = append([]string{s.name}, old...)
		case t.Libc == target.Musl || !tooNew(t, version):
			newer = append(newer, s.name)
		}
	}
	return append(old, newer...)
}

// tooNew reports whether a glibc is of no use for a target, even with stubs.
func tooNew(t target.Target, glibc string) bool {
	return target.Compare(glibc, inlined) >= 0 && target.Compare(t.LibcVersion, inlined) < 0
}

func openArchive(ctx context.Context, q Request, m Means) (*debian.Archive, error) {
	var mirrors []fetch.Mirror
	for _, base := range q.Mirrors {
		mirrors = append(mirrors, fetch.Mirror{Base: base, Keys: q.Keys})
	}
	if len(mirrors) == 0 {
		mirrors = m.Fetcher.HostMirrors(ctx)
	}
	return debian.Open(m.Fetcher, mirrors)
}

// choose chooses the packages of a sysroot.
func choose(ctx context.Context, q Request, a *debian.Archive) (*Lock, error) {
	suite, packages, err := chooseLibc(ctx, q, a)
	if err != nil {
		return nil, err
	}
	lock := &Lock{Target: q.Target.String()}
	lock.add("", packages)
	for _, version := range q.Pythons {
		if q.SDKs[version] != "" {
			continue
		}
		packages, err := choosePython(ctx, q, a, suite, version)
		if err != nil {
			return nil, err
		}
		lock.add(version, packages)
	}
	return lock, nil
}

func (l *Lock) add(python string, packages []debian.Package) {
	for _, p := range packages {
		l.Packages = append(l.Packages, Package{
			Name: p.Name, Version: p.Version, Arch: p.Arch, Suite: p.Suite, File: p.File, Size: p.Size, SHA256: p.SHA256, Python: python,
		})
	}
}

// chooseLibc chooses the suite, and the packages with the libc and the kernel's headers.
func chooseLibc(ctx context.Context, q Request, a *debian.Archive) (*debian.Suite, []debian.Package, error) {
	names := order(q.Target)
	if q.Suite != "" {
		names = []string{q.Suite}
	}
	for _, name := range names {
		suite, err := a.Suite(ctx, name, q.Target.DebianArch())
		var absent *debian.NoSuite
		if errors.As(err, &absent) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		packages, err := libcPackages(q, suite)
		if err != nil {
			return nil, nil, err
		}
		if version := upstream(packages[0].Version); q.Target.Libc == target.Glibc && tooNew(q.Target, version) {
			return nil, nil, fault.New(fault.Usage, "name a suite with an older glibc, such as bullseye, or a directory of your own as the sysroot",
				"Debian's suite %s has glibc %s, with which nothing can be linked for glibc %s", name, version, q.Target.LibcVersion)
		}
		return suite, packages, nil
	}
	return nil, nil, fault.New(fault.Source, "name another mirror of Debian, a target with a newer libc, or a directory of your own as the sysroot",
		"no mirror has a suite of Debian for %s (tried %s)", q.Target, strings.Join(names, ", "))
}

// libcPackages returns the packages of a sysroot without Python. The first one is the
// libc's.
func libcPackages(q Request, s *debian.Suite) ([]debian.Package, error) {
	names := []string{"libc6", "libc6-dev", "linux-libc-dev", "libcrypt1", "libcrypt-dev", "libgcc-s1"}
	if q.Target.Libc == target.Musl {
		names = []string{"musl", "musl-dev", "linux-libc-dev"}
	}
	// For clang, which looks for GCC's runtime in the sysroot.
	if dev := gccRuntime(s); dev != "" {
		names = append(names, dev)
	}
	packages, err := s.Find(names...)
	if err != nil || len(q.Extra) == 0 {
		return packages, err
	}
	more, err := s.Closure(q.Extra...)
	if err != nil {
		return nil, err
	}
	for _, p := range more {
		if !slices.ContainsFunc(packages, func(o debian.Package) bool { return o.Name == p.Name }) {
			packages = append(packages, p)
		}
	}
	return packages, nil
}

var runtimeName = regexp.MustCompile(`\bgcc-([0-9]+)\b`)

// gccRuntime returns the package with the runtime of the suite's default GCC.
func gccRuntime(s *debian.Suite) string {
	if m := runtimeName.FindStringSubmatch(s.Depends("gcc")); m != nil && s.Has("libgcc-"+m[1]+"-dev") {
		return "libgcc-" + m[1] + "-dev"
	}
	return ""
}

// upstream returns the version of upstream in a Debian version: "2.31" of
// "1:2.31-13+deb11u11".
func upstream(version string) string {
	if _, rest, ok := strings.Cut(version, ":"); ok {
		version = rest
	}
	version, _, _ = strings.Cut(version, "-")
	version, _, _ = strings.Cut(version, "+")
	return version
}

// choosePython chooses a suite that has a Python, preferably the libc's own, otherwise the
// oldest.
func choosePython(ctx context.Context, q Request, a *debian.Archive, libc *debian.Suite, version string) ([]debian.Package, error) {
	if q.Target.Libc == target.Musl {
		return nil, fault.New(fault.Usage, sdkHint, "Debian has no Python %s for %s", version, q.Target)
	}
	tried := []string{}
	for s := libc; s != nil; {
		if s.Has("libpython" + version + "-dev") {
			return pythonPackages(q, s, version)
		}
		tried = append(tried, s.Name)
		var err error
		if s, err = nextSuite(ctx, q, a, version, tried); err != nil {
			return nil, err
		}
	}
	return nil, fault.New(fault.Usage, sdkHint, "none of Debian's suites %s has Python %s for %s", strings.Join(tried, ", "), version, q.Target)
}

const sdkHint = "name an SDK of it: an archive of python-build-standalone, or a directory with an installed Python of that system"

// nextSuite returns the first suite that was not tried yet, or nil. Those that are known to
// have a Python come first.
func nextSuite(ctx context.Context, q Request, a *debian.Archive, python string, tried []string) (*debian.Suite, error) {
	for _, likely := range []bool{true, false} {
		for _, s := range suites {
			if slices.Contains(tried, s.name) || slices.Contains(strings.Fields(s.pythons), python) != likely {
				continue
			}
			suite, err := a.Suite(ctx, s.name, q.Target.DebianArch())
			var absent *debian.NoSuite
			if errors.As(err, &absent) {
				continue
			}
			return suite, err
		}
	}
	return nil, nil
}

// pythonPackages returns the packages of a Python: headers, libraries and the facts about
// it, and with Interpreters everything that it needs to run.
func pythonPackages(q Request, s *debian.Suite, version string) ([]debian.Package, error) {
	names := []string{
		"libpython" + version + "-dev", "libpython" + version, "libpython" + version + "-stdlib", "libpython" + version + "-minimal", "python" + version + "-minimal",
	}
	if q.Interpreters {
		return s.Closure(append(names, "python"+version)...)
	}
	return s.Find(names...)
}

var pythonForm = regexp.MustCompile(`^3\.[0-9]{1,2}t?$`)

// check refuses requests that cannot be meant.
func (q Request) check() error {
	for _, v := range q.Pythons {
		if !pythonForm.MatchString(v) {
			return fault.New(fault.Usage, `give the first two numbers, as in 3.11, with "t" for a free-threaded build`, "%q is not a version of Python for a target", v)
		}
	}
	for v := range q.SDKs {
		if !slices.Contains(q.Pythons, v) {
			return fault.New(fault.Usage, "add the version to the Pythons of the target", "there is an SDK for Python %s, which is not wanted", v)
		}
	}
	if q.Target.DebianArch() == "" {
		return fmt.Errorf("unknown processor of %s", q.Target)
	}
	return nil
}
