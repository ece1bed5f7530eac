//go:build acceptance

package acceptance

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"modwsgi/packaging/publish/publishtest"
	"modwsgi/packaging/toolwheel"
)

// strictIndex is an index that refuses wheels that PyPI refuses, with PyPI's list of
// classifiers if that is installed.
func strictIndex(t *testing.T) *publishtest.Index {
	t.Helper()
	x := publishtest.NewIndex(t)
	x.Strict = true
	// Debian's package, read by any Python.
	r := command(t, "/", bareEnv("PYTHONPATH=/usr/lib/python3/dist-packages"), "/usr/bin/python3", "-c",
		"import json, trove_classifiers as t; print(json.dumps(sorted(t.classifiers - t.deprecated_classifiers.keys())))")
	if r.code != 0 {
		t.Log("NOT TESTED: classifiers, because python3-trove-classifiers is missing; scripts/test-prerequisites installs it")
		return x
	}
	if err := json.Unmarshal([]byte(r.stdout), &x.Classifiers); err != nil || len(x.Classifiers) < 500 {
		t.Fatal(len(x.Classifiers), err)
	}
	return x
}

// upload uploads wheels with twine.
func upload(t *testing.T, x *publishtest.Index, wheels ...string) {
	t.Helper()
	if _, err := exec.LookPath("/usr/bin/twine"); err != nil {
		t.Skip("NOT TESTED: twine is missing; scripts/test-prerequisites installs it")
	}
	argv := []string{"/usr/bin/twine", "upload", "--non-interactive", "--disable-progress-bar", "--repository-url", x.URL + "legacy/", "-u", x.User, "-p", x.Password}
	must(t, "/", bareEnv(), append(argv, wheels...)...)
	for _, wheel := range wheels {
		if _, there := x.Get(filepath.Base(wheel)); !there {
			t.Fatalf("the index has no %s: %q", filepath.Base(wheel), x.Order())
		}
	}
}

// TestWheelsForAnIndex makes each kind of wheel, with both versions of the core
// metadata. twine and modwsgi upload them to an index with PyPI's rules, and pip finds
// the one for each system.
func TestWheelsForAnIndex(t *testing.T) {
	t.Parallel()
	needTools(t, "x86_64-w64-mingw32-gcc")
	dir := workdir(t, "wheels for an index")
	launcher := filepath.Join(dir, "mod_wsgi-express.exe")
	must(t, "..", append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0"), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", launcher, "./cmd/mod_wsgi-express")
	make := func(metadata string) string {
		out := filepath.Join(dir, "dist"+metadata)
		for _, args := range [][]string{
			{"package", "wheel", "--python", systemPython, "--lock-file", filepath.Join(dir, "modwsgi.lock")},
			{"package", "windows", "--python", "3.11", "--launcher", launcher},
		} {
			must(t, dir, bareEnv(), append(append([]string{program(t, "modwsgi")}, args...), "--metadata-version", metadata, "--cache-dir", setting(t, "MODWSGI_TEST_CACHE"), "--out", out)...)
		}
		return out
	}
	old := make("2.1")
	wheels, _ := filepath.Glob(filepath.Join(old, "*.whl"))
	if len(wheels) != 3 {
		t.Fatal(wheels)
	}
	programs := map[string][]byte{}
	for _, name := range []string{"modwsgi", "mod_wsgi-express", "mod_wsgi-apxs"} {
		data, err := os.ReadFile(program(t, name))
		if err != nil {
			t.Fatal(err)
		}
		programs[name], programs[name+".exe"] = data, data // their contents do not matter here
	}
	for _, platform := range []string{"linux/amd64", "darwin/arm64", "windows/amd64", "windows/arm64"} {
		path, err := toolwheel.Write(dir, toolwheel.Options{
			Platform: platform, Version: "1.2.3", Programs: programs, Readme: "# modwsgi\n\nText.\n", Repository: "https://example.org/modwsgi",
			Licences: map[string][]byte{"LICENSE": []byte("text")}, Time: time.Unix(1700000000, 0),
		})
		if err != nil {
			t.Fatal(err)
		}
		wheels = append(wheels, path)
	}
	must(t, dir, bareEnv(), append([]string{"twine", "check", "--strict"}, wheels...)...)
	x := strictIndex(t)
	upload(t, x, wheels...)
	for want, platform := range map[string]string{"-win_amd64.whl": "win_amd64", "-manylinux": "manylinux_2_17_x86_64"} {
		to := filepath.Join(dir, "for "+platform)
		must(t, dir, bareEnv(), "/usr/bin/python3", "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-cache-dir", "--no-deps", "--only-binary", ":all:",
			"--python-version", "3.11", "--platform", platform, "--index-url", x.URL+"simple/", "--dest", to, "mod_wsgi")
		if found, _ := filepath.Glob(filepath.Join(to, "mod_wsgi-*"+want+"*")); len(found) != 1 {
			t.Errorf("pip takes %q for %s", found, platform)
		}
	}

	// twine before 6.1 knows no metadata 2.4. modwsgi does.
	newer := make("2.4")
	x.Remove()
	must(t, dir, bareEnv("MODWSGI_INDEX_TOKEN="+x.Password), program(t, "modwsgi"), "package", "publish", newer, "--index-url", x.URL+"legacy/")
	if got := x.Order(); len(got) != 3 {
		t.Fatalf("uploaded: %q", got)
	}
	for _, name := range x.Order() {
		u, _ := x.Get(name)
		if len(u.Fields["license_expression"]) != 1 || len(u.Fields["license_file"]) < 3 || len(u.Fields["license"]) != 0 {
			t.Errorf("%s: %q", name, u.Fields)
		}
	}
	env := filepath.Join(dir, "env")
	must(t, dir, bareEnv(), systemPython, "-m", "venv", env)
	must(t, dir, bareEnv(), filepath.Join(env, "bin/pip"), "install", "-q", "--disable-pip-version-check", "--index-url", x.URL+"simple/", "mod_wsgi")
	if r := must(t, dir, bareEnv(), filepath.Join(env, "bin/pip"), "show", "mod_wsgi"); !strings.Contains(r.stdout, "Home-page: https://www.modwsgi.org/") || !strings.Contains(r.stdout, "Author: Graham Dumpleton") {
		t.Error(r)
	}

	// A local version is for private indexes.
	local := filepath.Join(dir, "local")
	must(t, dir, bareEnv(), program(t, "modwsgi"), "package", "windows", "--python", "3.11", "--launcher", launcher, "--local-version", "ap24", "--cache-dir", setting(t, "MODWSGI_TEST_CACHE"), "--out", local)
	if found, _ := filepath.Glob(filepath.Join(local, "mod_wsgi-*+ap24-cp311-cp311-win_amd64.whl")); len(found) != 1 {
		t.Errorf("%q", found)
	}
	for want, args := range map[string][]string{"--local-version": {"--local-version", "a/b"}, "--metadata-version": {"--metadata-version", "3"}} {
		r := command(t, dir, bareEnv(), append([]string{program(t, "modwsgi"), "package", "windows", "--progress", "plain", "--python", "3.11", "--launcher", launcher, "--out", filepath.Join(dir, "none")}, args...)...)
		if r.code != 2 || !strings.Contains(r.stderr, want) || strings.Contains(r.stderr, "fetch") {
			t.Errorf("%s: %v", want, r)
		}
	}
}

// versions reads the version of each program and library of the wheel with Windows' own
// functions, and with readers of other projects.
func (w *windows) versions(t *testing.T) {
	t.Helper()
	const script = `import ctypes, sys
from ctypes import wintypes
v = ctypes.WinDLL("version")
for path in sys.argv[1:]:
    size = v.GetFileVersionInfoSizeW(path, None)
    data = ctypes.create_string_buffer(size)
    if not size or not v.GetFileVersionInfoW(path, 0, size, data):
        sys.exit("no version in " + path)
    for name in ["FileVersion", "ProductName", "FileDescription", "OriginalFilename", "LegalCopyright"]:
        text, length = ctypes.c_void_p(), wintypes.UINT()
        if not v.VerQueryValueW(data, "\\StringFileInfo\\040904b0\\" + name, ctypes.byref(text), ctypes.byref(length)):
            sys.exit("no %s in %s" % (name, path))
        print(name + ": " + ctypes.wstring_at(text.value))
`
	write(t, w.path("versions.py"), script)
	module := "Python311/Lib/site-packages/mod_wsgi/server/mod_wsgi.cp311-win_amd64.pyd"
	launcher := "Python311/Scripts/mod_wsgi-express.exe"
	r := w.wine(t, `C:\Python311\python.exe`, `C:\versions.py`, "C:/"+module, "C:/"+launcher)
	for _, want := range []string{
		"FileDescription: mod_wsgi for Apache 2.4 and Python 3.11\n", "OriginalFilename: mod_wsgi.cp311-win_amd64.pyd\n", "LegalCopyright: Copyright 2007-",
		"ProductName: modwsgi\n", "OriginalFilename: mod_wsgi-express.exe\n",
	} {
		if r.code != 0 || !strings.Contains(r.stdout, want) {
			t.Errorf("Windows reads no %q: %v", want, r)
		}
	}
	for _, tool := range [][]string{{"exiftool", "-FileDescription"}, {"llvm-readobj", "--coff-resources"}} {
		if _, err := exec.LookPath(tool[0]); err != nil {
			t.Logf("NOT TESTED: %s is missing", tool[0])
			continue
		}
		for _, file := range []string{module, launcher} {
			r := must(t, "/", bareEnv(), append(tool, w.path(file))...)
			wants := map[string]string{"exiftool": "File Description", "llvm-readobj": "VERSIONINFO"}
			if !strings.Contains(r.stdout+r.stderr, wants[tool[0]]) {
				t.Errorf("%s does not read the version of %s: %v", tool[0], file, r)
			}
		}
	}
	if data, err := os.ReadFile(w.path(launcher)); err != nil || !bytes.Contains(data, []byte("<longPathAware")) || !bytes.Contains(data, []byte(`level="asInvoker"`)) {
		t.Errorf("the launcher has no manifest (%v)", err)
	}
}

// onlyCRLF requires the line ends of Windows in all files below a directory that are not
// the binaries with those names, and none of the tests' httpd.
func onlyCRLF(t *testing.T, dir string, binaries ...string) {
	t.Helper()
	texts := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || slices.Contains(binaries, d.Name()) {
			return err
		}
		if rel, _ := filepath.Rel(dir, path); strings.HasPrefix(rel, "Apache24/") && rel != "Apache24/conf/extra/httpd-wsgi.conf" {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		texts++
		if lines := bytes.Count(data, []byte("\n")); lines != bytes.Count(data, []byte("\r\n")) {
			t.Errorf("%s has %d lines, %d of them with the line end of Windows", path, lines, bytes.Count(data, []byte("\r\n")))
		}
		return nil
	})
	if err != nil || texts < 3 {
		t.Errorf("%d texts in %s: %v", texts, dir, err)
	}
}
