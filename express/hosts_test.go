//go:build unix

package express

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestNamesOfVirtualHosts: a name is answered by one virtual host, and those for
// internal use cannot be asked for.
func TestNamesOfVirtualHosts(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	exe := fakeServer(t, base, nil)
	for line, want := range map[string]string{
		"--server-name [::1]":                                                                "has no virtual hosts for IPv6 addresses",
		"--proxy-virtual-host ::1 http://h/":                                                 "option --proxy-virtual-host: httpd has no virtual hosts",
		"--server-name _wsgi_":                                                               "names that start with _wsgi_ are reserved",
		"--server-name a.example --server-alias _WSGI_service_x_":                            "option --server-alias: names that start with _wsgi_ are reserved",
		"--proxy-virtual-host _wsgi_x http://h/":                                             "option --proxy-virtual-host: names that start with _wsgi_ are reserved",
		"--server-name a.example --proxy-virtual-host A.example http://h/":                   "the name a.example is given to --server-name, too",
		"--proxy-virtual-host a http://h/ --proxy-virtual-host a. http://i/":                 "given to --proxy-virtual-host, too",
		"--server-name a --server-alias b --proxy-virtual-host b http://h/":                  "given to --server-alias, too",
		"--server-name a --server-alias a --server-alias * --proxy-virtual-host b http://h/": "",
		"--trust-proxy-header X-Forwarded-For":                                               "hint: name the address of the proxy with --trust-proxy",
		"--trust-proxy-header X-Forwarded-For --trust-proxy 0.0.0.0/0":                       "",
	} {
		args := append([]string{"show-config", "app.py", "--port", "47312", "--server-root", filepath.Join(base, "root")}, testUser()...)
		code, stdout, stderr := runProgram(t, &Program{Executable: exe, Dir: base, Env: []string{"LANG=C.UTF-8"}}, append(args, strings.Fields(line)...)...)
		if want == "" && (code != 0 || stderr != "") || want != "" && (code != 2 || !strings.Contains(stderr, want)) {
			t.Errorf("%s: %d %s %s, want %q", line, code, stdout, stderr, want)
		}
	}
}

func TestTrusted(t *testing.T) {
	for v, want := range map[string][]string{
		"10.0.0.0/8": {"10.0.0.0/8"}, "FD00::/8": {"fd00::/8"}, "::1": {"::1"}, "FE80::A": {"fe80::a"}, "0.0.0.0/0": {"0.0.0.0/1", "128.0.0.0/1"}, "::/0": {"::/1", "8000::/1"},
	} {
		if got := trusted(v); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", v, got, want)
		}
	}
}

func TestBelow(t *testing.T) {
	base := t.TempDir()
	real, link := filepath.Join(base, "releases", "42"), filepath.Join(base, "current")
	if err := errors.Join(os.MkdirAll(filepath.Join(real, "app"), 0o755), os.Symlink(real, link), os.WriteFile(filepath.Join(real, "app", "x"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ dir, path, want string }{
		{real, filepath.Join(real, "app", "x"), "app/x"},
		{link, filepath.Join(real, "app", "x"), "app/x"},
		{real, filepath.Join(link, "app", "x"), "app/x"},
		{real, filepath.Join(link, "not", "there"), "not/there"},
		{real, link, "."},
		{real, base, ""},
		{filepath.Join(real, "app"), filepath.Join(real, "application"), ""},
		{filepath.Join(base, "new"), filepath.Join(base, "new", "x"), "x"},
	} {
		if got, _ := inside(c.dir, c.path); got != c.want {
			t.Errorf("%s below %s: %q, want %q", c.path, c.dir, got, c.want)
		}
	}
}
