//go:build unix

package scripttest

import (
	"debug/elf"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"modwsgi/internal/elf/elftest"
)

var (
	interpreterName = regexp.MustCompile(`^python3?(\.\d+)?$`)
	machines        = map[string]elf.Machine{"x86_64": elf.EM_X86_64, "aarch64": elf.EM_AARCH64, "riscv64": elf.EM_RISCV, "s390x": elf.EM_S390, "ppc64le": elf.EM_PPC64}
)

func isInterpreter(called string) bool { return interpreterName.MatchString(filepath.Base(called)) }

// interpret is the fake interpreter: it knows what modwsgi asks (the facts that
// detect/facts.py prints), and its version.
func interpret(called string, args []string, stdout, stderr io.Writer) int {
	prefix := filepath.Dir(filepath.Dir(called))
	base, version, cfg := prefix, "", filepath.Join(prefix, "pyvenv.cfg")
	if data, err := os.ReadFile(cfg); err == nil {
		for line := range strings.Lines(string(data)) {
			if key, value, ok := strings.Cut(line, " = "); ok && key == "home" {
				base = filepath.Dir(strings.TrimSpace(value))
			}
		}
	} else {
		cfg = ""
	}
	if data, err := os.ReadFile(filepath.Join(base, "version")); err == nil {
		version = strings.TrimSpace(string(data))
	}
	script := ""
	if i := slices.Index(args, "-c"); i >= 0 && i+1 < len(args) {
		script = args[i+1]
	}
	switch {
	case slices.Contains(args, "-V"), slices.Contains(args, "--version"):
		_, _ = fmt.Fprintln(stdout, "Python", version)
	case strings.Contains(script, "<<<modwsgi "):
		answer, err := json.Marshal(facts(called, prefix, base, cfg, version))
		if err != nil {
			_, _ = fmt.Fprintln(stderr, err)
			return 1
		}
		_, _ = fmt.Fprintf(stdout, "\n<<<modwsgi %s modwsgi>>>\n", answer)
	default:
		_, _ = fmt.Fprintln(stderr, "this is not a real Python, and cannot do this")
		return 1
	}
	return 0
}

func facts(called, prefix, base, cfg, version string) map[string]any {
	var major, minor int
	_, _ = fmt.Sscanf(version, "%d.%d", &major, &minor)
	short := fmt.Sprintf("python%d.%d", major, minor)
	site := filepath.Join(prefix, "lib", short, "site-packages")
	machine := elfMachine()
	soabi := fmt.Sprintf("cpython-%d%d-%s-linux-gnu", major, minor, machine)
	implementation := "cpython"
	if _, err := os.Stat(filepath.Join(base, "pypy")); err == nil {
		implementation = "pypy"
	}
	return map[string]any{
		"executable": called, "prefix": prefix, "base_prefix": base, "exec_prefix": prefix, "cfg": cfg, "version": version, "major": major, "minor": minor,
		"implementation": implementation, "abiflags": "", "platform": "linux-" + machine,
		"paths": map[string]string{
			"stdlib": filepath.Join(base, "lib", short), "purelib": site, "platlib": site, "scripts": filepath.Join(prefix, "bin"),
			"include": filepath.Join(base, "include", short), "platinclude": filepath.Join(base, "include", short),
		},
		"vars": map[string]string{
			"SOABI": soabi, "EXT_SUFFIX": "." + soabi + ".so", "LIBDIR": filepath.Join(base, "lib"), "Py_ENABLE_SHARED": "1",
			"LDLIBRARY": "lib" + short + ".so", "INSTSONAME": "lib" + short + ".so.1.0",
		},
	}
}

// elfMachine is the machine as uname -m says it.
func elfMachine() string {
	if name, ok := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]; ok {
		return name
	}
	return runtime.GOARCH
}

// fakePython makes an environment in DIR, as python3 -m venv does, of a Python of the
// version in DIR-base, with headers and a shared libpython. WITHOUT leaves one of
// them out: headers, library, os.py; or is pypy, for another implementation.
func fakePython(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 || len(args) > 3 {
		ts.Fatalf("usage: fake-python DIR [VERSION] [WITHOUT]")
	}
	dir, version, without := ts.MkAbs(args[0]), "3.11.2", ""
	if len(args) > 1 {
		version = args[1]
	}
	if len(args) > 2 {
		without = args[2]
	}
	var major, minor, patch uint32
	if _, err := fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &patch); err != nil {
		ts.Fatalf("%q is not a version: %v", version, err)
	}
	base, short := dir+"-base", fmt.Sprintf("python%d.%d", major, minor)
	exe := filepath.Join(base, "bin", short)
	library := elftest.File{
		Machine: machines[elfMachine()], Soname: "lib" + short + ".so.1.0",
		Exports: map[string][]byte{"Py_InitializeEx": nil, "Py_Version": elftest.Words(major<<24 | minor<<16 | patch<<8 | 0xf0)},
	}.Bytes()
	for _, f := range []struct {
		part, name string
		data       []byte
	}{
		{"", base + "/version", []byte(version)},
		{"os.py", base + "/lib/" + short + "/os.py", nil},
		{"headers", base + "/include/" + short + "/Python.h", nil},
		{"headers", base + "/include/" + short + "/pyconfig.h", nil},
		{"headers", base + "/include/" + short + "/patchlevel.h", fmt.Appendf(nil, "#define PY_MAJOR_VERSION %d\n#define PY_MINOR_VERSION %d\n#define PY_VERSION \"%s\"\n", major, minor, version)},
		{"library", base + "/lib/lib" + short + ".so.1.0", library},
		{"", dir + "/pyvenv.cfg", fmt.Appendf(nil, "home = %s/bin\nversion = %s\n", base, version)},
	} {
		if f.part == "" || f.part != without {
			write(ts, f.name, f.data, 0o644)
		}
	}
	if without == "pypy" {
		write(ts, base+"/pypy", nil, 0o644)
	}
	for _, d := range []string{filepath.Dir(exe), dir + "/bin", dir + "/lib/" + short + "/site-packages"} {
		ts.Check(os.MkdirAll(d, 0o755))
	}
	own, err := os.Executable()
	ts.Check(err)
	ts.Check(hardLink(own, exe))
	ts.Check(os.Symlink(exe, dir+"/bin/"+short))
	ts.Check(os.Symlink(short, dir+"/bin/python3"))
	ts.Check(os.Symlink("python3", dir+"/bin/python"))
}

// fakeHTTPD makes the tree of an httpd in DIR: a program that says what every httpd
// says, headers, build/config_vars.mk, and the modules that the launcher asks for.
func fakeHTTPD(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 || len(args) > 2 {
		ts.Fatalf("usage: fake-httpd DIR [VERSION]")
	}
	dir, version := ts.MkAbs(args[0]), "2.4.68"
	if len(args) > 1 {
		version = args[1]
	}
	program := elftest.File{
		Machine: machines[elfMachine()], Text: "Apache/" + version,
		Exports: map[string][]byte{"core_module": elftest.Words(20120211, 142)},
	}.Bytes()
	n := strings.Split(version, ".")
	if len(n) != 3 {
		ts.Fatalf("%q is not a version", version)
	}
	for name, data := range map[string]string{
		"bin/httpd": string(program), "bin/rotatelogs": string(program), "include/httpd.h": "", "conf/mime.types": "text/html html\n",
		"include/ap_release.h":  fmt.Sprintf("#define AP_SERVER_MAJORVERSION_NUMBER %s\n#define AP_SERVER_MINORVERSION_NUMBER %s\n#define AP_SERVER_PATCHLEVEL_NUMBER %s\n", n[0], n[1], n[2]),
		"include/ap_mmn.h":      "#define MODULE_MAGIC_NUMBER_MAJOR 20120211\n#define MODULE_MAGIC_NUMBER_MINOR 142\n",
		"include/apr.h":         "",
		"include/apu.h":         "",
		"include/apr_version.h": "#define APR_MAJOR_VERSION 1\n#define APR_MINOR_VERSION 7\n#define APR_PATCH_VERSION 6\n",
		"include/apu_version.h": "#define APU_MAJOR_VERSION 1\n#define APU_MINOR_VERSION 6\n#define APU_PATCH_VERSION 3\n",
		"build/config_vars.mk": "prefix = " + dir + "\nexec_prefix = ${prefix}\nbindir = ${exec_prefix}/bin\nsbindir = ${exec_prefix}/bin\nprogname = httpd\n" +
			"includedir = ${prefix}/include\nlibexecdir = ${exec_prefix}/modules\nEXTRA_CPPFLAGS = -DLINUX\nEXTRA_CFLAGS = -O2\n",
	} {
		write(ts, dir+"/"+name, []byte(data), 0o755)
	}
	for _, m := range strings.Fields("mpm_event mpm_worker mpm_prefork unixd authn_core authz_core authz_host authz_user auth_basic auth_digest mime rewrite alias dir env reqtimeout " +
		"log_config status filter deflate headers proxy proxy_http ssl http2 autoindex cgid cgi setenvif access_compat") {
		write(ts, dir+"/modules/mod_"+m+".so", program, 0o755)
	}
}

func write(ts *testscript.TestScript, name string, data []byte, mode fs.FileMode) {
	ts.Check(os.MkdirAll(filepath.Dir(name), 0o755))
	ts.Check(writeFile(name, data, mode))
}
