package sysroot

import (
	"debug/elf"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"modwsgi/internal/debian/debiantest"
	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/internal/fetch"
	"modwsgi/internal/target"
	"modwsgi/internal/testkit"
)

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// contents are the files of a sysroot with this machine's real libc.
func contents(t *testing.T) (target.Target, map[string]string) {
	t.Helper()
	host, dir := hostLibc(t)
	m := host.Multiarch()
	_, minor, _ := strings.Cut(host.LibcVersion, ".")
	files := map[string]string{
		"lib/" + m + "/libc.so.6":                read(t, filepath.Join(dir, "libc.so.6")),
		strings.TrimPrefix(host.Loader(), "/"):   "-> /lib/" + m + "/ld.so",
		"lib/" + m + "/ld.so":                    read(t, host.Loader()),
		"lib/" + m + "/libm.so.6":                read(t, filepath.Join(dir, "libm.so.6")),
		"usr/lib/" + m + "/libm.so":              "-> /lib/" + m + "/libm.so.6",
		"usr/lib/" + m + "/libc.so":              "GROUP ( /lib/" + m + "/libc.so.6 )",
		"usr/include/features.h":                 "#define\t__GLIBC_MINOR__\t" + minor + "\n# define __GLIBC_USE_C2X_STRTOL 1\n",
		"usr/include/" + m + "/asm/errno.h":      "",
		"usr/include/linux/netfilter/xt_MARK.h":  "",
		"usr/share/doc/libc6/copyright":          "text",
		"usr/share/doc/libc6/changelog.gz":       "x",
		"usr/lib/" + m + "/gconv/gconv-modules":  "x",
		"usr/include/fcntl.h":                    "extern int __REDIRECT (fcntl, (int __fd, int __cmd, ...), fcntl64);\n",
		"usr/include/" + m + "/sys/socket.h":     "",
		"usr/lib/" + m + "/libpthread.so":        "GROUP ( )",
		"usr/lib/" + m + "/libdl.so":             "GROUP ( )",
		"usr/lib/" + m + "/libcrypt.so":          "GROUP ( )",
		"usr/lib/" + m + "/libc_nonshared.a":     "!<arch>\n",
		"usr/include/linux/limits.h":             "",
		"usr/include/" + m + "/bits/typesizes.h": "",
	}
	for _, name := range []string{"stdio.h", "stdlib.h", "errno.h", "pthread.h", "dlfcn.h", "crypt.h"} {
		files["usr/include/"+name] = ""
	}
	for _, name := range []string{"crt1.o", "crti.o", "crtn.o"} {
		files["usr/lib/"+m+"/"+name] = "object"
	}
	return host, files
}

// serve serves one suite with such a libc.
func serve(t *testing.T) (target.Target, *debiantest.Archive) {
	t.Helper()
	host, files := contents(t)
	packages := []debiantest.Package{{Name: "libc6", Version: host.LibcVersion + "-1", Deb: debiantest.Deb(files)}}
	for _, name := range []string{"libc6-dev", "linux-libc-dev", "libcrypt1", "libcrypt-dev", "libgcc-s1"} {
		packages = append(packages, debiantest.Package{Name: name, Version: "1", Deb: debiantest.Deb(map[string]string{"usr/include/of-" + name + ".h": ""})})
	}
	return host, debiantest.Serve(t, map[string]*debiantest.Suite{"bookworm": {Arch: host.DebianArch(), Date: time.Now().Add(-time.Hour), Packages: packages}})
}

// means returns what Make needs, with a fetcher that has only this mirror.
func means(t *testing.T, cache string, offline bool) Means {
	t.Helper()
	if cache == "" {
		cache = filepath.Join(t.TempDir(), "cache")
	}
	f, err := fetch.New(fetch.Options{CacheDir: cache, Retries: -1, Offline: offline})
	if err != nil {
		t.Fatal(err)
	}
	return Means{Fetcher: f, Work: t.TempDir()}
}

func request(t *testing.T, g target.Target, a *debiantest.Archive) Request {
	t.Helper()
	return Request{Target: g, Mirrors: []string{a.URL}, Keys: []string{a.Armored(t)}}
}

func TestMake(t *testing.T) {
	host, server := serve(t)
	s, err := Make(t.Context(), request(t, host, server), means(t, "", false))
	if err != nil {
		t.Fatal(err)
	}
	m := host.Multiarch()
	if s.Libc != host.LibcVersion || s.Stubs != "" || s.Source != "Debian bookworm" || len(s.Digest) != 64 || len(s.Newer()) > 0 || len(s.Lock.Packages) != 6 {
		t.Errorf("%+v", s)
	}
	for name, want := range map[string]string{
		"lib": "-> usr/lib", "lib64": "-> usr/lib64", "usr/lib/" + m + "/libm.so": "-> libm.so.6", "usr" + host.Loader(): "->", "usr/lib/" + m + "/crt1.o": "object",
		"usr/include/of-libcrypt-dev.h": "", "usr/share/doc/libc6/changelog.gz": "absent", "usr/share/doc/libc6/copyright": "text", "usr/include/linux/netfilter": "absent", "usr/lib/" + m + "/gconv": "absent",
	} {
		at := filepath.Join(s.Dir, name)
		link, _ := os.Readlink(at)
		data, err := os.ReadFile(at)
		switch {
		case want == "absent":
			if !os.IsNotExist(err) {
				t.Errorf("%s exists", name)
			}
		case strings.HasPrefix(want, "->"):
			real, err := filepath.EvalSymlinks(at)
			if err != nil || !strings.HasPrefix(link, strings.TrimPrefix(want[2:], " ")) || filepath.IsAbs(link) || !strings.HasPrefix(real, s.Dir+"/") {
				t.Errorf("%s leads to %s: %s, %v", name, link, real, err)
			}
		case err != nil || string(data) != want:
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
}

// An older target gets stubs, and headers that call nothing newer.
func TestMakeForAnOlderLibc(t *testing.T) {
	host, server := serve(t)
	if target.Compare(host.LibcVersion, "2.36") < 0 {
		t.Skip("this machine's glibc is too old to be newer")
	}
	g := host
	g.LibcVersion = "2.34"
	s, err := Make(t.Context(), request(t, g, server), means(t, "", false))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(s.Newer(), "arc4random") || slices.Contains(s.Newer(), "pthread_create") { // 2.36
		t.Errorf("newer: %q", s.Newer())
	}
	if a := s.Answers(); a["ac_cv_func_arc4random"] != "no" || a["ac_cv_func_printf"] != "" {
		t.Errorf("answers: %v", a)
	}
	for _, name := range []string{"libc.so", "libc.so.6", "libm.so.6", filepath.Base(host.Loader())} {
		if _, err := os.Stat(filepath.Join(s.Stubs, name)); err != nil {
			t.Error(err)
		}
	}
	if link, err := os.Readlink(filepath.Join(s.Stubs, "libm.so")); err != nil || link != "libm.so.6" {
		t.Errorf("libm.so leads to %s, %v", link, err)
	}
	if text := read(t, filepath.Join(s.Dir, "usr/include/features.h")); !strings.Contains(text, "__GLIBC_MINOR__\t34\n") {
		t.Errorf("features.h: %s", text)
	}
	// What has nothing to do with the age of the target stays.
	if text := read(t, filepath.Join(s.Dir, "usr/include/fcntl.h")); !strings.Contains(text, "fcntl64)") {
		t.Errorf("fcntl.h: %s", text)
	}
	g.LibcVersion = "2.28"
	q := request(t, g, server)
	q.Suite = "bookworm"
	_, err = Make(t.Context(), q, means(t, "", false))
	testkit.WantFault(t, err, fault.Usage, "nothing can be linked for glibc 2.28")
	_, err = Make(t.Context(), request(t, g, server), means(t, "", false))
	testkit.WantFault(t, err, fault.Source, "no mirror has", "bullseye")
}

// The same lock gives the same sysroot, also without the index and offline.
func TestLock(t *testing.T) {
	host, server := serve(t)
	cache := filepath.Join(t.TempDir(), "cache")
	q := request(t, host, server)
	one, err := Make(t.Context(), q, means(t, cache, false))
	if err != nil {
		t.Fatal(err)
	}
	server.Suites["bookworm"].Packages[1].Deb = debiantest.Deb(map[string]string{"usr/include/changed.h": ""})
	q.Lock = one.Lock
	before := len(server.Asked())
	two, err := Make(t.Context(), q, means(t, cache, true))
	if err != nil {
		t.Fatal(err)
	}
	if two.Digest != one.Digest || len(server.Asked()) != before {
		t.Errorf("%s, %s, asked for %v", one.Digest, two.Digest, server.Asked()[before:])
	}
	// The command of the compiler is part of a build's identity.
	c := Compiler{Words: []string{"gcc"}, LibgccDir: "/usr/lib/gcc"}
	x, xerr := one.CC(c)
	y, yerr := two.CC(c)
	if a, b := strings.ReplaceAll(strings.Join(x, " "), filepath.Dir(one.Dir), "TOP"), strings.ReplaceAll(strings.Join(y, " "), filepath.Dir(two.Dir), "TOP"); a != b || xerr != nil || yerr != nil || !strings.Contains(a, "-specs=TOP/") {
		t.Errorf("the compiler is %s, then %s: %v, %v", a, b, xerr, yerr)
	}
	all := func(string) bool { return true }
	a, aerr := digest.Tree(one.Dir, all)
	b, berr := digest.Tree(two.Dir, all)
	if a != b || aerr != nil || berr != nil {
		t.Errorf("the trees differ: %s, %s, %v, %v", a, b, aerr, berr)
	}
	q.Target.LibcVersion = "2.34"
	_, err = Make(t.Context(), q, means(t, cache, true))
	testkit.WantFault(t, err, fault.Usage, "locked sysroot is for")
}

func TestConcurrentSysroots(t *testing.T) {
	host, server := serve(t)
	cache := filepath.Join(t.TempDir(), "cache")
	q := request(t, host, server)
	m := means(t, cache, false)
	var wg sync.WaitGroup
	digests := make([]string, 4)
	for i := range digests {
		wg.Go(func() {
			own := m
			if i%2 == 1 {
				own = means(t, cache, false) // as another process has it
			}
			s, err := Make(t.Context(), q, own)
			if err != nil {
				t.Error(err)
				return
			}
			digests[i] = s.Digest + s.Libc
		})
	}
	wg.Wait()
	if len(slices.Compact(digests)) != 1 {
		t.Errorf("%q", digests)
	}
}

func TestUnusablePackages(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *debiantest.Suite, a *debiantest.Archive)
		want   string
	}{
		"path traversal": {func(s *debiantest.Suite, _ *debiantest.Archive) {
			s.Packages[1].Deb = debiantest.Deb(map[string]string{"usr/../../evil": "x"})
		}, `contains ".."`},
		"link out of the root": {func(s *debiantest.Suite, _ *debiantest.Archive) {
			s.Packages[1].Deb = debiantest.Deb(map[string]string{"usr/lib/evil.so": "-> ../../../../etc/passwd"})
		}, "outside of the archive"},
		"not a package": {func(s *debiantest.Suite, _ *debiantest.Archive) { s.Packages[1].Deb = []byte("<html>") }, "neither a tar file"},
		"wrong hash": {func(s *debiantest.Suite, a *debiantest.Archive) {
			p := s.Packages[1]
			a.Replace[debiantest.PathOf(p, s.Arch)] = append(p.Deb[:len(p.Deb)-1:len(p.Deb)-1], 'x')
		}, "it has sha256"},
		"missing": {func(s *debiantest.Suite, _ *debiantest.Archive) { s.Packages = s.Packages[:3] }, "libcrypt1, libcrypt-dev, libgcc-s1"},
		"not a libc": {func(s *debiantest.Suite, _ *debiantest.Archive) {
			s.Packages[0].Deb = debiantest.Deb(map[string]string{"usr/lib/x/libc.so.6": "x"})
		}, "read the libc"},
	} {
		t.Run(name, func(t *testing.T) {
			host, server := serve(t)
			c.change(server.Suites["bookworm"], server)
			m := means(t, "", false)
			_, err := Make(t.Context(), request(t, host, server), m)
			testkit.WantFault(t, err, fault.Source, c.want)
			if all, _ := filepath.Glob(filepath.Join(m.Work, "*", "evil*")); len(all) > 0 {
				t.Errorf("written outside: %v", all)
			}
			if _, err := os.Lstat(filepath.Join(m.Work, "evil")); err == nil {
				t.Error("written outside")
			}
		})
	}
}

func TestRequestsThatCannotBeMeant(t *testing.T) {
	linux := target.Target{OS: "linux", Arch: "amd64", Libc: "glibc", LibcVersion: "2.28"}
	for name, c := range map[string]struct {
		q    Request
		want string
	}{
		"Windows":            {Request{Target: target.Target{OS: "windows", Arch: "amd64"}}, "needs no sysroot"},
		"a full version":     {Request{Target: linux, Pythons: []string{"3.11.2"}}, "not a version of Python"},
		"an SDK too many":    {Request{Target: linux, SDKs: map[string]string{"3.11": "x"}}, "not wanted"},
		"directory and lock": {Request{Target: linux, Dir: t.TempDir(), Lock: &Lock{}}, "either a directory"},
		"no directory":       {Request{Target: linux, Dir: "/nowhere/at/all"}, "use sysroot"},
	} {
		_, err := Make(t.Context(), c.q, means(t, "", true))
		testkit.WantFault(t, err, fault.Usage, c.want)
		if fault.HintOf(err) == "" {
			t.Errorf("%s: no hint", name)
		}
	}
}

func TestOrder(t *testing.T) {
	for text, want := range map[string]string{
		"linux/amd64/glibc2.17": "buster bullseye", "linux/amd64/glibc2.28": "buster bullseye", "linux/amd64/glibc2.31": "bullseye buster",
		"linux/amd64/glibc2.34": "bullseye buster bookworm trixie forky sid", "linux/amd64/glibc2.36": "bookworm bullseye buster trixie forky sid",
		"linux/amd64/musl1.2": "bullseye bookworm trixie forky sid",
	} {
		g, err := target.Parse(text, target.Target{})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(order(g), " "); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// Which Pythons a sysroot has does not matter for what is built without one: httpd is the
// same for all, also if it is built by several machines.
func TestBaseIsWithoutPythons(t *testing.T) {
	host, server := serve(t)
	machine := elf.EM_X86_64
	if host.Arch == "arm64" {
		machine = elf.EM_AARCH64
	}
	cache := filepath.Join(t.TempDir(), "cache")
	made := func(dir string, versions ...string) *Sysroot {
		q := request(t, host, server)
		if dir != "" {
			q = Request{Target: host, Dir: dir}
		}
		q.SDKs = map[string]string{}
		for _, v := range versions {
			q.Pythons, q.SDKs[v] = append(q.Pythons, v), lay(t, sdk(host, v, machine))
		}
		s, err := Make(t.Context(), q, means(t, cache, false))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	_, files := usable(t)
	for _, dir := range []string{"", lay(t, files)} {
		none, one, two := made(dir), made(dir, "3.12"), made(dir, "3.12", "3.13t")
		if none.Base != one.Base || one.Base != two.Base || len(one.Base) != 64 {
			t.Errorf("%q: bases %s, %s, %s", dir, none.Base, one.Base, two.Base)
		}
		if none.Digest == one.Digest || one.Digest == two.Digest {
			t.Errorf("%q: digests %s, %s, %s", dir, none.Digest, one.Digest, two.Digest)
		}
		if filepath.Base(filepath.Dir(one.specs)) != filepath.Base(filepath.Dir(two.specs)) {
			t.Errorf("%q: the paths differ: %s, %s", dir, one.specs, two.specs)
		}
		if a, b := two.Pythons[0].Digest, two.Pythons[1].Digest; a == b || a == "" || b == "" || a != one.Pythons[0].Digest {
			t.Errorf("%q: Pythons %s, %s, %s", dir, a, b, one.Pythons[0].Digest)
		}
	}
}

// TestHasTooNew: a library of the sysroot may be for a newer C library than the target's.
func TestHasTooNew(t *testing.T) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip(err)
	}
	host, err := target.Host()
	if err != nil || host.Libc != target.Glibc {
		t.Skip("needs glibc: ", err)
	}
	dir := t.TempDir()
	for name, body := range map[string]string{
		"libold.so.1": "unsigned long strlen(const char *);\nunsigned long f(char *s) { return strlen(s); }\n",
		"libnew.so.1": "long getrandom(void *, unsigned long, unsigned);\nlong f(void) { return getrandom(0, 0, 0); }\n", // glibc 2.25
	} {
		source, lib := filepath.Join(dir, name+".c"), filepath.Join(dir, "usr/lib", host.Multiarch())
		if err := errors.Join(os.MkdirAll(lib, 0o755), os.WriteFile(source, []byte(body), 0o644)); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), cc, "-shared", "-fPIC", "-o", filepath.Join(lib, name), source).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for _, c := range []struct {
		libc, name string
		want       bool
	}{{"2.17", "libnew.so.1", true}, {"2.17", "libold.so.1", false}, {"2.28", "libnew.so.1", false}, {"2.17", "libnone.so.1", false}} {
		g := host
		g.LibcVersion = c.libc
		if got := (&Sysroot{Target: g, Dir: dir}).HasTooNew(c.name); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
