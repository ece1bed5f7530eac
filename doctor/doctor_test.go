//go:build linux

package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"modwsgi/detect"
	"modwsgi/internal/catalogue"
	"modwsgi/internal/distro"
	"modwsgi/internal/fault"
	"modwsgi/internal/receipt"
	"modwsgi/internal/run"
)

var toolEnv = []string{"PATH=/usr/local/bin:/usr/bin:/bin"}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
}

// compiled caches the results of compiling the same source with the same flags.
var compiled = map[string][]byte{}

// compile makes a real ELF file.
func compile(t *testing.T, output, source string, flags ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short starts no compiler")
	}
	key := source + strings.Join(flags, " ")
	if compiled[key] == nil {
		if _, err := run.LookPath("cc", toolEnv); err != nil {
			t.Skip("no C compiler here")
		}
		in, out := filepath.Join(t.TempDir(), "in.c"), filepath.Join(t.TempDir(), "out")
		write(t, in, source)
		var r run.Runner
		if err := r.Run(t.Context(), run.Cmd{Argv: append([]string{"cc", in, "-o", out}, flags...), Env: toolEnv}); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		compiled[key] = data
	}
	write(t, output, string(compiled[key]))
}

// installation is a real environment with a module that was never built from mod_wsgi,
// but has its symbols, and a server that has httpd's.
type installation struct {
	env, site, httpd, module string
	receipt                  receipt.Receipt
}

func (i *installation) save(t *testing.T) {
	t.Helper()
	write(t, filepath.Join(i.site, filepath.FromSlash(receipt.Path)), string(i.receipt.Encode()))
}

func (i *installation) compileModule(t *testing.T, mmn string) {
	t.Helper()
	compile(t, i.module, "int wsgi_module[2] = {"+mmn+"};", "-shared", "-fPIC")
	sum, err := hash(i.module)
	if err != nil {
		t.Fatal(err)
	}
	i.receipt.Module.SHA256 = sum
}

func install(t *testing.T) *installation {
	t.Helper()
	if testing.Short() {
		t.Skip("-short starts no Python")
	}
	tmp := t.TempDir()
	for dir := tmp; len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	i := &installation{env: filepath.Join(tmp, "an env")}
	var r run.Runner
	if err := r.Run(t.Context(), run.Cmd{Argv: []string{"/usr/bin/python3", "-m", "venv", "--without-pip", i.env}, Env: toolEnv}); err != nil {
		t.Skipf("/usr/bin/python3 cannot create an environment: %v", err)
	}
	py, err := detect.FindPython(t.Context(), &r, detect.Request{Python: i.env, Dir: tmp})
	if err != nil {
		t.Fatal(err)
	}
	i.site, i.httpd = py.Platlib, filepath.Join(tmp, "httpd", "bin", "httpd")
	i.module = filepath.Join(i.site, "mod_wsgi", "server", "mod_wsgi.so")
	i.receipt = receipt.Receipt{
		Module: receipt.Module{File: "mod_wsgi.so", Version: "5.0.2"},
		Python: receipt.Python{Version: py.Version, SOABI: py.SOABI, LibPython: py.LibPython},
		HTTPD:  receipt.HTTPD{Provenance: "bundled", Version: "2.4.68", MMN: 20120211, Executable: i.httpd, ModulesDir: filepath.Join(tmp, "httpd", "modules"), MPMs: []string{"event"}},
	}
	compile(t, i.httpd, "int core_module[2] = {20120211, 142}; int main(void) { return core_module[0] == 0; }", "-rdynamic")
	write(t, filepath.Join(i.receipt.HTTPD.ModulesDir, "mod_mpm_event.so"), "")
	i.compileModule(t, "20120211, 100")
	i.save(t)
	return i
}

// request has no compiler on PATH, which is only a warning and saves time.
func (i *installation) request() Request {
	return Request{Python: i.env, Env: []string{"PATH=/nonexistent"}, Dir: i.env, Runner: &run.Runner{}}
}

func examined(t *testing.T, q Request) *Report {
	t.Helper()
	r, err := Examine(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// worst returns the worst finding of a check, nil if it found nothing.
func (r *Report) worst(check string) *Finding {
	var out *Finding
	for i := range r.Findings {
		if f := &r.Findings[i]; f.Check == check && (out == nil || order[f.Severity] > order[out.Severity]) {
			out = f
		}
	}
	return out
}

func expect(t *testing.T, r *Report, check string, severity Severity, summary, fix string) {
	t.Helper()
	f := r.worst(check)
	if f == nil {
		t.Errorf("%s found nothing", check)
		return
	}
	if f.Severity != severity || !strings.Contains(f.Summary, summary) || !strings.Contains(f.Cure, fix) {
		t.Errorf("%s: %+v, want %s, %q, fix %q", check, *f, severity, summary, fix)
	}
	if severity == Problem && f.Cure == "" {
		t.Errorf("%s has no fix", check)
	}
}

func TestHealthyInstallation(t *testing.T) {
	q := install(t).request()
	q.Env = toolEnv
	r := examined(t, q)
	for _, f := range r.Findings {
		if f.Severity == Problem || f.Severity == Warning && f.Check != "user" {
			t.Errorf("%+v", f)
		}
	}
	for _, check := range []string{"system", "python", "headers", "installed", "module", "libc", "mpm", "libraries", "compiler", "build", "temporary", "mount"} {
		if f := r.worst(check); f == nil || f.Severity != OK {
			t.Errorf("%s: %+v", check, f)
		}
	}
	if err := r.Err(false); err != nil {
		t.Error(err)
	}
	if data, err := json.Marshal(r); err != nil || !strings.Contains(string(data), `"findings":[{"check":"system","severity":"ok"`) {
		t.Errorf("%s, %v", data, err)
	}
}

// An old, expired or damaged catalogue of vulnerabilities is a warning.
func TestCatalogueOfVulnerabilities(t *testing.T) {
	date := time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		local    []catalogue.Local
		days     int
		severity Severity
		summary  string
	}{
		"current": {nil, 10, OK, "2026-11-29"},
		"old":     {nil, 40, Warning, "40 days old"},
		"updated": {[]catalogue.Local{{State: catalogue.Used, Checked: date.AddDate(0, 0, 35)}}, 40, OK, "2026-11-29"},
		"damaged": {[]catalogue.Local{{State: catalogue.Refused, Problem: "it is damaged", Hint: "remove it"}}, 10, Warning, "damaged"},
	} {
		e := &exam{Request: Request{Catalogue: &catalogue.Status{Date: date, Local: tt.local}, Now: date.AddDate(0, 0, tt.days)}, report: &Report{}, check: "catalogue"}
		e.catalogue(t.Context())
		if all := e.report.Findings; len(all) != 1 || all[0].Severity != tt.severity || !strings.Contains(all[0].Summary, tt.summary) || tt.severity == Warning && all[0].Cure == "" {
			t.Errorf("%s: %+v", name, all)
		}
	}
}

func TestStaleInstallations(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil               func(t *testing.T, i *installation)
		check, summary, fix string
	}{
		"other Python": {func(_ *testing.T, i *installation) {
			i.receipt.Python.Version, i.receipt.Python.SOABI = "3.4.1", "cpython-34m"
		}, "stale", "built for Python 3.4.1", "--fix"},
		"libpython gone": {func(_ *testing.T, i *installation) { i.receipt.Python.LibPython = "/nonexistent/libpython.so" }, "stale", "libpython", "--fix"},
		"static libpython": {func(t *testing.T, i *installation) {
			i.receipt.Python.LibPython = filepath.Join(i.env, "libpython.a")
			write(t, i.receipt.Python.LibPython, "")
			i.receipt.Python.Version = minor(i.receipt.Python.Version) + ".99"
		}, "stale", "contains the interpreter of Python 3", "--fix"},
		"httpd gone":     {func(_ *testing.T, i *installation) { i.receipt.HTTPD.Executable = "/nonexistent/httpd" }, "stale", "httpd that the module was built for no longer exists", "--fix"},
		"other MMN":      {func(t *testing.T, i *installation) { i.compileModule(t, "20211221, 0") }, "module", "compiled for MMN 20211221:0, but httpd has 20120211:142", "--fix"},
		"newer MMN":      {func(t *testing.T, i *installation) { i.compileModule(t, "20120211, 143") }, "module", "MMN 20120211:143", "--fix"},
		"module gone":    {func(_ *testing.T, i *installation) { _ = os.Remove(i.module) }, "module", "cannot read the module", "--fix"},
		"module changed": {func(t *testing.T, i *installation) { write(t, i.module, "x") }, "module", "not the file that was installed", "--fix"},
		"no MPM":         {func(_ *testing.T, i *installation) { _ = os.RemoveAll(i.receipt.HTTPD.ModulesDir) }, "mpm", "no multi-processing module", "--reinstall"},
		"musl": {func(t *testing.T, i *installation) {
			compile(t, i.httpd, "int core_module[2] = {20120211, 142}; int main(void) { return core_module[0] == 0; }", "-rdynamic", "-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1")
		}, "libc", "Python is made for glibc, but httpd for musl", "--httpd bundled"},
		"loader gone": {func(t *testing.T, i *installation) {
			compile(t, i.httpd, "int core_module[2] = {20120211, 142}; int main(void) { return core_module[0] == 0; }", "-rdynamic", "-Wl,--dynamic-linker=/nonexistent/ld-linux.so.9")
		}, "libc", "needs the loader /nonexistent", "--reinstall"},
	} {
		t.Run(name, func(t *testing.T) {
			i := install(t)
			tt.spoil(t, i)
			i.save(t)
			r := examined(t, i.request())
			expect(t, r, tt.check, Problem, tt.summary, tt.fix)
			if err := r.Err(false); fault.ClassOf(err) != fault.Environment || fault.HintOf(err) == "" {
				t.Errorf("%v", err)
			}
			if fixable := slices.Contains(r.Fixable(), tt.check); fixable != (tt.fix == "--fix") {
				t.Errorf("fixable: %v", r.Fixable())
			}
		})
	}
}

func TestBuiltOnANewerSystem(t *testing.T) {
	i := install(t)
	if library, have := glibcBeside(loader(i.httpd)); have == "" {
		t.Skip("this is not a system with glibc")
	} else if strings.Count(have, ".") != 1 {
		t.Fatalf("%s is of version %q", library, have)
	}
	script, stub := filepath.Join(t.TempDir(), "map"), filepath.Join(t.TempDir(), "libstub.so")
	write(t, script, "GLIBC_9.99 { global: newer; };")
	compile(t, stub, "int newer(void) { return 1; }", "-shared", "-fPIC", "-Wl,--version-script="+script)
	compile(t, i.httpd, "int newer(void); int core_module[2] = {20120211, 142}; int main(void) { return newer(); }", "-rdynamic", stub)
	expect(t, examined(t, i.request()), "libc", Problem, "httpd needs glibc 9.99, but this system has ", "--reinstall")
}

func TestReceiptIsDamaged(t *testing.T) {
	i := install(t)
	write(t, filepath.Join(i.site, filepath.FromSlash(receipt.Path)), "{")
	expect(t, examined(t, i.request()), "installed", Problem, "damaged", "--reinstall")
}

func TestOldVersionsHaveAdvisories(t *testing.T) {
	i := install(t)
	i.receipt.HTTPD.Version, i.receipt.HTTPD.Features = "2.4.60", []string{"tls", "http2"}
	i.save(t)
	r := examined(t, i.request())
	expect(t, r, "advisories", Warning, "httpd 2.4.60: CVE-", "--upgrade")
	if r.Err(false) != nil || r.Err(true) == nil {
		t.Error("warnings are errors only with strict")
	}
	// Distributions fix vulnerabilities without a new version number.
	i.receipt.HTTPD.Provenance = "system"
	i.save(t)
	expect(t, examined(t, i.request()), "advisories", Note, "2.4.60", "distribution")
	// The advisory is about a feature that this build does not have.
	i.receipt.HTTPD.Features = []string{"tls"}
	i.save(t)
	expect(t, examined(t, i.request()), "advisories", OK, "no known advisory", "")
}

func TestTwoVersionsOfALibrary(t *testing.T) {
	if found, _ := filepath.Glob("/usr/lib/python3*/lib-dynload/_ssl.*.so"); len(found) == 0 {
		t.Skip("the system's Python has no _ssl of its own")
	}
	i := install(t)
	stub := filepath.Join(t.TempDir(), "libssl.so")
	compile(t, stub, "int SSL_stub;", "-shared", "-fPIC", "-Wl,-soname,libssl.so.0.9.8")
	compile(t, filepath.Join(i.receipt.HTTPD.ModulesDir, "mod_ssl.so"), "extern int SSL_stub; int *x(void) { return &SSL_stub; }", "-shared", "-fPIC", stub)
	expect(t, examined(t, i.request()), "libraries", Warning, "httpd libssl.so.0.9.8, in one process", "libssl")
}

func TestWithoutCompiler(t *testing.T) {
	i := install(t)
	q := i.request()
	q.Env = []string{"PATH=" + t.TempDir()}
	expect(t, examined(t, q), "compiler", Warning, "no C compiler was found", "install")
	// Without a module nothing would work.
	if err := os.RemoveAll(filepath.Join(i.site, "mod_wsgi")); err != nil {
		t.Fatal(err)
	}
	expect(t, examined(t, q), "compiler", Problem, "no C compiler was found", "install")
}

// Before the first install, the environment's own httpd is not there yet.
func TestBundledHTTPDIsStillToBeBuilt(t *testing.T) {
	i := install(t)
	if err := os.RemoveAll(filepath.Join(i.site, "mod_wsgi")); err != nil {
		t.Fatal(err)
	}
	q := i.request()
	q.HTTPD = "bundled"
	r := examined(t, q)
	expect(t, r, "httpd", Note, "has no httpd of its own", "install --python")
	for _, f := range r.Findings {
		if f.Check == "httpd" && f.Severity != Note {
			t.Errorf("%+v", f)
		}
	}
}

// One command installs what several checks miss.
func TestEverythingMissingIsOneCommand(t *testing.T) {
	e := &exam{report: &Report{}}
	e.failed(Problem, distro.Needing(fault.New(fault.Environment, "one", "no headers"), distro.PythonHeaders.For("3.11")))
	e.finish()
	if e.report.Install != "" {
		t.Errorf("for one finding: %q", e.report.Install)
	}
	e.failed(Note, distro.Needing(fault.New(fault.Environment, "two", "no httpd"), distro.HTTPDHeaders))
	e.failed(Problem, distro.Needing(fault.New(fault.Environment, "three", "no compiler"), distro.Compiler))
	e.finish()
	want := distro.Together(distro.PythonHeaders.For("3.11"), distro.Compiler).Command(distro.Family())
	if e.report.Install != want {
		t.Errorf("%q, not %q", e.report.Install, want)
	}
	if err := e.report.Err(false); want != "" && fault.HintOf(err) != want {
		t.Errorf("%v, hint %q", err, fault.HintOf(err))
	}
}

// The flags of an Apache that exists are tried with the compiler.
func TestFlagsOfTheSystemsHTTPD(t *testing.T) {
	i := install(t)
	q := i.request()
	q.Env = toolEnv
	e := &exam{Request: q, host: thisHost(), report: &Report{}}
	e.check = "python"
	e.python(t.Context())
	include := filepath.Join(i.env, "apache")
	for _, name := range []string{"httpd.h", "http_config.h"} {
		write(t, filepath.Join(include, name), "")
	}
	e.httpd = &detect.HTTPD{Version: "2.4.1", Provenance: detect.System, IncludeDirs: []string{include}, CFlags: []string{"-fno-such-hardening"}}
	e.check = "compiler"
	if e.compiler(t.Context()); e.tools == nil {
		t.Skip("no C compiler here")
	}
	e.check = "build"
	e.build(t.Context())
	expect(t, e.report, "build", Warning, "for Python "+e.py.Version+" and httpd 2.4.1", "-fno-such-hardening")
	e.report.Findings, e.httpd.CFlags = nil, []string{"-O2"}
	e.build(t.Context())
	expect(t, e.report, "build", OK, "a module for Python "+e.py.Version+" and httpd 2.4.1 can be built here", "")
}

func TestNoPython(t *testing.T) {
	r := examined(t, Request{Python: "/nonexistent", Dir: "/", Runner: &run.Runner{}, Env: toolEnv})
	expect(t, r, "python", Problem, "/nonexistent", "--python")
	if r.Worst != Problem || r.Python != nil {
		t.Errorf("%+v", r)
	}
}

// tmpfs mounts a real file system, or skips the test.
func tmpfs(t *testing.T, flags uintptr, data string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", flags, data); err != nil {
		t.Skipf("nothing can be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

func TestTemporaryDirectory(t *testing.T) {
	i := install(t)
	look := func(dir string) *Report {
		q := i.request()
		q.Env = append(slices.Clone(q.Env), "TMPDIR="+dir)
		return examined(t, q)
	}
	expect(t, look("/nonexistent"), "temporary", Problem, "cannot use the temporary directory", "TMPDIR")
	t.Run("noexec", func(t *testing.T) {
		expect(t, look(tmpfs(t, syscall.MS_NOEXEC, "size=2g")), "temporary", Problem, "noexec", "remount")
	})
	t.Run("full", func(t *testing.T) {
		dir := tmpfs(t, 0, "size=128k")
		_ = os.WriteFile(filepath.Join(dir, "fill"), make([]byte, 120<<10), 0o600)
		expect(t, look(dir), "temporary", Problem, "cannot use the temporary directory", "gigabyte")
		if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
			t.Errorf("left there: %v, %v", left, err)
		}
	})
	t.Run("small", func(t *testing.T) {
		expect(t, look(tmpfs(t, 0, "size=8m")), "temporary", Problem, "is full", "free some space")
		expect(t, look(tmpfs(t, 0, "size=200m")), "temporary", Warning, "little space", "free some space")
	})
}

func TestEnvironmentOnNoexec(t *testing.T) {
	e := &exam{py: &detect.Python{Platlib: tmpfs(t, syscall.MS_NOEXEC, "size=1m")}, report: &Report{}, check: "mount"}
	e.mount(t.Context())
	expect(t, e.report, "mount", Problem, "noexec", "another file system")
}

func TestClosedDirectories(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be another account's directory")
	}
	i := install(t)
	q := i.request()
	q.User = "nobody"
	app := filepath.Join(i.env, "app", "deep", "hello.wsgi")
	write(t, app, "")
	q.App = app
	r := examined(t, q)
	expect(t, r, "reach", OK, "can reach", "")
	closed := filepath.Join(i.env, "app")
	for mode, want := range map[os.FileMode]string{0o700: closed, 0o750: closed, 0o711: "", 0o744: closed} {
		if err := os.Chmod(closed, mode); err != nil {
			t.Fatal(err)
		}
		r := examined(t, q)
		if f := r.worst("reach"); (f.Severity == Problem) != (want != "") || want != "" && !strings.Contains(f.Summary, want+" is closed") {
			t.Errorf("mode %o: %+v", mode, f)
		}
	}
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	expect(t, examined(t, q), "reach", Problem, "cannot reach the application", "chmod o+x '"+closed+"'")
	if err := errors.Join(os.Chmod(closed, 0o755), os.Chmod(app, 0o600)); err != nil {
		t.Fatal(err)
	}
	expect(t, examined(t, q), "reach", Problem, "hello.wsgi is closed", "chmod o+r")
	if err := os.Chmod(filepath.Dir(i.env), 0o700); err != nil {
		t.Fatal(err)
	}
	expect(t, examined(t, q), "reach", Problem, "cannot reach the python", "chmod o+x")
	q.App = "nothing.wsgi"
	found := false
	for _, f := range examined(t, q).Findings {
		found = found || strings.Contains(f.Summary, "nothing.wsgi does not exist")
	}
	if !found {
		t.Error("the application that is missing was not noticed")
	}
}

func TestInvalidApplications(t *testing.T) {
	i := install(t)
	q := i.request()
	loop := filepath.Join(i.env, "loop.wsgi")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	for _, account := range []string{"", "nobody"} {
		for app, want := range map[string]string{"nothing.wsgi": "does not exist", i.env: "is not a file", loop: "cannot inspect the application"} {
			q.User, q.App = account, app
			expect(t, examined(t, q), "reach", Problem, want, "")
		}
	}
}

func TestAccounts(t *testing.T) {
	i := install(t)
	q := i.request()
	q.User = "no-such-account"
	expect(t, examined(t, q), "user", Problem, "does not exist", "useradd")
	q.User = "root"
	expect(t, examined(t, q), "user", Problem, "as root", "account")
	if q.User = ""; os.Geteuid() == 0 {
		expect(t, examined(t, q), "user", Warning, "no account", "--user")
	}
}

func TestBusyPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	i := install(t)
	q := i.request()
	q.Host, q.Port = "127.0.0.1", l.Addr().(*net.TCPAddr).Port
	r := examined(t, q)
	expect(t, r, "port", Problem, fmt.Sprintf("port %d is in use by ", q.Port), "--port")
	expect(t, r, "port", Problem, fmt.Sprintf("(process %d)", os.Getpid()), "")
	if err := r.Err(false); fault.ClassOf(err) != fault.Busy {
		t.Errorf("%v", err)
	}
	_ = l.Close()
	r = examined(t, q)
	expect(t, r, "port", OK, "is free", "")
	q.Host = "192.0.2.1" // RFC 5737: belongs to nobody
	r = examined(t, q)
	expect(t, r, "port", Problem, "cannot listen on", "address")
	if err := r.Err(false); fault.ClassOf(err) != fault.Environment {
		t.Errorf("nothing holds the port: %v", err)
	}
}

func TestSELinux(t *testing.T) {
	i := install(t)
	file := filepath.Join(t.TempDir(), "enforce")
	for content, want := range map[string]bool{"1": true, "0": false, "": false} {
		write(t, file, content)
		r, err := examine(t.Context(), i.request(), host{selinux: file, proc: "/proc"})
		if err != nil {
			t.Fatal(err)
		}
		if f := r.worst("selinux"); (f != nil) != want || want && !strings.Contains(f.Cure, i.env) {
			t.Errorf("%q: %+v", content, f)
		}
	}
}

func TestFix(t *testing.T) {
	i := install(t)
	q := i.request()
	healthy := examined(t, q)
	never := func(context.Context, *Report) error { t.Error("rebuilt without a need"); return nil }
	if r, err := Fix(t.Context(), healthy, q, never); err != nil || r != healthy {
		t.Errorf("%+v, %v", r, err)
	}
	write(t, i.module, "x")
	broken := examined(t, q)
	r, err := Fix(t.Context(), broken, q, func(context.Context, *Report) error {
		i.compileModule(t, "20120211, 100")
		i.save(t)
		return nil
	})
	if err != nil || r.Worst == Problem {
		t.Errorf("%+v, %v", r, err)
	}
	write(t, i.module, "x")
	if r, err = Fix(t.Context(), broken, q, func(context.Context, *Report) error { return nil }); fault.ClassOf(err) != fault.Verify || r == nil {
		t.Errorf("a rebuild that fixes nothing: %v", err)
	}
	wrong := errors.New("no sources")
	if r, err = Fix(t.Context(), broken, q, func(context.Context, *Report) error { return wrong }); !errors.Is(err, wrong) || r != broken {
		t.Errorf("a rebuild that fails: %v", err)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := Examine(ctx, install(t).request()); !errors.Is(err, context.Canceled) || r != nil {
		t.Errorf("%+v, %v", r, err)
	}
}

// What a build of httpd lacks is an error before the first install, and a warning beside
// an installed module.
func TestBuildLacksSomething(t *testing.T) {
	i := install(t)
	real, err := run.LookPath("cc", toolEnv)
	if err != nil {
		t.Skip("no C compiler here")
	}
	cc := filepath.Join(t.TempDir(), "cc")
	q := i.request()
	q.Env = append(slices.Clone(toolEnv), "CC="+cc)
	without := func(word string) {
		write(t, cc, "#!/bin/sh\nfor word; do [ \"$word\" != "+word+" ] || exit 1; done\nexec "+run.Quote(real)+" \"$@\"\n")
	}
	// A library with a source archive is built.
	without("-lcrypt")
	expect(t, examined(t, q), "build", Note, "the library crypt would be built from source", "libcrypt")
	without("-lssl")
	expect(t, examined(t, q), "build", Note, "takes several times as long as httpd", "libssl-dev")
	without("-lm") // glibc 2.34 has the other libraries in libc.so
	expect(t, examined(t, q), "build", Warning, "does not find the library of mathematics (-lm)", "libc6-dev")
	if err := os.RemoveAll(filepath.Join(i.site, "mod_wsgi")); err != nil {
		t.Fatal(err)
	}
	r := examined(t, q)
	if r.HTTPD != nil {
		t.Skipf("this machine has an httpd: %s", r.HTTPD.Executable)
	}
	expect(t, r, "build", Problem, "does not find the library of mathematics (-lm)", "libc6-dev")
}
