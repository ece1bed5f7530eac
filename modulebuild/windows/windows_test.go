package windows

import (
	"archive/zip"
	"bytes"
	"debug/pe"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/pe/petest"
	"modwsgi/internal/run"
)

func put(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
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

func TestDeclarations(t *testing.T) {
	dir := put(t, t.TempDir(), map[string]string{"a.h": `
/* AP_DECLARE(int) ap_in_comment(void); */
#define AP_DECLARE(type) type
#define AP_DECLARE_HOOK(ret, name, args) \
    AP_DECLARE(void) ap_hook_##name(void)
AP_DECLARE(const char *) ap_banner(void);
AP_DECLARE_NONSTD(int) ap_printf(request_rec *r, const char *fmt, ...);
AP_CORE_DECLARE(void) ap_core_one(
    int a);
AP_DECLARE(apr_status_t (*)(void)) ap_returns_function(int (*f)(int));
AP_DECLARE_HOOK(int, post_config, (apr_pool_t *p, server_rec *s))
AP_DECLARE_HOOK(const char *,quick, (request_rec *r))
extern AP_DECLARE_DATA module *ap_top_module;
AP_DECLARE_DATA extern const char ap_array[8][16];
APR_DECLARE(apr_status_t) apr_pool_create_ex(apr_pool_t **newpool)
                          __attribute__((nonnull(1)));
APR_POOL_DECLARE_ACCESSOR(socket);
APR_DECLARE_DATA extern int apr_flag;
APU_DECLARE(void) apr_brigade_x(void);
APU_DECLARE_DATA extern const apr_bucket_type_t apr_bucket_type_eos;
APR_DECLARE_EXTERNAL_HOOK(ap,AP,int,monitor,(apr_pool_t *p))
`, "inner/python.h": `
#define PyArg_ParseTuple _PyArg_ParseTuple_SizeT
PyAPI_FUNC(int) PyArg_ParseTuple(PyObject *, const char *, ...);
PyAPI_FUNC(PyObject *) PyX_New(void); // PyAPI_FUNC(int) PyX_InComment(void);
PyAPI_DATA(PyTypeObject) PyDict_Type;
PyAPI_DATA(const char *const *) Py_names[3], Py_other;
PyAPI_DATA(int) (*PyOS_InputHook)(void);
PyAPI_DATA(struct _longobject) _Py_FalseStruct, _Py_TrueStruct;
Py_DEPRECATED(3.2) PyAPI_FUNC(void) PyOld_One(void);
`})
	d, err := declarations([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	for dll, want := range map[string]string{
		"libhttpd.dll": "ap_array ap_banner ap_core_one ap_hook_get_monitor ap_hook_get_post_config ap_hook_get_quick ap_hook_monitor ap_hook_post_config ap_hook_quick " +
			"ap_printf ap_returns_function ap_run_monitor ap_run_post_config ap_run_quick ap_top_module",
		"libapr-1.dll":     "apr_conv_ucs2_to_utf8 apr_conv_utf8_to_ucs2 apr_flag apr_pool_create_ex apr_socket_pool_get",
		"libaprutil-1.dll": "apr_brigade_x apr_bucket_type_eos",
		"python311.dll":    "PyArg_ParseTuple PyDict_Type PyOS_InputHook PyOld_One PyX_New Py_names Py_other _PyArg_ParseTuple_SizeT _Py_FalseStruct _Py_TrueStruct",
	} {
		names, data := d.of(dll)
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s:\n got %s\nwant %s", dll, got, want)
		}
		for _, name := range data {
			if !slices.Contains([]string{"ap_array", "ap_top_module", "apr_flag", "apr_bucket_type_eos", "PyDict_Type", "Py_names", "Py_other", "PyOS_InputHook", "_Py_FalseStruct", "_Py_TrueStruct"}, name) {
				t.Errorf("%s is not a variable", name)
			}
		}
	}
	l := &library{dll: "python311.dll", names: []string{"PyDict_Type", "PyX_New"}, data: []string{"PyDict_Type"}}
	if got := string(l.definition()); got != "LIBRARY python311.dll\nEXPORTS\n    PyDict_Type DATA\n    PyX_New\n" {
		t.Error(got)
	}
}

// library makes a DLL.
func dll(machine uint16, exports ...string) string {
	return string(petest.File{Machine: machine, DLL: true, Exports: exports}.Bytes())
}

const release = "#define AP_SERVER_MAJORVERSION_NUMBER 2\n#define AP_SERVER_MINORVERSION_NUMBER %d\n#define AP_SERVER_PATCHLEVEL_NUMBER   68\n"

func apache() map[string]string {
	return map[string]string{
		"Apache24/include/httpd.h": "", "Apache24/include/apr.h": "", "Apache24/include/apu.h": "", "Apache24/include/os.h": "", "Apache24/include/ap_config_layout.h": "",
		"Apache24/include/ap_release.h": fmt.Sprintf(release, 4), "Apache24/include/ap_mmn.h": "#define MODULE_MAGIC_NUMBER_MAJOR 20120211\n",
		"Apache24/bin/libhttpd.dll": dll(pe.IMAGE_FILE_MACHINE_AMD64, "ap_x"), "Apache24/bin/libapr-1.dll": dll(pe.IMAGE_FILE_MACHINE_AMD64, "apr_x"),
		"Apache24/bin/libaprutil-1.dll": dll(pe.IMAGE_FILE_MACHINE_AMD64, "apr_y"), "ReadMe.txt": "",
	}
}

func TestHTTPDSDK(t *testing.T) {
	s, err := httpdSDK(t.Context(), put(t, filepath.Join(t.TempDir(), "with space ä"), apache()), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if s.version != "2.4.68" || s.mmn != 20120211 || !s.library("LIBHTTPD.DLL").has("ap_x") || s.library("libhttpd.dll").has("ap_y") || s.library("other.dll") != nil {
		t.Errorf("%+v", s)
	}
	// The same as a zip, and a damaged one.
	packed := filepath.Join(t.TempDir(), "httpd.zip")
	f, err := os.Create(packed)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	for name, text := range apache() {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write([]byte(text))
	}
	if err := errors.Join(z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	if s, err := httpdSDK(t.Context(), packed, filepath.Join(t.TempDir(), "x")); err != nil || s.version != "2.4.68" {
		t.Errorf("zip: %+v, %v", s, err)
	}
	for name, c := range map[string]struct {
		change map[string]string
		drop   string
		want   string
	}{
		"no httpd.h":     {nil, "Apache24/include/httpd.h", "has no httpd.h"},
		"no apr.h":       {nil, "Apache24/include/apr.h", "has no apr.h"},
		"httpd 2.2":      {map[string]string{"Apache24/include/ap_release.h": fmt.Sprintf(release, 2)}, "", "of httpd 2.2.68"},
		"no version":     {map[string]string{"Apache24/include/ap_release.h": ""}, "", "does not define"},
		"32 bits":        {map[string]string{"Apache24/bin/libhttpd.dll": dll(pe.IMAGE_FILE_MACHINE_I386)}, "", "is for x86"},
		"not a library":  {map[string]string{"Apache24/bin/libhttpd.dll": "text"}, "", "not a PE file"},
		"broken library": {map[string]string{"Apache24/lib/libapr-1.lib": "text"}, "Apache24/bin/libapr-1.dll", "not a library"},
	} {
		files := apache()
		delete(files, c.drop)
		for k, v := range c.change {
			files[k] = v
		}
		_, err := httpdSDK(t.Context(), put(t, t.TempDir(), files), t.TempDir())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := httpdSDK(t.Context(), filepath.Join(t.TempDir(), "none"), t.TempDir()); fault.ClassOf(err) != fault.Usage {
		t.Errorf("missing: %v", err)
	}
	text := filepath.Join(put(t, t.TempDir(), map[string]string{"x": "text"}), "x")
	if _, err := httpdSDK(t.Context(), text, filepath.Join(t.TempDir(), "y")); fault.ClassOf(err) != fault.Usage {
		t.Errorf("no zip: %v", err)
	}
}

func python(minor int) map[string]string {
	return map[string]string{
		"Python.h": "", "patchlevel.h": fmt.Sprintf("#define PY_MAJOR_VERSION 3\n#define PY_MINOR_VERSION %d\n#define PY_MICRO_VERSION 7\n", minor),
	}
}

func below(dir string, files map[string]string) map[string]string {
	out := map[string]string{}
	for name, text := range files {
		out[dir+name] = text
	}
	return out
}

func TestPythonSDK(t *testing.T) {
	windowsConfig := map[string]string{"pyconfig.h": "#define MS_WINDOWS\n"}
	unixConfig := map[string]string{"pyconfig.h": "#define HAVE_FORK 1\n"}
	merge := func(all ...map[string]string) map[string]string {
		out := map[string]string{}
		for _, m := range all {
			for k, v := range m {
				out[k] = v
			}
		}
		return out
	}
	lib := map[string]string{"tools/python311.dll": dll(pe.IMAGE_FILE_MACHINE_AMD64, "Py_Main")}
	for name, c := range map[string]struct {
		files map[string]string
		own   bool // our pyconfig.h is used
		exact bool
		want  string // error
	}{
		"NuGet":            {merge(below("tools/include/", python(11)), below("tools/include/", windowsConfig), lib), false, true, ""},
		"headers and DLL":  {merge(below("include/", python(11)), below("include/", windowsConfig), map[string]string{"PYTHON311.DLL": lib["tools/python311.dll"]}), false, true, ""},
		"Unix":             {merge(below("include/python3.11/", python(11)), below("include/python3.11/", unixConfig)), true, false, ""},
		"Debian's headers": {merge(python(11), unixConfig), true, false, ""},
		"source": {merge(below("Include/", python(11)), map[string]string{
			"PC/pyconfig.h": "#define MS_WINDOWS\n", "pyconfig.h.in": "#undef HAVE_FORK\n",
		}), false, false, ""},
		"source 3.13":       {merge(below("Include/", python(11)), map[string]string{"PC/pyconfig.h.in": "#define MS_WINDOWS\n"}), false, false, ""},
		"several":           {merge(below("include/python3.9/", python(9)), below("include/python3.11/", python(11))), true, false, ""},
		"another version":   {below("include/", python(12)), false, false, "headers of Python 3.12.7, not of 3.11"},
		"nothing":           {map[string]string{"python311.dll": ""}, false, false, "has no Python.h"},
		"32 bits":           {merge(below("include/", python(11)), map[string]string{"python311.dll": dll(pe.IMAGE_FILE_MACHINE_I386)}), false, false, "is for x86"},
		"free threading":    {merge(below("include/", python(11)), map[string]string{"python311t.dll": ""}), false, false, "free-threaded"},
		"3.1 is not 3.11":   {below("include/", python(1)), false, false, "3.1.7"},
		"damaged DLL":       {merge(below("include/", python(11)), map[string]string{"python311.dll": "MZ"}), false, false, "python311.dll"},
		"no version at all": {map[string]string{"include/Python.h": "", "include/patchlevel.h": "x"}, false, false, "include/Python.h: patchlevel.h does not define PY_MAJOR_VERSION"},
		"no patchlevel.h":   {map[string]string{"include/Python.h": ""}, false, false, "include/Python.h: read patchlevel.h: "},
	} {
		into := filepath.Join(t.TempDir(), "work")
		s, err := pythonSDK(t.Context(), put(t, t.TempDir(), c.files), into, "3.11")
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) || fault.HintOf(err) == "" {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		config, err := os.ReadFile(filepath.Join(s.include[0], "pyconfig.h"))
		if err != nil || (string(config) == pyconfig) != c.own || !c.own && !bytes.Contains(config, []byte("MS_WINDOWS")) {
			t.Errorf("%s: pyconfig.h %.40q, %v", name, config, err)
		}
		if s.version != "3.11.7" || len(s.libs) != 1 || s.libs[0].exact != c.exact {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// TestZippedSDKs: an error about a file in an archive shows its name in the archive,
// because the unpacked file no longer exists when the error is read.
func TestZippedSDKs(t *testing.T) {
	for name, c := range map[string]struct {
		change map[string]string
		want   string
	}{
		"32 bits":       {map[string]string{"tools/python311.dll": dll(pe.IMAGE_FILE_MACHINE_I386)}, "tools/python311.dll in %s is for x86"},
		"ARM64":         {map[string]string{"tools/python311.dll": dll(pe.IMAGE_FILE_MACHINE_ARM64)}, "tools/python311.dll in %s is for ARM64"},
		"damaged DLL":   {map[string]string{"tools/python311.dll": "MZ"}, "read tools/python311.dll in %s: "},
		"damaged lib":   {map[string]string{"tools/libs/python311.lib": "x"}, "read tools/libs/python311.lib in %s: "},
		"free-threaded": {map[string]string{"tools/python311t.dll": ""}, "tools/python311t.dll in %s is a free-threaded Python"},
		"no version":    {map[string]string{"tools/include/patchlevel.h": ""}, "cannot use tools/include/Python.h in %s"},
	} {
		dir := filepath.Join(t.TempDir(), "mit Leerzeichen ü")
		files := below("tools/include/", python(11))
		files["tools/include/pyconfig.h"] = "#define MS_WINDOWS\n"
		for k, v := range c.change {
			files[k] = v
		}
		put(t, dir, files)
		packed, into := filepath.Join(t.TempDir(), "python.3.11.7.nupkg"), filepath.Join(t.TempDir(), "work")
		f, err := os.Create(packed)
		if err != nil {
			t.Fatal(err)
		}
		z := zip.NewWriter(f)
		if err := errors.Join(z.AddFS(os.DirFS(dir)), z.Close(), f.Close()); err != nil {
			t.Fatal(err)
		}
		_, err = pythonSDK(t.Context(), packed, into, "3.11")
		if want := fmt.Sprintf(c.want, packed); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), into) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
}

// TestLibrariesThatAreOnlyDeclared: an SDK without a library is used with the names
// that its headers declare, and that is reported.
func TestLibrariesThatAreOnlyDeclared(t *testing.T) {
	for name, c := range map[string]struct {
		request Request
		httpd   bool
		kind    event.Kind
		want    string
	}{
		"httpd":         {Request{HTTPDSDK: "/x/httpd.zip"}, true, event.Warn, "/x/httpd.zip has neither libhttpd.lib nor libhttpd.dll"},
		"Python":        {Request{PythonSDK: "/usr"}, false, event.Note, "/usr has neither libhttpd.lib nor libhttpd.dll: only its headers"},
		"pinned httpd":  {Request{}, true, event.Note, ""},
		"pinned Python": {Request{HTTPDSDK: "/x"}, false, event.Note, ""},
	} {
		var told []event.Event
		b := &builder{Request: c.request, httpd: &sdk{}, python: &sdk{}}
		b.Events = func(e event.Event) { told = append(told, e) }
		s := b.python
		if c.httpd {
			s = b.httpd
		}
		b.noteDeclared(&library{dll: "libhttpd.dll"}, s)
		if c.want == "" && len(told) > 0 || c.want != "" && (len(told) != 1 || told[0].Kind != c.kind || !strings.Contains(told[0].Text, c.want)) {
			t.Errorf("%s: %+v", name, told)
		}
	}
}

func TestNoCompiler(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x86_64-w64-mingw32-gcc"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{t.TempDir(): "no compiler for Windows", dir: "x86_64-w64-mingw32-dlltool is missing next to " + dir} {
		if _, err := Compiler(t.Context(), []string{"PATH=" + path}, &run.Runner{}); fault.ClassOf(err) != fault.Environment || !strings.Contains(err.Error(), want) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestInvalidRequests(t *testing.T) {
	dir := t.TempDir()
	good := func() Request {
		s := Source{Version: "1", Path: "/x", SHA256: strings.Repeat("ab", 32)}
		return Request{Module: s, HTTPD: s, APR: s, APRUtil: s, CPython: s, Python: "3.11", Jobs: 1, Work: dir + "/work", Out: dir + "/out", Logs: dir + "/logs", Runner: &run.Runner{}}
	}
	for want, change := range map[string]func(*Request){
		"0 jobs":              func(q *Request) { q.Jobs = 0 },
		`"3.11.2" is not`:     func(q *Request) { q.Python = "3.11.2" },
		`"2.7" is not`:        func(q *Request) { q.Python = "2.7" },
		`"" is not`:           func(q *Request) { q.Python = "" },
		"not an absolute":     func(q *Request) { q.Out = "out" },
		"archive of mod_wsgi": func(q *Request) { q.Module = Source{} },
		"archive of apr is":   func(q *Request) { q.APR = Source{} },
		"archive of cpython":  func(q *Request) { q.CPython = Source{} },
		"no compiler":         func(q *Request) { q.Env = []string{"PATH=" + dir} },
	} {
		q := good()
		change(&q)
		if _, err := Build(t.Context(), q); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%s: %v was left", want, left)
		}
	}
}

func TestNames(t *testing.T) {
	if FileName("3.8") != "mod_wsgi.cp38-win_amd64.pyd" || FileName("3.13") != "mod_wsgi.cp313-win_amd64.pyd" || dllName("3.9") != "python39.dll" {
		t.Error(FileName("3.8"), FileName("3.13"), dllName("3.9"))
	}
}
