//go:build acceptance && unix

package detect

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/run"
)

// TestEveryInstalledPython inspects each real Python of this machine, and an environment
// made from it.
func TestEveryInstalledPython(t *testing.T) {
	pythons, _ := filepath.Glob(filepath.Join(os.Getenv("HOME"), ".pyenv", "versions", "3.*", "bin", "python3"))
	if len(pythons) == 0 {
		t.Skip("no pyenv here")
	}
	for _, exe := range append(pythons, "/usr/bin/python3") {
		t.Run(exe, func(t *testing.T) {
			base, err := find(t, Request{Python: exe})
			if err != nil {
				t.Fatal(err)
			}
			if err := base.CanBuild(); err != nil || !base.LibShared {
				t.Errorf("libpython %q: %v", base.LibPython, err)
			}
			dir := venv(t, exe, filepath.Join(t.TempDir(), "it's an env"))
			env, err := find(t, Request{Python: filepath.Join(dir, "bin", "python"), Env: os.Environ()})
			if err != nil {
				t.Fatal(err)
			}
			if env.Prefix != dir || env.BasePrefix != base.Prefix || env.LibPython != base.LibPython || env.Include != base.Include || env.SOABI != base.SOABI {
				t.Errorf("environment %+v\nof %+v", env, base)
			}
			checkAgainstSite(t, filepath.Join(dir, "bin", "python"), env)
			compareWithFiles(t, exe)
			compareWithFiles(t, filepath.Join(dir, "bin", "python"))
		})
	}
}

// checkAgainstSite compares our parsing of pyvenv.cfg with that of Python's own site
// module, which detection must not run.
func checkAgainstSite(t *testing.T, exe string, p *Python) {
	t.Helper()
	var r run.Runner
	out, err := r.Output(t.Context(), run.Cmd{Argv: []string{
		exe, "-I", "-c",
		"import sys, sysconfig; p = sysconfig.get_paths(); print(sys.prefix, sys.base_prefix, p['purelib'], p['platlib'], p['scripts'], sep='\\n')",
	}, Env: []string{"PATH=/usr/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	got := []string{p.Prefix, p.BasePrefix, p.Purelib, p.Platlib, p.Scripts}
	if want := strings.Split(strings.TrimSpace(string(out)), "\n"); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestUnpackedDebian inspects a disk made of Debian's packages, none of which is
// installed or run here.
func TestUnpackedDebian(t *testing.T) {
	debs, root := t.TempDir(), t.TempDir()
	var r run.Runner
	env := []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	version := systemMinor(t)
	packages := []string{
		"apache2-bin", "apache2-dev", "apache2", "libapr1-dev", "libaprutil1-dev", "base-files",
		"python3-minimal", "python3", "python" + version + "-minimal", "libpython" + version + "-minimal", "libpython" + version + "-stdlib", "libpython" + version, "libpython" + version + "-dev",
	}
	if err := r.Run(t.Context(), run.Cmd{Argv: append([]string{"apt-get", "download"}, packages...), Dir: debs, Env: env}); err != nil {
		t.Skipf("Debian's packages are unavailable: %v", err)
	}
	all, _ := filepath.Glob(filepath.Join(debs, "*.deb"))
	for _, deb := range all {
		if err := r.Run(t.Context(), run.Cmd{Argv: []string{"dpkg-deb", "-x", deb, root}, Env: env}); err != nil {
			t.Fatal(err)
		}
	}
	disk, err := os.OpenRoot(root)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = disk.Close() }()
	e, err := ExplainRoot(disk.FS(), root, "linux", Request{})
	if err != nil {
		t.Fatal(err)
	}
	if p := e.Python(); p == nil || p.Kind != "debian" || p.Prefix != "/usr" || !p.LibShared || p.CanBuild() != nil || p.Platlib != "/usr/local/lib/python"+version+"/dist-packages" {
		t.Errorf("Python %+v", p)
	}
	if h := e.HTTPD(); h == nil || h.Executable != "/usr/sbin/apache2" || h.ModulesDir != "/usr/lib/apache2/modules" || h.MMN != 20120211 || h.APRVersion == "" || len(h.MPMs) != 3 {
		t.Errorf("httpd %+v of %+v", h, e.HTTPDs)
	}
	// Without apache2-dev the server exists, but modules cannot be built for it.
	if err := os.RemoveAll(filepath.Join(root, "usr", "share", "apache2", "build")); err != nil {
		t.Fatal(err)
	}
	e, err = ExplainRoot(disk.FS(), root, "linux", Request{})
	if err != nil || e.HTTPD() != nil || len(e.HTTPDs) != 1 || !strings.Contains(e.HTTPDs[0].Reason, "apt-get install apache2-dev") {
		t.Errorf("%+v, %v", e, err)
	}
}

// systemMinor is the version of Debian's own Python.
func systemMinor(t *testing.T) string {
	t.Helper()
	target, err := os.Readlink("/usr/bin/python3")
	version, ok := strings.CutPrefix(target, "python")
	if err != nil || !ok {
		t.Skip("this is not Debian")
	}
	return version
}
