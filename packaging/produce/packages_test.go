package produce

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"modwsgi/detect"
	"modwsgi/installer"
	"modwsgi/internal/fault"
	"modwsgi/internal/sysroot"
	"modwsgi/internal/target"
	"modwsgi/internal/testkit"
	"modwsgi/packaging"
	"modwsgi/packaging/linuxpkg"
	"modwsgi/packaging/matrix"
)

// away is a CPU that this machine does not have.
func away() string {
	if runtime.GOARCH == "arm64" {
		return "amd64"
	}
	return "arm64"
}

// crossed is a sysroot with a Python at a place below a root directory.
func crossed(t *testing.T, name, prefix string) *installer.Cross {
	t.Helper()
	system, err := target.Parse(name, target.Target{})
	if err != nil {
		t.Fatal(err)
	}
	root, python := t.TempDir(), t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "var/lib/dpkg/info"), 0o755); err != nil {
		t.Fatal(err)
	}
	facts := &detect.Python{Version: "3.9.2", Major: 3, Minor: 9, BasePrefix: filepath.Join(python, prefix), Prefix: filepath.Join(python, prefix), Executable: filepath.Join(python, prefix, "bin/python3.9")}
	return &installer.Cross{Sysroot: &sysroot.Sysroot{Target: system, Dir: root, Pythons: []sysroot.Python{{Wanted: "3.9", Source: "sdk", Root: python, Facts: facts}}, Lock: &sysroot.Lock{
		Packages: []sysroot.Package{{Name: "libc6", Suite: "bullseye"}, {Name: "libpython3.9", Suite: "bullseye", Python: "3.9"}},
	}}}
}

// TestSysrootsOfPackages refuses a sysroot that no package could be made from, before
// anything is built.
func TestSysrootsOfPackages(t *testing.T) {
	tools := t.TempDir()
	if err := os.WriteFile(filepath.Join(tools, "mod_wsgi-express"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	deb := "linux/" + away() + "/glibc2.31"
	for name, c := range map[string]struct {
		format string
		target string
		prefix string
		change func(t *testing.T, s *Settings, c *installer.Cross, v Values)
		want   string
		hint   string
	}{
		"deb":                {format: "deb", target: deb, prefix: "usr"},
		"rpm":                {format: "rpm", target: deb, prefix: "usr/local"},
		"apk":                {format: "apk", target: "linux/" + away() + "/musl1.2", prefix: "usr"},
		"a prefix":           {format: "deb", target: deb, prefix: "", want: "the SDK sdk of Python 3.9 does not show where that Python is on " + deb, hint: "usr/bin/python3.9"},
		"an archive":         {format: "rpm", target: deb, prefix: "python/install", want: "does not show where that Python is", hint: "usr/bin/python3.9"},
		"no records":         {format: "deb", target: deb, prefix: "usr", change: func(t *testing.T, _ *Settings, c *installer.Cross, _ Values) { c.Sysroot.Dir = t.TempDir() }, want: "has no dpkg records", hint: "leave the sysroot out"},
		"no records for rpm": {format: "rpm", target: deb, prefix: "usr", change: func(t *testing.T, _ *Settings, c *installer.Cross, _ Values) { c.Sysroot.Dir = t.TempDir() }},
		"dependencies of the user's": {format: "deb", target: deb, prefix: "usr", change: func(t *testing.T, _ *Settings, c *installer.Cross, v Values) {
			c.Sysroot.Dir, v["depends"] = t.TempDir(), []string{"libc.so.6=libc6"}
		}},
		"no launcher": {format: "rpm", target: deb, prefix: "usr", change: func(_ *testing.T, s *Settings, _ *installer.Cross, _ Values) { s.Build.ToolsDir = "/nonexistent" }, want: "/nonexistent/mod_wsgi-express does not exist", hint: "in one directory"},
	} {
		t.Run(name, func(t *testing.T) {
			cross, v := crossed(t, c.target, c.prefix), Values{}
			s := &Settings{}
			s.Build.ToolsDir = tools
			if c.change != nil {
				c.change(t, s, cross, v)
			}
			warnings, err := Find(c.format).Fits(s, cross, v)
			if c.want == "" && (err != nil || len(warnings) > 0) {
				t.Errorf("%v, %q", err, warnings)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(fault.HintOf(err), c.hint)) {
				t.Errorf("%v (%s), want %q, %q", err, fault.HintOf(err), c.want, c.hint)
			}
		})
	}
	mix := crossed(t, deb, "usr")
	mix.Sysroot.Lock.Packages[1].Suite = "bookworm"
	s := &Settings{}
	s.Build.ToolsDir = tools
	if warnings, err := Find("deb").Fits(s, mix, Values{}); err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "Python 3.9 is that of Debian bookworm, but the other libraries are those of Debian bullseye") {
		t.Errorf("%q, %v", warnings, err)
	}
}

// TestSysrootsOfImages: an image without a base needs the whole Python, one on a base or a
// layer does not.
func TestSysrootsOfImages(t *testing.T) {
	f := Find("oci")
	c := crossed(t, "linux/"+away()+"/glibc2.31", "usr")
	for _, v := range []Values{{"base": "python:3.9"}, {"base": "scratch", "layer_only": true}} {
		if _, err := f.Fits(nil, c, v); err != nil || f.Runs(v) {
			t.Errorf("%v: %v", v, err)
		}
	}
	scratch := Values{"base": "scratch"}
	_, err := f.Fits(nil, c, scratch)
	testkit.WantFault(t, err, fault.Usage, "an image without a base contains Python 3.9", "has no interpreter with its standard library")
	py := c.Sysroot.Pythons[0].Facts
	for _, name := range []string{"bin/python3.9", "lib/python3.9/os.py", "lib/python3.9/json/__init__.py"} {
		at := filepath.Join(py.BasePrefix, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.Fits(nil, c, scratch); err != nil || !f.Runs(scratch) {
		t.Error(err)
	}
	tree := &Tree{Stage: &packaging.Stage{}, Python: py, For: c}
	in := imageInput(tree, false)
	if in.Env != nil || in.System == nil || in.System.Root != c.Sysroot.Dir || in.System.Python != c.Sysroot.Pythons[0].Root || in.System.Limit != "glibc 2.31" || in.Python.Prefix != py.BasePrefix {
		t.Errorf("got %+v, %+v", in, in.System)
	}
}

// TestPackagesOfOneCPU: the names of packages for several systems with one CPU differ, and
// everything else about a package for another system is that system's.
func TestPackagesOfOneCPU(t *testing.T) {
	name := "linux/" + away() + "/glibc2.31"
	c := crossed(t, name, "usr")
	tree := &Tree{For: c, Target: name, Python: c.Sysroot.Pythons[0].Facts, Stage: &packaging.Stage{}}
	o := &Single{Settings: Settings{Abs: filepath.Clean}, Format: Find("deb"), Values: Values{"release": "2"}, Pythons: []string{"3.9"}, For: []string{name, "linux/" + away() + "/glibc2.36"}}
	o.Build.ToolsDir = "/tools"
	if err := o.Check(); err != nil {
		t.Fatal(err)
	}
	run := &single{Single: o}
	got := packageOptions(linuxpkg.Deb, run.work(&line{Settings: &o.Settings}, nil, []*Tree{tree}))
	want := linuxpkg.Host{Root: c.Sysroot.Dir, Python: c.Sysroot.Pythons[0].Root}
	if got.Release != "2+glibc2.31" || got.Host != want || got.For == nil || got.For.System != c.Target() || got.For.Launcher != "/tools/mod_wsgi-express" {
		t.Errorf("got %+v, %+v", got, got.For)
	}
	if err := got.Check(); err != nil {
		t.Error(err)
	}
	o.targets = o.targets[:1]
	if got := packageOptions(linuxpkg.Deb, run.work(&line{Settings: &o.Settings}, nil, []*Tree{tree})); got.Release != "2" {
		t.Errorf("one system: release %s", got.Release)
	}
	if got := packageOptions(linuxpkg.Deb, run.work(&line{Settings: &o.Settings}, nil, []*Tree{{Stage: &packaging.Stage{}}})); got.Release != "2" || got.For != nil || got.Host.Root != "/" {
		t.Errorf("this machine: %+v", got)
	}

	cell := func(format, platform string) matrix.Cell { return matrix.Cell{Format: format, Platform: platform} }
	r := &Release{all: []matrix.Cell{cell("deb", name), cell("deb", "linux/riscv64/glibc2.36"), cell("rpm", name), cell("rpm", "linux/"+away()+"/glibc2.36")}}
	for k, want := range []string{"", "", "glibc2.31", "glibc2.36"} {
		r.cells = r.all[k : k+1] // also if a machine makes only this one
		if got := r.twin(r.all[k]); got != want {
			t.Errorf("%s: %s, want %s", r.all[k].Platform, got, want)
		}
	}
	// This machine's and an older one: the older one's must not have the higher version.
	here, err := target.Host()
	if err != nil {
		t.Fatal(err)
	}
	older := here
	older.LibcVersion = "2.17"
	o.targets = []target.Target{{}, older}
	got = packageOptions(linuxpkg.Deb, run.work(&line{Settings: &o.Settings}, nil, []*Tree{{Stage: &packaging.Stage{}}}))
	if got.Release != "2+"+here.Libc+here.LibcVersion || got.For != nil {
		t.Errorf("this machine beside an older one: %+v", got)
	}
	r = &Release{all: []matrix.Cell{cell("deb", host), cell("deb", older.String()), cell("wheel", older.String())}}
	if a, b, c := r.twin(r.all[0]), r.twin(r.all[1]), r.twin(r.all[2]); a != here.Libc+here.LibcVersion || b != "glibc2.17" || c != "" {
		t.Errorf("got %q, %q, %q", a, b, c)
	}
}

// TestPlatformsOfPackages: a release.toml names other systems for packages and images, and
// only those that a format exists on.
func TestPlatformsOfPackages(t *testing.T) {
	for format, want := range map[string][3]bool{"deb": {true, false, false}, "rpm": {true, false, false}, "apk": {false, true, false}, "oci": {true, true, false}} {
		m := Find(format).describe("linux")
		for k, platform := range []string{"linux/" + away() + "/glibc2.31", "linux/" + away() + "/musl1.2", "windows/amd64"} {
			if err := m.Other(platform); (err == nil) != want[k] {
				t.Errorf("%s for %s: %v", format, platform, err)
			}
		}
	}
}

// TestIndexesNameTheirTargets: what is made of several trees names each system, and is
// unproven if one of them is.
func TestIndexesNameTheirTargets(t *testing.T) {
	d, err := packaging.Open(filepath.Join(t.TempDir(), "dist"), false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Abort()
	f, err := d.Create("a.tar")
	if err == nil {
		_, err = io.WriteString(f, "content")
	}
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = d.Add(&packaging.Artifact{Name: "a.tar", Kind: "oci"})
	}
	if err != nil {
		t.Fatal(err)
	}
	describe(d, []*Tree{
		{Stage: &packaging.Stage{}},
		{Stage: &packaging.Stage{}, For: &installer.Cross{}, Target: "linux/arm64/glibc2.31", proof: "answered", about: map[string]string{"sysroot_sha256": "a"}},
		{Stage: &packaging.Stage{}, For: &installer.Cross{}, Target: "linux/riscv64/glibc2.36", Unproven: "no emulator", about: map[string]string{"sysroot_sha256": "b"}},
	}, time.Unix(0, 0))
	a := d.Added()[0]
	e := a.Environment
	if a.Target != "linux/arm64/glibc2.31, linux/riscv64/glibc2.36" || a.Unproven != "linux/riscv64/glibc2.36: no emulator" || a.Parameters["target"] != a.Target ||
		e["sysroot_sha256 of linux/arm64/glibc2.31"] != "a" || e["sysroot_sha256 of linux/riscv64/glibc2.36"] != "b" || e["proof of linux/arm64/glibc2.31"] != "answered" {
		t.Errorf("got %+v", a)
	}
}

// TestNextForImage: the printed commands can be pasted, also if the output directory has
// blanks in its name.
func TestNextForImage(t *testing.T) {
	r := &Result{Dir: "/srv/my images", Artifacts: []Made{{Artifact: packaging.Artifact{Name: "web.tar"}}}}
	lines := nextForImage(r, Values{})
	want := "Next: docker load -i '/srv/my images/web.tar', or skopeo copy 'oci-archive:/srv/my images/web.tar' docker://REGISTRY/REPOSITORY:TAG"
	if len(lines) != 1 || lines[0] != want {
		t.Errorf("got %q", lines)
	}
}

// TestPartsOfARelease: a machine that makes one cell has the sysroot of all cells of its
// system, and of no other.
func TestPartsOfARelease(t *testing.T) {
	h := &matrix.HTTPD{Name: "default"}
	cell := func(python, platform, format string) matrix.Cell {
		return matrix.Cell{Python: python, HTTPD: h, Platform: platform, Format: format}
	}
	const arm, riscv = "linux/arm64/glibc2.36", "linux/riscv64/glibc2.36"
	o := &Release{all: []matrix.Cell{
		cell("3.11", host, "wheel"), cell("3.11", arm, "wheel"), cell("3.12", arm, "wheel"), cell("3.12", arm, "oci"), cell("3.11", riscv, "wheel"), cell("3.13", "windows/amd64", "wheel"),
	}}
	o.cells = o.all[1:2]
	names, pythons := o.crossPlatforms()
	if !slices.Equal(names, []string{arm}) || len(pythons) != 1 || !slices.Equal(pythons[arm], []string{"3.11", "3.12"}) {
		t.Errorf("got %v, %v", names, pythons)
	}
	var formats []string
	for _, p := range o.parts(arm) {
		formats = append(formats, p.Name)
	}
	if !slices.Equal(formats, []string{"wheel", "oci"}) {
		t.Errorf("got %v", formats)
	}
	o.cells = o.all[5:]
	if names, _ := o.crossPlatforms(); len(names) != 0 {
		t.Errorf("Windows alone: %v", names)
	}
}

// TestHintsInAMatrix: hints name the keys of the file, where they name flags of a single
// command.
func TestHintsInAMatrix(t *testing.T) {
	for hint, want := range map[string]string{
		"name its package with --depends libx=PACKAGE": "name its package with --depends libx=PACKAGE (in the matrix file: depends in [options.deb])",
		"build --without x, or pass --allow-foreign y": "build --without x, or pass --allow-foreign y (in the matrix file: without in [[httpd]], allow_foreign in [options.deb])",
		"pass --overwrite":                       "pass --overwrite",
		"--depends P (depends in [options.deb])": "--depends P (depends in [options.deb])",
		"":                                       "",
	} {
		if got := keysFor(hint, "deb for Python 3.11, httpd default, linux/amd64"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
