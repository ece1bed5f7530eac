//go:build acceptance && unix

package express_test

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"modwsgi/internal/freeport"
)

// TestEffects: options that change what the application or a client sees, and that can
// be combined.
func TestEffects(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	docs := workDir(t, "docs")
	eggs := filepath.Join(dir, "eg'gs")
	work := filepath.Join(dir, "wo'rk")
	if err := errors.Join(os.Mkdir(filepath.Join(docs, "sub"), 0o755), os.Mkdir(work, 0o755)); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(docs, "sub", "page.txt"), "a page")
	write(t, filepath.Join(docs, "sub", ".htaccess"), "Header set X-From htaccess\n")
	rules := write(t, filepath.Join(dir, "rew'rite.conf"), "RewriteRule ^old$ /sub/page.txt [R=302,L]\nRewriteRule ^inside$ /sub/page.txt [L]\n")
	app := write(t, filepath.Join(dir, "app.py"), strings.Replace(echoApp, "    body =", `
    import warnings, mod_wsgi
    out["warnings"] = [str(w[:3]) for w in warnings.filters]
    out["metrics"] = mod_wsgi.server_metrics() is not None
    if query == "log":
        print("said by the application", file=environ["wsgi.errors"])
    if query == "file":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return environ["wsgi.file_wrapper"](open(__file__, "rb"))
    body =`, 1))
	s := beginWith(t, []string{"PASSED=it's \"passed\""}, dir, app, "--working-directory", "wo'rk", "--application-group", "it's mine", "--map-head-to-get", "Off", "--server-metrics", "--server-status",
		"--error-log-format", `OWN "%M" \`, "--python-eggs", eggs, "--python-warnings", "error::ImportWarning", "--python-warnings", "ignore:it's:UserWarning",
		"--passenv", "PASSED", "--passenv", "NOT_THERE", "--document-root", docs, "--allow-override", "All", "--rewrite-rules", rules, "--enable-sendfile").up()
	seen := s.environ("/x?log")
	for k, v := range map[string]any{
		"mod_wsgi.application_group": "it's mine", "PASSED": "it's \"passed\"", "NOT_THERE": nil, "metrics": true, "cwd": work,
	} {
		if seen[k] != v {
			t.Errorf("%s is %v, want %v", k, seen[k], v)
		}
	}
	filters := ""
	for _, f := range seen["warnings"].([]any) {
		filters += f.(string)
	}
	if !strings.Contains(filters, "'error', None, <class 'ImportWarning'>") || !strings.Contains(filters, "it") {
		t.Errorf("warnings: %s", filters)
	}
	if eggs != seen["os.environ"].(map[string]any)["PYTHON_EGG_CACHE"] {
		t.Errorf("eggs: %v", seen["os.environ"])
	}
	// mod_wsgi 6 puts the script before the application's message.
	if log := s.log(); !regexp.MustCompile(`OWN "(\[script \S+\] )?said by the application`).MatchString(log) {
		t.Errorf("log:\n%s", log)
	}
	if code, text := s.get("/?file"); code != 200 || !strings.Contains(text, "wsgi.file_wrapper") {
		t.Errorf("a file by sendfile: %d %s", code, text)
	}
	if code, _ := s.get("/old"); code != 302 {
		t.Errorf("--rewrite-rules: %d", code)
	}
	if code, text := s.get("/inside"); code != 200 || text != "a page" {
		t.Errorf("--rewrite-rules: %d %s", code, text)
	}
	resp, err := http.Get("http://" + s.address() + "/sub/page.txt")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.Header.Get("X-From") != "htaccess" {
		t.Errorf("--allow-override: %v", resp.Header)
	}
	if code, _ := s.get("/sub/.htaccess"); code != 403 {
		t.Errorf(".htaccess is sent: %d", code)
	}
}

// TestHead: by default the application answers HEAD as GET, for httpd modules that
// inspect its output; with Off it sees HEAD.
func TestHead(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), `
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Method", environ["REQUEST_METHOD"])])
    return [b"body"]
`)
	for when, want := range map[string]string{"Off": "HEAD", "on": "GET"} {
		s := start(t, dir, app, "--map-head-to-get", when)
		resp, err := http.Head("http://" + s.address() + "/")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if got := resp.Header.Get("X-Method"); got != want || len(body) != 0 {
			t.Errorf("%s: the application sees %s, want %s", when, got, want)
		}
	}
}

// TestAllowLocalhost: with a server name, this machine may use any name.
func TestAllowLocalhost(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	for _, c := range []struct {
		args []string
		want int
	}{{nil, 403}, {[]string{"--allow-localhost"}, 200}} {
		s := start(t, dir, append([]string{app, "--server-name", "a.example"}, c.args...)...)
		if code, body := s.get("/"); code != c.want {
			t.Errorf("%v: %d %s", c.args, code, body)
		}
	}
}

// TestSetupOnly: everything is written and nothing runs.
func TestSetupOnly(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	root := filepath.Join(shortDir(t), "r")
	out, err := command(t, append([]string{"start-server", app, "--setup-only", "--port", strconv.Itoa(freeport.Get(t)), "--server-root", root}, asUser()...)...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Control Script     : "+root+"/apachectl\n") {
		t.Errorf("%v\n%s", err, out)
	}
	for name, mode := range map[string]fs.FileMode{"httpd.conf": 0o600, "apachectl": 0o700, "instance.json": 0o600} {
		if info, err := os.Stat(filepath.Join(root, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "httpd.pid")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("httpd was started")
	}
}
