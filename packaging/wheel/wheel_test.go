//go:build linux

package wheel

import (
	"archive/zip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"modwsgi/internal/elf"
	"modwsgi/internal/fault"
	"modwsgi/internal/receipt"
	"modwsgi/internal/run"
	"modwsgi/packaging"
	"modwsgi/packaging/linkage"
)

var env = []string{"PATH=/usr/local/go/bin:/usr/local/bin:/usr/bin:/bin", "HOME=" + os.Getenv("HOME"), "CGO_ENABLED=0", "GOFLAGS=-mod=mod", "GO111MODULE=off"}

// cc makes a binary. Without a compiler the test is skipped.
func cc(t *testing.T, out, source string, flags ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short starts no compiler")
	}
	src := filepath.Join(t.TempDir(), "x.c")
	put(t, src, source)
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		t.Fatal(err)
	}
	var r run.Runner
	if err := r.Run(t.Context(), run.Cmd{Argv: append([]string{"gcc", "-o", out, src}, flags...), Env: env}); err != nil {
		t.Skipf("gcc: %v", err)
	}
}

func put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

var template struct {
	sync.Once
	dir string
}

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.RemoveAll(template.dir)
	os.Exit(code)
}

// stage is a small stage: a program for httpd, a module that needs libpython, and two
// Go programs.
func stage(t *testing.T) *packaging.Stage {
	t.Helper()
	template.Do(func() {
		dir, err := os.MkdirTemp("", "stage-")
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if template.dir == "" { // skipped: there is no compiler
				_ = os.RemoveAll(dir)
			}
		}()
		fill(t, dir)
		template.dir = dir
	})
	if template.dir == "" {
		t.Skip("there is no compiler")
	}
	tree, err := packaging.Scan(template.dir)
	if err != nil {
		t.Fatal(err)
	}
	top := filepath.Join(t.TempDir(), "stage")
	if err := packaging.CopyTree(tree, top); err != nil {
		t.Fatal(err)
	}
	return stageIn(top)
}

func stageIn(top string) *packaging.Stage {
	return &packaging.Stage{
		Site: filepath.Join(top, "site"), Bin: filepath.Join(top, "bin"), Time: time.Unix(1700000000, 0), Tool: "1.2.3",
		HTTPD: &packaging.HTTPD{
			Dir: "mod_wsgi_packages/httpd", Package: "mod_wsgi_packages", Version: "2.4.68", Features: []string{"tls"}, Libc: "glibc 2.36",
			Components: []packaging.Component{packaging.SourceComponent("httpd", "2.4.68", "Apache-2.0", "ab")},
		},
		Module: &packaging.Module{
			Package: "mod_wsgi", File: "mod_wsgi/server/mod.so", Receipt: receipt.Path, Version: "5.0.2", HTTPD: "2.4.68", Bundled: true,
			Python:     packaging.Python{Version: "3.11.2", Tag: "cp311", ABI: "cp311"},
			Components: []packaging.Component{packaging.SourceComponent("mod_wsgi", "5.0.2", "Apache-2.0", "cd")},
		},
	}
}

// fill creates the files of a stage.
func fill(t *testing.T, top string) {
	t.Helper()
	s := stageIn(top)
	cc(t, s.Site+"/mod_wsgi_packages/httpd/bin/httpd", "int main(void) { return 0; }")
	put(t, s.Site+"/mod_wsgi_packages/__init__.py", "")
	put(t, s.Site+"/mod_wsgi_packages/httpd/licenses/httpd/LICENSE", "licence of httpd")
	cc(t, top+"/libpython3.11.so.1.0", "int Py_x(void) { return 0; }", "-shared", "-fPIC", "-Wl,-soname,libpython3.11.so.1.0")
	cc(t, s.Site+"/mod_wsgi/server/mod.so", "extern int Py_x(void); int wsgi_module(void) { return Py_x(); }", "-shared", "-fPIC", top+"/libpython3.11.so.1.0", "-Wl,-rpath,/root/.pyenv/x/lib")
	r := receipt.Receipt{Key: "secret paths", Module: receipt.Module{File: "mod.so", Version: "5.0.2"}, Python: receipt.Python{Prefix: "/root/env", LibPython: "/root/.pyenv/x/lib/libpython3.11.so.1.0"}}
	put(t, s.Site+"/"+receipt.Path, string(r.Encode()))
	src := filepath.Join(top, "main.go")
	put(t, src, "package main\n\nfunc main() {}\n")
	for _, name := range []string{"mod_wsgi-express", "mod_wsgi-apxs"} {
		var runner run.Runner
		if err := runner.Run(t.Context(), run.Cmd{Argv: []string{"go", "build", "-o", filepath.Join(s.Bin, name), src}, Dir: top, Env: append(env, "GOCACHE="+goCache())}); err != nil {
			t.Skipf("go build: %v", err)
		}
	}
}

func goCache() string {
	if dir := os.Getenv("GOCACHE"); dir != "" {
		return dir
	}
	dir, _ := os.UserCacheDir()
	return filepath.Join(dir, "go-build")
}

// write makes both wheels and returns their names.
func write(t *testing.T, out string, s *packaging.Stage, o Options) ([]string, error) {
	t.Helper()
	o.Host = linkage.Host{Root: "/"}
	d, err := packaging.Open(out, false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Abort()
	h, _, err := HTTPD(t.Context(), d, s, o)
	if err != nil {
		return nil, err
	}
	m, _, err := Module(t.Context(), d, s, o)
	if err != nil {
		return nil, err
	}
	return []string{h.Name, m.Name}, d.Commit()
}

func TestWheelsOfAStage(t *testing.T) {
	s := stage(t)
	out := filepath.Join(t.TempDir(), "dist")
	names, err := write(t, out, s, Options{Bundle: true, WheelChoices: packaging.WheelChoices{Local: "lab.1", Build: 2}})
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^mod_wsgi_httpd-2\.4\.68\+lab\.1-2-py3-none-manylinux[\w.]+\.whl$`).MatchString(names[0]) ||
		!regexp.MustCompile(`^mod_wsgi-5\.0\.2\+lab\.1-2-cp311-cp311-manylinux[\w.]+\.whl$`).MatchString(names[1]) {
		t.Errorf("names %q", names)
	}
	z, err := zip.OpenReader(filepath.Join(out, names[1]))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	content := map[string]string{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		content[f.Name] = string(data)
	}
	info := "mod_wsgi-5.0.2+lab.1.dist-info/"
	for name, want := range map[string]string{
		info + "METADATA":                   "\nRequires-Dist: mod_wsgi-httpd==2.4.68\n",
		info + "licenses/mod_wsgi/LICENSE":  "Apache License",
		info + "licenses/go/stdlib/LICENSE": "The Go Authors",
		info + "sboms/modwsgi.cdx.json":     `"pkg:pypi/mod-wsgi@5.0.2%2Blab.1"`,
		info + "RECORD":                     "mod_wsgi-5.0.2+lab.1.data/scripts/mod_wsgi-express,sha256=",
		"mod_wsgi/server/build.json":        `"libpython_soname": "libpython3.11.so.1.0"`,
		info + "WHEEL":                      "Build: 2\n",
	} {
		if !strings.Contains(content[name], want) {
			t.Errorf("%s lacks %q: %s", name, want, content[name])
		}
	}
	for name, text := range content {
		if strings.Contains(text, "/root/") || strings.Contains(text, "secret paths") || strings.Contains(text, s.Site) {
			t.Errorf("%s names a path of the build machine", name)
		}
	}
	// It does not name libpython (PEP 513): the launcher loads that first.
	module := filepath.Join(t.TempDir(), "mod.so")
	put(t, module, content["mod_wsgi/server/mod.so"])
	if facts, err := elf.Read(module); err != nil || facts.Needs("libpython") != "" {
		t.Errorf("the module needs %+v, %v", facts, err)
	}
	var r receipt.Receipt
	if err := json.Unmarshal([]byte(content["mod_wsgi/server/build.json"]), &r); err != nil || len(r.Module.SHA256) != 64 {
		t.Errorf("receipt %+v, %v", r, err)
	}
	// The stage itself is unchanged.
	if data, _ := os.ReadFile(s.Site + "/mod_wsgi/server/mod.so"); !strings.Contains(string(data), "/root/.pyenv/x/lib") {
		t.Error("the stage was changed")
	}
}

// TestStaticPython: if the interpreter is linked into the module, so is its licence.
func TestStaticPython(t *testing.T) {
	for name, inside := range map[string]bool{"shared": false, "static": true} {
		s := stage(t)
		s.Module.Python.Shared = !inside
		if inside {
			cc(t, s.Site+"/mod_wsgi/server/mod.so", "int wsgi_module(void) { return 0; }", "-shared", "-fPIC")
		}
		out := filepath.Join(t.TempDir(), "dist")
		names, err := write(t, out, s, Options{Bundle: true})
		if err != nil {
			t.Fatal(err)
		}
		z, err := zip.OpenReader(filepath.Join(out, names[1]))
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		text, bom := false, false
		for _, f := range z.File {
			text = text || strings.HasSuffix(f.Name, ".dist-info/licenses/cpython/LICENSE")
			if strings.HasSuffix(f.Name, "modwsgi.cdx.json") {
				r, err := f.Open()
				if err != nil {
					t.Fatal(err)
				}
				data, _ := io.ReadAll(r)
				bom = strings.Contains(string(data), `"pkg:generic/python@3.11.2"`) && strings.Contains(string(data), "PSF-2.0")
			}
		}
		if text != inside || bom != inside {
			t.Errorf("%s: licence %v, bill of materials %v", name, text, bom)
		}
	}
}

// TestFullDisk: a write error names the file being written, not the user's tree.
func TestFullDisk(t *testing.T) {
	err := inUserPaths(&fs.PathError{Op: "write", Path: "/dist/.part/tree/lib/x.so", Err: syscall.ENOSPC}, "/dist/.part/tree", "/env/site")
	if !strings.Contains(err.Error(), "/dist/.part/tree/lib/x.so") || !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
}

func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, s *packaging.Stage)
		says   string
	}{
		"no httpd":       {func(_ *testing.T, s *packaging.Stage) { s.HTTPD = nil }, "no bundled httpd"},
		"no module":      {func(_ *testing.T, s *packaging.Stage) { s.Module = nil }, "no module"},
		"system's httpd": {func(_ *testing.T, s *packaging.Stage) { s.Module.Bundled = false }, "this system's httpd 2.4.68"},
		"no program":     {func(_ *testing.T, s *packaging.Stage) { _ = os.Remove(s.Bin + "/mod_wsgi-express") }, "the program is missing"},
		"no Go program":  {func(t *testing.T, s *packaging.Stage) { put(t, s.Bin+"/mod_wsgi-apxs", "#!/bin/sh\n") }, "read the components"},
		"symbolic link": {func(_ *testing.T, s *packaging.Stage) {
			_ = os.Symlink("__init__.py", s.Site+"/mod_wsgi_packages/x.py")
		}, "is a symbolic link, which a wheel cannot contain"},
		"no licences":    {func(_ *testing.T, s *packaging.Stage) { _ = os.RemoveAll(s.Site + "/mod_wsgi_packages/httpd/licenses") }, "lacks the licences"},
		"no record":      {func(_ *testing.T, s *packaging.Stage) { _ = os.Remove(s.Site + "/" + receipt.Path) }, "read the record of the module"},
		"damaged record": {func(t *testing.T, s *packaging.Stage) { put(t, s.Site+"/"+receipt.Path, "{") }, "read the record of the module"},
		"no tree":        {func(_ *testing.T, s *packaging.Stage) { _ = os.RemoveAll(s.Site + "/mod_wsgi_packages") }, "no such file"},
		"absolute path": {func(t *testing.T, s *packaging.Stage) {
			cc(t, s.Site+"/mod_wsgi_packages/httpd/bin/ab", "int main(void) { return 0; }", "-Wl,-rpath,/opt/x")
		}, "/site cannot be packaged: mod_wsgi_packages/httpd/bin/ab has the absolute run path /opt/x"},
		"set-user-id bit": {func(_ *testing.T, s *packaging.Stage) {
			_ = os.Chmod(s.Site+"/mod_wsgi_packages/httpd/bin/httpd", 0o4755|os.ModeSetuid)
		}, "set-user-id"},
	} {
		t.Run(name, func(t *testing.T) {
			s := stage(t)
			c.change(t, s)
			out := filepath.Join(t.TempDir(), "dist")
			_, err := write(t, out, s, Options{Bundle: true})
			if !slices.Contains([]fault.Class{fault.Environment, fault.Usage}, fault.ClassOf(err)) || !strings.Contains(err.Error(), c.says) || fault.HintOf(err) == "" {
				t.Errorf("%v\nhint: %s", err, fault.HintOf(err))
			}
			if _, err := os.Stat(out); err == nil {
				t.Error("the output directory is there")
			}
		})
	}
}
