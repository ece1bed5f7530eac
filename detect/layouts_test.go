//go:build unix

package detect

import (
	"bytes"
	"debug/macho"
	stdpe "debug/pe"
	"encoding/binary"
	"fmt"
	"io/fs"
	"maps"
	"strings"
	"testing"
	"testing/fstest"

	"modwsgi/internal/elf/elftest"
	"modwsgi/internal/pe/petest"
)

// files are a disk: paths with content; "-> target" is a symbolic link.
type files map[string]string

func (f files) disk(goos string) *Disk {
	m := fstest.MapFS{}
	for name, content := range f {
		mode := fs.FileMode(0o755)
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			content, mode = target, fs.ModeSymlink|0o777
		}
		m[strings.TrimPrefix(name, "/")] = &fstest.MapFile{Data: []byte(content), Mode: mode}
	}
	return NewDisk(m, goos)
}

// with returns the same disk with additional or different files.
func (f files) with(more ...files) files {
	out := maps.Clone(f)
	for _, m := range more {
		maps.Copy(out, m)
	}
	return out
}

func (f files) without(names ...string) files {
	out := maps.Clone(f)
	for _, n := range names {
		if _, there := out[n]; !there {
			panic("the fixture has no " + n)
		}
		delete(out, n)
	}
	return out
}

// libpython is a library like libpython3.12.so.1.0.
func libpythonFile(t *testing.T, soname string, minor, patch int) string {
	t.Helper()
	return string(elftest.File{Soname: soname, Exports: map[string][]byte{
		"Py_InitializeEx": nil, "Py_Version": elftest.Words(uint32(0x030000f0 | minor<<16 | patch<<8)),
	}}.Bytes())
}

// httpdProgram is a program that exports the symbols of httpd 2.4.
func httpdProgram(t *testing.T) string {
	t.Helper()
	return string(elftest.File{Exports: map[string][]byte{"core_module": elftest.Words(20120211, 142), "mpm_event_module": nil}}.Bytes())
}

// otherCPU changes the CPU in an ELF header to that of s390.
func otherCPU(elf string) string { return elf[:18] + "\x16\x00" + elf[20:] }

func pythonHeaders(dir string, minor int) files {
	return files{
		dir + "/Python.h": "", dir + "/pyconfig.h": "",
		dir + "/patchlevel.h": fmt.Sprintf("#define PY_MAJOR_VERSION 3\n#define PY_MINOR_VERSION %d\n#define PY_VERSION \"3.%d.0\"\n", minor, minor),
	}
}

func sysconfigdata(vars map[string]string) string {
	var b strings.Builder
	b.WriteString("# system configuration generated and used by the sysconfig module\nbuild_time_vars = {")
	for k, v := range vars {
		fmt.Fprintf(&b, "'%s': %s,\n ", k, v)
	}
	return b.String() + "'Py_DEBUG': 0}\n"
}

// machOFile is a 64 bit Mach-O file with one section of text (mach-o/loader.h).
func machOFile(cpu macho.Cpu, kind macho.Type, text string) string {
	var b bytes.Buffer
	name := func(s string) (out [16]byte) { copy(out[:], s); return out }
	const length = 72 + 80
	for _, v := range []any{
		macho.FileHeader{Magic: macho.Magic64, Cpu: cpu, Type: kind, Ncmd: 1, Cmdsz: length},
		uint32(0),
		macho.Segment64{Cmd: macho.LoadCmdSegment64, Len: length, Name: name("__TEXT"), Memsz: 4096, Filesz: uint64(32 + length + len(text)), Nsect: 1},
		macho.Section64{Name: name("__cstring"), Seg: name("__TEXT"), Size: uint64(len(text)), Offset: 32 + length},
	} {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			panic(err)
		}
	}
	return b.String() + text
}

func dll(machine uint16, version [4]uint16) string {
	return string(petest.File{Machine: machine, DLL: true, Exports: []string{"Py_InitializeEx"}, Version: version}.Bytes())
}

func exe(machine uint16) string { return string(petest.File{Machine: machine}.Bytes()) }

const (
	amd64 = stdpe.IMAGE_FILE_MACHINE_AMD64
	arm64 = stdpe.IMAGE_FILE_MACHINE_ARM64
)

// pythonLayout is one row of the table in docs/concepts/detection.md.
type pythonLayout struct {
	name, doc, goos string
	exe             string
	files           files
	kind, version   string
	prefix, lib     string
	site            string
	// twin is the same layout with one mistake, and the resulting error: refused, or
	// no longer suitable for builds.
	twin files
	want string
}

func pythonLayouts(t *testing.T) []pythonLayout {
	lib := libpythonFile(t, "libpython3.12.so.1.0", 12, 4)
	program := lib // to detection, any ELF file for this CPU is a program
	uv := "/root/.local/share/uv/python/cpython-3.12.4-linux-x86_64-gnu"
	standalone := pythonHeaders(uv+"/include/python3.12", 12).with(files{
		uv + "/bin/python3.12": program, uv + "/bin/python3": "-> python3.12", uv + "/bin/python": "-> python3.12",
		uv + "/lib/libpython3.12.so.1.0": lib, uv + "/lib/libpython3.12.so": "-> libpython3.12.so.1.0", uv + "/lib/python3.12/os.py": "",
		uv + "/lib/python3.12/_sysconfigdata__linux_x86_64-linux-gnu.py": sysconfigdata(map[string]string{
			"LIBDIR": "'/install/lib'", "INSTSONAME": "'libpython3.12.so.1.0'", "Py_ENABLE_SHARED": "1", "ABIFLAGS": "''", "INCLUDEPY": "'/install/include/python3.12'",
		}),
	})
	fedora := pythonHeaders("/usr/include/python3.12", 12).with(files{
		"/usr/bin/python3.12": program, "/usr/bin/python3": "-> python3.12", "/usr/lib64/libpython3.12.so.1.0": lib, "/usr/lib64/python3.12/os.py": "",
		"/usr/lib64/python3.12/_sysconfigdata__linux_x86_64-linux-gnu.py": sysconfigdata(map[string]string{"LIBDIR": "'/usr/lib64'", "PLATLIBDIR": "'lib64'", "ABIFLAGS": "''", "INSTSONAME": "'libpython3.12.so.1.0'"}),
	})
	alpine := pythonHeaders("/usr/include/python3.12", 12).with(files{
		"/usr/bin/python3.12": program, "/usr/bin/python3": "-> python3.12", "/usr/lib/libpython3.12.so.1.0": lib, "/usr/lib/python3.12/os.py": "",
		"/usr/lib/python3.12/EXTERNALLY-MANAGED": "[externally-managed]\n",
	})
	debian := fedoraToDebian(t)
	conda := pythonHeaders("/opt/conda/include/python3.12", 12).with(files{
		"/opt/conda/bin/python3.12": program, "/opt/conda/bin/python": "-> python3.12", "/opt/conda/conda-meta/history": "", "/opt/conda/lib/python3.12/os.py": "", "/opt/conda/lib/libpython3.12.so.1.0": lib,
	})
	debug := libpythonFile(t, "libpython3.12d.so.1.0", 12, 4)
	debugBuild := pythonHeaders("/usr/local/include/python3.12d", 12).with(files{
		"/usr/local/bin/python3.12d": program, "/usr/local/lib/python3.12/os.py": "", "/usr/local/lib/libpython3.12d.so.1.0": debug, "/usr/local/lib/libpython3.12.so.1.0": lib,
		"/usr/local/lib/python3.12/_sysconfigdata__linux_.py":  sysconfigdata(map[string]string{"ABIFLAGS": "''"}),
		"/usr/local/lib/python3.12/_sysconfigdata_d_linux_.py": sysconfigdata(map[string]string{"ABIFLAGS": "'d'"}),
	})
	threaded := libpythonFile(t, "libpython3.13t.so.1.0", 13, 1)
	freeThreaded := pythonHeaders("/usr/local/include/python3.13t", 13).with(files{
		"/usr/local/bin/python3.13t": program, "/usr/local/lib/python3.13t/os.py": "", "/usr/local/lib/libpython3.13t.so.1.0": threaded,
		"/usr/local/lib/python3.13t/_sysconfigdata_t_linux_.py": sysconfigdata(map[string]string{"ABIFLAGS": "'t'", "Py_GIL_DISABLED": "1"}),
	})
	framework := "/Library/Frameworks/Python.framework/Versions/3.12"
	mac := macPython(framework)
	brew := "/opt/homebrew/Cellar/python@3.12/3.12.4/Frameworks/Python.framework/Versions/3.12"
	homebrew := macPython(brew).with(files{
		"/opt/homebrew/opt/python@3.12": "-> ../Cellar/python@3.12/3.12.4", "/opt/homebrew/Cellar/python@3.12/3.12.4/bin/python3.12": "-> ../Frameworks/Python.framework/Versions/3.12/bin/python3.12",
	})
	windows := windowsPython("C:/Python312")
	return []pythonLayout{
		{
			name: "uv, python-build-standalone", doc: "https://gregoryszorc.com/docs/python-build-standalone/main/quirks.html", exe: uv + "/bin/python3", files: standalone,
			kind: "standalone", version: "3.12.4", prefix: uv, lib: uv + "/lib/libpython3.12.so.1.0", site: uv + "/lib/python3.12/site-packages",
			twin: standalone.without(uv + "/lib/libpython3.12.so.1.0"), want: "libpython of Python",
		},
		{
			name: "venv of uv", doc: "https://docs.astral.sh/uv/pip/environments/", exe: "/app/.venv/bin/python",
			files: standalone.with(files{"/app/.venv/bin/python": "-> " + uv + "/bin/python3.12", "/app/.venv/pyvenv.cfg": "home = " + uv + "/bin\nuv = 0.5.1\nversion_info = 3.12.4\n"}),
			kind:  "venv", version: "3.12.4", prefix: "/app/.venv", lib: uv + "/lib/libpython3.12.so.1.0", site: "/app/.venv/lib/python3.12/site-packages",
			twin: standalone.with(files{"/app/.venv/bin/python": "-> " + uv + "/bin/python3.12", "/app/.venv/pyvenv.cfg": "home = " + uv + "/bin\nversion_info = 3.11.4\n"}), want: "was made for Python 3.11",
		},
		{
			name: "venv --copies, spaces", doc: "PEP 405", exe: "/srv/my app/env/bin/python3",
			files: standalone.with(files{"/srv/my app/env/bin/python3": program, "/srv/my app/env/pyvenv.cfg": "home = " + uv + "/bin\n"}),
			kind:  "venv", version: "3.12.4", prefix: "/srv/my app/env", lib: uv + "/lib/libpython3.12.so.1.0", site: "/srv/my app/env/lib/python3.12/site-packages",
			twin: files{"/srv/my app/env/bin/python3": program, "/srv/my app/env/pyvenv.cfg": "home = " + uv + "/bin\n"}, want: "its standard library was not found",
		},
		{
			name: "virtualenv", doc: "https://virtualenv.pypa.io/en/latest/reference/compatibility.html", exe: "/opt/v/bin/python",
			files: fedora.with(files{"/opt/v/bin/python": "-> /usr/bin/python3.12", "/opt/v/pyvenv.cfg": "home = /usr/bin\nvirtualenv = 20.26.2\nversion_info = 3.12.4.final.0\n"}),
			kind:  "virtualenv", version: "3.12.4", prefix: "/opt/v", lib: "/usr/lib64/libpython3.12.so.1.0", site: "/opt/v/lib64/python3.12/site-packages",
			twin: fedora.with(files{"/opt/v/bin/python": "-> /usr/bin/python3.11", "/opt/v/pyvenv.cfg": "home = /usr/bin\n"}), want: "does not exist",
		},
		{
			name: "Fedora, RHEL", doc: "https://src.fedoraproject.org/rpms/python3.12 (lib64)", exe: "/usr/bin/python3", files: fedora,
			kind: "system", version: "3.12.4", prefix: "/usr", lib: "/usr/lib64/libpython3.12.so.1.0", site: "/usr/lib64/python3.12/site-packages",
			twin: fedora.with(files{"/usr/lib64/libpython3.12.so.1.0": otherCPU(lib)}), want: "libpython of Python",
		},
		{
			name: "Fedora since 36", doc: "https://fedoraproject.org/wiki/Changes/Making_sudo_pip_safe", exe: "/usr/bin/python3",
			files: fedora.with(files{"/usr/lib64/python3.12/sysconfig.py": "_INSTALL_SCHEMES = {'posix_prefix': {}, 'rpm_prefix': {}}\n"}),
			kind:  "system", version: "3.12.4", prefix: "/usr", lib: "/usr/lib64/libpython3.12.so.1.0", site: "/usr/local/lib64/python3.12/site-packages",
			twin: fedora.without("/usr/include/python3.12/Python.h"), want: "Python.h",
		},
		{
			name: "Alpine", doc: "https://pkgs.alpinelinux.org/contents?name=python3-dev", exe: "/usr/bin/python3", files: alpine,
			kind: "system", version: "3.12.4", prefix: "/usr", lib: "/usr/lib/libpython3.12.so.1.0", site: "/usr/lib/python3.12/site-packages",
			twin: alpine.with(pythonHeaders("/usr/include/python3.12", 11)), want: "Python.h of Python",
		},
		{
			name: "Debian", doc: "https://wiki.debian.org/Python", exe: "/usr/bin/python3", files: debian,
			kind: "debian", version: "3.12.4", prefix: "/usr", lib: "/usr/lib/x86_64-linux-gnu/libpython3.12.so.1.0", site: "/usr/local/lib/python3.12/dist-packages",
			twin: debian.without("/usr/include/python3.12/Python.h"), want: "Python.h of Python",
		},
		{
			name: "conda", doc: "https://docs.conda.io/projects/conda/en/latest/user-guide/concepts/environments.html", exe: "/opt/conda/bin/python", files: conda,
			kind: "conda", version: "3.12.4", prefix: "/opt/conda", lib: "/opt/conda/lib/libpython3.12.so.1.0", site: "/opt/conda/lib/python3.12/site-packages",
			twin: conda.with(files{"/opt/conda/lib/libpython3.12.so.1.0": libpythonFile(t, "libpython3.12.so.1.0", 12, 9)}).without("/opt/conda/lib/python3.12/os.py"), want: "its standard library was not found",
		},
		{
			name: "debug build", doc: "https://docs.python.org/3/using/configure.html#debug-build", exe: "/usr/local/bin/python3.12d", files: debugBuild,
			kind: "plain", version: "3.12.4", prefix: "/usr/local", lib: "/usr/local/lib/libpython3.12d.so.1.0", site: "/usr/local/lib/python3.12/site-packages",
			twin: debugBuild.without("/usr/local/lib/libpython3.12d.so.1.0"), want: "libpython of Python",
		},
		{
			name: "free-threaded build", doc: "https://docs.python.org/3/howto/free-threading-python.html", exe: "/usr/local/bin/python3.13t", files: freeThreaded,
			kind: "plain", version: "3.13.1", prefix: "/usr/local", lib: "/usr/local/lib/libpython3.13t.so.1.0", site: "/usr/local/lib/python3.13t/site-packages",
			twin: freeThreaded.with(files{"/usr/local/lib/libpython3.13t.so.1.0": "-> libpython3.13.so.1.0"}), want: "libpython of Python",
		},
		{
			name: "macOS framework of python.org", goos: "darwin", doc: "https://docs.python.org/3/using/mac.html", exe: framework + "/bin/python3", files: mac,
			kind: "framework", version: "3.12.4", prefix: framework, lib: framework + "/lib/libpython3.12.dylib", site: framework + "/lib/python3.12/site-packages",
			twin: mac.with(files{framework + "/Python": machOFile(macho.CpuAmd64, macho.TypeDylib, "3.12.4\x00")}), want: "libpython of Python",
		},
		{
			name: "Homebrew", goos: "darwin", doc: "https://docs.brew.sh/Homebrew-and-Python", exe: "/opt/homebrew/opt/python@3.12/bin/python3.12", files: homebrew,
			kind: "framework", version: "3.12.4", prefix: brew, lib: brew + "/lib/libpython3.12.dylib", site: brew + "/lib/python3.12/site-packages",
			twin: homebrew.with(files{brew + "/Python": machOFile(macho.CpuArm64, macho.TypeExec, "3.12.4\x00")}), want: "libpython of Python",
		},
		{
			name: "Windows installer", goos: "windows", doc: "https://docs.python.org/3/using/windows.html", exe: "C:/Python312/python.exe", files: windows,
			kind: "plain", version: "3.12.4", prefix: "C:/Python312", lib: "C:/Python312/python312.dll", site: "C:/Python312/Lib/site-packages",
			twin: windows.without("C:/Python312/libs/python312.lib"), want: "the import library",
		},
		{
			name: "Windows venv", goos: "windows", doc: "PEP 405, https://docs.python.org/3/library/venv.html", exe: "C:/apps/env/Scripts/python.exe",
			files: windows.with(files{"C:/apps/env/Scripts/python.exe": exe(amd64), "C:/apps/env/pyvenv.cfg": "home = C:\\Python312\r\nversion = 3.12.4\r\n"}),
			kind:  "venv", version: "3.12.4", prefix: "C:/apps/env", lib: "C:/Python312/python312.dll", site: "C:/apps/env/Lib/site-packages",
			twin: windows.with(files{"C:/apps/env/Scripts/python.exe": exe(arm64), "C:/apps/env/pyvenv.cfg": "home = C:\\Python312\r\n"}), want: "libpython of Python",
		},
		{
			name: "Windows, case of names", goos: "windows", doc: "https://learn.microsoft.com/windows/wsl/case-sensitivity", exe: "C:/python312/PYTHON.EXE", files: windows,
			kind: "plain", version: "3.12.4", prefix: "C:/Python312", lib: "C:/Python312/python312.dll", site: "C:/Python312/Lib/site-packages",
			twin: windows.without("C:/Python312/python.exe"), want: "does not exist",
		},
		{
			name: "Windows, other patch level", goos: "windows", doc: "https://github.com/python/cpython/blob/main/PC/python_ver_rc.h", exe: "C:/Python312/python.exe",
			files: windows.with(files{"C:/Python312/python312.dll": dll(amd64, [4]uint16{3, 12, 7150, 1013})}),
			kind:  "plain", version: "3.12.7", prefix: "C:/Python312", lib: "C:/Python312/python312.dll", site: "C:/Python312/Lib/site-packages",
			twin: files{"C:/Python312/python.exe": exe(amd64), "C:/Python312/python312.dll": dll(amd64, [4]uint16{}), "C:/Python312/python312._pth": "python312.zip\n", "C:/Python312/python312.zip": "PK"}, want: "embeddable package",
		},
	}
}

func fedoraToDebian(t *testing.T) files {
	lib := libpythonFile(t, "libpython3.12.so.1.0", 12, 4)
	out := pythonHeaders("/usr/include/python3.12", 12).with(files{
		"/usr/bin/python3.12": lib, "/usr/bin/python3": "-> python3.12", "/usr/lib/python3.12/os.py": "", "/usr/lib/python3/dist-packages/README": "",
		"/usr/lib/x86_64-linux-gnu/libpython3.12.so.1.0": lib, "/usr/include/x86_64-linux-gnu/python3.12/pyconfig.h": "",
		"/usr/lib/python3.12/_sysconfigdata__x86_64-linux-gnu.py": sysconfigdata(map[string]string{"LIBDIR": "'/usr/lib'", "MULTIARCH": "'x86_64-linux-gnu'", "ABIFLAGS": "''", "INSTSONAME": "'libpython3.12.so.1.0'"}),
	})
	return out.without("/usr/include/python3.12/pyconfig.h")
}

func macPython(prefix string) files {
	return pythonHeaders(prefix+"/include/python3.12", 12).with(files{
		prefix + "/bin/python3.12": machOFile(macho.CpuArm64, macho.TypeExec, "x"), prefix + "/bin/python3": "-> python3.12",
		prefix + "/Python": machOFile(macho.CpuArm64, macho.TypeDylib, "%.80s (%.80s) %.80s\x003.12.4\x00"), prefix + "/lib/libpython3.12.dylib": "-> ../Python",
		prefix + "/lib/python3.12/os.py": "",
		prefix + "/lib/python3.12/_sysconfigdata__darwin_darwin.py": sysconfigdata(map[string]string{
			"ABIFLAGS": "''", "LDLIBRARY": "'Python.framework/Versions/3.12/Python'", "INSTSONAME": "'Python.framework/Versions/3.12/Python'", "MACOSX_DEPLOYMENT_TARGET": "'11.0'",
		}),
	})
}

func windowsPython(prefix string) files {
	return pythonHeaders(prefix+"/include", 12).with(files{
		prefix + "/python.exe": exe(amd64), prefix + "/python312.dll": dll(amd64, [4]uint16{3, 12, 4150, 1013}), prefix + "/python3.dll": dll(amd64, [4]uint16{}),
		prefix + "/libs/python312.lib": "!<arch>\n", prefix + "/Lib/os.py": "",
	})
}

func TestPythonLayouts(t *testing.T) {
	for _, row := range pythonLayouts(t) {
		t.Run(row.name, func(t *testing.T) {
			goos := row.goos
			if goos == "" {
				goos = "linux"
			}
			p, err := FromFiles(row.files.disk(goos), row.exe)
			if err != nil {
				t.Fatal(err)
			}
			if p.Kind != row.kind || p.Version != row.version || p.Prefix != row.prefix || p.LibPython != row.lib || p.Platlib != row.site {
				t.Errorf("kind %q, version %q, prefix %q, libpython %q, platlib %q\n%+v", p.Kind, p.Version, p.Prefix, p.LibPython, p.Platlib, p.Evidence)
			}
			if p.Include == "" || p.Machine == "" {
				t.Errorf("include %q, machine %q", p.Include, p.Machine)
			}
			if err := p.canBuild(row.files.disk(goos)); err != nil {
				t.Errorf("cannot be built for: %v", err)
			}
			twin := row.twin.disk(goos)
			p, err = FromFiles(twin, row.exe)
			if err == nil {
				err = p.canBuild(twin)
			}
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("its twin: %+v, %v, want %q", p, err, row.want)
			}
		})
	}
}

func TestEveryLayoutIsFoundOnItsDisk(t *testing.T) {
	for _, row := range pythonLayouts(t) {
		if row.name == "Windows, case of names" || row.name == "Windows venv" { // by name only
			continue
		}
		goos := row.goos
		if goos == "" {
			goos = "linux"
		}
		d := row.files.disk(goos)
		found := false
		for _, p := range d.pythonPlaces() {
			found = found || d.sameFile(p.path, row.exe)
		}
		if !found {
			t.Errorf("%s: %s is not among %v", row.name, row.exe, d.pythonPlaces())
		}
	}
}

// TestAnswersOfOtherSystems applies the output of facts.py on Windows and macOS, as
// sysconfig documents it, to files of the same system
// (https://docs.python.org/3/library/sysconfig.html#installation-paths).
func TestAnswersOfOtherSystems(t *testing.T) {
	framework := "/Library/Frameworks/Python.framework/Versions/3.12"
	venvOnMac := macPython(framework).with(files{"/Users/x/env/pyvenv.cfg": "home = " + framework + "/bin\nversion = 3.12.4\n", "/Users/x/env/bin/python3": "-> " + framework + "/bin/python3.12"})
	threaded := windowsPython(`C:/Program Files/Python312`).with(files{
		"C:/Program Files/Python312/python312t.dll": dll(arm64, [4]uint16{3, 12, 4150, 1013}), "C:/Program Files/Python312/python.exe": exe(arm64), "C:/Program Files/Python312/libs/python312t.lib": "!<arch>\n",
	})
	for name, tt := range map[string]struct {
		goos, exe string
		files     files
		answer    answer
		lib, site string
		twin      files
		want      string
	}{
		"Windows, free-threaded": {
			goos: "windows", exe: "C:/Program Files/Python312/python.exe", files: threaded,
			answer: answer{
				Prefix: `C:\Program Files\Python312`, BasePrefix: `C:\Program Files\Python312`, Version: "3.12.4", Platform: "win-arm64",
				Paths: map[string]string{"purelib": `C:\Program Files\Python312\Lib\site-packages`, "platlib": `C:\Program Files\Python312\Lib\site-packages`, "include": `C:\Program Files\Python312\Include`},
				Vars:  map[string]string{"EXT_SUFFIX": ".cp312t-win_arm64.pyd", "Py_GIL_DISABLED": "1"},
			},
			lib: "C:/Program Files/Python312/python312t.dll", site: "C:/Program Files/Python312/Lib/site-packages",
			twin: threaded.without("C:/Program Files/Python312/python312t.dll"), want: "libpython of Python",
		},
		"environment on macOS": {
			goos: "darwin", exe: "/Users/x/env/bin/python3", files: venvOnMac,
			answer: answer{
				Prefix: "/Users/x/env", BasePrefix: framework, Cfg: "/Users/x/env/pyvenv.cfg", Version: "3.12.4", Platform: "macosx-11.0-universal2",
				Paths: map[string]string{"purelib": "/Users/x/env/lib/python3.12/site-packages", "platlib": "/Users/x/env/lib/python3.12/site-packages", "include": framework + "/include/python3.12"},
				Vars:  map[string]string{"LDLIBRARY": "Python.framework/Versions/3.12/Python", "LIBDIR": framework + "/lib"},
			},
			lib: framework + "/lib/libpython3.12.dylib", site: "/Users/x/env/lib/python3.12/site-packages",
			twin: venvOnMac.with(files{"/Users/x/env/pyvenv.cfg": "home = /x\nversion = 3.13.1\n"}), want: "was made for Python 3.13",
		},
	} {
		t.Run(name, func(t *testing.T) {
			look := func(f files) (*Python, error) {
				a := tt.answer
				a.Major, a.Minor, a.Implementation, a.Paths, a.Vars = 3, 12, "cpython", maps.Clone(tt.answer.Paths), maps.Clone(tt.answer.Vars)
				p, err := assemble(f.disk(tt.goos), tt.exe, &a, nil, Request{})
				if err == nil {
					err = p.canBuild(f.disk(tt.goos))
				}
				return p, err
			}
			if p, err := look(tt.files); err != nil || p.LibPython != tt.lib || p.Platlib != tt.site || p.Include == "" {
				t.Errorf("%+v, %v", p, err)
			}
			if p, err := look(tt.twin); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("its twin: %+v, %v", p, err)
			}
		})
	}
}
