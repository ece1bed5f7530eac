package oci

import (
	"debug/elf"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/elf/elftest"
)

// TestLibrariesOfAnotherSystem: an image without a base has the loader and the libraries of
// the system's trees, that of the Python first, and none of this machine's.
func TestLibrariesOfAnotherSystem(t *testing.T) {
	base := t.TempDir()
	file := func(name string, f elftest.File) string {
		t.Helper()
		at := filepath.Join(base, name)
		must(t, os.MkdirAll(filepath.Dir(at), 0o755))
		f.Machine = elf.EM_AARCH64
		must(t, os.WriteFile(at, f.Bytes(), 0o755))
		return at
	}
	const dir = "usr/lib/aarch64-linux-gnu/"
	libc := file("python/"+dir+"libc-2.31.so", elftest.File{Soname: "libc.so.6"})
	loader := file("python/"+dir+"ld-2.31.so", elftest.File{Soname: "ld-linux-aarch64.so.1"})
	file("root/"+dir+"libc.so.6", elftest.File{Soname: "libc.so.6"})
	far := file("root/"+dir+"libfar.so.1", elftest.File{Soname: "libfar.so.1", Needed: []string{"libc.so.6"}})
	program := file("python/usr/bin/python3.9", elftest.File{Needed: []string{"libc.so.6", "libfar.so.1", "libz.so.1"}})
	// As images of systems have them.
	for name, to := range map[string]string{"lib": "usr/lib", dir + "libc.so.6": "/" + dir + "libc-2.31.so", "usr/lib/ld-linux-aarch64.so.1": "/lib/aarch64-linux-gnu/ld-2.31.so"} {
		must(t, os.Symlink(to, filepath.Join(base, "python", name)))
	}
	m := newMaker(t, Options{Base: Scratch, User: "65532"})
	system := &System{Root: filepath.Join(base, "root"), Python: filepath.Join(base, "python"), CPU: "aarch64", Limit: "glibc 2.31"}
	i := &image{in: Input{System: system}, machine: "aarch64", texts: map[string][]byte{}}
	c := closure{m: m, image: i, libraries: map[string]found{}, interp: "/lib/ld-linux-aarch64.so.1"}
	must(t, c.add([]entry{fileEntry("/opt/python/bin/python3.9", program, 0o755)}))
	all, err := c.finish(nil)
	must(t, err)
	sources := map[string]string{}
	for _, e := range all {
		if e.source != "" {
			sources[e.name] = e.source
		}
	}
	want := map[string]string{dir + "libc.so.6": libc, dir + "libfar.so.1": far, "lib/ld-linux-aarch64.so.1": loader}
	for name, source := range want {
		if sources[name] != source {
			t.Errorf("%s is %s, want %s", name, sources[name], source)
		}
	}
	if len(sources) != len(want) {
		t.Errorf("%d files, want %d: %v", len(sources), len(want), sources)
	}
	if text := strings.Join(m.warnings, "\n"); !strings.Contains(text, "needs libz.so.1, which its system also lacks") {
		t.Errorf("warnings: %s", text)
	}
	own := elftest.File{Machine: elf.EM_X86_64}.Bytes()
	must(t, os.WriteFile(program, own, 0o755))
	must(t, c.add([]entry{fileEntry("/opt/python/bin/python3.9", program, 0o755)}))
	if _, err := c.finish(nil); err == nil || !strings.Contains(err.Error(), "is for x86_64") {
		t.Errorf("a program of another CPU: %v", err)
	}
}

// TestLinksOfAnotherSystem: an absolute link in a tree of another system leads to a file of
// that system.
func TestLinksOfAnotherSystem(t *testing.T) {
	host := t.TempDir()
	lib := filepath.Join(host, "usr/lib/python3.9")
	must(t, os.MkdirAll(lib, 0o755))
	must(t, os.MkdirAll(filepath.Join(host, "etc"), 0o755))
	must(t, os.WriteFile(filepath.Join(host, "etc/far.conf"), nil, 0o644))
	must(t, os.Symlink("/etc/far.conf", filepath.Join(lib, "conf.py")))
	must(t, os.Symlink("/etc/passwd", filepath.Join(lib, "own.py"))) // of this machine
	c := collector{root: lib, host: host, to: "/opt/python/lib/python3.9", follow: true}
	all, err := c.collect("cure")
	must(t, err)
	if len(all) != 1 || all[0].name != "opt/python/lib/python3.9/conf.py" || all[0].source != filepath.Join(host, "etc/far.conf") {
		t.Errorf("got %+v", all)
	}
}
