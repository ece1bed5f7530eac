//go:build unix

package detect

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/run"
)

// TestImportableSites: the directories that site.py uses decide, not those of sysconfig.
// The answers are those of real systems, except where noted.
func TestImportableSites(t *testing.T) {
	for name, tt := range map[string]struct {
		prefix, site, scripts string // of sysconfig
		sites                 []string
		want, wantScripts     string
	}{
		"Debian 11": {
			"/usr", "/usr/lib/python3.9/site-packages", "/usr/bin",
			[]string{"/usr/local/lib/python3.9/dist-packages", "/usr/lib/python3/dist-packages", "/usr/lib/python3.9/dist-packages"},
			"/usr/local/lib/python3.9/dist-packages", "/usr/local/bin",
		},
		"Debian 13": {
			"/usr", "/usr/local/lib/python3.13/dist-packages", "/usr/local/bin",
			[]string{"/usr/local/lib/python3.13/dist-packages", "/usr/lib/python3/dist-packages", "/usr/lib/python3.13/dist-packages"},
			"/usr/local/lib/python3.13/dist-packages", "/usr/local/bin",
		},
		"environment on Debian 11": {
			"/v", "/v/lib/python3.9/site-packages", "/v/bin",
			[]string{"/v/lib/python3.9/site-packages", "/v/local/lib/python3.9/dist-packages", "/v/lib/python3/dist-packages"},
			"/v/lib/python3.9/site-packages", "/v/bin",
		},
		"Fedora (documented)": {
			"/usr", "/usr/local/lib64/python3.12/site-packages", "/usr/local/bin",
			[]string{"/usr/local/lib64/python3.12/site-packages", "/usr/local/lib/python3.12/site-packages", "/usr/lib64/python3.12/site-packages", "/usr/lib/python3.12/site-packages"},
			"/usr/local/lib64/python3.12/site-packages", "/usr/local/bin",
		},
		"unknown":         {"/usr", "/usr/lib/python3.9/site-packages", "/usr/bin", nil, "/usr/lib/python3.9/site-packages", "/usr/bin"},
		"nothing usable":  {"/p", "/p/lib/site", "/p/bin", []string{"/p", "lib", "/"}, "/p/lib/site", "/p/bin"},
		"own directories": {"/p", "/p/lib/site", "/p/bin", []string{"/p/packages"}, "/p/packages", "/p/bin"},
	} {
		t.Run(name, func(t *testing.T) {
			a := &answer{Prefix: tt.prefix, Sites: tt.sites, Paths: map[string]string{"purelib": tt.site, "platlib": tt.site, "scripts": tt.scripts}}
			a.importable(files{}.disk("linux"))
			if a.Paths["platlib"] != tt.want || a.Paths["purelib"] != tt.want || a.Paths["scripts"] != tt.wantScripts {
				t.Errorf("got %v", a.Paths)
			}
		})
	}
}

// TestSplitSitesStay: Fedora and openSUSE keep pure and platform packages apart.
func TestSplitSitesStay(t *testing.T) {
	pure, plat := "/usr/lib/python3.12/site-packages", "/usr/lib64/python3.12/site-packages"
	a := &answer{Prefix: "/usr", Sites: []string{plat, pure}, Paths: map[string]string{"purelib": pure, "platlib": plat, "scripts": "/usr/bin"}}
	a.importable(files{}.disk("linux"))
	if a.Paths["purelib"] != pure || a.Paths["platlib"] != plat {
		t.Errorf("got %v", a.Paths)
	}
}

// sitePy have the deviations of distributions from site.py.
var sitePy = map[string]struct{ code, want string }{
	"Debian 11": {
		"def addsitepackages(known, prefixes=None): return known\ndef getsitepackages(prefixes=None): return [PREFIXES[0] + '/local/lib/python3.9/dist-packages']\n",
		"/local/lib/python3.9/dist-packages",
	},
	"Fedora": {
		"def addsitepackages(known, prefixes=None):\n    if ENABLE_USER_SITE: PREFIXES.insert(0, '/usr/local')\n    for p in getsitepackages(prefixes): raise SystemExit('adds ' + p)\n" +
			"def getsitepackages(prefixes=None): return [p + '/lib64/python3.12/site-packages' for p in (PREFIXES if prefixes is None else prefixes)]\n",
		"/usr/local/lib64/python3.12/site-packages",
	},
	"damaged": {"getsitepackages = 1\n", ""},
}

// TestSitesFromSitePy runs facts.py with the site.py of distributions.
func TestSitesFromSitePy(t *testing.T) {
	if testing.Short() {
		t.Skip("-short starts no Python")
	}
	exe := systemPython(t)
	for name, tt := range sitePy {
		t.Run(name, func(t *testing.T) {
			script := "import sys, types\nm = types.ModuleType('site')\nexec(sys.argv[1], m.__dict__)\nsys.modules['site'] = m\n" + factsScript
			var r run.Runner
			out, err := r.Output(t.Context(), run.Cmd{Argv: []string{exe, "-I", "-S", "-B", "-c", script, tt.code}, Env: os.Environ()})
			if err != nil {
				t.Fatal(err)
			}
			a, err := decodeAnswer(out)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(a.Sites, " "); tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("sites %q", got)
			}
		})
	}
}

// TestSitesAreThoseOfSysPath compares with what the interpreter imports from.
func TestSitesAreThoseOfSysPath(t *testing.T) {
	if testing.Short() {
		t.Skip("-short starts no Python")
	}
	exe := systemPython(t)
	env := filepath.Join(t.TempDir(), "env")
	var r run.Runner
	if err := r.Run(t.Context(), run.Cmd{Argv: []string{exe, "-m", "venv", "--without-pip", env}, Env: os.Environ()}); err != nil {
		t.Skipf("no environment: %v", err)
	}
	for _, python := range []string{exe, filepath.Join(env, "bin", "python")} {
		p, err := FindPython(t.Context(), &r, Request{Python: python, Dir: "/"})
		if err != nil {
			t.Fatal(err)
		}
		out, err := r.Output(t.Context(), run.Cmd{Argv: []string{python, "-c", "import sys; print('\\n'.join(sys.path))"}, Dir: "/", Env: []string{"PATH=/usr/bin:/bin"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(p.Platlib); err == nil && !slices.Contains(strings.Split(string(out), "\n"), p.Platlib) {
			t.Errorf("%s: %s is not in sys.path:\n%s", python, p.Platlib, out)
		}
	}
}
