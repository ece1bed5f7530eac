//go:build unix

package express

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNamedFiles: a missing file, or a URL that requests cannot be passed on to, is
// reported with the option before anything is written.
func TestNamedFiles(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	exe := fakeServer(t, base, nil)
	if err := os.WriteFile(filepath.Join(base, "notes"), []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(base, "root")
	run := func(line ...string) (int, string) {
		args := append([]string{"setup-server", "app.py", "--port", "47312", "--server-root", root}, testUser()...)
		code, _, stderr := runProgram(t, &Invocation{Executable: exe, Dir: base, Env: []string{"LANG=C.UTF-8"}}, append(args, line...)...)
		return code, stderr
	}
	for _, c := range []struct {
		line, want string
		code       int
	}{
		{"--auth-user-script no.py", "option --auth-user-script: the file " + base + "/no.py does not exist", 1},
		{"--host-access-script no.py", "option --host-access-script: the file", 1},
		{"--rewrite-rules no.conf", "option --rewrite-rules: the file", 1},
		{"--include-file no.conf", "option --include-file: the file", 1},
		{"--mime-types no", "option --mime-types: the file", 1},
		{"--mime-types env", "option --mime-types: " + base + "/env is a directory", 1},
		{"--service-script s no.py", "option --service-script: the file", 1},
		{"--add-handler .x no.py", "option --add-handler: the file", 1},
		{"--pid-file notes", "option --pid-file: " + base + "/notes exists and is not the PID file", 1},
		{"--python-eggs no/eggs", "option --python-eggs: the directory " + base + "/no does not exist", 1},
		{"--https-port 47313 --server-name a.example --ssl-certificate no", "option --ssl-certificate: open " + base + "/no.crt", 1},
		{"--https-port 47313 --server-name a.example --ssl-certificate-file app.py --ssl-certificate-key-file no", "option --ssl-certificate-key-file: open " + base + "/no:", 1},
		{"--pid-file no/pid", "option --pid-file: the directory " + base + "/no does not exist", 1},
		{"--error-log-name no/log", "option --error-log-name: the directory", 1},
		{"--error-log-name log/", "is not a file name", 2},
		{"--proxy-mount-point /a ftp://x/", "option --proxy-mount-point: \"ftp://x/\" is not the URL of a server", 2},
		{"--proxy-mount-point /a x", "is not the URL", 2},
		{"--proxy-mount-point /a unix:/run/x", "is not the URL", 2},
		{"--proxy-virtual-host a.example http:///x", "option --proxy-virtual-host: ", 2},
		{"--proxy-virtual-host a,b http://x/", "neither a host name", 2},
		{"--dashboard 0.0.0.0:9119", "can be reached from other machines", 2},
		{"--dashboard [::]:9119", "can be reached from other machines", 2},
		{"--dashboard example.com:9119", "can be reached from other machines", 2},
		{"--dashboard x", "neither PORT nor HOST:PORT", 2},
		{"--dashboard-path /d", "hint: add --dashboard PORT", 2},
		{"--dashboard 9119 --dashboard-path /d", "hint: add --auth-user-script or --host-access-script", 2},
		{"--dashboard 9119 --dashboard-path / --auth-user-script app.py", "is not a path such as /-/dashboard", 2},
		{"--dashboard 9119 --dashboard-path /a*b --auth-user-script app.py", "is not a path such as /-/dashboard", 2},
		{"--dashboard 9119 --dashboard-path /d --auth-user-script app.py --health-path /d", "have the same path", 2},
		{"--dashboard 9119 --dashboard-path /d --auth-user-script app.py --proxy-mount-point /d/ http://x/", "have the same path", 2},
		{"--application-type module --entry-point a.b:app", "hint: use a.b --callable-object app", 2},
	} {
		code, stderr := run(strings.Fields(c.line)...)
		if code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: %d %s", c.line, code, stderr)
		}
		if _, err := os.Lstat(root); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the server root was created", c.line)
		}
	}
}

// TestIneffective: options without effect are reported, others are not.
func TestIneffective(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	exe := fakeServer(t, base, nil)
	for line, want := range map[string]string{
		"--auth-type Digest":                                              "--auth-type has no effect without --auth-user-script",
		"--auth-user-script app.py --auth-type Basic":                     "",
		"--auth-user-script app.py --auth-group x":                        "--auth-group has no effect without --auth-group-script",
		"--max-log-size 3":                                                "--max-log-size has no effect without --rotate-logs",
		"--max-log-size 3 --rotate-logs":                                  "",
		"--access-log-format combined":                                    "--access-log-format has no effect without --access-log",
		"--startup-log-name x":                                            "--startup-log-name has no effect without --startup-log",
		"--ignore-activity /x":                                            "--ignore-activity has no effect without --inactivity-timeout",
		"--header-timeout 0 --header-min-rate 5":                          "--header-min-rate has no effect with --header-timeout 0",
		"--body-timeout 0 --body-max-timeout 5":                           "--body-max-timeout has no effect with --body-timeout 0",
		"--application-type static --callable-object x --document-root .": "--callable-object has no effect with --application-type static",
		"--header-min-rate 0 --header-max-timeout 9":                      "--header-max-timeout has no effect with --header-min-rate 0",
		"--trust-proxy 10.0.0.1 --trust-proxy-header X-Forwarded-Four":    "--trust-proxy-header X-Forwarded-Four has no effect: mod_wsgi supports only X-Forwarded-For,",
		"--trust-proxy ::/0 --trust-proxy-header x-forwarded-for":         "",
		"--application-type module --entry-point app_no_module":           "the module app_no_module is neither",
		"--locale C --lang C.UTF-8":                                       "--lang has no effect with --locale",
		"--embedded-mode --request-timeout 5":                             "--request-timeout has no effect in embedded mode",
		"--embedded-mode --maximum-requests 5 --socket-timeout 9":         "",
		"--embedded-mode --max-clients 5":                                 "--max-clients has no effect in embedded mode",
		"--debug-mode --threads 5":                                        "--threads has no effect in debug mode",
		"--enable-recorder --process-group x":                             "--process-group has no effect in debug mode",
		"--entry-point app.py":                                            "--entry-point overrides the argument \"other.py\"",
		"--python-path no":                                                "option --python-path: " + base + "/no does not exist",
		"--application-type module --entry-point no_module":               "the module no_module is neither in " + base + " nor among the packages",
		"--request-timeout 5 --threads 2 --processes 3":                   "",
	} {
		args := append([]string{"show-config", "--port", "47312", "--server-root", filepath.Join(base, "root")}, testUser()...)
		switch {
		case line == "--entry-point app.py":
			args = append(args, "other.py")
		case !strings.Contains(line, "no_module") && !strings.Contains(line, "static"):
			args = append(args, "app.py")
		}
		code, _, stderr := runProgram(t, &Invocation{Executable: exe, Dir: base, Env: []string{"LANG=C.UTF-8"}}, append(args, strings.Fields(line)...)...)
		if code != 0 || want == "" && stderr != "" || !strings.Contains(stderr, want) {
			t.Errorf("%s: %d %q, want %q", line, code, stderr, want)
		}
	}
}

// TestForeignFiles: files that mod_wsgi-express did not write are not replaced.
func TestForeignFiles(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	exe := fakeServer(t, base, nil)
	root := filepath.Join(base, "etc")
	name := filepath.Join(root, "httpd.conf")
	if err := errors.Join(os.Mkdir(root, 0o755), os.WriteFile(name, []byte("# mine\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"setup-server", "app.py", "--port", "47312", "--server-root", root}, testUser()...)
	code, _, stderr := runProgram(t, &Invocation{Executable: exe, Dir: base, Env: []string{"LANG=C.UTF-8"}}, args...)
	if code != 1 || !strings.Contains(stderr, "contains an httpd.conf that mod_wsgi-express did not write") {
		t.Errorf("%d %s", code, stderr)
	}
	if text, _ := os.ReadFile(name); string(text) != "# mine\n" {
		t.Errorf("the file now contains %q", text)
	}
	if entries, _ := os.ReadDir(root); len(entries) != 1 {
		t.Errorf("other files were written: %v", entries)
	}
	if err := os.Rename(name, filepath.Join(root, "else")); err != nil {
		t.Fatal(err)
	}
	args[0] = "show-config"
	code, _, stderr = runProgram(t, &Invocation{Executable: exe, Dir: base, Env: []string{"LANG=C.UTF-8"}}, args...)
	if code != 0 || !strings.Contains(stderr, "contains other files (else)") {
		t.Errorf("%d %s", code, stderr)
	}
}

// TestHTTPDOfTheEnvironment: HTTPD is used, as with upstream's launcher, but an option
// overrides it.
func TestHTTPDOfTheEnvironment(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	exe := fakeServer(t, base, nil)
	show := func(args ...string) (int, string) {
		args = append(append([]string{"show-config", "app.py", "--port", "47312", "--server-root", filepath.Join(base, "root")}, testUser()...), args...)
		code, _, stderr := runProgram(t, &Invocation{Executable: exe, Dir: base, Env: []string{"LANG=C.UTF-8", "HTTPD=/nonexistent/httpd"}}, args...)
		return code, stderr
	}
	if code, stderr := show(); code != 1 || !strings.Contains(stderr, "the environment variable HTTPD") {
		t.Errorf("%d %s", code, stderr)
	}
	httpd := filepath.Join(base, "env/lib/python3.11/site-packages/mod_wsgi_packages/httpd/bin/httpd")
	if code, stderr := show("--httpd-executable", httpd); code != 0 {
		t.Errorf("%d %s", code, stderr)
	}
}
