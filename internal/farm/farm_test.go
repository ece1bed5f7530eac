package farm

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/run"
)

// tree makes executable files and links ("NAME -> TARGET") below a directory.
func tree(t *testing.T, files ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, f := range files {
		name, to, link := strings.Cut(f, " -> ")
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if link {
			err = os.Symlink(to, path)
		} else {
			err = os.WriteFile(path, []byte("#!/bin/sh\nexit 1\n"), 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	real, err := filepath.EvalSymlinks(root)
	if err != nil {
		t.Fatal(err)
	}
	return real
}

// host is a system with both farms, ccache and compilers, as Debian installs them.
func host(t *testing.T) string {
	return tree(t, "bin/gcc-12", "bin/gcc -> gcc-12", "bin/cc -> gcc", "bin/clang", "bin/distcc", "bin/icecc", "bin/ccache", "bin/mycc",
		"lib/distcc/gcc -> ../../bin/distcc", "lib/distcc/cc -> ../../bin/distcc", "lib/icecc/gcc -> ../../bin/icecc", "lib/icecc/cc -> ../../bin/icecc",
		"lib/ccache/gcc -> ../../bin/ccache", "lib/ccache/cc -> ../../bin/ccache")
}

func TestSplit(t *testing.T) {
	root := host(t)
	for name, c := range map[string]struct {
		cc, path, prefix string
		kind, rest, dirs string // rest is CC afterwards; kind with "+ccache"
	}{
		"none":                      {"gcc", "bin", "", "", "gcc", "bin"},
		"nothing set":               {"", "bin", "", "", "", "bin"},
		"distcc":                    {"distcc gcc", "bin", "", "distcc", "gcc", "bin"},
		"flags stay":                {"distcc gcc -m64", "bin", "", "distcc", "gcc -m64", "bin"},
		"icecc":                     {"icecc gcc", "bin", "", "icecream", "gcc", "bin"},
		"client by path":            {"ROOT/bin/distcc gcc", "bin", "", "distcc", "gcc", "bin"},
		"no compiler":               {"distcc", "bin", "", "distcc", "cc", "bin"},
		"only a flag":               {"distcc -m64", "bin", "", "distcc", "cc -m64", "bin"},
		"missing client":            {"distcc gcc", "lib/ccache", "", "", "distcc gcc", "lib/ccache"},
		"ccache alone":              {"ccache gcc", "bin", "", "", "ccache gcc", "bin"},
		"ccache and prefix":         {"ccache gcc", "bin", "distcc", "distcc+ccache", "ccache gcc", "bin"},
		"prefix without ccache":     {"gcc", "bin", "distcc", "", "gcc", "bin"},
		"ccache before distcc":      {"ccache distcc gcc", "bin", "", "distcc+ccache", "ccache gcc", "bin"},
		"ccache after icecc":        {"icecc ccache gcc", "bin", "", "icecream+ccache", "ccache gcc", "bin"},
		"masquerade, default CC":    {"", "lib/distcc:bin", "", "distcc", "", "bin"},
		"masquerade, named CC":      {"gcc", "lib/icecc:bin", "", "icecream", "gcc", "bin"},
		"masquerade behind gcc":     {"gcc", "bin:lib/distcc", "", "", "gcc", "bin:lib/distcc"},
		"masquerade, other CC":      {"mycc", "lib/distcc:bin", "", "", "mycc", "lib/distcc:bin"},
		"masquerade, link by path":  {"ROOT/lib/distcc/gcc", "bin", "", "distcc", "gcc", "bin"},
		"ccache, then distcc":       {"", "lib/ccache:lib/distcc:bin", "", "distcc+ccache", "", "lib/ccache:bin"},
		"ccache links and a prefix": {"gcc", "lib/ccache:bin", "icecc", "icecream+ccache", "gcc", "lib/ccache:bin"},
	} {
		t.Run(name, func(t *testing.T) {
			var dirs []string
			for _, dir := range strings.Split(c.path, ":") {
				dirs = append(dirs, filepath.Join(root, dir))
			}
			env := []string{"HOME=/h", "PATH=" + strings.Join(dirs, ":"), "DISTCC_HOSTS=a b", "ICECC_DEBUG=info"}
			if c.cc != "" {
				env = append(env, "CC="+strings.ReplaceAll(c.cc, "ROOT", root))
			}
			if c.prefix != "" {
				env = append(env, "CCACHE_PREFIX="+c.prefix)
			}
			rest, f := Split(env)
			kind := ""
			if f != nil {
				kind = f.Kind
				if f.Ccache {
					kind += "+ccache"
				}
				want := filepath.Join(root, "bin", map[string]string{Distcc: "distcc", Icecream: "icecc"}[f.Kind])
				if f.Client != want || !slices.Equal(f.Env, []string{"DISTCC_HOSTS=a b", "ICECC_DEBUG=info"}) {
					t.Errorf("client %q, environment %q", f.Client, f.Env)
				}
				if run.Getenv(rest, "DISTCC_HOSTS") != "" || run.Getenv(rest, "CCACHE_PREFIX") != "" {
					t.Errorf("the rest still names the farm: %q", rest)
				}
			}
			path := strings.ReplaceAll(run.Getenv(rest, "PATH"), root+"/", "")
			if kind != c.kind || run.Getenv(rest, "CC") != strings.ReplaceAll(c.rest, "ROOT", root) || path != c.dirs {
				t.Errorf("got %q, CC %q, PATH %q", kind, run.Getenv(rest, "CC"), path)
			}
			again, second := Split(rest)
			if f != nil && (second != nil || !slices.Equal(again, rest)) {
				t.Errorf("a second division finds %+v", second)
			}
		})
	}
}

func TestSlots(t *testing.T) {
	client := filepath.Join(t.TempDir(), "distcc")
	script := func(text string) {
		if err := os.WriteFile(client, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	farm := &Farm{Kind: Distcc, Client: client, Env: []string{"HOSTS=24"}}
	slots := func(local int, memory int64) int { return farm.Slots(t.Context(), &run.Runner{}, nil, local, memory) }
	script(`[ "$1" = -j ] && echo "$HOSTS"` + "\n")
	if n := slots(2, 0); n != 24 {
		t.Errorf("%d jobs for a farm of 24", n)
	}
	if n := slots(2, 1<<30); n != 10 {
		t.Errorf("%d jobs with a GiB of memory", n)
	}
	if n := slots(4, 100<<20); n != 4 {
		t.Errorf("%d jobs with little memory: fewer or more than this machine alone", n)
	}
	script("echo 'no hostlist is set' >&2; exit 116\n")
	if n := slots(3, 0); n != 3 {
		t.Errorf("%d jobs for a farm without hosts", n)
	}
	script("echo 100000\n")
	if n := slots(3, 0); n != maxSlots {
		t.Errorf("%d jobs for a huge farm", n)
	}
	farm.Kind = Icecream
	if n := slots(2, 0); n != 8 {
		t.Errorf("%d jobs for icecream", n)
	}
}
