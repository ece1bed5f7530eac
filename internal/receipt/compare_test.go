package receipt

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCompare covers the rule for a stale module: what may differ, and what may not.
func TestCompare(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one, two, link := file("one"), file("two"), filepath.Join(dir, "stable")
	if err := os.Symlink(one, link); err != nil {
		t.Fatal(err)
	}
	const abi, abi12, abiT = "cpython-311-x86_64-linux-gnu", "cpython-312-x86_64-linux-gnu", "cpython-313t-x86_64-linux-gnu"
	shared := Python{Version: "3.11.7", SOABI: abi, LibPython: one}
	static := Python{Version: "3.11.7", SOABI: abi, LibPython: "/x/libpython3.11.a"}
	wheel := Python{Version: "3.11.7", SOABI: abi, Soname: "libpython3.11.so.1.0"}
	server := HTTPD{Executable: one, Version: "2.4.57", MMN: 20120211}
	python := func(version, soabi string) Python { return Python{Version: version, SOABI: soabi} }
	loads := func(version string) *Library { return &Library{Path: one, Version: version} }
	for name, c := range map[string]struct {
		was   Python
		today Today
		fact  Fact // "" for a module that fits
		says  string
	}{
		"nothing is known":              {shared, Today{}, "", ""},
		"as it was":                     {shared, Today{Python: shared, Library: loads("3.11.7"), HTTPD: server}, "", ""},
		"both were upgraded":            {shared, Today{Python: python("3.11.9", abi), Library: loads("3.11.9")}, "", ""},
		"only the Python was":           {shared, Today{Python: python("3.11.9", abi), Library: loads("3.11.7")}, FactLibPython, "loads the libpython of Python 3.11.7 (" + one + "), but the environment's standard library is now 3.11.9"},
		"only the library was":          {shared, Today{Python: python("3.11.7", abi), Library: loads("3.11.9")}, FactLibPython, "loads the libpython of Python 3.11.9"},
		"a library that does not tell":  {shared, Today{Python: python("3.11.9", abi), Library: loads("")}, "", ""},
		"a Python that does not tell":   {shared, Today{Python: python("3.11", abi), Library: loads("3.11.7")}, "", ""},
		"a build from version control":  {shared, Today{Python: python("3.11.9+", abi), Library: loads("3.11.9")}, "", ""},
		"a release candidate":           {shared, Today{Python: python("3.11.9", abi), Library: loads("3.11.9rc1")}, FactLibPython, "3.11.9rc1"},
		"the library is gone":           {shared, Today{Python: shared, Library: &Library{Path: one, Gone: true}}, FactLibPython, "no longer exists: " + one},
		"another file":                  {shared, Today{Python: Python{Version: "3.11.7", LibPython: two}, Library: loads("3.11.7")}, FactLibPython, "has " + two},
		"the same by another path":      {shared, Today{Python: Python{Version: "3.11.7", LibPython: link}, Library: loads("3.11.7")}, "", ""},
		"a static one is found today":   {shared, Today{Python: static, Library: loads("3.11.7")}, "", ""},
		"another minor version":         {shared, Today{Python: python("3.12.1", abi12), Library: loads("3.11.7")}, FactPython, "built for Python 3.11.7 (" + abi + "), the environment's is 3.12.1 (" + abi12 + ")"},
		"the same, by version only":     {shared, Today{Python: python("3.12", "")}, FactPython, "the environment's is 3.12"},
		"another ABI":                   {shared, Today{Python: python("3.11.7", "cpython-311d-x86_64-linux-gnu")}, FactPython, "cpython-311d"},
		"without the GIL":               {Python{Version: "3.13.0", SOABI: "cpython-313-x86_64-linux-gnu"}, Today{Python: Python{Version: "3.13.0", SOABI: abiT, FreeThreaded: true}}, FactPython, "313t"},
		"without the GIL, by the flag":  {Python{Version: "3.13.0", SOABI: "x"}, Today{Python: Python{Version: "3.13.0", SOABI: "x", FreeThreaded: true}}, FactPython, "free-threaded"},
		"a flag that nobody looked at":  {Python{Version: "3.13.0", SOABI: abiT, FreeThreaded: true}, Today{Python: Python{Version: "3.13.0"}}, "", ""},
		"static, another patch version": {static, Today{Python: python("3.11.9", abi)}, FactLibPython, "contains the interpreter of Python 3.11.7, but the environment's standard library is now 3.11.9"},
		"static, the same":              {static, Today{Python: static}, "", ""},
		"a wheel":                       {wheel, Today{Python: python("3.11.9", abi)}, "", ""},
		"a wheel, another version":      {wheel, Today{Python: python("3.12.1", abi12)}, FactPython, "3.12.1"},
		"httpd, a newer patch version":  {shared, Today{HTTPD: HTTPD{Executable: one, Version: "2.4.68", MMN: 20120211}}, "", ""},
		"httpd, another MMN":            {shared, Today{HTTPD: HTTPD{Executable: one, Version: "2.6.0", MMN: 20250101}}, FactMMN, "built for MMN 20120211, but httpd now has 20250101"},
		"httpd, an unknown MMN":         {shared, Today{HTTPD: HTTPD{Executable: one}}, "", ""},
		"httpd, by another path":        {shared, Today{HTTPD: HTTPD{Executable: link}}, "", ""},
		"another httpd":                 {shared, Today{HTTPD: HTTPD{Executable: two, Version: "2.4.57", MMN: 20120211}}, FactHTTPD, two},
		"httpd is gone":                 {shared, Today{HTTPDGone: true}, FactHTTPD, "no longer exists: " + one},
	} {
		t.Run(name, func(t *testing.T) {
			got := Compare(&Receipt{Python: c.was, HTTPD: server}, c.today)
			switch {
			case c.fact == "" && len(got) > 0:
				t.Errorf("stale: %v", got)
			case c.fact != "" && (len(got) != 1 || got[0].Fact != c.fact || !strings.Contains(got[0].Text, c.says)):
				t.Errorf("got %+v, want one of %q with %q", got, c.fact, c.says)
			}
		})
	}
	both := Compare(&Receipt{Python: static, HTTPD: server}, Today{Python: python("3.11.9", abi), HTTPDGone: true})
	if len(both) != 2 || both[0].Fact != FactLibPython || both[1].Fact != FactHTTPD {
		t.Errorf("two reasons: %+v", both)
	}
}

// TestLook: facts from files, and in an environment that was moved with its Python.
func TestLook(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lib := filepath.Join(dir, "new", "lib", "libpython3.11.so.1.0")
	if err := os.MkdirAll(filepath.Dir(lib), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(lib, []byte("no ELF file"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &Receipt{Python: Python{Version: "3.11.7", Prefix: filepath.Join(dir, "old"), LibPython: filepath.Join(dir, "old", "lib", "libpython3.11.so.1.0")}, HTTPD: HTTPD{Executable: lib}}
	if got := Look(r, Python{}); got.Library == nil || !got.Library.Gone || got.HTTPDGone {
		t.Errorf("at its old place: %+v", got)
	}
	if got := Look(r, Python{Prefix: filepath.Join(dir, "new")}); got.Library == nil || got.Library.Gone || got.Library.Path != lib || got.Library.Version != "" {
		t.Errorf("moved: %+v", got)
	}
	r.Python.LibPython, r.HTTPD.Executable = "/x/libpython3.11.a", dir
	if got := Look(r, Python{}); got.Library != nil || !got.HTTPDGone {
		t.Errorf("static, and a directory for httpd: %+v", got)
	}
}
