package windows

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"debug/pe"
	"encoding/hex"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/run"
)

// asked is a store that ends a build when it is asked: the key is known then, and nothing
// was compiled.
type asked struct{ key, inputs string }

var errAsked = errors.New("the store was asked")

func (a *asked) Restore(_ context.Context, key, inputs, _ string) (bool, error) {
	a.key, a.inputs = key, inputs
	return false, errAsked
}
func (*asked) Keep(context.Context, string, string, string) {}
func (*asked) Alone(context.Context, string) (func(), bool, error) {
	return func() {}, false, errAsked
}

// packed makes an archive of mod_wsgi.
func packed(t *testing.T) Source {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	text := []byte("#define MOD_WSGI_VERSION_STRING \"5.0.2\"\n")
	err := w.WriteHeader(&tar.Header{Name: "mod_wsgi-5.0.2/src/server/wsgi_version.h", Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg})
	if err == nil {
		_, err = w.Write(text)
	}
	name := filepath.Join(t.TempDir(), "mod_wsgi.tar.gz")
	if err := errors.Join(err, w.Close(), z.Close(), os.WriteFile(name, out.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(out.Bytes())
	return Source{Version: "5.0.2", Path: name, SHA256: hex.EncodeToString(sum[:])}
}

// importLibrary makes one with dlltool, for a DLL of some name.
func importLibrary(t *testing.T, dll string, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	def := "LIBRARY " + dll + "\nEXPORTS\n"
	for _, n := range names {
		def += "    " + n + "\n"
	}
	put(t, dir, map[string]string{"x.def": def})
	c := exec.Command("x86_64-w64-mingw32-dlltool", "-m", "i386:x86-64", "-d", "x.def", "-D", dll, "-l", "x.lib", "-t", "fixed")
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	data, err := os.ReadFile(filepath.Join(dir, "x.lib"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestKey: whatever goes into a module gives another key if it changes, and a place gives
// the same.
func TestKey(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a compiler")
	}
	gcc, err := exec.LookPath("x86_64-w64-mingw32-gcc")
	if err != nil {
		t.Skip("NOT TESTED: x86_64-w64-mingw32-gcc is missing; scripts/windows-prerequisites installs it")
	}
	cc1, err := exec.Command(gcc, "-print-prog-name=cc1").Output()
	if err != nil {
		t.Fatal(err)
	}
	module := packed(t)
	// The compiler is this machine's, with a directory that it looks into first.
	files := apache()
	maps.Copy(files, map[string]string{
		"Apache24/lib/libhttpd.lib": importLibrary(t, "libhttpd.dll", "ap_x"),
		"python/include/Python.h":   "", "python/include/pyconfig.h": "#define MS_WINDOWS\n",
		"python/include/patchlevel.h": python(11)["patchlevel.h"],
		"python/python311.dll":        dll(pe.IMAGE_FILE_MACHINE_AMD64, "Py_Main"),
		"python/libs/python311.lib":   importLibrary(t, "python311.dll", "Py_Main"),
		"mingw/libpsapi.a":            "!<arch>\n", "mingw/libmingw32.a": "!<arch>\n", "mingw/include/assert.h": "/* one */\n#define one 1\n",
	})
	var inputs string
	key := func(change map[string]string) string {
		t.Helper()
		dir := filepath.Join(t.TempDir(), "ein Ort")
		all := maps.Clone(files)
		maps.Copy(all, change)
		for name, text := range all {
			if text == "" && change[name] == "" && files[name] != "" {
				delete(all, name)
			}
		}
		put(t, dir, all)
		bin := filepath.Join(dir, "bin")
		put(t, bin, map[string]string{"x86_64-w64-mingw32-gcc": "#!/bin/sh\nhere=${0%/bin/*}\nexec " + gcc + " -B\"$here/mingw\" \"$@\"\n" + change["wrapper"]})
		if err := os.Chmod(filepath.Join(bin, "x86_64-w64-mingw32-gcc"), 0o755); err != nil {
			t.Fatal(err)
		}
		if change["mingw/cc1"] != "" {
			if err := os.Chmod(filepath.Join(dir, "mingw/cc1"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		store := &asked{}
		_, err := Build(t.Context(), Request{
			Module: module, Python: "3.11", HTTPDSDK: filepath.Join(dir, "Apache24"), PythonSDK: filepath.Join(dir, "python"), Jobs: 1,
			Work: filepath.Join(dir, "work"), Out: filepath.Join(dir, "out"), Logs: filepath.Join(dir, "logs"), Runner: &run.Runner{}, Store: store,
			Env: []string{"PATH=" + bin + ":" + os.Getenv("PATH")},
		})
		if !errors.Is(err, errAsked) {
			t.Fatalf("%v", err)
		}
		inputs = store.inputs
		return store.key
	}
	seen := map[string]string{key(nil): "unchanged"}
	first := inputs
	if seen[key(nil)] == "" {
		t.Fatalf("the same in another directory has another key:\n%s\n%s", first, inputs)
	}
	for name, change := range map[string]map[string]string{
		"a header of httpd":                         {"Apache24/include/apr.h": "/* */\n"},
		"a header of Python":                        {"python/include/Python.h": "/* */\n"},
		"a header that only another includes":       {"python/include/cpython/x.h": "/* */\n"},
		"a DLL of httpd with another name":          {"Apache24/bin/libapr-1.dll": dll(pe.IMAGE_FILE_MACHINE_AMD64, "apr_x", "apr_z")},
		"an import library of httpd":                {"Apache24/lib/libhttpd.lib": importLibrary(t, "LIBHTTPD.dll", "ap_x")},
		"an import library of httpd that was added": {"Apache24/lib/libapr-1.lib": importLibrary(t, "libapr-1.dll", "apr_x")},
		"an import library of Python":               {"python/libs/python311.lib": importLibrary(t, "PYTHON311.dll", "Py_Main")},
		"an import library of Python that is gone":  {"python/libs/python311.lib": ""},
		"the program that is called gcc":            {"wrapper": "# another\n"},
		"the compiler proper":                       {"mingw/cc1": "#!/bin/sh\nexec " + strings.TrimSpace(string(cc1)) + " \"$@\"\n"},
		"a library that every module is linked to":  {"mingw/libpsapi.a": "!<arch>\n\n"},
		"a library of mingw-w64's start code":       {"mingw/libmingw32.a": "!<arch>\n\n"},
		"a header of mingw-w64":                     {"mingw/include/assert.h": "/* one */\n#define one 2\n"},
	} {
		k := key(change)
		if other, ok := seen[k]; ok {
			t.Errorf("%s: the same key as %s", name, other)
			continue
		}
		seen[k] = name
	}
	if _, ok := seen[key(map[string]string{"Apache24/ReadMe.txt": "another", "python/DLLs/other.dll": "another"})]; !ok {
		t.Error("files that no module is made of count")
	}
}
