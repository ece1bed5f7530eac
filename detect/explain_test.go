//go:build unix

package detect

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// TestFilesSayWhatTheInterpreterSays compares a description from files with one from
// the interpreter, for a real Python and a real environment of it.
func TestFilesSayWhatTheInterpreterSays(t *testing.T) {
	base := systemPython(t)
	for _, exe := range []string{base, filepath.Join(venv(t, base, filepath.Join(t.TempDir(), "an env")), "bin", "python"), filepath.Join(venv(t, base, filepath.Join(t.TempDir(), "copy"), "--copies"), "bin", "python3")} {
		compareWithFiles(t, exe)
	}
}

func compareWithFiles(t *testing.T, exe string) {
	t.Helper()
	asked, err := find(t, Request{Python: exe})
	if err != nil {
		t.Fatal(err)
	}
	read, err := FromFiles(ThisDisk(), asked.Executable)
	if err != nil {
		t.Fatal(err)
	}
	asked.Evidence, read.Evidence = nil, nil
	a, _ := json.MarshalIndent(asked, "", " ")
	b, _ := json.MarshalIndent(read, "", " ")
	if string(a) != string(b) {
		t.Errorf("%s: asked\n%s\nread\n%s", exe, a, b)
	}
	disk := os.DirFS("/")
	other, err := FromFiles(NewDisk(disk, "linux"), asked.Executable)
	if err != nil {
		t.Fatal(err)
	}
	if other.Prefix != asked.Prefix || other.LibPython != asked.LibPython || other.Version != asked.Version || other.Platlib != asked.Platlib {
		t.Errorf("%s: as a disk: %+v", exe, other)
	}
}

func TestBuildTimeVars(t *testing.T) {
	got, err := buildTimeVars([]byte("# x\nbuild_time_vars = {'A': 'one '\n      'two',\n 'B': -1,\n \"C\": \"it's\", 'D': 'a\\'b\\\\c\\n\\x41',\n 'E': '',\n 'F': 'é', 'G': 1.5}\nprint('x')\n"))
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range map[string]string{"A": "one two", "B": "-1", "C": "it's", "D": "a'b\\c\nA", "E": "", "F": "é", "G": "1.5"} {
		if got[k] != want {
			t.Errorf("%s: %q, want %q", k, got[k], want)
		}
	}
	for _, bad := range []string{"", "build_time_vars = {", "build_time_vars = {'a'}", "build_time_vars = {'a': __import__('os')}", "build_time_vars = {'a': 'b' 'c}", "build_time_vars = {'a': 'b\n'}", "build_time_vars = {'a' 1}", "build_time_vars = dict()", "build_time_vars = {'a': 'x' % 1}"} {
		if got, err := buildTimeVars([]byte(bad)); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

func TestDiskStaysInside(t *testing.T) {
	tmp := t.TempDir()
	root := filepath.Join(tmp, "root")
	write(t, filepath.Join(tmp, "secret"), "outside", 0o644)
	write(t, filepath.Join(root, "etc", "inside"), "inside", 0o644)
	for name, target := range map[string]string{
		"absolute": "/etc/inside", "up": "../../../../../../etc/inside", "host": filepath.Join(tmp, "secret"), "dots": "../secret", "loop": "loop", "chain": "absolute",
	} {
		symlink(t, target, filepath.Join(root, "usr", name))
	}
	symlink(t, "/usr", filepath.Join(root, "u"))
	r, err := os.OpenRoot(root)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	d := NewDisk(r.FS(), "linux")
	for path, want := range map[string]string{
		"/usr/absolute": "inside", "/usr/up": "inside", "/u/chain": "inside", "/u/../etc/inside": "inside", "/../../etc/inside": "inside",
		"/usr/host": "", "/usr/dots": "", "/usr/loop": "", "/etc": "", "/nothing": "",
	} {
		if got := string(d.head(path, 100)); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	// Opening a FIFO would block.
	if err := syscall.Mkfifo(filepath.Join(root, "usr", "python3"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := FromFiles(d, "/usr/python3"); err == nil || d.head("/usr/python3", 10) != nil {
		t.Errorf("a FIFO: %v", err)
	}
	if got := d.resolved("/u/chain"); got != "/etc/inside" {
		t.Errorf("resolved %q", got)
	}
}

func TestLinkCycle(t *testing.T) {
	d := files{"/opt/a/pyvenv.cfg": "", "/opt/b": "-> /opt", "/opt/c": "-> a", "/opt/d": "-> d", "/srv/x": "-> ../opt"}.disk("linux")
	if got := d.environments(); len(got) != 1 || got[0] != "/opt/a" {
		t.Errorf("%q", got)
	}
}

// TestExplainWithoutActivation is the case that broke mod_wsgi 4.4.7: httpd is
// in the environment, its pip is called by path, another environment is
// activated, and the system has an Apache too
// (https://modwsgi.readthedocs.io/en/develop/release-notes/version-4.4.8.html).
func TestExplainWithoutActivation(t *testing.T) {
	noSystem(t)
	base := systemPython(t)
	tmp, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	other := venv(t, base, filepath.Join(tmp, "other"))
	host := filepath.Join(tmp, "host")
	tree(t, host)
	write(t, filepath.Join(tmp, "sbin", "apxs"), apxsScript(host), 0o755)
	req := Request{Dir: tmp, Env: []string{"VIRTUAL_ENV=" + other, "PATH=" + other + "/bin:" + tmp + "/sbin:/usr/bin:/bin"}}
	env := venv(t, base, filepath.Join(tmp, "my env"))
	site := sites(t, env)
	tree(t, filepath.Join(site, filepath.FromSlash(PackageDir)))
	write(t, filepath.Join(env, "bin", "pip"), "#!/bin/false\n", 0o755)
	linked := symlink(t, env, filepath.Join(tmp, "linked"))
	copied := filepath.Join(tmp, "copied")
	if err := os.CopyFS(copied, os.DirFS(env)); err != nil {
		t.Fatal(err)
	}
	var r run.Runner
	for name, given := range map[string]string{"pip by path": env + "/bin/pip", "python by path": env + "/bin/python", "linked": linked + "/bin/pip", "copied": copied + "/bin/python"} {
		req.Python = given
		e, err := Explain(t.Context(), &r, req)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		prefix := filepath.Dir(filepath.Dir(given))
		if p := e.Python(); p == nil || p.Prefix != prefix {
			t.Errorf("%s: Python %+v", name, p)
		}
		if h := e.HTTPD(); h == nil || h.Provenance != Bundled || !strings.HasPrefix(h.Root, prefix+"/") {
			t.Errorf("%s: httpd %+v", name, h)
		}
		if len(e.HTTPDs) != 2 || e.HTTPDs[1].Verdict != Usable || e.HTTPDs[1].HTTPD.Provenance != System {
			t.Errorf("%s: the system's is not explained: %+v", name, e.HTTPDs)
		}
		if len(e.Pythons) < 2 || e.Pythons[1].Source != "VIRTUAL_ENV" || e.Pythons[1].Verdict != Usable {
			t.Errorf("%s: the activated one is not explained: %+v", name, e.Pythons)
		}
	}
}

func sites(t *testing.T, env string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(env, "lib", "python3.*", "site-packages"))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	return found[0]
}

func TestExplainFailures(t *testing.T) {
	noSystem(t)
	var r run.Runner
	e, err := Explain(t.Context(), &r, Request{Dir: t.TempDir(), Python: "/nonexistent"})
	if fault.ClassOf(err) != fault.Environment || e == nil || e.Python() != nil || len(e.Pythons) != 1 || e.Pythons[0].Verdict != Rejected || e.Pythons[0].Cure == "" {
		t.Errorf("%+v, %v", e, err)
	}
	e, err = Explain(t.Context(), &r, Request{Dir: t.TempDir()})
	if fault.ClassOf(err) != fault.Environment || e == nil || len(e.Pythons) != 0 {
		t.Errorf("%+v, %v", e, err)
	}
	// If a named httpd is refused, none is chosen, as with Choose.
	py := fakePython(t)
	tree(t, filepath.Join(py.Platlib, filepath.FromSlash(PackageDir)))
	req := Request{HTTPD: "/nonexistent"}
	e = &Explanation{}
	e.chooseHTTPD(httpds(t, py, req), req)
	if e.HTTPD() != nil || len(e.HTTPDs) < 2 || e.HTTPDs[0].Verdict != Rejected {
		t.Errorf("%+v", e.HTTPDs)
	}
	req = Request{Env: []string{"HTTPD=/nonexistent"}}
	e = &Explanation{}
	e.chooseHTTPD(httpds(t, py, req), req)
	if want, err := Choose(httpds(t, py, req), req); err == nil || e.HTTPD() != nil {
		t.Errorf("Choose returned %+v, %v; the explanation %+v", want, err, e.HTTPD())
	}
}

// TestNothingIsWritten compares a disk before and after.
func TestNothingIsWritten(t *testing.T) {
	noSystem(t)
	env := venv(t, systemPython(t), filepath.Join(t.TempDir(), "env"))
	state := func() string {
		var b strings.Builder
		err := filepath.WalkDir(env, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err == nil {
				b.WriteString(path + info.ModTime().Format(time.RFC3339Nano) + info.Mode().String() + "\n")
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	before := state()
	if _, err := Explain(t.Context(), &run.Runner{}, Request{Python: env, Dir: env}); err != nil {
		t.Fatal(err)
	}
	if after := state(); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte("home = /usr/bin\nversion = 3.11.2\n"))
	f.Add([]byte("=\n\x00 = \xff\nhome"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := files{"/e/pyvenv.cfg": string(data), "/e/bin/python3": "\x7fELF"}.disk("linux")
		for k, v := range d.readConfig("/e/pyvenv.cfg") {
			if strings.ContainsAny(k+v, "\n") || k != strings.ToLower(k) {
				t.Errorf("%q = %q", k, v)
			}
		}
		_, _ = FromFiles(d, "/e/bin/python3")
	})
}

func FuzzBuildTimeVars(f *testing.F) {
	f.Add([]byte("build_time_vars = {'A': 'one '\n 'two', 'B': 1}"))
	f.Add([]byte("build_time_vars = {'\\x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		vars, err := buildTimeVars(data)
		if err != nil && vars != nil {
			t.Error("an error and variables")
		}
		total := 0
		for k, v := range vars {
			total += len(k) + len(v)
		}
		if total > 4*len(data) {
			t.Errorf("%d bytes out of %d", total, len(data))
		}
	})
}

func FuzzMachO(f *testing.F) {
	f.Add([]byte(machOFile(0x0100000c, 6, "3.12.4\x00")))
	f.Add([]byte("\xca\xfe\xba\xbe\x00\x00\x00\x02"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := files{"/x": string(data)}.disk("darwin")
		images, err := d.machO("/x")
		for _, m := range images {
			if err == nil && len(m.text) > len(data) {
				t.Errorf("%d bytes of text out of %d", len(m.text), len(data))
			}
		}
	})
}

// FuzzAPXS answers like an apxs that is not what it claims to be.
func FuzzAPXS(f *testing.F) {
	f.Add([]byte("INCLUDEDIR=/usr/include\nSBINDIR=$(sbindir)\nPROGNAME=httpd\nLIBEXECDIR=/x\n"))
	f.Add([]byte("a = ${a}${a}\nincludedir = $(a)\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		finder := &finder{py: &Python{Machine: "x86_64"}, disk: files{"/usr/share/apache2/build/config_vars.mk": string(data), "/usr/sbin/httpd": "\x7fELF"}.disk("linux")}
		finder.onDisk(noKeys{})
		for _, h := range finder.found {
			if h.Refused == "" {
				t.Errorf("accepted %+v", h)
			}
		}
	})
}
