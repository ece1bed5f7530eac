//go:build unix

package httpdbuild

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/distro"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
	"modwsgi/internal/toolchain"
)

// lacking is a compiler that does not find some libraries and headers.
func lacking(t *testing.T, missing string) *toolchain.Toolchain {
	t.Helper()
	if testing.Short() {
		t.Skip("-short starts no compiler")
	}
	real, err := run.LookPath("cc", os.Environ())
	if err != nil {
		t.Skip("no C compiler here")
	}
	cc := filepath.Join(t.TempDir(), "cc")
	script := "#!/bin/sh\nfor word; do case $word in\n" + missing + ") echo \"cannot find $word\" >&2; exit 1 ;;\n" +
		"*.c) ! grep -q 'include <" + missing + ">' \"$word\" || { echo 'no such header' >&2; exit 1; } ;;\nesac; done\nexec " + run.Quote(real) + " \"$@\"\n"
	if err := writeFile(cc, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return &toolchain.Toolchain{CC: []string{cc}, Target: "x86_64-linux-gnu", Libc: "glibc 2.36", Family: "debian", Env: []string{"PATH=" + os.Getenv("PATH")}}
}

// Everything that a build needs is tried before it, and named with its package.
func TestWhatABuildNeeds(t *testing.T) {
	for missing, want := range map[string]string{
		"nothing":   "",
		"-lcrypt":   "the library crypt (-lcrypt)|apt-get install libcrypt-dev",
		"-ldl":      "", // in the C library of recent systems, or the next line
		"pthread.h": "the library of threads (-lpthread)|apt-get install libc6-dev",
		"netdb.h":   "the headers of the C library and the kernel|apt-get install libc6-dev",
	} {
		t.Run(missing, func(t *testing.T) {
			h, err := Probe(t.Context(), &run.Runner{}, lacking(t, missing), t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			err = h.CheckNeeds(FromHost)
			if want == "" {
				if err != nil && missing != "-ldl" {
					t.Errorf("%v", err)
				}
				return
			}
			what, command, _ := strings.Cut(want, "|")
			if fault.ClassOf(err) != fault.Environment || !strings.Contains(err.Error(), " does not find "+what) || !strings.HasSuffix(fault.HintOf(err), command) {
				t.Errorf("%v, hint %q", err, fault.HintOf(err))
			}
		})
	}
}

// Programs that configure scripts run are also named, with one command for all.
func TestUtilitiesThatABuildNeeds(t *testing.T) {
	tc := lacking(t, "-lcrypt")
	bin := t.TempDir()
	for _, name := range append(Utilities(), "as", "ld", "sh", "cat") {
		if path, err := run.LookPath(name, os.Environ()); err == nil && name != "nm" && !strings.HasSuffix(name, "awk") {
			if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	tc.Env = []string{"PATH=" + bin}
	h, err := Probe(t.Context(), &run.Runner{}, tc, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range h.Missing {
		names = append(names, m.What)
	}
	if !slices.Equal(names, []string{"nm", "awk", "the library crypt (-lcrypt)"}) {
		t.Errorf("%q", names)
	}
	if err := h.CheckNeeds(FromHost); !strings.Contains(err.Error(), "PATH lacks nm, awk; the compiler ") {
		t.Error(err)
	}
	if hint := fault.HintOf(h.CheckNeeds(FromHost)); hint != "install it: apt-get install binutils mawk libcrypt-dev" {
		t.Errorf("hint %q", hint)
	}
}

// Programs run on this machine, and libraries belong to the target.
func TestNeedsOfAnotherSystem(t *testing.T) {
	tc := &toolchain.Toolchain{CC: []string{"aarch64-linux-gnu-gcc"}, Cross: "aarch64-linux-gnu", Root: "/roots/arm64", Family: "debian", Env: []string{"PATH=" + t.TempDir()}}
	h := &Host{Toolchain: tc, Missing: []Missing{{"cc", true, distro.Compiler}, {"the library crypt (-lcrypt)", false, distro.Crypt}}}
	err := h.CheckNeeds(FromHost)
	want := "install it: apt-get install build-essential; add it to the sysroot /roots/arm64 (Debian's package: libcrypt-dev)"
	if fault.ClassOf(err) != fault.Environment || fault.HintOf(err) != want {
		t.Errorf("%v, hint %q, want %q", err, fault.HintOf(err), want)
	}
	tc.Made = true
	want = "install it: apt-get install build-essential; add it to the sysroot: --sysroot-package libcrypt-dev"
	if hint := fault.HintOf(h.CheckNeeds(FromHost)); hint != want {
		t.Errorf("a sysroot of packages: hint %q, want %q", hint, want)
	}
	// Perl runs on this machine, and OpenSSL's headers are the target's.
	h.Target = "aarch64-linux-gnu"
	_, err = h.Select([]string{"tls"}, nil, Auto)
	want = "to link the OpenSSL of the sysroot, add it to the sysroot: --sysroot-package libssl-dev; to build it from source, install it: apt-get install perl, or leave out --with tls"
	if err == nil || fault.HintOf(err) != want || len(distro.Fixing(err)) > 0 {
		t.Errorf("%v, hint %q, want %q", err, fault.HintOf(err), want)
	}
	h.Missing = h.Missing[:1]
	if err := h.CheckNeeds(FromHost); err == nil || !strings.HasSuffix(err.Error(), "PATH lacks cc") || fault.HintOf(err) != "install it: apt-get install build-essential" {
		t.Errorf("only a program: %v, hint %q", err, fault.HintOf(err))
	}
	if buildCompiler(tc.Env) != "" {
		t.Error("a compiler was found in an empty directory")
	}
}

// Results of tests for another system follow its C library, and those of the caller win.
func TestSettingsOfAnotherSystem(t *testing.T) {
	q := &Request{Host: &Host{Toolchain: &toolchain.Toolchain{Libc: "glibc 2.28"}}}
	if got := q.settings(); !slices.Contains(got, "ac_cv_strerror_r_rc_int=no") || !slices.Equal(got, q.settings()) {
		t.Errorf("glibc: %q", got)
	}
	q.Host.Libc = "musl 1.2"
	q.Answers = map[string]string{"apr_cv_epoll": "no"}
	if got := q.settings(); !slices.Contains(got, "ac_cv_strerror_r_rc_int=yes") || !slices.Contains(got, "apr_cv_epoll=no") || slices.Contains(got, "apr_cv_epoll=yes") {
		t.Errorf("musl: %q", got)
	}
}
