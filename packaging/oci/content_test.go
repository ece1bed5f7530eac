package oci

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/fault"
)

// siteOf makes a directory of packages from texts by path.
func siteOf(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// distribution adds an installed one with a module to the files.
func distribution(files map[string]string, name, requires string, more ...string) {
	record := ""
	for _, path := range append([]string{name + "/__init__.py", name + "-1.0.dist-info/METADATA", name + "-1.0.dist-info/RECORD"}, more...) {
		record += path + ",,\n"
	}
	files[name+"/__init__.py"] = ""
	files[name+"-1.0.dist-info/METADATA"] = "Metadata-Version: 2.1\nName: " + name + "\nVersion: 1.0\n" + requires + "\nText\n"
	files[name+"-1.0.dist-info/RECORD"] = record
}

// kept lists the files of a directory of packages that an image has.
func kept(t *testing.T, dir string, o Options) ([]string, *selection) {
	t.Helper()
	m := &maker{o: o}
	s, err := m.selects(dir)
	if err != nil {
		t.Fatal(err)
	}
	c := collector{root: dir, to: "/x", skip: func(rel string, d fs.DirEntry) bool { return s.skip(rel, d) }}
	all, err := c.collect("")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range all {
		if top := strings.TrimPrefix(e.name, "x/"); e.mode.IsDir() && slices.Contains(s.gone, top) {
			t.Errorf("the directory %s is in the image", top)
		}
		if !strings.Contains(e.name, ".dist-info/") && !e.mode.IsDir() {
			names = append(names, strings.TrimPrefix(e.name, "x/"))
		}
	}
	slices.Sort(names)
	return names, s
}

func TestContentOfAnImage(t *testing.T) {
	base := func() map[string]string {
		files := map[string]string{
			"numbers/tests/__init__.py": "", "numbers/tests/test_a.py": "import numbers.tests", "numbers/include/n.h": "", "numbers/lib/libn.a": "", "numbers/data.h": "",
			"web/test/client.py": "", "tests/top.py": "",
		}
		distribution(files, "pip", "", "../../../bin/pip", "../../../bin/pip3")
		distribution(files, "setuptools", "", "pkg_resources/__init__.py", "_distutils_hack/__init__.py", "distutils-precedence.pth")
		files["pkg_resources/__init__.py"], files["_distutils_hack/__init__.py"], files["distutils-precedence.pth"] = "import setuptools", "", "import _distutils_hack"
		distribution(files, "numbers", "")
		distribution(files, "web", "Requires-Dist: numbers (>=1)\n")
		return files
	}
	plain := []string{"numbers/__init__.py", "numbers/data.h", "tests/top.py", "web/__init__.py", "web/test/client.py"}
	tools := []string{"_distutils_hack/__init__.py", "distutils-precedence.pth", "pkg_resources/__init__.py", "setuptools/__init__.py"}
	for name, c := range map[string]struct {
		change  func(files map[string]string)
		include []string
		more    []string
		gone    []string
	}{
		"nothing asked": {gone: []string{"pip", "setuptools"}},
		"pip":           {include: []string{IncludePip}, more: append([]string{"pip/__init__.py"}, tools...)},
		"headers":       {include: []string{IncludeHeaders}, more: []string{"numbers/include/n.h", "numbers/lib/libn.a"}, gone: []string{"pip", "setuptools"}},
		"tests":         {include: []string{IncludeTests}, more: []string{"numbers/tests/__init__.py", "numbers/tests/test_a.py"}, gone: []string{"pip", "setuptools"}},
		"setuptools is required": {
			change: func(files map[string]string) {
				distribution(files, "web", "Requires-Dist: setuptools>=60 ; python_version > \"3\"\n")
			},
			more: tools, gone: []string{"pip"},
		},
		"only for an extra": {
			change: func(files map[string]string) {
				distribution(files, "web", "Requires-Dist: setuptools ; extra == 'dev'\n")
			}, gone: []string{"pip", "setuptools"},
		},
		"pkg_resources is used": {change: func(files map[string]string) { files["web/x.py"] = "import pkg_resources\n" }, more: append([]string{"web/x.py"}, tools...), gone: []string{"pip"}},
		"tests are used": {
			change: func(files map[string]string) { files["web/x.py"] = "from numbers.tests import helper\n" },
			more:   []string{"web/x.py", "numbers/tests/__init__.py", "numbers/tests/test_a.py"}, gone: []string{"pip", "setuptools"},
		},
		"tests are used beside": {
			change: func(files map[string]string) { files["numbers/x.py"] = "from .tests import helper\n" },
			more:   []string{"numbers/x.py", "numbers/tests/__init__.py", "numbers/tests/test_a.py"}, gone: []string{"pip", "setuptools"},
		},
		"no list of files": { // it cannot be removed safely
			change: func(files map[string]string) { delete(files, "pip-1.0.dist-info/RECORD") }, more: []string{"pip/__init__.py"}, gone: []string{"setuptools"},
		},
	} {
		files := base()
		if c.change != nil {
			c.change(files)
		}
		got, s := kept(t, siteOf(t, files), Options{Include: c.include})
		want := slices.Sorted(slices.Values(append(slices.Clone(plain), c.more...)))
		if !slices.Equal(got, want) || !slices.Equal(slices.Sorted(slices.Values(s.gone)), c.gone) {
			t.Errorf("%s: the image has %q without %q, want %q without %q", name, got, s.gone, want, c.gone)
		}
		if s.program("pip3") != slices.Contains(c.gone, "pip") || s.program("web") {
			t.Errorf("%s: the programs are not those of what is left out", name)
		}
	}

	// The application counts, and environments in it do not.
	app := siteOf(t, map[string]string{"wsgi.py": "import pkg_resources\n", ".venv/pyvenv.cfg": "", ".venv/x.py": "from pip import main\n"})
	if got, s := kept(t, siteOf(t, base()), Options{App: app}); !slices.Contains(got, "pkg_resources/__init__.py") || !slices.Equal(s.gone, []string{"pip"}) {
		t.Errorf("for an application that uses pkg_resources: %q without %q", got, s.gone)
	}

	none := &maker{o: Options{Include: []string{IncludePip}}}
	if _, err := none.selects(siteOf(t, map[string]string{"a.py": ""})); fault.ClassOf(err) != fault.Usage || !strings.Contains(err.Error(), "no pip") {
		t.Errorf("--include pip without pip: %v", err)
	}
}

func TestStandardLibraryOfAnImage(t *testing.T) {
	dir := siteOf(t, map[string]string{
		"os.py": "", "test/support.py": "", "unittest/case.py": "", "unittest/test/x.py": "", "tkinter/a.py": "", "ensurepip/a.py": "", "lib-dynload/_testcapi.so": "",
		"lib-dynload/_ssl.so": "", "config-3.11-x/Makefile": "", "lib2to3/tests/x.py": "", "libpython3.11.a": "",
	})
	for include, want := range map[string][]string{
		"":             {"lib-dynload/_ssl.so", "os.py", "unittest/case.py"},
		IncludePip:     {"ensurepip/a.py", "lib-dynload/_ssl.so", "os.py", "unittest/case.py"},
		IncludeTests:   {"lib-dynload/_ssl.so", "lib-dynload/_testcapi.so", "os.py", "test/support.py", "unittest/case.py", "unittest/test/x.py"},
		IncludeHeaders: {"config-3.11-x/Makefile", "lib-dynload/_ssl.so", "libpython3.11.a", "os.py", "unittest/case.py"},
	} {
		o := Options{Include: []string{include}}
		c := collector{root: dir, to: "/x", skip: func(rel string, d fs.DirEntry) bool { return o.leftOut(rel, d, "config-3.11") }}
		all, err := c.collect("")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range all {
			if !e.mode.IsDir() {
				got = append(got, strings.TrimPrefix(e.name, "x/"))
			}
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("with %q: %q, want %q", include, got, want)
		}
	}
}
