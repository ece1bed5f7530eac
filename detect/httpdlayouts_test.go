//go:build unix

package detect

import (
	"debug/macho"
	"fmt"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/fault"
	"modwsgi/internal/pe/petest"
)

// httpdHeaders are the headers of httpd 2.4.68, apr and apr-util.
func httpdHeaders(include, apr string) files {
	return files{
		include + "/httpd.h":      "",
		include + "/ap_release.h": "#define AP_SERVER_MAJORVERSION_NUMBER 2\n#define AP_SERVER_MINORVERSION_NUMBER 4\n#define AP_SERVER_PATCHLEVEL_NUMBER 68\n",
		include + "/ap_mmn.h":     "#define MODULE_MAGIC_NUMBER_MAJOR 20120211\n#define MODULE_MAGIC_NUMBER_MINOR 142\n",
		apr + "/apr.h":            "", apr + "/apu.h": "",
		apr + "/apr_version.h": "#define APR_MAJOR_VERSION 1\n#define APR_MINOR_VERSION 7\n#define APR_PATCH_VERSION 4\n",
		apr + "/apu_version.h": "#define APU_MAJOR_VERSION 1\n#define APU_MINOR_VERSION 6\n#define APU_PATCH_VERSION 3\n",
	}
}

type httpdLayout struct {
	name, doc, goos string
	files           files
	executable      string
	modules         string
	mpms            []string
	twin            files
	want            string
}

func httpdLayouts(t *testing.T) []httpdLayout {
	program := httpdProgram(t)
	vars := func(sbin, name, modules, include, apr string) string {
		return "prefix = /etc/x\nexec_prefix = /usr\nsbindir = " + sbin + "\nprogname = " + name + "\nlibexecdir = " + modules + "\nincludedir = " + include + "\nAPR_INCLUDEDIR = " + apr + "\n"
	}
	linux := func(config, exe, modules, include, apr string) files {
		i := strings.LastIndexByte(exe, '/')
		return httpdHeaders(include, apr).with(files{config: vars(exe[:i], exe[i+1:], modules, include, apr), exe: program, modules + "/mod_mpm_prefork.so": ""})
	}
	debian := linux("/usr/share/apache2/build/config_vars.mk", "/usr/sbin/apache2", "/usr/lib/apache2/modules", "/usr/include/apache2", "/usr/include/apr-1.0").with(files{"/etc/os-release": "ID=ubuntu\nID_LIKE=debian\n"})
	fedora := linux("/usr/lib64/httpd/build/config_vars.mk", "/usr/sbin/httpd", "/usr/lib64/httpd/modules", "/usr/include/httpd", "/usr/include/apr-1").with(files{"/etc/os-release": "ID=rocky\nID_LIKE=\"rhel centos fedora\"\n"})
	alpine := linux("/usr/share/apache2/build/config_vars.mk", "/usr/sbin/httpd", "/usr/lib/apache2", "/usr/include/apache2", "/usr/include/apr-1").with(files{"/etc/os-release": "ID=alpine\n"})
	arch := linux("/usr/lib/httpd/build/config_vars.mk", "/usr/bin/httpd", "/usr/lib/httpd/modules", "/usr/include/httpd", "/usr/include/apr-1")
	suse := linux("/usr/share/apache2/build/config_vars.mk", "/usr/sbin/httpd-prefork", "/usr/lib64/apache2", "/usr/include/apache2", "/usr/include/apr-1").with(files{"/usr/sbin/httpd": "-> httpd-prefork"})
	source := httpdHeaders("/usr/local/apache2/include", "/usr/local/apache2/include").with(files{
		"/usr/local/apache2/build/config_vars.mk": "prefix = /usr/local/apache2\nsbindir = ${prefix}/bin\nprogname = httpd\nlibexecdir = ${prefix}/modules\nincludedir = ${prefix}/include\n",
		"/usr/local/apache2/bin/httpd":            program, "/usr/local/apache2/modules/mod_mpm_event.so": "",
	})
	brew := func(prefix string, cpu macho.Cpu) files {
		return httpdHeaders(prefix+"/opt/httpd/include/httpd", prefix+"/opt/apr/include/apr-1").with(files{
			prefix + "/opt/httpd/lib/httpd/build/config_vars.mk": vars(prefix+"/opt/httpd/bin", "httpd", prefix+"/lib/httpd/modules", prefix+"/opt/httpd/include/httpd", prefix+"/opt/apr/include/apr-1"),
			prefix + "/opt/httpd/bin/httpd":                      machOFile(cpu, macho.TypeExec, "Apache/2.4.68"), prefix + "/lib/httpd/modules/mod_mpm_event.so": "",
		})
	}
	windows := func(root string) files {
		return httpdHeaders(root+"/include", root+"/include").with(files{
			root + "/bin/httpd.exe": exe(amd64), root + "/bin/libhttpd.dll": string(petest.File{Machine: amd64, DLL: true, Version: [4]uint16{2, 4, 68, 0}}.Bytes()),
			root + "/lib/libhttpd.lib": "!<arch>\n", root + "/modules/mod_alias.so": "",
		})
	}
	const layoutDoc = "httpd's config.layout, "
	return []httpdLayout{
		{
			name: "Debian, Ubuntu", doc: layoutDoc + "Debian", files: debian, executable: "/usr/sbin/apache2", modules: "/usr/lib/apache2/modules", mpms: []string{"event", "prefork"},
			twin: files{"/usr/sbin/apache2": program, "/etc/os-release": "ID=ubuntu\nID_LIKE=debian\n"}, want: "apt-get install apache2-dev",
		},
		{
			name: "RHEL, Fedora", doc: layoutDoc + "Fedora", files: fedora, executable: "/usr/sbin/httpd", modules: "/usr/lib64/httpd/modules", mpms: []string{"event", "prefork"},
			twin: fedora.without("/usr/include/apr-1/apr.h"), want: "headers of apr are missing (dnf install apr-devel)",
		},
		{
			name: "Alpine", doc: "https://pkgs.alpinelinux.org/contents?name=apache2-dev", files: alpine, executable: "/usr/sbin/httpd", modules: "/usr/lib/apache2", mpms: []string{"event", "prefork"},
			twin: alpine.without("/usr/include/apache2/httpd.h"), want: "apk add apache2-dev",
		},
		{
			name: "Arch", doc: "https://archlinux.org/packages/extra/x86_64/apache/files/", files: arch, executable: "/usr/bin/httpd", modules: "/usr/lib/httpd/modules", mpms: []string{"event", "prefork"},
			twin: arch.with(files{"/usr/bin/httpd": otherCPU(program)}), want: "it is for s390x",
		},
		{
			name: "SUSE", doc: "https://en.opensuse.org/SDB:Apache_installation", files: suse, executable: "/usr/sbin/httpd-prefork", modules: "/usr/lib64/apache2", mpms: []string{"event", "prefork"},
			twin: suse.with(files{"/usr/include/apache2/ap_mmn.h": "#define MODULE_MAGIC_NUMBER_MAJOR 20120211\n#define MODULE_MAGIC_NUMBER_MINOR 999\n"}), want: "newer than its program",
		},
		{
			name: "built from source, image httpd", doc: "https://httpd.apache.org/docs/2.4/install.html", files: source, executable: "/usr/local/apache2/bin/httpd", modules: "/usr/local/apache2/modules", mpms: []string{"event"},
			twin: source.with(files{"/usr/local/apache2/build/config_vars.mk": "a = \x00"}), want: "not a text file",
		},
		{
			name: "Homebrew (arm64)", goos: "darwin", doc: "https://formulae.brew.sh/formula/httpd", files: brew("/opt/homebrew", macho.CpuArm64), executable: "/opt/homebrew/opt/httpd/bin/httpd", modules: "/opt/homebrew/lib/httpd/modules", mpms: []string{"event"},
			twin: brew("/opt/homebrew", macho.CpuAmd64), want: "the Python is for arm64",
		},
		{
			name: "Homebrew (x86_64)", goos: "darwin", doc: "https://docs.brew.sh/Installation", files: brew("/usr/local", macho.CpuArm64), executable: "/usr/local/opt/httpd/bin/httpd", modules: "/usr/local/lib/httpd/modules", mpms: []string{"event"},
			twin: files{"/usr/sbin/httpd": machOFile(macho.CpuArm64, macho.TypeExec, "Apache/2.4.62")}, want: "macOS includes an httpd without headers",
		},
		{
			name: "Apache Lounge", goos: "windows", doc: "https://www.apachelounge.com/download/", files: windows("C:/Apache24"), executable: "C:/Apache24/bin/httpd.exe", modules: "C:/Apache24/modules", mpms: []string{"winnt"},
			twin: windows("C:/Apache24").without("C:/Apache24/lib/libhttpd.lib"), want: "libhttpd.lib is missing",
		},
		{
			name: "XAMPP", goos: "windows", doc: "https://www.apachefriends.org/faq_windows.html", files: windows("C:/xampp/apache"), executable: "C:/xampp/apache/bin/httpd.exe", modules: "C:/xampp/apache/modules", mpms: []string{"winnt"},
			twin: windows("C:/xampp/apache").with(files{"C:/xampp/apache/bin/httpd.exe": exe(0x14c)}), want: "it is for win32, the Python is for amd64",
		},
		{
			name: "WampServer", goos: "windows", doc: "https://wampserver.aviatechno.net/", files: windows("C:/wamp64/bin/apache/apache2.4.68"), executable: "C:/wamp64/bin/apache/apache2.4.68/bin/httpd.exe", modules: "C:/wamp64/bin/apache/apache2.4.68/modules", mpms: []string{"winnt"},
			twin: windows("C:/wamp64/bin/apache/apache2.4.68").without("C:/wamp64/bin/apache/apache2.4.68/include/httpd.h"), want: "its headers are missing",
		},
		{
			name: "MS4W", goos: "windows", doc: "https://ms4w.com/documentation/", files: windows("C:/ms4w/Apache"), executable: "C:/ms4w/Apache/bin/httpd.exe", modules: "C:/ms4w/Apache/modules", mpms: []string{"winnt"},
			twin: windows("C:/ms4w/Apache").without("C:/ms4w/Apache/bin/httpd.exe"), want: "does not name its httpd program",
		},
	}
}

func TestHTTPDLayouts(t *testing.T) {
	lib := libpythonFile(t, "libpython3.12.so.1.0", 12, 4)
	machine := map[string]string{"linux": files{"/x": lib}.disk("linux").machines("/x")[0], "darwin": "arm64", "windows": "amd64"}
	for _, row := range httpdLayouts(t) {
		t.Run(row.name, func(t *testing.T) {
			goos := row.goos
			if goos == "" {
				goos = "linux"
			}
			look := func(f files) []HTTPD {
				finder := &finder{py: &Python{Machine: machine[goos]}, disk: f.disk(goos)}
				finder.onDisk(noKeys{})
				return finder.found
			}
			found := look(row.files)
			h, err := Choose(found, Request{})
			if err != nil {
				t.Fatal(err)
			}
			if h.Executable != row.executable || h.ModulesDir != row.modules || !slices.Equal(h.MPMs, row.mpms) {
				t.Errorf("program %q, modules %q, MPMs %q\n%+v", h.Executable, h.ModulesDir, h.MPMs, h.Evidence)
			}
			if h.Version != "2.4.68" || h.MMN != 20120211 || h.APRVersion != "1.7.4" || h.APUVersion != "1.6.3" || h.Machine != machine[goos] {
				t.Errorf("versions of %+v", h)
			}
			found = look(row.twin)
			h, err = Choose(found, Request{})
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("its twin: %+v, %v, want %q", h, err, row.want)
			}
		})
	}
}

// keys is a Windows registry: key path and value name to string.
type keys map[[2]string]string

func (k keys) value(path, name string) string { return k[[2]string{path, name}] }

func (k keys) keys(path string) []string {
	var out []string
	for place := range k {
		if rest, ok := strings.CutPrefix(place[0], path+`\`); ok {
			name, _, _ := strings.Cut(rest, `\`)
			if !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return out
}

func TestRegistry(t *testing.T) {
	k := keys{
		{`HKLM\Software\Python\PythonCore\3.12\InstallPath`, ""}:                     `C:\Program Files\Python312\`,
		{`HKCU\Software\Python\ContinuumAnalytics\A\InstallPath`, "ExecutablePath"}:  `C:\Users\x\miniconda3\python.exe`,
		{`HKCU\Software\Python\ContinuumAnalytics\NoExe\InstallPath`, ""}:            `C:\Users\x\other`,
		{`HKLM\Software\Python\PyLauncher\x\InstallPath`, ""}:                        `C:\Windows`,
		{`HKLM\Software\Wow6432Node\Python\PythonCore\3.11-32\InstallPath`, ""}:      `C:\Python311-32`,
		{`HKLM\SYSTEM\CurrentControlSet\Services\Apache2.4`, "ImagePath"}:            `"C:\Program Files\Apache24\bin\httpd.exe" -k runservice`,
		{`HKLM\SYSTEM\CurrentControlSet\Services\wampapache64`, "ImagePath"}:         `c:\wamp64\bin\apache\apache2.4.68\bin\httpd.exe -k runservice`,
		{`HKLM\SYSTEM\CurrentControlSet\Services\nothttpd`, "ImagePath"}:             `C:\Windows\System32\svchost.exe -k httpd.exe`,
		{`HKLM\SYSTEM\CurrentControlSet\Services\strange`, "ImagePath"}:              `C:\httpd.exe`,
		{`HKLM\SYSTEM\CurrentControlSet\Services\driver\Parameters`, "ServiceEntry"}: `x`,
	}
	var got []string
	for _, p := range registered(k) {
		got = append(got, p.path)
	}
	if want := []string{"C:/Users/x/miniconda3/python.exe", "C:/Program Files/Python312/python.exe", "C:/Python311-32/python.exe"}; !slices.Equal(got, want) {
		t.Errorf("Pythons %q, want %q", got, want)
	}
	got = nil
	for _, p := range services(k) {
		got = append(got, p.path)
	}
	if want := []string{"C:/Program Files/Apache24", "c:/wamp64/bin/apache/apache2.4.68"}; !slices.Equal(got, want) {
		t.Errorf("httpds %q, want %q", got, want)
	}
}

// TestPyPIHTTPD has the layout of mod_wsgi-httpd on PyPI, whose variables name the
// tree with ${mod_wsgi_httpd_prefix}
// (https://github.com/GrahamDumpleton/mod_wsgi/tree/develop/package-httpd).
func TestPyPIHTTPD(t *testing.T) {
	lib := libpythonFile(t, "libpython3.12.so.1.0", 12, 4)
	root := "/app/.venv/lib/python3.12/site-packages/mod_wsgi_packages/httpd"
	disk := fedoraToDebian(t).with(httpdHeaders(root+"/include", root+"/include/apr-1"), files{
		"/app/.venv/bin/python": "-> /usr/bin/python3.12", "/app/.venv/pyvenv.cfg": "home = /usr/bin\n",
		root + "/build/config_vars.mk": "prefix = ${mod_wsgi_httpd_prefix}\nexec_prefix = ${prefix}\nsbindir = ${exec_prefix}/bin\nprogname = httpd\nlibexecdir = ${exec_prefix}/modules\nincludedir = ${prefix}/include\n",
		root + "/bin/httpd":            httpdProgram(t), root + "/modules/mod_mpm_event.so": "",
	})
	system := files{"/usr/share/apache2/build/config_vars.mk": "sbindir=/usr/sbin\nprogname=apache2\nincludedir=" + root + "/include\nlibexecdir=" + root + "/modules\n", "/usr/sbin/apache2": httpdProgram(t) + " "}
	e, err := ExplainRoot(disk.with(system).disk("linux").fileSystem.(*otherMachine).fsys, "/mnt", "linux", Request{})
	if err != nil {
		t.Fatal(err)
	}
	if h := e.HTTPD(); h == nil || h.Root != root || h.Provenance != Bundled || h.ModulesDir != root+"/modules" {
		t.Errorf("chose %+v", h)
	}
	// Another environment's httpd is refused, whether or not it is named.
	other := disk.with(files{"/srv/other/bin/python": lib, "/srv/other/pyvenv.cfg": "home = /usr/bin\n"})
	e, err = ExplainRoot(other.disk("linux").fileSystem.(*otherMachine).fsys, "/mnt", "linux", Request{Python: "/srv/other", HTTPD: "/app/.venv"})
	if fault.ClassOf(err) != fault.Environment || !strings.Contains(fmt.Sprint(err), "the httpd that you named (--httpd /app/.venv)") {
		t.Errorf("named: %v", err)
	}
	if e.HTTPD() != nil || len(e.HTTPDs) == 0 || !strings.Contains(e.HTTPDs[0].Reason, "another Python environment, /app/.venv") {
		t.Errorf("%+v, %v", e, err)
	}
}
