package libtool

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	for command, want := range map[string][]string{
		"cc  -c a.c":                             {"cc", "-c", "a.c"},
		`cc "-I a" 'b c' d\ e f"g"h ''`:          {"cc", "-I a", "b c", "d e", "fgh", ""},
		"cc a.c && touch a.lo":                   {"cc", "a.c"},
		"cc `test -f 'x/a.c' || echo './'`x/a.c": {"cc", "x/a.c"},
		`cc -DX=\"y\" "a\"b" 'a\b'`:              {"cc", `-DX="y"`, `a"b`, `a\b`},
		"-Wl,-rpath,/a~b#c":                      {"-Wl,-rpath,/a~b#c"},
	} {
		if got, err := Split(command); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %q, %v", command, got, err)
		}
	}
	var unknown *Unknown
	for _, command := range []string{"a | b", "a > b", "a; b", "a && b", "$x", "`x`", `"$x"`, "*.c", "'open", "(a)", "~/x", "a &"} {
		if got, err := Split(command); !errors.As(err, &unknown) {
			t.Errorf("%s: got %q, %v", command, got, err)
		}
	}
}

func TestParseCompile(t *testing.T) {
	for command, want := range map[string]string{
		"/bin/sh /w/libtool --silent --mode=compile --tag=CC cc -O2 -I. -o a/b.lo -c a/b.c && touch a/b.lo": "cc -O2 -I. -fPIC -DPIC -c -o a/.libs/b.o a/b.c",
		"/w/libtool --silent --mode=compile ccache gcc -O2 -prefer-non-pic -static -c x.c && touch x.lo":    "ccache gcc -O2 -c -o x.o x.c",
		"/w/libtool --mode=compile cc -prefer-pic -c x.c && touch x.slo":                                    "cc -fPIC -DPIC -c -o .libs/x.o x.c",
	} {
		c, err := ParseCompile(command)
		if err != nil {
			t.Errorf("%s: %v", command, err)
		} else if got := strings.Join(c.Argv(), " "); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	var unknown *Unknown
	for _, command := range []string{
		"cc -c a.c", "/w/libtool --mode=link cc -o a a.o", "/w/libtool --mode=compile cc -c a.c b.c", "/w/libtool --mode=compile cc -c", "/w/libtool", "",
		"/w/libtool --mode=compile --tag=CXX c++ -c a.c", "/w/libtool --frobnicate --mode=compile cc -c a.c", "/w/libtool --mode=compile cc -c a.c; rm a.c",
	} {
		if c, err := ParseCompile(command); !errors.As(err, &unknown) {
			t.Errorf("%s: got %+v, %v", command, c, err)
		}
	}
}

func TestParseLink(t *testing.T) {
	for command, want := range map[string]struct{ file, argv string }{
		"libtool --silent --mode=link cc -O2 -DX -I. -version-info 7:6:7 -Wl,-z,relro -o libapr-1.la -rpath /p/lib a.lo b/c.lo -lcrypt": {
			".libs/libapr-1.so.0", "cc -shared -fPIC -DPIC -O2 -Wl,-z,relro -o F O L -Wl,-soname -Wl,S",
		},
		"libtool --mode=link cc -o mod_x.la -rpath /p/modules -module -avoid-version mod_x.lo -lz": {".libs/mod_x.so", "cc -shared -fPIC -DPIC -o F O L -Wl,-soname -Wl,S"},
		"libtool --mode=link cc -o libmain.la -static a.lo":                                        {".libs/libmain.a", ""},
		"libtool --mode=link ccache cc -g -o httpd a.lo b.o -export-dynamic c/libmain.la -lm":      {".libs/httpd", "ccache cc -g -Wl,--export-dynamic -o F O L"},
		"libtool --mode=link cc -o libp.la -version-info 14:0:3 -rpath /p a.lo":                    {".libs/libp.so.11", "cc -shared -fPIC -DPIC -o F O L -Wl,-soname -Wl,S"},
	} {
		l, err := ParseLink(command)
		if err != nil {
			t.Errorf("%s: %v", command, err)
			continue
		}
		if file, err := l.File(); file != want.file || err != nil {
			t.Errorf("%s makes %s, %v", command, file, err)
		}
		if got := strings.Join(l.Argv([]string{"O"}, []string{"L"}, "F", "S", ""), " "); want.argv != "" && got != want.argv {
			t.Errorf("got  %s\nwant %s", got, want.argv)
		}
	}
	cc := []string{"clang", "--target=a", "-fuse-ld=lld", "-static-libgcc", "-Qunused-arguments", "-L/s/lib"}
	l, err := ParseLink("libtool --tag=CC --mode=link "+strings.Join(cc, " ")+" -O2 -o libp.la -rpath /p a.lo -lm", cc...)
	if err != nil || strings.Join(l.Argv([]string{"O"}, []string{"L"}, "F", "S", ""), " ") != strings.Join(cc, " ")+" -shared -fPIC -DPIC -O2 -o F O L -Wl,-soname -Wl,S" {
		t.Errorf("a compiler of several words: %+v, %v", l, err)
	}
	var unknown *Unknown
	for _, command := range []string{
		"libtool --mode=link cc -o libx.la a.lo", "libtool --mode=link cc a.lo", "libtool --mode=link cc -o x", "libtool --mode=link cc -o x a.lo --odd", "libtool --mode=link cc -o x a.lo y.so",
		"libtool --mode=link cc -module -o x a.lo", "libtool --mode=compile cc -c a.c", "cc -o x a.o",
	} {
		if l, err := ParseLink(command); !errors.As(err, &unknown) {
			t.Errorf("%s: got %+v, %v", command, l, err)
		}
	}
	for _, version := range []string{"1:2", "a:b:c", "1:0:2", "1:2:3:4"} {
		l := Link{Output: "libx.la", Shared: true, Version: version}
		if name, err := l.Name(); !errors.As(err, &unknown) {
			t.Errorf("%s: got %s, %v", version, name, err)
		}
	}
}

func TestCheck(t *testing.T) {
	good := "build_libtool_libs=yes\npic_flag=\" -fPIC -DPIC\"\nobjext=o\nversion_type=linux\nneed_version=no\nwl=\"-Wl,\"\n" +
		`archive_cmds="\$CC -shared \$pic_flag \$libobjs \$deplibs \$compiler_flags \$wl-soname \$wl\$soname -o \$lib"` + "\n" +
		`export_dynamic_flag_spec="\$wl--export-dynamic"` + "\n" + `hardcode_libdir_flag_spec="\$wl-rpath \$wl\$libdir"` + "\n# END\nbuild_libtool_libs=no\n"
	name := filepath.Join(t.TempDir(), "libtool")
	check := func(text string) error {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return Check(name)
	}
	if err := check(good); err != nil {
		t.Error(err)
	}
	if err := check(strings.ReplaceAll(good, `\$wl`, `\${wl}`)); err != nil {
		t.Error(err) // the form of older versions
	}
	var unknown *Unknown
	for _, change := range [][2]string{{"=linux", "=darwin"}, {"-fPIC -DPIC", "-fno-common -DPIC"}, {"-shared", "-dynamiclib"}, {"libs=yes", "libs=no"}, {"--export-dynamic", ""}} {
		if err := check(strings.Replace(good, change[0], change[1], 1)); !errors.As(err, &unknown) {
			t.Errorf("%q: got %v", change, err)
		}
	}
	if err := Check(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestVersionScript(t *testing.T) {
	if got := VersionScript([]string{"a", "b"}); got != "{ global:\na;\nb;\nlocal: *; };\n" {
		t.Errorf("got %q", got)
	}
}
