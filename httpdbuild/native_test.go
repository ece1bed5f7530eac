//go:build unix

package httpdbuild

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
	"modwsgi/internal/steps"
	"modwsgi/internal/timeline"
	"modwsgi/internal/toolchain"
)

// small is a configure script that makes a small APR: two files and the program that
// writes a table, with the libtool of a Linux system.
const small = `mkdir -p tools include/private
cat >Makefile <<'EOF'
LIBTOOL = ./libtool
COMPILE = $(LIBTOOL) --mode=compile cc -O2
OBJECTS = one.lo two.lo
ALL_LIBS = -lm
libapr-1.la: $(OBJECTS)
	$(LIBTOOL) --mode=link cc -O2 -version-info 7:6:7 -o $@ -rpath /opt/lib $(OBJECTS) $(ALL_LIBS)
.c.lo:
	$(COMPILE) -o $@ -c $< && touch $@
tools/gen_test_char: tools/gen_test_char.c
	cc tools/gen_test_char.c -o $@
include/private/apr_escape_test_char.h: tools/gen_test_char
	tools/gen_test_char > $@
EOF
cat >libtool <<'EOF'
build_libtool_libs=yes
pic_flag=" -fPIC -DPIC"
objext=o
version_type=linux
need_version=no
wl="-Wl,"
archive_cmds="\$CC -shared \$pic_flag \$libobjs \$deplibs \$compiler_flags \$wl-soname \$wl\$soname -o \$lib"
export_dynamic_flag_spec="\$wl--export-dynamic"
hardcode_libdir_flag_spec="\$wl-rpath \$wl\$libdir"
EOF
echo 'int main(void) { return 0; }' >tools/gen_test_char.c
echo '#include "apr_escape_test_char.h"' >one.c
echo 'int two;' >two.c
`

// compiler is a cc that creates the requested file, or a program that prints its own
// path.
const compiler = `out=
for word; do [ "$last" != -o ] || out=$word; last=$word; done
echo "$*" >>"$0.log"
printf '#!/bin/sh\necho table\n' >"$out"
chmod +x "$out"
`

// withCompiler gives a request a fake compiler.
func withCompiler(t *testing.T, q *Request, script string) (log string) {
	t.Helper()
	bin := filepath.Join(filepath.Dir(q.Work), "bin")
	if err := writeFile(filepath.Join(bin, "cc"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(bin, "cc.log")
}

// APR-util fails: this shows what was done for APR before.
func TestNativeRunsTheCompilerOnce(t *testing.T) {
	q := fake(t, map[string]string{"apr": small, "apr-util": "while ! [ -e ../apr/.libs/libapr-1.so ]; do sleep 0.01; done; exit 7\n"}, "echo make >&2; exit 2\n")
	log := withCompiler(t, &q, compiler)
	line := timeline.New()
	q.Timeline = line
	progress := make(chan string, 100)
	q.Events = func(e event.Event) {
		if e.Kind == event.Progress {
			progress <- e.Text
		}
	}
	_, err := Build(t.Context(), q)
	var step *steps.Error
	if !errors.As(err, &step) || step.Step != "configure apr-util" {
		t.Fatalf("got %v", err)
	}
	nothingLeft(t, q)
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	calls := strings.Split(strings.TrimSpace(string(data)), "\n")
	slices.Sort(calls)
	out := filepath.Join(q.Work, "apr/.libs/libapr-1.so.0")
	want := []string{
		"-O2 -fPIC -DPIC -c -o .libs/one.o one.c",
		"-O2 -fPIC -DPIC -c -o .libs/two.o two.c",
		"-shared -fPIC -DPIC -O2 -o " + out + " .libs/one.o .libs/two.o -lm -Wl,-soname -Wl,libapr-1.so.0",
		"tools/gen_test_char.c -o tools/gen_test_char",
	}
	if !slices.Equal(calls, want) {
		t.Errorf("got %q", calls)
	}
	if table, err := os.ReadFile(filepath.Join(q.Work, "apr/include/private/apr_escape_test_char.h")); string(table) != "table\n" {
		t.Errorf("the table is %q, %v", table, err)
	}
	close(progress)
	if texts := slices.Sorted(func(yield func(string) bool) {
		for s := range progress {
			if !yield(s) {
				return
			}
		}
	}); len(texts) != 2 || !strings.HasSuffix(texts[0], " of 2)") {
		t.Errorf("progress %q", texts)
	}
	for _, s := range line.Spans() {
		if s.Name == "apr/one.c" && (s.Kind != timeline.Compile || s.Step != "compile apr" || !slices.Equal(s.Needs, []string{"apr_escape_test_char.h", "configure apr"})) {
			t.Errorf("%+v", s)
		}
	}
}

// Objects whose code only the linker generates are left to make, with a note.
func TestNativeLeavesDeferredCodeToMake(t *testing.T) {
	for name, object := range map[string]string{
		"clang": `printf 'BC\300\336x' >"$out"`,
		"gcc":   `cp "$0.lto" "$out"`,
	} {
		t.Run(name, func(t *testing.T) {
			q := fake(t, map[string]string{"apr": small, "apr-util": "sleep 60\n"}, "echo make was run >&2; exit 2\n")
			log := withCompiler(t, &q, strings.Replace(compiler, "printf '#!/bin/sh", `case $out in *.o) `+object+"; exit ;; esac\nprintf '#!/bin/sh", 1))
			writeDeferred(t, strings.TrimSuffix(log, ".log")+".lto")
			var notes []string
			q.Events = func(e event.Event) {
				if e.Kind == event.Note {
					notes = append(notes, e.Text)
				}
			}
			if _, err := Build(t.Context(), q); err == nil || !strings.Contains(err.Error(), "run make") {
				t.Errorf("got %v", err)
			}
			if len(notes) != 1 || !strings.Contains(notes[0], "-flto") {
				t.Errorf("notes %q", notes)
			}
		})
	}
}

// writeDeferred writes an object with one symbol, the mark of GCC's objects without
// code.
func writeDeferred(t *testing.T, name string) {
	t.Helper()
	const section, symbols, names = 64, 64 + 4*64, 64 + 4*64 + 48
	text := "\x00__gnu_lto_slim\x00.symtab\x00.strtab\x00"
	b := make([]byte, names+len(text))
	copy(b, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint16(b[16:], 1) // relocatable
	le.PutUint16(b[18:], 62)
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[40:], section)
	le.PutUint16(b[52:], 64)
	le.PutUint16(b[58:], 64) // a section's header
	le.PutUint16(b[60:], 3)
	le.PutUint16(b[62:], 2)
	header := func(i int, name, kind, link uint32, at, size, entry uint64) {
		h := b[section+i*64:]
		le.PutUint32(h, name)
		le.PutUint32(h[4:], kind)
		le.PutUint64(h[24:], at)
		le.PutUint64(h[32:], size)
		le.PutUint32(h[40:], link)
		le.PutUint64(h[56:], entry)
	}
	header(1, 16, 2, 2, symbols, 48, 24)
	header(2, 24, 3, 0, names, uint64(len(text)), 0)
	le.PutUint32(b[symbols+24:], 1)
	b[symbols+28] = 1<<4 | 1
	le.PutUint16(b[symbols+30:], 0xfff2) // common
	copy(b[names:], text)
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := checkObject(name); err == nil {
		t.Fatal("that object was not recognized")
	}
}

// A failing compiler is no reason to try make.
func TestNativeCompilerFails(t *testing.T) {
	q := fake(t, map[string]string{"apr": small, "apr-util": "sleep 60\n"}, "echo make >&2; exit 2\n")
	withCompiler(t, &q, `case "$*" in *two.c*) echo "two.c:1:1: fatal error: zlib.h: No such file or directory" >&2; exit 1 ;; esac`+"\n"+compiler)
	q.Events = func(e event.Event) {
		if e.Kind == event.Note {
			t.Errorf("note %q", e.Text)
		}
	}
	_, err := Build(t.Context(), q)
	var tool *run.Error
	if !errors.As(err, &tool) || !strings.Contains(err.Error(), "compile apr: run cc") || fault.ClassOf(err) != fault.Build || !strings.Contains(fault.HintOf(err), "zlib1g-dev") {
		t.Fatalf("got %v, hint %q", err, fault.HintOf(err))
	}
	if log, err := os.ReadFile(tool.LogPath); err != nil || filepath.Base(tool.LogPath) != "compile-apr.log" || !strings.Contains(string(log), "two.c:1:1: fatal error") {
		t.Errorf("log %s, %v: %s", tool.LogPath, err, log)
	}
	nothingLeft(t, q)
}

func TestCross(t *testing.T) {
	for name, c := range map[string]struct {
		target, libc string
		driver       Driver
		says         string
	}{
		"without crypt": {"aarch64-linux-gnu", "glibc 2.36", Native, "libcrypt"},
		"musl":          {"aarch64-linux-musl", "other", Native, "only for Linux with glibc"},
		"other":         {"aarch64-apple-darwin", "other", Native, "only for Linux with glibc"},
		"with make":     {"aarch64-linux-gnu", "glibc 2.36", Make, "make cannot cross-compile"},
	} {
		q := Request{Driver: c.driver, Work: t.TempDir(), Runner: &run.Runner{}, Host: &Host{Toolchain: &toolchain.Toolchain{
			CC: []string{"/bin/false"}, Target: c.target, Libc: c.libc, Cross: c.target,
		}}}
		if err := os.Mkdir(filepath.Join(q.Work, "tmp"), 0o755); err != nil {
			t.Fatal(err)
		}
		b := builder{Request: q}
		if err := b.checkCross(t.Context()); fault.ClassOf(err) != fault.Environment || !strings.Contains(err.Error(), c.says) || fault.HintOf(err) == "" {
			t.Errorf("%s: got %v", name, err)
		}
		if args := b.cross(); args[0] != "--host="+c.target || !strings.HasPrefix(args[1], "--build=") {
			t.Errorf("%s: %q", name, args)
		}
	}
	b := builder{Request: Request{Host: testHost()}}
	if err := b.checkCross(t.Context()); err != nil || b.cross() != nil {
		t.Errorf("got %v, %q", err, b.cross())
	}
}

// TestReportedFlags: the library reports its compiler without a directory of the build or
// of a sysroot.
func TestReportedFlags(t *testing.T) {
	b := &builder{Request: Request{Work: "/w/build", Host: &Host{Toolchain: &toolchain.Toolchain{Root: "/w/roots/arm64"}}}}
	o := &opensslRules{plan: &plan{b: b}}
	got := o.withoutWork(`perl util/mkbuildinf.pl "gcc --sysroot=/w/roots/arm64 -isystem /w/roots/arm64/usr/include -ffile-prefix-map=/w/build=. -O2" "modwsgi" > crypto/buildinf.h`)
	if want := `perl util/mkbuildinf.pl "gcc --sysroot=SYSROOT -isystem SYSROOT/usr/include -O2" "modwsgi" > crypto/buildinf.h`; got != want {
		t.Errorf("got %s", got)
	}
	if command := `perl asm.pl > /w/roots/arm64/x.s`; o.withoutWork(command) != command {
		t.Error("another command was changed")
	}
}

// TestPerlPrintsToStrings: the replacement for a compiled module of Perl, with which "open"
// still opens everything else.
func TestPerlPrintsToStrings(t *testing.T) {
	if _, err := run.LookPath("perl", os.Environ()); err != nil {
		t.Skip(err)
	}
	const script = `use strict; use warnings;
sub text { my $s; open local *STDOUT, '>', \$s; print "a", "b"; printf "%02d\n", 3; return $s }
print "got ", text();
open my $f, "<", $ARGV[0] or die; print <$f>; close $f;
open F, $ARGV[0] or die; print <F>; close F;
open(my $p, "-|", "echo", "x y") or die; print <$p>; close $p;
open my $q, "echo two |" or die; print <$q>; close $q;
open(my $out, ">", $ARGV[1]) or die; print $out "written\n"; close $out;
open(STDERR, ">&", \*STDOUT) or die; print STDERR "error\n";
print "none: ", open(my $z, "<", "$ARGV[0].none") ? "opened" : $!, "\n";
`
	dir, err := filepath.Abs("perl")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(file, []byte("content\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "PERL5LIB="+dir, "LC_ALL=C")
	out, err := (&run.Runner{}).Output(t.Context(), run.Cmd{Argv: []string{"perl", "-MPerlIO::scalar", "-e", script, file, file + ".out"}, Env: env})
	if err != nil || string(out) != "got ab03\ncontent\ncontent\nx y\ntwo\nerror\nnone: No such file or directory\n" {
		t.Errorf("%q, %v", out, err)
	}
	if written, err := os.ReadFile(file + ".out"); err != nil || string(written) != "written\n" {
		t.Errorf("%q, %v", written, err)
	}
}
