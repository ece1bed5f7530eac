//go:build unix

package express

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"modwsgi/express/host"
	"modwsgi/internal/receipt"
)

// fakeServer is fakeInstall with an httpd whose modules are all present but empty,
// below base, and an application.
func fakeServer(t testing.TB, base string, edit func(*receipt.Receipt)) (exe string) {
	t.Helper()
	if err := os.MkdirAll(base, 0o755); err != nil {
		t.Fatal(err)
	}
	for d := base; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			break
		}
	}
	exe, site := fakeInstall(t, filepath.Join(base, "env"), edit)
	files := []string{"bin/httpd", "bin/rotatelogs", "conf/mime.types"}
	for _, m := range strings.Fields("mpm_event mpm_worker mpm_prefork unixd authn_core authz_core authz_host authz_user auth_basic auth_digest mime rewrite alias dir env reqtimeout " +
		"log_config status filter deflate headers proxy proxy_http ssl http2 autoindex cgid cgi setenvif access_compat") {
		files = append(files, "modules/mod_"+m+".so")
	}
	for _, f := range files {
		name := filepath.Join(site, "mod_wsgi_packages", "httpd", f)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(base, "app.py"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return exe
}

// TestPathsThatCannotBeCarried: each path is reported with its role, the character and
// the hint, and nothing is written.
func TestPathsThatCannotBeCarried(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	const latin = "caf\xe9"
	if err := os.Mkdir(filepath.Join(top, latin), 0o755); err != nil || runtime.GOOS == "darwin" {
		t.Skip("this file system accepts only UTF-8")
	}
	plain := filepath.Join(top, "plain")
	exe := fakeServer(t, plain, nil)
	broken, byte80 := filepath.Join(top, "a\nb"), filepath.Join(top, latin)
	exeLine, exeByte := fakeServer(t, filepath.Join(broken, "x"), nil), fakeServer(t, filepath.Join(byte80, "x"), nil)
	exeDollar := fakeServer(t, filepath.Join(top, "a${HOME}b"), nil)
	app := filepath.Join(plain, "app.py")
	for _, c := range []struct {
		name, exe, dir string
		args           []string
		code           int
		want           []string
	}{
		{"line break in the environment", exeLine, plain, nil, 1, []string{`the path of the Python environment "`, "line break", "hint: move it"}},
		{"byte in the environment", exeByte, plain, nil, 1, []string{`the path of the Python environment "`, "the byte 0xe9, which is not UTF-8", "hint: move it"}},
		{"line break in the working directory", exe, broken, nil, 1, []string{"the working directory", "line break", "--working-directory"}},
		{"byte in the working directory", exe, byte80, nil, 1, []string{"the working directory", "0xe9", "--working-directory"}},
		{"working directory by option", exe, plain, []string{"--working-directory", byte80}, 2, []string{"option --working-directory: ", "0xe9"}},
		{"server root", exe, plain, []string{"--server-root", filepath.Join(top, "r\xff")}, 2, []string{"option --server-root: ", "0xff"}},
		{"callable", exe, plain, []string{"--callable-object", "a\xffb"}, 2, []string{"option --callable-object: ", "0xff"}},
		{"mount point", exe, plain, []string{"--mount-point", "/a\xff"}, 2, []string{"option --mount-point: ", "0xff"}},
		{"pid file", exe, plain, []string{"--pid-file", filepath.Join(top, "p\xff")}, 2, []string{"option --pid-file: ", "0xff"}},
		{"application", exe, plain, []string{"--entry-point", filepath.Join(byte80, "x", "app.py")}, 2, []string{"option --entry-point: ", "0xe9"}},
		{"service", exe, plain, []string{"--service-script", "s", filepath.Join(byte80, "x", "app.py")}, 2, []string{"option --service-script: ", "0xe9"}},
		{"handler", exe, plain, []string{"--add-handler", ".x", filepath.Join(byte80, "x", "app.py")}, 2, []string{"option --add-handler: ", "0xe9"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := filepath.Join(top, "root")
			args := []string{"setup-server", app, "--port", "47312"}
			if c.name != "server root" {
				args = append(args, "--server-root", root)
			}
			code, stdout, stderr := runProgram(t, &Invocation{Executable: c.exe, Dir: c.dir, Env: []string{"LANG=C.UTF-8"}}, append(append(args, c.args...), testUser()...)...)
			if code != c.code || stdout != "" {
				t.Errorf("code %d\n%s", code, stdout)
			}
			for _, want := range c.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("missing %q in\n%s", want, stderr)
				}
			}
			if _, err := os.Lstat(root); !errors.Is(err, fs.ErrNotExist) {
				t.Error("the server root was created")
			}
		})
	}
	// In our own files a variable stands for ${; in other files this is impossible.
	code, stdout, stderr := runProgram(t, &Invocation{Executable: exeDollar, Dir: plain}, "module-config")
	if code != 1 || stdout != "" || !strings.Contains(stderr, "contains ${") {
		t.Errorf("module-config: %d %s\n%s", code, stdout, stderr)
	}
	target := filepath.Join(top, "m${X}")
	if err := os.Mkdir(target, 0o755); err != nil {
		t.Fatal(err)
	}
	code, _, stderr = runProgram(t, &Invocation{Executable: exe, Dir: plain}, "install-module", "--modules-directory", target)
	if entries, _ := os.ReadDir(target); code != 1 || len(entries) != 0 || !strings.Contains(stderr, "contains ${") {
		t.Errorf("install-module: %d, %d files\n%s", code, len(entries), stderr)
	}
	code, stdout, stderr = runProgram(t, &Invocation{Executable: exeDollar, Dir: plain, Env: []string{"LANG=C.UTF-8"}},
		append([]string{"show-config", app, "--port", "47312", "--server-root", filepath.Join(top, "root")}, testUser()...)...)
	if code != 0 || !strings.Contains(stdout, "a${MOD_WSGI_DOLLAR}{HOME}b/env") {
		t.Errorf("show-config: %d %s\n%s", code, stdout, stderr)
	}
}

// TestAccountsOfTheEnvironment: the variables that upstream's launcher reads apply
// unless an option overrides them.
func TestAccountsOfTheEnvironment(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can choose another account")
	}
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	exe := fakeServer(t, base, nil)
	show := func(env []string, args ...string) (int, string, string) {
		return runProgram(t, &Invocation{Executable: exe, Dir: base, Env: append(env, "LANG=C.UTF-8")},
			append([]string{"show-config", "app.py", "--port", "47312", "--server-root", filepath.Join(base, "root")}, args...)...)
	}
	for _, c := range []struct {
		env, args []string
		want      string
	}{
		{[]string{"MOD_WSGI_USER=nobody"}, nil, "User \"nobody\"\n# --group, by default\nGroup \"nogroup\"\n"},
		{[]string{"MOD_WSGI_RUN_USER=nobody"}, nil, "User \"nobody\""},
		{[]string{"WSGI_RUN_USER=nobody", "WSGI_RUN_GROUP=daemon"}, nil, "Group \"daemon\""},
		{[]string{"MOD_WSGI_USER=no-such-user"}, []string{"--user", "nobody"}, "User \"nobody\""},
		{nil, []string{"--user", "#65534"}, "Group \"nogroup\""},
		{nil, []string{"--user", "#4000123", "--group", "#4000124"}, "Group \"#4000124\""},
	} {
		code, stdout, stderr := show(c.env, c.args...)
		if code != 0 || !strings.Contains(stdout, c.want) {
			t.Errorf("%v %v: %d, missing %q in\n%.600s\n%s", c.env, c.args, code, c.want, stdout, stderr)
		}
	}
	for _, c := range []struct {
		env, args []string
		want      string
	}{
		{[]string{"MOD_WSGI_USER=no-such-user"}, nil, "the environment variable MOD_WSGI_USER: no such account: \"no-such-user\""},
		{nil, []string{"--user", "nobody", "--group", "no-such-group"}, "getent group"},
	} {
		code, stdout, stderr := show(c.env, c.args...)
		if code != 1 || stdout != "" || !strings.Contains(stderr, c.want) || !strings.Contains(stderr, "hint: ") {
			t.Errorf("%v %v: %d\n%s", c.env, c.args, code, stderr)
		}
	}
}

func TestLocaleThatIsNotThere(t *testing.T) {
	if _, err := os.Stat(host.LocaleDir); err != nil {
		t.Skip("this system does not keep locales in " + host.LocaleDir)
	}
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	exe := fakeServer(t, base, nil)
	for option, locale := range map[string]string{"--locale": "xx_XX.UTF-8", "--lang": "yy_YY"} {
		code, stdout, stderr := runProgram(t, &Invocation{Executable: exe, Dir: base}, append([]string{
			"show-config", "app.py", "--port", "47312", "--server-root", filepath.Join(base, "root"), option, locale,
		}, testUser()...)...)
		if code != 0 || !strings.Contains(stdout, ` locale="C.UTF-8"`) || !strings.Contains(stderr, "option "+option+": this machine has no locale "+locale) {
			t.Errorf("%s: %d %s\n%.300s", option, code, stderr, stdout)
		}
	}
	for _, locale := range []string{"C", "POSIX", "C.UTF-8"} {
		_, stdout, stderr := runProgram(t, &Invocation{Executable: exe, Dir: base}, append([]string{
			"show-config", "app.py", "--port", "47312", "--server-root", filepath.Join(base, "root"), "--locale", locale,
		}, testUser()...)...)
		if stderr != "" || !strings.Contains(stdout, ` locale="`+locale+`"`) {
			t.Errorf("%s: %s", locale, stderr)
		}
	}
}
