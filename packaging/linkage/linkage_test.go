//go:build linux

package linkage

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/elf"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
	"modwsgi/packaging"
)

func TestManylinux(t *testing.T) {
	for name, c := range map[string]struct {
		versions Versions
		machine  string
		want     string // or part of the error
	}{
		"nothing":        {nil, "x86_64", "manylinux1_x86_64 manylinux_2_5_x86_64"},
		"old":            {Versions{"GLIBC": "2.3.4"}, "x86_64", "manylinux1_x86_64 manylinux_2_5_x86_64"},
		"alias 2010":     {Versions{"GLIBC": "2.12"}, "x86_64", "manylinux2010_x86_64 manylinux_2_12_x86_64"},
		"alias 2014":     {Versions{"GLIBC": "2.17"}, "x86_64", "manylinux2014_x86_64 manylinux_2_17_x86_64"},
		"perennial":      {Versions{"GLIBC": "2.34"}, "x86_64", "manylinux_2_34_x86_64"},
		"numbers":        {Versions{"GLIBC": "2.9"}, "x86_64", "manylinux2010_x86_64 manylinux_2_12_x86_64"},
		"rounded up":     {Versions{"GLIBC": "2.14"}, "x86_64", "manylinux2014_x86_64 manylinux_2_17_x86_64"},
		"without a name": {Versions{"GLIBC": "2.25"}, "aarch64", "manylinux_2_26_aarch64"},
		"newer than all": {Versions{"GLIBC": "2.99"}, "x86_64", "manylinux_2_99_x86_64"},
		"oldest for CPU": {Versions{"GLIBC": "2.3"}, "aarch64", "manylinux2014_aarch64 manylinux_2_17_aarch64"},
		"riscv":          {nil, "riscv64", "manylinux_2_31_riscv64"},
		"C++ decides":    {Versions{"GLIBC": "2.17", "GLIBCXX": "3.4.22"}, "x86_64", "manylinux_2_24_x86_64"},
		"C++ does not":   {Versions{"GLIBC": "2.34", "GLIBCXX": "3.4.8"}, "x86_64", "manylinux_2_34_x86_64"},
		"gcc":            {Versions{"GCC": "4.8.0"}, "x86_64", "manylinux2014_x86_64 manylinux_2_17_x86_64"},
		"zlib":           {Versions{"ZLIB": "1.2.9"}, "x86_64", "manylinux_2_27_x86_64"},
		"C++ too new":    {Versions{"GLIBCXX": "3.4.99"}, "x86_64", "no known Linux system has GLIBCXX_3.4.99"},
		"unknown family": {Versions{"QT": "5"}, "x86_64", "no system is known to have QT_5"},
	} {
		glibc, err := c.versions.glibc(c.machine)
		got := strings.Join(manylinux(glibc, c.machine, ""), " ")
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestVersionsAsked(t *testing.T) {
	system := func(string) bool { return true }
	v := Versions{}
	for _, versions := range [][]string{{"GLIBC_2.2.5", "GLIBC_2.14"}, {"GLIBC_2.9", "GCC_3.0", "GLIBCXX_3.4.9", "GLIBCXX_3.4.11", "CXXABI_FLOAT128"}} {
		if err := v.ask([]elf.Need{{Library: "x", Versions: versions}}, system); err != nil {
			t.Fatal(err)
		}
	}
	if v["GLIBC"] != "2.14" || v["GLIBCXX"] != "3.4.11" || v["GCC"] != "3.0" || len(v) != 3 {
		t.Errorf("got %v", v)
	}
	if err := v.ask([]elf.Need{{Library: "libc.so.6", Versions: []string{"GLIBC_ABI_DT_RELR"}}}, system); err != nil || v["GLIBC"] != "2.36" {
		t.Errorf("DT_RELR: %v, %v", v, err)
	}
	if err := v.ask([]elf.Need{{Library: "libc.so.6", Versions: []string{"GLIBC_PRIVATE"}}}, system); err == nil {
		t.Error("GLIBC_PRIVATE is taken")
	}
	none := Versions{}
	if err := none.ask([]elf.Need{{Library: "libssl.so.3", Versions: []string{"OPENSSL_3.0.0"}}}, func(string) bool { return false }); err != nil || len(none) != 0 {
		t.Errorf("a foreign library counts: %v, %v", none, err)
	}
}

func TestMusllinux(t *testing.T) {
	for libc, want := range map[string]string{"musl 1.2.4": "musllinux_1_2_x86_64", "musl 1.1": "musllinux_1_1_x86_64", "glibc 2.36": "", "": "", "musl": "", "musl x.y": ""} {
		tags, err := musllinux(libc, "x86_64")
		if strings.Join(tags, " ") != want || (err == nil) != (want != "") {
			t.Errorf("%q: %v, %v", libc, tags, err)
		}
	}
}

// site is a tree of binaries and a host with libraries.
type site struct {
	t          *testing.T
	root, host string
}

func newSite(t *testing.T) *site {
	base := t.TempDir()
	s := &site{t, filepath.Join(base, "tree"), filepath.Join(base, "host")}
	for _, dir := range []string{"tree/bin", "tree/lib", "host/usr/lib", "host/etc"} {
		if err := os.MkdirAll(filepath.Join(base, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// cc makes a binary. Without a compiler the test is skipped.
func (s *site) cc(out, source string, flags ...string) string {
	s.t.Helper()
	if testing.Short() {
		s.t.Skip("-short starts no compiler")
	}
	src := filepath.Join(s.t.TempDir(), "x.c")
	if err := os.WriteFile(src, []byte(source), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		s.t.Fatal(err)
	}
	var r run.Runner
	if err := r.Run(s.t.Context(), run.Cmd{Argv: append([]string{"gcc", "-o", out, src}, flags...), Env: []string{"PATH=/usr/bin:/bin"}}); err != nil {
		s.t.Skipf("gcc %v: %v", flags, err)
	}
	return out
}

// library makes a library of the host, which may need others.
func (s *site) library(name, function string, needs ...string) string {
	return s.cc(filepath.Join(s.host, "usr/lib", name), "int "+function+"(void) { return 1; }",
		append([]string{"-shared", "-fPIC", "-Wl,-soname," + name, "-Wl,--no-as-needed"}, needs...)...)
}

func (s *site) apply(o Options) (*Result, error) {
	s.t.Helper()
	tree, err := packaging.Scan(s.root)
	if err != nil {
		s.t.Fatal(err)
	}
	o.Host.Root, o.LibDir = s.host, "lib"
	return Apply(tree, o)
}

func (s *site) path(name string) string { return filepath.Join(s.root, name) }

const origin = "-Wl,--enable-new-dtags,-rpath,$ORIGIN/../lib"

// TestBundle bundles a library and its own dependency. The program then runs without
// the host's libraries.
func TestBundle(t *testing.T) {
	s := newSite(t)
	two := s.library("libtwo.so.2", "two")
	one := s.library("libone.so.1", "one", two)
	s.cc(s.path("bin/main"), "extern int one(void); int main(void) { return one() - 1; }", one, "-Wl,-rpath-link,"+filepath.Dir(one), "-Wl,--enable-new-dtags,-rpath,$ORIGIN/other")
	r, err := s.apply(Options{Bundle: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Bundled) != 2 || r.Bundled[0].File != "libone.so.1" || len(r.Bundled[1].SHA256) != 64 {
		t.Errorf("bundled %+v", r.Bundled)
	}
	if r.Machine != goMachine() || len(r.Tags) == 0 || !strings.HasPrefix(r.Tags[len(r.Tags)-1], "manylinux_2_") {
		t.Errorf("result %+v", r)
	}
	if err := os.RemoveAll(s.host); err != nil {
		t.Fatal(err)
	}
	var runner run.Runner
	if err := runner.Run(t.Context(), run.Cmd{Argv: []string{s.path("bin/main")}}); err != nil {
		t.Errorf("run: %v", err)
	}
	libraries, _ := filepath.Glob(s.path("lib/*"))
	if len(libraries) != 2 {
		t.Errorf("lib holds %v", libraries)
	}
	for _, l := range libraries {
		facts, err := elf.Read(l)
		if err != nil || facts.Soname != filepath.Base(l) || !slices.Equal(facts.RunPath, []string{"$ORIGIN"}) {
			t.Errorf("%s: %+v, %v", l, facts, err)
		}
	}
	facts, err := elf.Read(s.path("bin/main"))
	if err != nil || !slices.Equal(facts.RunPath, []string{"$ORIGIN/other", "$ORIGIN/../lib"}) || slices.Contains(facts.Needed, "libone.so.1") {
		t.Errorf("main: %+v, %v", facts, err)
	}
	// Applied again, nothing changes: everything is in the tree.
	again, err := s.apply(Options{})
	if err != nil || len(again.Bundled) != 0 || !slices.Equal(again.Tags, r.Tags) {
		t.Errorf("again: %+v, %v", again, err)
	}
}

func goMachine() string {
	return map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
}

func TestRefused(t *testing.T) {
	main := "int main(void) { return 0; }"
	needs := func(s *site, flags ...string) {
		lib := s.library("libforeign.so.3", "f")
		s.cc(s.path("bin/main"), "extern int f(void); int main(void) { return f(); }", append([]string{lib, origin}, flags...)...)
	}
	for name, c := range map[string]struct {
		make    func(s *site)
		options Options
		says    string
		hint    string
	}{
		"foreign": {func(s *site) { needs(s) }, Options{}, "libforeign.so.3 (which bin/main needs) is missing on some systems", "--allow-foreign libforeign.so.3"},
		"missing": {func(s *site) {
			needs(s)
			_ = os.RemoveAll(s.host)
		}, Options{Bundle: true}, "bin/main needs libforeign.so.3, which is neither in the tree nor on this machine", ""},
		"missing deeper": {func(s *site) {
			two := s.library("libtwo.so.2", "two")
			one := s.library("libone.so.1", "one", two)
			s.cc(s.path("bin/main"), "extern int one(void); int main(void) { return one(); }", one, "-Wl,-rpath-link,"+filepath.Dir(one), origin)
			_ = os.Remove(two)
		}, Options{Bundle: true}, "needs libtwo.so.2, which is neither", ""},
		"absolute run path": {func(s *site) { s.cc(s.path("bin/main"), main, "-Wl,-rpath,/opt/build/lib") }, Options{Bundle: true}, "bin/main has the absolute run path /opt/build/lib", ""},
		"relative run path": {func(s *site) { s.cc(s.path("bin/main"), main, "-Wl,-rpath,lib") }, Options{Bundle: true}, "run path lib", ""},
		"leaving run path":  {func(s *site) { s.cc(s.path("bin/main"), main, "-Wl,-rpath,$ORIGIN/../../lib") }, Options{}, "run path $ORIGIN/../../lib, which is outside the tree", ""},
		"wrong CPU": {func(s *site) {
			s.cc(s.path("bin/main"), main)
			patchMachine(s.t, s.cc(s.path("lib/libx.so"), "int x;", "-shared"))
		}, Options{}, "lib/libx.so is for s390x, not for " + goMachine(), ""},
		"not what is wanted": {func(s *site) { s.cc(s.path("bin/main"), main) }, Options{Machine: "riscv64"}, "bin/main is for " + goMachine() + ", not for riscv64", ""},
		"another Python": {func(s *site) {
			lib := s.library("libpython3.8.so.1.0", "f")
			s.cc(s.path("bin/main"), "extern int f(void); int main(void) { return f(); }", lib)
		}, Options{Bundle: true, Python: "libpython3.9.so.1.0"}, "needs libpython3.8.so.1.0, which is not this Python's library", ""},
		"damaged":               {func(s *site) { damage(s.t, s.cc(s.path("bin/main"), main)) }, Options{}, "bin/main: ", ""},
		"no binary":             {func(s *site) { _ = os.WriteFile(s.path("bin/x.sh"), []byte("#!/bin/sh\n"), 0o755) }, Options{}, "it contains no binary", ""},
		"musl, unknown version": {func(s *site) { s.cc(s.path("bin/main"), main, "-Wl,-dynamic-linker,/lib/ld-musl-x86_64.so.1") }, Options{}, "its version was not recorded", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			c.make(s)
			r, err := s.apply(c.options)
			if r != nil && err == nil {
				t.Fatalf("got %+v", r)
			}
			if fault.ClassOf(err) != fault.Environment || !strings.Contains(err.Error(), c.says) || !strings.Contains(fault.HintOf(err), c.hint) {
				t.Errorf("%v\nhint: %s", err, fault.HintOf(err))
			}
		})
	}
}

// TestNoPlaceForLibraries: an error of this machine's disk is not reported as a
// problem of the tree.
func TestNoPlaceForLibraries(t *testing.T) {
	s := newSite(t)
	lib := s.library("libforeign.so.3", "f")
	s.cc(s.path("bin/main"), "extern int f(void); int main(void) { return f(); }", lib, origin)
	if err := os.Remove(s.path("lib")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.path("lib"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := s.apply(Options{Bundle: true})
	if fault.ClassOf(err) != fault.Environment || strings.Contains(err.Error(), "cannot be packaged") || !strings.Contains(err.Error(), "libforeign.so.3") || !strings.Contains(fault.HintOf(err), "has free space") {
		t.Errorf("%v (%s)", err, fault.HintOf(err))
	}
}

func patchMachine(t *testing.T, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{22, 0}, 18); err != nil { // EM_S390
		t.Fatal(err)
	}
}

func damage(t *testing.T, name string) {
	t.Helper()
	if err := os.Truncate(name, 200); err != nil {
		t.Fatal(err)
	}
}

// TestAllowedAndPython: libraries of the target stay as they are, and the run path to
// the build machine's Python is removed.
func TestAllowedAndPython(t *testing.T) {
	s := newSite(t)
	foreign := s.library("libforeign.so.3", "f")
	python := s.library("libpython3.11.so.1.0", "p")
	s.cc(s.path("lib/mod.so"), "extern int f(void), p(void); int m(void) { return f() + p(); }", "-shared", "-fPIC", foreign, python, "-Wl,-rpath,/root/.pyenv/lib")
	r, err := s.apply(Options{Allow: []string{"libforeign.so.3"}, Python: "libpython3.11.so.1.0"})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"linux_" + goMachine()}; !slices.Equal(r.Tags, want) || !slices.Equal(r.Foreign, []string{"libforeign.so.3"}) || len(r.Bundled) != 0 {
		t.Errorf("result %+v", r)
	}
	facts, err := elf.Read(s.path("lib/mod.so"))
	if err != nil || len(facts.RunPath) != 0 || !slices.Contains(facts.Needed, "libpython3.11.so.1.0") {
		t.Errorf("module: %+v, %v", facts, err)
	}
}

func TestHost(t *testing.T) {
	s := newSite(t)
	if err := os.MkdirAll(filepath.Join(s.host, "etc/ld.so.conf.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"etc/ld.so.conf":                     "# comment\ninclude ld.so.conf.d/*.conf\n/opt/last\nrelative\n",
		"etc/ld.so.conf.d/a.conf":            "/opt/first # comment\n",
		"etc/ld.so.conf.d/loop.conf":         "include /etc/ld.so.conf\n",
		"etc/os-release":                     "ID=debian\nVERSION_ID=\"12\"\n",
		"var/lib/dpkg/info/libx1:amd64.list": "/.\n/usr\n/lib/libx.so.1\n",
		"var/lib/dpkg/status":                "Package: libx1\nStatus: install ok installed\nArchitecture: i386\nVersion: 9\n\nPackage: libx1\nStatus: install ok installed\nSource: x (1:2.3)\nArchitecture: amd64\nVersion: 1:2.3+b1\n\nPackage: other\nVersion: 4\n",
		"usr/share/doc/libx1/copyright":      "text",
	} {
		path := filepath.Join(s.host, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	h := Host{Root: s.host}
	dirs := h.directories("x86_64")
	first, last := slices.Index(dirs, filepath.Join(s.host, "/opt/first")), slices.Index(dirs, filepath.Join(s.host, "/opt/last"))
	if first != 0 || last <= first || slices.Contains(dirs, filepath.Join(s.host, "relative")) {
		t.Errorf("directories %v", dirs)
	}
	c := h.describe(filepath.Join(s.host, "usr/lib/libx.so.1"), "libx.so.1", "00")
	if c.Name != "libx1" || c.Version != "1:2.3+b1" || c.PURL != "pkg:deb/debian/libx1@1%3A2.3%2Bb1?arch=amd64&distro=debian-12&upstream=x%401:2.3" || len(c.Texts) != 1 {
		t.Errorf("described as %+v", c)
	}
	if c := h.describe(filepath.Join(s.host, "usr/lib/libssl.so.3"), "libssl.so.3", "00"); c.Name != "libssl.so.3" || c.License != "Apache-2.0" || c.PURL != "" {
		t.Errorf("of nobody: %+v", c)
	}
}

// TestAlpineHost reads apk's records.
func TestAlpineHost(t *testing.T) {
	h := Host{Root: t.TempDir()}
	for name, text := range map[string]string{
		"etc/os-release": "ID=alpine\nVERSION_ID=3.20.1\n",
		"lib/apk/db/installed": "C:Q1x=\nP:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\nF:lib\nR:ld-musl-x86_64.so.1\na:0:0:755\n\n" +
			"C:Q1y=\nP:libz\nV:1.3.1-r1\nA:x86_64\no:zlib\nL:Zlib AND MIT\nF:usr\nF:usr/lib\nR:libz.so.1\nR:libq.so.1.3.1\nZ:Q1z=\n\n",
		"usr/share/licenses/libz/LICENSE": "text",
	} {
		name = filepath.Join(h.Root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := h.Describe(filepath.Join(h.Root, "usr/lib/libq.so.1.3.1"), "libq.so.1", "00")
	if c.Name != "libz" || c.Version != "1.3.1-r1" || c.License != "Zlib AND MIT" || c.PURL != "pkg:apk/alpine/libz@1.3.1-r1?arch=x86_64&distro=alpine-3.20.1&upstream=zlib" || len(c.Texts) != 1 {
		t.Errorf("described as %+v", c)
	}
	if c := h.Describe(filepath.Join(h.Root, "usr/lib/libnone.so.1"), "libnone.so.1", "00"); c.Name != "libnone.so.1" || c.PURL != "" || len(c.Texts) != 0 {
		t.Errorf("of nobody: %+v", c)
	}
}

// TestRPMHost uses rpm's answers.
func TestRPMHost(t *testing.T) {
	text := filepath.Join(t.TempDir(), "LICENSE.txt")
	if err := os.WriteFile(text, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h := Host{Root: t.TempDir(), System: "fedora-41"}
	h.ask = func(args ...string) string {
		switch {
		case args[0] == "-qf" && strings.HasSuffix(args[3], "/libssl.so.3"):
			return "openssl-libs\t1\t3.2.2-3.fc41\tx86_64\topenssl-3.2.2-3.fc41.src.rpm\nopenssl-libs\t1\t3.2.2-3.fc41\ti686\topenssl-3.2.2-3.fc41.src.rpm\n"
		case args[0] == "-q" && args[2] == "openssl-libs-3.2.2-3.fc41.x86_64":
			return text + "\n/nonexistent/LICENSE\n(contains no files)\n"
		}
		return ""
	}
	c := h.Describe(filepath.Join(h.Root, "usr/lib64/libssl.so.3"), "libssl.so.3", "00")
	if c.Name != "openssl-libs" || c.Version != "1:3.2.2-3.fc41" || c.License != "Apache-2.0" || !slices.Equal(c.Texts, []string{text}) ||
		c.PURL != "pkg:rpm/fedora/openssl-libs@3.2.2-3.fc41?arch=x86_64&distro=fedora-41&epoch=1&upstream=openssl-3.2.2-3.fc41.src.rpm" {
		t.Errorf("described as %+v", c)
	}
	if c := h.Describe(filepath.Join(h.Root, "usr/lib64/libq.so.3"), "libq.so.3", "00"); c.Name != "libq.so.3" || c.PURL != "" {
		t.Errorf("of nobody: %+v", c)
	}
}
