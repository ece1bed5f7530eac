//go:build acceptance

package express_test

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"modwsgi/internal/freeport"
)

// TestAliasEndsInSlash: httpd appends the rest of the URL directly to the path, so both
// or neither must end in a slash.
func TestAliasEndsInSlash(t *testing.T) {
	testEnv(t)
	dir, files := workDir(t, ""), workDir(t, "files")
	write(t, filepath.Join(files, "f.txt"), "a file")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	s := start(t, dir, app, "--url-alias", "/both/", files+"/", "--url-alias", "/url/", files, "--url-alias", "/path", files+"/", "--url-alias", "none", files, "--url-alias", "/one.txt", files+"/f.txt")
	for _, path := range []string{"/both/f.txt", "/url/f.txt", "/path/f.txt", "/none/f.txt", "/one.txt"} {
		if code, body := s.get(path); code != 200 || body != "a file" {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
}

// TestIncludedFiles: an included file may test the names that upstream's launcher
// defines; several files are named by a pattern or their directory.
func TestIncludedFiles(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	text := ""
	names := strings.Fields("ORPHAN_INTERPRETER MOD_WSGI_ACCESS_LOG MOD_WSGI_CHUNKED_REQUEST MOD_WSGI_WITH_PYTHON_PATH MOD_WSGI_WITH_PROXY_HEADERS " +
		"MOD_WSGI_WITH_TRUSTED_PROXIES MOD_WSGI_ENABLE_SENDFILE MOD_WSGI_CGID_SCRIPT MOD_WSGI_IMPORT_HANDLER_SCRIPT MOD_WSGI_MPM_EXISTS_EVENT_MODULE")
	for _, n := range append(names, "MOD_WSGI_AUTH_USER", "MOD_WSGI_HOST_ACCESS", "EMBEDDED_MODE") {
		text += "<IfDefine " + n + ">\nHeader always append X-Names " + n + "\n</IfDefine>\n"
	}
	included := filepath.Join(dir, "in[c] d")
	if err := os.Mkdir(included, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(included, "names.conf"), text)
	second := filepath.Join(dir, "conf.d")
	if err := os.Mkdir(second, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(second, "one.conf"), "Header always set X-One 1\n")
	write(t, filepath.Join(second, "two.conf"), "Header always set X-Two 2\n")
	write(t, filepath.Join(second, "three.txt"), "Nonsense\n")
	s := start(t, dir, app, "--include-file", filepath.Join(included, "names.conf"), "--include-file", "conf.d/*.conf", "--orphan-interpreter", "--access-log", "--chunked-request", "--python-path", dir,
		"--trust-proxy-header", "X-Forwarded-For", "--trust-proxy", "10.0.0.0/8", "--enable-sendfile", "--with-cgi")
	resp, err := http.Get("http://" + s.address() + "/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got, want := resp.Header.Get("X-Names"), strings.Join(names, ", "); got != want {
		t.Errorf("defined: %s, want %s", got, want)
	}
	if resp.Header.Get("X-One")+resp.Header.Get("X-Two") != "12" {
		t.Errorf("a pattern: %v", resp.Header)
	}
	bad := write(t, filepath.Join(dir, "bad.conf"), "Nonsense\n")
	for _, option := range []string{"include-file", "rewrite-rules"} {
		refused(t, dir, 1, "httpd refuses a file of option --"+option, append([]string{"start-server", app, "--" + option, bad}, asUser()...)...)
	}
}

// TestRatesAndRanges: httpd refuses a time range without a rate, and a range that ends
// before it begins.
func TestRatesAndRanges(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	s := start(t, dir, app, "--header-min-rate", "0", "--body-max-timeout", "5", "--body-timeout", "20", "--processes", "0", "--max-clients", "0")
	if seen := s.environ("/"); seen["wsgi.multiprocess"] != true { // as with --processes 1
		t.Errorf("%v", seen["wsgi.multiprocess"])
	}
}

// TestDirectoriesOfTools: a directory that the application cannot write to is refused
// before the start; with the recorder every request would fail.
func TestDirectoriesOfTools(t *testing.T) {
	testEnv(t)
	if os.Geteuid() != 0 {
		t.Skip("only root can use another account")
	}
	dir, out := workDir(t, ""), workDir(t, "out")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	for _, tool := range []string{"recorder", "profiler", "coverage"} {
		refused(t, dir, 1, "option --"+tool+"-directory: the user "+runUser()+" cannot write in "+out,
			append([]string{"start-server", app, "--enable-" + tool, "--" + tool + "-directory", out}, asUser()...)...)
	}
	if err := os.Chmod(out, 0o777); err != nil {
		t.Fatal(err)
	}
	s := start(t, dir, app, "--enable-recorder", "--recorder-directory", out)
	if code, _ := s.get("/"); code != 200 {
		t.Errorf("%d\n%s", code, s.log())
	}
}

// TestNotAnHTTPD: a program that is not an httpd is recognised by its output.
func TestNotAnHTTPD(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	for program, want := range map[string]string{"/bin/true": "/bin/true is not an httpd", "/bin/false": "option --httpd-executable:", app: "option --httpd-executable:"} {
		refused(t, dir, 1, want, append([]string{"start-server", app, "--httpd-executable", program}, asUser()...)...)
	}
}

// TestUmask: files created by httpd are not writable for everyone, whatever the
// caller's umask.
func TestUmask(t *testing.T) {
	testEnv(t)
	dir, logs := workDir(t, ""), workDir(t, "logs")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	s := &server{t: t, port: freeport.Get(t), root: filepath.Join(shortDir(t), "r")}
	args := append([]string{"start-server", app, "--host", "127.0.0.1", "--port", strconv.Itoa(s.port), "--server-root", s.root, "--log-directory", logs, "--access-log", "--startup-log"}, asUser()...)
	plain := command(t, args...)
	shell := exec.CommandContext(context.WithoutCancel(t.Context()), "/bin/sh", append([]string{"-c", `umask 0; exec "$0" "$@"`}, plain.Args...)...)
	shell.Env, shell.Dir = plain.Env, dir
	started(t, shell, s.port, s.root).environ("/")
	for _, top := range []string{s.root, logs} {
		err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if info, err := d.Info(); err == nil && path != logs && info.Mode().Type() != fs.ModeSocket && info.Mode().Perm()&0o002 != 0 {
				t.Errorf("%s: %v", path, info.Mode())
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// TestStopIsFinal: when the time for running requests is over they end with their
// process, and httpd's workers are not waited for.
func TestStopIsFinal(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	app := write(t, filepath.Join(dir, "app.py"), "import os\n"+strings.Replace(echoApp, "time.sleep(float(query[6:]))", "open('began', 'w').close(); time.sleep(7); open('ended', 'w').close()", 1))
	s := start(t, dir, app, "--working-directory", dir, "--graceful-timeout", "1", "--shutdown-timeout", "1")
	go func() { _, _ = http.Get("http://" + s.address() + "/?sleep=7") }()
	eventually(t, "the request runs", func() bool { _, err := os.Stat(filepath.Join(dir, "began")); return err == nil })
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	<-s.done
	if _, err := os.Stat(filepath.Join(dir, "ended")); err == nil {
		t.Error("stopping waited for the request")
	}
	s.gone()
}

// TestLogsOfSomebodyElse: root does not write through another user's link.
func TestLogsOfSomebodyElse(t *testing.T) {
	testEnv(t)
	if os.Geteuid() != 0 {
		t.Skip("only root can use another account")
	}
	dir, logs := workDir(t, ""), workDir(t, "logs")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	victim := write(t, filepath.Join(dir, "victim"), "mine")
	link := filepath.Join(logs, "error_log")
	if err := errors.Join(os.Symlink(victim, link), os.Lchown(link, 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	refused(t, dir, 1, "the log file "+link+" is a symbolic link of another user's", append([]string{"start-server", app, "--log-directory", logs}, asUser()...)...)
	if text, _ := os.ReadFile(victim); string(text) != "mine" {
		t.Errorf("the file now contains %q", text)
	}
	if err := errors.Join(os.Remove(link), os.Chown(logs, 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	if s := start(t, dir, app, "--log-directory", logs); !strings.Contains(s.out.String(), "another user can replace the log files in "+logs) {
		t.Errorf("no warning:\n%s", s.out)
	}
}

// TestUnreachable: paths that the application's account cannot reach are reported at
// once, even if the server may not need them.
func TestUnreachable(t *testing.T) {
	testEnv(t)
	if os.Geteuid() != 0 {
		t.Skip("only root can use another account")
	}
	dir, closed := workDir(t, ""), workDir(t, "closed")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	s := start(t, dir, app, "--url-alias", "/x", closed, "--python-path", closed)
	for _, want := range []string{"cannot use --url-alias /x: " + closed, "cannot use --python-path: " + closed} {
		if !strings.Contains(s.out.String(), want) {
			t.Errorf("no warning %q:\n%s", want, s.out)
		}
	}
}

// TestDiagnostics: the applications included with the module, by their present and
// former names.
func TestDiagnostics(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	for module, want := range map[string]string{
		"mod_wsgi.diagnostics.hello": "Hello World!", "mod_wsgi.diagnostics.environ": "request.PATH_INFO: '/there'\n", "mod_wsgi.server.environ": "process.MOD_WSGI_EXPRESS: 'true'\n",
	} {
		s := start(t, dir, module, "--application-type", "module")
		if code, body := s.get("/there"); code != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s\n%s", module, code, body, s.log())
		}
	}
}
