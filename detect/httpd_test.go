//go:build unix

package detect

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"modwsgi/internal/elf"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// someProgram is a small program for this machine's CPU.
const someProgram = "/bin/true"

// someHTTPD is a program with the symbols of an httpd.
func someHTTPD(t *testing.T) string {
	t.Helper()
	program, err := compiledHTTPD()
	if err != nil {
		t.Skip("no C compiler here")
	}
	return program
}

var compiledHTTPD = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "modwsgi-detect-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	source, program := filepath.Join(dir, "httpd.c"), filepath.Join(dir, "httpd")
	if err := os.WriteFile(source, []byte(`const char server[] = "Apache/2.4.68"; int main(void) { return !server[0]; }`), 0o644); err != nil {
		return "", err
	}
	if err := exec.Command("cc", "-o", program, source).Run(); err != nil {
		return "", err
	}
	data, err := os.ReadFile(program)
	return string(data), err
})

// tree writes the files of an httpd built for /old/prefix that detection reads:
// headers, configuration, modules, and a program for this CPU.
func tree(t *testing.T, root string) {
	t.Helper()
	for name, content := range map[string]string{
		"bin/httpd":                   someHTTPD(t),
		"bin/rotatelogs":              "\x7fELF",
		"include/httpd.h":             "",
		"include/ap_release.h":        "#define AP_SERVER_MAJORVERSION_NUMBER 2\n#define AP_SERVER_MINORVERSION_NUMBER 4\n#define AP_SERVER_PATCHLEVEL_NUMBER   68\n",
		"include/ap_mmn.h":            "/* MODULE_MAGIC_NUMBER_MAJOR 1 */\n#define MODULE_MAGIC_NUMBER_COOKIE 0x1UL\n#ifndef MODULE_MAGIC_NUMBER_MAJOR\n#define MODULE_MAGIC_NUMBER_MAJOR 20120211\n#endif\n#define MODULE_MAGIC_NUMBER_MINOR 142\n",
		"include/apr-1/apr.h":         "",
		"include/apr-1/apr_version.h": "#define APR_MAJOR_VERSION       1\n#define APR_MINOR_VERSION       7\n#define APR_PATCH_VERSION       6\n",
		"include/apr-1/apu.h":         "",
		"include/apr-1/apu_version.h": "#define APU_MAJOR_VERSION       1\n#define APU_MINOR_VERSION       6\n#define APU_PATCH_VERSION       4\n",
		"modules/mod_mpm_event.so":    "",
		"modules/mod_mpm_prefork.so":  "",
		"build/config_vars.mk": "prefix = /old/prefix\nexec_prefix = ${prefix}\nsbindir = ${exec_prefix}/bin\nprogname = httpd\nlibexecdir = ${exec_prefix}/modules\n" +
			"includedir = ${prefix}/include\nEXTRA_CPPFLAGS = -DLINUX -D_GNU_SOURCE\nCPPFLAGS = -DX='a b'\nEXTRA_CFLAGS = -g -O2\nEXTRA_INCLUDES = -I$(includedir) -I. -I/old/prefix/include/apr-1\n",
	} {
		mode := os.FileMode(0o644)
		if strings.HasPrefix(name, "bin/") {
			mode = 0o755
		}
		write(t, filepath.Join(root, filepath.FromSlash(name)), content, mode)
	}
}

// fakePython is an environment as FindPython would describe it.
func fakePython(t *testing.T) *Python {
	t.Helper()
	prefix := filepath.Join(t.TempDir(), "it's an env")
	site := filepath.Join(prefix, "lib", "python3.11", "site-packages")
	write(t, filepath.Join(prefix, "pyvenv.cfg"), "home = /usr/bin\n", 0o644)
	write(t, filepath.Join(prefix, "bin", "python3"), "\x7fELF", 0o755)
	if err := os.MkdirAll(site, 0o755); err != nil {
		t.Fatal(err)
	}
	facts, err := elf.Read(someProgram)
	if err != nil {
		t.Skip("programs are no ELF files here")
	}
	return &Python{Prefix: prefix, BasePrefix: "/usr", Major: 3, Minor: 11, Purelib: site, Platlib: site, Machine: facts.Machine}
}

// noSystem hides the host's own httpd.
func noSystem(t *testing.T) {
	t.Helper()
	old := systemDirs
	systemDirs = nil
	t.Cleanup(func() { systemDirs = old })
}

func httpds(t *testing.T, py *Python, req Request) []HTTPD {
	t.Helper()
	if req.Dir == "" {
		req.Dir = t.TempDir()
	}
	found, err := FindHTTPDs(t.Context(), &run.Runner{}, py, req)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestBundledHTTPD(t *testing.T) {
	noSystem(t)
	py := fakePython(t)
	root := filepath.Join(py.Platlib, filepath.FromSlash(PackageDir))
	tree(t, root)
	write(t, filepath.Join(py.Prefix, "bin", "mod_wsgi-apxs"), "#!/bin/sh\nexit 1\n", 0o755)
	for name, req := range map[string]Request{
		"auto":       {},
		"bundled":    {HTTPD: "bundled"},
		"directory":  {HTTPD: root},
		"program":    {HTTPD: filepath.Join(root, "bin", "httpd")},
		"own prefix": {HTTPD: py.Prefix},
		"bin":        {HTTPD: filepath.Join(root, "bin")},
		"own apxs":   {HTTPD: filepath.Join(py.Prefix, "bin", "mod_wsgi-apxs")},
		"on PATH":    {Env: []string{"PATH=" + filepath.Join(py.Prefix, "bin")}},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := Choose(httpds(t, py, req), req)
			if err != nil {
				t.Fatal(err)
			}
			include := filepath.Join(root, "include")
			if h.Version != "2.4.68" || h.MMN != 20120211 || h.MMNMinor != 142 || h.APRVersion != "1.7.6" || h.APUVersion != "1.6.4" {
				t.Errorf("versions: %+v", h)
			}
			if h.Executable != filepath.Join(root, "bin", "httpd") || h.ModulesDir != filepath.Join(root, "modules") || h.Rotatelogs != filepath.Join(root, "bin", "rotatelogs") {
				t.Errorf("paths: %+v", h)
			}
			if !slices.Equal(h.MPMs, []string{"event", "prefork"}) || !slices.Equal(h.IncludeDirs, []string{include, filepath.Join(include, "apr-1")}) {
				t.Errorf("MPMs %q, include %q", h.MPMs, h.IncludeDirs)
			}
			if !slices.Equal(h.CPPFlags, []string{"-DX=a b", "-DLINUX", "-D_GNU_SOURCE"}) || !slices.Equal(h.CFlags, []string{"-g", "-O2"}) {
				t.Errorf("flags %q %q", h.CPPFlags, h.CFlags)
			}
		})
	}
}

func TestRefusedHTTPDs(t *testing.T) {
	noSystem(t)
	for name, tt := range map[string]struct {
		spoil func(root string, py *Python)
		want  string
	}{
		"no program":      {func(root string, _ *Python) { os.Remove(root + "/bin/httpd") }, "is missing"},
		"program is text": {func(root string, _ *Python) { os.WriteFile(root+"/bin/httpd", []byte("#!/bin/sh\n"), 0o755) }, "not a binary program"},
		"cut short":       {func(root string, _ *Python) { os.Truncate(root+"/bin/httpd", 5000) }, "is damaged"},
		"not executable":  {func(root string, _ *Python) { os.Chmod(root+"/bin/httpd", 0o644) }, "is not executable"},
		"another CPU":     {func(_ string, py *Python) { py.Machine = "s390x" }, "the Python is for s390x"},
		"no headers":      {func(root string, _ *Python) { os.RemoveAll(root + "/include") }, "its headers are missing"},
		"no httpd.h":      {func(root string, _ *Python) { os.Remove(root + "/include/httpd.h") }, "its headers are missing"},
		"strange headers": {func(root string, _ *Python) { os.WriteFile(root+"/include/ap_mmn.h", nil, 0o644) }, "do not contain their version"},
		"httpd 2.2": {func(root string, _ *Python) {
			os.WriteFile(root+"/include/ap_mmn.h", []byte("#define MODULE_MAGIC_NUMBER_MAJOR 20051115\n"), 0o644)
		}, "2.4 or newer is required"},
		"no apr headers": {func(root string, _ *Python) { os.Remove(root + "/include/apr-1/apr.h") }, "headers of apr are missing"},
		"no apu headers": {func(root string, _ *Python) { os.Remove(root + "/include/apr-1/apu.h") }, "headers of apr-util are missing"},
		"no modules":     {func(root string, _ *Python) { os.RemoveAll(root + "/modules") }, "modules directory"},
		"no MPM": {func(root string, _ *Python) {
			os.Remove(root + "/modules/mod_mpm_event.so")
			os.Remove(root + "/modules/mod_mpm_prefork.so")
		}, "no multi-processing module"},
		"binary variables": {func(root string, _ *Python) { os.WriteFile(root+"/build/config_vars.mk", []byte("a = b\x00"), 0o644) }, "not a text file"},
		"no variables":     {func(root string, _ *Python) { os.WriteFile(root+"/build/config_vars.mk", nil, 0o644) }, "it has no variables"},
	} {
		t.Run(name, func(t *testing.T) {
			py := fakePython(t)
			root := filepath.Join(py.Platlib, filepath.FromSlash(PackageDir))
			tree(t, root)
			tt.spoil(root, py)
			found := httpds(t, py, Request{})
			if len(found) != 1 || !strings.Contains(found[0].Refused, tt.want) {
				t.Fatalf("got %+v, want refused: %s", found, tt.want)
			}
			if h, err := Choose(found, Request{}); h != nil || !errors.Is(err, ErrNoHTTPD) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("chose %+v, %v", h, err)
			}
			_, err := Choose(httpds(t, py, Request{HTTPD: root}), Request{HTTPD: root})
			if err == nil || errors.Is(err, ErrNoHTTPD) || fault.HintOf(err) == "" || fault.ClassOf(err) != fault.Environment {
				t.Errorf("named explicitly: %v, hint %q", err, fault.HintOf(err))
			}
		})
	}
}

func TestHTTPDOfAnotherEnvironmentIsRefused(t *testing.T) {
	noSystem(t)
	py, other := fakePython(t), fakePython(t)
	root := filepath.Join(other.Platlib, filepath.FromSlash(PackageDir))
	tree(t, root)
	mark := filepath.Join(t.TempDir(), "mark")
	bin := filepath.Join(other.Prefix, "bin")
	for _, name := range []string{"mod_wsgi-apxs", "apxs"} {
		write(t, filepath.Join(bin, name), "#!/bin/sh\ntouch '"+mark+"'\n", 0o755)
	}
	linked := symlink(t, other.Prefix, filepath.Join(t.TempDir(), "linked"))
	for name, req := range map[string]Request{
		"activated": {Env: []string{"PATH=" + bin + ":/nonexistent", "VIRTUAL_ENV=" + other.Prefix}},
		"APXS":      {Env: []string{"APXS=" + bin + "/mod_wsgi-apxs"}},
		"tree":      {HTTPD: root},
		"HTTPD":     {Env: []string{"HTTPD=" + root + "/bin/httpd"}},
		"linked":    {HTTPD: linked},
		"rootdir":   {Env: []string{"MOD_WSGI_APACHE_ROOTDIR=" + root}},
	} {
		found := httpds(t, py, req)
		if len(found) == 0 {
			t.Errorf("%s: not listed", name)
		}
		for _, h := range found {
			if !strings.Contains(h.Refused, "another Python environment") {
				t.Errorf("%s: %+v", name, h)
			}
		}
	}
	if ThisDisk().exists(mark) {
		t.Error("a script of an environment was run")
	}
	// An environment with its own httpd uses that one, whatever is activated.
	own := filepath.Join(py.Platlib, filepath.FromSlash(PackageDir))
	tree(t, own)
	req := Request{Env: []string{"PATH=" + bin, "VIRTUAL_ENV=" + other.Prefix}}
	if h, err := Choose(httpds(t, py, req), req); err != nil || h.Root != own || h.Provenance != Bundled {
		t.Errorf("chose %+v, %v", h, err)
	}
}

// apxsScript is an apxs that answers by name from a tree.
func apxsScript(root string) string {
	return "#!/bin/sh\ntest \"$1\" = -q || exit 9\ncase $2 in\nINCLUDEDIR) echo '" + root + "/include';;\nLIBEXECDIR) echo '" + root + "/modules';;\n" +
		"SBINDIR) echo '" + root + "/bin';;\nPROGNAME) echo httpd;;\nEXTRA_CPPFLAGS) echo '-DLINUX';;\nAPR_INCLUDEDIR) echo '" + root + "/include/apr-1';;\n" +
		"PREFIX) echo '" + root + "';;\n*) echo \"apxs:Error: Invalid query string \\`$2'.\" >&2; exit 1;;\nesac\n"
}

func TestSystemHTTPD(t *testing.T) {
	noSystem(t)
	py := fakePython(t)
	root := filepath.Join(t.TempDir(), "host")
	tree(t, root)
	bin := filepath.Join(t.TempDir(), "bin")
	write(t, filepath.Join(bin, "apxs"), apxsScript(root), 0o755)
	env := []string{"PATH=" + bin + ":/usr/bin:/bin"}
	for name, req := range map[string]Request{
		"auto":         {Env: env},
		"system":       {Env: env, HTTPD: "system"},
		"path":         {Env: env, HTTPD: bin + "/apxs"},
		"APXS by name": {Env: append(slices.Clone(env), "APXS=apxs")},
		"HTTPD":        {Env: append(slices.Clone(env), "HTTPD="+root+"/bin/httpd")},
		"ROOTDIR":      {Env: append(slices.Clone(env), "MOD_WSGI_APACHE_ROOTDIR="+root)},
	} {
		h, err := Choose(httpds(t, py, req), req)
		if err != nil || h.Version != "2.4.68" || h.ModulesDir != root+"/modules" || !slices.Contains(h.CPPFlags, "-DLINUX") || h.Provenance == Bundled {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
	req := Request{Env: env, HTTPD: "bundled"}
	if h, err := Choose(httpds(t, py, req), req); !errors.Is(err, ErrNoHTTPD) {
		t.Errorf("bundled: %+v, %v", h, err)
	}
	// The environment's own one takes precedence, unless the system's is requested.
	tree(t, filepath.Join(py.Platlib, filepath.FromSlash(PackageDir)))
	for want, prov := range map[string]Provenance{"": Bundled, "system": System} {
		req := Request{Env: env, HTTPD: want}
		if h, err := Choose(httpds(t, py, req), req); err != nil || h.Provenance != prov {
			t.Errorf("%q: %+v, %v", want, h, err)
		}
	}
}

func TestUntrustedAPXS(t *testing.T) {
	noSystem(t)
	defer func(d time.Duration) { apxsTimeout = d }(apxsTimeout)
	py := fakePython(t)
	root := filepath.Join(t.TempDir(), "host")
	tree(t, root)
	for name, tt := range map[string]struct{ script, want string }{
		"fails":                 {"#!/bin/sh\necho 'apr-1-config not found!' >&2\nexit 1\n", "apr-1-config not found!"},
		"silent":                {"#!/bin/sh\nexit 0\n", "printed nothing"},
		"no interpreter":        {"#!/nonexistent/perl\n", "does not work"},
		"lies":                  {strings.ReplaceAll(apxsScript(root), root, "/nonexistent"), "is missing"},
		"names another program": {strings.NewReplacer(root+"/bin", "/bin", "echo httpd", "echo true").Replace(apxsScript(root)), "is not an httpd"},
		"hangs":                 {"#!/bin/sh\nexec sleep 60\n", "does not work"},
		"answers after failing": {"#!/bin/sh\necho /usr/include\nexit 1\n", "does not work"},
	} {
		apxsTimeout = 30 * time.Second
		if name == "hangs" {
			apxsTimeout = 300 * time.Millisecond
		}
		path := filepath.Join(t.TempDir(), "apxs")
		write(t, path, tt.script, 0o755)
		req := Request{HTTPD: path, Env: []string{"PATH=/usr/bin:/bin"}}
		h, err := Choose(httpds(t, py, req), req)
		if err == nil || h != nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
}

func TestSilentAPXSIsAskedOnce(t *testing.T) {
	noSystem(t)
	defer func(d time.Duration) { apxsTimeout = d }(apxsTimeout)
	apxsTimeout = 300 * time.Millisecond
	dir := t.TempDir()
	path, calls := filepath.Join(dir, "apxs"), filepath.Join(dir, "calls")
	write(t, path, "#!/bin/sh\necho \"$*\" >>'"+calls+"'\nexec sleep 60\n", 0o755)
	req := Request{HTTPD: path, Env: []string{"PATH=/usr/bin:/bin"}}
	found := httpds(t, fakePython(t), req)
	if len(found) == 0 || !strings.Contains(found[0].Refused, "did not answer in time") {
		t.Errorf("%+v", found)
	}
	if data, err := os.ReadFile(calls); strings.Count(string(data), "\n") > 1 {
		t.Errorf("asked again: %q, %v", data, err)
	}
}

// TestWithinUsesItsOwnDisk: a path on another machine's disk must not be followed
// on this one.
func TestWithinUsesItsOwnDisk(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "real", "apxs"), "", 0o755)
	symlink(t, filepath.Join(dir, "real"), filepath.Join(dir, "link"))
	path, above := filepath.Join(dir, "link", "apxs"), filepath.Join(dir, "real")
	if !ThisDisk().within(path, above) {
		t.Error("this disk: a link was not followed")
	}
	if (files{path: ""}).disk("linux").within(path, above) {
		t.Error("another disk: this machine's link was followed")
	}
	if !(files{"/opt/real/apxs": "", "/opt/link": "-> real"}).disk("linux").within("/opt/link/apxs", "/opt/real") {
		t.Error("another disk: its own link was not followed")
	}
}

func TestNothingAndWrongNames(t *testing.T) {
	noSystem(t)
	py := fakePython(t)
	if _, err := Choose(httpds(t, py, Request{}), Request{}); !errors.Is(err, ErrNoHTTPD) || !strings.Contains(fault.HintOf(err), "--httpd bundled") {
		t.Errorf("nothing there: %v", err)
	}
	text := filepath.Join(t.TempDir(), "text")
	write(t, text, "", 0o644)
	for _, req := range []Request{
		{HTTPD: "/nonexistent"}, {HTTPD: text}, {HTTPD: someProgram}, {HTTPD: t.TempDir()}, {Env: []string{"APXS=no-such-apxs"}}, {Env: []string{"HTTPD=/nonexistent"}},
	} {
		if _, err := Choose(httpds(t, py, req), req); err == nil || errors.Is(err, ErrNoHTTPD) || !strings.Contains(err.Error(), "that you named") {
			t.Errorf("%+v: %v", req, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := FindHTTPDs(ctx, &run.Runner{}, py, Request{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestABIMismatchIsRefused(t *testing.T) {
	f := &finder{disk: ThisDisk(), py: &Python{Machine: "x86_64"}}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "httpd"), "\x7fELF", 0o755)
	h := HTTPD{
		Executable: filepath.Join(dir, "httpd"), Machine: "x86_64", ModulesDir: dir, IncludeDirs: []string{dir}, MPMs: []string{"event"},
		Version: "2.4.68", MMN: 20120211, MMNMinor: 142, APRVersion: "1.7.6", APUVersion: "1.6.4", dated: true,
	}
	for mmn, want := range map[[2]int]string{{}: "", {20120211, 142}: "", {20120211, 150}: "", {20120211, 3}: "newer than its program", {20211221, 142}: "a different ABI"} {
		h.program.mmn, h.program.mmnMinor = mmn[0], mmn[1]
		if why := f.judge(&h); !strings.Contains(why, want) || (want == "") != (why == "") {
			t.Errorf("program %v: %q, want %q", mmn, why, want)
		}
	}
}

func TestDescribeStagedTree(t *testing.T) {
	py := fakePython(t)
	root := filepath.Join(t.TempDir(), "stage", "lib", "python3.11", "site-packages", filepath.FromSlash(PackageDir))
	tree(t, root)
	h, err := DescribeTree(t.Context(), &run.Runner{}, py, root)
	if err != nil || h.Refused != "" || h.Provenance != Bundled || h.Executable != filepath.Join(root, "bin", "httpd") {
		t.Errorf("%+v, %v", h, err)
	}
	py.Machine = "s390x"
	if h, err = DescribeTree(t.Context(), &run.Runner{}, py, root); err != nil || !strings.Contains(h.Refused, "s390x") {
		t.Errorf("%+v, %v", h, err)
	}
}
