package sysroot

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/elf/elftest"
	"modwsgi/internal/fault"
	"modwsgi/internal/target"
	"modwsgi/internal/testkit"
)

// lay writes the files of a sysroot. The contents of a link begin with "-> ".
func lay(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if to, ok := strings.CutPrefix(data, "-> "); ok {
			err = os.Symlink(to, at)
		} else {
			err = os.WriteFile(at, []byte(data), 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// usable are the files of a sysroot whose links stay in it.
func usable(t *testing.T) (target.Target, map[string]string) {
	host, files := contents(t)
	files["usr/lib/"+host.Multiarch()+"/libm.so"] = "-> ../../../lib/" + host.Multiarch() + "/libm.so.6"
	files[strings.TrimPrefix(host.Loader(), "/")] = "loader"
	return host, files
}

func TestGivenSysroot(t *testing.T) {
	host, files := usable(t)
	dir := lay(t, files)
	s, err := Make(t.Context(), Request{Target: host, Dir: dir}, means(t, "", true))
	if err != nil {
		t.Fatal(err)
	}
	if s.Dir != dir || s.Libc != host.LibcVersion || s.Lock != nil || s.Stubs != "" || s.libDir() != filepath.Join(dir, "usr/lib", host.Multiarch()) {
		t.Errorf("%+v", s)
	}
	if err := os.WriteFile(filepath.Join(dir, "usr/include/stdio.h"), []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	again, err := Make(t.Context(), Request{Target: host, Dir: dir}, means(t, "", true))
	if err != nil || again.Digest == s.Digest {
		t.Errorf("another header, and the digest is the same: %v", err)
	}
	newer := host
	newer.LibcVersion = "2.99"
	if _, err := Make(t.Context(), Request{Target: newer, Dir: dir}, means(t, "", true)); err != nil {
		t.Errorf("older than asked for: %v", err)
	}
}

// Everything that does not fit is named, before anything is compiled.
func TestGivenSysrootsThatDoNotFit(t *testing.T) {
	host, _ := hostLibc(t)
	m := host.Multiarch()
	older, musl := host, host
	older.LibcVersion, musl.Libc, musl.LibcVersion = "2.17", target.Musl, "1.2"
	other := target.Target{OS: "linux", Arch: "arm64", Libc: "glibc", LibcVersion: host.LibcVersion}
	machine := elf.EM_AARCH64
	if host.Arch == "arm64" {
		other.Arch, machine = "amd64", elf.EM_X86_64
	}
	for name, c := range map[string]struct {
		target target.Target
		change func(files map[string]string)
		want   []string
	}{
		"another processor": {other, func(map[string]string) {}, []string{"is for", other.Arch}},
		"another processor in the same place": {host, func(f map[string]string) {
			f["lib/"+m+"/libc.so.6"] = string(elftest.File{Machine: machine, Soname: "libc.so.6"}.Bytes())
		}, []string{"is for", host.Arch, "libc.so.6"}},
		"a newer libc": {older, func(map[string]string) {}, []string{"glibc " + host.LibcVersion, "newer than", "2.17"}},
		"another libc": {musl, func(map[string]string) {}, []string{"has glibc, not musl"}},
		"no libc": {host, func(f map[string]string) {
			maps.DeleteFunc(f, func(n, _ string) bool { return strings.HasSuffix(n, "libc.so.6") })
		}, []string{"has no libc.so.6"}},
		"a damaged libc": {host, func(f map[string]string) { f["lib/"+m+"/libc.so.6"] = "no ELF file" }, []string{"damaged", "libc.so.6"}},
		"missing files": {host, func(f map[string]string) {
			for _, n := range []string{"usr/include/stdio.h", "usr/include/linux/limits.h", "usr/lib/" + m + "/crti.o", "usr/lib/" + m + "/libcrypt.so"} {
				delete(f, n)
			}
		}, []string{"the header stdio.h", "the header linux/limits.h", "the library crti.o", "the library libcrypt.so"}},
		"a link to this machine": {host, func(f map[string]string) { f["usr/lib/"+m+"/libm.so"] = "-> /lib/" + m + "/libm.so.6" }, []string{"the library libm.so", "not in the sysroot"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, files := usable(t)
			c.change(files)
			meansHere := means(t, "", true)
			_, err := Make(t.Context(), Request{Target: c.target, Dir: lay(t, files)}, meansHere)
			testkit.WantFault(t, err, fault.Usage, c.want...)
			if fault.HintOf(err) == "" {
				t.Error("no hint")
			}
			if left, _ := os.ReadDir(meansHere.Work); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// Nothing that another user could change becomes part of a build.
func TestGivenFilesOfOthers(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs permissions of Linux")
	}
	host, files := usable(t)
	dir := lay(t, files)
	if err := os.Chmod(filepath.Join(dir, "usr/include/stdio.h"), 0o666); err != nil {
		t.Fatal(err)
	}
	_, err := Make(t.Context(), Request{Target: host, Dir: dir}, means(t, "", true))
	testkit.WantFault(t, err, fault.Environment, "stdio.h", "not trusted")

	python := lay(t, sdk(host, "3.12", elf.EM_X86_64))
	if err := os.Chmod(filepath.Join(python, "include/python3.12"), 0o777); err != nil {
		t.Fatal(err)
	}
	_, err = (&Sysroot{}).hashSDKs(Request{Pythons: []string{"3.12"}, SDKs: map[string]string{"3.12": python}})
	testkit.WantFault(t, err, fault.Environment, "include/python3.12", "not trusted")

	// A whole system has directories in which others may write, but no Python.
	system := map[string]string{"tmp/Python.h": "", "var/lib/x/libpython3.12.so": "", "usr/share/x.h": ""}
	for name, data := range sdk(host, "3.12", elf.EM_X86_64) {
		system["usr/"+name] = data
	}
	dir = lay(t, system)
	for _, shared := range []string{"tmp", "var/lib/x"} {
		if err := os.Chmod(filepath.Join(dir, shared), 0o777|fs.ModeSticky); err != nil {
			t.Fatal(err)
		}
	}
	request := Request{Pythons: []string{"3.12"}, SDKs: map[string]string{"3.12": dir}}
	first, err := (&Sysroot{}).hashSDKs(request)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tmp/Python.h"), []byte("other"), 0o644); err != nil {
		t.Fatal(err)
	}
	if again, err := (&Sysroot{}).hashSDKs(request); err != nil || again[0] != first[0] {
		t.Errorf("a file beside Python changed the hash: %v, %v", again, err)
	}
	if err := os.Chmod(filepath.Join(dir, "usr/bin"), 0o777); err != nil {
		t.Fatal(err)
	}
	_, err = (&Sysroot{}).hashSDKs(request)
	testkit.WantFault(t, err, fault.Environment, "usr/bin", "not trusted")
}

// An archive with an SDK is unpacked only with the hash that the lock has.
func TestSDKArchive(t *testing.T) {
	g := target.Target{OS: "linux", Arch: "arm64", Libc: "glibc", LibcVersion: "2.28"}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	files := sdk(g, "3.12", elf.EM_AARCH64)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.WriteHeader(&tar.Header{Name: "python/" + name, Mode: 0o755, Size: int64(len(files[name]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(files[name])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "cpython.tar")
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	s := &Sysroot{}
	sdks, err := s.hashSDKs(Request{Pythons: []string{"3.12"}, SDKs: map[string]string{"3.12": file}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := fromSDK(t.Context(), g, sdks[0], file, t.TempDir())
	if err != nil || p.Facts.SOABI != "cpython-312-aarch64-linux-gnu" || !strings.HasSuffix(p.IncludeDirs[0], "/python/include/python3.12") {
		t.Errorf("%+v, %v", p, err)
	}
	sdks[0].SHA256 = strings.Repeat("0", 64)
	top := t.TempDir()
	_, err = fromSDK(t.Context(), g, sdks[0], file, top)
	testkit.WantFault(t, err, fault.Source, "SDK of Python 3.12")
	if left, _ := os.ReadDir(top); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// sdk are the files of a Python, with an interpreter that is data only.
func sdk(g target.Target, version string, machine elf.Machine) map[string]string {
	abi := "cpython-" + strings.ReplaceAll(version, ".", "") + "-" + g.SOABISuffix()
	major, minor, _ := strings.Cut(version, ".")
	minor = strings.TrimSuffix(minor, "t")
	flags := ""
	if strings.HasSuffix(version, "t") {
		flags = "t"
	}
	text := "Python " + version + ".2"
	library := elftest.File{Machine: machine, Soname: "libpython" + version + ".so.1.0", Text: version + ".2\x00" + text, Exports: map[string][]byte{"Py_Version": elftest.Words(0x03000000), "Py_GetVersion": {1}, "PyExc_SystemError": {1}}}
	return map[string]string{
		"bin/python" + version:                                             string(elftest.File{Machine: machine, Needed: []string{library.Soname}}.Bytes()),
		"include/python" + version + "/Python.h":                           "",
		"include/python" + version + "/pyconfig.h":                         "",
		"include/python" + version + "/patchlevel.h":                       "#define PY_MAJOR_VERSION " + major + "\n#define PY_MINOR_VERSION " + minor + "\n#define PY_VERSION \"" + major + "." + minor + ".2\"\n",
		"lib/python" + version + "/os.py":                                  "",
		"lib/python" + version + "/_sysconfigdata_" + flags + "_linux_.py": "build_time_vars = {'SOABI': '" + abi + "', 'EXT_SUFFIX': '." + abi + ".so', 'ABIFLAGS': '" + flags + "'}\n",
	}
}

func TestSDKs(t *testing.T) {
	g := target.Target{OS: "linux", Arch: "arm64", Libc: "glibc", LibcVersion: "2.28"}
	for name, c := range map[string]struct {
		sdk, version string
		machine      elf.Machine
		drop         string
		want         string
	}{
		"good":              {"3.12", "3.12", elf.EM_AARCH64, "", ""},
		"free-threaded":     {"3.13t", "3.13t", elf.EM_AARCH64, "", ""},
		"another version":   {"3.11", "3.12", elf.EM_AARCH64, "", "but it has python3.11"},
		"another ABI":       {"3.13", "3.13t", elf.EM_AARCH64, "", "but it has python3.13"},
		"another processor": {"3.12", "3.12", elf.EM_X86_64, "", "is for x86_64, not for aarch64"},
		"no headers":        {"3.12", "3.12", elf.EM_AARCH64, "include", "no headers"},
		"no pyconfig.h":     {"3.12", "3.12", elf.EM_AARCH64, "include/python3.12/pyconfig.h", "no headers"},
		"no sysconfig":      {"3.12", "3.12", elf.EM_AARCH64, "lib/python3.12/_sysconfigdata__linux_.py", "no _sysconfigdata"},
		"no library":        {"3.12", "3.12", elf.EM_AARCH64, "lib", "standard library"},
	} {
		t.Run(name, func(t *testing.T) {
			files := sdk(g, c.sdk, c.machine)
			maps.DeleteFunc(files, func(n, _ string) bool { return c.drop != "" && strings.HasPrefix(n, c.drop) })
			dir := lay(t, files)
			p, err := fromSDK(t.Context(), g, SDK{Python: c.version}, dir, t.TempDir())
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) || fault.ClassOf(err) != fault.Usage && fault.ClassOf(err) != fault.Environment {
					t.Errorf("%v, want %q", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if p.Facts.SOABI != "cpython-"+strings.ReplaceAll(c.version, ".", "")+"-aarch64-linux-gnu" || p.Facts.Include != filepath.Join(dir, "include/python"+c.version) || !slices.Contains(p.IncludeDirs, p.Facts.Include) {
				t.Errorf("%+v", p.Facts)
			}
		})
	}
	_, err := fromSDK(t.Context(), g, SDK{Python: "3.12"}, "/nowhere/sdk.tar.gz", t.TempDir())
	testkit.WantFault(t, err, fault.Usage, "SDK of Python 3.12")
}

// TestArchHeaders: of the directory of all headers of an SDK, only the pyconfig.h that
// Debian's includes is used.
func TestArchHeaders(t *testing.T) {
	g := target.Target{OS: "linux", Arch: "arm64", Libc: "glibc", LibcVersion: "2.28"}
	files := sdk(g, "3.12", elf.EM_AARCH64)
	const own = "include/aarch64-linux-gnu/python3.12/pyconfig.h"
	files[own], files["include/assert.h"], files["include/aarch64-linux-gnu/bits/x.h"] = "#define OWN", "another libc's", "another libc's"
	s := &Sysroot{Target: g}
	top := t.TempDir()
	all, err := s.findPythons(t.Context(), Request{Target: g, Pythons: []string{"3.12"}, SDKs: map[string]string{"3.12": lay(t, files)}}, Means{}, top)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, dir := range all[0].IncludeDirs {
		for _, name := range []string{"Python.h", strings.TrimPrefix(own, "include/"), "assert.h", "aarch64-linux-gnu/bits/x.h"} {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				found[name] = true
			}
		}
	}
	if !found["Python.h"] || !found[strings.TrimPrefix(own, "include/")] || len(found) != 2 {
		t.Errorf("%q: %v", all[0].IncludeDirs, found)
	}
}

// What the loader of the target would refuse is named with its file.
func TestCheckTree(t *testing.T) {
	glibc := target.Target{OS: "linux", Arch: "amd64", Libc: "glibc", LibcVersion: "2.17"}
	musl := target.Target{OS: "linux", Arch: "amd64", Libc: "musl", LibcVersion: "1.2"}
	for name, c := range map[string]struct {
		target target.Target
		file   elftest.File
		want   string
	}{
		"good":               {glibc, elftest.File{Needed: []string{"libc.so.6"}}, ""},
		"another processor":  {glibc, elftest.File{Machine: elf.EM_AARCH64}, "is for AARCH64, not for linux/amd64/glibc2.17"},
		"glibc on musl":      {musl, elftest.File{Needed: []string{"libc.so.6"}}, "libc.so.6, the library of another libc"},
		"musl on glibc":      {glibc, elftest.File{Needed: []string{"libc.musl-x86_64.so.1"}}, "another libc"},
		"musl":               {musl, elftest.File{Needed: []string{"libc.so"}}, ""},
		"musl, as on Alpine": {musl, elftest.File{Needed: []string{"libc.musl-x86_64.so.1"}}, ""},
	} {
		dir := lay(t, map[string]string{"lib/x.so": string(c.file.Bytes()), "lib/x.py": "text"})
		err := CheckTree(c.target, dir)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "lib/x.so")) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
