//go:build linux

package linuxpkg

import (
	"debug/elf"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/archive"
	"modwsgi/internal/elf/elftest"
	"modwsgi/internal/fault"
	"modwsgi/internal/receipt"
	"modwsgi/internal/target"
	"modwsgi/packaging"
)

// far makes a stage with a module for another system than this machine, and the trees with
// the libraries and the Python of that system: small real ELF files of its CPU.
func far(t *testing.T, system target.Target, needed ...string) (*packaging.Stage, Options) {
	t.Helper()
	class, machine, _ := system.ELF()
	if class != elf.ELFCLASS64 {
		t.Fatal("the files are of 64 bits")
	}
	library := func(name string, needs ...string) string {
		return string(elftest.File{Machine: machine, Soname: name, Needed: needs}.Bytes())
	}
	base := t.TempDir()
	root, python, site := filepath.Join(base, "root"), filepath.Join(base, "python"), filepath.Join(base, "site")
	multi := system.Multiarch()
	module := "mod_wsgi/server/mod_wsgi-py39.so"
	for name, data := range map[string]string{
		"root/usr/lib/" + multi + "/libc-2.31.so":          library("libc.so.6"),
		"root/usr/lib/libc.so":                             library("libc.so"),
		"root/etc/alternatives/libfar":                     library("libfar.so.1"),
		"root/var/lib/dpkg/status":                         "",
		"root/var/lib/dpkg/info/farlibc:far.list":          "/.\n/lib/" + multi + "/libc-2.31.so\n/usr/lib/libc.so\n",
		"root/var/lib/dpkg/info/farlibc:far.shlibs":        "libc 6 farlibc (>= 2.31)\n",
		"root/var/lib/dpkg/info/libfar1.list":              "/.\n/etc/alternatives/libfar\n",
		"python/usr/lib/" + multi + "/libpython3.9.so.1.0": library("libpython3.9.so.1.0"),
		"python/usr/lib/python3.9/wsgiref/__init__.py":     "",
		"python/var/lib/dpkg/status":                       "",
		"python/var/lib/dpkg/info/farpython-stdlib.list":   "/.\n/usr/lib/python3.9/wsgiref/__init__.py\n",
		"python/var/lib/dpkg/info/farpython.list":          "/.\n/usr/lib/" + multi + "/libpython3.9.so.1.0\n",
		"site/" + module:                                   string(elftest.File{Machine: machine, Needed: needed}.Bytes()),
	} {
		at := filepath.Join(base, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		overwrite(t, at, data)
	}
	// As images of systems have them: absolute, and this machine has nothing there.
	for name, to := range map[string]string{"lib": "usr/lib", "usr/lib/" + multi + "/libc.so.6": "/lib/" + multi + "/libc-2.31.so", "usr/lib/libfar.so.1": "/etc/alternatives/libfar"} {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	prefix := filepath.Join(python, "usr")
	r := receipt.Receipt{Tool: "0", Module: receipt.Module{File: filepath.Base(module), Version: "5.0.2"}}
	r.Python = receipt.Python{Version: "3.9.2", Prefix: prefix, BasePrefix: prefix, LibPython: filepath.Join(prefix, "lib", multi, "libpython3.9.so.1.0")}
	r.HTTPD = receipt.HTTPD{Provenance: "system", Version: "2.4.62", MMN: 20120211}
	overwrite(t, filepath.Join(site, "mod_wsgi/server/build.json"), string(r.Encode()))
	s := &packaging.Stage{
		Site: site, Time: time.Unix(1_700_000_000, 0).UTC(), Tool: "0",
		Module: &packaging.Module{
			Package: "mod_wsgi", File: module, Receipt: receipt.Path, Version: "5.0.2", HTTPD: "2.4.62",
			Components: []packaging.Component{packaging.SourceComponent("mod_wsgi", "5.0.2", "Apache-2.0", "")},
			Python:     packaging.Python{Version: "3.9.2", Tag: "cp39", ABI: "cp39", Platform: system.PythonPlatform()},
		},
	}
	o := Options{
		Maintainer: "Jane Doe <jane@debian.org>", Env: []string{"PATH=/nonexistent"}, // no tool may change the small files
		Host: Host{Root: root, Python: python}, For: &Target{System: system},
	}
	return s, o
}

func parsed(t *testing.T, name string) target.Target {
	t.Helper()
	system, err := target.Parse(name, target.Target{})
	if err != nil {
		t.Fatal(err)
	}
	return system
}

// TestOtherSystem: the dependencies, the CPU and the paths of a package for another system
// are those of its trees, whatever this machine has.
func TestOtherSystem(t *testing.T) {
	for name, c := range map[string]struct {
		format  Format
		target  string
		needed  []string
		arch    string
		depends []string
	}{
		"deb": {
			Deb, "linux/arm64/glibc2.31",
			[]string{"libc.so.6", "libfar.so.1", "libpython3.9.so.1.0"},
			"arm64",
			[]string{"farlibc (>= 2.31)", "farpython", "farpython-stdlib", "libfar1"},
		},
		"deb for riscv64": {Deb, "linux/riscv64/glibc2.31", []string{"libc.so.6"}, "riscv64", []string{"farlibc (>= 2.31)", "farpython-stdlib"}},
		"rpm": {
			RPM, "linux/arm64/glibc2.31",
			[]string{"libc.so.6", "libpython3.9.so.1.0"},
			"aarch64",
			[]string{"libc.so.6()(64bit)", "libpython3.9.so.1.0()(64bit)", "python(abi) = 3.9"},
		},
		"apk": {APK, "linux/arm64/musl1.2", []string{"libc.so", "libpython3.9.so.1.0"}, "aarch64", []string{"python3~3.9", "so:libc.musl-aarch64.so.1", "so:libpython3.9.so.1.0"}},
	} {
		t.Run(name, func(t *testing.T) {
			system := parsed(t, c.target)
			s, o := far(t, system, c.needed...)
			o.Format = c.format
			w, err := prepared(t, s, o)
			if err != nil {
				t.Fatalf("%v (%s)", err, fault.HintOf(err))
			}
			if w.pkg.Arch != c.arch {
				t.Errorf("it is for %s, want %s", w.pkg.Arch, c.arch)
			}
			for _, d := range c.depends {
				if !slices.Contains(w.pkg.Depends, d) {
					t.Errorf("lacks the dependency %q: %q", d, w.pkg.Depends)
				}
			}
			if py := w.python(); py.BasePrefix != "/usr" || py.Prefix != "/usr" || !strings.HasPrefix(py.LibPython, "/usr/lib/") {
				t.Errorf("paths of this machine: %+v", py)
			}
		})
	}
}

// prepared lays a package out and describes it.
func prepared(t *testing.T, s *packaging.Stage, o Options) (*work, error) {
	t.Helper()
	d, err := packaging.Open(filepath.Join(t.TempDir(), "dist"), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Abort)
	return prepare(t.Context(), d, s, o)
}

// TestControlOfOtherSystem reads a package as dpkg does.
func TestControlOfOtherSystem(t *testing.T) {
	s, o := far(t, parsed(t, "linux/arm64/glibc2.31"), "libc.so.6")
	o.Format, o.Release = Deb, "1+glibc2.31"
	dist := filepath.Join(t.TempDir(), "dist")
	a, err := write(t, dist, s, o)
	if err != nil {
		t.Fatalf("%v (%s)", err, fault.HintOf(err))
	}
	if a.Name != "libapache2-mod-wsgi-py39_5.0.2-1+glibc2.31_arm64.deb" || a.Platform != "arm64" {
		t.Errorf("%s for %s", a.Name, a.Platform)
	}
	control := map[string][]byte{}
	if _, err := archive.Extract(t.Context(), filepath.Join(dist, a.Name), filepath.Join(t.TempDir(), "x"), archive.Options{Deb: true, SHA256: a.SHA256, Control: control}); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"Architecture: arm64\n", "Depends: apache2-api-20120211, farlibc (>= 2.31), farpython-stdlib\n"} {
		if !strings.Contains(string(control["control"]), line) {
			t.Errorf("lacks %q:\n%s", line, control["control"])
		}
	}
}

// TestOtherSystemsThatDoNotFit: what is missing is searched for in the trees only, and an
// error says what to add to them.
func TestOtherSystemsThatDoNotFit(t *testing.T) {
	for name, c := range map[string]struct {
		needed []string
		change func(t *testing.T, s *packaging.Stage, o *Options)
		want   string
		hint   string
	}{
		"a library of this machine only": {[]string{"libc.so.6", "libz.so.1"}, nil, "libz.so.1 (which usr/lib/apache2/modules/mod_wsgi-py39.so needs): neither in the tree nor in the sysroot", "--sysroot-package"},
		"no records": {[]string{"libc.so.6"}, func(t *testing.T, _ *packaging.Stage, o *Options) {
			if err := os.RemoveAll(filepath.Join(o.Host.Root, "var")); err != nil {
				t.Fatal(err)
			}
		}, "has no dpkg records", "leave the sysroot out"},
		"another CPU": {[]string{"libc.so.6"}, func(t *testing.T, _ *packaging.Stage, o *Options) {
			o.For.System = parsed(t, "linux/riscv64/glibc2.31")
		}, "aarch64", ""},
		"an SDK whose Python no package has": {[]string{"libc.so.6"}, func(t *testing.T, _ *packaging.Stage, o *Options) {
			remove(t, filepath.Join(o.Host.Python, "var/lib/dpkg/info/farpython-stdlib.list"))
		}, "belongs to no package of the target", "--depends"},
		"a Python elsewhere": {[]string{"libc.so.6"}, func(_ *testing.T, _ *packaging.Stage, o *Options) { o.Host.Python = "/somewhere/else" }, "is not below /somewhere/else", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, o := far(t, parsed(t, "linux/arm64/glibc2.31"), c.needed...)
			o.Format = Deb
			if c.change != nil {
				c.change(t, s, &o)
			}
			_, err := prepared(t, s, o)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(fault.HintOf(err), c.hint) {
				t.Errorf("%v (%s), want %q, %q", err, fault.HintOf(err), c.want, c.hint)
			}
		})
	}
}

// TestTooNew: a file that requires a newer C library than the target's is named, with the
// symbol version.
func TestTooNew(t *testing.T) {
	s, o := stageDir(t), options(RPM)
	o.Host, o.For = Host{Root: "/"}, &Target{System: parsed(t, "linux/amd64/glibc2.17")}
	if s.Module.Python.Platform != "linux-"+o.For.System.Machine() {
		t.Skip("the stage is for x86_64")
	}
	_, err := prepared(t, s, o) // libexpat of this machine
	if err == nil || !strings.Contains(err.Error(), "which glibc 2.17 does not have") || !strings.Contains(err.Error(), "mod_wsgi-py311.so requires ") {
		t.Errorf("%v", err)
	}
}

func TestCheckTarget(t *testing.T) {
	for _, c := range []struct {
		format Format
		target string
		want   string
	}{
		{Deb, "linux/arm64/glibc2.31", ""},
		{RPM, "linux/s390x/glibc2.17", ""},
		{APK, "linux/arm64/musl1.2", ""},
		{Deb, "linux/arm64/musl1.2", "distributions with deb packages have glibc, not musl"},
		{RPM, "linux/amd64/musl1.2", "distributions with rpm packages have glibc, not musl"},
		{APK, "linux/amd64/glibc2.31", "apk packages are for Alpine, whose C library is musl, not for linux/amd64/glibc2.31"},
		{Deb, "windows/amd64", "deb packages are not for windows/amd64"},
	} {
		err := CheckTarget(c.format, parsed(t, c.target))
		if c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != c.want || fault.ClassOf(err) != fault.Usage || fault.HintOf(err) == "") {
			t.Errorf("%s for %s: %v, want %q", c.format, c.target, err, c.want)
		}
	}
}
