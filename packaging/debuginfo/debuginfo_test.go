//go:build linux

package debuginfo

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/elf"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
	"modwsgi/packaging"
)

var env = []string{"PATH=/usr/local/bin:/usr/bin:/bin"}

const source = "int answer(int x) { return x + 42; }\nint main(int argc, char **argv) { return answer(argc) == 0; }\n"

// tree compiles a program and a library in a directory of its own, so that their
// information would name it.
func tree(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("-short starts no compiler")
	}
	for _, tool := range []string{"gcc", "objcopy"} {
		if _, err := run.LookPath(tool, env); err != nil {
			t.Skip(err)
		}
	}
	work, root := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(work, "a.c"), []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	var r run.Runner
	for out, more := range map[string][]string{"prog": nil, "lib.so": {"-shared", "-fPIC"}, "plain.so": {"-shared", "-fPIC", "-g0"}} {
		argv := append([]string{"gcc", "-O1", "-g", "-Wl,--build-id=sha1", "-ffile-prefix-map=" + work + "=."}, more...)
		if err := r.Run(t.Context(), run.Cmd{Argv: append(argv, "-o", filepath.Join(root, out), "a.c"), Dir: work, Env: env}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "text"), []byte("not a binary\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("prog", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	return root
}

func separated(t *testing.T, root string) (files []packaging.Debug, to string) {
	t.Helper()
	tool, err := Tool(env, "")
	if err != nil {
		t.Fatal(err)
	}
	to = t.TempDir()
	if files, err = Split(t.Context(), &run.Runner{}, env, tool, root, to); err != nil {
		t.Fatal(err)
	}
	return files, to
}

func TestSplit(t *testing.T) {
	root := tree(t)
	size := func(name string) int64 {
		info, err := os.Stat(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	before, plain := size("prog"), size("plain.so")
	files, to := separated(t, root)
	if len(files) != 2 || files[0].Of != "lib.so" || files[1].Of != "prog" || size("prog") >= before || size("plain.so") != plain {
		t.Fatalf("got %+v; prog has %d bytes, before %d", files, size("prog"), before)
	}
	for _, f := range files {
		if f.Path != "usr/lib/debug/.build-id/"+f.ID[:2]+"/"+f.ID[2:]+".debug" || len(f.ID) != 40 {
			t.Errorf("path %s of %s", f.Path, f.ID)
		}
		bin, err := elf.Open(filepath.Join(root, f.Of))
		if err != nil {
			t.Fatal(err)
		}
		if bin.HasDebugInfo() || bin.BuildID() != f.ID {
			t.Errorf("%s: debugging information %v, identifier %s", f.Of, bin.HasDebugInfo(), bin.BuildID())
		}
		_ = bin.Close()
	}
	var r run.Runner
	if _, err := r.Output(t.Context(), run.Cmd{Argv: []string{filepath.Join(root, "prog")}, Env: env}); err != nil {
		t.Errorf("the program no longer runs: %v", err)
	}
	// What debuggers read: the name of the file and its checksum.
	link, err := r.Output(t.Context(), run.Cmd{Argv: []string{"readelf", "--string-dump=.gnu_debuglink", filepath.Join(root, "prog")}, Env: env})
	if err != nil || !strings.Contains(string(link), files[1].ID[2:]+".debug") {
		t.Errorf("debug link: %s, %v", link, err)
	}
	info, err := r.Output(t.Context(), run.Cmd{Argv: []string{"readelf", "--debug-dump=info", files[1].File}, Env: env})
	if err != nil || !strings.Contains(string(info), "answer") || strings.Contains(string(info), os.TempDir()+"/Test") {
		t.Errorf("%s %v", info, err)
	}
	if _, err := run.LookPath("gdb", env); err != nil {
		t.Skipf("NOT TESTED: gdb, which was not found (apt-get install gdb): %v", err)
	}
	found, err := r.Output(t.Context(), run.Cmd{Argv: []string{
		"gdb", "-nx", "-batch", "-iex", "set debug-file-directory " + filepath.Join(to, "usr/lib/debug"), "-ex", "info line answer", filepath.Join(root, "prog"),
	}, Env: append(slices.Clone(env), "HOME="+t.TempDir())})
	if err != nil || !strings.Contains(string(found), `Line 1 of "./a.c"`) {
		t.Errorf("gdb: %s, %v", found, err)
	}
}

// Two builds in different directories give the same files.
func TestSplitAgain(t *testing.T) {
	archive := func() []byte {
		files, _ := separated(t, tree(t))
		var out bytes.Buffer
		if err := Archive(&out, append(files, files[0]), time.Unix(1735689600, 0)); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	one, two := archive(), archive()
	if !bytes.Equal(one, two) {
		t.Error("the archives differ")
	}
	z, err := gzip.NewReader(bytes.NewReader(one))
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for r := tar.NewReader(z); ; count++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || !strings.HasPrefix(h.Name, Dir+"/") || h.Mode != 0o644 {
			t.Fatalf("%+v, %v", h, err)
		}
	}
	if count != 2 {
		t.Errorf("%d files", count)
	}
}

func TestTool(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"aarch64-linux-gnu-objcopy", "llvm-objcopy"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for triple, want := range map[string]string{"aarch64-linux-gnu": "aarch64-linux-gnu-objcopy", "riscv64-linux-gnu": "llvm-objcopy", "": "llvm-objcopy"} {
		if got, err := Tool([]string{"PATH=" + dir}, triple); err != nil || filepath.Base(got) != want {
			t.Errorf("%q: %s, %v", triple, got, err)
		}
	}
	if _, err := Tool([]string{"PATH=" + t.TempDir()}, ""); fault.ClassOf(err) != fault.Environment || !strings.Contains(fault.HintOf(err), "binutils") {
		t.Errorf("got %v", err)
	}
}

func TestSplitFails(t *testing.T) {
	root := tree(t)
	tool := filepath.Join(t.TempDir(), "objcopy")
	if err := os.WriteFile(tool, []byte("#!/bin/sh\necho no such CPU >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := Split(t.Context(), &run.Runner{}, env, tool, root, t.TempDir())
	if fault.ClassOf(err) != fault.Environment || !strings.Contains(err.Error(), "of lib.so") {
		t.Errorf("got %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(root, "*.split")); left != nil {
		t.Errorf("left: %q", left)
	}
}
