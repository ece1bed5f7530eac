package express

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"modwsgi/express/instance"
	"modwsgi/internal/otheruser"
)

// TestFilesOfAnotherUserAsRoot: files through which another user could become root are
// refused with a hint before any of them is run. Files that are only read cause a
// warning.
func TestFilesOfAnotherUserAsRoot(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	base := filepath.Join(top, "base")
	exe := fakeServer(t, base, nil)
	httpd := filepath.Join(base, "env/lib/python3.11/site-packages/mod_wsgi_packages/httpd")
	marker := filepath.Join(top, "marker")
	file := func(name, text string) string {
		path := filepath.Join(top, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o755))
		return path
	}
	script := "#!/bin/sh\ntouch " + marker + "\n"
	theirs := file("theirs/file", script)
	foreign := file("ours/foreign.conf", script)
	good := file("ours/good.conf", "# nothing\n")
	file("ours/sub/good.conf", "# nothing\n")
	file("ours/sub/deep/foreign.conf", "# nothing\n")
	open := file("ours/open", script)
	theirDir, grouped := filepath.Join(top, "theirs"), file("grouped/x.conf", "")
	modules := filepath.Join(top, "modules")
	must(t, os.CopyFS(modules, os.DirFS(filepath.Join(httpd, "modules"))), os.Chmod(open, 0o777), os.Symlink(theirs, top+"/ours/link"),
		os.Chown(filepath.Dir(grouped), 0, otheruser.GID), os.Chmod(filepath.Dir(grouped), 0o775))
	otheruser.Give(t, theirDir, theirs, foreign, filepath.Join(top, "ours/sub/deep/foreign.conf"), filepath.Join(modules, "mod_alias.so"))
	for _, ext := range []string{".crt", ".key"} {
		otheruser.Give(t, file("tls/theirs"+ext, ""))
	}
	cert, key := file("tls/our.crt", ""), file("tls/our.key", "")
	tls := "--server-name a.example --https-port 47314 "
	run := func(exe, line string, env ...string) (int, string) {
		args := append([]string{"setup-server", "app.py", "--port", "47312", "--server-root", filepath.Join(top, "root")}, testUser()...)
		code, _, stderr := runProgram(t, &Invocation{Executable: exe, Dir: base, Env: append(env, "LANG=C.UTF-8", "PATH=/usr/bin:/bin")}, append(args, strings.Fields(line)...)...)
		return code, stderr
	}
	const passes = "check the configuration" // as far as an empty file as httpd gets
	for _, c := range []struct{ line, want string }{
		{"--include-file " + theirs, "option --include-file: root would obey " + theirs + ", and another user can change " + theirs + " (" + theirDir + ": it belongs to"},
		{"--include-file " + foreign, "option --include-file: root would obey " + foreign},
		{"--include-file " + open, "option --include-file: root would obey " + open},
		{"--include-file " + top + "/ours/link", "option --include-file: root would obey"},
		{"--include-file " + grouped, "option --include-file: root would obey"},
		{"--include-file " + good + " --include-file " + foreign, "option --include-file: root would obey " + foreign},
		{"--include-file " + top + "/ours/sub", "foreign.conf"},
		{"--include-file " + top + "/ours/*.conf", "option --include-file: root would obey " + foreign},
		{"--include-file " + top + "/theirs/*.none", "option --include-file: root would obey " + theirDir},
		{"--include-file " + top + "/*/none.conf", "option --include-file: root would obey " + top + "/grouped"},
		{"--include-file " + top + "/ours/sub/*.conf", passes},
		{"--include-file " + good, passes},
		{"--rewrite-rules " + foreign, "option --rewrite-rules: root would obey " + foreign},
		{"--rewrite-rules " + good, passes},
		{"--httpd-executable " + theirs, "option --httpd-executable: root would run " + theirs},
		{"--httpd-executable " + open, "option --httpd-executable: root would run " + open},
		{"--modules-directory " + modules, "option --modules-directory: root would run " + modules + "/mod_alias.so"},
		{"--rotate-logs --rotatelogs-executable " + theirs, "option --rotatelogs-executable: root would run"},
		{"--enable-gdb --gdb-executable " + theirs, "option --gdb-executable: root would run"},
		{"--envvars-script " + theirs, "option --envvars-script: root would run " + theirs + ", and another user can change"},
		{"--envvars-script " + good + " --shell-executable " + open, "option --shell-executable: root would run " + open},
		{"--socket-prefix " + theirDir, "option --socket-prefix: root would write in"},
		{"--pid-file " + theirDir + "/pid", "option --pid-file: httpd would write"},
		{"--mime-types " + theirs, "warning: option --mime-types: another user can change " + theirs},
		{"--mime-types /dev/null", passes},
		{tls + "--ssl-certificate " + top + "/tls/theirs", "warning: the certificate's key: another user can change " + top + "/tls/theirs.key"},
		{tls + "--ssl-certificate-file " + cert + " --ssl-certificate-key-file " + key + " --ssl-ca-certificate-file " + foreign, "warning: option --ssl-ca-certificate-file: another user can change"},
		{tls + "--ssl-certificate-file " + cert + " --ssl-certificate-key-file " + key, passes},
		{"--log-directory " + theirDir, "warning: another user can replace the log files in " + theirDir},
		// What only the application's processes run is up to that account.
		{"--auth-user-script " + theirs + " --service-script s " + theirs + " --add-handler .x " + theirs + " --document-root " + theirDir + " --python-path " + theirDir, passes},
		{"--working-directory " + theirDir, passes},
	} {
		code, stderr := run(exe, c.line)
		refuse := !strings.HasPrefix(c.want, "warning: ") && c.want != passes
		if code != 1 || !strings.Contains(stderr, c.want) || refuse == strings.Contains(stderr, passes) {
			t.Errorf("%s: %d %s", c.line, code, stderr)
		}
		if c.want == passes && strings.Contains(stderr, "another user") || refuse && !strings.Contains(stderr, "hint: ") {
			t.Errorf("%s: %s", c.line, stderr)
		}
	}
	if _, stderr := run(exe, "", "HTTPD="+theirs); !strings.Contains(stderr, "the environment variable HTTPD: root would run "+theirs) {
		t.Errorf("HTTPD: %s", stderr)
	}
	if _, err := os.Lstat(marker); err == nil {
		t.Error("a program was run")
	}
	if _, err := os.Lstat(filepath.Join(top, "root")); err == nil {
		t.Error("the server root was created")
	}
}

// TestEnvironmentOfAnotherUserAsRoot: root has chosen to run an environment that
// belongs to another user; it is used with a warning. Other files of that user add no
// risk, but those of a third user do.
func TestEnvironmentOfAnotherUserAsRoot(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	base := filepath.Join(top, "home")
	exe := fakeServer(t, base, nil)
	for name, text := range map[string]string{"home/x.conf": "", "third/x.conf": "", "home/third.conf": ""} {
		must(t, os.MkdirAll(filepath.Join(top, filepath.Dir(name)), 0o755), os.WriteFile(filepath.Join(top, name), []byte(text), 0o644))
	}
	must(t, os.Chown(filepath.Join(top, "third"), 65534, 65534), os.Chown(filepath.Join(base, "third.conf"), 65534, 65534))
	otheruser.Give(t, base, exe, filepath.Join(base, "x.conf"))
	for line, want := range map[string]string{
		"": "", "--include-file x.conf": "warning: option --include-file: another user can change " + base + "/x.conf",
		"--include-file ../third/x.conf": "error: option --include-file: root would obey", "--include-file third.conf": "error: option --include-file: root would obey " + base + "/third.conf",
		"--envvars-script x.conf": "error: option --envvars-script: root would run", "--server-root " + base + "/root": "error: another user can replace the server root",
	} {
		args := append([]string{"setup-server", "app.py", "--port", "47312", "--server-root", filepath.Join(top, "root")}, testUser()...)
		_, _, stderr := runProgram(t, &Invocation{Executable: exe, Dir: base, Env: []string{"LANG=C.UTF-8", "PATH=/usr/bin:/bin"}}, append(args, strings.Fields(line)...)...)
		if !strings.Contains(stderr, want) || strings.Contains(want, "error: ") == strings.Contains(stderr, "check the configuration") {
			t.Errorf("%s: %s", line, stderr)
		}
		warning := "root runs programs of an environment that another user can change to become root: " + exe + " (" + base + ": it belongs to the user"
		if !strings.Contains(line, "server-root") && !strings.Contains(line, "envvars") && (!strings.Contains(want, "error: ") && strings.Count(stderr, warning) != 1) {
			t.Errorf("%s: %s", line, stderr)
		}
	}
}

// TestChangedSinceSetup: the files with which a server root's httpd is started are
// checked each time, because another user may have changed them since.
func TestChangedSinceSetup(t *testing.T) {
	otheruser.Need(t)
	ran := noExec(t)
	top := otheruser.Dir(t)
	httpd, conf := filepath.Join(top, "httpd"), filepath.Join(top, "x.conf")
	marker := filepath.Join(top, "marker")
	must(t, os.WriteFile(httpd, []byte("#!/bin/sh\ntouch "+marker+"\n"), 0o755), os.WriteFile(conf, nil, 0o644))
	root := filepath.Join(top, "root")
	l := plantRoot(t, root, httpd)
	l.Files = []instance.Relied{{By: "option --httpd-executable", Path: httpd, Role: instance.Executed}, {By: "option --include-file", Path: conf, Role: instance.Obeyed}}
	saveLaunch(t, l)
	ctl := func(verb string) (int, string) {
		code, _, stderr := runProgram(t, &Invocation{Executable: "/bin/true", Dir: top}, "apachectl", root, verb)
		return code, stderr
	}
	verbs := []string{"start", "configtest", "restart", "graceful", "-S", "-v", ""}
	for _, verb := range verbs {
		if _, stderr := ctl(verb); len(*ran) != 1 || !strings.Contains((*ran)[0], httpd) {
			t.Errorf("%s: %q %s", verb, *ran, stderr)
		}
		*ran = nil
	}
	for path, except := range map[string][]string{httpd: nil, conf: {"-v", ""}, filepath.Join(root, instance.ConfFile): {"-v", ""}} {
		otheruser.Give(t, path)
		for _, verb := range verbs {
			if slices.Contains(except, verb) {
				continue
			}
			if code, stderr := ctl(verb); code != 1 || len(*ran) != 0 || !strings.Contains(stderr, path) {
				t.Errorf("%s of another user: %s: %d %q %s", path, verb, code, *ran, stderr)
			}
			*ran = nil
		}
		for _, verb := range []string{"stop", "graceful-stop"} { // need none of them
			if code, stderr := ctl(verb); code != 0 {
				t.Errorf("%s of another user: %s: %d %s", path, verb, code, stderr)
			}
		}
		must(t, os.Chown(path, 0, 0))
	}
	// An older version did not record the files that root relies on.
	l.Files = nil
	saveLaunch(t, l)
	otheruser.Give(t, httpd)
	if code, stderr := ctl("configtest"); code != 1 || !strings.Contains(stderr, "root would run "+httpd) {
		t.Errorf("an older version: %d %s", code, stderr)
	}
	if _, err := os.Lstat(marker); err == nil || len(*ran) > 0 {
		t.Errorf("the program was run: %q", *ran)
	}
}

// TestReloadRunsNothingOfAnotherUser: the same for reload, and for a running instance.
func TestReloadRunsNothingOfAnotherUser(t *testing.T) {
	otheruser.Need(t)
	noExec(t)
	top := otheruser.Dir(t)
	httpd := program(t, filepath.Join(top, "httpd"))
	root := filepath.Join(top, "root")
	l := plantRoot(t, root, httpd)
	server := serverProcess(t, nil, httpd, "-f", l.Args[1])
	writePID(t, l, fmt.Sprint(server.Process.Pid))
	otheruser.Give(t, httpd)
	for _, args := range [][]string{{"reload", "--server-root", root}, {"apachectl", root, "graceful"}, {"apachectl", root, "restart"}} {
		if code, _, stderr := runProgram(t, &Invocation{Executable: "/bin/true", Dir: top}, args...); code != 1 || !strings.Contains(stderr, "root would run "+httpd) {
			t.Errorf("%q: %d %s", args, code, stderr)
		}
	}
	if !alive(server.Process.Pid) {
		t.Fatal("httpd was ended")
	}
	if code, _, stderr := runProgram(t, &Invocation{Executable: "/bin/true", Dir: top}, "stop", "--server-root", root); code != 0 || alive(server.Process.Pid) {
		t.Errorf("stop: %d %s", code, stderr)
	}
}

// TestUnitForAnotherUser: root prints a unit that another user will run, with that
// user's files. root itself runs none of them.
func TestUnitForAnotherUser(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	base := filepath.Join(top, "base")
	exe := fakeServer(t, base, nil)
	theirs := filepath.Join(top, "theirs")
	must(t, os.Mkdir(theirs, 0o755), os.WriteFile(theirs+"/x.conf", nil, 0o755))
	otheruser.Give(t, theirs, theirs+"/x.conf")
	unit := func(args ...string) (int, string) {
		all := append([]string{"systemd-unit", "app.py", "--port", "47312", "--server-root", theirs + "/run"}, testUser()...)
		code, _, stderr := runProgram(t, &Invocation{Executable: exe, Dir: base, Env: []string{"LANG=C.UTF-8", "PATH=/usr/bin:/bin"}}, append(all, args...)...)
		return code, stderr
	}
	if code, stderr := unit("--include-file", theirs+"/x.conf", "--pid-file", theirs+"/pid"); code != 0 || strings.Contains(stderr, "another user") {
		t.Errorf("%d %s", code, stderr)
	}
	for _, args := range [][]string{
		{"--envvars-script", theirs + "/x.conf"},
		{"--httpd-executable", theirs + "/x.conf"},
		{"--service-script", "s", "app.py", "--service-user", "s", "daemon"}, // that unit runs as root
	} {
		if code, stderr := unit(args...); code != 1 || !strings.Contains(stderr, "another user") {
			t.Errorf("%q: %d %s", args, code, stderr)
		}
	}
}
