//go:build acceptance && unix

package express_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"modwsgi/internal/freeport"
)

func TestAddHandler(t *testing.T) {
	testEnv(t)
	for _, mode := range []string{"--chunked-request", "--embedded-mode"} { // the first one has no effect here
		t.Run(mode, func(t *testing.T) {
			dir := workDir(t, "")
			docs := workDir(t, "docs")
			for _, name := range []string{"page.ext", "page.EXT", "page.ext.bak", "page.more.ext", "page.two"} {
				write(t, filepath.Join(docs, name), "source of "+name)
			}
			handler := write(t, filepath.Join(dir, "handler.py"), `
import os
def handle_request(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [("ext %s %s %s" % (environ["SCRIPT_NAME"], environ["PATH_INFO"], os.path.basename(environ["SCRIPT_FILENAME"]))).encode()]
`)
			second := write(t, filepath.Join(dir, "it's.py"), "def application(e, s):\n    s('200 OK', [('Content-Type', 'text/plain')])\n    return [b'two']\n")
			s := start(t, dir, write(t, filepath.Join(dir, "app.py"), echoApp), mode, "--document-root", docs,
				"--add-handler", ".ext", handler, "--add-handler", "two", second)
			for path, want := range map[string]string{
				"/page.ext":       "ext /page.ext  page.ext",
				"/page.ext/a/b":   "ext /page.ext /a/b page.ext",
				"/page.EXT":       "ext /page.EXT  page.EXT",
				"/page.more.ext":  "ext /page.more.ext  page.more.ext",
				"/page.two":       "two",
				"/page.ext.bak":   "source of page.ext.bak",
				"/page.ext?x=%00": "ext /page.ext  page.ext",
			} {
				if code, body := s.get(path); code != 200 || body != want {
					t.Errorf("%s: %d %q, want %q\n%s", path, code, body, want, s.log())
				}
			}
			if env := s.environ("/missing.ext"); env["PATH_INFO"] != "/missing.ext" {
				t.Errorf("a path without a file did not reach the application: %v", env["PATH_INFO"])
			}
		})
	}
}

func TestErrorDocuments(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	docs := workDir(t, "docs")
	write(t, filepath.Join(docs, "it's gone.html"), "own page")
	app := write(t, filepath.Join(dir, "app.py"), "def application(e, s):\n    s('404 Not Found', [('Content-Type', 'text/plain')])\n    return [b'the app says no']\n")
	args := []string{app, "--document-root", docs, "--error-document", "404", "/it's gone.html", "--error-document", "503", `say "later"`}
	for _, override := range []bool{false, true} {
		all, want := args, "the app says no"
		if override {
			all, want = append(args, "--error-override"), "own page"
		}
		s := start(t, dir, all...)
		if code, body := s.get("/x"); code != 404 || body != want {
			t.Errorf("override %v: %d %q", override, code, body)
		}
	}
	static := start(t, dir, "--application-type", "static", docs, "--error-document", "404", "/it's gone.html")
	if code, body := static.get("/x"); code != 404 || body != "own page" {
		t.Errorf("static: %d %q", code, body)
	}
	// A text is sent as it is, except for variables that httpd knows.
	text := start(t, dir, "--application-type", "static", docs, "--error-document", "404", `costs $5 \ "q" 'a' % %x ${HOME} \%{REQUEST_STATUS} %{REQUEST_STATUS} \d\`)
	if code, body := text.get("/x"); code != 404 || body != `costs $5 \ "q" 'a' % %x ${HOME} %{REQUEST_STATUS} 404 \d\` {
		t.Errorf("text: %d %q", code, body)
	}
	refused(t, dir, 1, "httpd refuses what option --error-document sets", append([]string{"start-server", app, "--error-document", "404", "%{no"}, asUser()...)...)
	refused(t, dir, 2, "is not an error status", append([]string{"start-server", app, "--error-document", "20x", "/"}, asUser()...)...)
}

func TestDocs(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	s := start(t, dir, app, "--enable-docs")
	if code, body := s.get("/__wsgi__/docs/"); code != 200 || !strings.Contains(body, "--eviction-timeout SECONDS") {
		t.Errorf("%d %.300s", code, body)
	}
	if code, _ := s.get("/__wsgi__/docs"); code != 301 {
		t.Errorf("%d", code)
	}
	if env := s.environ("/"); env["PATH_INFO"] != "/" {
		t.Error("the application does not answer")
	}
	if code, _ := start(t, dir).get("/__wsgi__/docs/"); code != 200 {
		t.Errorf("with the welcome page: %d", code)
	}
	if env := start(t, dir, app).environ("/__wsgi__/docs/"); env["PATH_INFO"] != "/__wsgi__/docs/" {
		t.Error("without the option the application does not get the request")
	}
}

func TestEnvVarsScript(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	script := write(t, filepath.Join(dir, "it's vars.sh"), `
echo "said on standard output"
export SECRET="it's a \"secret\" ${MOD_WSGI_HTTP_PORT}
with a second line"
export TZ=UTC MOD_WSGI_USER=evil
NOT_EXPORTED=1
`)
	if os.Geteuid() == 0 {
		// Others can write here.
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		refused(t, dir, 1, "another user can change", append([]string{"start-server", app, "--envvars-script", script}, asUser()...)...)
		own, err := os.MkdirTemp("/root", "mwx")
		if err != nil {
			t.Skip(err)
		}
		t.Cleanup(func() { os.RemoveAll(own) })
		data, _ := os.ReadFile(script)
		script = write(t, filepath.Join(own, "it's vars.sh"), string(data))
	}
	s := start(t, dir, app, "--envvars-script", script)
	seen := s.environ("/")["os.environ"].(map[string]any)
	if want := "it's a \"secret\" " + strings.TrimPrefix(s.address(), "127.0.0.1:") + "\nwith a second line"; seen["SECRET"] != want {
		t.Errorf("SECRET is %q, want %q", seen["SECRET"], want)
	}
	if seen["TZ"] != "UTC" || seen["MOD_WSGI_USER"] == "evil" || seen["NOT_EXPORTED"] != nil {
		t.Errorf("%v", seen)
	}
	out, _ := exec.CommandContext(t.Context(), "ps", "axwwo", "args").Output()
	if strings.Contains(string(out), `it's a "secret"`) || strings.Contains(s.log(), "secret") {
		t.Error("the secret appears in the process list or a log")
	}
	if line, out := filepath.Join(filepath.Dir(script), "shell"), filepath.Join(shortDir(t), "r"); os.Symlink("/bin/sh", line) == nil {
		args := []string{"setup-server", app, "--envvars-script", script, "--shell-executable", line, "--server-root", out}
		if text, err := command(t, append(args, asUser()...)...).CombinedOutput(); err != nil || strings.Contains(string(text), "no effect") {
			t.Errorf("--shell-executable: %v\n%s", err, text)
		}
	}
	failing := write(t, filepath.Join(filepath.Dir(script), "fails.sh"), "exit 7\n")
	refused(t, dir, 1, "--envvars-script", append([]string{"start-server", app, "--envvars-script", failing}, asUser()...)...)
}

// TestCompletionAndManual: the scripts for shells and the manual contain all options.
//
// Once: both are generated from the table.
func TestCompletionAndManual(t *testing.T) {
	testEnv(t)
	shells := map[string][]string{"bash": {"bash", "-n"}, "zsh": {"zsh", "-n"}, "fish": {"fish", "-n"}}
	for shell, check := range shells {
		out, err := command(t, "completion", shell).Output()
		if err != nil || !strings.Contains(string(out), "eviction-timeout") || strings.Contains(string(out), "newrelic") {
			t.Errorf("%s: %v\n%.300s", shell, err, out)
			continue
		}
		name := write(t, filepath.Join(t.TempDir(), "completion"), string(out))
		if _, err := exec.LookPath(check[0]); err != nil {
			t.Logf("%s not found, not checked", shell)
			continue
		}
		if text, err := exec.CommandContext(t.Context(), check[0], check[1], name).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", shell, err, text)
		}
		if shell != "bash" {
			continue
		}
		for line, want := range map[string]string{
			"mod_wsgi-express st": "start-server", "mod_wsgi-express start-server --evic": "--eviction-timeout",
			"mod_wsgi-express module-config --": "--help", "mod_wsgi-express completion --h": "--help",
		} {
			words := strings.Fields(line)
			program := ". \"$0\"; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _mod_wsgi_express; printf '%s\\n' \"${COMPREPLY[@]}\""
			text, err := exec.CommandContext(t.Context(), "bash", append([]string{"-c", program, name}, words...)...).CombinedOutput()
			if err != nil || strings.TrimSpace(string(text)) != want && !strings.Contains(string(text), want+"\n") {
				t.Errorf("%s: %v %q, want %s", line, err, text, want)
			}
		}
	}
	out, err := command(t, "man").Output()
	if err != nil || !strings.HasPrefix(string(out), ".TH ") {
		t.Fatalf("%v\n%.300s", err, out)
	}
	if _, err := exec.LookPath("groff"); err == nil {
		cmd := exec.CommandContext(t.Context(), "groff", "-man", "-Tutf8", "-ww", "-z")
		cmd.Stdin = strings.NewReader(string(out))
		if text, err := cmd.CombinedOutput(); err != nil || len(text) > 0 {
			t.Errorf("groff: %v\n%s", err, text)
		}
	}
}

// TestClosedStreams: the caller may have closed the launcher's streams.
func TestClosedStreams(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	for _, redirection := range []string{"<&-", "<&- >&- 2>&-"} {
		s := &server{t: t, out: &bytes.Buffer{}, port: freeport.Get(t), root: filepath.Join(shortDir(t), "r"), done: make(chan struct{})}
		own := command(t, append([]string{"start-server", app, "--host", "127.0.0.1", "--port", strconv.Itoa(s.port), "--server-root", s.root}, asUser()...)...)
		s.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), "sh", append([]string{"-c", `exec "$@" ` + redirection, "sh"}, own.Args...)...)
		s.cmd.Env, s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = own.Env, dir, s.out, s.out
		if err := s.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go func() { s.err = s.cmd.Wait(); close(s.done) }()
		t.Cleanup(s.stop)
		s.up().environ("/")
	}
}
