//go:build unix

package express

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestNamesOfVirtualHosts: only one virtual host answers a name, and names for internal
// use are refused.
func TestNamesOfVirtualHosts(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	exe := fakeServer(t, base, nil)
	for line, want := range map[string]string{
		"--server-name [::1]":                                                                "does not support virtual hosts for IPv6 addresses",
		"--proxy-virtual-host ::1 http://h/":                                                 "option --proxy-virtual-host: httpd does not support virtual hosts",
		"--server-name _wsgi_":                                                               "names that start with _wsgi_ are reserved",
		"--server-name a.example --server-alias _WSGI_service_x_":                            "option --server-alias: names that start with _wsgi_ are reserved",
		"--proxy-virtual-host _wsgi_x http://h/":                                             "option --proxy-virtual-host: names that start with _wsgi_ are reserved",
		"--server-name a.example --proxy-virtual-host A.example http://h/":                   "the name a.example is also given to --server-name;",
		"--proxy-virtual-host a http://h/ --proxy-virtual-host a. http://i/":                 "also given to --proxy-virtual-host;",
		"--server-name a --server-alias b --proxy-virtual-host b http://h/":                  "also given to --server-alias;",
		"--server-name a --server-alias a --server-alias * --proxy-virtual-host b http://h/": "",
		"--trust-proxy-header X-Forwarded-For":                                               "hint: pass the address of the proxy",
		"--trust-proxy-header X-Forwarded-For --trust-proxy 0.0.0.0/0":                       "",
	} {
		args := append([]string{"show-config", "app.py", "--port", "47312", "--server-root", filepath.Join(base, "root")}, testUser()...)
		code, stdout, stderr := runProgram(t, &Invocation{Executable: exe, Dir: base, Env: []string{"LANG=C.UTF-8"}}, append(args, strings.Fields(line)...)...)
		if want == "" && (code != 0 || stderr != "") || want != "" && (code != 2 || !strings.Contains(stderr, want)) {
			t.Errorf("%s: %d %s %s, want %q", line, code, stdout, stderr, want)
		}
	}
}
