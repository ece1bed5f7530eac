package elf

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/run"
)

// compile builds C source with the host's compiler, and skips the test without one.
func compile(t *testing.T, source, output string, flags ...string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("-short starts no compiler")
	}
	if runtime.GOOS != "linux" {
		t.Skip("makes ELF files on Linux only")
	}
	env := []string{"PATH=/usr/local/bin:/usr/bin:/bin", "TMPDIR=" + t.TempDir()}
	if _, err := run.LookPath("cc", env); err != nil {
		t.Skip("no C compiler here")
	}
	dir := t.TempDir()
	in := filepath.Join(dir, "in.c")
	if err := os.WriteFile(in, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, output)
	var r run.Runner
	if err := r.Run(t.Context(), run.Cmd{Argv: append([]string{"cc", in, "-o", out}, flags...), Env: env}); err != nil {
		t.Fatal(err)
	}
	return out
}

const library = `#include <stdio.h>
unsigned Py_Version = 0x030b07f0; const char *text = "3.11.7";
int visible(void) { return printf("%s", text); }
static int hidden(void) { return 1; } int (*keep)(void) = hidden;`

func TestFacts(t *testing.T) {
	path := compile(t, library, "libx.so", "-shared", "-fPIC", "-Wl,-soname,libx.so.1", "-Wl,--enable-new-dtags,-rpath,$ORIGIN/../lib:/opt/x")
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	facts, err := f.Facts()
	if err != nil {
		t.Fatal(err)
	}
	if facts.Kind != "shared" || facts.Soname != "libx.so.1" || facts.Class != 64 && facts.Class != 32 {
		t.Errorf("facts: %+v", facts)
	}
	if want := []string{"$ORIGIN/../lib", "/opt/x"}; !slices.Equal(facts.RunPath, want) {
		t.Errorf("run path %q, want %q", facts.RunPath, want)
	}
	if !slices.ContainsFunc(facts.Needed, func(n string) bool { return strings.HasPrefix(n, "libc.") }) {
		t.Errorf("needed: %q", facts.Needed)
	}
	if own, err := Read("/proc/self/exe"); err != nil || own.Machine != facts.Machine {
		t.Errorf("machine %q, the test is for %+v (%v)", facts.Machine, own, err)
	}
	for name, want := range map[string]bool{"visible": true, "hidden": false, "printf": false, "": false} {
		if f.Exports(name) != want {
			t.Errorf("Exports(%q) = %v", name, !want)
		}
	}
	if v, err := f.Uint32("Py_Version"); err != nil || v != 0x030b07f0 {
		t.Errorf("Py_Version = %#x, %v", v, err)
	}
	if data, err := f.ReadOnlyData(); err != nil || !bytes.Contains(data, []byte("3.11.7\x00")) {
		t.Errorf("read-only data has no version (%v)", err)
	}
	if _, err := f.Bytes("visible", -1); err == nil {
		t.Error("a negative length was accepted")
	}
}

func TestNotELF(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, path := range map[string]string{
		"text": write("text", "#!/bin/sh\n"), "empty": write("empty", ""), "directory": dir, "device": os.DevNull,
	} {
		if _, err := Read(path); !errors.Is(err, ErrNotELF) {
			t.Errorf("%s: %v, want ErrNotELF", name, err)
		}
		if Is(path) {
			t.Errorf("%s is an ELF file?", name)
		}
	}
	for _, text := range []string{"#!/bin/sh\n", ""} {
		if _, err := NewArchive(strings.NewReader(text), int64(len(text))); !errors.Is(err, ErrNotArchive) {
			t.Errorf("%q: %v, want ErrNotArchive", text, err)
		}
	}
	if _, err := Read(write("magic", "\x7fELF")); err == nil || errors.Is(err, ErrNotELF) {
		t.Errorf("a bare magic number: %v", err)
	}
	if _, err := Read(filepath.Join(dir, "nothing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestTruncatedFiles(t *testing.T) {
	path := compile(t, library, "libx.so", "-shared", "-fPIC", "-s")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := 4; n < len(data); n += 1 + len(data)/200 {
		f, err := parse(bytes.NewReader(data[:n]), int64(n))
		if err != nil {
			continue
		}
		if _, err := f.Facts(); err == nil && n < len(data)/2 {
			t.Errorf("%d of %d bytes gave facts", n, len(data))
		}
	}
}

func TestArchive(t *testing.T) {
	const source = `int shared_data; extern int other; int *f(void) { return &other; } int g(int i) { static int t[9]; return t[i] + shared_data; } const char *s(void) { return "text"; }`
	for _, tt := range []struct {
		name  string
		flags []string
		pic   bool
	}{
		{"pic", []string{"-fPIC", "-g"}, true},
		{"pie", []string{"-fPIE"}, false},
		{"absolute", []string{"-fno-pic", "-fno-pie"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
				t.Skip("relocations known for amd64 and arm64 only")
			}
			if tt.name == "absolute" && runtime.GOARCH != "amd64" {
				t.Skip("absolute code is an amd64 matter")
			}
			object, err := os.ReadFile(compile(t, source, "x.o", append(tt.flags, "-c", "-O1")...))
			if err != nil {
				t.Fatal(err)
			}
			a, err := readArchive(archiveOf(object))
			if err != nil {
				t.Fatal(err)
			}
			if a.PIC != tt.pic || (a.Culprit == "") != tt.pic || a.Members != 1 {
				t.Errorf("got %+v", a)
			}
		})
	}
}

// archiveOf wraps objects in an ar archive.
func archiveOf(members ...[]byte) (*bytes.Reader, int64) {
	var b bytes.Buffer
	b.WriteString(arMagic)
	for _, m := range append([][]byte{[]byte("index")}, members...) {
		b.WriteString("x.o/            0           0     0     644     ")
		b.WriteString(pad(len(m)) + "`\n")
		b.Write(m)
		if len(m)%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return bytes.NewReader(b.Bytes()), int64(b.Len())
}

func pad(n int) string {
	digits := ""
	for ; n > 0; n /= 10 {
		digits = string(rune('0'+n%10)) + digits
	}
	return digits + strings.Repeat(" ", 10-len(digits))
}

func TestDamagedArchives(t *testing.T) {
	for name, data := range map[string]string{
		"no members":     arMagic,
		"text only":      arMagic + "x.o/            0           0     0     644     2         `\nhi",
		"beyond the end": arMagic + "x.o/            0           0     0     644     99999     `\nhi",
		"negative":       arMagic + "x.o/            0           0     0     644     -9        `\nhi",
		"no number":      arMagic + "x.o/            0           0     0     644     x         `\nhi",
		"no end mark":    arMagic + "x.o/            0           0     0     644     2         xxhi",
		"broken member":  arMagic + "x.o/            0           0     0     644     4         `\n\x7fELF",
		"thin":           "!<thin>\n",
	} {
		if a, err := readArchive(strings.NewReader(data), int64(len(data))); err == nil {
			t.Errorf("%s: accepted as %+v", name, a)
		}
	}
}

func TestCompareVersions(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{{"2.9", "2.34", -1}, {"2.34", "2.34", 0}, {"2.34", "2.34.1", -1}, {"2.34", "PRIVATE", 1}, {"99999999999999999999", "1", -1}} {
		if got := CompareVersions(tt.a, tt.b); min(1, max(-1, got)) != tt.want {
			t.Errorf("CompareVersions(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

func FuzzELF(f *testing.F) {
	if own, err := os.ReadFile("/proc/self/exe"); err == nil {
		f.Add(own[:min(len(own), 4096)])
	}
	f.Add([]byte("\x7fELF\x02\x01\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := parse(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		if facts, err := file.Facts(); err == nil && facts.Class != 32 && facts.Class != 64 {
			t.Errorf("class %d", facts.Class)
		}
		_, _ = file.Uint32("Py_Version")
		if data, err := file.ReadOnlyData(); err == nil && len(data) > 1<<26 {
			t.Error("more data than the file has")
		}
		_, _ = file.notPIC()
	})
}

func FuzzArchive(f *testing.F) {
	f.Add([]byte(arMagic + "x.o/            0           0     0     644     4         `\n\x7fELF"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if a, err := readArchive(bytes.NewReader(data), int64(len(data))); err == nil && a.Members == 0 {
			t.Error("an archive of nothing")
		}
	})
}
