package windows

import (
	"debug/pe"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/pe/petest"
)

func module() petest.File {
	return petest.File{
		Machine: pe.IMAGE_FILE_MACHINE_AMD64, DLL: true, Exports: []string{"wsgi_module", "PyInit_mod_wsgi"},
		Imports: []petest.Import{
			{Library: "libhttpd.dll", Names: []string{"ap_x"}},
			{Library: "libapr-1.dll", Names: []string{"apr_x"}},
			{Library: "python311.dll", Names: []string{"Py_Main"}},
			{Library: "KERNEL32.dll", Names: []string{"Sleep"}, Ordinal: 1},
			{Library: "api-ms-win-crt-heap-l1-1-0.dll", Names: []string{"malloc"}},
		},
	}
}

func TestCheck(t *testing.T) {
	resolve := func(library, name string) (bool, bool) { return name != "missing", strings.HasPrefix(library, "lib") }
	check := func(f petest.File, runtime ...string) ([]string, error) {
		name := filepath.Join(t.TempDir(), "m.pyd")
		if err := os.WriteFile(name, f.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return Check(name, Expect{Python: "3.11", Resolve: resolve, Paths: []string{"/build/dir"}, Runtime: runtime})
	}
	names, err := check(module())
	if err != nil || !slices.Equal(names, []string{"KERNEL32.dll", "api-ms-win-crt-heap-l1-1-0.dll", "libapr-1.dll", "libhttpd.dll", "python311.dll"}) {
		t.Errorf("%q, %v", names, err)
	}
	with := func(i ...petest.Import) petest.File {
		f := module()
		f.Imports = append(f.Imports, i...)
		return f
	}
	without := func(library string) petest.File {
		f := module()
		f.Imports = slices.DeleteFunc(f.Imports, func(i petest.Import) bool { return i.Library == library })
		return f
	}
	runtime := with(petest.Import{Library: "VCRUNTIME140.dll", Names: []string{"memcpy"}})
	if _, err := check(runtime, "vcruntime140.dll"); err != nil {
		t.Errorf("Microsoft's compiler: %v", err)
	}
	exports := func(names ...string) petest.File {
		f := module()
		f.Exports = names
		return f
	}
	other := module()
	other.Machine = pe.IMAGE_FILE_MACHINE_ARM64
	program := module()
	program.DLL = false
	path := module()
	path.Text = "x/build/dir/mod_wsgi.c"
	for want, f := range map[string]petest.File{
		"for ARM64":                        other,
		"not a library":                    program,
		`exports ["wsgi_module"]`:          exports("wsgi_module"),
		`exports ["PyInit_mod_wsgi" "more`: exports("wsgi_module", "PyInit_mod_wsgi", "more"),
		"exports []":                       exports(),
		"needs VCRUNTIME140.dll":           runtime,
		"old C runtime msvcrt.dll":         with(petest.Import{Library: "msvcrt.dll", Names: []string{"malloc"}}),
		"needs libgcc_s_seh-1.dll":         with(petest.Import{Library: "libgcc_s_seh-1.dll", Names: []string{"x"}}),
		"needs python312.dll":              with(petest.Import{Library: "python312.dll", Names: []string{"Py_Main"}}),
		"does not have missing":            with(petest.Import{Library: "libaprutil-1.dll", Names: []string{"missing"}}),
		"by number":                        with(petest.Import{Library: "libaprutil-1.dll", Ordinal: 3}),
		"does not need python311.dll":      without("python311.dll"),
		"does not need libhttpd.dll":       without("libhttpd.dll"),
		"Universal C Runtime":              without("api-ms-win-crt-heap-l1-1-0.dll"),
		"contains the path /build/dir":     path,
	} {
		if names, err := check(f); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v", want, names, err)
		}
	}
	if _, err := Check(filepath.Join(t.TempDir(), "none"), Expect{Python: "3.11"}); err == nil {
		t.Error("a file that is not there")
	}
}
