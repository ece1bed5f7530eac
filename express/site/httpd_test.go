//go:build unix

package site

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/fault"
)

// program writes a file that can be executed.
func program(t *testing.T, path, text string) string {
	t.Helper()
	plantFile(t, path, text)
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// realTemp is a directory for the test, by its path without links.
func realTemp(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// refused reports an error that is not of the class or lacks the text or the hint.
func refused(t *testing.T, what string, err error, class fault.Class, text, hint string) {
	t.Helper()
	if err == nil || fault.ClassOf(err) != class || !strings.Contains(err.Error(), text) || !strings.Contains(fault.HintOf(err), hint) {
		t.Errorf("%s: %v (class %d), hint %q; want %q (class %d), hint %q", what, err, fault.ClassOf(err), fault.HintOf(err), text, class, hint)
	}
}

func TestLookUpHTTPD(t *testing.T) {
	top := realTemp(t)
	const name = "httpd-of-this-test"
	first, second := program(t, filepath.Join(top, "first", name), "#!/bin/sh\n"), program(t, filepath.Join(top, "second", name), "#!/bin/sh\n")
	plantFile(t, filepath.Join(top, "text", name), "")
	if err := os.MkdirAll(filepath.Join(top, "dir", name), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, name, want, refusal string }{
		{"first:second", name, first, ""},
		{"second:first", name, second, ""},
		{"none:text:dir:second", name, second, ""},
		{"none", name, "", name + ": executable file not found"},
		{"", name, "", "not found"},
		{"", "first/" + name, first, ""},
		{"", "./second/../first/" + name, first, ""},
		{"second", first, first, ""},
		{"", top + "/none", "", "the program " + top + "/none does not exist"},
		{"", "none/httpd", "", "the program " + top + "/none/httpd does not exist"},
		{"", top + "/dir/" + name, "", "does not exist"},
		{"first", "", "", "not found"},
	} {
		var dirs []string
		for _, dir := range filepath.SplitList(c.path) {
			dirs = append(dirs, filepath.Join(top, dir))
		}
		got, err := LookUpHTTPD([]string{"PATH=" + strings.Join(dirs, ":"), "A=1"}, top, c.name)
		if c.refusal != "" {
			refused(t, c.name, err, fault.Usage, c.refusal, "")
		} else if got != c.want || err != nil {
			t.Errorf("%s in %s: %s, %v, want %s", c.name, c.path, got, err, c.want)
		}
	}
}

func TestCheckHTTPD(t *testing.T) {
	top := realTemp(t)
	httpd := program(t, filepath.Join(top, "httpd"), "")
	link := filepath.Join(top, "link")
	if err := errors.Join(os.Symlink(httpd, link), os.Symlink("nowhere", filepath.Join(top, "dangling"))); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{httpd, link} {
		if err := CheckHTTPD(path, "/env"); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, path := range []string{top, filepath.Join(top, "none"), filepath.Join(top, "dangling"), filepath.Join(httpd, "below"), ""} {
		err := CheckHTTPD(path, "/my env")
		refused(t, path, err, fault.Environment, "the httpd "+path+", which the module was built for,", "modwsgi install --python '/my env'")
		refused(t, path, err, fault.Environment, "", "--httpd-executable")
	}
}

// TestMIMETypes: the system's table comes before httpd's.
func TestMIMETypes(t *testing.T) {
	top := realTemp(t)
	modules, own := filepath.Join(top, "modules"), filepath.Join(top, "conf", "mime.types")
	system := ""
	for _, name := range []string{"/etc/mime.types", "/etc/apache2/mime.types", "/etc/httpd/conf/mime.types"} {
		if info, err := os.Stat(name); system == "" && err == nil && info.Mode().IsRegular() {
			system = name
		}
	}
	last := system
	if info, err := os.Stat("/usr/local/etc/mime.types"); last == "" && err == nil && info.Mode().IsRegular() {
		last = "/usr/local/etc/mime.types"
	}
	if got := MIMETypes(modules); got != last {
		t.Errorf("httpd has no table: %q, want %q", got, last)
	}
	plantFile(t, own, "")
	want := own
	if system != "" {
		want = system
	}
	if got := MIMETypes(modules); got != want {
		t.Errorf("httpd has a table: %q, want %q", got, want)
	}
	t.Chdir(top)
	if got := firstTable(top, filepath.Join(top, "none"), "conf/mime.types", own, filepath.Join(top, "modules")); got != own {
		t.Errorf("after a directory, a missing file and a relative path: %q", got)
	}
	if got := firstTable(top, "conf/mime.types"); got != "" {
		t.Errorf("no table: %q", got)
	}
}

// TestFindMPM has a row for each place that an MPM can come from.
func TestFindMPM(t *testing.T) {
	modules := realTemp(t)
	for _, name := range []string{"worker", "prefork"} {
		plantFile(t, ModuleFile(modules, "mpm_"+name), "")
	}
	failed := errors.New("failed")
	for _, c := range []struct {
		what, wanted, allowed string
		builtIn               string // "!" fails
		want                  MPM
		refusal               string
	}{
		{what: "the first", wanted: "prefork worker", want: MPM{"prefork", false}},
		{what: "the second", wanted: "event worker", want: MPM{"worker", false}},
		{what: "an allowed one", wanted: "worker prefork", allowed: "prefork", want: MPM{"prefork", false}},
		{what: "httpd is not asked", wanted: "worker", builtIn: "!", want: MPM{"worker", false}},
		{what: "built in", wanted: "event", builtIn: "core event", want: MPM{"event", true}},
		{what: "built in, by its long name", wanted: "event", builtIn: "core mpm_event", want: MPM{"event", true}},
		{what: "another one is built in", wanted: "event", builtIn: "prefork", want: MPM{"prefork", true}},
		{what: "built in and not allowed", wanted: "event", allowed: "event worker", builtIn: "prefork", refusal: "this httpd has prefork built in and no other"},
		{what: "none", wanted: "event motorz", builtIn: "core so", refusal: "none of the multi-processing modules event, motorz is in " + modules},
		{what: "a loadable one is not allowed", wanted: "worker", allowed: "event", builtIn: "core", refusal: "none of the multi-processing modules worker"},
		{what: "httpd fails", wanted: "event", builtIn: "!", refusal: "failed"},
	} {
		got, err := FindMPM(modules, strings.Fields(c.wanted), strings.Fields(c.allowed), func() (map[string]bool, error) {
			if c.builtIn == "!" {
				return nil, failed
			}
			inside := map[string]bool{}
			for _, name := range strings.Fields(c.builtIn) {
				inside[name] = true
			}
			return inside, nil
		})
		switch {
		case c.refusal == "" && (err != nil || got != c.want), c.refusal != "" && (err == nil || !strings.Contains(err.Error(), c.refusal)), c.builtIn == "!" && c.refusal != "" && !errors.Is(err, failed):
			t.Errorf("%s: %+v, %v; want %+v %s", c.what, got, err, c.want, c.refusal)
		}
	}
}

func TestBuiltInModules(t *testing.T) {
	top := realTemp(t)
	httpd := program(t, filepath.Join(top, "httpd"), "#!/bin/sh\n[ \"$1 $2\" = '-l ' ] && [ \"$A\" = 1 ] || exit 1\nprintf 'Compiled in modules:\\n  core.c\\n  mod_so.c\\r\\n  http_core.c\\n  mpm_event.c\\n'\n")
	got, err := BuiltInModules(t.Context(), []string{"A=1"}, httpd, "/env")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"core", "so", "http_core", "mpm_event"} {
		if !got[name] {
			t.Errorf("%s is missing in %q", name, slices.Sorted(maps.Keys(got)))
		}
	}
	broken := program(t, filepath.Join(top, "broken"), "#!/bin/sh\necho 'libapr-1.so.0: not found' >&2\nexit 127\n")
	_, err = BuiltInModules(t.Context(), nil, broken, "/env")
	refused(t, "a broken httpd", err, fault.Environment, "libapr-1.so.0: not found", "modwsgi install --python /env")
	_, err = BuiltInModules(t.Context(), nil, filepath.Join(top, "none"), "/env")
	refused(t, "no httpd", err, fault.Environment, "ask "+top+"/none for its modules", "modwsgi install --python /env")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the cause is lost: %v", err)
	}
}

// TestLayoutOfUnix: outside Windows the place of an httpd does not tell its modules.
func TestLayoutOfUnix(t *testing.T) {
	top := realTemp(t)
	program(t, filepath.Join(top, "bin", "httpd.exe"), "")
	plantFile(t, filepath.Join(top, "modules", "mod_x.so"), "")
	if got := ModulesOf(top); got != top {
		t.Errorf("modules of %s: %s", top, got)
	}
	if got := ModulesBeside(filepath.Join(top, "bin", "httpd.exe")); got != "" {
		t.Errorf("modules beside httpd: %s", got)
	}
	if got := ModuleFile(top+"/modules", "x"); got != top+"/modules/mod_x.so" {
		t.Errorf("module: %s", got)
	}
}
