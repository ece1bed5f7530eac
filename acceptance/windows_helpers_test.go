//go:build acceptance

package acceptance

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// All Windows tests run under wine: a real CPython for Windows (Microsoft's compiler)
// and an httpd that scripts/windows-fixture compiles. They prove nothing about a real
// Windows.

// needTools reports and skips a test whose tools are missing on this machine.
func needTools(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("NOT TESTED: %s is missing; scripts/windows-prerequisites installs it", name)
		}
	}
}

// windows is a wine prefix with an httpd and a Python in it.
type windows struct {
	dir   string // C:\
	env   []string
	httpd string // the httpd as built, in the layout of Apache Lounge's archive
}

// onWindows makes a prefix.
func onWindows(t *testing.T) *windows {
	t.Helper()
	needTools(t, "wine", "wineboot", "wineserver", "x86_64-w64-mingw32-gcc")
	base, err := os.MkdirTemp("/var/tmp", "modwsgi-wine-")
	if err != nil {
		t.Fatal(err)
	}
	w := &windows{}
	w.set(base)
	t.Cleanup(func() {
		for _, flag := range []string{"-k", "-w"} { // end all processes, and wait for that
			c := exec.Command("wineserver", flag)
			c.Env = w.env
			_ = c.Run()
		}
		if err := os.RemoveAll(base); err != nil {
			t.Error(err)
		}
	})
	w.httpd = windowsHTTPD(t)
	must(t, "/", w.env, "wineboot", "-i")
	w.shim(t)
	w.python(t)
	must(t, "/", w.env, "cp", "-r", filepath.Join(w.httpd, "Apache24"), w.path("Apache24"))
	return w
}

// windowsHTTPD builds the httpd, once for all tests, and returns the directory that has it.
func windowsHTTPD(t *testing.T) string {
	t.Helper()
	cache := setting(t, "MODWSGI_TEST_CACHE")
	httpd := filepath.Join(cache, "windows-httpd")
	switch r := command(t, ".", os.Environ(), "../scripts/windows-fixture", filepath.Join(cache, "downloads"), httpd); r.code {
	case 0:
	case 77: // a host with expat's headers does not fetch expat
		t.Skipf("NOT TESTED: an httpd for Windows cannot be built: %v", r)
	default:
		t.Fatal(r)
	}
	return httpd
}

func (w *windows) set(base string) {
	w.dir = filepath.Join(base, "drive_c")
	w.env = bareEnv("WINEPREFIX="+base, "WINEDLLOVERRIDES=mscoree,mshtml=", "WINEDEBUG=-all")
}

// path is a file on C:.
func (w *windows) path(name string) string { return filepath.Join(w.dir, filepath.FromSlash(name)) }

// shim provides the one function that Go's runtime needs and wine 8 lacks.
func (w *windows) shim(t *testing.T) {
	t.Helper()
	source := filepath.Join(filepath.Dir(w.dir), "prng.c")
	write(t, source, "#include <windows.h>\n#include <ntsecapi.h>\n__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE to, SIZE_T n) { return RtlGenRandom(to, (ULONG)n); }\n")
	must(t, "/", os.Environ(), "x86_64-w64-mingw32-gcc", "-shared", "-O", "-s", "-o", w.path("windows/system32/bcryptprimitives.dll"), source, "-ladvapi32")
}

// python unpacks a CPython for Windows to C:\Python311.
func (w *windows) python(t *testing.T) {
	t.Helper()
	r := command(t, ".", os.Environ(), "go", "-C", "winpython", "mod", "download", "-json", "github.com/kluctl/go-embed-python")
	var module struct{ Dir string }
	if err := json.Unmarshal([]byte(r.stdout), &module); err != nil || module.Dir == "" {
		t.Fatalf("no Python for Windows available: %v", r)
	}
	root := filepath.Join(module.Dir, "python/internal/data/windows-amd64")
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "files.json" {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		to := w.path(filepath.Join("Python311", strings.TrimSuffix(rel, ".gz")))
		in, err := os.Open(name)
		if err != nil {
			return err
		}
		defer in.Close()
		var from io.Reader = in
		if strings.HasSuffix(rel, ".gz") {
			if from, err = gzip.NewReader(in); err != nil {
				return err
			}
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		out, err := os.Create(to)
		if err != nil {
			return err
		}
		defer out.Close()
		_, err = io.Copy(out, from)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// wine runs a program to its end.
func (w *windows) wine(t *testing.T, argv ...string) result {
	t.Helper()
	r := command(t, "/", w.env, append([]string{"wine"}, argv...)...)
	r.stdout = strings.ReplaceAll(r.stdout, "\r\n", "\n")
	return r
}

// pip runs this machine's pip with the Python of the prefix.
func (w *windows) pip(t *testing.T, args ...string) result {
	t.Helper()
	wheels, _ := filepath.Glob("/usr/share/python-wheels/pip-*.whl")
	if len(wheels) == 0 {
		wheels, _ = filepath.Glob("/usr/lib/python3*/ensurepip/_bundled/pip-*.whl")
	}
	if len(wheels) == 0 {
		t.Skip("NOT TESTED: no wheel of pip; python3-pip-whl has it")
	}
	name := filepath.Base(wheels[0])
	must(t, "/", os.Environ(), "cp", wheels[0], w.path(name))
	return w.wine(t, append([]string{`C:\Python311\python.exe`, `C:\` + name + `\pip`}, args...)...)
}
