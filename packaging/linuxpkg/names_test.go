package linuxpkg

import (
	"io/fs"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/fault"
	"modwsgi/internal/receipt"
	"modwsgi/packaging"
	"modwsgi/packaging/linkage"
)

func TestVersionsOfEachFormat(t *testing.T) {
	for _, c := range []struct{ upstream, deb, apk string }{
		{"5.0.2", "5.0.2", "5.0.2"},
		{"5.1.0rc1", "5.1.0~rc1", "5.1.0_rc1"},
		{"5.1.0-RC.1", "5.1.0~rc1", "5.1.0_rc1"},
		{"5.1.0a2", "5.1.0~a2", "5.1.0_alpha2"},
		{"5.1.0.dev3", "5.1.0~~dev3", "5.1.0_alpha0_pre3"},
		{"5.1.0rc1.dev2", "5.1.0~rc1~dev2", "5.1.0_rc1_pre2"},
		{"5.1.0.post1", "5.1.0.post1", "5.1.0_p1"},
		{"5.0.2+ours.1", "5.0.2+ours.1", ""},
		{"not a version", "", ""},
		{"1!5.0", "", ""},
	} {
		for _, f := range []Format{Deb, RPM, APK} {
			want := c.deb
			if f == APK {
				want = c.apk
			}
			got, err := mapVersion(f, c.upstream)
			if got != want || (err != nil) != (want == "") {
				t.Errorf("%s %s: %q, %v, wanted %q", f, c.upstream, got, err, want)
			}
			if err == nil && checkVersion(f, got) != nil {
				t.Errorf("%s %s: %q is refused", f, c.upstream, got)
			}
			if err != nil && (fault.ClassOf(err) != fault.Usage || fault.HintOf(err) == "") {
				t.Errorf("%s %s: %v", f, c.upstream, err)
			}
		}
	}
}

// ordered are upstream versions, oldest first.
var ordered = []string{"5.1.0.dev3", "5.1.0a2.dev1", "5.1.0a2", "5.1.0b1", "5.1.0rc1.dev2", "5.1.0rc1", "5.1.0rc2", "5.1.0", "5.1.0.post1", "5.1.1.dev1", "5.1.1", "5.10.0"}

func TestOrderIsKept(t *testing.T) {
	for i := 1; i < len(ordered); i++ {
		a, _ := mapVersion(Deb, ordered[i-1])
		b, _ := mapVersion(Deb, ordered[i])
		if compareDebian(a+"-1", b+"-1") >= 0 {
			t.Errorf("%s is not before %s", a, b)
		}
	}
}

// TestOrderIsDpkgs compares our comparison with that of dpkg, if available, and the
// mapped versions with that of rpm.
func TestOrderIsDpkgs(t *testing.T) {
	versions := []string{"0", "1:0.1", "2.36-9+deb12u1", "2.36-9", "2.36", "2.4", "3.11.0~rc1", "3.11.0", "1.0a", "1.0+", "1.0", "1.0.", "01.0", "1.0~", "1.0~~"}
	dpkg, err := exec.LookPath("dpkg")
	if err != nil {
		t.Skip("dpkg not found")
	}
	for _, a := range versions {
		for _, b := range versions {
			op := "eq"
			if c := compareDebian(a, b); c < 0 {
				op = "lt"
			} else if c > 0 {
				op = "gt"
			}
			if out, err := exec.Command(dpkg, "--compare-versions", a, op, b).CombinedOutput(); err != nil {
				t.Errorf("dpkg disagrees with %q %s %q: %v %s", a, op, b, err, out)
			}
		}
	}
	rpm, err := exec.LookPath("rpm")
	if err != nil {
		return
	}
	for i := 1; i < len(ordered); i++ {
		a, _ := mapVersion(RPM, ordered[i-1])
		b, _ := mapVersion(RPM, ordered[i])
		out, err := exec.Command(rpm, "--eval", `%{lua:print(rpm.vercmp("`+a+`","`+b+`"))}`).Output()
		if err != nil || strings.TrimSpace(string(out)) != "-1" {
			t.Errorf("rpm: %s is not before %s: %q %v", a, b, out, err)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	good := func() Options {
		return Options{Format: Deb, Name: "site-wsgi", Version: "1.0~rc1", Release: "1", Maintainer: "Jane Doe <jane@your.domain>", Depends: []string{"libfoo1 (>= 1.2) | libfoo0", "libbar.so.1=libbar1"}}
	}
	o := good()
	if err := o.Check(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Options){
		"--name":                 func(o *Options) { o.Name = "../../etc/passwd" },
		"--name ":                func(o *Options) { o.Name = "-rf" },
		"distribution":           func(o *Options) { o.Name = "apache2" },
		"--version":              func(o *Options) { o.Version = "1.0\nDepends: x" },
		"--release":              func(o *Options) { o.Release = "1-2" },
		"--maintainer":           func(o *Options) { o.Maintainer = "jane@your.domain" },
		"control":                func(o *Options) { o.Maintainer = "Jane\n <jane@your.domain>" },
		"--depends":              func(o *Options) { o.Depends = []string{"libfoo (>= 1"} },
		"--depends \"":           func(o *Options) { o.Depends = []string{"libfoo.so.1="} },
		"unknown package format": func(o *Options) { o.Format = "exe" },
	} {
		o := good()
		change(&o)
		err := o.Check()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	empty := Options{Format: APK}
	if err := empty.Check(); err != nil || empty.Release != "1" || checkMaintainer(empty.Maintainer) != nil {
		t.Errorf("%+v %v", empty, err)
	}
}

func TestNamesOfEachFormat(t *testing.T) {
	for f, want := range map[Format][2]string{
		Deb: {"libapache2-mod-wsgi-py311", "mod-wsgi-express-py311_5.0.2-1_amd64.deb"},
		RPM: {"mod_wsgi-py311", "mod-wsgi-express-py311-5.0.2-1.x86_64.rpm"},
		APK: {"apache2-mod-wsgi-py311", "mod-wsgi-express-py311-5.0.2-r1.x86_64.apk"},
	} {
		name := DefaultName(f, false, "py311")
		file := fileName(f, DefaultName(f, true, "py311"), "5.0.2", "1", archOf(f, "x86_64"))
		if name != want[0] || file != want[1] || checkName(f, name) != nil {
			t.Errorf("%s: %s %s", f, name, file)
		}
	}
	if v := withHTTPD(APK, "5.0.2", "2.4.68"); v != "5.0.2_p2004068" || checkVersion(APK, v) != nil {
		t.Error(v)
	}
	if v := withHTTPD(RPM, "5.0.2", "2.4.68"); v != "5.0.2+httpd2.4.68" || checkVersion(RPM, v) != nil {
		t.Error(v)
	}
	if !slices.Contains(taken, "libapache2-mod-wsgi-py3") {
		t.Error("Debian's name is free")
	}
}

// TestFilesAreComplete renders every file of the packages: no mark is left in any, and
// the scripts are valid.
func TestFilesAreComplete(t *testing.T) {
	if testing.Short() {
		t.Skip("-short starts no tool")
	}
	m := &packaging.Module{File: "mod_wsgi/server/m.so", Version: "5.0.2", HTTPD: "2.4.68", Bundled: true, Python: packaging.Python{Version: "3.11.2"}}
	w := &work{stage: &packaging.Stage{Module: m}, tag: "py311", linkage: &linkage.Result{Machine: "x86_64"}, options: Options{Format: Deb}}
	w.receipt.Python = receipt.Python{BasePrefix: `/opt/a "b"`, LibPython: `/opt/a "b"/libpython3.11.so.1.0`}
	w.soname, w.pkg.Name = "libpython3.11.so.1.0", "site"
	names, err := fs.Glob(templates, "files/*")
	if err != nil || len(names) < 15 {
		t.Fatal(names, err)
	}
	mark := regexp.MustCompile("@[A-Z]+@")
	for _, name := range names {
		name = strings.TrimPrefix(name, "files/")
		text := string(w.fill(name))
		if left := mark.FindString(text); left != "" {
			t.Errorf("%s: %s is left", name, left)
		}
		if strings.HasPrefix(text, "#!") || strings.HasPrefix(name, "rpm-") {
			c := exec.Command("sh", "-n")
			c.Stdin = strings.NewReader(text)
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("%s: %v %s", name, err, out)
			}
		}
	}
	load, conf := string(w.fill("deb.load")), string(w.fill("system.conf"))
	if !strings.Contains(load, `LoadFile "/opt/a \"b\"/libpython3.11.so.1.0"`) || !strings.Contains(conf, `WSGIPythonHome "/opt/a \"b\""`) {
		t.Errorf("%s%s", load, conf)
	}
	for _, name := range []string{"rpm.conf", "apk.conf"} {
		text := string(w.fill(name))
		before, inside, ok := strings.Cut(text, "<IfModule !wsgi_module>")
		inside, after, closed := strings.Cut(inside, "</IfModule>")
		// The module of another Python may be loaded instead, and outside values
		// affect it.
		if !ok || !closed || !strings.Contains(inside, "WSGIPythonHome") || strings.Contains(before+after, "WSGI") || strings.TrimSpace(after) != "" {
			t.Errorf("%s:\n%s", name, text)
		}
	}
	if strings.Contains(load, " wsgi-py311 ") || !strings.Contains(load, "# Conflicts: wsgi wsgi-py36") {
		t.Errorf("the conflicts are wrong: %s", load)
	}
}
