package apxs

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/run"
)

func TestExpand(t *testing.T) {
	vars := Vars{
		"prefix": "/p", "exec_prefix": "${prefix}", "libdir": "$(exec_prefix)/lib", "self": "$(self)x",
		"a": "$(b)", "b": "$(a)", "money": "$$5", PrefixVar: "/tree/$(prefix)$$",
	}
	for in, want := range map[string]string{
		"$(libdir)": "/p/lib", "x ${prefix}/y": "x /p/y", "$(nothing)z": "z", "$prefix": "$prefix", "a$": "a$",
		"$(open": "$(open", "$(money)": "$5", "$(a)": "", "${" + PrefixVar + "}/lib": "/tree/$(prefix)$$/lib",
	} {
		if got := vars.Expand(in); got != want {
			t.Errorf("Expand(%q) = %q, want %q", in, got, want)
		}
	}
	if got := vars.Expand("$(self)"); len(got) > 100 {
		t.Errorf("self reference grew to %d bytes", len(got))
	}
}

func TestExpandIsBounded(t *testing.T) {
	vars := Vars{"a0": strings.Repeat("x", 1000)}
	for i := 1; i < 16; i++ {
		name, below := string(rune('a'+i)), "a0"
		if i > 1 {
			below = string(rune('a' + i - 1))
		}
		vars[name] = strings.Repeat("$("+below+")", 50)
	}
	if got := vars.Expand("$(p)"); len(got) > maxValue {
		t.Errorf("grew to %d bytes", len(got))
	}
	if got := vars.Words("p"); len(got) > maxValue {
		t.Errorf("grew to %d words", len(got))
	}
}

func TestParse(t *testing.T) {
	vars, err := Parse(strings.NewReader("prefix = /p\nprogname = a\nprogname=httpd  \r\n# x = y\nINSTALL = $(X) -c\nempty =\nbad name = 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := Vars{"prefix": "/p", "progname": "httpd", "INSTALL": "$(X) -c", "empty": ""}
	if len(vars) != len(want) {
		t.Errorf("got %q", vars)
	}
	for name, value := range want {
		if vars[name] != value {
			t.Errorf("%s = %q, want %q", name, vars[name], value)
		}
	}
	for name, bad := range map[string]string{"binary": "a = b\x00", "huge": "a = " + strings.Repeat("x", maxFile)} {
		if _, err := Parse(strings.NewReader(bad)); err == nil {
			t.Errorf("%s file was accepted", name)
		}
	}
}

func TestRelocate(t *testing.T) {
	vars := Vars{"prefix": "/opt/httpd", "includedir": "${prefix}/include", "A": "-I/opt/httpd/x -L/opt/httpd2/y /opt/httpd"}
	vars.Relocate("/new tree")
	for name, want := range map[string]string{"prefix": "/new tree", "includedir": "/new tree/include", "A": "-I/new tree/x -L/opt/httpd2/y /new tree"} {
		if got, _ := vars.Lookup(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if got, want := vars.Words("A"), []string{"-I/new tree/x", "-L/opt/httpd2/y", "/new tree"}; !slices.Equal(got, want) {
		t.Errorf("words %q, want %q", got, want)
	}
}

const configVars = `mod_wsgi_httpd_prefix = wrong
prefix = ${mod_wsgi_httpd_prefix}
exec_prefix = ${prefix}
bindir = ${exec_prefix}/bin
sbindir = ${exec_prefix}/bin
libdir = ${exec_prefix}/lib
libexecdir = ${exec_prefix}/modules
includedir = ${prefix}/include
progname = httpd
SHLIBPATH_VAR = LD_LIBRARY_PATH
CFLAGS =
CPPFLAGS =
EXTRA_CPPFLAGS = -DLINUX -D_REENTRANT -D_GNU_SOURCE
EXTRA_INCLUDES = -I$(includedir) -I.
APR_CONFIG = ${prefix}/bin/apr-1-config
LIBTOOL = $(prefix)/build-1/libtool --silent
SH_LIBTOOL = $(LIBTOOL)
`

// environment makes a Python prefix with an httpd tree and returns the prefix,
// the tree and the program.
func environment(t *testing.T, name string) (prefix, tree, program string) {
	t.Helper()
	prefix = filepath.Join(t.TempDir(), name)
	tree = filepath.Join(prefix, "lib", "python3.11", "site-packages", filepath.FromSlash(Package))
	program = filepath.Join(prefix, "bin", "mod_wsgi-apxs")
	write(t, filepath.Join(tree, "build", "config_vars.mk"), configVars, 0o644)
	write(t, filepath.Join(tree, "modules", "mod_mpm_worker.so"), "", 0o644)
	write(t, program, "", 0o755)
	return prefix, tree, program
}

func write(t *testing.T, path, content string, mode fs.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func TestMain_Query(t *testing.T) {
	for _, name := range []string{"env", "it's an env"} {
		_, tree, program := environment(t, name)
		space := strings.Contains(tree, " ")
		includes := "-I" + tree + "/include -I."
		if space {
			includes = "-I."
		}
		for _, tt := range []struct {
			args []string
			want string
		}{
			{[]string{"-q", "INCLUDEDIR"}, tree + "/include"},
			{[]string{"-q", "includedir"}, tree + "/include"},
			{[]string{"-q", "prefix", "PROGNAME"}, tree + ";;httpd"},
			{[]string{"-qv", "LIBEXECDIR"}, tree + "/modules"},
			{[]string{"-q", "--", "LIBDIR"}, tree + "/lib"},
			{[]string{"-q", "CFLAGS"}, ""},
			{[]string{"-q", "CPPFLAGS", "CFLAGS"}, ";;"},
			{[]string{"-q", "EXTRA_INCLUDES"}, includes},
			{[]string{"-q", "EXTRA_CPPFLAGS"}, "-DLINUX -D_REENTRANT -D_GNU_SOURCE"},
			{[]string{"-q", "SH_LIBTOOL"}, tree + "/build-1/libtool --silent"},
			{[]string{"-q", "MPM_NAME"}, "worker"},
			{[]string{"-q", "TARGET"}, "httpd"},
		} {
			var out, errs bytes.Buffer
			if code := Main(tt.args, []string{program}, &out, &errs); code != 0 || out.String() != tt.want+"\n" || errs.Len() > 0 {
				t.Errorf("%s %q: exit %d, %q %q, want %q", name, tt.args, code, out.String(), errs.String(), tt.want)
			}
		}
	}
}

func TestMain_Errors(t *testing.T) {
	_, _, program := environment(t, "env")
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"-q", "NO_SUCH"}, "Invalid query string `NO_SUCH'"},
		{[]string{"-q", "PREFIX", "NO_SUCH"}, "Invalid query string `NO_SUCH'"},
		{[]string{"-c", "x.c"}, "option -c is not supported"},
		{[]string{"-q", "-S", "A=B"}, "option -S is not supported"},
		{[]string{"-z"}, "unknown option: z"},
		{nil, "nothing to do"},
		{[]string{"PREFIX"}, "nothing to do"},
	} {
		var out, errs bytes.Buffer
		if code := Main(tt.args, []string{program}, &out, &errs); code != 1 || out.Len() > 0 || !strings.Contains(errs.String(), "apxs:Error: "+tt.want) {
			t.Errorf("%q: exit %d, %q %q", tt.args, code, out.String(), errs.String())
		}
	}
	for _, arg := range []string{"--help", "-h"} {
		var out, errs bytes.Buffer
		if code := Main([]string{arg}, []string{program}, &out, &errs); code != 0 || errs.Len() > 0 || !strings.HasPrefix(out.String(), "Usage: mod_wsgi-apxs ") {
			t.Errorf("%s: exit %d, %q %q", arg, code, out.String(), errs.String())
		}
	}
	var out, errs bytes.Buffer
	if code := Main([]string{"-q", "PREFIX"}, []string{"/nowhere/bin/mod_wsgi-apxs"}, &out, &errs); code != 1 || !strings.Contains(errs.String(), "modwsgi install") {
		t.Errorf("without a tree: exit %d, %q", code, errs.String())
	}
}

func TestMain_All(t *testing.T) {
	_, tree, program := environment(t, "env")
	var out, errs bytes.Buffer
	if code := Main([]string{"-q"}, []string{program}, &out, &errs); code != 0 {
		t.Fatal(errs.String())
	}
	for _, line := range []string{"libdir=" + tree + "/lib\n", "CFLAGS=\n", "prefix=" + tree + "\n"} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("no %q in\n%s", line, out.String())
		}
	}
}

func TestFind(t *testing.T) {
	prefix, tree, program := environment(t, "env")
	elsewhere := t.TempDir()
	link := func(target, name string) string {
		path := filepath.Join(elsewhere, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	linked := link(prefix, "env")
	first := link(program, "home/bin/apxs")
	for name, tt := range map[string]struct{ program, want string }{
		"itself":           {program, tree},
		"link to it":       {first, tree},
		"chain of links":   {link(first, "other/bin/x"), tree},
		"linked prefix":    {filepath.Join(linked, "bin", "mod_wsgi-apxs"), filepath.Join(linked, "lib", "python3.11", "site-packages", filepath.FromSlash(Package))},
		"linked bin":       {filepath.Join(link(filepath.Join(prefix, "bin"), "tools/b"), "mod_wsgi-apxs"), tree},
		"program in store": {filepath.Join(prefix, "bin", "y"), tree},
	} {
		if name == "program in store" {
			write(t, filepath.Join(elsewhere, "store"), "", 0o755)
			if err := os.Symlink(filepath.Join(elsewhere, "store"), tt.program); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := Find(tt.program); err != nil || got != tt.want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	loop := link("loop", "loop")
	for _, path := range []string{filepath.Join(elsewhere, "store"), loop, "/"} {
		if got, err := Find(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
}

func TestFindTakesTheNewestPython(t *testing.T) {
	prefix, _, program := environment(t, "env [*]")
	newer := filepath.Join(prefix, "lib", "python3.13", "site-packages", filepath.FromSlash(Package))
	write(t, filepath.Join(newer, "build", "config_vars.mk"), configVars, 0o644)
	older := filepath.Join(prefix, "lib", "python3.9", "site-packages", filepath.FromSlash(Package))
	write(t, filepath.Join(older, "build", "config_vars.mk"), configVars, 0o644)
	if got, err := Find(program); err != nil || got != newer {
		t.Errorf("%q, %v", got, err)
	}
}

func TestConfigScripts(t *testing.T) {
	env := []string{"PATH=/usr/bin:/bin"}
	if _, err := run.LookPath("sh", env); err != nil {
		t.Skip("no POSIX shell here")
	}
	for _, tt := range []struct{ dir, header, args, want string }{
		{"tree", "include/apr-1/apr_version.h", "--includes", "-IROOT/include/apr-1"},
		{"tree", "include/apr_version.h", "--includes", "-IROOT/include"},
		{"tree", "include/apr_version.h", "--version --bindir", "1.7.6\nROOT/bin"},
		{"it's a tree", "include/apr_version.h", "--includes", ""},
		{"it's a tree", "include/apr_version.h", "--includedir", "ROOT/include"},
		{"tree", "include/apr_version.h", "--cppflags", "-DLINUX -D_REENTRANT -D_GNU_SOURCE"},
	} {
		root, err := filepath.EvalSymlinks(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		root = filepath.Join(root, tt.dir)
		script := filepath.Join(root, "bin", "apr-1-config")
		write(t, script, APRConfig, 0o755)
		write(t, filepath.Join(root, filepath.FromSlash(tt.header)),
			"#define APR_MAJOR_VERSION       1\n#define APR_MINOR_VERSION 7\n#define APR_PATCH_VERSION       6\n#define APR_VERSION_STRING x\n", 0o644)
		var r run.Runner
		out, err := r.Output(t.Context(), run.Cmd{Argv: append([]string{script}, strings.Fields(tt.args)...), Env: env})
		if want := strings.ReplaceAll(tt.want, "ROOT", root) + "\n"; err != nil || string(out) != want {
			t.Errorf("%s %s: %q, %v, want %q", tt.dir, tt.args, out, err, want)
		}
		if _, err := r.Output(t.Context(), run.Cmd{Argv: []string{script, "--no-such"}, Env: env}); err == nil {
			t.Error("an unknown option was accepted")
		}
	}
}

func FuzzVars(f *testing.F) {
	f.Add(configVars)
	f.Add("a = $(b)\nb = $(a)$(a)\nprefix = /\n")
	f.Fuzz(func(t *testing.T, text string) {
		vars, err := Parse(strings.NewReader(text))
		if err != nil {
			return
		}
		vars.Relocate("/tree")
		for name := range vars {
			if value, _ := vars.Lookup(name); len(value) > maxValue {
				t.Errorf("%s has %d bytes", name, len(value))
			}
			_ = vars.Words(name)
		}
	})
}
