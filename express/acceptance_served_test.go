//go:build acceptance && unix

package express_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"modwsgi/internal/freeport"
)

// tree writes files, with their names as contents, and their parent directories.
func tree(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, n := range names {
		path := filepath.Join(dir, n)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, path, "content of "+n)
	}
}

func link(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

// send writes a request unchanged and returns the status and the body.
func (s *server) send(request string) (int, string) {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.address())
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodGet})
	if err != nil {
		s.t.Fatalf("%q: %v\n%s", request, err, s.log())
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// fetch requests a path unchanged; one of the headers may be Host.
func (s *server) fetch(path string, headers ...string) (int, string) {
	s.t.Helper()
	if !slices.ContainsFunc(headers, func(h string) bool { return strings.HasPrefix(h, "Host:") }) {
		headers = append([]string{"Host: " + s.address()}, headers...)
	}
	return s.send("GET " + path + " HTTP/1.1\r\n" + strings.Join(headers, "\r\n") + "\r\nConnection: close\r\n\r\n")
}

const plainApp = `
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [("application " + environ["REQUEST_METHOD"] + " " + environ["PATH_INFO"]).encode()]
`

// TestMethods: by default, TRACE and CONNECT reach neither the application, nor files,
// nor servers behind, in any mode.
func TestMethods(t *testing.T) {
	testEnv(t)
	t.Parallel()
	reached := make(chan string, 100)
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached <- r.Method
		fmt.Fprint(w, "behind")
	}))
	defer behind.Close()
	for _, args := range [][]string{
		nil,
		{"--embedded-mode"},
		{"--server-mpm", "prefork"},
		{"--server-name", "127.0.0.1", "--proxy-virtual-host", "p.example", behind.URL},
		{"--allow-connect"},
		{"--trace-enable", "on"},
	} {
		dir := workDir(t, "")
		access := write(t, filepath.Join(dir, "access.py"), "def allow_access(environ, host):\n    return True\n")
		docs := filepath.Join(dir, "docs")
		tree(t, docs, "file.txt")
		s := start(t, dir, append([]string{
			write(t, filepath.Join(dir, "app.py"), plainApp), "--document-root", docs, "--proxy-mount-point", "/far", behind.URL, "--host-access-script", access,
		}, args...)...)
		for _, target := range []string{"/app", "/file.txt", "/far/x", "/missing/", "http://p.example/x", "host.example:443"} {
			for _, method := range []string{"CONNECT", "TRACE"} {
				if method == "TRACE" && !strings.Contains(target, "/") {
					continue
				}
				code, body := s.send(method + " " + target + " HTTP/1.1\r\nHost: " + s.address() + "\r\nCookie: secret=1\r\nConnection: close\r\n\r\n")
				asked := slices.Contains(args, "--allow-connect") && method == "CONNECT" || slices.Contains(args, "--trace-enable") && method == "TRACE"
				if !asked && (code < 400 || code == 404 || strings.Contains(body, "secret=1") || strings.Contains(body, "application")) {
					t.Errorf("%q: %s %s: %d %s", args, method, target, code, body)
				}
				if asked && method == "CONNECT" && target == "host.example:443" && !strings.HasPrefix(body, "application CONNECT") {
					t.Errorf("%q: CONNECT does not reach the application: %d %s", args, code, body)
				}
				if asked && method == "TRACE" && target == "/app" && !strings.Contains(body, "secret=1") {
					t.Errorf("%q: TRACE is not answered: %d %s", args, code, body)
				}
			}
		}
		if code, body := s.fetch("/app"); code != 200 || body != "application GET /app" {
			t.Errorf("%q: %d %s", args, code, body)
		}
		s.stop()
	}
	for len(reached) > 0 {
		if m := <-reached; m == "CONNECT" {
			t.Errorf("%s reached the server behind", m)
		}
	}
}

// TestServerStatusIsLocal: requests passed on by a proxy on this machine are not local,
// and the status command still works, whatever names the server has.
func TestServerStatusIsLocal(t *testing.T) {
	testEnv(t)
	t.Parallel()
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), plainApp)
	auth := write(t, filepath.Join(dir, "auth.py"), "def check_password(environ, user, password):\n    return True\n")
	stem, _ := certificate(t, dir, "site.example")
	ca, _ := clientCertificate(t, dir)
	tls := []string{"--server-name", "site.example", "--https-port", strconv.Itoa(freeport.Get(t)), "--ssl-certificate", stem, "--https-only"}
	for _, args := range [][]string{
		nil,
		{"--auth-user-script", auth},
		{"--server-name", "site.example", "--allow-localhost"},
		append(slices.Clone(tls), "--ssl-ca-certificate-file", ca),
		append(slices.Clone(tls), "--allow-localhost", "--server-alias", "*.example"),
	} {
		s := start(t, dir, append([]string{app, "--server-status"}, args...)...)
		for _, host := range []string{"localhost", "LOCALHOST:80", "127.0.0.1", "127.1.2.3:99", "[::1]"} {
			if code, body := s.fetch("/server-status?auto", "Host: "+host); code != 200 || !strings.Contains(body, "BusyWorkers") {
				t.Errorf("%q: %s: %d %s\n%s", args, host, code, body, s.log())
			}
		}
		for _, host := range []string{"site.example", "public.example", "_wsgi_", "localhost.evil.example", "1.127.0.0.1"} {
			if code, body := s.fetch("/server-status?auto", "Host: "+host); code == 200 || strings.Contains(body, "BusyWorkers") {
				t.Errorf("%q: %s: %d", args, host, code)
			}
		}
		for _, h := range []string{"X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1", "Via: 1.1 proxy", "X-Real-IP: ::1", "X-Forwarded-Host: localhost", "x-client-ip: 1", "X-Forwarded-Proto: https", "CF-Connecting-IP: 1.2.3.4"} {
			for _, path := range []string{"/server-status", "//server-status", "/server-status/", "/%73erver-status", "/x/../server-status?auto"} {
				if code, body := s.fetch(path, "Host: localhost", h); code == 200 && strings.Contains(body, "erver") {
					t.Errorf("%q: %s %s: %d %s", args, path, h, code, body)
				}
			}
		}
		if out, err := command(t, "status", "--server-root", s.root).CombinedOutput(); err != nil || !strings.Contains(string(out), "BusyWorkers") {
			t.Errorf("%q: status: %v %s", args, err, out)
		}
		s.stop()
	}
}

// TestTrustedProxies: forwarded headers are trusted from the named addresses, and from
// every client only if that is requested explicitly.
func TestTrustedProxies(t *testing.T) {
	testEnv(t)
	t.Parallel()
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	header := []string{"--trust-proxy-header", "X-Forwarded-For", "--trust-proxy-header", "X-Forwarded-Proto"}
	refused(t, dir, 2, "option --trust-proxy-header needs --trust-proxy", append(append([]string{"start-server", app, "--port", strconv.Itoa(freeport.Get(t))}, header...), asUser()...)...)
	for network, believed := range map[string]bool{"0.0.0.0/0": true, "127.0.0.1": true, "10.0.0.0/8": false, "::/0": false, "FD00::/8": false} {
		s := start(t, dir, append([]string{app, "--trust-proxy", network}, header...)...)
		code, body := s.fetch("/", "X-Forwarded-For: 192.0.2.77", "X-Forwarded-Proto: https")
		if code != 200 || strings.Contains(body, `"REMOTE_ADDR": "192.0.2.77"`) != believed || strings.Contains(body, `"wsgi.url_scheme": "https"`) != believed {
			t.Errorf("--trust-proxy %s: %d %s", network, code, body)
		}
		s.stop()
	}
}

// TestSymbolicLinks: by default, links in a served directory are not followed; the
// directory itself may be a link, and rewriting still works.
func TestSymbolicLinks(t *testing.T) {
	testEnv(t)
	t.Parallel()
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), plainApp)
	tree(t, dir, "secret/file.txt", "releases/42/page.txt", "releases/42/sub/deep.txt", "releases/42/.well-known/acme.txt", "releases/42/list/a.txt", "aliased/own.txt", "shared/one.txt")
	real := filepath.Join(dir, "releases", "42")
	link(t, real, filepath.Join(dir, "current"))
	link(t, filepath.Join(dir, "secret"), filepath.Join(real, "out"))
	link(t, "../../secret/file.txt", filepath.Join(real, "file.txt"))
	link(t, filepath.Join(dir, "secret", "file.txt"), filepath.Join(real, "list", "index.html"))
	link(t, "sub", filepath.Join(real, "inner"))
	link(t, filepath.Join(dir, "secret"), filepath.Join(dir, "aliased", "out"))
	link(t, filepath.Join(dir, "shared"), filepath.Join(real, "shared"))
	link(t, filepath.Join(dir, "shared", "one.txt"), filepath.Join(real, "one.txt"))
	link(t, "/etc/hostname", filepath.Join(real, "owned.txt"))
	if os.Geteuid() == 0 {
		if err := os.Lchown(filepath.Join(real, "owned.txt"), 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	rules := write(t, filepath.Join(dir, "rules.conf"), "RewriteRule ^old\\.txt$ /page.txt [L]\nRewriteRule ^sneaky$ /file.txt [L]\n")
	served := map[string]string{
		"/page.txt": "releases/42/page.txt", "/sub/deep.txt": "releases/42/sub/deep.txt", "/.well-known/acme.txt": "releases/42/.well-known/acme.txt",
		"/old.txt": "releases/42/page.txt", "/a/own.txt": "aliased/own.txt",
		// Links named by an option are followed.
		"/s/one.txt": "shared/one.txt", "/one": "shared/one.txt",
	}
	linked := []string{"/file.txt", "/out/file.txt", "/a/out/file.txt", "/sneaky", "/shared/../file.txt", "/inner/../out/file.txt", "/list/", "/list/index.html", "/out", "/out/"}
	for _, mode := range []string{"none", "owner", "all"} {
		args := []string{
			app, "--document-root", filepath.Join(dir, "current"), "--rewrite-rules", rules, "--url-alias", "/a", filepath.Join(dir, "aliased"),
			"--url-alias", "/s", filepath.Join(dir, "current", "shared"), "--url-alias", "/one", filepath.Join(dir, "current", "one.txt"), "--directory-listing",
		}
		if mode != "none" { // the default
			args = append(args, "--follow-symlinks", mode)
		}
		s := start(t, dir, args...)
		for path, file := range served {
			if code, body := s.fetch(path); code != 200 || body != "content of "+file {
				t.Errorf("%s: %s: %d %s\n%s", mode, path, code, body, s.log())
			}
		}
		for _, path := range linked {
			if code, body := s.fetch(path); (code == 200 && strings.HasPrefix(body, "content of secret")) != (mode != "none") && !strings.HasSuffix(path, "/out") && !strings.HasSuffix(path, "/out/") ||
				mode == "none" && strings.Contains(body, "content") {
				t.Errorf("%s: %s: %d %s\n%s", mode, path, code, body, s.log())
			}
		}
		if code, body := s.fetch("/owned.txt"); (code == 200) != (mode == "all") && os.Geteuid() == 0 {
			t.Errorf("%s: a link to a file of another user: %d %s", mode, code, body)
		}
		if code, body := s.fetch("/no/such/file"); code != 200 || !strings.HasPrefix(body, "application GET") {
			t.Errorf("%s: the application: %d %s", mode, code, body)
		}
		s.stop()
	}
}

// TestListing: a listing shows neither private files nor links.
func TestListing(t *testing.T) {
	testEnv(t)
	t.Parallel()
	dir := workDir(t, "")
	docs := filepath.Join(dir, "docs")
	tree(t, docs, "public.txt", "settings.py", ".hidden")
	link(t, "/etc/passwd", filepath.Join(docs, "linked"))
	s := start(t, dir, write(t, filepath.Join(docs, "app.py"), plainApp), "--document-root", docs, "--directory-listing", "--directory-index", "index.html")
	code, body := s.fetch("/?F=2")
	if code != 200 || !strings.Contains(body, "public.txt") {
		t.Errorf("%d %s\n%s", code, body, s.log())
	}
	for _, name := range []string{"settings.py", "app.py", ".hidden", "linked"} {
		if strings.Contains(body, name) {
			t.Errorf("%s is listed: %s", name, body)
		}
	}
}

// TestOwnSources: a document root that contains the application does not expose its
// sources or the server's files, by any URL. Other access rules are
// out of scope.
func TestOwnSources(t *testing.T) {
	testEnv(t)
	t.Parallel()
	for _, variant := range []string{"", "link", "auth", "rules", "module"} {
		t.Run(variant, func(t *testing.T) {
			t.Parallel()
			dir := workDir(t, "si te [x]#1")
			tree(t, dir, "settings.py", "settings.py~", "#settings.py#", "settings.py.bak", "sub/Models.PY", "sub/__pycache__/models.cpython-311.pyc", "sub/__pycache__/x.txt", "hello.wsgi.orig",
				"auth.conf", "rules.conf", "key.pem", "page.html", "data.json", "hello.js", "static/site.css", "downloads/tool.py", ".env", "sub/.git/config")
			app := write(t, filepath.Join(dir, "hello.wsgi"), plainApp)
			handler := write(t, filepath.Join(dir, "handler.py"), "def handle_request(environ, start_response):\n    start_response('200 OK', [('Content-Type', 'text/plain')])\n    return [b'handled']\n")
			write(t, filepath.Join(dir, "x.run"), "content of x.run")
			auth := write(t, filepath.Join(dir, "passwords"), "def check_password(environ, user, password):\n    return True\n")
			write(t, filepath.Join(dir, "rules.conf"), "RewriteRule ^nice$ /settings.py [L]\nRewriteCond %{REQUEST_FILENAME} -f\nRewriteRule ^ - [L]\n")
			write(t, filepath.Join(dir, "auth.conf"), "# content of auth.conf\n")
			docs, name := dir, ""
			if variant == "link" { // the document root is a link to the application's directory
				docs = filepath.Join(filepath.Dir(dir), "current")
				link(t, dir, docs)
			}
			args := []string{
				app, "--document-root", docs, "--url-alias", "/alias", filepath.Dir(dir), "--url-alias", "/entry", app, "--url-alias", "/dl", filepath.Join(docs, "downloads"),
				"--add-handler", ".run", handler, "--include-file", filepath.Join(dir, "auth.conf"), "--log-directory", filepath.Join(dir), "--service-script", "job", write(t, filepath.Join(dir, "job"), "import time\ntime.sleep(1000)\n"),
			}
			var headers []string
			switch variant {
			case "auth":
				args = append(args, "--auth-user-script", auth)
				headers = []string{"Authorization: Basic YTpi"}
			case "rules":
				args = append(args, "--rewrite-rules", filepath.Join(dir, "rules.conf"))
			case "module":
				name = "mod_app"
				write(t, filepath.Join(dir, name+".py"), plainApp)
				args[0] = name
				args = append(args, "--application-type", "module")
			}
			s := start(t, dir, args...)
			if !strings.Contains(s.out.String(), "warning: option --document-root: "+docs+" contains ") || !strings.Contains(s.out.String(), "url-alias: "+filepath.Dir(dir)+" contains ") {
				t.Errorf("no warning: %s", s.out)
			}
			private := []string{
				"/settings.py", "/settings.py~", "/%23settings.py%23", "/settings.py.bak", "/sub/Models.PY", "/sub/__pycache__/models.cpython-311.pyc", "/sub/__pycache__/x.txt",
				"/auth.conf", "/handler.py", "/job", "/.env", "/sub/.git/config", "/settings.py/", "/settings.py/x", "/s%65ttings.py", "//settings.py", "/sub/../settings.py", "/error_log", "/nice",
			}
			if variant == "module" {
				private = append(private, "/"+name+".py")
			} else {
				private = append(private, "/hello.wsgi", "/hello.wsgi/", "/hello.wsgi/x", "/hello.wsgi.orig", "/%68ello.wsgi", "/entry")
			}
			for _, p := range private {
				for _, prefix := range []string{"", "/alias/" + strings.NewReplacer(" ", "%20", "#", "%23", "[", "%5B", "]", "%5D").Replace(filepath.Base(dir))} {
					code, body := s.fetch(prefix+p, headers...)
					if strings.Contains(body, "content of") || strings.Contains(body, "def ") || strings.Contains(body, "import") || code == 200 && !strings.HasPrefix(body, "application ") || p != "/nice" && p != "/entry" && code == 200 {
						t.Errorf("%s: %d %s\n%s", prefix+p, code, body, s.log())
					}
				}
			}
			for path, file := range map[string]string{"/page.html": "page.html", "/data.json": "data.json", "/static/site.css": "static/site.css", "/hello.js": "hello.js", "/dl/tool.py": "downloads/tool.py"} {
				if code, body := s.fetch(path, headers...); code != 200 || body != "content of "+file {
					t.Errorf("%s: %d %s\n%s", path, code, body, s.log())
				}
			}
			if code, body := s.fetch("/x.run", headers...); code != 200 || body != "handled" {
				t.Errorf("the handler: %d %s\n%s", code, body, s.log())
			}
			// Paths without a file are the application's.
			for _, path := range []string{"/nothing.py", "/sub/nothing.py", "/no/such.wsgi", "/"} {
				if code, body := s.fetch(path, headers...); code != 200 || body != "application GET "+path {
					t.Errorf("%s: %d %s\n%s", path, code, body, s.log())
				}
			}
			if code, _ := s.fetch("/page.html"); variant == "auth" && code != 401 {
				t.Errorf("without a password: %d", code)
			}
		})
	}
}

// TestServedPython: a document root without the application may contain Python files;
// if it contains the server root, the files of the server root are private.
func TestServedPython(t *testing.T) {
	testEnv(t)
	t.Parallel()
	dir := workDir(t, "")
	docs := filepath.Join(dir, "docs")
	tree(t, docs, "tool.py", "__pycache__/tool.pyc", "key.pem.txt")
	app := write(t, filepath.Join(dir, "app.py"), plainApp)
	s := start(t, dir, app, "--document-root", docs)
	for _, name := range []string{"tool.py", "__pycache__/tool.pyc"} {
		if code, body := s.fetch("/" + name); code != 200 || body != "content of "+name {
			t.Errorf("%s: %d %s", name, code, body)
		}
	}
	if strings.Contains(s.out.String(), "warning") {
		t.Errorf("a warning without a reason: %s", s.out)
	}
	s.stop()
	// The server root contains the values of --setenv, and the logs.
	top := filepath.Join(shortDir(t), "top")
	tree(t, top, "page.txt")
	root := filepath.Join(top, "server")
	all := append([]string{"setup-server", app, "--document-root", top, "--server-root", root, "--port", strconv.Itoa(freeport.Get(t)), "--setenv", "SECRET", "x", "--enable-docs"}, asUser()...)
	out, err := command(t, all...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "warning: option --document-root: "+top+" contains the server root") {
		t.Errorf("%v %s", err, out)
	}
	same := append([]string{"setup-server", app, "--document-root", top, "--server-root", top, "--port", strconv.Itoa(freeport.Get(t))}, asUser()...)
	if out, err := command(t, same...).CombinedOutput(); err == nil || !strings.Contains(string(out), top+" is the server root") {
		t.Errorf("%v %s", err, out)
	}
}

// TestServerRootInside: nothing of the server root, which has the values of --setenv
// and the logs, is sent from a document root that contains it.
func TestServerRootInside(t *testing.T) {
	testEnv(t)
	t.Parallel()
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), plainApp)
	s := begin(t, dir, app, "--setenv", "SECRET", "x", "--enable-docs", "--document-root", os.TempDir())
	s.up()
	top := "/" + filepath.Base(filepath.Dir(s.root)) + "/it's%20a%20root"
	if code, body := s.fetch("/__wsgi__/docs/"); code != 200 || !strings.Contains(body, "mod_wsgi-express") {
		t.Errorf("the manual: %d %s\n%s", code, body, s.log())
	}
	for _, name := range []string{"httpd.conf", "error_log", "handler.wsgi", "settings.json", "instance.json", "apachectl", "httpd.pid", "python-eggs/", ""} {
		if os.Geteuid() == 0 {
			// Even if the serving account could read it.
			_ = filepath.Walk(s.root, func(path string, info os.FileInfo, err error) error {
				if err == nil && info.Mode()&os.ModeSymlink == 0 {
					_ = os.Chmod(path, 0o755)
				}
				return nil
			})
		}
		if code, body := s.fetch(top + "/" + name); code != 403 {
			t.Errorf("%s: %d %.200s", name, code, body)
		}
	}
}
